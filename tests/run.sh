#!/bin/sh
# Runs every test binary and the command-line tests, and ends with one line: N passed, N failed.
# A test is one Catch2 test case, or one check of tests/*.sh, tests/cuda_report.py or tests/oracles.py.
set -u
build=${BUILD:-build}
passed=0
failed=0

# Counts the cases of a run of Catch2: their number, its exit status and its log.
count() {
    grep -v '^=*$' "$3" | tail -n 40
    wrong=$(sed -n 's/^test cases:.*| *\([0-9]*\) failed.*/\1/p' "$3")
    if [ "$2" -eq 0 ]; then
        wrong=0
    elif [ -z "$wrong" ]; then
        wrong=1 # it crashed before it could count
    fi
    failed=$((failed + wrong))
    passed=$((passed + $1 - wrong))
}

for binary in "$build/tests/unit" "$build/tests/gradients"; do
    echo "== $binary"
    "$binary" --reporter console > "$build/tests/log" 2>&1
    status=$?
    count "$("$binary" --list-test-names-only 2> /dev/null | grep -c .)" "$status" "$build/tests/log"
done

# The CUDA kernels on the CPU, every second test in a process of its own.
echo "== $build/cuda_host/unit"
half() {
    SKINTERN_TEST_DEVICE=cuda "$build/cuda_host/unit" --reporter console -f "$build/cuda_host/names-$1" \
        > "$build/cuda_host/log-$1" 2>&1
}
"$build/cuda_host/unit" --list-test-names-only "[kernels]~[cpu],[weights],[cuda_host],[oracle]" 2> /dev/null |
    sed -n 's/,/\\,/g; /./p' > "$build/cuda_host/names" # a comma would begin the next name
awk 'NR % 2 == 0' "$build/cuda_host/names" > "$build/cuda_host/names-0"
awk 'NR % 2 == 1' "$build/cuda_host/names" > "$build/cuda_host/names-1"
half 0 &
half 1
status=$?
count "$(grep -c . "$build/cuda_host/names-1")" "$status" "$build/cuda_host/log-1"
wait $!
status=$?
count "$(grep -c . "$build/cuda_host/names-0")" "$status" "$build/cuda_host/log-0"

# What nvcc made of them, where it was there.
echo "== tests/cuda_report.py"
if ! ls "$build"/kernels/cuda/*.ptxas > /dev/null 2>&1; then
    echo "skipped: what nvcc made of the CUDA kernels, this build has none"
else
    python3 tests/cuda_report.py --build "$build" --nvcc "${NVCC:-nvcc}" > "$build/tests/cuda_report.log" 2>&1
    grep -v '^ok ' "$build/tests/cuda_report.log"
    passed=$((passed + $(grep -c '^ok ' "$build/tests/cuda_report.log")))
    failed=$((failed + $(grep -c '^not ok ' "$build/tests/cuda_report.log")))
fi

for script in rooms cli cuda mpi; do
    echo "== tests/$script.sh"
    BUILD=$build sh "tests/$script.sh" > "$build/tests/$script.log" 2>&1
    grep -v '^ok ' "$build/tests/$script.log"
    passed=$((passed + $(grep -c '^ok ' "$build/tests/$script.log")))
    failed=$((failed + $(grep -c '^not ok ' "$build/tests/$script.log")))
done

echo "== tests/oracles.py"
oracles=${SKINTERN_SHARED:-../shared}/oracles
if ! python3 -c "import sys; sys.exit(sys.version_info < (3, 9))" 2> /dev/null; then
    echo "skipped: the oracles through the command line need python3, 3.9 or later"
elif [ ! -d "$oracles" ]; then
    echo "skipped: the oracles through the command line, there is no folder $oracles"
else
    python3 tests/oracles.py "$oracles" > "$build/tests/oracles.log" 2>&1
    status=$?
    grep -v '^ok ' "$build/tests/oracles.log"
    wrong=$(grep -c '^not ok ' "$build/tests/oracles.log")
    if [ "$status" -ne 0 ] && [ "$wrong" -eq 0 ]; then
        wrong=1 # it ended before it could count
    fi
    passed=$((passed + $(grep -c '^ok ' "$build/tests/oracles.log")))
    failed=$((failed + wrong))
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
