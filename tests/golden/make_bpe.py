"""Makes bpe_tokenizer.json and bpe_cases.json, the golden of tests/test_bpe.cpp, with the `tokenizers` package.

    python -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/golden/make_bpe.py

bpe_tokenizer.json: a tokenizer that the package trained on the documents of bpe_cases.json.
bpe_cases.json: {"documents": [text, ...], "cases": [[text, ids], ...], "special_cases": [[text, ids], ...]}. No text
of "cases" holds the special token; in those of "special_cases" it stands for its id.

The texts are drawn from a fixed seed. Characters that this Python does not know are left out: the test's library
and the package may be of different Unicode versions.
"""

import json
import pathlib
import random
import unicodedata

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
VOCAB_SIZE = 640
END = "<|endoftext|>"

WORDS = """the a an of in on at to and or not if then else while for question answer step think therefore is was were
are be has had have it its she he they we I you don't can't we're they've I'll she'd I'm baker market river stone basket
apple apples pear pears price prices cost costs sold sells bought buys total each every day days week weeks more less
than twice half left right front back table chair lamp window green red blue yellow quickly slowly first second third
return returns import def class self print value values list name true false yes no Grüße über straße naïve café
élève señor mañana Привет мир слово книга здравствуйте שלום עולם مرحبا العالم 你好 世界 日本語 こんにちは 안녕하세요 γλώσσα
नमस्ते ภาษาไทย""".split()
MARKS = [".", ",", "?", "!", ":", ";", " -", "...", ")", "(", "\n", "\n\n", "  ", "\t", " = ", " += ", "_", "'s", "\""]

PIECES = {
    "words": WORDS + MARKS + [" "] * 20,
    "digits": list("0123456789٠١٢٣ⅧⅣ½²³①१२ .,-+eE%$") + [" "] * 8,
    "emoji": ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "❤️", "😀", "\u200d", "\ufe0f", " ", "a", "1", "🇩🇪"],
    "right to left": ["שלום", " ", "العربية", "\u200f", "\u202e", "مَرْحَبًا", "٣", "ab", "1", "־", "،", "\u0651"],
    "marks": ["e\u0301", "a\u0308", "\u0301", "\u20dd", " ", "n\u0303o", "ด้", "हिन्दी", "é", "1", "'"],
    "spaces": [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\u0085", "\x1c", "\x0b", "\u200b",
               "\u1680", "\u180e", "x", "1", "!", " a"],
    "look-alikes": ["<|endoftext|", "<", "|", ">", "endoftext", " <|", "|>", "1", " ", "\n"],
    "apostrophes": ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'", "’s", "I", " ", "don't", "1", "'l", "s"],
    "ascii": [chr(c) for c in range(128)],
}


def sentence(rng, size):
    return "".join(rng.choice(WORDS) + (rng.choice(MARKS) if rng.random() < 0.15 else "") + " " for _ in range(size))


def any_character(rng):
    while True:
        plane = rng.choice([0, 0, 0, 1, 1, 2, 3, 14, 15, 16]) << 16
        char = chr(rng.choice([rng.randrange(0x3000), plane + rng.randrange(0x10000), plane + rng.randrange(0x3000)]))
        if unicodedata.category(char) not in ("Cn", "Cs"):
            return char


def main():
    rng = random.Random(2024)
    documents = [sentence(rng, 40) for _ in range(40)]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, min_frequency=2, special_tokens=[END],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.save(str(HERE / "bpe_tokenizer.json"), pretty=False)

    texts = ["", " ", "\n", "'", "a" * 70, " " * 33 + "x", "\n" * 17, "0" * 20, "  1  a  \n\n b \n", "<|endoftext|", "It's"]
    for pieces in PIECES.values():
        texts += ["".join(rng.choice(pieces) for _ in range(rng.randrange(1, 25))) for _ in range(20)]
    texts += ["".join(any_character(rng) for _ in range(rng.randrange(1, 12))) for _ in range(40)]
    every = sum(PIECES.values(), [])
    for _ in range(40):
        texts.append("".join(rng.choice(every) if rng.random() < 0.7 else any_character(rng) for _ in range(16)))
    texts = [text for text in texts if END not in text]
    special = [END, END * 3, "a" + END, " " + END + " \n1", "<|" + END + "|>", "<|endoftext" + END]
    golden = {"documents": documents}
    for name, group in (("cases", texts), ("special_cases", special)):
        golden[name] = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in group]
    (HERE / "bpe_cases.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
