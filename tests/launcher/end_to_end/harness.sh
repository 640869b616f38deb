# Sourced by the scripts beside it, which ctest runs as `bash SCRIPT MINIM MPIEXEC`. Works in a directory of its own that goes away.
set -euo pipefail
minim=$1
mpiexec=$2
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=1
if [ -n "${MINIM_ONE_CORE:-}" ]; then  # and so one thread of each process
  taskset -cp "$(sed -nE 's/^Cpus_allowed_list:[^0-9]*([0-9]+).*/\1/p' /proc/self/status)" $$ >/dev/null
fi

scratch=$(mktemp -d)
job=  # the mpirun in the background
clean_up() {
  exec 2>/dev/null
  if [ -n "$job" ]; then
    pkill -KILL -P "$job" || true
    kill -KILL "$job" || true
    wait "$job" || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT
cd "$scratch"

fail() {
  echo "FAILED: $*" >&2
  for log in *.log; do [ -e "$log" ] && sed "s/^/$log: /" "$log" >&2; done
  exit 1
}

# ranks N ARGUMENTS...: minim under mpirun.
ranks() {
  local count=$1
  shift
  "$mpiexec" --oversubscribe --bind-to none -np "$count" "$minim" "$@"
}

# expect CODE LOG COMMAND...: runs it with its output in LOG and checks the exit code.
expect() {
  local wanted=$1 log=$2 code=0
  shift 2
  "$@" >"$log" 2>&1 || code=$?
  [ "$code" -eq "$wanted" ] || fail "exit code $code, wanted $wanted: $*"
}

# contains LOG TEXT: the log has a line with this text.
contains() { grep -qF -- "$2" "$1" || fail "$1 does not say: $2"; }

# start LOG N ARGUMENTS...: minim under mpirun in the background; mpirun's process becomes $job.
start() {
  local log=$1 count=$2
  shift 2
  "$mpiexec" --oversubscribe --bind-to none -np "$count" "$minim" "$@" >"$log" 2>&1 &
  job=$!
}

# wait_for DESCRIPTION CONDITION...: polls; gives up when the job has ended without it.
wait_for() {
  local what=$1
  shift
  until "$@"; do
    kill -0 "$job" 2>/dev/null || fail "the run ended before $what"
    sleep 0.01
  done
}

# finish CODES: waits for the job; its exit code must be one of CODES.
finish() {
  local code=0
  wait "$job" || code=$?
  job=
  case " $* " in *" $code "*) ;; *) fail "exit code $code, wanted one of: $*" ;; esac
}

# rank_process R: process of rank R of the job.
rank_process() {
  local process
  for process in $(pgrep -P "$job"); do
    if tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qxE "(OMPI_COMM_WORLD|MINIM)_RANK=$1"; then
      echo "$process"
      return
    fi
  done
}

# same_run A B: the same metrics, fields of time aside, and the same parameters, bit for bit.
same_run() {
  local run
  for run in "$1" "$2"; do
    sed -E 's/"(samples_per|elapsed)_seconds?":[^,}]*,?//g' "$run/metrics.jsonl" >"$run/metrics.timeless"
    "$minim" export "$run" "$run/weights.safetensors" --dtype fp32 >/dev/null
  done
  cmp "$1/metrics.timeless" "$2/metrics.timeless" || fail "$1 and $2 have different metrics"
  cmp "$1/weights.safetensors" "$2/weights.safetensors" || fail "$1 and $2 have different parameters"
}

# as_planned LOG ARGUMENTS...: what `minim plan ARGUMENTS` says beforehand is what the run of the log has allocated.
as_planned() {
  local log=$1 kind planned allocated
  shift
  expect 0 plan.log "$minim" plan "$@"
  for kind in "weights" "master weights" "moments" "gradients" "activations" "workspace" "state" "input" "staging"; do
    planned=$(sed -nE "s/^$kind  +[0-9.]+ [KMGi]*B  +(.*)/\1/p" plan.log)
    allocated=$(sed -nE "s/^$kind  +([0-9].*)/\1/p" "$log")
    [ -n "$planned" ] && [ "$planned" = "$allocated" ] || fail "$kind: planned '$planned', allocated '$allocated'"
  done
  planned=$(sed -nE "s/^memory  +[0-9.]+ [KMGi]*B  +(.*)/\1/p" plan.log)
  allocated=$(sed -nE "s/^memory of rank 0  +([0-9].*)/\1/p" "$log")
  [ -n "$planned" ] && [ "$planned" = "$allocated" ] || fail "in all: planned '$planned', allocated '$allocated'"
}

# Steps that take some ten milliseconds, so that a run can be caught in the middle; a dozen of them are an epoch.
slow_run=(train --model resnet-18 --width 8 --dataset synthetic --samples 200 --batch 8 --steps 40 --log-every 1
          --loss-scale-interval 5 --checkpoint-every 10 --progress none)
has_checkpoint() { [ -n "$(find "$1/checkpoints" -name manifest.json -path '*step-*' 2>/dev/null)" ]; }
