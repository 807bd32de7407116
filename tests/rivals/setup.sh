#!/bin/sh
# Sets up the rivals of tests/rivals/compare.py from PyPI: FOLDER becomes a virtual environment with all of them.
#
#   tests/rivals/setup.sh FOLDER
#
# llama-cpp-python is compiled for this processor: ten minutes and more. SKINTERN_TORCH_INDEX names another package
# index for torch, such as the one with its smaller edition for CPUs.
set -eu
folder=${1:?usage: tests/rivals/setup.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
missing() {
    echo "setup.sh: $1" >&2
    exit 1
}
python3 -c "import venv, ensurepip" 2> /dev/null || missing "python3 has no venv: apt-get install python3-venv"
command -v c++ > /dev/null || missing "llama.cpp is compiled and needs a C++ compiler: apt-get install g++"
[ -x "$folder/bin/python" ] || python3 -m venv "$folder"
pip="$folder/bin/python -m pip install --quiet"
# shellcheck disable=SC2086
{
    $pip ${SKINTERN_TORCH_INDEX:+--index-url "$SKINTERN_TORCH_INDEX"} torch || missing "pip cannot install torch"
    $pip numpy safetensors tokenizers transformers peft gguf || missing "pip cannot install transformers, peft and gguf"
    # See tile_config.h: without it llama.cpp ends with a segmentation fault where GCC before 14 meets AMX. pip may have kept what
    # it once compiled with other flags.
    CMAKE_ARGS="-DCMAKE_CXX_FLAGS=-include\ $here/tile_config.h" \
        $pip --no-cache-dir --no-binary llama-cpp-python llama-cpp-python || missing "pip cannot build llama-cpp-python"
}
echo "$folder/bin/python is ready for tests/rivals/compare.py"
