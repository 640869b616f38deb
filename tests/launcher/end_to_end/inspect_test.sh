# A run with --inspect has the numbers of one without, and its report, table and page say what was seen.
. "$(dirname "$0")/harness.sh"

options=(--dataset synthetic --samples 512 --batch 16 --steps 12 --log-every 1 --progress none --loss-scale-initial 16777216)

# With batch norm over both ranks, and steps that are skipped.
network=(--model resnet-18 --width 8 --image-size 16 --sync-batch-norm)
expect 0 plain.log ranks 2 train "${options[@]}" "${network[@]}" --output plain
expect 0 seen.log ranks 2 train "${options[@]}" "${network[@]}" --inspect --inspect-every 5 --progress plain --output seen
same_run plain seen
[ "$(grep -c . seen/inspection.jsonl)" -eq 3 ] || fail "12 steps, one in 5 inspected, make 3 records"
contains seen.log "overflows"
as_planned seen.log --dataset synthetic --samples 512 --batch 16 --steps 12 --ranks 2 --inspect "${network[@]}"

expect 0 plain.log ranks 2 train "${options[@]}" --output plain2
expect 0 seen.log ranks 2 train "${options[@]}" --inspect --inspect-every 5 --progress plain --output seen2
same_run plain2 seen2
as_planned seen.log --dataset synthetic --samples 512 --batch 16 --steps 12 --ranks 2 --inspect
expect 0 alone.log "$minim" train "${options[@]}" --batch 32 --steps 1 --inspect --output alone

# Other sums of the same samples: activations of the first step are the same, whoever computes them.
for run in seen2 alone; do
  expect 0 csv.log "$minim" inspect "$run" --step 1 --csv "$run.csv"
  grep ',activation,' "$run.csv" | cut -d, -f4-13 >"$run.activations"
done
[ "$(wc -l <alone.activations)" -eq 7 ] || fail "lenet has 7 layers"
cmp seen2.activations alone.activations || fail "two ranks and one have seen other activations"

expect 0 report.log "$minim" inspect seen
contains report.log "steps from 1 to 11 inspected"
contains report.log "step 1 at S = 16777216: "
contains report.log "the first in backward were "
contains report.log "step-00000012"
expect 0 page.log "$minim" inspect seen --html page.html
contains page.html "</html>"
! grep -qE 'https?:|src=|href=|@import|url\(' page.html || fail "the page refers to something else"

expect 2 refused.log "$minim" inspect seen --step 2
contains refused.log "--step 2: was not inspected, these were: 1, 6, 11"
expect 2 refused.log "$minim" inspect plain --html page.html
contains refused.log "was not trained with --inspect"
expect 2 refused.log "$minim" train --inspect --inspect-every 0
contains refused.log "--inspect-every is 0"

# A run that goes on inspects the same steps as one that was not stopped.
resumable=(--checkpoint-every 4 --eval-every 0)
expect 0 whole.log ranks 2 train "${options[@]}" "${resumable[@]}" --keep 5 --inspect --inspect-every 3 --output whole
cp -r whole cut
rm -r cut/checkpoints/step-00000008 cut/checkpoints/step-00000012
expect 0 cut.log ranks 2 train --resume --output cut
cmp whole/inspection.jsonl cut/inspection.jsonl || fail "a resumed run has seen something else"
