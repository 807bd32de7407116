"""Compares `skintern tokenize` with the `tokenizers` package, and with llama.cpp where its binding can be imported.

    python -m venv venv && venv/bin/pip install tokenizers gguf numpy        # and llama-cpp-python, which compiles
    venv/bin/python tests/compare_tokenizers.py VOCABULARY.gguf ... [--skintern ./skintern] [--cases 3000] [--seed 1]

A vocabulary is a .gguf file of one of the families below (ggml-vocab-gpt-2.gguf and its like, which llama.cpp has in its
folder models/; a whole model will do). From it a tokenizer.json is made with the components of the family's published
file. Then each text of a corpus goes through the package, through skintern with the tokenizer.json, through skintern with
the .gguf, and through llama.cpp with the .gguf, with and without special tokens in the text. Where the original is the
package: a difference of skintern fails, one of llama.cpp is counted and shown.

Characters that this Python does not know are left out: the classes of newer ones depend on the Unicode version.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
MARK = "\u2581"


# ---- the tokenizers, as published ----------------------------------------------------------------------------------


def split_by(expression):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2_regex():
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


BYTE_LEVEL = {
    "gpt-2": gpt2_regex,
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2_regex()]),
    "llama-bpe": lambda: split_by(LLAMA3),
    "qwen2": lambda: split_by(QWEN2),
}


class Vocabulary:
    def __init__(self, path):
        fields = GGUFReader(path).fields
        read = lambda key: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else None
        self.model, self.pre = read("model"), read("pre")
        self.tokens, self.types, self.merges, self.scores = (read(k) for k in ("tokens", "token_type", "merges", "scores"))
        self.bos = read("bos_token_id")
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.added = [i for i, t in enumerate(self.types) if t in (2, 3, 4)]

    def make(self, newer=False):
        """The Tokenizer. `newer`: SentencePiece as newer files write it, with Metaspace."""
        if self.model == "llama":
            tokenizer = self.make_sentencepiece(newer)
        else:
            # Special tokens stand in the vocabulary of some published files and beside it in others: beside it here.
            vocab = {t: i for t, i in self.ids.items() if i not in set(self.added)} if self.pre == "llama-bpe" else self.ids
            merges = [tuple(m.split(" ")) for m in self.merges]
            tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=self.pre == "llama-bpe"))
            tokenizer.pre_tokenizer = BYTE_LEVEL[self.pre]()
            tokenizer.decoder = decoders.ByteLevel()
            if self.pre == "qwen2":
                tokenizer.normalizer = normalizers.NFC()
        for i in self.added:
            token = AddedToken(self.tokens[i], special=self.types[i] != 4, normalized=False)
            (tokenizer.add_tokens if self.types[i] == 4 else tokenizer.add_special_tokens)([token])
        if self.model == "llama" or self.pre == "llama-bpe":
            bos = self.tokens[self.bos]
            tokenizer.post_processor = processors.TemplateProcessing(single=[bos, "$A"], special_tokens=[(bos, self.bos)])
        return tokenizer

    def make_sentencepiece(self, newer):
        # Merges as the converter of `transformers` makes them: each way to cut a token in two, by score, then by the
        # lengths of the parts.
        usable = {t: i for t, i in self.ids.items() if self.types[i] == 1}
        merges = []
        for token, i in usable.items():
            cuts = [(token[:k], token[k:]) for k in range(1, len(token)) if token[:k] in usable and token[k:] in usable]
            cuts.sort(key=lambda cut: (usable[cut[0]], usable[cut[1]]))
            merges += [(left, right, self.scores[i]) for left, right in cuts]
        merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
        tokenizer = Tokenizer(models.BPE(self.ids, [m[:2] for m in merges], unk_token="<unk>", fuse_unk=True,
                                         byte_fallback=True))
        if newer:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="first", split=False)
        else:
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
        tokenizer.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(),
                                               decoders.Strip(" ", 1, 0)])
        return tokenizer


# ---- texts ---------------------------------------------------------------------------------------------------------

FIXED = [
    "", " ", "  ", "\t", "\n", "\r\n", "\n\n\n", " \n \n ", "a", " a", "a ", "  a", "   a  b   c    ",
    "Hello, world!", "I'm we'LL THEY'RE don't 's 'S '\u017f 'Re x'vE it's 'tis ''s 'l 'll'll",
    "def f(x):\n    return {'a': x**2 + 1e-5}  # comment\n\n\tif x == 0:\n\t\tpass\r\n",
    "int main(void) {\n\tprintf(\"%d\\n\", 0xFF);\n}\n", "<div class=\"a\">&nbsp;</div>", "x=1;y=22;z=333;w=4444;v=55555",
    "1", "12", "123", "1234", "1234567 89 0", "3.14159", "1,000,000", " 1", "  12", "\u0661\u0662\u0663", "\u00bd\u2163\u00b2",
    "👍", "👍🏽", "👨‍👩‍👧‍👦 family", "🏳️‍🌈❤️🇩🇪🇫🇷", "😀😀😀😀", "a\u200db\u200cc", "\ufe0f\u20e3", "1️⃣2️⃣",
    "שלום עולם", "مرحبا بالعالم", "مَرْحَبًا", "abc \u202eשלום\u202c def", "\u200f\u200e", "עִבְרִית 123 abc",
    "e\u0301", "\u00e9", "A\u030a \u212b \u00c5", "\u1100\u1161\u11a8 각", "n\u0303\u0323 \u0323\u0303n", "q\u0307\u0323",
    "\u0301", "\u0344 \u0958 \u2126 \u0340", "हिन्दी", "ภาษาไทย", "Zalgo: z\u0334\u0355\u0301\u0327a\u0321\u030al\u0315go", "\u1e9b\u0323",
    "你好，世界。", "日本語テキスト カタカナ", "한국어", "Привет", "Ελληνικά", "ﬁﬂ ǅ ß İ ı",
    "\u00a0x\u3000y\u2028z\u2029w\u0085v\x0bu\x0ct", "a\u1680b\u180ec\u200bd\ufeffe", "\x1c\x1d\x1e\x1f \x7f\x00\x01",
    "\ufeffBOM", "line\r\nline\r\n", "a\rb", "\ufffd\ufffd", "\U0010ffff\U000e0041", "\ue000 \uf8ff", "\u0378",
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n", "<s>", "</s>", "<unk>", " <s> </s> ", "<s", "<|", "|>", "<|im_start|",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|<|endoftext|>|>", "<|endoftext|><|endoftext|>",
    "<0x41>", "<0x0A>", "<0x-1>", "<0xZZ>", "[INST] x [/INST]", "[PAD151646]", "a[PAD151646]b", MARK, "a" + MARK + "b", MARK * 3 + " x",
    " " * 17, " " * 100 + "x", "a" * 1000, "A" * 33, "0" * 1001, "!" * 500, "\n" * 300, "=" * 80, "ab" * 300, "é" * 200,
    "\u0301" * 50, "👍" * 60, " \n" * 70, "\t" * 40 + "x", "https://example.com/a?b=c&d=%20#e", "C:\\Users\\x\\n.txt",
    "\U00020000\U0002a6d6", "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛", "①②③ Ⅷ ⅸ", "snake_case camelCase SCREAMING_CASE kebab-case", "...---...", "¿Qué?¡Sí!",
]

PARTS = ["a", "b", "the", " the", "The", " ", "  ", "\n", "\r", "\r\n", "\t", "1", "22", "007", "'", "'s", "'LL", "'re", "’s", ".", ",",
         "!", "(", ")", "=", "==", "<", ">", "|", "_", "-", "/", "\\", "\"", "é", "e\u0301", "\u0301", "\u0323", "ß", "ж", "ש", "ع", "\u064e",
         "你", "好", "한", "\u1100\u1161", "👍", "🏽", "\u200d", "\ufe0f", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", MARK, "½",
         "٣", "Ⅷ", "\x00", "\x1f", "<s>", "</s>", "<0x41>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "\ufffd", "\u017f", "ing", "tion"]


def any_character(rng):
    while True:
        plane = rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 14, 15, 16]) << 16
        char = chr(rng.choice([rng.randrange(0x250), rng.randrange(0x3000), plane + rng.randrange(0x10000)]))
        if unicodedata.category(char) not in ("Cn", "Cs"):
            return char


def corpus(rng, count, words):
    texts = list(FIXED)
    for i in range(count):
        size = rng.randrange(1, 40)
        kind = i % 4
        if kind == 0:
            texts.append("".join(rng.choice(PARTS) for _ in range(size)))
        elif kind == 1:
            texts.append("".join(any_character(rng) for _ in range(size)))
        elif kind == 2:
            texts.append("".join(rng.choice(PARTS) if rng.random() < 0.7 else any_character(rng) for _ in range(size)))
        else:  # pieces of real tokens, glued together
            texts.append("".join(rng.choice(words) for _ in range(size)))
    return texts


# ---- skintern ------------------------------------------------------------------------------------------------------


class Skintern:
    def __init__(self, binary, model, separator, folder):
        self.binary, self.model, self.folder = binary, model, folder
        self.separator = separator  # text and id of a special token

    def run(self, text, *options):
        path = self.folder / "input"
        path.write_bytes(text.encode())
        command = [self.binary, "tokenize", "--model", str(self.model), "--file", str(path), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return [[int(w) for w in line.split()] for line in done.stdout.split("\n")[:-1]]

    def encode_lines(self, texts):
        """Without special tokens: texts without a line end go in one file, the others one by one."""
        single = [t for t in texts if "\n" not in t]
        ids = dict(zip(single, self.run("".join(t + "\n" for t in single), "--lines")))
        for t in [t for t in texts if "\n" in t][:60]:
            ids[t] = self.run(t)[0]
        return ids

    def encode_special(self, texts):
        """With special tokens: all in one file, with a special token between them, which cuts texts apart."""
        text, number = self.separator
        usable = [t for t in dict.fromkeys(texts) if text not in t]
        out, ids = {}, []
        for i in self.run("".join(t + text for t in usable), "--parse-special")[0]:
            if i == number:
                out[usable[len(out)]] = ids
                ids = []
            else:
                ids.append(i)
        assert len(out) == len(usable)
        return out


def compare(name, expected, got, show=5):
    differing = [t for t in got if got[t] != expected(t)]
    print(f"  {name}: {len(got) - len(differing)} of {len(got)} texts equal")
    for t in differing[:show]:
        print(f"    {t!r}\n      original {expected(t)}\n      here     {got[t]}")
    return len(differing)


def check(path, options, folder):
    vocabulary = Vocabulary(path)
    print(f"{pathlib.Path(path).name}: model {vocabulary.model}, pre {vocabulary.pre}")
    rng = random.Random(options.seed)
    plain = [t for i, t in enumerate(vocabulary.tokens) if vocabulary.types[i] == 1]
    decode = vocabulary.make().decode
    words = [decode([rng.randrange(len(plain))]) if vocabulary.model != "llama" else rng.choice(plain).replace(MARK, " ")
             for _ in range(5000)]
    texts = corpus(rng, options.cases, [w for w in words if "\ufffd" not in w])
    separator = vocabulary.tokens[vocabulary.added[0 if vocabulary.model == "llama" else -1]]
    separator = (separator, vocabulary.ids[separator])
    failures = 0
    for newer in ([False, True] if vocabulary.model == "llama" else [False]):
        tokenizer = vocabulary.make(newer)
        model = folder / "tokenizer.json"
        tokenizer.save(str(model))
        label = "newer tokenizer.json" if newer else "tokenizer.json"

        def original(special):
            def encode(text):
                tokenizer.encode_special_tokens = not special
                return tokenizer.encode(text, add_special_tokens=False).ids
            return encode

        skintern = Skintern(options.skintern, model, separator, folder)
        failures += compare(label, original(False), skintern.encode_lines(texts))
        if not newer:  # there a text after a special token is encoded otherwise than one alone
            failures += compare(label + ", special tokens parsed", original(True), skintern.encode_special(texts))
            tokenizer.encode_special_tokens = True
            for text in ["Hi", "", " two words"]:
                expected = tokenizer.encode(text, add_special_tokens=True).ids
                if skintern.run(text, "--add-special")[0] != expected:
                    failures += 1
                    print(f"  {label}, tokens around the text {text!r}: expected {expected}")
            skintern = Skintern(options.skintern, path, separator, folder)
            failures += compare("gguf", original(False), skintern.encode_lines(texts))
            failures += compare("gguf, special tokens parsed", original(True), skintern.encode_special(texts))
            check_llama_cpp(path, vocabulary.pre, original, texts)
    return failures


def check_llama_cpp(path, pre, original, texts):
    """llama.cpp is no original: its differences are shown, and are no failures. It knows no form C, so that is done here."""
    try:
        import llama_cpp
    except ImportError:
        print("  llama.cpp: its Python binding is not there")
        return
    model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    if pre == "qwen2":
        texts = [unicodedata.normalize("NFC", t) for t in texts]
    for special in (False, True):
        got = {t: model.tokenize(t.encode(), add_bos=False, special=special) for t in texts}
        compare(f"llama.cpp{', special tokens parsed' if special else ''}", original(special), got)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabularies", nargs="+")
    parser.add_argument("--skintern", default="./skintern")
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in options.vocabularies:
            failures += check(path, options, pathlib.Path(folder))
    print(f"{failures} differences")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
