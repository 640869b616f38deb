# `minim plan --device NAME` without the CUDA module: all but workspaces is known.
. "$(dirname "$0")/harness.sh"
export MINIM_CUDA_MODULE=/nonexistent/module.so
small=(--model resnet-18 --dataset synthetic --image-size 32 --channels 3 --width 16)

expect 0 plan.log "$minim" plan "${small[@]}" --device h100 --ranks 16 --operations
contains plan.log "Workspaces are unknown and taken for 256.00 MiB at most: there is no CUDA module /nonexistent/module.so"
grep -E "^workspace +at least 0 B" plan.log || fail "an unknown workspace has a size"
contains plan.log "a lower bound, not a prediction"
for ranks in 8 16 64 512; do
  grep -E "^$ranks +[0-9].* %" plan.log || fail "nothing is said of $ranks ranks"
done
grep -E "^conv1 +conv2d +forward .* unknown .*(compute|memory)$" plan.log || fail "operations have no bounds"

expect 0 sync.log "$minim" plan "${small[@]}" --device h100 --grad-sync reduce-scatter
grep -E "^ranks +reduce-scatter " sync.log || fail "another --grad-sync is assumed"
contains sync.log "400 Gbit/s"
expect 0 network.log "$minim" plan "${small[@]}" --device h100 --network 100
contains network.log "100 Gbit/s"

# The largest batch is exactly that where workspaces are taken for the same.
expect 0 large.log "$minim" plan "${small[@]}" --device t4 --batch 1000000
contains large.log "it does not fit"
batch=$(sed -nE 's/^it does not fit; the largest batch that does is ([0-9]+)\.$/\1/p' large.log)
expect 0 fits.log "$minim" plan "${small[@]}" --device t4 --batch "$batch"
contains fits.log "it fits; the largest batch that does is $batch."
expect 0 beyond.log "$minim" plan "${small[@]}" --device t4 --batch $((batch + 1))
contains beyond.log "it does not fit; the largest batch that does is $batch."

expect 2 refused.log "$minim" plan "${small[@]}" --device t4 --precision bf16
contains refused.log "--device t4 computes nothing in bf16"
expect 2 nowhere.log "$minim" plan "${small[@]}" --network 100
contains nowhere.log "--network wants a --device"
expect 2 unknown.log "$minim" plan "${small[@]}" --device h101
contains unknown.log "h100"
expect 2 train.log "$minim" train "${small[@]}" --device h100
expect 0 help.log "$minim" plan --help
contains help.log "h100|h200"
