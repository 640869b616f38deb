#!/usr/bin/env bash
# Installs what is missing, builds everything and runs the tests.
# usage: deploy/test.sh [--preset release|debug|cuda|asan|tsan|cuda-tsan] [--slow] [ctest options]
# --slow: also what takes many minutes, the tests with the label "slow".
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
if [ "${1:-}" = --preset ]; then
  preset=${2:?--preset wants a name}
  shift 2
fi
without=(--label-exclude '^slow$')
if [ "${1:-}" = --slow ]; then
  without=()
  shift
fi

deploy/install-deps.sh
. deploy/environment.sh

# Exported files and TensorBoard's events are read back with another implementation of their format.
if ! build/venv/bin/python -c 'import safetensors, numpy, tensorboard' 2>/dev/null; then
  python3 -m venv build/venv
  build/venv/bin/python -m pip install --quiet --disable-pip-version-check safetensors numpy tensorboard
fi

# Read by programs that were built with a sanitizer only. ThreadSanitizer ends a program at its first report, so that a rank that
# leaves in haste cannot hide it; AddressSanitizer refuses memory that there is not as the system does.
export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS="print_suppressions=0 suppressions=$PWD/tests/leak_sanitizer.supp" TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/thread_sanitizer.supp"

# The CUDA module runs on doubles, for which one architecture is as good as all.
export CUDAARCHS=${CUDAARCHS:-90}
options=(-DMINIM_PYTHON="$PWD/build/venv/bin/python")
[ "$preset" = release ] && options+=(-DMINIM_CUDA=AUTO)  # whatever the build was made for before
cmake --preset "$preset" "${options[@]}"
cmake --build --preset "$preset"
exec ctest --test-dir "build/$preset" --output-on-failure -j "$(nproc)" "${without[@]}" "$@"
