# Two ranks train on doubles of CUDA's libraries, connected by NCCL, which finds its ranks by MPI or over TCP.
# train_test.sh MINIM MPIEXEC LIBRARIES: these are interposed, separated by colons.
. "$(dirname "$0")/../../launcher/end_to_end/harness.sh"
interposed=$3
on_doubles=(env LD_PRELOAD="$interposed" "$minim" train --device cuda --dataset synthetic --samples 64 --batch 8 --steps 6 --log-every 1
            --progress plain --threads 1)

for sync in all-reduce reduce-scatter fp32-accumulate; do
  expect 0 tcp.log "$(dirname "$0")/../../start_ranks.sh" 2 "${on_doubles[@]}" --grad-sync "$sync" --output "$sync"
  contains tcp.log "2 ranks are connected by NCCL"
done
same_run all-reduce reduce-scatter

expect 0 mpi.log "$mpiexec" --oversubscribe --bind-to none -np 2 "${on_doubles[@]}" --output mpi
contains mpi.log "2 ranks are connected by NCCL"
same_run all-reduce mpi

# follows_cpu NAME RANKS BOUND OPTIONS...: twenty steps on doubles and on the CPU, in which the loss scale falls and grows, have losses
# within BOUND, and for fourteen steps the same scales: later ones are close to where gradients overflow, so that a rounding decides.
# Weights hardly move, so that losses differ by what the forward passes round differently: at most one unit of FP16, 2^-10, for each
# tensor that is stored on the way to logits of about 1 in magnitude.
follows_cpu() {
  local name=$1 count=$2 bound=$3 options
  shift 3
  options=(--dataset synthetic --samples 64 --batch 8 --steps 20 --log-every 1 --progress plain --threads 1 --lr 0.00001
           --loss-scale-initial 16777216 --loss-scale-interval 3 "$@")
  expect 0 cpu.log ranks "$count" train --device cpu "${options[@]}" --output "$name-cpu"
  expect 0 cuda.log "$mpiexec" --oversubscribe --bind-to none -np "$count" env LD_PRELOAD="$interposed" "$minim" train --device cuda \
    "${options[@]}" --output "$name-cuda"
  python3 - "$name-cpu" "$name-cuda" "$bound" <<'P' >compare.log 2>&1 || fail "$name on $count ranks"
import json, sys
cpu, gpu = ([r for r in map(json.loads, open(f"{run}/metrics.jsonl")) if r["event"] == "step"] for run in sys.argv[1:3])
scales, others = ([record["loss_scale"] for record in run[:14]] for run in (cpu, gpu))
assert any(b < a for a, b in zip(scales, scales[1:])) and any(b > a for a, b in zip(scales, scales[1:])), scales
assert scales == others, (scales, others)
for a, b in zip(cpu, gpu, strict=True):
    assert abs(a["loss"] - b["loss"]) <= float(sys.argv[3]), (a["step"], a["loss"], b["loss"])
P
}
for count in 1 2; do
  follows_cpu "lenet-$count" "$count" 0.01 --model lenet --image-size 28                      # 10 tensors
  follows_cpu "resnet-$count" "$count" 0.05 --model resnet-18 --width 8 --image-size 16       # 50 tensors
done
