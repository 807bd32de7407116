#!/bin/sh
# Runs each fuzz target for some seconds, from its seeds and what earlier runs kept. Exit status 1 when one found something;
# the input is left in the folder of the build.
#
#     tests/fuzz/run.sh BUILD SECONDS TARGET...
set -u
build=$1
seconds=$2
shift 2
failed=""
"$build/fuzz/seeds" "$build/fuzz/seeds.d" || exit 1
for target; do
    mkdir -p "$build/fuzz/corpus/$target"
    echo "== $target, $seconds s"
    # An input of 64 KB must not lead to an allocation of more than 32 MB, nor take more than ten seconds.
    if ! "$build/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -malloc_limit_mb=32 \
        -print_final_stats=0 -verbosity=0 -artifact_prefix="$build/fuzz/$target-" "$build/fuzz/corpus/$target" \
        "$build/fuzz/seeds.d/$target" > "$build/fuzz/$target.log" 2>&1; then
        tail -n 40 "$build/fuzz/$target.log"
        failed="$failed $target"
    fi
done
if [ -n "$failed" ]; then
    echo "fuzz: found something:$failed"
    exit 1
fi
echo "fuzz: nothing found"
