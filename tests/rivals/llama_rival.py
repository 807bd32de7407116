#!/usr/bin/env python3
"""llama.cpp through its low-level batch interface. One process measures one thing and prints one line of JSON with the
fields of `skintern bench --json`.

    llama_rival.py prefill --model FILE.gguf --threads N
    llama_rival.py decode  --model FILE.gguf --threads N --batch-size S
    llama_rival.py logits  --model FILE.gguf --ids "..." --save F.npy
    llama_rival.py info                                      what the build can do

The settings are llama.cpp's own defaults (16-bit cache, flash attention where it chooses it, weights repacked for the
processor), with all tokens of a prompt in one batch. Decoding is S sequences in parallel, a token each a batch, chosen
by the largest logit.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from torch_rival import report, timed  # noqa: E402  (needs torch only where it is asked for)


class Sequences:
    """A model with room for `count` sequences of `length` tokens."""

    def __init__(self, args, count, length):
        import llama_cpp
        self.api = llama_cpp
        self.log = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.log, None)
        llama_cpp.llama_backend_init()
        settings = llama_cpp.llama_model_default_params()
        settings.n_gpu_layers = 0
        settings.use_extra_bufts = not args.no_repack
        self.model = llama_cpp.llama_model_load_from_file(args.model.encode(), settings)
        if not self.model:
            raise SystemExit(f"{args.model}: llama.cpp does not load it")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = count * max(256, length)
        settings.n_batch = settings.n_ubatch = max(count, 512)
        settings.n_seq_max = count
        settings.n_threads = settings.n_threads_batch = args.threads
        if args.f32_cache:
            settings.type_k = settings.type_v = 0
            settings.flash_attn_type = 0
        settings.kv_unified = False
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        self.batch = llama_cpp.llama_batch_init(settings.n_batch, 0, 1)

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), False)

    def feed(self, tokens, sequence, first):
        """`tokens` of one sequence from position `first`; the next token."""
        self._begin(len(tokens))
        for i, token in enumerate(tokens):
            self._set(i, int(token), first + i, sequence, i == len(tokens) - 1)
        self._decode()
        return int(self._logits(len(tokens) - 1, 1)[0].argmax())

    def step(self, tokens, position):
        """One token of each sequence, all at `position`; the next ones."""
        self._begin(len(tokens))
        for sequence, token in enumerate(tokens):
            self._set(sequence, int(token), position, sequence, True)
        self._decode()
        return self._logits(0, len(tokens)).argmax(axis=1)

    def rows(self, tokens, first):
        """Logits after each of `tokens` of sequence 0 from position `first`."""
        self._begin(len(tokens))
        for i, token in enumerate(tokens):
            self._set(i, token, first + i, 0, True)
        self._decode()
        return self._logits(0, len(tokens)).copy()

    def _begin(self, count):
        self.batch.n_tokens = count

    def _set(self, i, token, position, sequence, logits):
        self.batch.token[i], self.batch.pos[i] = token, position
        self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
        self.batch.logits[i] = logits

    def _decode(self):
        status = self.api.llama_decode(self.context, self.batch)
        if status != 0:
            raise SystemExit(f"llama_decode returned {status}")

    def _logits(self, first, rows):
        pointer = self.api.llama_get_logits_ith(self.context, first)
        return np.ctypeslib.as_array(pointer, shape=(rows, self.vocabulary))


def prefill(args):
    model = Sequences(args, 1, args.seq_len + 1)
    ids = np.random.default_rng(3).integers(model.vocabulary, size=args.seq_len)

    def run():
        model.clear()
        model.feed(ids, 0, 0)
    report("prefill", args.type, f"1 x {args.seq_len} tokens", args.seq_len, "tokens/s", timed(run, args.runs))


def decode(args):
    S, P = args.batch_size or 1, max(1, args.seq_len // 8)
    model = Sequences(args, S, P + args.new_tokens + 1)
    prompts = np.random.default_rng(4).integers(model.vocabulary, size=(S, P))
    seconds = []
    for _ in range(args.runs + 1):
        model.clear()
        tokens = [model.feed(prompt, s, 0) for s, prompt in enumerate(prompts)]
        begin = time.perf_counter()
        for i in range(args.new_tokens):
            tokens = model.step(tokens, P + i)
        seconds.append(time.perf_counter() - begin)
    report("decode", args.type, f"{S} sequences, {args.new_tokens} new tokens after {P}", S * args.new_tokens,
           "tokens/s", seconds[1:])


def logits(args):
    """Logits of every position, one token at a time after the first half, as prompt and decoding compute them."""
    ids = [int(word) for word in args.ids.split()]
    model, half = Sequences(args, 1, len(ids)), max(1, len(ids) // 2)
    rows = [model.rows(ids[:half], 0)] + [model.rows([token], half + i) for i, token in enumerate(ids[half:])]
    np.save(args.save, np.concatenate(rows))


def info(args):
    import llama_cpp
    print(llama_cpp.__version__, llama_cpp.llama_print_system_info().decode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["prefill", "decode", "logits", "info"])
    parser.add_argument("--model", help="a GGUF file")
    parser.add_argument("--type", default="", help="how the report calls the model's type")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-repack", action="store_true", help="weights as they lie in the file")
    parser.add_argument("--ids", help="logits: the tokens")
    parser.add_argument("--save", help="logits: the .npy file")
    parser.add_argument("--f32-cache", action="store_true", help="cache of F32, no flash attention")
    args = parser.parse_args()
    {"prefill": prefill, "decode": decode, "logits": logits, "info": info}[args.work](args)


if __name__ == "__main__":
    main()
