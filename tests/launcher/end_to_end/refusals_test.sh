# Whatever is wrong with what a run is given: one sentence from rank 0 that names it, exit code 2, and nothing else from minim.
. "$(dirname "$0")/harness.sh"

# refused TEXT ARGUMENTS...: under mpirun while $command says so, which takes its time after a failure, else in one process.
refused() {
  local text=$1
  shift
  expect 2 refused.log $command "$@"
  contains refused.log "$text"
  [ "$(grep -c '^minim: ' refused.log)" -eq 1 ] || fail "not exactly one sentence"
  [ "$(sed '/^-----/,$d' refused.log | wc -l)" -le 1 ] || fail "more than one line before mpirun's banner"
}

# idx FILE MAGIC COUNT [ROWS COLUMNS] and BYTES on stdin: an IDX file.
idx() {
  local file=$1 value
  shift
  for value in "$@"; do printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((value >> 24)) $((value >> 16 & 255)) $((value >> 8 & 255)) $((value & 255)))"; done >"$file"
  cat >>"$file"
}
zeros() { head -c "$1" /dev/zero; }
# data DIRECTORY: a sound, tiny data set.
data() {
  mkdir "$1"
  local split
  for split in train t10k; do
    zeros $((8 * 784)) | idx "$1/$split-images-idx3-ubyte" 2051 8 28 28
    zeros 8 | idx "$1/$split-labels-idx1-ubyte" 2049 8
  done
}

printf 'batch = 4\nbtach = 5\n' >run.toml
command="ranks 2"
refused "--bogus" train --bogus
refused 'run.toml:2: unknown option "btach"' train --config run.toml
refused "wanted at least 8 x 8" train --model resnet-18 --dataset synthetic --image-size 2
refused "/nonexistent" train --data /nonexistent
command=$minim
refused "--batch" train --batch many
refused "fp8" train --precision fp8
refused "--batch is 0" train --batch 0
refused "100" train --loss-scale 100
refused "--device cuda" train --device cuda
refused "--device cuda" plan --device cuda
refused "--resume wants" train --resume
refused "nowhere" train --resume --output nowhere
refused "nowhere" eval nowhere
refused "absent.toml" train --config absent.toml
refused "9 warm-up steps leave nothing of 3" train --dataset synthetic --warmup 9 --steps 3 --output unmade
[ ! -e unmade ] || fail "a run that cannot begin has left a directory"
refused "wanted at most" train --dataset synthetic --steps 9000000000000000000
expect 0 plan.log "$minim" plan --warmup 9

# Text that no checkpoint could hold; found before the run, not by its first save.
command="ranks 2"
refused "--data: " train --data $'sound\xff'
command=$minim
for option in --data --output --config; do
  refused "$option: " train $option $'r\xe4n'
  contains refused.log "is not UTF-8"
done
printf 'data = "r\344n"\n' >latin-1.toml
refused "latin-1.toml:1: --data: " train --config latin-1.toml

# A path that the system refuses to look at; as with directories of others, but for root too.
ln -s loop loop
command="ranks 2"
refused "loop: cannot be read: Too many levels of symbolic links" train --data loop
refused "cannot read loop/metrics.jsonl: Too many levels" train --dataset synthetic --output loop
command=$minim
refused "cannot read loop/config.toml: Too many levels" train --resume --output loop
refused "cannot read loop: Too many levels" train --config loop
for files in "inspect loop" "export loop weights.safetensors" "eval loop"; do
  refused "cannot read loop: Too many levels of symbolic links" $files
done
mkdir -p blind/checkpoints
ln -s step-00000002 blind/checkpoints/step-00000002
refused "step-00000002/manifest.json: Too many levels" inspect blind
: >file
refused "file/run" train --dataset synthetic --output file/run

data sound
expect 0 sound.log ranks 1 train --data sound --batch 2 --epochs 1 --output sound-run
for damage in truncated empty mislabelled; do data $damage; done
truncate -s -5 truncated/train-images-idx3-ubyte
refused "truncated/train-images-idx3-ubyte" train --data truncated
truncate -s 0 empty/t10k-labels-idx1-ubyte
refused "empty/t10k-labels-idx1-ubyte" train --data empty
printf '\012' | dd of=mislabelled/train-labels-idx1-ubyte bs=1 seek=11 conv=notrunc status=none
refused "mislabelled/train-labels-idx1-ubyte" train --data mislabelled

# The directory of a run is not written over.
refused "sound-run holds the results of a run" train --data sound --output sound-run
mkdir unbegun
printf 'batch = 2\n' >unbegun/config.toml  # all that is left of a run that failed to begin
expect 0 unbegun.log ranks 1 train --data sound --batch 2 --epochs 1 --output unbegun
refused "--lr 0.5 differs" train --resume --output sound-run --lr 0.5

# Data that are missing on one rank only.
expect 2 one.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" train --data sound --output one : -np 1 "$minim" train --data /nonexistent --output one
contains one.log "minim: rank 1: /nonexistent"
[ "$(grep -c '^minim: ' one.log)" -eq 1 ] || fail "not exactly one sentence"

# A configuration file that is missing on one rank only.
printf 'data = "sound"\n' >here.toml
expect 2 config.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" train --config here.toml --output config : -np 1 "$minim" train --config gone.toml --output config
contains config.log "minim: rank 1: gone.toml"
[ "$(grep -c '^minim: ' config.log)" -eq 1 ] || fail "not exactly one sentence"

# Data sets of different sizes.
data larger
zeros $((9 * 784)) | idx larger/train-images-idx3-ubyte 2051 9 28 28
zeros 9 | idx larger/train-labels-idx1-ubyte 2049 9
expect 2 sizes.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" train --data sound --output sizes : -np 1 "$minim" train --data larger --output sizes
contains sizes.log "rank 1: found 9 training images, rank 0 found 8"

# Ranks that were given different configurations.
expect 2 other.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" train --data sound --output other : -np 1 "$minim" train --data sound --output other --lr 0.5
contains other.log "another configuration"
expect 2 model.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" train --data sound --output model : -np 1 "$minim" train --data sound --output model --model resnet-18 --width 8
contains model.log "another configuration"

# A network that no machine of today holds.
expect 2 memory.log ranks 2 train --dataset synthetic --model resnet-18 --width 65536 --output memory
contains memory.log "a rank needs"
[ "$(grep -c '^minim: ' memory.log)" -eq 1 ] || fail "not exactly one sentence"
[ ! -e memory ] || fail "a run that was refused left a directory"
expect 2 weights.log "$minim" plan --dataset synthetic --model resnet-18 --width 65536
contains weights.log "the CPU's kernels take up to 2147483647"

# A command that there is not.
expect 2 command.log "$minim" frob
contains command.log 'there is no command "frob" among train|eval|plan|doctor|export|inspect'

# Training that cannot go on.
expect 3 numeric.log ranks 2 train --dataset synthetic --batch 16 --steps 100 --lr 1e6 --schedule constant --loss-scale off --progress none --output numeric
grep -qE "^minim: .*(grown beyond what fp16 can hold|first bad tensor)" numeric.log || fail "the tensor is not named"
[ "$(grep -c '^minim: ' numeric.log)" -eq 1 ] || fail "not exactly one sentence"
# The last step makes the weights overflow: there is no later one to say so.
expect 3 last.log ranks 2 train --dataset synthetic --batch 16 --steps 1 --lr 1e9 --schedule constant --progress none --output last
contains last.log "has grown beyond what fp16 can hold"
[ "$(grep -c '^minim: ' last.log)" -eq 1 ] || fail "not exactly one sentence"
[ ! -e last/checkpoints ] || fail "weights that overflowed were saved"

# Processes that do not know of each other.
export SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0
expect 2 lonely.log "$minim" train --data sound
contains lonely.log "SLURM_STEP_NUM_TASKS=2"
SLURM_PROCID=1 expect 2 silent.log "$minim" train --data sound
[ ! -s silent.log ] || fail "a second process repeats the sentence"
