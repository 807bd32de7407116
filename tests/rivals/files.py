#!/usr/bin/env python3
"""The models of the comparison, made from one GGUF file.

    tests/rivals/files.py models/SmolLM2-135M-Instruct.Q4_1.gguf --cache build/rivals

dequantises the file and writes into --cache, once: f32.gguf, bf16.gguf, q8_0.gguf, q4_0.gguf (every matrix of that
type, the tied embedding among them; norms stay F32), and hf-f32/, hf-bf16/, folders for transformers. The Q4_1 file
itself is used as it is. Needs gguf, torch and transformers.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

KINDS = ("F32", "BF16", "Q8_0", "Q4_0")


def make(source, cache):
    """Writes what is missing. A file appears under its name when it is whole."""
    import gguf
    import torch
    from gguf_bridge import read_model, write_model
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / f"{kind.lower()}.gguf" for kind in KINDS]
    folders = [cache / "hf-f32", cache / "hf-bf16"]
    if all(path.exists() for path in files + folders):
        return
    model, reader = read_model(source), gguf.GGUFReader(source)
    for kind, path in zip(KINDS, files):
        part = path.with_suffix(".part")
        write_model(part, model.config, dict(model.named_parameters()), gguf.GGMLQuantizationType[kind],
                    tokenizer_of=reader)
        os.replace(part, path)
    for folder, dtype in zip(folders, (torch.float32, torch.bfloat16)):
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        model.to(dtype).save_pretrained(part)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the GGUF file")
    parser.add_argument("--cache", type=Path, default=Path("build/rivals"))
    args = parser.parse_args()
    make(args.source, args.cache)


if __name__ == "__main__":
    main()
