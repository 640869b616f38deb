# 40 steps are 40 steps, also when kill -9 hits in mid-epoch and the run continues from its newest checkpoint.
. "$(dirname "$0")/harness.sh"

expect 0 whole.log ranks 2 "${slow_run[@]}" --output whole

start killed.log 2 "${slow_run[@]}" --output killed
wait_for "its first checkpoint" has_checkpoint killed
kill -KILL "$(rank_process 1)"
finish 137 4
[ "$(grep -c '"event":"step"' killed/metrics.jsonl)" -lt 40 ] || fail "the run was not killed in time"
contains killed.log "minim: rank 0: rank 1 is gone"

expect 0 resumed.log ranks 2 train --output killed --resume --progress plain
contains resumed.log "continuing killed after step"
same_run whole killed

# A newest checkpoint that is damaged is passed over by name.
newest=$(find killed/checkpoints -name 'step-*' | sort | tail -1)
damaged=$(find "$newest" -name '*.safetensors' | sort | head -1)
printf 'x' | dd of="$damaged" bs=1 seek=$(($(stat -c %s "$damaged") - 3)) conv=notrunc status=none
expect 0 passed.log ranks 2 train --output killed --resume --progress plain
contains passed.log "passed over: $damaged"
same_run whole killed
