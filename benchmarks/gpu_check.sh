#!/usr/bin/env bash
# What only a machine with a GPU can show, in one report: the CUDA tests without doubles, under compute-sanitizer where there is one,
# the same runs as on the CPU, and the throughput of the zoo beside PyTorch's where there is one.
# usage: benchmarks/gpu_check.sh [--build DIR] [--report FILE]; without --build it installs what is missing and builds first.
set -uo pipefail
cd "$(dirname "$0")/.."

build= report=gpu_report.md
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=${2:?--build wants a directory}; shift 2 ;;
    --report) report=${2:?--report wants a file}; shift 2 ;;
    *) echo "usage: benchmarks/gpu_check.sh [--build DIR] [--report FILE]" >&2; exit 2 ;;
  esac
done

nvidia-smi -L >/dev/null 2>&1 || { echo "error: nvidia-smi finds no GPU" >&2; exit 2; }
. deploy/environment.sh
if [ -z "$build" ]; then
  build=build/cuda
  { deploy/install-deps.sh && cmake --preset cuda && cmake --build --preset cuda; } || exit 1
fi
build=$(realpath "$build")
export MINIM_CUDA_MODULE=$build/launcher/libminim_cuda.so
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

say() { printf '%s\n' "$@" | tee -a "$report"; }

# check NAME COMMAND...: a line of the report with how the command ended; what it said stays in sight where it failed.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    say "| $name | passed | $(grep -oE '[0-9]+ tests?\.$|ERROR SUMMARY.*|RACECHECK SUMMARY.*' "$work/log" | tail -n 1) |"
  else
    say "| $name | **failed** | $(grep -E '^\[  FAILED' "$work/log" | sort -u | sed 's/, where.*//; s/ ([0-9]* ms)//' | cut -c 14- | sort -u | paste -s -d ' ' | cut -c 1-400) |"
    tail -n 20 "$work/log" >&2
    failed=1
  fi
}

minim() {
  local ranks=$1
  shift
  mpirun --oversubscribe --bind-to none -np "$ranks" "$build/launcher/minim" "$@"
}

: >"$report"
say "# minim on $(nvidia-smi --query-gpu=name --format=csv,noheader | sort | uniq -c | sed 's/^ *//' | paste -s -d ',')" ""
say "$(date +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)." ""

say "## Tests without doubles" "" "| what | result | |" "|---|---|---|"
tests=()
for test in "$build"/tests/gpu/kernels/cuda_{backend,kernel,dnn}_tests "$build"/tests/gpu/comm/nccl{,_trainer}_tests; do
  tests+=("$test")
  check "$(basename "$test")" timeout 600 "$test"
done
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
if [ -x "$sanitizer" ]; then
  # Of the slow tests those whose kernels exchange data between threads.
  filters=('*' '*BatchNorm*:*LayerNorm*:*Embedding*:*ResponseNorm*:*Loss*:*FoldSquares*:*MeasureUpdate*:*Agreement*:*CheckGradients*:-*ManyRows*')
  for tool in memcheck racecheck; do
    options=()
    [ $tool = memcheck ] && options=(--report-api-errors no)  # there are tests of calls that fail
    for i in 0 1; do
      check "$(basename "${tests[i]}") under $tool" \
        timeout 1200 "$sanitizer" --tool $tool --error-exitcode 9 "${options[@]}" "${tests[i]}" --gtest_filter="${filters[i]}"
    done
  done
else
  say "| compute-sanitizer | not installed | |"
fi
say ""

say "## The loss of every step, on the CPU and on the GPU" "" "| run | largest difference of 20 steps | after the first step |" "|---|---|---|"
# compare NAME RANKS OPTIONS...: trains both ways.
compare() {
  local name=$1 ranks=$2 device
  shift 2
  for device in cpu cuda; do
    if ! minim "$ranks" train --dataset synthetic --steps 20 --log-every 1 --device $device --output "$work/$name-$device" "$@" >"$work/log" 2>&1; then
      say "| $name | **failed** on $device | $(grep -m 1 'minim:' "$work/log") |"
      failed=1
      return
    fi
  done
  say "| $name | $(python3 - "$work/$name"-{cpu,cuda}/metrics.jsonl <<'P'
import json, sys
cpu, gpu = ([record["loss"] for record in map(json.loads, open(file)) if record["event"] == "step"] for file in sys.argv[1:])
differences = [abs(a - b) for a, b in zip(cpu, gpu, strict=True)]
print(f"{max(differences):.2g} | {differences[0]:.2g} |")
P
)"
}
for precision in mixed fp32 bf16; do
  compare "lenet-$precision" 1 --model lenet --batch 32 --precision $precision
  compare "resnet-18-of-width-16-$precision" 1 --model resnet-18 --width 16 --image-size 32 --batch 32 --precision $precision
done
compare lenet-mixed-on-two-ranks 2 --model lenet --batch 32 --accumulate 2
say ""

say "## All-reduce of an FP16 bucket" "" "Over all GPUs of the node. With one there is nothing to add: what is left is the cost of a call." ""
gpus=$(nvidia-smi -L | grep -c '^GPU')
if mpirun --oversubscribe --bind-to none -np "$gpus" "$build/benchmarks/nccl_bench" >"$work/bench" 2>"$work/log"; then
  say "$gpus ranks:" "" "$(cat "$work/bench")"
else
  say "**failed**: $(tail -n 1 "$work/log")"
  failed=1
fi
say ""

say "## Throughput of one GPU, images/s" "" "Training steps on synthetic images, the last 10 of 40; PyTorch with channels last and, but for fp32, autocast." ""
say "| network | precision | batch | minim | PyTorch |" "|---|---|---|---|---|"
pytorch() { python3 benchmarks/compare/pytorch_steps.py "$@" --device cuda --steps 10 --warm-up 30 2>"$work/log" | xargs -r printf "%.0f" | grep . || echo "not available"; }
# throughput MODEL PRECISION BATCH OPTIONS...
throughput() {
  local model=$1 precision=$2 batch=$3 own
  shift 3
  minim 1 train --dataset synthetic --model "$model" --precision "$precision" --batch "$batch" --samples $((batch * 10)) --steps 40 \
    --log-every 10 --eval-every 0 --checkpoint-every 1000 --device cuda --output "$work/t-$model-$precision" "$@" >"$work/log" 2>&1 ||
    failed=1
  own=$(python3 -c '
import json, sys
records = [record for record in map(json.loads, open(sys.argv[1])) if record["event"] == "step"]
print(round(records[-1]["samples_per_second"]))' "$work/t-$model-$precision/metrics.jsonl" 2>/dev/null || echo "**failed**")
  say "| $model | $precision | $batch | $own | $(pytorch "$model" "$precision" "$batch") |"
}
for precision in mixed bf16 fp32; do
  throughput resnet-50 $precision 64 --image-size 224 --classes 1000
  throughput resnet-18 $precision 128 --image-size 224 --classes 1000
done
# PyTorch's googlenet is another network: it normalises batches.
for model in alexnet vgg-d resnet-34 resnet-101; do throughput $model mixed 64 --image-size 224 --classes 1000; done
throughput inception-v3 mixed 64 --image-size 299 --classes 1000
say ""
exit $failed
