#!/bin/sh
# Installs what `make`, `make test` and `make bench` need, on Debian and Ubuntu; elsewhere says what to install.
set -eu
packages="g++ make libutf8proc-dev nlohmann-json3-dev libcli11-dev libopenblas-openmp-dev libopenmpi-dev openmpi-bin catch2"
if ! command -v apt-get > /dev/null; then
    echo "This is not Debian or Ubuntu. Install with your package manager: a C++20 compiler, make, utf8proc," \
        "nlohmann-json and CLI11; for tests Catch2; optional: OpenBLAS, Open MPI." >&2
    exit 1
fi
missing=""
for package in $packages; do
    if ! dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q '^install ok installed$'; then
        missing="$missing $package"
    fi
done
if [ -z "$missing" ]; then
    exit 0
fi
echo "installing:$missing"
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    sudo="sudo"
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
