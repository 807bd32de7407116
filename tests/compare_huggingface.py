#!/usr/bin/env python3
"""Fresh random models: ./skintern beside transformers and PEFT.

    tests/compare_huggingface.py [--seed N] [--random N] [--out DIR] [--case NAME ...] [--skintern ./skintern]
                                 [--device reference,cpu] [--list]

Needs numpy, torch, transformers, peft, safetensors and gguf (docs/checking.md). Some two minutes; nothing is
downloaded.

Makes a folder a case (in --out, or in a temporary one) as tests/oracles.py reads them, and has it compare
logits, loss, gradients, an adapter, ten AdamW steps, batches of unequal sequences, greedy ids, FLOPs, merging
and GGUF files. Its header says what is tolerated. On top of that, in the other direction:

    PEFT reads our adapter            logits of PEFT with what `skintern train` wrote = logits of `skintern logits`
    transformers reads our merge      logits of transformers with what `skintern merge` wrote = PEFT's merged ones

CASES are chosen: each has sizes or settings that others lack. --random adds that many drawn from --seed,
which also decides every weight. A case whose results rounding alone moves by a tenth of what is tolerated is
drawn anew, for it would prove nothing: each is computed in float32 and in float64. One that stays so is
skipped, and says so.
"""

import argparse
import dataclasses
import functools
import json
import math
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gguf
import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, get_scheduler

import gguf_bridge
import oracles

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore")

NONE = -100
STEPS = 10
NEW_TOKENS = 20
NOISE_SHARE = 0.1  # of what is tolerated, that rounding may move a result
DRAWS = 40
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SIMPLE_KINDS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1")  # what gguf-py writes


class Unclear(Exception):
    """Rounding could decide this draw."""


# ---- the cases ---------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    family: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int = 101
    layers: int = 2
    tied: bool = False
    attention_bias: bool = False  # of q, k, v and o (Llama, Qwen3); Qwen2 always has those of q, k and v
    mlp_bias: bool = False  # Llama
    theta: float = 10000.0
    eps: float = 1e-5
    rope: dict = dataclasses.field(default_factory=dict)  # scaling, beside rope_theta
    classic: bool = False  # config.json as before transformers 5
    dtype: str = "float32"  # of the weights on disk
    shard: str | None = None  # largest shard
    rows: tuple = ((11, 4), (11, 7))  # (tokens, tokens of the prompt) of each; equal numbers of tokens
    ragged: tuple = ((5, 2), (2, 1), (13, 6))
    rank: int = 4
    alpha: int = 8
    rslora: bool = False  # scale alpha / sqrt(rank)
    targets: tuple = ALL
    lr: float = 5e-3
    scheduler: str = "cosine"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gguf: tuple = ()  # types
    only_logits: bool = False


def llama3(factor, low, high, original):
    return dict(rope_type="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high,
                original_max_position_embeddings=original)


LINEAR = dict(rope_type="linear", factor=2.5)
CASES = [
    Case("one-layer", "llama", hidden=6, heads=1, kv_heads=1, head_dim=6, ffn=5, layers=1, tied=True, rank=1, alpha=3),
    Case("one-token", "llama", hidden=15, heads=3, kv_heads=1, head_dim=8, ffn=7, rows=((1, 1),), only_logits=True),
    Case("one-id", "qwen2", hidden=8, heads=2, kv_heads=2, head_dim=4, ffn=3, vocab=2, only_logits=True),
    Case("one-key", "llama", hidden=24, heads=4, kv_heads=2, head_dim=10, ffn=17,
         rows=((2, 1), (2, 1))),  # no gradient of q and k: each position that has a label sees one key
    Case("llama-all-biases", "llama", hidden=30, heads=6, kv_heads=2, head_dim=10, ffn=33, attention_bias=True,
         mlp_bias=True, gguf=("f32",)),
    Case("llama-attention-bias-tied", "llama", hidden=30, heads=3, kv_heads=3, head_dim=10, ffn=21, attention_bias=True,
         tied=True, classic=True, dtype="bfloat16", shard="10KB", scheduler="linear"),
    Case("llama-linear-rope", "llama", hidden=36, heads=6, kv_heads=3, head_dim=6, ffn=29, rope=LINEAR,
         dtype="bfloat16", shard="12KB", rows=((40, 9), (40, 31)), gguf=("f32",)),
    Case("llama-linear-rope-classic", "llama", hidden=24, heads=4, kv_heads=1, head_dim=6, ffn=19, rope=LINEAR,
         classic=True, dtype="float16", rows=((37, 5),), warmup_ratio=0.35),
    Case("llama3-rope", "llama", hidden=44, heads=4, kv_heads=2, head_dim=14, ffn=31, theta=5e5,
         rope=llama3(8.0, 1.0, 4.0, 24), rows=((50, 20), (50, 44)), scheduler="constant"),
    Case("llama3-rope-published", "llama", hidden=44, heads=4, kv_heads=2, head_dim=14, ffn=31, theta=5e5, tied=True,
         rope=llama3(32.0, 1.0, 4.0, 8192), rows=((70, 20),), gguf=("f32",)),  # a GGUF has no other parameters
    Case("llama-wide-attention", "llama", hidden=20, heads=5, kv_heads=5, head_dim=16, ffn=64, eps=1e-3, rank=7,
         alpha=5, rslora=True, max_grad_norm=1000.0),
    Case("llama-two-targets", "llama", hidden=32, heads=4, kv_heads=2, head_dim=8, ffn=48, targets=("q_proj", "v_proj"),
         weight_decay=0.3, lr=1e-2),
    Case("qwen2-odd", "qwen2", hidden=56, heads=7, kv_heads=1, head_dim=8, ffn=37, theta=1e6, eps=1e-6, classic=True,
         targets=("o_proj", "down_proj"), rslora=True),
    Case("qwen2-tied-f16", "qwen2", hidden=42, heads=7, kv_heads=7, head_dim=6, ffn=11, layers=3, tied=True, theta=1e6,
         dtype="float16", shard="20KB", rows=((3, 1), (3, 2), (3, 1))),
    Case("qwen3-tied", "qwen3", hidden=26, heads=6, kv_heads=3, head_dim=6, ffn=17, tied=True, theta=1e6, eps=1e-6,
         dtype="bfloat16"),
    Case("qwen3-biases", "qwen3", hidden=40, heads=4, kv_heads=1, head_dim=22, ffn=23, layers=3, attention_bias=True,
         classic=True, rank=2, targets=("k_proj", "o_proj", "up_proj")),
    Case("mistral", "mistral", hidden=48, heads=6, kv_heads=2, head_dim=12, ffn=25, theta=1e6, gguf=("f32",)),
    Case("mistral-classic", "mistral", hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=40, classic=True,
         dtype="float16", shard="16KB", rslora=True, rank=3),
    Case("gguf-llama", "llama", hidden=64, heads=4, kv_heads=2, head_dim=32, ffn=96, vocab=300, gguf=SIMPLE_KINDS),
    Case("gguf-llama-mixed", "llama", hidden=64, heads=2, kv_heads=1, head_dim=16, ffn=40, vocab=261, layers=1,
         tied=True, gguf=("q8_0", "q4_0", "f16")),  # rows of attn_output 32, of ffn_down 40: F32 in quantised files
    Case("gguf-qwen2", "qwen2", hidden=96, heads=3, kv_heads=1, head_dim=32, ffn=32, vocab=270, tied=True, theta=1e6,
         gguf=SIMPLE_KINDS),
    Case("gguf-qwen3", "qwen3", hidden=64, heads=6, kv_heads=2, head_dim=16, ffn=64, vocab=258, theta=1e6,
         gguf=("f32", "bf16", "q8_0", "q4_1")),
    Case("gguf-blocks-of-256", "llama", hidden=256, heads=4, kv_heads=2, head_dim=64, ffn=512, vocab=264, layers=1,
         gguf=("q4_k", "q5_k", "q6_k", "q5_1")),
    Case("gguf-qwen2-blocks-of-256", "qwen2", hidden=256, heads=8, kv_heads=4, head_dim=32, ffn=256, vocab=257,
         layers=1, tied=True, gguf=("q4_k", "q5_k", "q6_k")),
]


def random_case(seed, index):
    """A case of no special purpose."""
    rng = np.random.default_rng([seed, index, 7])
    pick = lambda *values: values[rng.integers(len(values))]
    family = pick("llama", "llama", "qwen2", "qwen3", "mistral")
    kv_heads, group, head_dim = int(rng.integers(1, 4)), int(rng.integers(1, 5)), 2 * int(rng.integers(3, 17))
    heads = kv_heads * group
    hidden = int(rng.integers(9, 80))
    if family == "qwen2":
        hidden = heads * head_dim
    elif family == "llama":
        hidden = heads * math.ceil(hidden / heads)  # transformers asks for a multiple
    tokens, rank = int(rng.integers(2, 40)), int(rng.integers(1, 9))
    length = lambda: (lambda t: (t, int(rng.integers(1, t))))(int(rng.integers(2, 30)))
    return Case(
        f"random-{seed}-{index}", family, hidden, heads, kv_heads, head_dim, ffn=int(rng.integers(3, 99)),
        vocab=int(rng.integers(60, 400)), layers=int(rng.integers(1, 4)), tied=bool(rng.integers(2)),
        attention_bias=family in ("llama", "qwen3") and bool(rng.integers(2)),
        mlp_bias=family == "llama" and bool(rng.integers(2)), theta=pick(1e4, 5e5, 1e6), eps=pick(1e-6, 1e-5, 1e-3),
        rope=pick({}, {}, LINEAR, llama3(4.0, 1.0, 2.0, 16)), classic=bool(rng.integers(2)),
        dtype=pick("float32", "bfloat16", "float16"), shard=pick(None, "9KB", "40KB"),
        rows=tuple((tokens, int(rng.integers(1, tokens))) for _ in range(rng.integers(1, 4))),
        ragged=tuple(length() for _ in range(3)), rank=rank, alpha=int(rng.integers(1, 2 * rank + 1)),
        rslora=bool(rng.integers(2)), targets=tuple(t for t in ALL if rng.integers(3)) or ("v_proj",),
        scheduler=pick("cosine", "linear", "constant"), warmup_ratio=pick(0.0, 0.1, 0.25),
        weight_decay=pick(0.0, 0.01, 0.5), max_grad_norm=pick(0.5, 1000.0))


# ---- model and adapter -------------------------------------------------------------------------------------

def build_config(case):
    settings = dict(
        hidden_size=case.hidden, num_hidden_layers=case.layers, num_attention_heads=case.heads, head_dim=case.head_dim,
        num_key_value_heads=case.kv_heads, intermediate_size=case.ffn, vocab_size=case.vocab,
        tie_word_embeddings=case.tied, rms_norm_eps=case.eps, max_position_embeddings=256,
        rope_parameters=dict(rope_type="default") | case.rope | dict(rope_theta=case.theta),
        bos_token_id=1, eos_token_id=1)
    if case.family in ("llama", "qwen3"):
        settings["attention_bias"] = case.attention_bias
    if case.family == "llama":
        settings["mlp_bias"] = case.mlp_bias
    if case.family == "mistral":
        settings["sliding_window"] = None
    if case.family == "qwen2":
        assert case.hidden == case.heads * case.head_dim
        settings.pop("head_dim")
    return AutoConfig.for_model(case.family, **settings)


def write_config(path, case, eos):
    """The end-of-sequence id and, for classic, the spelling of most published files: rope_theta and rope_scaling at the
    top, torch_dtype, and no head_dim and num_key_value_heads where they are the default."""
    config = json.loads(path.read_text())
    config["eos_token_id"] = eos
    if case.classic:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        config["rope_scaling"] = {("type" if kind == "linear" else "rope_type"): kind} | rope if case.rope else None
        config["torch_dtype"] = config.pop("dtype")
        config.pop("layer_types", None)
        if case.hidden == case.heads * case.head_dim and case.family != "qwen3":  # Qwen3's default is 128
            config.pop("head_dim", None)
        if case.family == "llama" and case.heads == case.kv_heads:
            config.pop("num_key_value_heads")
    path.write_text(json.dumps(config, indent=2) + "\n")


def fill(parameters, rng, sizes):
    """Normal numbers of sizes(name) = (mean, deviation)."""
    with torch.no_grad():
        for name, parameter in parameters:
            mean, deviation = sizes(name)
            parameter.copy_(torch.tensor(mean + deviation * rng.standard_normal(tuple(parameter.shape))))


def write_model(folder, case, rng):
    """Norms that are not 1, biases that are not 0, weights large enough for lively logits at any width."""
    model = AutoModelForCausalLM.from_config(build_config(case), dtype=torch.float32)
    wide = 1.6 / math.sqrt(case.hidden)
    fill(model.named_parameters(), rng,
         lambda name: (1, 0.3) if "norm" in name else (0, 0.3 if name.endswith("bias") else wide))
    model.to(getattr(torch, case.dtype)).save_pretrained(folder, max_shard_size=case.shard or "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)


def load_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def write_adapter(folder, base, case, rng):
    """A and B both random: with B = 0 the gradient of A would be 0."""
    config = LoraConfig(r=case.rank, lora_alpha=case.alpha, use_rslora=case.rslora, lora_dropout=0.0,
                        target_modules=list(case.targets), bias="none", task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    fill(adapter_parameters(model).items(), rng, lambda name: (0, 0.2 if "lora_A" in name else 0.1))
    model.save_pretrained(folder, save_embedding_layers=False)


def adapted(base, folder):
    return PeftModel.from_pretrained(base, folder, is_trainable=True).eval()


def adapter_parameters(model):
    """{name as in adapter_model.safetensors: parameter}"""
    return {name.replace(".default", ""): p for name, p in model.named_parameters() if "lora_" in name}


# ---- batches, loss, training -------------------------------------------------------------------------------

def draw_rows(case, shapes, rng):
    """[(ids, labels)] of [(tokens, prompt)]; both ends of the vocabulary occur, and an id twice."""
    rows = []
    for tokens, prompt in shapes:
        ids = rng.integers(0, case.vocab, tokens)
        ids[rng.integers(tokens)] = case.vocab - 1
        ids[rng.integers(tokens)] = 0
        ids[-1] = ids[0]
        rows.append((ids, np.where(np.arange(tokens) < prompt, NONE, ids)))
    return rows


def run(model, rows):
    """(logits, loss) of rows padded on the right; transformers' loss is one mean over the labels of all rows."""
    longest = max(len(ids) for ids, _ in rows)
    pad = lambda values, filler: torch.tensor(
        np.stack([np.pad(v, (0, longest - len(v)), constant_values=filler) for v in values]))
    mask = pad([np.ones(len(ids), np.int64) for ids, _ in rows], 0)
    out = model(input_ids=pad([ids for ids, _ in rows], 0), labels=pad([labels for _, labels in rows], NONE),
                attention_mask=None if mask.all() else mask, use_cache=False)
    return out.logits, out.loss


def gradients(model, rows, parameters):
    """(logits, loss, {name: gradient})"""
    model.zero_grad()
    logits, loss = run(model, rows)
    loss.backward()
    return logits.detach(), loss.item(), {name: p.grad.clone() for name, p in parameters.items()}


def train(model, rows, case):
    """Losses, gradient norms (before clipping) and rates of the steps, and the adapter after them."""
    parameters = adapter_parameters(model)
    optimizer = torch.optim.AdamW(parameters.values(), lr=case.lr, weight_decay=case.weight_decay)
    name = "constant_with_warmup" if case.scheduler == "constant" else case.scheduler
    schedule = get_scheduler(name, optimizer, math.ceil(STEPS * case.warmup_ratio), STEPS)
    losses, norms, rates = [], [], []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        loss = run(model, rows)[1]
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), case.max_grad_norm)))
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    return losses, norms, rates, {key: p.detach().clone() for key, p in parameters.items()}


def check_noise(case, got, wide):
    """Refuses a draw that rounding moves too far. got, wide: {what: numbers} in float32 and in float64."""
    for what, values in got.items():
        kind = what.split()[0]
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(values, wide[what])]
        if kind in ("adapter", "gradient"):
            # A query at position 0 sees one key, whatever it is: such gradients are 0 in any precision.
            moved = max(np.linalg.norm(a - b) / np.linalg.norm(b) if b.any() else a.any() for a, b in pairs)
        elif kind == "logits":
            moved = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
        else:
            moved = max(abs(a - b) / abs(b) for a, b in pairs)
        if not moved <= NOISE_SHARE * oracles.LIMITS[kind]:
            raise Unclear(f"{what} moves by {moved:.1e} with rounding")


# ---- decoding, FLOPs ---------------------------------------------------------------------------------------

@torch.no_grad()
def decode(model, prompts):
    """Greedy continuations without a cache, and the narrowest lead of each, relative to the largest logit."""
    ids, lead = prompts, torch.full((len(prompts),), math.inf)
    for _ in range(NEW_TOKENS):
        logits = model(input_ids=ids, use_cache=False).logits[:, -1]
        two = logits.topk(2).values
        lead = torch.minimum(lead, (two[:, 0] - two[:, 1]) / logits.abs().amax(-1))
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids[:, prompts.shape[1]:], lead


def greedy(base, with_adapter, case, rng):
    """The most clearly decided of many prompts; EOS is an id that the base model says early."""
    prompts = torch.tensor(rng.integers(0, case.vocab, (96, 5)))
    (base_ids, base_lead), (adapter_ids, adapter_lead) = decode(base, prompts), decode(with_adapter, prompts)
    lead = torch.minimum(base_lead, adapter_lead)
    best = int(lead.argmax())
    if lead[best] <= 20 * oracles.LIMITS["logits"]:
        raise Unclear("no clear greedy continuation")
    eos = base_ids[best, 3].item()
    out = dict(prompt=prompts[best].tolist(), eos_token_id=eos)
    for name, ids in (("base", base_ids[best].tolist()), ("adapter", adapter_ids[best].tolist())):
        out[name] = dict(ids=ids, stops_at=ids.index(eos) if eos in ids else None)
    return out


def flops(model, case):
    """What PyTorch counts for a forward pass; attention is its batched products."""
    out = {}
    for tokens in (1, 17, 64):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(input_ids=torch.zeros((1, tokens), dtype=torch.long), use_cache=False)
        ops = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
        attention = ops.pop("aten.bmm")
        linear = sum(ops.values())
        out[tokens] = dict(flops=linear + attention, linear=linear, lm_head=2 * tokens * case.hidden * case.vocab,
                           attention_scores=attention // 2, attention_values=attention // 2)
    return dict(prompt_tokens=out)


# ---- a case from start to end ------------------------------------------------------------------------------

def write_npy(path, value):
    value = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
    np.save(path, value.astype("<i4" if value.dtype.kind == "i" else "<f4"))


def write_tensors(path, tensors):
    save_file({name: t.detach().float().contiguous() for name, t in tensors.items()}, path)


def write_gguf(folder, case, base, rows, rng):
    """The model in each type, its logits, and what the adapter's gradients are on top of the rounded weights."""
    folder.mkdir(exist_ok=True)
    for kind in case.gguf:
        number = gguf.GGMLQuantizationType[kind.upper()]
        state = gguf_bridge.write_model(folder / f"model-{kind}.gguf", base.config, base.state_dict(), number, rng)
        if kind == "f32":
            continue
        model = load_model(folder.parent / "model")
        missing = model.load_state_dict(state, strict=False).missing_keys
        assert missing in ([], ["lm_head.weight"]), missing
        with torch.no_grad():
            write_npy(folder / f"{kind}_logits.npy", run(model, rows)[0])
        model = adapted(model, folder.parent / "adapter_init")
        _, loss, grads = gradients(model, rows, adapter_parameters(model))
        write_npy(folder / f"{kind}_adapter_loss.npy", np.array(loss))
        write_tensors(folder / f"{kind}_adapter_grads.safetensors", grads)


def results(folder, case, rows, ragged, wide):
    """Everything that is a number, in float32 or (wide) float64: {what: [arrays]} and the parts to write."""
    cast = (lambda model: model.double()) if wide else (lambda model: model)
    load = lambda: cast(load_model(folder / "model"))
    load_adapted = lambda: cast(adapted(load_model(folder / "model"), folder / "adapter_init"))
    base, model = load(), load_adapted()
    logits, loss, grads = gradients(base, rows, dict(base.named_parameters()))
    a_logits, a_loss, a_grads = gradients(model, rows, adapter_parameters(model))
    trained, ragged_trained = train(model, rows, case), train(load_adapted(), ragged, case)
    with torch.no_grad():
        alone = [run(base, [row]) for row in ragged]
        merged = run(load_adapted().merge_and_unload(), rows)[0]
        together = run(base, ragged)[1].item()
    numbers = {
        "logits": [logits], "logits adapter": [a_logits], "logits merged": [merged],
        "logits alone": [z[0] for z, _ in alone], "loss": [loss, a_loss, together] + [l.item() for _, l in alone],
        "gradient": list(grads.values()), "gradient adapter": list(a_grads.values()),
        "losses": trained[0] + ragged_trained[0], "grad_norms": trained[1] + ragged_trained[1],
        "adapter": list(trained[3].values())}
    return numbers, dict(grads=grads, a_grads=a_grads, trained=trained, ragged_trained=ragged_trained,
                         together=together, base=base)


def write_results(folder, case, ragged, numbers, parts):
    """The files of tests/oracles.py."""
    loss, a_loss, _, *alone = numbers["loss"]
    for name, value in (("logits", numbers["logits"][0]), ("adapter_logits", numbers["logits adapter"][0]),
                        ("merged_logits", numbers["logits merged"][0]), ("loss", np.array(loss)),
                        ("adapter_loss", np.array(a_loss))):
        write_npy(folder / f"{name}.npy", value)
    write_tensors(folder / "grads.safetensors", parts["grads"])
    write_tensors(folder / "adapter_grads.safetensors", parts["a_grads"])
    (folder / "train").mkdir(exist_ok=True)
    losses, norms, rates, adapter = parts["trained"]
    for name, values in (("losses", losses), ("grad_norms", norms), ("lrs", rates)):
        write_npy(folder / "train" / f"{name}.npy", np.array(values))
    write_tensors(folder / "train" / "adapter_model.safetensors", adapter)
    (folder / "train" / "config.json").write_text(json.dumps(dict(
        steps=STEPS, lr=case.lr, schedule=case.scheduler, warmup_ratio=case.warmup_ratio,
        weight_decay=case.weight_decay, max_grad_norm=case.max_grad_norm), indent=1))
    sequences = []
    for i, ((ids, labels), logits) in enumerate(zip(ragged, numbers["logits alone"])):
        write_npy(folder / f"ragged_logits_{i}.npy", logits)
        sequences.append(dict(ids=ids.tolist(), labels=labels.tolist(), loss=alone[i], logits=f"ragged_logits_{i}.npy"))
    losses, norms, rates, _ = parts["ragged_trained"]
    (folder / "ragged.json").write_text(json.dumps(dict(
        sequences=sequences, loss=parts["together"], train=dict(losses=losses, grad_norms=norms, lrs=rates))))


def make_case(folder, case, seed, draw):
    """Write one case; raises Unclear when rounding could decide it."""
    rng = np.random.default_rng([seed, draw, *case.name.encode()])
    rows = draw_rows(case, case.rows, rng)
    write_model(folder / "model", case, rng)
    write_npy(folder / "input_ids.npy", np.stack([ids for ids, _ in rows]))
    if case.only_logits:
        with torch.no_grad():
            write_npy(folder / "logits.npy", load_model(folder / "model")(
                input_ids=torch.tensor(np.stack([ids for ids, _ in rows]))).logits)
        return
    write_npy(folder / "labels.npy", np.stack([labels for _, labels in rows]))
    write_adapter(folder / "adapter_init", load_model(folder / "model"), case, rng)
    ragged = draw_rows(case, case.ragged, rng)
    numbers, parts = results(folder, case, rows, ragged, wide=False)
    check_noise(case, numbers, results(folder, case, rows, ragged, wide=True)[0])
    write_results(folder, case, ragged, numbers, parts)
    base = parts["base"]
    found = greedy(base, adapted(load_model(folder / "model"), folder / "adapter_init"), case, rng)
    (folder / "greedy.json").write_text(json.dumps(found))
    (folder / "flops.json").write_text(json.dumps(flops(base, case)))
    base.config.eos_token_id = found["eos_token_id"]
    write_gguf(folder / "gguf", case, base, rows, rng)
    write_config(folder / "model" / "config.json", case, found["eos_token_id"])
    with torch.no_grad():  # the config as written is the model as computed
        assert torch.equal(run(load_model(folder / "model"), rows)[0], numbers["logits"][0])


def make(out, case, seed):
    """Draws until one is clear; an empty text, or why there is none."""
    reasons = []
    for draw in range(DRAWS):
        with tempfile.TemporaryDirectory(dir=out, prefix=".draw-") as scratch:
            try:
                make_case(Path(scratch), case, seed, draw)
            except Unclear as reason:
                reasons.append(str(reason))
                continue
            Path(scratch).rename(out / case.name)
            Path(scratch).mkdir()  # for the end of the with block
            return ""
    return f"no usable draw in {DRAWS}, the last because {reasons[-1]}"


# ---- the other direction -----------------------------------------------------------------------------------

def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].flatten().tolist()


def peft_reads_ours(program, folder, case):
    """Train an adapter from nothing, on the case's targets, and give it to PEFT."""
    ids = oracles.rows_of(folder / "input_ids.npy")
    rows = list(zip(ids, oracles.rows_of(folder / "labels.npy")))
    tokens, out = program.work / "rows.jsonl", program.work / "ours"
    tokens.write_text("".join(json.dumps(dict(ids=i, labels=l)) + "\n" for i, l in rows))
    program.run("train", "--model", folder / "model", "--tokens", tokens, "--out", out, "--steps", 12, "--lr", 0.05,
                "--batch-size", len(rows), "--lora-r", 3, "--lora-alpha", 7, "--target-modules", ",".join(case.targets))
    model = PeftModel.from_pretrained(load_model(folder / "model"), out).eval()
    plain = logits_of(load_model(folder / "model"), ids[0])
    want = logits_of(model, ids[0])
    if oracles.largest_difference(want, plain, "logits") < 0.01:
        raise oracles.Wrong("the adapter moves the logits by less than 1 %, which would hide that it is not read")
    got = program.logits(folder / "model", ids[0], out)[1]
    return [("logits", oracles.largest_difference(got, want, "logits"), oracles.LIMITS["logits"])]


def transformers_reads_merged(program, folder):
    ids = oracles.rows_of(folder / "input_ids.npy")
    model = load_model(program.merge(folder / "model", folder / "adapter_init"))
    got = [value for row in ids for value in logits_of(model, row)]
    want = oracles.read_npy(folder / "merged_logits.npy")[1]
    return [("logits", oracles.largest_difference(got, want, "logits"), oracles.LIMITS["logits"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", type=int, default=8, help="random cases beside the chosen ones")
    parser.add_argument("--out", type=Path, help="keep the cases here; what is there already is used again")
    parser.add_argument("--case", action="append", default=[], help="this case only (may be repeated)")
    parser.add_argument("--skintern", default="./skintern", help="the program")
    parser.add_argument("--device", default="reference,cpu", help="one or several, with commas")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    args = parser.parse_args()
    cases = CASES + [random_case(args.seed, i) for i in range(args.random)]
    if args.list:
        print("\n".join(map(str, cases)))
        return 0
    cases = [case for case in cases if not args.case or case.name in args.case]
    tally = oracles.Tally()
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            refused = "" if (out / case.name).exists() else make(out, case, args.seed)
            if refused:
                tally.skip(case.name, refused)
                continue
            oracles.check_folder(tally, out, args.skintern, args.device.split(","), [case.name])
            if not case.only_logits:
                work = Path(temporary) / f"work-{case.name}"
                work.mkdir()
                program = oracles.Skintern(args.skintern, args.device.split(",")[-1], work)
                tally.check(f"{case.name} PEFT reads our adapter", functools.partial(
                    peft_reads_ours, program, out / case.name, case))
                tally.check(f"{case.name} transformers reads our merged model", functools.partial(
                    transformers_reads_merged, program, out / case.name))
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
