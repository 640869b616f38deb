# Ranks train on doubles of CUDA's libraries, connected by NCCL, which finds its ranks by MPI or over TCP.
# train_test.sh MINIM MPIEXEC LIBRARIES [RANKS]: with RANKS, every network, option and schedule on so many.
. "$(dirname "$0")/on_doubles.sh"

common=(--dataset synthetic --samples 64 --log-every 1 --progress plain --threads 1 --autotune off)
# The loss scale falls from where gradients overflow and grows again.
scaled=("${common[@]}" --batch 8 --steps 20 --loss-scale-initial 16777216 --loss-scale-interval 3)

# follows_cpu RANKS OPTIONS...: twenty steps have the CPU's loss scales and, but for FP16's rounding, its losses and norms of
# gradients.
follows_cpu() {
  local count=$1
  shift
  rm -rf cpu cuda mixed fp32
  # Weights hardly move, so that steps which one run skips and another does not make no difference.
  local options=(--lr 0.000001 "$@")
  expect 0 cpu.log ranks "$count" train --device cpu "${scaled[@]}" "${options[@]}" --output cpu
  expect 0 cuda.log ranks "$count" train --device cuda "${scaled[@]}" "${options[@]}" --output cuda
  expect 0 mixed.log ranks "$count" train --device cpu "${scaled[@]}" "${options[@]}" --loss-scale 1024 --output mixed
  expect 0 fp32.log ranks "$count" train --device cpu "${scaled[@]}" "${options[@]}" --precision fp32 --output fp32
  python3 - <<'P' >compare.log 2>&1 || fail "$* on $count ranks does not follow the CPU"
import json
def records(run, event): return [r for r in map(json.loads, open(f"{run}/metrics.jsonl")) if r["event"] == event]
cpu, cuda = (records(run, "step") for run in ("cpu", "cuda"))
assert len(cpu) == len(cuda) == 20
# Later scales are close to where gradients overflow, so that a rounding decides.
scales, others = ([step["loss_scale"] for step in run[:14]] for run in (cpu, cuda))
assert any(b < a for a, b in zip(scales, scales[1:])) and any(b > a for a, b in zip(scales, scales[1:])), scales
assert scales == others, (scales, others)

def compare(name, event, cpu, cuda):
    # What FP16's rounding makes of a number is what the CPU's steps without an overflow are away from its steps in FP32. Both backends
    # round the same tensors, so that each is about so far from there, and they are not more than twice as far from each other.
    rounding = max(abs(a[name] - b[name]) for a, b in zip(records("mixed", event), records("fp32", event), strict=True))
    for a, b in zip(cpu, cuda, strict=True):
        assert abs(a[name] - b[name]) <= 2 * rounding, (name, rounding, a, b)

compare("loss", "step", cpu, cuda)
compare("loss", "evaluation", *(records(run, "evaluation") for run in ("cpu", "cuda")))
applied = [i for i in range(1, 14) if cpu[i]["applied"] > cpu[i - 1]["applied"]]
compare("gradient_norm", "step", *([run[i] for i in applied] for run in (cpu, cuda)))
P
}

# same_under_all SCHEDULES RANKS OPTIONS...: whenever the work of streams runs, in CUDA graphs or not, all its numbers are the same.
# Steps are so large that weights of the step before are noticed.
same_under_all() {
  local schedules=$1 count=$2 schedule graph streams
  shift 2
  rm -rf eager calls
  MINIM_DOUBLE_CALLS=$scratch/calls expect 0 eager.log ranks "$count" train --device cuda "$@" --output eager
  streams=$(($(grep -cx cudaStreamCreateWithPriority calls) / count + 1))  # the first rank makes some more
  grep -qx cudaGraphLaunch calls || fail "there are no CUDA graphs"
  for schedule in eager $schedules $(seq -f slow:%g 0 $((streams - 1))); do
    for graph in on off; do
      rm -rf other
      MINIM_DOUBLE_SCHEDULE=$schedule expect 0 other.log ranks "$count" train --device cuda "$@" --cuda-graph "$graph" --output other
      same_run eager other
    done
  done
}

syncs="all-reduce reduce-scatter fp32-accumulate"
lenet=(--model lenet)
# With this seed no step has gradients so close to where FP16 overflows that a rounding would decide on the loss scale.
resnet=(--model resnet-18 --width 8 --image-size 16 --seed 2)

if [ -n "${4:-}" ]; then
  for sync in $syncs; do
    for network in lenet resnet; do
      declare -n options=$network
      follows_cpu "$4" "${options[@]}" --grad-sync "$sync"
      same_under_all "lazy random:1 random:2" "$4" "${scaled[@]}" "${options[@]}" --grad-sync "$sync"
    done
  done
  exit
fi

for sync in $syncs; do
  expect 0 tcp.log "$(dirname "$0")/../../start_ranks.sh" 2 "$minim" train --device cuda "${common[@]}" --batch 8 --steps 6 \
    --grad-sync "$sync" --output "$sync"
  contains tcp.log "2 ranks are connected by NCCL"
done
same_run all-reduce reduce-scatter
NVTX_INJECTION64_PATH=$(dirname "${3%%:*}")/libdouble_nvtx.so \
  expect 0 mpi.log ranks 2 train --device cuda "${common[@]}" --autotune on --batch 8 --steps 6 --output mpi
contains mpi.log "2 ranks are connected by NCCL"
for range in forward backward update; do contains mpi.log "range $range"; done
same_run all-reduce mpi
# Rank 0 has timed plans before the others needed them, and they found what it chose.
[ "$(grep -c "^\(convolution\|data gradient\|weight gradient\) of fp16, .* = [0-9]" plans/*.plans)" -eq 7 ] || fail "the plan cache is not that of lenet"
MINIM_DOUBLE_CALLS=$scratch/calls expect 0 cached.log ranks 2 train --device cuda "${common[@]}" --autotune on --batch 8 --steps 6 --output cached
! grep -qx cudaEventElapsedTime calls || fail "plans were timed although the cache has them"
same_run mpi cached

# A step that is traced has all that is planned, in the order of each stream, and the same bits.
parts=("${common[@]}" --batch 8 --accumulate 2 --bucket-mb 0.05)
expect 0 whole.log ranks 2 train --device cuda "${parts[@]}" --steps 6 --output whole
MINIM_DOUBLE_SCHEDULE=lazy expect 0 traced.log ranks 2 train --device cuda "${parts[@]}" --steps 6 --trace 3 --output traced
same_run whole traced
expect 0 listed.log env -u LD_LIBRARY_PATH "$minim" plan --ranks 2 --dataset synthetic --samples 64 --batch 8 --accumulate 2 \
  --bucket-mb 0.05 --device cpu --operations
expect 0 check.log python3 "$(dirname "$0")/../../launcher/check_trace.py" traced/trace.json listed.log 2 2

# Looking at numbers changes none, and what is seen of the weights of the first step is what a CPU sees.
expect 0 seen.log ranks 2 train --device cuda "${common[@]}" --autotune on --batch 8 --steps 6 --inspect --inspect-every 2 --output seen
same_run mpi seen
expect 0 seen_cpu.log ranks 2 train --device cpu "${common[@]}" --batch 8 --steps 1 --inspect --output seen_cpu
for run in seen seen_cpu; do
  expect 0 csv.log "$minim" inspect "$run" --step 1 --csv "$run.csv"
  grep ',weight,' "$run.csv" | cut -d, -f4-17 >"$run.weights"
  cut -d, -f4-8 "$run.csv" >"$run.tensors"
done
cmp seen.weights seen_cpu.weights || fail "the device has seen other weights than the CPU"
cmp seen.tensors seen_cpu.tensors || fail "the device has seen other tensors than the CPU"

# What `minim plan` says without a device is what the device has had to give. cuBLASLt's workspaces are unknown to it.
expect 0 plan.log env -u LD_LIBRARY_PATH "$minim" plan --device h100 --ranks 2 --dataset synthetic --samples 64 --batch 8 --steps 6
for kind in "weights" "master weights" "moments" "gradients" "activations" "state" "input"; do
  planned=$(sed -nE "s/^$kind  +[0-9.]+ [KMGi]*B  +(.*)/\1/p" plan.log)
  allocated=$(sed -nE "s/^$kind  +([0-9].*)/\1/p" mpi.log)
  [ -n "$planned" ] && [ "$planned" = "$allocated" ] || fail "$kind: planned '$planned', allocated '$allocated'"
done

follows_cpu 2 "${lenet[@]}"
follows_cpu 2 "${resnet[@]}"
same_under_all "" 2 "${common[@]}" --batch 4 --steps 5 "${resnet[@]}"
