# Sourced by the scripts beside it: what mpirun needs to be told on this machine.
# Open MPI refuses to start as root unless asked twice; containers often have no other user.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
