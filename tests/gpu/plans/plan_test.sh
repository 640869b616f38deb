# `minim plan --device NAME` with the CUDA module and no GPU. The third argument is a folder with a driver.
. "$(dirname "$0")/../../launcher/end_to_end/harness.sh"
driver=$3
imagenet=(--model resnet-50 --dataset synthetic --image-size 224 --channels 3 --classes 1000)
unset MINIM_CUDA_MODULE

# bytes LOG ROW COLUMN: what a row says, in bytes.
bytes() {
  python3 - "$@" <<'P'
import re, sys
units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
line = next(l for l in open(sys.argv[1]) if re.match(sys.argv[2] + "  ", l))
number, unit = re.findall(r"([\d.]+) ([KMG]?i?B)", line)[int(sys.argv[3])]
print(round(float(number) * units[unit]))
P
}

# With a driver every engine is there, and convolutions want more than products can.
expect 0 full.log env LD_LIBRARY_PATH="$driver" "$minim" plan "${imagenet[@]}" --batch 64 --device h100 --operations
for text in "at least" "without a driver" "workspaces are unknown" " conv2d .* unknown "; do
  ! grep -e "$text" full.log || fail "the full figures are not full"
done
contains full.log "a lower bound, not a prediction"
contains full.log "NVIDIA H100 80GB HBM3 (sm_90) has 79.65 GiB"
contains full.log "it fits; the largest batch that does is "

# The one block of workspace is that of the kernel that wants most.
most=$(python3 - <<'P'
import re
units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
rows = [l for l in open("full.log") if re.search(r"  (forward|backward) +cuda ", l) and "unknown" not in l]
print(round(max(float(n) * units[u] for n, u in (re.findall(r"([\d.]+) ([KMG]?i?B)", row)[1] for row in rows))))
P
)
[ "$most" -gt $((32 << 20)) ] && [ "$most" -eq "$(bytes full.log workspace 1)" ] || fail "the largest workspace is $most bytes"

# Without one cuDNN says less. Products are unknown either way, which shows where they may want most.
expect 0 lean.log "$minim" plan --model lenet --device a100 --operations
contains lean.log "without engines that it compiles at run time"
grep -E "^workspace +at least " lean.log || fail "workspaces are not known"
grep -E "^fc1 +linear .* unknown " lean.log || fail "cuBLASLt says what it says to nobody without a device"
contains lean.log "Some workspaces are unknown without the device"

# What does not fit, and what does instead.
expect 0 large.log "$minim" plan "${imagenet[@]}" --batch 4096 --device l4
contains large.log "it does not fit"
batch=$(sed -nE 's/^it does not fit; the largest batch that does is ([0-9]+)\.$/\1/p' large.log)
expect 0 fits.log "$minim" plan "${imagenet[@]}" --batch "$batch" --device l4
contains fits.log "it fits; "
expect 0 beyond.log "$minim" plan "${imagenet[@]}" --batch $((batch + batch / 32 + 1)) --device l4
contains beyond.log "it does not fit; the largest batch that does is $batch."
