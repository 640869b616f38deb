# Ranks that meet over TCP: they train as ranks of mpirun do, without MPI, and notice at once when one of them dies.
. "$(dirname "$0")/harness.sh"
start_ranks=$(dirname "$0")/../../start_ranks.sh

options=(train --dataset synthetic --samples 512 --batch 16 --steps 20 --log-every 4 --precision fp32 --progress none)
expect 0 mpi.log ranks 2 "${options[@]}" --output mpi
expect 0 tcp.log "$start_ranks" 2 "$minim" "${options[@]}" --output tcp
same_run mpi tcp

expect 0 doctor.log "$start_ranks" 2 "$minim" doctor
contains doctor.log "the ranks have met over TCP"

"$start_ranks" 3 "$minim" train --dataset synthetic --samples 512 --batch 8 --steps 1000000 --log-every 1 --progress none \
  --output killed >killed.log 2>&1 &
job=$!
wait_for "its first record" test -s killed/metrics.jsonl
kill -KILL "$(rank_process 1)"
finish 1
for rank in 0 2; do grep -qE "^minim: rank $rank: rank 1 is gone in " killed.log || fail "rank $rank does not name rank 1"; done

expect 2 lacking.log env MINIM_RENDEZVOUS=localhost:1 "$minim" doctor
contains lacking.log "MINIM_RENDEZVOUS is set, but neither MINIM_RANK nor SLURM_PROCID"
