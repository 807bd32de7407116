#!/usr/bin/env python3
"""The rivals that live in PyTorch: its matmul, PEFT, transformers. One process measures one thing and prints one line
of JSON with the fields of `skintern bench --json`.

    torch_rival.py matmul  --shape M,N,K --dtype f32|bf16
    torch_rival.py train   --model HF_FOLDER --dtype f32|bf16       LoRA r 16, 4 x 512 tokens, a quarter labelled
    torch_rival.py prefill --model HF_FOLDER --dtype f32|bf16
    torch_rival.py decode  --model HF_FOLDER --dtype f32|bf16 --batch-size S
    torch_rival.py logits  --model HF_FOLDER_OR_GGUF --ids "..." --save F.npy

With --save it computes once and writes what it computed, for a comparison of results.

Each is set as it is fastest on a CPU among what its documentation offers without compiling: sdpa attention, no
gradients outside training, logits of the last token only where no others are asked for, and the loop of decoding
written out, because generate() does more around it.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np


def timed(run, runs, warm=1):
    """Seconds of each of `runs` calls after `warm` that do not count."""
    seconds = []
    for i in range(warm + runs):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds[warm:]


def report(work, dtype, what, amount, unit, seconds):
    """`amount` of `unit` are done in each of `seconds`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps(dict(work=work, dtype=dtype, what=what, value=amount / statistics.median(seconds), unit=unit,
                          min=amount / max(seconds), max=amount / min(seconds), peak_rss_bytes=peak)))


def matmul(args, torch, dtype):
    """A linear layer's forward pass, as torch does it: x (M,K) times weight (N,K) transposed."""
    M, N, K = args.shape
    torch.manual_seed(1)
    x, weight = (torch.rand(rows, K).mul_(2).sub_(1).to(dtype) for rows in (M, N))
    if args.operands:
        from safetensors.torch import load_file
        given = load_file(args.operands)
        np.save(args.save, torch.mm(given["a"].to(dtype), given["b"].to(dtype).T).float().numpy())
        return
    out, flops = torch.empty(M, N, dtype=dtype), 2e-9 * M * N * K
    once = min(timed(lambda: torch.mm(x, weight.T, out=out), 3))
    repeats = max(1, round(2e-2 / once))

    def run():
        for _ in range(repeats):
            torch.mm(x, weight.T, out=out)
    report("matmul", args.dtype, f"{M} x {N} x {K}", flops * repeats, "GFLOP/s", timed(run, 15))


def load(args, torch, dtype):
    from transformers import AutoModelForCausalLM
    return AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, attn_implementation="sdpa")


def with_adapter(args, torch, dtype):
    """The model with an adapter on every linear layer, and the adapter's weights. For a check B is random, not 0."""
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(5)
    model = load(args, torch, dtype)
    model.config.use_cache = False
    model = get_peft_model(model, LoraConfig(
        r=args.lora_r, lora_alpha=2 * args.lora_r, lora_dropout=0.0, task_type="CAUSAL_LM",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        init_lora_weights=not args.save), autocast_adapter_dtype=not args.adapter_bf16)
    model.train()
    return model, [p for p in model.parameters() if p.requires_grad]


def first_step(args, torch, dtype):
    """Saves an adapter and prints loss and norm of the gradient on the rows of a --tokens file."""
    model, weights = with_adapter(args, torch, dtype)
    with torch.no_grad():
        for p in weights:
            p.mul_(0.1)
    model.save_pretrained(args.save)
    rows = [json.loads(line) for line in Path(args.tokens).read_text().splitlines()]
    loss = model(input_ids=torch.tensor([row["ids"] for row in rows]),
                 labels=torch.tensor([row["labels"] for row in rows])).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
    print(json.dumps(dict(loss=float(loss), grad_norm=float(norm))))


def train(args, torch, dtype):
    if args.save:
        return first_step(args, torch, dtype)
    model, weights = with_adapter(args, torch, dtype)
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    S, T = args.batch_size or 4, args.seq_len
    ids = torch.randint(model.config.vocab_size, (S, T), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[:, :T - T // 4] = -100

    def step():
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    report("train", args.dtype, f"LoRA r {args.lora_r}, {S} x {T} tokens, 25 % labelled", S * T, "tokens/s",
           timed(step, args.runs))


def logits(args, torch, dtype):
    """Logits of every position, by transformers; of a GGUF file on its dequantised weights."""
    ids = torch.tensor([[int(word) for word in args.ids.split()]])
    if args.model.endswith(".gguf"):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from gguf_bridge import read_model
        model = read_model(args.model)
    else:
        model = load(args, torch, dtype).eval()
    with torch.inference_mode():
        np.save(args.save, model(input_ids=ids, use_cache=False).logits[0].float().numpy())


def prefill(args, torch, dtype):
    model, S, T = load(args, torch, dtype).eval(), args.batch_size or 1, args.seq_len
    ids = torch.randint(model.config.vocab_size, (S, T), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        seconds = timed(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1).logits.argmax(-1), args.runs)
    report("prefill", args.dtype, f"{S} x {T} tokens", S * T, "tokens/s", seconds)


def decode(args, torch, dtype):
    """--new-tokens tokens after a prompt of an eighth of --seq-len; the prompt is not timed."""
    model, S, P = load(args, torch, dtype).eval(), args.batch_size or 1, max(1, args.seq_len // 8)
    prompt = torch.randint(model.config.vocab_size, (S, P), generator=torch.Generator().manual_seed(4))
    seconds = []
    with torch.inference_mode():
        for _ in range(args.runs + 1):
            out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            begin = time.perf_counter()
            for _ in range(args.new_tokens):
                out = model(input_ids=out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values,
                            use_cache=True)
            seconds.append(time.perf_counter() - begin)
    report("decode", args.dtype, f"{S} sequences, {args.new_tokens} new tokens after {P}", S * args.new_tokens,
           "tokens/s", seconds[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["matmul", "train", "prefill", "decode", "logits"])
    parser.add_argument("--model", help="a Hugging Face folder")
    parser.add_argument("--shape", type=lambda text: [int(n) for n in text.split(",")], help="M,N,K")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--lora-r", type=int, default=16)
    parser.add_argument("--adapter-bf16", action="store_true", help="adapters in BF16 too; PEFT keeps them in F32")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--save", help="a check instead of a measurement: .npy for matmul and logits, a folder for train")
    parser.add_argument("--operands", help="matmul: a .safetensors file with a and b, instead of random numbers")
    parser.add_argument("--tokens", help="train: rows of ids and labels, for the check")
    parser.add_argument("--ids", help="logits: the tokens")
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    {"matmul": matmul, "train": train, "prefill": prefill, "decode": decode, "logits": logits}[args.work](
        args, torch, torch.bfloat16 if args.dtype == "bf16" else torch.float32)


if __name__ == "__main__":
    main()
