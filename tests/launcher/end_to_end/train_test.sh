# Two ranks train; what they leave behind can be evaluated, inspected, exported and fed back.
. "$(dirname "$0")/harness.sh"

options=(--dataset synthetic --samples 512 --batch 16 --epochs 2 --log-every 4)
expect 0 train.log ranks 2 train "${options[@]}" --output run
contains train.log "epoch 2/2"
contains train.log "results "
[ "$(grep -c '"event":"step"' run/metrics.jsonl)" -eq 8 ] || fail "32 steps with a record every 4 make 8 records"
[ "$(grep -c '"event":"evaluation"' run/metrics.jsonl)" -eq 2 ] || fail "2 epochs make 2 evaluations"

as_planned train.log "${options[@]:0:8}" --ranks 2

expect 0 eval.log "$minim" eval run
accuracy=$(sed -nE 's/^test +(loss.*%)$/\1/p' train.log)
contains eval.log "$accuracy"
expect 0 eval2.log ranks 3 eval run
contains eval2.log "$accuracy"

expect 0 inspect.log "$minim" inspect run
contains inspect.log "step-00000032"
contains inspect.log "master:conv1.weight"
expect 0 export.log "$minim" export run weights.safetensors
[ -s weights.safetensors ] || fail "nothing was exported"

# The resolved configuration starts the same run again.
expect 0 again.log ranks 2 train --config run/config.toml --output again
same_run run again

# Without --output a directory is made for each run.
expect 0 named.log ranks 2 train --dataset synthetic --samples 64 --batch 16 --epochs 1
[ -e runs/lenet-synthetic-*/config.toml ] || fail "no directory under runs/"

expect 0 doctor.log ranks 2 doctor
contains doctor.log "2 ranks on 1 node"
