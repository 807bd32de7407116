#!/bin/sh
# What --device cuda answers on a machine that lacks what it needs. The host runner models the machine (tests/cuda_host/host.h).
# One line a check: "ok WHAT" or "not ok WHAT".
set -u
skintern=${SKINTERN:-${BUILD:-build}/cuda_host/skintern}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# expect TEXT WHAT VARIABLE=VALUE COMMAND...: the command fails, says TEXT in one sentence, and leaves no error of the device behind.
expect() {
    text=$1 what=$2
    shift 2
    env "$@" > "$work/out" 2> "$work/err"
    if [ $? -eq 1 ] && grep -q -e "$text" "$work/err" && [ "$(grep -c '^skintern: ' "$work/err")" = 1 ] &&
        ! grep -q '^cuda_host: ' "$work/err"; then
        echo "ok $what"
    else
        echo "not ok $what: $(tail -n 3 "$work/err")"
    fi
}

"$skintern" data --tasks world_facts --train 2 --test 1 --out "$work/data" > /dev/null 2>&1
train="$skintern train --model data/base --data $work/data/train.jsonl --method std-cot --out $work/run --device cuda"
bench="$skintern bench decode --model data/base --device cuda"
expect "install or update the driver, or use --device cpu" "no driver" CUDA_HOST_LACKS=driver $train
expect "no GPU was found; set CUDA_VISIBLE_DEVICES" "no GPU" CUDA_HOST_LACKS=device $train
expect "compute capability 7.5 and these kernels need 8.0" "a GPU that is too old" CUDA_HOST_ARCH=75 $train
expect "no kernels for compute capability 9.0, which host runner has; make it again" "a GPU that nobody compiled for" \
    CUDA_HOST_LACKS=image $train
expect "not enough memory on host runner: .* asked for, .* of 0.00 GB are free" "a model that the GPU's memory does not hold" \
    CUDA_HOST_MEMORY=4 $bench
expect "not enough memory on host runner" "a training step that the GPU's memory does not hold" CUDA_HOST_MEMORY=12 $train
left=$(find "$work/run" -type f)
[ -z "$left" ] && echo "ok and no file is left of it" || echo "not ok and no file is left of it: $left"
exit 0
