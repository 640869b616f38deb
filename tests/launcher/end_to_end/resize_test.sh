# A checkpoint continues at another number of ranks, and goes on with the same samples.
. "$(dirname "$0")/harness.sh"

# 6 samples a step at every size; one epoch is 20 steps.
options=(--dataset synthetic --samples 120 --log-every 1 --lr 0.01 --schedule constant --weight-decay 0)
expect 0 two.log ranks 2 train "${options[@]}" --batch 3 --steps 10 --output run
expect 0 three.log ranks 3 train --resume --output run --batch 2 --steps 20
expect 0 one.log ranks 1 train --resume --output run --batch 6 --steps 30
contains three.log "continuing run after step 10"
contains one.log "continuing run after step 20"
expect 0 inspect.log "$minim" inspect run
grep -qE "^step-00000030 +30 .* 180 " inspect.log || fail "30 steps of 6 samples are 180 samples"

# FP32 on one rank sees the same samples: its losses follow within what FP16 gradients and another order of sums may change.
expect 0 whole.log ranks 1 train "${options[@]}" --batch 6 --steps 30 --precision fp32 --output whole
losses() { sed -nE 's/.*"event":"step".*"loss":([0-9.e-]+),.*/\1/p' "$1/metrics.jsonl"; }
paste <(losses run) <(losses whole) | awk '
  { difference = $1 - $2; if (difference < 0) difference = -difference; if (difference > 0.02 * $2) { print; bad = 1 } }
  END { exit bad || NR != 30 }' || fail "other samples or other updates than in one run"
