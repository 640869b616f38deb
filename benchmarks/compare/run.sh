#!/usr/bin/env bash
# Compares minim with the newest PyTorch on this machine's processors, which it installs under build/compare.
# usage: benchmarks/compare/run.sh speed|logits [options of speed.py or logits.py]
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:?speed or logits is wanted}
shift
deploy/install-deps.sh
. deploy/environment.sh
venv=build/compare
if ! "$venv/bin/python" -c 'import torch, torchvision, safetensors' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check torch torchvision safetensors numpy
fi
cmake --preset release >/dev/null
cmake --build --preset release --target minim_program
exec "$venv/bin/python" "benchmarks/compare/$what.py" "$@"
