# The trace of a step has all of it, on every rank, and changes no number.
. "$(dirname "$0")/harness.sh"
check=$(dirname "$0")/../check_trace.py

network=(--model resnet-18 --width 4 --dataset synthetic --samples 64 --batch 4 --accumulate 2)
options=("${network[@]}" --bucket-mb 0.02 --steps 6 --log-every 1)
expect 0 plain.log ranks 2 train "${options[@]}" --output plain
[ ! -e plain/trace.json ] || fail "a trace that nobody has asked for"
expect 0 traced.log ranks 2 train "${options[@]}" --trace 3 --output traced
same_run plain traced
expect 0 plan.log "$minim" plan "${network[@]}" --ranks 2 --bucket-mb 0.02 --operations
expect 0 check.log python3 "$check" traced/trace.json plan.log 2 2
contains traced.log "step 3: when everything ran is in traced/trace.json"
contains traced.log "between them"
contains traced.log "conv2d"

# The first step, the last one, one rank; gradients that are not sent in FP16; ranks with a clock each, as far as is known.
expect 0 first.log ranks 1 train "${options[@]}" --trace 1 --output first
expect 0 check.log python3 "$check" first/trace.json plan.log 1 2
expect 0 last.log ranks 2 train "${options[@]}" --trace 6 --grad-sync fp32-accumulate --ranks-per-node 1 --output last
[ -s last/trace.json ] || fail "the last step was not traced"

expect 2 refused.log ranks 2 train "${options[@]}" --trace 7 --output refused
contains refused.log "--trace is 7, the run has 6 steps"
expect 2 negative.log ranks 2 train "${options[@]}" --trace -1 --output negative
contains negative.log "--trace is -1"
