# Memory that the machine has but one rank does not get: it fails in set-up, and the directory can be used again.
. "$(dirname "$0")/harness.sh"

run=(train --dataset synthetic --samples 64 --batch 65536 --steps 1 --progress none --output starved)
expect 1 starved.log "$mpiexec" --oversubscribe --bind-to none -np 1 "$minim" "${run[@]}" : -np 1 bash -c 'ulimit -v 1500000; exec "$0" "$@"' "$minim" "${run[@]}"
[ "$(grep -c '^minim: ' starved.log)" -eq 1 ] || fail "not exactly one sentence"
contains starved.log "minim: rank 1: "
expect 0 fed.log ranks 1 train --dataset synthetic --samples 64 --batch 8 --steps 1 --progress none --output starved
