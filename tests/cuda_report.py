#!/usr/bin/env python3
"""What nvcc made of the kernels of kernels/cuda/, held against what their comments promise. No GPU is needed.

    tests/cuda_report.py --build build [--nvcc nvcc]

The build leaves what ptxas said beside each object (build/kernels/cuda/*.ptxas). Above each kernel stands

    // resident: NAME 256 threads, 2 blocks, 49152 bytes shared
    // uses: NAME mma.sync ldmatrix cp.async

the first always, the second where tensor cores or asynchronous copies are meant. `blocks` is how many are promised to be
resident on a multiprocessor of the smallest architecture in the build; `shared` is static and dynamic together. Checked for every
architecture and every instantiation of NAME:

  - nothing spills, and there is no kernel without a promise nor a promise without a kernel
  - registers and shared memory allow the promised blocks
  - the PTX of each instantiation that is named in `uses` holds these instructions

Prints a line a check, "ok" or "not ok"; the exit status is 0 when nothing is wrong.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

# Of a multiprocessor: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". Registers are given to
# a warp in steps of 256; each block takes 1 KiB of shared memory for the system.
REGISTERS, REGISTER_STEP, RESERVED_SHARED = 65536, 256, 1024
LIMITS = {"80": dict(threads=2048, blocks=32, shared=164 << 10, block_shared=163 << 10),
          "90": dict(threads=2048, blocks=32, shared=228 << 10, block_shared=227 << 10),
          "100": dict(threads=2048, blocks=32, shared=228 << 10, block_shared=227 << 10)}

PROMISE = re.compile(r"^// resident: (\w+) (\d+) threads, (\d+) blocks?, (\d+) bytes shared$", re.M)
USES = re.compile(r"^// uses: (\w+) ([\w. ]+)$", re.M)
KERNEL = re.compile(r"__global__ void(?: __launch_bounds__\((?:[^()]|\([^()]*\))*\))?\s+(\w+)\(")


def resident_blocks(arch, threads, registers, shared):
    """How many blocks a multiprocessor holds at a time; 0 where one does not fit."""
    limits = LIMITS[arch]
    warps = -(-threads // 32)
    a_warp = -(-registers * 32 // REGISTER_STEP) * REGISTER_STEP
    if shared > limits["block_shared"]:
        return 0
    return min(limits["blocks"], limits["threads"] // (warps * 32), REGISTERS // (a_warp * warps),
               limits["shared"] // (shared + RESERVED_SHARED))


def read_ptxas(text):
    """(mangled name, arch) -> dict(registers, spills, shared) from the output of ptxas -v."""
    found, key = {}, None
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)\w?'", line):
            key = match.groups()
            found[key] = dict(registers=0, spills=0, shared=0)
        elif key and (match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            found[key]["spills"] = max(found[key]["spills"], *map(int, match.groups()))
        elif key and (match := re.search(r"Used (\d+) registers", line)):
            found[key]["registers"] = int(match.group(1))
            if shared := re.search(r"(\d+) bytes smem", line):
                found[key]["shared"] = int(shared.group(1))
            key = None
    return found


def is_of(mangled, name):
    """Whether a mangled symbol is of the function `name`, of whatever arguments. The length of a name stands before it, and before
    that may stand the eight hexadecimal digits that end the name of a file's unnamed namespace."""
    return re.search(rf"((?<!\d)|_[0-9a-f]{{8}}){len(name)}{name}(?![a-z0-9_])", mangled) is not None


def entries(ptx):
    """Mangled name -> body of each kernel in PTX."""
    parts = re.split(r"\.entry\s+(\S+?)\(", ptx)
    return dict(zip(parts[1::2], parts[2::2]))


class Report:
    def __init__(self):
        self.wrong = 0

    def check(self, good, what):
        print(("ok " if good else "not ok ") + what, flush=True)
        self.wrong += not good


def check_file(report, source, ptxas, nvcc):
    text = source.read_text()
    promises = {name: tuple(map(int, rest)) for name, *rest in PROMISE.findall(text)}
    kernels = set(KERNEL.findall(text))
    report.check(kernels == set(promises),
                 f"{source}: {len(kernels)} kernels, each with its promise"
                 + "".join(f"; none for {k}" for k in sorted(kernels - set(promises)))
                 + "".join(f"; no kernel {k}" for k in sorted(set(promises) - kernels)))
    compiled = read_ptxas(ptxas.read_text())
    for name, (threads, blocks, shared) in sorted(promises.items()):
        mine = {key: found for key, found in compiled.items() if is_of(key[0], name)}
        bad = []
        for (symbol, arch), found in mine.items():
            fit = resident_blocks(arch, threads, found["registers"], max(shared, found["shared"]))
            if found["spills"] or fit < blocks or found["shared"] > shared:
                bad.append(f"{symbol} for sm_{arch}: {found['registers']} registers, {found['shared']} bytes of static shared "
                           f"memory, {found['spills']} bytes spilled, {fit} blocks fit")
        most = max((found["registers"] for found in mine.values()), default=0)
        report.check(bool(mine) and not bad,
                     f"{name}: {len(mine)} compilations, at most {most} registers, {blocks} blocks of {threads} threads"
                     + "".join("; " + b for b in bad) + ("" if mine else "; not in what ptxas said"))
    uses = {name: rest.split() for name, rest in USES.findall(text)}
    if uses:
        ptx = entries(subprocess.run([nvcc, "-std=c++20", "-ptx", "-arch=sm_80", "-Isrc", "-Ikernels", "-o", "/dev/stdout", source],
                                     check=True, capture_output=True, text=True).stdout)
        for name, instructions in sorted(uses.items()):
            mine = {symbol: body for symbol, body in ptx.items() if is_of(symbol, name)}
            missing = [f"{i} in {symbol}" for symbol, body in mine.items() for i in instructions if i not in body]
            report.check(bool(mine) and not missing, f"{name}: {len(mine)} instantiations use {', '.join(instructions)}"
                         + "".join(f"; no {m}" for m in missing) + ("" if mine else "; there is none"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--nvcc", default="nvcc")
    options = parser.parse_args()
    report = Report()
    for source in sorted(Path("kernels/cuda").glob("*.cu")):
        check_file(report, source, Path(options.build) / "kernels/cuda" / (source.stem + ".ptxas"), options.nvcc)
    return report.wrong > 0


if __name__ == "__main__":
    sys.exit(main())
