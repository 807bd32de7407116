"""Times byte-pair encoding beside the `tokenizers` package, on the same text, with the same vocabulary, in turns.

    python -m venv venv && venv/bin/pip install tokenizers gguf numpy
    venv/bin/python tests/rivals/bpe.py --model MODEL.gguf [--file TEXT] [--runs 3] [--skintern ./skintern] [--json]

MODEL is a .gguf file, of which a tokenizer.json is made as tests/compare_tokenizers.py does, or a tokenizer.json. TEXT is
UTF-8; without it the English in the docstrings of this Python's library and packages is taken, up to 20 MB.

Encoding: one thread each. The package is given the text whole, as we are, and line by line (encode_batch_fast, which
keeps no offsets); what is faster counts. Training: a vocabulary of 8192 from the lines of the text; the package has two
threads (--threads), we have one. Loading and reading files is not timed on either side. Each turn starts new processes, ours
first. The ids, and the merges learnt, must be equal: a difference fails before anything is timed.

Prints a line a measurement: ours and the rival's median (best), and how many times faster we are, by the medians and by the
bests.
"""

import argparse
import ast
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent
END = "<|endoftext|>"
VOCAB_SIZE = 8192  # what `skintern bench bpe` trains
OWN_TEXT_BYTES = 20_000_000


# ---- the text ------------------------------------------------------------------------------------------------------


def docstrings(path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError, RecursionError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text and len(text) > 100:  # prose, not a label
                yield text


def own_text():
    folders = [pathlib.Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    seen, texts, size = set(), [], 0
    for path in itertools.chain(*(sorted(folder.rglob("*.py")) for folder in folders)):
        for text in docstrings(path):
            if text not in seen:
                seen.add(text)
                texts.append(text)
                size += len(text)
        if size >= OWN_TEXT_BYTES:
            break
    return "\n\n".join(texts)


# ---- the rival, in a process of its own: its threads are set by the environment --------------------------------------


def seconds_of(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def new_tokenizer():
    """Untrained, of the kind that `skintern tokenizer` trains, and its trainer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, min_frequency=2, special_tokens=[END],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    return tokenizer, trainer


def rival_encode(tokenizer_path, text_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.encode_special_tokens = True
    text = pathlib.Path(text_path).read_bytes().decode()
    lines = text.splitlines(keepends=True)
    tokenizer.encode(text[:100_000], add_special_tokens=False)  # not counted: its caches
    return min(seconds_of(lambda: tokenizer.encode(text, add_special_tokens=False)),
               seconds_of(lambda: tokenizer.encode_batch_fast(lines, add_special_tokens=False)))


def rival_train(out, text_path):
    tokenizer, trainer = new_tokenizer()
    lines = [line + "\n" for line in pathlib.Path(text_path).read_bytes().decode().split("\n") if line]
    seconds = seconds_of(lambda: tokenizer.train_from_iterator(lines, trainer))
    tokenizer.save(out)
    return seconds


def run_rival(job, *paths, threads):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads),
                       TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
    command = [sys.executable, __file__, "--as-rival", job, *map(str, paths)]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


# ---- ours ----------------------------------------------------------------------------------------------------------


def run_ours(skintern, *arguments):
    return subprocess.run([skintern, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def bench_ours(skintern, model, text_path):
    """The rows of `skintern bench bpe`, by their work."""
    rows = run_ours(skintern, "bench", "bpe", "--model", model, "--file", text_path, "--json").splitlines()
    return {row["work"]: row for row in map(json.loads, rows)}


# ---- equal results -------------------------------------------------------------------------------------------------


def check_ids(skintern, model, tokenizer_path, text_path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.encode_special_tokens = True
    text = text_path.read_bytes().decode()
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    got = [int(word) for word in run_ours(skintern, "tokenize", "--model", model, "--file", text_path).split()]
    if got != expected:
        at = next(i for i, pair in enumerate(itertools.zip_longest(got, expected)) if pair[0] != pair[1])
        sys.exit(f"token {at} differs: {got[at:at + 5]} here, {expected[at:at + 5]} of the package")
    return len(got)


def check_merges(ours, rival):
    merges = [json.loads(path.read_text())["model"]["merges"] for path in (ours, rival)]
    for i, (here, there) in enumerate(itertools.zip_longest(*merges)):
        if here != there:
            sys.exit(f"merge {i} differs: {here} here, {there} of the package")
    return len(merges[0])


# ---- the comparison ------------------------------------------------------------------------------------------------


def report(work, unit, ours, rival, as_json):
    """`ours`, `rival`: a value a run."""
    larger_is_better = unit == "MB/s"
    best = max if larger_is_better else min
    ratio = lambda of: of(ours) / of(rival) if larger_is_better else of(rival) / of(ours)
    row = {"work": work, "unit": unit, "ratio": ratio(statistics.median), "ratio_of_bests": ratio(best)}
    for name, values in (("ours", ours), ("rival", rival)):
        row[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    if as_json:
        print(json.dumps(row))
    else:
        print(f"{work:10} ours {row['ours']['median']:8.2f} (best {best(ours):.2f}) {unit}, "
              f"tokenizers {row['rival']['median']:8.2f} (best {best(rival):.2f}) {unit}: "
              f"{row['ratio']:.1f} times as fast (bests: {row['ratio_of_bests']:.1f})")


def compare(options, folder):
    text_path = pathlib.Path(options.file) if options.file else folder / "text"
    if not options.file:
        text_path.write_text(own_text())
    megabytes = text_path.stat().st_size / 1e6
    tokenizer_path = pathlib.Path(options.model)
    if options.model.endswith(".gguf"):
        sys.path.insert(0, str(HERE.parent))
        from compare_tokenizers import Vocabulary

        tokenizer_path = folder / "tokenizer.json"
        Vocabulary(options.model).make().save(str(tokenizer_path))

    say = lambda message: print(message, file=sys.stderr)
    ours_trained, rival_trained = folder / "ours.json", folder / "rival.json"
    say(f"{megabytes:.1f} MB: "
        f"{check_ids(options.skintern, options.model, tokenizer_path, text_path)} tokens, equal")
    run_ours(options.skintern, "tokenizer", "--train", text_path, "--vocab-size", VOCAB_SIZE, "--out", ours_trained)
    run_rival("train", rival_trained, text_path, threads=options.threads)
    say(f"{check_merges(ours_trained, rival_trained)} merges learnt, equal")

    ours = {"bpe": [], "bpe-train": []}
    rival = {"bpe": [], "bpe-train": []}
    for _ in range(options.runs):
        for work, row in bench_ours(options.skintern, options.model, text_path).items():
            ours[work].append(row["value"])
        rival["bpe"].append(megabytes / run_rival("encode", tokenizer_path, text_path, threads=1))
        rival["bpe-train"].append(run_rival("train", rival_trained, text_path, threads=options.threads))
    report("bpe", "MB/s", ours["bpe"], rival["bpe"], options.json)
    report("bpe-train", "s", ours["bpe-train"], rival["bpe-train"], options.json)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a .gguf file or a tokenizer.json")
    parser.add_argument("--file", help="the text")
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--threads", type=int, default=2, help="of the package's training")
    parser.add_argument("--skintern", default="./skintern")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--as-rival", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rival:
        job, path, text_path = options.as_rival
        print({"encode": rival_encode, "train": rival_train}[job](path, text_path))
        return
    if not options.model:
        parser.error("--model is needed")
    with tempfile.TemporaryDirectory() as folder:
        compare(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
