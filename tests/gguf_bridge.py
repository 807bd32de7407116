"""GGUF files <-> transformers models, for the comparison scripts of this folder.

Needs numpy, torch, transformers and gguf.

The names and the order of rows are those of llama.cpp's converter. In `llama` files the rows of q and k are
interleaved, because ggml turns neighbours (2i, 2i+1) there, where transformers turns the halves (i, i +
head_dim/2):

    GGUF row of a head      0   1            2   3               4   ...
    transformers row        0   head_dim/2   1   head_dim/2 + 1  2   ...

Qwen2 and Qwen3 keep the halves. A tied model has no output.weight.
"""

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
F32 = gguf.GGMLQuantizationType.F32


# ---- names and rows ----------------------------------------------------------------------------------------

def gguf_name(name):
    """model.layers.0.mlp.up_proj.weight -> blk.0.ffn_up.weight"""
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{PARTS[part]}.{kind}"


def heads_to_interleave(config, name):
    """Of a q or k projection in a `llama` file, weight or bias; 0: the rows stay."""
    if config.model_type not in ("llama", "mistral"):
        return 0
    return (config.num_attention_heads if "q_proj" in name else
            config.num_key_value_heads if "k_proj" in name else 0)


def interleaved(value, heads):
    return np.ascontiguousarray(value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape))


def halves(value, heads):
    """The inverse of interleaved()."""
    return np.ascontiguousarray(value.reshape(heads, -1, 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape))


# ---- reading -----------------------------------------------------------------------------------------------

def scalar(reader, key, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def read_config(reader):
    """The transformers configuration of a `llama` file without rope scaling."""
    family = scalar(reader, "general.architecture")
    if family != "llama" or scalar(reader, "llama.rope.scaling.type", "none") != "none":
        raise SystemExit(f"read_config() knows llama files without rope scaling, this is {family}")
    key = lambda name, default=None: scalar(reader, f"llama.{name}", default)
    names = {tensor.name: tensor for tensor in reader.tensors}
    heads = key("attention.head_count")
    return AutoConfig.for_model(
        "llama", hidden_size=key("embedding_length"), num_hidden_layers=key("block_count"), num_attention_heads=heads,
        num_key_value_heads=key("attention.head_count_kv", heads), intermediate_size=key("feed_forward_length"),
        head_dim=key("attention.key_length", key("embedding_length") // heads),
        vocab_size=int(names["token_embd.weight"].shape[1]), tie_word_embeddings="output.weight" not in names,
        rms_norm_eps=key("attention.layer_norm_rms_epsilon"), max_position_embeddings=key("context_length"),
        rope_parameters=dict(rope_type="default", rope_theta=key("rope.freq_base", 10000.0)),
        bos_token_id=scalar(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=scalar(reader, "tokenizer.ggml.eos_token_id"))


def read_model(path):
    """The model of a GGUF file in float32, from its dequantised weights, with plain (eager) attention."""
    reader = gguf.GGUFReader(path)
    config = read_config(reader)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    stored = {tensor.name: tensor for tensor in reader.tensors}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = stored.pop(gguf_name(name))
            value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            value = value.reshape(parameter.shape)
            heads = heads_to_interleave(config, name)
            parameter.copy_(torch.tensor(halves(value, heads) if heads else value))
    if stored:
        raise SystemExit(f"{path}: no place for {sorted(stored)}")
    return model


# ---- writing -----------------------------------------------------------------------------------------------

def random_blocks(kind, shape, rng):
    """Valid blocks of a K type, which gguf-py reads but does not write: random bits under scales that give weights of
    mean 0 and deviation 0.1 or so. Q4_K and Q5_K are d * scale * q - dmin * min, Q6_K is d * scale * (q - 32)."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (int(np.prod(shape)) // elements, size), dtype=np.uint8)
    halfs = lambda *values: np.frombuffer(np.array(values, "<f2").tobytes(), np.uint8)
    if kind == gguf.GGMLQuantizationType.Q6_K:
        blocks[:, -2:] = halfs(1.0e-4)
    else:
        largest = 15 if kind == gguf.GGMLQuantizationType.Q4_K else 31
        d = 0.3 / (63 * largest)
        blocks[:, :4] = halfs(d, d * largest / 2)
    return blocks.reshape(*shape[:-1], -1)


def quantised(value, kind, rng):
    """(what the file holds, what a reader gets back) of one tensor."""
    if kind in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q5_K, gguf.GGMLQuantizationType.Q6_K):
        packed = random_blocks(kind, value.shape, rng)
    else:
        packed = gguf.quants.quantize(value, kind)
    return packed, gguf.quants.dequantize(packed, kind).astype(np.float32).reshape(value.shape)


def placeholder_vocabulary(size):
    """(tokens, types, merges): 256 bytes and one merge in GPT-2's spelling, then unused tokens; or, when the model is
    too small for bytes, unused tokens alone."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    tokens = [chr(b) if b in printable else chr(next(other)) for b in range(256)] + ["\u0120t"]
    if size < len(tokens):
        tokens = []
    spare = size - len(tokens)
    return tokens + [f"<unused{i}>" for i in range(spare)], [1] * len(tokens) + [5] * spare, ["\u0120 t"]


def add_rope(writer, rope, head_dim):
    """Base and scaling. llama3's factors are a tensor, because llama.cpp does not know the rule: frequency i is divided
    by factor i."""
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "llama3":
        wave = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = np.clip((rope["original_max_position_embeddings"] / wave - low) / (high - low), 0, 1)
        writer.add_tensor("rope_freqs.weight", (1 / ((1 - share) / rope["factor"] + share)).astype(np.float32))


def write_model(path, config, state, kind=F32, rng=None, tokenizer_of=None):
    """Write a model of `config` and `state` (transformers' names); matrices whose rows are whole blocks are of `kind`,
    everything else is F32. Returns the state that a reader gets back. `tokenizer_of`: a GGUFReader to copy it from."""
    family = "llama" if config.model_type == "mistral" else config.model_type
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, family)
    writer.add_name("comparison")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    add_rope(writer, config.rope_parameters, head_dim)
    tokens, types, merges = placeholder_vocabulary(config.vocab_size) if tokenizer_of is None else (
        scalar(tokenizer_of, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type", "merges"))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2" if tokenizer_of is None else scalar(tokenizer_of, "tokenizer.ggml.pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_add_bos_token(False)
    elements = gguf.GGML_QUANT_SIZES[kind][0]
    back = {}
    for name, parameter in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value, heads = np.ascontiguousarray(parameter.detach().float().numpy()), heads_to_interleave(config, name)
        value = interleaved(value, heads) if heads else value
        if kind != F32 and value.ndim == 2 and value.shape[1] % elements == 0:
            packed, value = quantised(value, kind, rng)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), value)
        back[name] = torch.tensor(halves(value, heads) if heads else value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return back
