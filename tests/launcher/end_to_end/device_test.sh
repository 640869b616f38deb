# The same program without CUDA: `auto` computes on the CPU, `cuda` is refused in one sentence, `doctor` says why. The third argument
# is a folder of stand-ins for the CUDA module.
. "$(dirname "$0")/harness.sh"
modules=$3
export CUDA_VISIBLE_DEVICES=  # also where there is a GPU
tiny=(--dataset synthetic --samples 16 --batch 4 --steps 2 --progress plain)

# What this build finds by itself, be it no module or no device.
expect 0 auto.log "$minim" train "${tiny[@]}" --output auto
expect 2 cuda.log "$minim" train "${tiny[@]}" --device cuda --output cuda
[ "$(wc -l <cuda.log)" -eq 1 ] || fail "not exactly one sentence"
contains cuda.log "minim: --device cuda: "
[ ! -e cuda ] || fail "a run that was refused left a directory"
expect 0 doctor.log "$minim" doctor
contains doctor.log "no cuda: "

# check MODULE TEXT: a module that cannot be used, for the reason TEXT.
check() {
  export MINIM_CUDA_MODULE=$1
  expect 0 auto.log "$minim" train "${tiny[@]}" --output "run-${1##*/}"
  expect 2 cuda.log ranks 2 train "${tiny[@]}" --device cuda
  contains cuda.log "minim: rank 0: --device cuda: "
  [ "$(grep -c '^minim: ' cuda.log)" -eq 1 ] || fail "not exactly one sentence"
  expect 0 doctor.log "$minim" doctor
  for log in cuda doctor; do contains $log.log "$2"; done
}
check /nonexistent/module.so "/nonexistent/module.so"
[ -e /dev/nvidia0 ] || [ "$(grep -c "computing on the CPU" auto.log)" -eq 0 ] || fail "there is neither a GPU nor a module, but a notice"
check "$modules/libunloadable_cuda_module.so" "libabsent_cuda_library.so"
contains auto.log "computing on the CPU: "
check "$modules/libdeviceless_cuda_module.so" "there is no driver here"
contains auto.log "computing on the CPU: there is no driver here"
