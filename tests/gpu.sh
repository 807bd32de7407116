#!/bin/sh
# Everything that asks for a GPU, in one go of less than nine minutes: builds, tests every kernel on the device against the
# reference, lets compute-sanitizer watch them, trains on both backends and compares the losses, and times.
#
#   OUT=folder tests/gpu.sh        OUT (default out/gpu) gets gpu.jsonl, a line a measurement, and log.txt
#
# SKINTERN and UNIT name programs that are built already (make skintern build/tests/unit); LIMIT the seconds it may take.
# The exit status is 0 when all that was checked is right. Ends with a short table.
set -u
cd "$(dirname "$0")/.."
out=${OUT:-out/gpu}
limit=${LIMIT:-530}
begin=$(date +%s)
mkdir -p "$out" || exit 1
rows=$out/gpu.jsonl
log=$out/log.txt
: > "$rows"
: > "$log"
failed=0

left() { echo $((limit - $(date +%s) + begin)); }
# run SECONDS NAME COMMAND...: its output to the log; "ok" or "not ok", or "skipped" when there is no time.
run() {
    seconds=$1 name=$2
    shift 2
    if [ "$(left)" -lt 10 ]; then
        echo "skipped $name: no time is left"
        return 0
    fi
    [ "$(left)" -lt "$seconds" ] && seconds=$(left)
    started=$(date +%s)
    echo "== $name: $*" >> "$log"
    timeout "$seconds" "$@" >> "$log" 2>&1
    status=$?
    took=$(($(date +%s) - started))
    if [ $status -eq 0 ]; then
        echo "ok $name ($took s)"
    else
        echo "not ok $name: exit status $status after $took s (see $log)"
        tail -n 5 "$log"
        failed=$((failed + 1))
    fi
    printf '{"check":"%s","status":%d,"seconds":%d}\n' "$name" "$status" "$took" >> "$rows"
    return $status
}
# measure SECONDS ARGUMENTS...: a bench of skintern, its JSON lines to the rows.
measure() {
    seconds=$1
    shift
    run "$seconds" "bench $*" sh -c '"$@" > "$0.part" && cat "$0.part" >> "$0"' "$rows" "$skintern" bench "$@" --device cuda --json
    rm -f "$rows.part"
}

if ! nvidia-smi --query-gpu=name,compute_cap,memory.total,driver_version --format=csv,noheader > "$out/card.txt" 2>&1; then
    echo "no GPU: nvidia-smi says '$(head -n 1 "$out/card.txt")'; build/cuda_host/unit runs the same kernels on the CPU"
    exit 1
fi
cat "$out/card.txt"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)

skintern=${SKINTERN:-./skintern}
unit=${UNIT:-build/tests/unit}
maker=${MAKER:-build/tests/make_random_model}
if [ -z "${SKINTERN:-}" ]; then
    run 240 "build" make CUDA=1 "CUDA_ARCHS=$arch" skintern build/tests/unit build/tests/make_random_model || exit 1
fi

# ---- right ---------------------------------------------------------------------------------------------------------

export SKINTERN_TEST_DEVICE=cuda
run 90 "kernel tests on the device" "$unit" "[kernels]~[cpu],[weights]"
if [ -d "${SKINTERN_SHARED:-../shared}/oracles" ]; then
    run 60 "oracles on the device" "$unit" "[oracle]"
else
    echo "skipped oracles on the device: there is no folder ${SKINTERN_SHARED:-../shared}/oracles"
fi
unset SKINTERN_TEST_DEVICE
for dtype in f32 bf16; do
    run 30 "check, $dtype" "$skintern" check --device cuda --dtype $dtype
    run 30 "trace against the CPU, $dtype" "$skintern" trace --model data/base --device cuda --compare cpu --dtype $dtype \
        --ids "5 6 7 8 9 10 11 12 13 14 15 16" --labels "-100 -100 7 8 9 10 11 12 13 14 15 16"
done
# A launch takes the sanitizer a hundred times as long: one test of every kind of kernel.
watched="bias ops*,gather*,rmsnorm ops*,rope agrees*,swiglu ops*,argmax*,adamw*,products of several terms*"
watched="$watched,a query that sees one key*,attention gives*,attention stays finite*,gather*"
if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        SKINTERN_TEST_DEVICE=cuda run 40 "compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 9 \
            "$unit" "$watched"
    done
else
    echo "skipped compute-sanitizer: it is not installed"
fi
run 60 "the tiny preset on both backends" python3 tests/gpu_report.py losses --skintern "$skintern" --out "$out"

# ---- fast ----------------------------------------------------------------------------------------------------------

measure 20 roof
# The linear layers of 7B (4096 x 4096, 4096 x 11008) and 1.1B (2048 x 2048, 2048 x 5632) models over 4096 tokens.
for shape in 4096,4096,4096 4096,11008,4096 4096,4096,11008 4096,2048,2048 4096,5632,2048 4096,2048,5632; do
    measure 20 matmul --dtype bf16 --operands bf16 --shape $shape
done
measure 20 matmul --shape 4096,4096,4096
measure 20 attention --dtype bf16 --heads 32 --kv-heads 32 --head-size 128 --seq-len 2048 --batch-size 2
measure 20 attention --dtype bf16 --heads 32 --kv-heads 4 --head-size 64 --seq-len 2048 --batch-size 2
measure 20 attention --heads 32 --kv-heads 4 --head-size 64 --seq-len 2048 --batch-size 2
if [ -x "$maker" ] && run 60 "a 1.1B model of random weights" "$maker" 1.1b-bf16 "$out/model"; then
    measure 60 train --dtype bf16 --model "$out/model" --batch-size 4 --seq-len 1024
    measure 60 decode --dtype bf16 --kv-cache bf16 --model "$out/model" --seq-len 1024
    rm -rf "$out/model"
fi
run 60 "cuBLAS and cuDNN beside it" python3 tests/gpu_report.py yardsticks --out "$out"

python3 tests/gpu_report.py table --out "$out"
echo "$(($(date +%s) - begin)) s, $failed failed"
[ "$failed" -eq 0 ]
