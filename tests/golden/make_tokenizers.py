"""Makes tokenizer_cases.json, the golden of tests/test_tokenizers.cpp, with the `tokenizers` package.

    python -m venv venv && venv/bin/pip install tokenizers==0.23.3 gguf numpy jinja2
    venv/bin/python tests/golden/make_tokenizers.py FOLDER      # with ggml-vocab-{gpt-2,llama-bpe,llama-spm,qwen2}.gguf

texts: what is encoded. All lists of "cases" and "special" (special tokens are parsed) have the ids of each.
byte_level: the vocabulary of bpe_tokenizer.json with other components.
sentencepiece: a small tokenizer.json, trained here on the documents of bpe_cases.json, with cases for each way to write
the components.
real: the ids of the real vocabularies, by the name of their file.
chat: a user's turn as the Jinja templates of the families render it, the way `transformers` runs them.
"""

import json
import pathlib
import random
import sys

import jinja2
from jinja2.ext import loopcontrols
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import compare_tokenizers as compare  # noqa: E402

MARK = compare.MARK


def cases(tokenizer, texts, special=False):
    tokenizer.encode_special_tokens = not special
    return [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]


def components(tokenizer):
    root = json.loads(tokenizer.to_str())
    return {k: root[k] for k in ("normalizer", "pre_tokenizer", "decoder", "post_processor")}


def byte_level(texts):
    out = {}
    for name in ("gpt-2", "llama-bpe", "qwen2"):
        tokenizer = Tokenizer.from_file(str(HERE / "bpe_tokenizer.json"))
        tokenizer.pre_tokenizer = compare.BYTE_LEVEL[name]()
        if name == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        if name == "llama-bpe":
            tokenizer.post_processor = processors.TemplateProcessing(
                single=["<|endoftext|>", "$A"], special_tokens=[("<|endoftext|>", 0)])
        out[name] = {"components": components(tokenizer), "cases": cases(tokenizer, texts)}
    return out


def sentencepiece(texts):
    documents = json.loads((HERE / "bpe_cases.json").read_text())["documents"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # pieces, to learn from
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(vocab_size=700, special_tokens=special,
                                                                 limit_alphabet=90))
    root = json.loads(tokenizer.to_str())
    root["added_tokens"] = root["added_tokens"][:3]
    root["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(root))
    tokenizer.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    out = {"file": json.loads(tokenizer.to_str()), "cases": cases(tokenizer, texts),
           "special": cases(tokenizer, texts, special=True), "metaspace": {}}
    for scheme, split in (("always", False), ("first", False), ("first", True), ("never", True)):
        newer = Tokenizer.from_str(tokenizer.to_str())
        newer.normalizer = None
        newer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
        out["metaspace"][f"{scheme} {split}"] = {"components": components(newer),
                                                 "special": cases(newer, texts, special=True)}
    return out


def real(folder, texts):
    out = {}
    for name in ("gpt-2", "llama-bpe", "llama-spm", "qwen2"):
        path = folder / f"ggml-vocab-{name}.gguf"
        tokenizer = compare.Vocabulary(path).make()
        out[path.name] = {"cases": cases(tokenizer, texts), "special": cases(tokenizer, texts, special=True)}
    return out


# ---- chat ----------------------------------------------------------------------------------------------------------

CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
          "SYSTEM<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
          "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TEMPLATES = {
    "smollm2": CHATML.replace("SYSTEM", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "qwen2": CHATML.replace("SYSTEM", "You are a helpful assistant"),
    "qwen2.5 without its tools": (
        "{%- if messages[0]['role'] == 'system' %}\n    {{- '<|im_start|>system\\n' + messages[0]['content'] + "
        "'<|im_end|>\\n' }}\n{%- else %}\n    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a "
        "helpful assistant.<|im_end|>\\n' }}\n{%- endif %}\n{%- for message in messages %}\n    {{- '<|im_start|>' + "
        "message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}"
        "\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"),
    "chatml without a system message": (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
        "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "llama3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
    "llama3.1 without its tools": (
        "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}"
        "\n{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
        "\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{{- \"<|eot_id|>\" }}\n{%- for message in messages %}\n    "
        "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
        "'<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    "
        "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"),
    "llama2": (
        "{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    "tinyllama": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
        "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}"
        "\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"),
}
TOKENS = {"llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
          "llama2": ["<s>", "</s>"], "tinyllama": ["<s>", "</s>"]}


def chat():
    out = []
    for name, template in TEMPLATES.items():
        tokens = TOKENS.get(name.split(".")[0], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        compiled = environment.from_string(template)
        for user in ("How many?", " \n\u00a0A blank around it \u3000\n", "", "Two\n\nlines"):
            text = compiled.render(messages=[{"role": "user", "content": user}], add_generation_prompt=True,
                                   bos_token=tokens[0], eos_token=tokens[1])
            out.append({"family": name, "template": template, "tokens": tokens, "user": user, "text": text})
    return out


def main():
    rng = random.Random(7)
    texts = [t if len(t) < 120 else t[:40] for t in compare.FIXED]
    texts += ["".join(rng.choice(compare.PARTS) for _ in range(rng.randrange(1, 16))) for _ in range(40)]
    texts += ["".join(compare.any_character(rng) for _ in range(rng.randrange(1, 8))) for _ in range(20)]
    golden = {"texts": texts, "byte_level": byte_level(texts), "sentencepiece": sentencepiece(texts),
              "real": real(pathlib.Path(sys.argv[1]), texts), "chat": chat()}
    (HERE / "tokenizer_cases.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
