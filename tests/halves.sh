#!/bin/sh
# Runs the tests of a Catch2 program, every second one in a process of its own, and ends with "N passed, N failed".
#   halves.sh PROGRAM [TESTS]      TESTS: names and tags as the program takes them; without it all
set -u
program=$1
failed=0

# The names of the tests, one a line. The option for that is not the same in Catch2 2 and 3.
list() {
    if "$program" --help 2> /dev/null | grep -q -e --list-test-names-only; then
        "$program" --list-test-names-only "$@" # its exit status is the number of tests
    else
        "$program" --list-tests --verbosity quiet "$@"
    fi
}

half() {
    [ -s "$program.names-$1" ] || return 0 # without any name the program would run every test
    "$program" --reporter console -f "$program.names-$1" > "$program.log-$1" 2> "$program.errors-$1"
}

# Adds up what a half says: its exit status, its number.
count() {
    grep -v '^=*$\|^Filters: \|^Randomness seeded to: ' "$program.log-$2" | cat "$program.errors-$2" - | tail -n 100
    listed=$(grep -c . "$program.names-$2")
    ran=$(sed -n 's/^All tests passed (.* in \([0-9]*\) test case.*/\1/p; s/^test cases: *\([0-9]*\) .*/\1/p' "$program.log-$2")
    wrong=$(sed -n 's/^test cases:.*| *\([0-9]*\) failed.*/\1/p' "$program.log-$2")
    if [ "$1" -ne 0 ]; then
        failed=$((failed + ${wrong:-1})) # without a count it crashed before it could count
    elif [ "$listed" -gt 0 ] && [ "$listed" -ne "${ran:-0}" ]; then
        echo "$program ran ${ran:-0} of $listed tests: one of the names in $program.names-$2 is not taken as it stands"
        failed=$((failed + 1))
    fi
}

# A name is quoted, and escaped where the program would see the end of a name; one that begins with # is quoted already.
list ${2:+"$2"} 2> /dev/null | sed -n 's/^"\(#.*\)"$/\1/; s/[\\",]/\\&/g; s/..*/"&"/p' > "$program.names"
all=$(grep -c . "$program.names")
if [ "$all" -eq 0 ]; then
    echo "$program lists no tests${2:+ for $2}"
    echo "0 passed, 1 failed"
    exit 1
fi
for n in 0 1; do
    awk "NR % 2 == $n" "$program.names" > "$program.names-$n"
    : > "$program.log-$n"
    : > "$program.errors-$n"
done
half 0 &
half 1
count $? 1
wait $!
count $? 0
if [ "$failed" -gt 0 ]; then # once more, where a reader of the end of a long log sees it
    grep -h -A 4 -e 'FAILED:' -e '^SUMMARY: .*Sanitizer' -e ': runtime error: ' "$program".log-[01] "$program".errors-[01] | tail -n 20
fi
echo "$((all - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
