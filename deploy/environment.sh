# Sourced by the scripts beside it: what mpirun and the build need to be told on this machine.
# Open MPI refuses to start as root unless asked twice; containers often have no other user.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# The CUDA module, where it is built, is built for this machine's GPUs, or for one architecture where there is none.
if [ -z "${CUDAARCHS:-}" ]; then
  if nvidia-smi -L >/dev/null 2>&1; then CUDAARCHS=native; else CUDAARCHS=90; fi
fi
export CUDAARCHS
