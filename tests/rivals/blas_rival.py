#!/usr/bin/env python3
"""OpenBLAS, as numpy brings it: one matrix product, out(M,N) = a(M,K) b(N,K)^T, in F32. Prints one line of JSON with the
fields of `skintern bench --json`.

    blas_rival.py --shape M,N,K --threads N [--operands F.safetensors --save OUT.npy]
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=lambda text: [int(n) for n in text.split(",")], required=True, help="M,N,K")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--operands", help="a .safetensors file with a and b, instead of random numbers")
    parser.add_argument("--save", help="with --operands: where the product goes")
    args = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)  # read when numpy is loaded
    import numpy as np
    from torch_rival import report, timed
    if args.operands:
        from safetensors.numpy import load_file
        given = load_file(args.operands)
        return np.save(args.save, given["a"] @ given["b"].T)
    M, N, K = args.shape
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(-1, 1, (rows, K)).astype(np.float32) for rows in (M, N))
    out = np.empty((M, N), np.float32)
    repeats = max(1, round(2e-2 / min(timed(lambda: np.matmul(a, b.T, out=out), 3))))

    def run():
        for _ in range(repeats):
            np.matmul(a, b.T, out=out)
    report("matmul", "f32", f"{M} x {N} x {K}", 2e-9 * M * N * K * repeats, "GFLOP/s", timed(run, 15))


if __name__ == "__main__":
    main()
