#!/bin/sh
# Runs every test binary and the command-line tests, and ends with one line: N passed, N failed.
# A test is one Catch2 test case, or one check of tests/rooms.sh, tests/cli.sh, tests/mpi.sh or tests/oracles.py.
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

for script in rooms cli mpi; do
    echo "== tests/$script.sh"
    sh "tests/$script.sh" > "$build/tests/$script.log" 2>&1
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
