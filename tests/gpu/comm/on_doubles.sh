# Sourced by the scripts beside it, which ctest runs as `bash SCRIPT MINIM MPIEXEC LIBRARIES ...`. From here on $minim computes on
# doubles of CUDA's libraries: LIBRARIES, separated by colons, are interposed.
. "$(dirname "$0")/../../launcher/end_to_end/harness.sh"
printf '#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' "$3" "$minim" >minim
chmod +x minim
minim=$scratch/minim
export MINIM_PLAN_CACHE=$scratch/plans
