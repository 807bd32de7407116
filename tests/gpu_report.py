#!/usr/bin/env python3
"""The parts of tests/gpu.sh that are easier said in Python. Rows are read from and added to OUT/gpu.jsonl.

    tests/gpu_report.py losses --skintern ./skintern --out OUT      the tiny preset's training on cpu and cuda
    tests/gpu_report.py yardsticks --out OUT                        cuBLAS and cuDNN, through PyTorch where it is
    tests/gpu_report.py table --out OUT                             what was measured, as shares of the roofs

The two backends add in another order, so losses part slowly: by rounding in the first steps, by training on it later. What
is held is the first ten steps, at 1e-3 in F32 and 2e-2 in BF16, whose operands move by 2^-9.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

STEPS, TOLERATED = 10, {"f32": 1e-3, "bf16": 2e-2}


def rows(out):
    return [json.loads(line) for line in (out / "gpu.jsonl").read_text().splitlines()]


def add(out, row):
    with open(out / "gpu.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")


# ---- losses --------------------------------------------------------------------------------------------------------

def losses(options):
    folder = options.out / "train"
    call = lambda *arguments: subprocess.run([options.skintern, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    call("data", "--out", folder / "data", "--tasks", "world_facts", "--train", 32, "--test", 2)
    data = next(path for path in sorted((folder / "data").rglob("*.jsonl")) if "train" in path.name)
    wrong = False
    for dtype, tolerated in TOLERATED.items():
        curves, seconds = {}, {}
        for device in ("cpu", "cuda"):
            begin = time.monotonic()
            call("train", "--model", "data/base", "--data", data, "--method", "skintern", "--device", device, "--dtype", dtype,
                 "--steps", 2 * STEPS, "--out", folder / f"{device}-{dtype}")
            seconds[device] = time.monotonic() - begin
            log = (folder / f"{device}-{dtype}/log.jsonl").read_text().splitlines()
            curves[device] = [json.loads(line)["loss"] for line in log]
        pairs = list(zip(curves["cpu"], curves["cuda"]))
        worst = max(abs(a - b) / abs(a) for a, b in pairs[:STEPS])
        good = len(pairs) >= STEPS and worst <= tolerated
        wrong |= not good
        print(f"{'ok' if good else 'not ok'} losses in {dtype}: the first {STEPS} steps differ by {worst:.2e} at most, "
              f"{tolerated:.0e} is tolerated; the last: {pairs[-1][0]:.4f} on the CPU, {pairs[-1][1]:.4f} on the GPU")
        add(options.out, dict(work="losses", dtype=dtype, worst=worst, curves=curves, seconds=seconds))
    return wrong


# ---- yardsticks ----------------------------------------------------------------------------------------------------

def yardsticks(options):
    try:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        print("skipped cuBLAS and cuDNN: PyTorch is not installed")
        return False
    if not torch.cuda.is_available():
        print("skipped cuBLAS and cuDNN: PyTorch sees no GPU")
        return False
    torch.backends.cuda.matmul.allow_tf32 = False

    def best(run):
        """Seconds of a call: the least of ten samples of five calls."""
        for _ in range(3):
            run()
        times = []
        for _ in range(10):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(5):
                run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e-3 / 5)
        return min(times)

    random = lambda *shape, dtype=torch.bfloat16: torch.rand(*shape, device="cuda", dtype=dtype) * 2 - 1
    for row in rows(options.out):
        what = row.get("what", "")
        if row.get("work") == "matmul":
            M, N, K = (int(part.split()[0]) for part in what.split(" x "))
            dtype = torch.bfloat16 if row["dtype"] == "bf16" else torch.float32
            a, b = random(M, K, dtype=dtype), random(N, K, dtype=dtype)
            rate = 2e-9 * M * N * K / best(lambda: a @ b.T)
            add(options.out, dict(work="matmul", dtype=row["dtype"], what=what, unit="GFLOP/s", max=rate, by="cuBLAS"))
        elif row.get("work") == "attention" and row["dtype"] == "bf16" and what.startswith("forward"):
            # "forward, S x T tokens, NH heads of HS, NKV key/value heads"
            sizes = [int(word) for word in what.replace(",", "").split() if word.isdigit()]
            S, T, NH, HS, NKV = sizes
            q = random(S, NH, T, HS).requires_grad_()
            k, v = (random(S, NKV, T, HS).requires_grad_() for _ in range(2))
            dout = random(S, NH, T, HS)
            call = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=NH != NKV)
            product = 2e-9 * S * NH * HS * T * (T + 1) / 2
            for backend, by in ((SDPBackend.CUDNN_ATTENTION, "cuDNN"), (SDPBackend.FLASH_ATTENTION, "FlashAttention of PyTorch")):
                try:
                    with sdpa_kernel(backend):
                        forward = best(call)
                        both = best(lambda: torch.autograd.grad(call(), (q, k, v), dout))
                except RuntimeError as error:
                    print(f"skipped {by}: {str(error).splitlines()[0]}")
                    continue
                for name, rate in (("forward", 2 * product / forward), ("backward", 5 * product / (both - forward))):
                    add(options.out, dict(work="attention", dtype="bf16", what=what.replace("forward", name), unit="GFLOP/s",
                                          max=rate, by=by))
    return False


# ---- table ---------------------------------------------------------------------------------------------------------

def table(options):
    measured = [row for row in rows(options.out) if row.get("unit")]
    roofs = {row["dtype"]: row["max"] for row in measured if row["work"] == "roof"}
    others = {}
    for row in measured:
        if "by" in row:
            others.setdefault((row["work"], row["dtype"], row["what"]), []).append(f"{row['by']} {row['max']:.0f}")
    print(f"roofs: F32 {roofs.get('f32', 0) / 1e3:.1f} TFLOP/s, BF16 {roofs.get('bf16', 0) / 1e3:.1f} TFLOP/s by mma.sync, "
          f"{roofs.get('', 0):.0f} GB/s read")
    print(f"{'work':<10}{'dtype':<6}{'what':<58}{'best':>10} {'unit':<9}{'roof':>6}  beside it")
    for row in measured:
        if row["work"] == "roof" or "by" in row:
            continue
        share = f"{100 * row['max'] / roofs[row['dtype']]:.0f} %" if row["unit"] == "GFLOP/s" and row["dtype"] in roofs else ""
        beside = ", ".join(others.get((row["work"], row["dtype"], row["what"]), []))
        print(f"{row['work']:<10}{row['dtype']:<6}{row['what']:<58}{row['max']:>10.0f} {row['unit']:<9}{share:>6}  {beside}")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["losses", "yardsticks", "table"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--skintern", default="./skintern")
    options = parser.parse_args()
    return dict(losses=losses, yardsticks=yardsticks, table=table)[options.part](options)


if __name__ == "__main__":
    sys.exit(main())
