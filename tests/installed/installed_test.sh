# Installs the build, and builds and runs the examples against that: bash installed_test.sh CMAKE BUILD SOURCE MPIEXEC COMPILER.
set -euo pipefail
cmake=$1 build=$2 source=$3 mpiexec=$4 compiler=$5
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
# trains_beside PROGRAM: it trains to the end while another rank does something else.
trains_beside() {
  "$mpiexec" --oversubscribe --bind-to none -np 3 "$1" | tee log
  grep -q '^simulated: ' log || fail "the simulation did not end"
  awk '/^step/ { loss[++n] = $4 } END { exit !(n == 4 && loss[4] < 0.5 * loss[1]) }' log || fail "the loss did not fall"
}

"$cmake" --install "$build" --prefix "$scratch/minim" >/dev/null
"$cmake" -S "$source/deploy/examples" -B examples -DCMAKE_PREFIX_PATH="$scratch/minim" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_BUILD_TYPE=Release >/dev/null
"$cmake" --build examples
trains_beside examples/train_beside_a_simulation

# The same with pkg-config alone.
export PKG_CONFIG_PATH="$scratch/minim/lib/pkgconfig"
# shellcheck disable=SC2046  # several words
"$compiler" -std=c++20 -O2 "$source/deploy/examples/train_beside_a_simulation.cpp" -o by_pkg_config \
  $(pkg-config --cflags --libs minim ompi-cxx) -Wl,-rpath,"$scratch/minim/lib"
trains_beside ./by_pkg_config

# The program finds what it needs where it has been put.
minim/bin/minim plan --model lenet | grep -q "61706 parameters" || fail "the installed program does not plan"
