#!/bin/sh
# Installs what `make`, `make test` and `make bench` need, on Debian and Ubuntu; elsewhere says what to install.
set -eu
packages="g++ make libutf8proc-dev nlohmann-json3-dev libcli11-dev libopenblas-openmp-dev libopenmpi-dev openmpi-bin catch2"
if ! command -v apt-get > /dev/null; then
    echo "This is not Debian or Ubuntu. Install with your package manager: a C++20 compiler (GCC 12 or Clang), make, utf8proc," \
        "nlohmann-json and CLI11; for tests Catch2; optional: OpenBLAS, Open MPI." >&2
    exit 1
fi

# install PACKAGE...: those of them that are missing.
install() {
    missing=""
    for package in "$@"; do
        if ! dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q '^install ok installed$'; then
            missing="$missing $package"
        fi
    done
    if [ -z "$missing" ]; then
        return 0
    fi
    echo "installing:$missing"
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        sudo="sudo"
    fi
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
}

# shellcheck disable=SC2086
install $packages
# The kernels need GCC 12. Where g++ is older, as Ubuntu 22.04's is, the Makefile takes g++-12 from beside it.
if [ "$(g++ -dumpversion | cut -d. -f1)" -lt 12 ]; then
    install g++-12
fi
