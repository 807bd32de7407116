"""Makes rows.json, the golden training rows of tests/test_prompt.cpp, with the `tokenizers` package.

    python -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/golden/make_rows.py

A list of {"method", "prompt", "ids", "labels"}: one row a method, encoded with bpe_tokenizer.json. Prompt and target are
encoded apart and joined; a label is -100 at every token of the prompt (Hugging Face's convention: label t is the token
that stands at t). The wording is written out here, not taken from the program.
"""

import json
import pathlib

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
TASK = "Solve the task. Add. End with the mark."
KNOWLEDGE = "\n\nThis knowledge helps:\nAdd the numbers.\n1 plus 1 is 2."
PASSAGES = "\n\nPassages:\n1. Sums . Add the numbers.\n2. Facts . 1 plus 1 is 2."
TARGET = "1 plus 1 is 2. Therefore, the answer is 2."


def question(text):
    return f"\n\nQuestion: {text}\nAnswer:"


EXAMPLE = question("What is 3 plus 1?") + " " + TARGET
LAST = question("What is 1 plus 1?") + " Let's think step by step."

PROMPTS = {
    "std-cot": TASK + LAST,
    "kard": TASK + PASSAGES + LAST,
    "skintern, first stage": TASK + KNOWLEDGE + EXAMPLE + LAST,
    "skintern, last stage": TASK + LAST,
}

tokenizer = Tokenizer.from_file(str(HERE / "bpe_tokenizer.json"))
end = tokenizer.token_to_id("<|endoftext|>")
rows = []
for method, prompt in PROMPTS.items():
    before = tokenizer.encode(prompt).ids
    after = tokenizer.encode(" " + TARGET).ids + [end]
    rows.append({"method": method, "prompt": prompt, "ids": before + after, "labels": [-100] * len(before) + after})
(HERE / "rows.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
