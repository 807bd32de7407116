#!/usr/bin/env python3
"""SmolLM2-135M-Instruct from its GGUF: ./skintern beside transformers, and beside llama.cpp.

    tests/compare_smollm2.py models/SmolLM2-135M-Instruct.Q4_1.gguf --cache DIR
        [--skintern ./skintern] [--device cpu] [--threads 1] [--llama-python OTHER/bin/python]
        [--reference-only]

Needs numpy, torch, transformers, tokenizers and gguf; --llama-python names a Python that has numpy and
llama-cpp-python (docs/checking.md). Takes a few minutes and 1.2 GB in --cache, where the results of
transformers and llama.cpp are kept for the next run; they are made again when the model, the prompts or a
version changes.

20 prompts, 64 tokens each. The reference is transformers in float32 on the dequantised weights.

1. Logits of prompt and continuation, every row: the largest difference is at most kRounding of the largest
   logit.
2. Greedy ids: equal, or at the first difference both programs see a tie. With logits within e of each other,
   two programs can only choose differently where each sees the two candidates within 2 e: e is kRounding of
   the largest logit, and the margin in both is shown. After a difference the texts are about different things
   and are not compared.

kRounding = 1e-5. A sum of n products is off by about sqrt(n) u (u = 6e-8, half a unit in the last place; n =
576 to 1536), and the errors of 30 layers of 7 products add up like a random walk: 6e-8 * sqrt(1536) *
sqrt(210) = 3.4e-5 of a value of the residual stream if nothing is averaged away, and the sums of the last
norm and of the output average. So the script measures what is left: transformers in float64 on the same
weights moves no logit by more than half of kRounding.

llama.cpp is compared twice and only its float32 twin is judged: the same weights, dequantised and written as
an F32 GGUF, are the same numbers in another program. With the Q4_1 file it rounds the inputs of every product
to 8 bits, so that its logits are off by percents; that is shown.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

kRounding = 1e-5
NEW_TOKENS = 64
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
PROMPTS = [
    CHAT.format("What is the capital of France?"),
    CHAT.format("A train leaves at 9:40 and takes 85 minutes. When does it arrive?"),
    CHAT.format("Write a haiku about rain."),
    CHAT.format("Explain in two sentences why the sky is blue."),
    CHAT.format("Translate to German: The cat sleeps on the warm stone."),
    CHAT.format("List five prime numbers above 100."),
    CHAT.format("Is a tomato a fruit? Answer yes or no, then explain."),
    CHAT.format("Tom has 12 apples, gives away a third and buys 5 more. How many has he now? Think step by step."),
    "The",
    "Once upon a time, in a village at the foot of the mountains,",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "In 1969, Apollo 11",
    "The chemical symbol of gold is",
    "1, 1, 2, 3, 5, 8, 13,",
    "Gradient descent is an algorithm that",
    "La capitale de l'Italie est",
    "Dear Sir or Madam,\n\nI am writing to",
    "<html>\n  <head>\n    <title>",
    "Q: Which is heavier, a kilogram of iron or a kilogram of feathers?\nA:",
    "   \n\n  Chapter 1: ",
]


# ---- what is compared --------------------------------------------------------------------------------------

class Reference:
    """What transformers computed, from the cache folder."""

    def __init__(self, cache):
        self.cache = cache
        self.about = json.loads((cache / "reference.json").read_text())
        self.prompts = self.about["prompts"]  # of each: text, ids, greedy

    def logits(self, i):
        """(T+64,V): the rows that follow each token of prompt and continuation."""
        return np.load(self.cache / f"logits_{i}.npy")


def compare(reference, logits_of, greedy_of):
    """A row a prompt: how far the logits are, and where the ids part. `logits_of(ids)` is (T,V), `greedy_of(ids)` the
    64 ids that follow."""
    rows = []
    for i, prompt in enumerate(reference.prompts):
        want, ids, greedy = reference.logits(i), prompt["ids"], prompt["greedy"]
        got, chosen = logits_of(ids + greedy), greedy_of(ids)
        largest = float(np.abs(want).max())
        if got.shape != want.shape or not np.isfinite(got).all() or len(chosen) != len(greedy):
            raise SystemExit(f"prompt {i}: logits {got.shape} of {want.shape}, {len(chosen)} ids, or not finite")
        print(f"prompt {i}", file=sys.stderr, flush=True)
        row = dict(prompt=i, tokens=len(ids), same=NEW_TOKENS,
                   on_prompt=float(np.abs(got - want)[:len(ids)].max()) / largest,
                   on_all=float(np.abs(got - want).max()) / largest)
        different = [k for k, (a, b) in enumerate(zip(chosen, greedy)) if a != b]
        if different:
            k = different[0]
            at = len(ids) - 1 + k  # the row that chooses token k
            row.update(same=k, theirs=greedy[k], ours=chosen[k],
                       margin_theirs=float(want[at, greedy[k]] - want[at, chosen[k]]) / largest,
                       margin_ours=float(got[at, chosen[k]] - got[at, greedy[k]]) / largest)
        rows.append(row)
    return rows


def judge(name, rows):
    """Prints the comparison; True when logits and ids are those of the reference but for rounding."""
    wrong = 0
    for row in rows:
        good, said = row["on_all"] <= kRounding, f"{row['same']} ids equal"
        if row["same"] < NEW_TOKENS:
            good &= max(abs(row["margin_theirs"]), abs(row["margin_ours"])) <= 2 * kRounding
            said = (f"id {row['same']} is {row['ours']}, not {row['theirs']}: margin {row['margin_ours']:.1e} here, "
                    f"{row['margin_theirs']:.1e} there, a tie is <= {2 * kRounding:.0e}")
        wrong += not good
        print(f"{'ok' if good else 'not ok'} {name} prompt {row['prompt']}: logits off by {row['on_prompt']:.1e} on its "
              f"{row['tokens']} tokens, {row['on_all']:.1e} in all; {said}", flush=True)
    summary(name, rows)
    return wrong == 0


def summary(name, rows):
    logits = [row["on_all"] for row in rows]
    same = sum(row["same"] == NEW_TOKENS for row in rows)
    first = f"; ids before the first other one {sorted(r['same'] for r in rows if r['same'] < NEW_TOKENS)}"
    print(f"{name}: {same} of {len(rows)} continuations equal{first if same < len(rows) else ''}; logits off by "
          f"{np.median(logits):.1e} (median), {max(logits):.1e} (largest) of the largest logit", flush=True)


# ---- transformers ------------------------------------------------------------------------------------------

def encoder(reader):
    """text -> ids, with the vocabulary of the file: single digits, then GPT-2's byte-level pieces."""
    from gguf_bridge import scalar
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    tokens, types, merges = (scalar(reader, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type", "merges"))
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)},
                                     merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token, kind in zip(tokens, types) if kind == 3])
    return lambda text: tokenizer.encode(text).ids


def make_reference(path, cache, key):
    """Ids, greedy continuations and logits of every prompt, and how far float64 is from them."""
    import gguf
    import torch
    from gguf_bridge import read_model, write_model
    reader, model = gguf.GGUFReader(path), read_model(path)
    encode, prompts, noise = encoder(reader), [], 0.0
    with torch.no_grad():
        for i, text in enumerate(PROMPTS):
            ids = torch.tensor([encode(text)])
            model.generation_config.eos_token_id = None  # no stop
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS,
                                 pad_token_id=0)
            logits = model(out, use_cache=False).logits[0].numpy()
            np.save(cache / f"logits_{i}.npy", logits)
            prompts.append(dict(text=text, ids=ids[0].tolist(), greedy=out[0, ids.shape[1]:].tolist()))
            print(f"transformers: prompt {i}", file=sys.stderr, flush=True)
        wide = read_model(path).double()
        for i, prompt in enumerate(prompts):
            logits, exact = np.load(cache / f"logits_{i}.npy"), wide(
                torch.tensor([prompt["ids"] + prompt["greedy"]]), use_cache=False).logits[0].numpy()
            noise = max(noise, float(np.abs(logits - exact).max() / np.abs(logits).max()))
            print(f"transformers in float64: prompt {i}", file=sys.stderr, flush=True)
    write_model(cache / "f32.gguf", model.config, dict(model.named_parameters()), tokenizer_of=reader)
    (cache / "reference.json").write_text(json.dumps(dict(key=key, noise=noise, prompts=prompts), indent=1))


def cache_key(path):
    import gguf
    import torch
    import transformers
    from importlib.metadata import version
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return [digest, hashlib.sha256("\0".join(PROMPTS).encode()).hexdigest(), NEW_TOKENS, torch.__version__,
            transformers.__version__, version("gguf")]


# ---- llama.cpp and skintern --------------------------------------------------------------------------------

def llama_worker(cache, model, out):
    """Runs in the Python that has llama-cpp-python: the comparison of one file as JSON. float32 cache, no flash
    attention, one token at a time after the prompt. Without weights repacked for the processor, because on
    one with AMX
    llama-cpp-python 0.3.36 ends with a segmentation fault for Q4_1."""
    from llama_cpp import Llama, llama_cpp
    default_params = llama_cpp.llama_model_default_params

    def plain_params():
        params = default_params()
        params.use_extra_bufts = False
        return params

    llama_cpp.llama_model_default_params = plain_params
    llm = Llama(model, n_ctx=512, n_batch=512, n_threads=1, n_threads_batch=1, logits_all=True, flash_attn=False,
                type_k=0, type_v=0, n_gpu_layers=0, verbose=False)

    def logits_of(ids):
        llm.reset()
        llm.eval(ids)
        return llm.scores[:len(ids)].copy()

    def greedy_of(ids):
        llm.reset()
        chosen = []
        for _ in range(NEW_TOKENS):
            llm.eval(chosen[-1:] or ids)
            chosen.append(int(llm.scores[llm.n_tokens - 1].argmax()))
        return chosen

    Path(out).write_text(json.dumps(compare(Reference(cache), logits_of, greedy_of)))


def llama_rows(python, cache, model, name):
    """llama.cpp's comparison, from the cache where it is newer than the reference."""
    out = cache / f"llama_{name}.json"
    if not out.exists() or out.stat().st_mtime < (cache / "reference.json").stat().st_mtime:
        subprocess.run([python, __file__, str(model), "--cache", str(cache), "--llama-worker", str(out)], check=True)
    return json.loads(out.read_text())


def skintern_rows(program, device, threads, model, reference):
    def run(*arguments):
        return subprocess.run([program, *arguments, "--model", str(model), "--device", device, "--threads", threads],
                              check=True, stdout=subprocess.PIPE, text=True).stdout

    def logits_of(ids):
        with tempfile.TemporaryDirectory() as folder:
            run("logits", "--ids", " ".join(map(str, ids)), "--out", f"{folder}/logits.npy")
            return np.load(f"{folder}/logits.npy")

    def greedy_of(ids):
        said = run("generate", "--ids", " ".join(map(str, ids)), "--max-new-tokens", str(NEW_TOKENS), "--print-ids",
                   "--ignore-eos")
        return [int(word) for word in said.split()]

    return compare(reference, logits_of, greedy_of)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the GGUF file")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the results of the other programs")
    parser.add_argument("--skintern", default="./skintern", help="the program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", default="1", help="of skintern; one is not slowed by what else runs")
    parser.add_argument("--llama-python", help="a Python with llama-cpp-python; without it llama.cpp is left out")
    parser.add_argument("--reference-only", action="store_true", help="fill the cache and end")
    parser.add_argument("--llama-worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.llama_worker:
        return llama_worker(args.cache, str(args.model), args.llama_worker)
    args.cache.mkdir(parents=True, exist_ok=True)
    key = cache_key(args.model)
    if not (args.cache / "reference.json").exists() or Reference(args.cache).about["key"] != key:
        make_reference(args.model, args.cache, key)
    reference = Reference(args.cache)
    noise = reference.about["noise"]
    good = noise <= kRounding / 2
    print(f"{'ok' if good else 'not ok'} transformers in float32 is off by {noise:.1e} from float64, at most "
          f"{kRounding / 2:.0e} is tolerated", flush=True)
    if args.llama_python:
        twin = llama_rows(args.llama_python, args.cache, args.cache / "f32.gguf", "f32")
        good &= judge("llama.cpp, F32 twin,", twin)
        summary("llama.cpp, the file, 8-bit activations",
                llama_rows(args.llama_python, args.cache, args.model, "file"))
    else:
        print("skipped llama.cpp: no --llama-python")
    if not args.reference_only:
        good &= judge("skintern", skintern_rows(args.skintern, args.device, args.threads, args.model, reference))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
