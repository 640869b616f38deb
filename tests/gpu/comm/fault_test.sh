# Faults of one of two ranks on doubles of CUDA's libraries: who is left says what failed and ends with the code that the README gives,
# and the run continues from its last checkpoint.
# fault_test.sh MINIM MPIEXEC LIBRARIES some|every: how many of the calls for memory fail, one at a time.
. "$(dirname "$0")/on_doubles.sh"

run=(train --device cuda --dataset synthetic --samples 64 --batch 8 --schedule constant --checkpoint-every 2 --log-every 1
     --progress plain --threads 1 --autotune off)

# pair LOG RANK FAULT ARGUMENTS...: minim as two ranks that meet over TCP, of which RANK has FAULT in its environment. Sets codes to
# how they have ended.
pair() {
  local log=$1 faulty=$2 fault=$3 rank code environment processes=()
  shift 3
  rm -f meeting
  for rank in 0 1; do
    environment=(MINIM_RENDEZVOUS="$scratch/meeting" MINIM_WORLD_SIZE=2 MINIM_RANK="$rank")
    [ "$rank" -ne "$faulty" ] || environment+=("$fault")
    env "${environment[@]}" "$minim" "$@" >"$log.$rank" 2>&1 &
    processes+=($!)
  done
  codes=()
  for rank in 0 1; do
    code=0
    wait "${processes[rank]}" || code=$?
    codes+=("$code")
  done
  cat "$log.0" "$log.1" >"$log"
}
ended() { [ "${codes[*]}" = "$1" ] || fail "ranks have ended with ${codes[*]}, wanted $1: $2"; }
says() { grep -qE -- "$2" "$1" || fail "$1 does not say: $2"; }
# again NAME: a run that has got to step 4.
again() { rm -rf "$1" && cp -r base "$1"; }
# continues NAME: the run goes on from its newest checkpoint, as if nothing had been.
continues() {
  expect 0 resumed.log ranks 2 train --output "$1" --resume --steps 8 --progress plain
  says resumed.log "continuing $1 after step [46]"
  same_run whole "$1"
}

expect 0 whole.log ranks 2 "${run[@]}" --steps 8 --output whole
expect 0 base.log ranks 2 "${run[@]}" --steps 4 --output base
for rank in 0 1; do
  again counted
  pair counted.log "$rank" MINIM_DOUBLE_CALLS="$scratch/calls.$rank" train --output counted --resume --steps 8 --progress plain
  ended "0 0" "nothing was wrong"
done
# calls RANK FUNCTION: how many of them the rank makes to get from step 4 to step 8.
calls() { grep -cx "$2" "calls.$1"; }

# A rank dies in the middle of an all-reduce, after step 6 has been saved.
again killed
pair killed.log 1 MINIM_DOUBLE_KILL=3 train --output killed --resume --steps 8 --progress plain
ended "4 137" "rank 1 was killed"
says killed.log '^minim: rank 0: rank 1 is gone in all-reduce of "'
[ -e killed/checkpoints/step-00000006/manifest.json ] || fail "step 6 was not saved"
continues killed

# The host of a rank sleeps, its device does not.
again asleep
resume=(train --output "$scratch/asleep" --resume --steps 8 --progress none --deadline 3)
expect 4 asleep.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" "${resume[@]}" : \
  -np 1 env "MINIM_DOUBLE_FAIL=cudaEventRecord:$(($(calls 1 cudaEventRecord) * 3 / 4)):0" "$minim" "${resume[@]}"
says asleep.log '^minim: rank 0: .* of .*rank 1 missing after 3'
while pgrep -f -- "--output $scratch/asleep" >/dev/null; do sleep 0.01; done
continues asleep

# A rank has another batch.
expect 2 batch.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" "${run[@]}" --output batch : \
  -np 1 "$minim" "${run[@]}" --output batch --batch 4
says batch.log '^minim: rank 1: was started with another configuration than rank 0'

# A device is lost in the middle of the run.
again lost
pair lost.log 1 "MINIM_DOUBLE_FAIL=cudaLaunchKernel:$(($(calls 1 cudaLaunchKernel) * 3 / 4)):719" \
  train --output lost --resume --steps 8 --progress plain
ended "4 1" "the device of rank 1 was lost"
says lost.log '^minim: rank 1: .*CUDA error 719'
says lost.log '^minim: rank 0: .*rank 1.*CUDA error 719'
continues lost

# One call for memory fails. All of them are made before the run goes on.
for faulty in 0 1; do
  for function in cudaMalloc cudaHostAlloc; do
    last=$(calls "$faulty" "$function")
    failing=$(seq "$last")
    if [ "$4" = some ]; then failing="1 $((last / 2)) $last"; fi
    for call in $failing; do
      again unfed
      pair unfed.log "$faulty" "MINIM_DOUBLE_FAIL=$function:$call:2" train --output unfed --resume --steps 8 --progress plain
      ended "1 1" "call $call of $function has failed on rank $faulty"
      says unfed.log "^minim: .*rank $faulty.* has no [0-9]+ bytes of (page-locked )?memory for [a-z]"
      [ "$(grep -c '^minim: ' unfed.log)" -eq 1 ] || fail "not exactly one sentence"
      diff -r base/checkpoints unfed/checkpoints >changed.log || fail "the checkpoints have changed"
    done
  done
done
continues unfed
