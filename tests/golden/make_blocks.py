"""Makes blocks.json: random blocks of every quantised type and the numbers that the `gguf` package reads in them.

    pip install gguf numpy
    python tests/golden/make_blocks.py > tests/golden/blocks.json

Scales are random F16 numbers that are finite; everything else of a block is random bytes. Numbers are written as the
hexadecimal bits of float32.
"""
import json

import numpy as np
from gguf import GGMLQuantizationType, GGML_QUANT_SIZES
from gguf.quants import dequantize

# Byte offsets of the F16 scales in a block.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208]}


def main():
    rng = np.random.default_rng(1)
    cases = []
    for name, offsets in SCALES.items():
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        count = 2 if elements == 32 else 1
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for block in blocks:
            for offset in offsets:
                block[offset:offset + 2] = np.frombuffer(np.float16(rng.normal()).tobytes(), dtype=np.uint8)
        numbers = dequantize(blocks, kind).astype(np.float32).reshape(-1)
        cases.append({"type": name, "blocks": blocks.tobytes().hex(),
                      "numbers": numbers.view(np.uint32).astype(">u4").tobytes().hex()})
    print("[" + ",\n ".join(json.dumps(case) for case in cases) + "]")


main()
