#!/usr/bin/env bash
# Installs what is missing, builds minim and trains a small network on Fashion-MNIST with two MPI ranks in mixed precision.
# usage: deploy/train.sh [options of `minim train`]; MINIM_RANKS sets the number of ranks.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/install-deps.sh
. deploy/environment.sh
# Compiling for GPUs takes long: only where there is one, and for that one.
cuda=OFF
if [ -e /dev/nvidiactl ]; then
  cuda=AUTO
  export CUDAARCHS=${CUDAARCHS:-native}
fi
log=build/release.log
mkdir -p build
{ cmake --preset release -DMINIM_CUDA=$cuda && cmake --build --preset release --target minim_program; } >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }

progress=()
[ -t 1 ] && progress=(--progress bar)
exec mpirun --oversubscribe --bind-to none -np "${MINIM_RANKS:-2}" build/release/launcher/minim train "${progress[@]}" "$@"
