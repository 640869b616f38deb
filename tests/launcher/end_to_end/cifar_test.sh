# CIFAR-10 as its users have it: two ranks train, stop, go on and are evaluated; a damaged file is named.
. "$(dirname "$0")/harness.sh"

# batch FILE SHADE...: a record for each shade, which is its label, too, of an image that is all of this shade times 20.
batch() {
  local file=$1 shade
  shift
  for shade in "$@"; do
    printf "\\x$(printf %02x "$shade")"
    head -c 3072 /dev/zero | tr '\0' "\\$(printf %03o $((shade * 20)))"
  done >"cifar/$file"
}
mkdir cifar
for i in 1 2 3 4 5; do batch data_batch_$i.bin 0 1 2 3 4 5 6 7 8 9; done
batch test_batch.bin 9 8 7 6 5 4 3 2 1 0

options=(--model lenet --dataset cifar-10 --data cifar --batch 5 --epochs 2 --log-every 1)
expect 0 whole.log ranks 2 train "${options[@]}" --output whole
as_planned whole.log "${options[@]:0:4}" --samples 50 "${options[@]:6:4}" --ranks 2
expect 0 eval.log "$minim" eval whole
contains eval.log "10 images"
contains eval.log "$(sed -nE 's/^test +(loss.*%)$/\1/p' whole.log)"

# In the middle of an epoch, of five steps, and on.
expect 0 begun.log ranks 2 train "${options[@]}" --steps 3 --schedule constant --output parts
expect 0 resumed.log ranks 2 train --resume --output parts --steps 8
expect 0 eight.log ranks 2 train "${options[@]}" --steps 8 --schedule constant --output eight
"$minim" export parts parts.safetensors >exported.log && "$minim" export eight eight.safetensors >>exported.log
cmp parts.safetensors eight.safetensors || fail "a run in two parts ends elsewhere than one in one"

truncate -s -7 cifar/data_batch_3.bin
expect 2 truncated.log "$minim" train "${options[@]}" --output none
contains truncated.log "cifar/data_batch_3.bin: offset 30723: the file ends here, 3066 bytes into record 9 of 3073 bytes"
