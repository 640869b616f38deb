# Two ranks train on doubles of CUDA's libraries, connected by NCCL, which finds its ranks by MPI or over TCP.
# train_test.sh MINIM MPIEXEC LIBRARIES: these are interposed, separated by colons.
. "$(dirname "$0")/../../launcher/end_to_end/harness.sh"
on_doubles=(env LD_PRELOAD="$3" "$minim" train --device cuda --dataset synthetic --samples 64 --batch 8 --steps 6 --log-every 1
            --progress plain --threads 1)

for sync in all-reduce reduce-scatter fp32-accumulate; do
  expect 0 tcp.log "$(dirname "$0")/../../start_ranks.sh" 2 "${on_doubles[@]}" --grad-sync "$sync" --output "$sync"
  contains tcp.log "2 ranks are connected by NCCL"
done
same_run all-reduce reduce-scatter

expect 0 mpi.log "$mpiexec" --oversubscribe --bind-to none -np 2 "${on_doubles[@]}" --output mpi
contains mpi.log "2 ranks are connected by NCCL"
same_run all-reduce mpi
