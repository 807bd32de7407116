#!/bin/sh
# The program from outside: exit codes, one clear sentence for bad input, files that are whole or not there, and a run
# that is killed and continues. Prints "ok <what>" or "not ok <what>" for each check.
# shellcheck disable=SC2086
set -u
skintern=${SKINTERN:-./skintern}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1"
    sed 's/^/    /' "$work/err"
}

# expect STATUS WORDS WHAT COMMAND...: the exit status, and words that stand in what it says.
expect() {
    status=$1
    words=$2
    what=$3
    shift 3
    "$@" > "$work/out" 2> "$work/err"
    got=$?
    if [ "$got" -eq "$status" ] && cat "$work/out" "$work/err" | grep -qF -- "$words"; then
        ok "$what"
    else
        echo "exit status $got, expected $status with: $words" >> "$work/err"
        not_ok "$what"
    fi
}

# A run small enough for a test: four families, a few rows, the shipped base model. Not a function, so that $! of a run in
# the background is the program itself.
small="$skintern reproduce --tasks world_facts,world_prices,boolean_expressions,navigate --train 10 --validation 1
    --test 2 --epochs 1.2 --batch-size 8 --shots 3 --max-new-tokens 24 --save-steps 1"

# ---- usage and bad input -----------------------------------------------------------------------------------------

expect 0 "reproduce" "help names the subcommands" "$skintern" --help
expect 2 "--nonsense" "an unknown option is a usage error" "$skintern" --nonsense
expect 2 "stages" "a value of the wrong kind is a usage error" "$skintern" reproduce --stages many
expect 1 "linaer" "an unknown schedule is named" "$skintern" --dry-run --schedule linaer
expect 1 "similiar" "an unknown source of examples is named" "$skintern" --dry-run --shots-from similiar
for bad in "--lr -1" "--lr nan" "--epochs 0" "--epochs 1e18" "--lora-alpha inf" "--weight-decay -1" "--max-grad-norm nan" \
    "--warmup-ratio nan" "--wrong 1.5" "--train-share nan" "--search-lr 0.1,nan" "--machine-flops inf"; do
    expect 2 "must be a number" "$bad is no setting" "$skintern" --dry-run $bad
done
expect 2 "must be a whole number" "nor is a seed below zero" "$skintern" --dry-run --seed -1
expect 2 "must be a number" "of train neither" "$skintern" train --model data/base --out "$work/none" --tokens "$work/none" --lr nan
expect 1 "no method \"magic\"" "an unknown method is named" "$skintern" --methods magic --out "$work/m"
expect 1 "juggling" "an unknown task is named" "$skintern" data --tasks juggling --out "$work/d"
expect 1 "tpu" "an unknown device is named" "$skintern" check --device tpu
expect 1 "unknown dtype 'f64'" "an unknown dtype is named" "$skintern" check --dtype f64
expect 0 "in BF16" "BF16 products agree with the reference" "$skintern" check --dtype bf16
expect 1 "unknown activations 'q2'" "unknown activations are named" "$skintern" check --activations q2
expect 1 "/proc/nowhere" "an output folder that cannot be made is named" "$skintern" data --out /proc/nowhere
expect 1 "missing: is no model" "a missing model is named" "$skintern" flops --model missing --prompt-tokens 4
expect 0 "LlamaForCausalLM" "inspect tells the model of a folder" "$skintern" inspect data/base
expect 1 "LICENSE: header length" "inspect refuses a file that is no model" "$skintern" inspect LICENSE
expect 0 "one two" "compress prints the words that are kept" \
    "$skintern" compress --text "one two three four" --keep 0.5 --compressor head
expect 0 "no --probe: one is trained" "compress says that it trains a probe" \
    "$skintern" compress --text "one two three four" --tasks world_facts --train 8
expect 1 "there is no compressor \"magic\"" "an unknown compressor is named" "$skintern" compress --text a --compressor magic
expect 1 "--text or --file" "compress without a text is refused" "$skintern" compress
expect 2 "path" "inspect without a path is a usage error" "$skintern" inspect
expect 1 "examples leave none" "more examples than rows is refused" \
    "$skintern" reproduce --tasks navigate,world_facts --train 4 --validation 1 --test 1 --out "$work/shots" \
    --methods skintern
printf '{"task_name":"t","instruction":"q","output":"a"}\n{"task_name":"t","instruc' > "$work/cut.jsonl"
expect 1 "cut.jsonl:2" "a damaged JSONL row is named by its line" \
    "$skintern" train --model data/base --data "$work/cut.jsonl" --out "$work/t"
printf '{"task_name":"t","instruction":"q","output":"a","response":"r"}\n' > "$work/one.jsonl"
expect 1 "needs fresh questions" "train refuses a method whose model writes to fresh questions" \
    "$skintern" train --model data/base --data "$work/one.jsonl" --method context-distillation --out "$work/t"
expect 1 "cutoff-len 3" "rows longer than the cut-off are counted, and none left is an error" \
    "$skintern" train --model data/base --data "$work/one.jsonl" --cutoff-len 3 --out "$work/t"
printf '{"ids":[1,2],"labels":[1]}\n' > "$work/ids.jsonl"
expect 1 "ids.jsonl:1" "labels that do not match their ids are named by line" \
    "$skintern" train --model data/base --tokens "$work/ids.jsonl" --out "$work/t"
expect 1 "\"x\"" "a token id that is none is named" "$skintern" generate --model data/base --ids "1 x" --print-ids
expect 1 "99999" "a token outside the vocabulary is named" \
    "$skintern" logits --model data/base --ids "99999" --out "$work/l.npy"
printf 'stages = 3\nschedule = "exp"\n' > "$work/run.toml"
expect 0 "skintern             3" "a --config file sets options" "$skintern" --dry-run --config "$work/run.toml"
expect 0 "skintern             2" "the command line wins over the file" \
    "$skintern" --dry-run --config "$work/run.toml" --stages 2
printf 'methods = ["kard"]\nstages = 3\n' > "$work/list.toml"
expect 0 "skintern             3" "a list on the command line replaces the one of --config=FILE" \
    "$skintern" --dry-run "--config=$work/list.toml" --methods skintern
printf 'tasks = ["world_facts"]\ntrain = 10\ntest = 2\nvalidation = 1\nepochs = 0.5\nmax-new-tokens = 40\n[arm.plain]\nmethod = "std-cot"\n[arm.base]\n' > "$work/arms.toml"
expect 0 "plain                1" "the sections of an experiment file are its arms" "$skintern" --dry-run --config "$work/arms.toml"
expect 0 "plain" "an experiment runs its cells" "$skintern" reproduce --config "$work/arms.toml" --out "$work/arms"
expect 0 "plain" "and what is there is not made again" "$skintern" reproduce --config "$work/arms.toml" --out "$work/arms"
sed 's/"std-cot"/"ft"/' "$work/arms.toml" > "$work/other.toml"
expect 1 "made with other settings" "a cell of other settings is not taken for one of these" \
    "$skintern" reproduce --config "$work/other.toml" --out "$work/arms"
expect 1 "other settings" "nor is it overwritten" "$skintern" reproduce --config "$work/other.toml" --out "$work/arms"
{ sed '/^\[arm.plain/i one-schedule = true' "$work/arms.toml" | sed '/^\[arm.base/i one-schedule = false' && echo '[arm.std-cot]'; } > "$work/flags.toml"
"$skintern" reproduce --config "$work/flags.toml" --out "$work/flags" > "$work/out" 2> "$work/err"
expect 0 '"one_schedule": false' "an arm may say false to what stands above it" cat "$work/flags/seed-1/plain/cell.json"
expect 0 '"one_schedule": true' "and another say nothing" cat "$work/flags/seed-1/std-cot/cell.json"
printf '{"examples":[{"input":"True and False is","target":"False"},{"input":"not True is","target":"False"}]}' > "$work/published.json"
mkdir "$work/gsm8k" && printf '{"question":"What is 2+3?","answer":"It is 5.\\n#### 5"}\n' > "$work/gsm8k/test.jsonl"
{
    printf 'tasks = ["world_facts"]\ntrain = 10\ntest = 2\nvalidation = 3\nepochs = 2\nbatch-size = 4\nmax-new-tokens = 40\nstages = 2\n'
    printf 'search-lr = [0.01, 0.002, 1e20]\nsets = ["%s", "%s"]\nset-limit = 1\n[arm.std-cot]\n[arm.own]\nmethod = "std-cot"\nlr = 0.005\n' \
        "$work/published.json" "$work/gsm8k/."
    printf '[arm.tokens]\nmethod = "std-cot"\nmatch-tokens = "skintern"\n[arm.flops]\nmethod = "std-cot"\nmatch-flops = "%s"\n' \
        "$work/search/seed-1/skintern"
    printf '[arm.twin]\nmethod = "std-cot"\nmodel = "%s"\n[arm.skintern]\n[arm.base]\n' "$work/twin"
} > "$work/search.toml"
ln -s "$PWD/data/base" "$work/twin"
expect 0 "tokens: in truth as many updates as cost what skintern does" "the dry run says whose updates it does not know" \
    "$skintern" --dry-run --config "$work/search.toml"
expect 0 "base                     8 " "and counts the questions of published sets" "$skintern" --dry-run --config "$work/search.toml" --machine-flops 1e12
expect 0 "methods by rates 3 x 3" "and the trials of the search" "$skintern" --dry-run --config "$work/search.toml" --machine-flops 1e12
expect 0 "tokens" "an experiment searches a rate, matches costs and asks published questions" \
    "$skintern" reproduce --config "$work/search.toml" --out "$work/search"
expect 0 '"failed": true' "a rate with which training diverges is a trial like others" cat "$work/search/search.json"
expect 0 '"lr": 0.005' "an arm with a rate of its own keeps it, though it be the common one" cat "$work/search/seed-1/own/cell.json"
expect 0 '"chosen": 0.0' "the search chooses a rate" cat "$work/search/search.json"
expect 0 '"twin/std-cot"' "of a base model of an arm's own anew" cat "$work/search/search.json"
"$skintern" report "$work/search" "$work/arms" --markdown "$work/page.md" 2> "$work/err"
expect 0 "## arms" "the report of two runs is one page" cat "$work/page.md"
expect 0 "skintern reproduce --config $work/search.toml" "which says how they were made" cat "$work/page.md"
expect 1 "is not the folder of a run" "a folder that is no run is named" "$skintern" report "$work" --markdown "$work/none.md"
[ -e "$work/none.md" ] && not_ok "and no page is written" || ok "and no page is written"
chosen=$(sed -n '/"std-cot"/,/chosen/s/.*"chosen": //p' "$work/search/search.json")
expect 0 "\"lr\": $chosen" "and the arms have it" cat "$work/search/seed-1/std-cot/cell.json"
sum() { sed "s/.*\"$2\"://; s/[,}].*//" "$work/search/seed-1/$1/log.jsonl" | awk '{s += $1} END {printf "%.0f", s}'; }
for cost in tokens flops; do
    if [ "$(sum $cost $cost)" -gt $(($(sum skintern $cost) * 9 / 10)) ] && [ "$(sum $cost $cost)" -lt $(($(sum skintern $cost) * 11 / 10)) ]; then
        ok "an arm has as many training $cost as another"
    else
        not_ok "an arm has as many training $cost as another: $(sum $cost $cost) and $(sum skintern $cost)"
    fi
done
rows() { wc -l < "$work/search/seed-1/$1.jsonl" | tr -d ' '; }
if [ "$(rows base/eval/published)$(rows skintern/eval/published)$(rows skintern/eval/with-knowledge)" = 112 ]; then
    ok "what is asked after training is answered"
else
    not_ok "what is asked after training is answered"
fi
if [ "$(rows base/eval/gsm8k-test)$(rows base/eval/test)" = 12 ]; then
    ok "a set called as a split is called after its folder too"
else
    not_ok "a set called as a split is called after its folder too"
fi
expect 1 "nothing to learn from" "nor are there training rows of unseen families" "$skintern" reproduce --tasks navigate --out "$work/no-set"
expect 1 "cannot be opened" "a set that is not there is named" "$skintern" reproduce --sets "$work/nowhere.jsonl" --out "$work/no-set"
expect 1 "cannot be opened" "of a run to resume, too" "$skintern" reproduce --sets "$work/nowhere.jsonl" --out "$work/no-set" --resume
[ -e "$work/no-set" ] && not_ok "before anything is written" || ok "before anything is written"
rm "$work/search/seed-1/skintern/eval/published.jsonl"
sed -i 's/"begun": 1/"begun": 1, "failed": "the disk was full"/' "$work/search/seed-1/skintern/cell.json"
expect 0 "skintern" "a finished cell is asked what it was not asked yet" "$skintern" reproduce --config "$work/search.toml" --out "$work/search"
if [ "$(rows skintern/eval/published)" = 1 ] && grep -q '"begun": 1' "$work/search/seed-1/skintern/cell.json"; then
    ok "and not trained again"
else
    not_ok "and not trained again"
fi
grep -q failed "$work/search/seed-1/skintern/cell.json" && not_ok "nor failed any more" || ok "nor failed any more"
cp "$work/published.json" "$work/published.whole" && sed -i 's/not True/not False/' "$work/published.json"
expect 1 "with set published of other contents" "a set is not exchanged for another of its name" \
    "$skintern" reproduce --config "$work/search.toml" --out "$work/search"
mv "$work/published.whole" "$work/published.json"
sed 's/"skintern"/"nobody"/' "$work/search.toml" > "$work/nobody.toml"
expect 1 "other settings" "a cell is not made to match another one afterwards" \
    "$skintern" reproduce --config "$work/nobody.toml" --out "$work/search"
mkdir "$work/elsewhere" && ln -s "$PWD/data/base" "$work/elsewhere/twin"
{ cat "$work/search.toml" && printf '[arm.other]\nmethod = "std-cot"\nmodel = "%s"\n' "$work/elsewhere/twin"; } > "$work/twins.toml"
expect 1 "have the same" "two base models of one name are an error" \
    "$skintern" reproduce --config "$work/twins.toml" --out "$work/search"
printf 'tasks = ["world_facts"]\ntrain = 4\ntest = 1\nmax-new-tokens = 8\n[arm.a]\nmethod = "std-cot"\nmatch-flops = "nobody"\n' > "$work/alone.toml"
expect 1 "no finished cell of this experiment" "an arm that matches nobody is an error" \
    "$skintern" reproduce --config "$work/alone.toml" --out "$work/alone"
sed 's/"std-cot"/"skintern-own"/; s/nobody/base/; s/train = 4/train = 4\nfresh = 4\nshots = 1/' "$work/alone.toml" > "$work/writes.toml"
printf '[arm.base]\n' >> "$work/writes.toml"
expect 1 "is not known before training" "nor does an arm match another whose rows it writes itself" \
    "$skintern" reproduce --config "$work/writes.toml" --out "$work/writes"
own="$skintern reproduce --tasks world_facts,world_kinship --train 10 --test 2 --validation 1 --epochs 1 --shots 2 --max-new-tokens 60"
expect 0 "context-distillation" "a method learns from what its model wrote itself" \
    $own --methods context-distillation,skintern-own --fresh 8 --out "$work/own"
expect 1 "--fresh asks for none" "such a method without fresh questions is an error" \
    $own --methods skintern-own --out "$work/none"
expect 1 "does not go with own responses" "such a method whose last stage has knowledge is an error" \
    $own --methods skintern-own --fresh 8 --schedule reversed --out "$work/reversed"
for way in "--compressor probe" "--knowledge placebo" "--rationales implicit" "--wrong 0.5" "--train-share 0.5" "--keep-knowledge"; do
    expect 0 "skintern" "skintern runs with $way" $own --methods skintern $way --out "$work/way$way"
done
expect 0 "cascod" "every other method runs" $own --methods ft,kaft,mt-re,mt-ra,mt-cot,cascod,in-context,promptintern,stepwise,base+examples \
    --out "$work/all"
printf '[arm.a]\nmethod = "magic"\n' > "$work/magic.toml"
expect 1 "no method \"magic\"" "an arm of an unknown method is named" "$skintern" --dry-run --config "$work/magic.toml"
printf '[arm.a]\nstages = "many"\n' > "$work/many.toml"
expect 1 "many.toml: arm a" "an arm's option of the wrong kind is named by file and arm" \
    "$skintern" --dry-run --config "$work/many.toml"
printf 'methods = ["base"]\n[arm.a]\nmethod = "base"\n' > "$work/both.toml"
expect 1 "one of them" "arms and methods exclude each other" "$skintern" --dry-run --config "$work/both.toml"
printf '{"ids":[1,2.5],"labels":[1,2]}\n' > "$work/half.jsonl"
expect 1 "half.jsonl:1" "half a token is refused" \
    "$skintern" train --model data/base --tokens "$work/half.jsonl" --out "$work/t"
printf '{"ids":[1,18446744073709551615],"labels":[1,2]}\n' > "$work/huge.jsonl"
expect 1 "huge.jsonl:1" "a token of 64 bits is refused" \
    "$skintern" train --model data/base --tokens "$work/huge.jsonl" --out "$work/t"
mkdir "$work/other" && touch "$work/other/thesis.txt"
expect 1 "holds thesis.txt and no run.json" "a folder with something else in it is left alone" "$skintern" --out "$work/other"

# ---- what works ----------------------------------------------------------------------------------------------------

expect 0 "agree with the reference" "this machine's kernels agree with the reference" "$skintern" check
expect 0 "67%" "the dry run prints the schedule" "$skintern" --dry-run
expect 0 "training and evaluation" "and tells tokens, memory and time" "$skintern" --dry-run --machine-flops 1e12
expect 0 "sustain here" "at a rate that it measures" "$skintern" --dry-run --tasks navigate --train 10
expect 0 "not estimated" "a model that is not there leaves the schedule" "$skintern" --dry-run --base nowhere
expect 1 "data/models/x.json" "a shape that is not there is named" "$skintern" --dry-run --base nowhere --shape x
expect 0 "without --recompute" "--recompute is planned" "$skintern" --dry-run --recompute --machine-flops 1e12
for paper in data/experiments/paper-*.toml; do
    expect 0 "skintern           all" "the dry run of $paper needs no model" \
        "$skintern" reproduce --config "$paper" --dry-run --train 10 --test 1 --machine-flops 1e12
done
for model in qwen2-0.5b llama-3-8b; do # without and with recompute
    expect 0 "skintern" "the settings for $model train a small one" \
        "$skintern" reproduce --config "data/experiments/paper-$model.toml" --base data/base --out "$work/paper-$model" \
        --tasks navigate,web_of_lies,logical_deduction --train 8 --test 1 --validation 1 --epochs 1 --batch-size 8 --max-new-tokens 4
done
expect 0 "flops" "flops of a question" "$skintern" flops --model data/base --prompt-tokens 100 --new-tokens 20
expect 0 "" "text to ids" "$skintern" tokenize --model data/base --text "Therefore, the answer is 12."
printf 'a\377\342\202b\n' > "$work/invalid.txt"
"$skintern" tokenize --model data/base --file "$work/invalid.txt" > "$work/invalid.ids"
if [ "$("$skintern" tokenize --model data/base --text "$(printf 'a\357\277\275\357\277\275b\nx')" | sed 's/ [0-9]*$//')" = \
     "$(cat "$work/invalid.ids")" ]; then
    ok "bytes that are no UTF-8 are encoded as U+FFFD"
else
    not_ok "bytes that are no UTF-8 are encoded as U+FFFD"
fi
printf 'one\ntwo\n' > "$work/lines.txt"
if [ "$("$skintern" tokenize --model data/base --file "$work/lines.txt" --lines | wc -l)" -eq 2 ]; then
    ok "a line of a file is an input"
else
    not_ok "a line of a file is an input"
fi
if [ -z "$("$skintern" tokenize --model data/base --text "")" ]; then
    ok "an empty text has no ids"
else
    not_ok "an empty text has no ids"
fi
"$skintern" tokenize --model data/base --text "$(seq 1 200)" > "$work/numbers.txt"
expect 0 '"unit":"MB/s"' "bench bpe encodes a file" "$skintern" bench bpe --model data/base --file "$work/numbers.txt" --json
expect 0 "trained on 0.0 MB" "bench bpe trains on it" "$skintern" bench bpe --file "$work/numbers.txt"
expect 1 "missing.txt" "a missing text is named" "$skintern" bench bpe --file "$work/missing.txt"
: > "$work/empty.txt"
expect 1 "empty.txt is empty" "an empty text is refused" "$skintern" bench bpe --file "$work/empty.txt"
expect 1 "--file is for bench bpe" "no other bench takes a text" "$skintern" bench decode --file "$work/numbers.txt"
expect 2 "kv-cache" "an unknown type of the key/value cache is a usage error" \
    "$skintern" generate --model data/base --prompt x --kv-cache q8
expect 1 "train has no cache" "training has no cache to choose" "$skintern" bench train --kv-cache bf16
expect 1 "no chat format" "chat with a model that has no turn markers" \
    "$skintern" tokenize --model data/base --text x --chat
expect 0 "" "a greedy continuation" "$skintern" generate --model data/base --prompt "The price" --max-new-tokens 5
printf '{"ids":[1,2,3,4],"labels":[1,2,3,4]}\n' > "$work/rows.jsonl"
expect 1 "without dropout" "dropout is refused" \
    "$skintern" train --model data/base --tokens "$work/rows.jsonl" --lora-dropout 0.1 --out "$work/t"
expect 1 "target_modules has w_proj" "a target that no layer has is named" \
    "$skintern" train --model data/base --tokens "$work/rows.jsonl" --target-modules w_proj --out "$work/t"
expect 0 "2 updates" "an adapter of chosen layers is trained" "$skintern" train --model data/base --tokens \
    "$work/rows.jsonl" --steps 2 --lora-r 4 --use-rslora --target-modules all-linear --exclude-modules o_proj \
    --layers-to-transform 0,2 --out "$work/adapter"
expect 0 "2 updates" "and resumed with the settings it has" "$skintern" train --model data/base --tokens \
    "$work/rows.jsonl" --steps 2 --lora-r 4 --use-rslora --target-modules all-linear --exclude-modules o_proj \
    --layers-to-transform 0,2 --out "$work/adapter" --resume
expect 1 "settings.json: the training was started with steps = 2, not 1" "but with no others" "$skintern" train --model data/base --tokens \
    "$work/rows.jsonl" --steps 1 --lora-r 4 --use-rslora --target-modules all-linear --exclude-modules o_proj \
    --layers-to-transform 0,2 --out "$work/adapter" --resume
expect 0 "largest-logit-difference" "and merged into its base" \
    "$skintern" merge --model data/base --adapter "$work/adapter" --out "$work/merged" --dtype bf16
expect 0 "" "which then answers by itself" \
    "$skintern" generate --model "$work/merged" --prompt "The price" --max-new-tokens 5
expect 1 "another base model" "the adapter does not go with the merged model" \
    "$skintern" logits --model "$work/merged" --adapter "$work/adapter" --ids 1 --out "$work/l.npy"
expect 1 "something else" "a merge does not write over another folder" \
    "$skintern" merge --model data/base --adapter "$work/adapter" --out "$work/adapter"
expect 0 "train.jsonl" "data in a folder" "$skintern" data --tasks navigate --train 3 --test 2 --out "$work/data"
"$skintern" data --tasks navigate --train 3 --test 2 --out "$work/again" > /dev/null
if diff -r "$work/data" "$work/again" > "$work/err"; then
    ok "the same seed gives the same data"
else
    not_ok "the same seed gives the same data"
fi

# A line of JSON a measurement, with the keys that tests/rivals/compare.py reads.
for bench in "matmul --shape 3,5,7" "matmul --shape 3,5,7 --dtype bf16" \
    "attention --heads 4 --kv-heads 2 --head-size 8 --seq-len 9 --batch-size 2" roof; do
    "$skintern" bench $bench --json > "$work/out" 2> "$work/err"
    if [ -s "$work/out" ] && ! grep -qvE '^\{"work":"[a-z]+","dtype":"[a-z0-9]*","what":"[^"]+","value":[0-9.e+-]+,"unit":"G[A-Z/a-z]+","min":[0-9.e+-]+,"max":[0-9.e+-]+,"peak_rss_bytes":[0-9]+\}$' "$work/out"; then
        ok "bench $bench prints lines of JSON"
    else
        cat "$work/out" >> "$work/err"
        not_ok "bench $bench prints lines of JSON"
    fi
done
expect 0 "GFLOP/s" "bench matmul saves operands and result" \
    "$skintern" bench matmul --shape 2,3,4 --save "$work/product.safetensors"
if grep -aqF '"out":{"data_offsets":[80,104],"dtype":"F32","shape":[2,3]}' "$work/product.safetensors"; then
    ok "of the shapes that were asked for"
else
    head -c 300 "$work/product.safetensors" > "$work/err"
    not_ok "of the shapes that were asked for"
fi
expect 1 "three sizes" "a shape of two sizes is refused" "$skintern" bench matmul --shape 2,3
expect 1 "multiple of 2" "heads that do not share key/value heads evenly are refused" \
    "$skintern" bench attention --heads 3 --kv-heads 2

# The logits are computed 512 rows at a time, and traced whole.
ids=$(seq 1 600 | tr '\n' ' ')
"$skintern" trace --model data/base --ids "$ids" --out "$work/trace.safetensors" > "$work/out" 2> "$work/err"
if head -c 100000 "$work/trace.safetensors" | grep -aqE '"logits":\{[^}]*"shape":\[600,2048\]'; then
    ok "a trace of more rows than a chunk holds all logits"
else
    not_ok "a trace of more rows than a chunk holds all logits"
fi
expect 0 "reference and cpu agree on" "two devices are compared tensor by tensor" \
    "$skintern" trace --model data/base --ids "5 6 7 8 9" --labels "-100 -100 7 8 9" --compare reference
expect 1 "reference and cpu part at layers.0" "and the first tensor that differs is named" \
    "$skintern" trace --model data/base --ids "5 6 7 8 9 10 11 12 13" --compare reference --dtype bf16 --tolerance 1e-9
expect 2 "out or --compare" "a trace that goes nowhere is refused" "$skintern" trace --model data/base --ids "5 6 7"
# No family of this run is unseen in training, so one split has no questions.
expect 0 "base" "a split without questions is not a failure" "$skintern" --tasks world_facts --methods base --train 10 \
    --test 2 --max-new-tokens 8 --out "$work/one-family"
if "$skintern" report "$work/one-family" > "$work/err" 2>&1 && ! grep -qi missing "$work/err"; then
    ok "and the run is complete"
else
    not_ok "and the run is complete"
fi

# ---- benchmarks: eval and score --------------------------------------------------------------------------------------

# Two made-up files in the layouts of BIG-Bench Hard and GSM8K.
mkdir "$work/bench"
printf '{"canary":"stay out","examples":[' > "$work/bench/navigate.json"
for n in 1 2 3 4 5 6; do
    [ $n -gt 1 ] && printf ',' >> "$work/bench/navigate.json"
    printf '{"input":"Take %s steps. Do you return?\\nOptions:\\n- Yes\\n- No","target":"No"}' $n >> "$work/bench/navigate.json"
done
printf ']}' >> "$work/bench/navigate.json"
for n in 1 2 3 4 5; do
    printf '{"question":"Ann has %s jars and gets 2. How many?","answer":"<<%s+2=%s>>.\\n#### %s"}\n' $n $n $((n + 2)) $((n + 2))
done > "$work/bench/test.jsonl"
ask="$skintern eval --model data/base --data $work/bench --max-new-tokens 12 --batch-size 3"

expect 0 "mean of 2 benchmarks" "eval reads published files and prints tasks and means" $ask --out "$work/eval.jsonl"
if [ "$(grep -c '"correct"' "$work/eval.jsonl")" -eq 11 ] && ! grep -q "stay out" "$work/eval.jsonl" &&
    [ "$(grep -n 'gsm8k-1"' "$work/eval.jsonl" | cut -d: -f1)" -eq 7 ]; then
    ok "eval writes a row a question, in their order"
else
    not_ok "eval writes a row a question, in their order"
fi
expect 0 "2 of 2 correct" "eval takes the first rows of each file" sh -c \
    "$ask --limit 1 --out '$work/two.jsonl' && wc -l < '$work/two.jsonl' | sed 's/\$/ of 2 correct/'"

# Cut in the middle of its fifth row, as a kill leaves it. The reference backend sums in one order whatever shares a pass.
$ask --device reference --out "$work/ref.jsonl" > "$work/out" 2> "$work/err"
cp "$work/ref.jsonl" "$work/cut.jsonl"
cp "$work/ref.jsonl.settings.json" "$work/cut.jsonl.settings.json"
head -n 5 "$work/ref.jsonl" | head -c -20 > "$work/cut.jsonl"
$ask --device reference --out "$work/cut.jsonl" --resume > "$work/out" 2> "$work/err"
if cmp "$work/ref.jsonl" "$work/cut.jsonl" >> "$work/err" && grep -q "4 of 11 questions are answered" "$work/err"; then
    ok "an evaluation cut in the middle of a row is resumed to the same file"
else
    not_ok "an evaluation cut in the middle of a row is resumed to the same file"
fi
for rounded in "--kv-cache bf16" "--dtype bf16"; do
    expect 1 "settings" "an evaluation is not resumed with other rounding: $rounded" \
        $ask --device reference --out "$work/ref.jsonl" --resume $rounded
    $ask --limit 1 --out "$work/rounded.jsonl" $rounded > "$work/out" 2> "$work/err"
    expect 1 '"bf16", not nothing' "nor without it, when it was started with it" $ask --limit 1 --out "$work/rounded.jsonl" --resume
done
# Killed twice, once it has three rows and once it has six.
resume=""
for rows in 3 6; do
    $ask --device reference --out "$work/killed.jsonl" $resume > "$work/out" 2> "$work/err" &
    while kill -0 $! 2> /dev/null && [ "$(cat "$work/killed.jsonl" 2> /dev/null | wc -l)" -lt $rows ]; do :; done
    kill -KILL $! 2> /dev/null
    wait $! 2> /dev/null
    resume="--resume"
done
$ask --device reference --out "$work/killed.jsonl" --resume > "$work/out" 2> "$work/err"
if cmp "$work/ref.jsonl" "$work/killed.jsonl" >> "$work/err"; then
    ok "an evaluation that is killed twice is resumed to the same file"
else
    not_ok "an evaluation that is killed twice is resumed to the same file"
fi
expect 1 "was started with method" "an evaluation is not resumed with another method" \
    $ask --out "$work/eval.jsonl" --resume --method base
printf '{"instruction":"P","format":"F","lead":"L","world":"W"}' > "$work/templates.json"
expect 1 "templates" "nor with other templates" $ask --out "$work/eval.jsonl" --resume --templates "$work/templates.json"
expect 1 "max_new_tokens = 12" "nor with another limit" $ask --out "$work/eval.jsonl" --resume --max-new-tokens 13
expect 1 "which is not asked" "nor with other questions" $ask --out "$work/eval.jsonl" --resume --limit 1
expect 1 "BIG-Bench Hard as published" "a published test file is not trained on" \
    "$skintern" train --model data/base --data "$work/bench/navigate.json" --out "$work/t"
expect 1 "GSM8K as published" "nor is GSM8K's" \
    "$skintern" train --model data/base --data "$work/bench/test.jsonl" --out "$work/t"
"$skintern" score --data "$work/eval.jsonl" > "$work/scored.jsonl" 2> "$work/err"
# `answer` is all that score adds to a row of eval.
if sed 's/,"answer":.*/}/' "$work/scored.jsonl" | cmp - "$work/eval.jsonl" && grep -q "mean of 2 tasks" "$work/err"; then
    ok "score says the same of eval's rows as eval"
else
    not_ok "score says the same of eval's rows as eval"
fi
printf '{"task":"t","question":"q","gold":"g"}\n' > "$work/no-text.jsonl"
expect 1 "no-text.jsonl:1: the field generated is missing" "score names line and field" \
    "$skintern" score --data "$work/no-text.jsonl"

# The verdicts of the published scorer, where they are there; rows in which it errs are documented in docs/method.md.
answers=${SKINTERN_SHARED:-../shared}/oracles/answers.jsonl
if [ -f "$answers" ]; then
    "$skintern" score --data "$answers" 2> "$work/err" | grep -v '"official_bug":true' > "$work/out"
    wrong=$(grep -c -v -e '"official_verdict":true.*"correct":true' -e '"official_verdict":false.*"correct":false' "$work/out")
    echo "$wrong of $(wc -l < "$work/out") verdicts differ" >> "$work/err"
    if [ "$(wc -l < "$work/out")" -eq 104 ] && [ "$wrong" -eq 0 ]; then
        ok "score agrees with all 104 verdicts of the published scorer that are no slips"
    else
        not_ok "score agrees with all 104 verdicts of the published scorer that are no slips"
    fi
else
    echo "skipped: $answers is not there (SKINTERN_SHARED names its folder)"
fi

# ---- a run, killed and continued -----------------------------------------------------------------------------------

$small --out "$work/whole" > "$work/out" 2> "$work/err"
if [ $? -eq 0 ] && [ -s "$work/whole/results.json" ] && grep -q skintern "$work/out"; then
    ok "a small run ends with a table, results.json and report.html"
else
    not_ok "a small run ends with a table, results.json and report.html"
fi

# Kills the program three times, each time a little later, then lets it finish.
$small --methods skintern --out "$work/unbroken" > "$work/out" 2> "$work/err"
resume=""
for delay in 1 3 5; do
    $small --methods skintern --out "$work/killed" $resume > "$work/out" 2> "$work/err" &
    sleep $delay
    kill -KILL $! 2> /dev/null
    wait $! 2> /dev/null
    resume="--resume"
done
touch "$work/killed/seed-1/skintern/log.jsonl.$!.tmp" # what a kill in the middle of a write leaves
$small --methods skintern --out "$work/killed" --resume > "$work/out" 2> "$work/err"
if diff -r -x cell.json -x lock "$work/unbroken" "$work/killed" > "$work/err" 2>&1; then
    ok "a run that is killed and resumed ends with the same bits"
else
    not_ok "a run that is killed and resumed ends with the same bits"
fi

expect 1 "another process is at work there" "a run is not moved away from under a process that is at it" \
    flock "$work/unbroken/seed-1/skintern/lock" $small --methods skintern --out "$work/unbroken"
expect 1 "was started with dtype" "nor gone on with in other rounding" $small --methods skintern --out "$work/unbroken" --resume --dtype bf16
cp "$work/unbroken/data/test.jsonl" "$work/test.whole" && sed -i '1d' "$work/unbroken/data/test.jsonl"
expect 1 "test.jsonl: holds other rows than this version generates" "nor with other questions" $small --methods skintern --out "$work/unbroken" --resume
mv "$work/test.whole" "$work/unbroken/data/test.jsonl"
expect 0 "skintern" "a run may move to another processor" $small --methods skintern --out "$work/unbroken" --resume --isa portable
cp -r data/base "$work/moved" && mkdir "$work/other-place" && cp data/templates/default.json "$work/other-place"
expect 0 "skintern" "its model and templates may lie elsewhere" $small --methods skintern --out "$work/unbroken" --resume --base "$work/moved" \
    --templates "$work/other-place/default.json"
printf ' ' >> "$work/moved/config.json"
expect 1 "with base of other contents" "but not be others" $small --methods skintern --out "$work/unbroken" --resume --base "$work/moved"
expect 1 "was started with" "a run is not resumed with other settings" $small --out "$work/whole" --resume --epochs 3
expect 0 "skintern" "a report can be made again" "$skintern" report "$work/whole"
printf 'garbage\n' >> "$work/whole/seed-1/skintern/eval/test.jsonl"
expect 1 "test.jsonl" "a damaged log is named" "$skintern" report "$work/whole"
exit 0
