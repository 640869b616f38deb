#!/usr/bin/env bash
# Builds the fuzzers and runs each for so many seconds [60], from the corpus and what earlier runs have found. Needs Debian's packages
# clang and libomp-dev. An input that a reader fails on is left in build/fuzz/findings: it belongs in corpus/, with its repair.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
. deploy/environment.sh
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz
export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS="print_suppressions=0 suppressions=$PWD/tests/leak_sanitizer.supp"
[ -d /dev/shm ] && export TMPDIR=/dev/shm
for target in cifar idx image shard; do
  mkdir -p "build/fuzz/inputs/$target" build/fuzz/findings
  echo "== $target"
  "build/fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -verbosity=1 -artifact_prefix="build/fuzz/findings/$target-" "build/fuzz/inputs/$target" "tests/fuzz/corpus/$target"
done
