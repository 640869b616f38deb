# Two ranks train under ThreadSanitizer on doubles of CUDA's libraries: a wait that is missing anywhere between host, streams and
# collectives is a data race, whatever the numbers are.
# tsan_test.sh MINIM MPIEXEC LIBRARIES
. "$(dirname "$0")/on_doubles.sh"
export TSAN_OPTIONS="halt_on_error=1 suppressions=$(dirname "$0")/../../thread_sanitizer.supp"

# trains GRAD_SYNC CUDA_GRAPH
trains() {
  expect 0 train.log "$(dirname "$0")/../../start_ranks.sh" 2 "$minim" train --device cuda --model resnet-18 --width 8 --image-size 16 \
    --dataset synthetic --samples 32 --batch 4 --accumulate 2 --steps 4 --log-every 1 --progress plain --threads 1 --autotune off \
    --grad-sync "$1" --cuda-graph "$2" --output "$1-$2"
  contains train.log "2 ranks are connected by NCCL"
}
trains all-reduce off
trains all-reduce on
trains reduce-scatter on
trains fp32-accumulate on
