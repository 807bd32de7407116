#!/bin/sh
# Training by several processes under mpirun: the curve of one process, failures of one of them, and a run that continues.
# Prints "ok <what>" or "not ok <what>" for each check, or "skipped: ..." where the build or the machine has no MPI.
# shellcheck disable=SC2086
set -u
skintern=${SKINTERN:-./skintern}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v mpirun > /dev/null; then
    echo "skipped: training by several processes, there is no mpirun (apt-get install openmpi-bin)"
    exit 0
fi
mpirun="mpirun --oversubscribe"
if [ "$(id -u)" -eq 0 ]; then
    mpirun="$mpirun --allow-run-as-root" # in a container
fi
if $mpirun -n 2 "$skintern" train --help 2>&1 | grep -q "this build has no MPI"; then
    echo "skipped: training by several processes, the build has no MPI (apt-get install libopenmpi-dev)"
    exit 0
fi

ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1"
    sed 's/^/    /' "$work/err"
}
# field NAME FOLDER: a field of every row of log.jsonl.
field() { sed "s/.*\"$1\"://; s/[,}].*//" "$work/$2/log.jsonl"; }
# said WORDS N: N lines of what was said hold the words.
said() { [ "$(grep -cF -- "$1" "$work/err")" -eq "$2" ]; }
# alive PID: it runs, and does not only wait to be buried.
alive() { grep '^State:' "/proc/$1/status" 2> /dev/null | grep -qv Z; }

# ---- the same curve ----------------------------------------------------------------------------------------------

# Rows of 4 to 67 tokens, the first three of them without a label.
awk 'BEGIN {
    for (row = 1; row <= 30; row++) {
        ids = labels = ""
        for (t = 0; t < 4 + (row * 37) % 64; t++) {
            id = 1 + (row * 7919 + t * t * 104729) % 400
            ids = ids (t ? "," : "") id
            labels = labels (t ? "," : "") (t < 3 ? -100 : id)
        }
        print "{\"ids\":[" ids "],\"labels\":[" labels "]}"
    }
}' > "$work/rows.jsonl"
lr=0.002
rank=4
train="$skintern train --model data/base --lora-r $rank --lr $lr --warmup-ratio 0 --save-steps 4"
small="$train --tokens $work/rows.jsonl --steps 12"

# same_curve ONE SEVERAL WHAT: by how much sums in another order may move the loss after k updates, with u = 2^-24.
#   forward   logits, and so the loss of a row, are sums of at most F = 432 terms: 2 F u of the loss, in either order
#   update    an element of the gradient is a sum over N tokens of the update and moves by N u of its terms. AdamW divides
#             by its size, so the element's weight moves by lr N u, and the loss by that times the element: in all
#             lr N u |g|_1, and |g|_1 <= sqrt(P) |g|_2 with P numbers of the adapter, and |g|_2 in the log
same_curve() {
    parameters=$(($(wc -c < "$work/$1/adapter_model.safetensors") / 4))
    for name in loss grad_norm tokens; do
        field $name "$1" > "$work/$name"
    done
    field loss "$2" > "$work/loss.several"
    paste "$work/loss" "$work/loss.several" "$work/grad_norm" "$work/tokens" | awk -v lr=$lr -v P="$parameters" '
        BEGIN { u = 2 ^ -24 }
        {
            difference = $1 > $2 ? $1 - $2 : $2 - $1
            if (!(difference <= moved + 2 * 432 * u * $1)) {
                print "update " NR ": " $2 " instead of " $1 > "/dev/stderr"
                wrong = 1
            }
            moved += lr * $4 * u * sqrt(P) * $3
        }
        END { exit wrong || NR == 0 }' 2>> "$work/err" && ok "$3" || not_ok "$3"
}

$small --batch-size 8 --out "$work/one" > "$work/out" 2> "$work/err"
for n in 1 2 4; do
    $mpirun -n $n $small --batch-size 8 --out "$work/of-$n" > "$work/out" 2> "$work/err"
    same_curve one of-$n "$n processes have the losses of one"
    if [ "$(cat "$work/out")" = "$work/of-$n: 12 updates, $(field tokens one | awk '{n += $1} END {print n}') tokens" ]; then
        ok "and say once what they did"
    else
        cat "$work/out" >> "$work/err"
        not_ok "and say once what they did"
    fi
done
$small --batch-size 3 --out "$work/three" > "$work/out" 2> "$work/err"
$mpirun -n 4 $small --batch-size 3 --out "$work/three-of-4" > "$work/out" 2> "$work/err"
same_curve three three-of-4 "so have four with three rows an update"

# Two stages of prompts, made from records by each process; and rows that ask two questions, with weights.
"$skintern" data --tasks world_facts --train 12 --test 1 --out "$work/data" > "$work/out" 2> "$work/err"
for method in "skintern --stages 2 --shots 1" mt-cot; do
    name=${method%% *}
    records="$train --data $work/data/train.jsonl --method $method --steps 4 --batch-size 4 --cutoff-len 512"
    $records --out "$work/$name" > "$work/out" 2> "$work/err"
    $mpirun -n 2 $records --out "$work/$name-of-2" > "$work/out" 2> "$work/err"
    same_curve "$name" "$name-of-2" "so have two that train by $name"
    said "stage 1:" 1 && ok "and say once what their rows are" || not_ok "and say once what their rows are"
done
[ -s "$work/skintern-of-2/stage-2/adapter_model.safetensors" ] && ok "with an adapter a stage" || not_ok "with an adapter a stage"

# ---- one of them fails -------------------------------------------------------------------------------------------

# fails STATUS WORDS WHAT COMMAND...: by two processes, in one sentence that one of them says.
fails() {
    status=$1
    words=$2
    what=$3
    shift 3
    timeout 30 $mpirun -n 2 "$@" > "$work/out" 2> "$work/err"
    got=$?
    if [ "$got" -eq "$status" ] && said "skintern: " 1 && said "$words" 1; then
        ok "$what"
    else
        echo "exit status $got, expected $status with: $words" >> "$work/err"
        not_ok "$what"
    fi
}
fails 2 "reproduce runs as one process" "another command than train is refused" "$skintern" --dry-run
fails 2 "--model is required" "a usage error is told once" "$skintern" train
printf '{"ids":[1,2],"labels":[1]}\n' > "$work/bad.jsonl"
fails 1 "bad.jsonl:1" "a damaged row is told once" $train --tokens "$work/bad.jsonl" --out "$work/bad"
fails 1 "/proc/nowhere" "what process 0 alone finds ends the other" $small --out /proc/nowhere

# kill -9 of process $1 while two train, which would take minutes: the other ends within seconds.
long="$train --tokens $work/rows.jsonl --steps 100000 --batch-size 8 --lr-scheduler constant"
for victim in 0 1; do
    timeout 60 $mpirun -n 2 sh -c 'echo $$ > "$1/pid-$OMPI_COMM_WORLD_RANK"; shift; exec "$@"' sh "$work" \
        $long --out "$work/killed-$victim" > "$work/out" 2> "$work/err" &
    job=$!
    while kill -0 $job 2> /dev/null && ! [ -s "$work/killed-$victim/state.safetensors" ]; do sleep 0.1; done
    kill -KILL "$(cat "$work/pid-$victim")"
    killed=$(date +%s)
    wait $job 2> /dev/null
    status=$?
    seconds=$(($(date +%s) - killed))
    if [ $status -ne 0 ] && [ $seconds -le 10 ] && said "skintern: process $((1 - victim)) of 2 was told to end" 1 &&
        ! alive "$(cat "$work/pid-$((1 - victim))")"; then
        ok "when process $victim is killed the other ends within seconds, and says so"
    else
        echo "exit status $status after $seconds seconds" >> "$work/err"
        not_ok "when process $victim is killed the other ends within seconds, and says so"
    fi
    # To the end of the update that comes after the last saved one, and some more.
    steps=$(($(wc -l < "$work/killed-$victim/log.jsonl") + 6))
    rest="$train --tokens $work/rows.jsonl --steps $steps --batch-size 8 --lr-scheduler constant"
    $mpirun -n 2 $rest --out "$work/killed-$victim" --resume > "$work/out" 2> "$work/err"
    $mpirun -n 2 $rest --out "$work/whole-$victim" > "$work/out" 2>> "$work/err"
    if cmp "$work/whole-$victim/log.jsonl" "$work/killed-$victim/log.jsonl" >> "$work/err" 2>&1 &&
        cmp "$work/whole-$victim/adapter_model.safetensors" "$work/killed-$victim/adapter_model.safetensors" >> "$work/err" 2>&1 &&
        said "continues after update" 1; then
        ok "and the run continues to the bits of one that was not stopped"
    else
        not_ok "and the run continues to the bits of one that was not stopped"
    fi
done
exit 0
