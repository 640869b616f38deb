#!/usr/bin/env bash
# Installs the Debian packages that minim builds and runs with. Does nothing when all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache                      # build
  libopenmpi-dev openmpi-bin libboost-dev           # communication
  libdnnl-dev libhwy-dev                            # CPU kernels
  libcli11-dev libfmt-dev nlohmann-json3-dev zlib1g-dev  # command line, text, files
  libjpeg62-turbo-dev libpng-dev                    # images
  libgtest-dev python3-venv procps pkg-config                  # tests
  doxygen                                           # reference
  dataset-fashion-mnist                             # data of the default run
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing: ${missing[*]}"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "error: not root and no sudo; ask an administrator to install: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
