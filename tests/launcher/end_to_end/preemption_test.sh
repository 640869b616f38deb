# A run that is told to stop saves at one step on all ranks, leaves with 75, and continues as if nothing had happened.
. "$(dirname "$0")/harness.sh"

expect 0 whole.log ranks 2 "${slow_run[@]}" --output whole

start usr1.log 2 "${slow_run[@]}" --output usr1
wait_for "its first record" test -s usr1/metrics.jsonl
kill -USR1 "$job"  # mpirun hands it on to the ranks
finish 75
has_checkpoint usr1 || fail "nothing was saved"
[ "$(grep -c '"event":"step"' usr1/metrics.jsonl)" -lt 40 ] || fail "the run was not stopped"

# SIGTERM to one rank stops all of them.
start term.log 2 "${slow_run[@]}" --output usr1 --resume --progress plain
wait_for "it continues" grep -qs continuing term.log
kill -TERM "$(rank_process 1)"
finish 75 0
contains term.log "continuing usr1 after step"

expect 0 resumed.log ranks 2 train --output usr1 --resume
same_run whole usr1

# The end of a Slurm allocation is a request to stop. When the ranks learn of it the next step is under way.
SLURM_JOB_END_TIME=$(($(date +%s) + 60)) expect 75 slurm.log ranks 2 "${slow_run[@]}" --output slurm --progress plain
contains slurm.log "the end of the allocation after step 2 and saved"
