# A rank that stops or dies: every other rank ends within its deadline and says which rank was missing in which collective.
. "$(dirname "$0")/harness.sh"

endless=(train --dataset synthetic --samples 512 --batch 8 --steps 1000000 --log-every 1 --progress none --deadline 2)

start stopped.log 3 "${endless[@]}" --output stopped
wait_for "its first record" test -s stopped/metrics.jsonl
kill -STOP "$(rank_process 2)"
finish 4
for rank in 0 1; do grep -qE "^minim: rank $rank: .* of .*rank 2 missing after 2" stopped.log || fail "rank $rank does not name rank 2"; done

start killed.log 3 "${endless[@]}" --output killed
wait_for "its first record" test -s killed/metrics.jsonl
kill -KILL "$(rank_process 1)"
finish 4 137
for rank in 0 2; do grep -qE "^minim: rank $rank: rank 1 is gone in " killed.log || fail "rank $rank does not name rank 1"; done
! grep -q "stopped by" killed.log || fail "survivors took mpirun's SIGTERM for preemption"
