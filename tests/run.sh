#!/bin/sh
# Runs every test binary and the command-line tests, and ends with one line: N passed, N failed.
# A test is one Catch2 test case, or one check of tests/*.sh, tests/cuda_report.py or tests/oracles.py.
set -u
build=${BUILD:-build}
passed=0
failed=0

# tally LOG STATUS: counts the lines "ok" and "not ok" of a script, which ends with status 0 when it has come to its end.
# Another status without a "not ok" is one failure.
tally() {
    grep -v '^ok ' "$1"
    wrong=$(grep -c '^not ok ' "$1")
    if [ "$2" -ne 0 ] && [ "$wrong" -eq 0 ]; then
        echo "not ok: it ended with status $2 before its last check"
        wrong=1
    fi
    passed=$((passed + $(grep -c '^ok ' "$1")))
    failed=$((failed + wrong))
}

# Runs the tests of a program and counts them.
halves() {
    sh tests/halves.sh "$@" > "$build/tests/log" 2>&1
    sed '$d' "$build/tests/log"
    counted=$(tail -n 1 "$build/tests/log")
    passed=$((passed + ${counted%% *}))
    counted=${counted#*, }
    failed=$((failed + ${counted%% *}))
}

for program in "$build/tests/unit" "$build/tests/gradients"; do
    echo "== $program"
    halves "$program"
done

# The CUDA kernels on the CPU.
echo "== $build/cuda_host/unit"
export SKINTERN_TEST_DEVICE=cuda
halves "$build/cuda_host/unit" "[kernels]~[cpu],[weights],[cuda_host],[oracle]"
unset SKINTERN_TEST_DEVICE

# What nvcc made of them, where it was there.
echo "== tests/cuda_report.py"
if ! ls "$build"/kernels/cuda/*.ptxas > /dev/null 2>&1; then
    echo "skipped: what nvcc made of the CUDA kernels, this build has none"
else
    python3 tests/cuda_report.py --build "$build" --nvcc "${NVCC:-nvcc}" > "$build/tests/cuda_report.log" 2>&1
    tally "$build/tests/cuda_report.log" $?
fi

for script in rooms cli cuda mpi; do
    echo "== tests/$script.sh"
    BUILD=$build sh "tests/$script.sh" > "$build/tests/$script.log" 2>&1
    tally "$build/tests/$script.log" $?
done

echo "== tests/oracles.py"
oracles=${SKINTERN_SHARED:-../shared}/oracles
if ! python3 -c "import sys; sys.exit(sys.version_info < (3, 9))" 2> /dev/null; then
    echo "skipped: the oracles through the command line need python3, 3.9 or later"
elif [ ! -d "$oracles" ]; then
    echo "skipped: the oracles through the command line, there is no folder $oracles"
else
    python3 tests/oracles.py "$oracles" > "$build/tests/oracles.log" 2>&1
    tally "$build/tests/oracles.log" $?
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
