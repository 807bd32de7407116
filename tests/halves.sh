#!/bin/sh
# Runs the tests of a Catch2 program, every second one in a process of its own, and ends with "N passed, N failed".
#   halves.sh PROGRAM [TESTS]      TESTS: names and tags as the program takes them; without it all
set -u
program=$1
"$program" --list-test-names-only ${2:+"$2"} 2> /dev/null | sed -n 's/,/\\,/g; /./p' > "$program.names" # a comma would begin the next name
all=$(grep -c . "$program.names")
failed=0

half() {
    "$program" --reporter console -f "$program.names-$1" > "$program.log-$1" 2>&1
}

# Adds up what a half says: its exit status, its number.
count() {
    grep -v '^=*$\|^Filters: ' "$program.log-$2" | tail -n 100
    if [ "$1" -ne 0 ]; then
        wrong=$(sed -n 's/^test cases:.*| *\([0-9]*\) failed.*/\1/p' "$program.log-$2")
        failed=$((failed + ${wrong:-1})) # without a count it crashed before it could count
    fi
}

if [ "$all" -eq 0 ]; then
    echo "$program lists no tests${2:+ for $2}"
    echo "0 passed, 1 failed"
    exit 1
fi
awk 'NR % 2 == 0' "$program.names" > "$program.names-0"
awk 'NR % 2 == 1' "$program.names" > "$program.names-1"
half 0 &
half 1
count $? 1
wait $!
count $? 0
echo "$((all - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
