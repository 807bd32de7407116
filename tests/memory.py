#!/usr/bin/env python3
"""What fine-tuning takes: one step of LoRA (r = 8, all seven linear layers, 512 tokens) on models of random weights.

    tests/memory.py [SHAPE ...] [--folder DIR] [--keep] [--skintern ./skintern] [--maker
    build/tests/make_random_model]

    shape        limit on the peak     disk
    7b-bf16      20 GiB                13.5 GB
    1.1b-q4_0    3 GiB                  0.6 GB
    tiny-bf16, tiny-q4_0   0.5 GiB: the same path in a second

`make memory` builds both programs and runs all of them, which takes some minutes. The models are made in
--folder (default: a temporary folder) and deleted afterwards. Needs Python 3.9 on a Unix, and nothing else.

The peak is the largest resident set that the system saw (getrusage, ru_maxrss). Weights are mapped from their
file, so the pages of the file that are in memory count, although the system may drop them.
"""

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GIB = 1 << 30
LIMITS = {"tiny-bf16": 0.5, "tiny-q4_0": 0.5, "1.1b-q4_0": 3, "7b-bf16": 20}  # GiB, in ascending order, see peak()
TOKENS = 512


def peak():
    """Bytes of the largest child so far: shapes are run in ascending order."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(shape, folder, skintern, maker, keep):
    """One line; True when the step was made within the limit."""
    model = folder / (shape + (".gguf" if shape.endswith("q4_0") else ""))
    if not model.exists():
        subprocess.run([maker, shape, model], check=True)
    vocabulary = 320 if shape.startswith("tiny") else 32000
    ids = [(i * 7919 + 1) % vocabulary for i in range(TOKENS)]
    rows, out = folder / "rows.jsonl", folder / f"out-{shape}"
    rows.write_text(json.dumps(dict(ids=ids, labels=ids)) + "\n")
    begin = time.monotonic()
    subprocess.run([skintern, "train", "--model", model, "--tokens", rows, "--out", out, "--steps", "1", "--batch-size",
                    "1", "--lora-r", "8", "--lora-alpha", "16"], check=True, stdout=subprocess.DEVNULL)
    seconds, used = time.monotonic() - begin, peak() / GIB
    step = json.loads((out / "log.jsonl").read_text())
    # Random weights predict nothing: the loss is that of guessing, ln V, and some more.
    good = used < LIMITS[shape] and 0 < step["loss"] < 2 * math.log(vocabulary) and 0 < step["grad_norm"] < math.inf
    size = sum(f.stat().st_size for f in ([model] if model.is_file() else model.iterdir())) / GIB
    print(f"{'ok' if good else 'not ok'} {shape}: peak {used:.2f} GiB, limit {LIMITS[shape]} GiB; "
          f"weights {size:.2f} GiB, {seconds:.0f} s, loss {step['loss']:.3f}, gradient norm {step['grad_norm']:.3g}", flush=True)
    if not keep:
        shutil.rmtree(model) if model.is_dir() else model.unlink()
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(LIMITS))
    parser.add_argument("--folder", type=Path, help="where the models are made")
    parser.add_argument("--keep", action="store_true", help="do not delete the models")
    parser.add_argument("--skintern", default="./skintern")
    parser.add_argument("--maker", default="build/tests/make_random_model")
    args = parser.parse_args()
    unknown = set(args.shapes) - set(LIMITS)
    if unknown:
        parser.error(f"no such shape: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = args.folder or Path(temporary)
        good = [measure(shape, folder, args.skintern, args.maker, args.keep)
                for shape in LIMITS if not args.shapes or shape in args.shapes]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
