// make_random_model.cpp — writes a model of a named shape with random weights, to see what a run that size takes.
//
//     build/tests/make_random_model SHAPE OUT
//
//     shape        like              file
//     7b-bf16      Llama 2 7B        a Hugging Face folder OUT, BF16, in shards     13.5 GB
//     1.1b-bf16    TinyLlama 1.1B    a folder likewise                              2.2 GB
//     1.1b-q4_0    TinyLlama 1.1B    a GGUF file OUT, every matrix Q4_0              0.6 GB
//     tiny-bf16, tiny-q4_0           the same two for a quick look
//
// Weights have mean 0 and variance 1/IN, so activations stay of order 1 through any number of layers; norms are
// 1. They come from a fixed seed, and go to the disk in pieces: no more than a few megabytes are held. There is no
// tokenizer beside the vocabulary that GGUF asks for; run it with ids.
#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gguf_maker.h"
#include "support/check.h"
#include "support/rng.h"

using namespace skintern;

namespace {

struct Shape {
    const char* name;
    bool gguf; // Q4_0 in one GGUF file, or BF16 in a folder
    int64_t layers, channels, ffn, heads, kv_heads, vocab;
};

const Shape kShapes[] = {
    {"7b-bf16", false, 32, 4096, 11008, 32, 32, 32000},
    {"1.1b-bf16", false, 22, 2048, 5632, 32, 4, 32000},
    {"1.1b-q4_0", true, 22, 2048, 5632, 32, 4, 32000},
    {"tiny-bf16", false, 3, 64, 160, 4, 2, 320},
    {"tiny-q4_0", true, 3, 64, 160, 4, 2, 320},
};

struct Entry {
    std::string hf, gguf; // names
    int64_t out = 1, in = 0;
    bool norm = false;
    int64_t shard = 0;
};

constexpr int64_t kLayersOfShard = 8;

std::vector<Entry> entries(const Shape& s) {
    const int64_t C = s.channels, KV = C / s.heads * s.kv_heads;
    std::vector<Entry> all = {{"model.embed_tokens.weight", "token_embd.weight", s.vocab, C}};
    for (int64_t l = 0; l < s.layers; l++) {
        const std::string hf = "model.layers." + std::to_string(l) + ".",
                          gguf = "blk." + std::to_string(l) + ".";
        const Entry layer[] = {
            {"input_layernorm", "attn_norm", 1, C, true},
            {"self_attn.q_proj", "attn_q", C, C},
            {"self_attn.k_proj", "attn_k", KV, C},
            {"self_attn.v_proj", "attn_v", KV, C},
            {"self_attn.o_proj", "attn_output", C, C},
            {"post_attention_layernorm", "ffn_norm", 1, C, true},
            {"mlp.gate_proj", "ffn_gate", s.ffn, C},
            {"mlp.up_proj", "ffn_up", s.ffn, C},
            {"mlp.down_proj", "ffn_down", C, s.ffn},
        };
        for (Entry entry : layer) {
            entry.hf = hf + entry.hf + ".weight";
            entry.gguf = gguf + entry.gguf + ".weight";
            entry.shard = l / kLayersOfShard;
            all.push_back(entry);
        }
    }
    const int64_t last = all.back().shard;
    all.push_back({"model.norm.weight", "output_norm.weight", 1, C, true, last});
    all.push_back({"lm_head.weight", "output.weight", s.vocab, C, false, last});
    return all;
}

// ---- weights ----------------------------------------------------------------------------------------------

constexpr int64_t kPiece = 1 << 20; // numbers written at a time

// n numbers uniform in +-sqrt(3 / in), which have the variance 1/in.
void write_bf16(std::ofstream& file, int64_t n, int64_t in, Rng& rng) {
    const float unit = std::sqrt(3.0f / static_cast<float>(in)) / 32768.0f;
    std::vector<uint16_t> piece;
    for (int64_t done = 0; done < n; done += static_cast<int64_t>(piece.size())) {
        piece.resize(static_cast<size_t>(std::min(kPiece, n - done)));
        uint64_t word = 0;
        for (size_t i = 0; i < piece.size(); i++) {
            word = i % 4 == 0 ? rng.next() : word >> 16;
            const float value = unit * static_cast<float>(static_cast<int16_t>(word & 0xffff));
            piece[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); // BF16 is the upper half
        }
        file.write(reinterpret_cast<const char*>(piece.data()),
                   static_cast<std::streamsize>(2 * piece.size()));
    }
}

// The bits of a positive float in half precision, cut off.
uint16_t half_bits(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    CHECK(value >= 0x1p-14f && value < 65504.0f, "%g is no normal number in half precision",
          static_cast<double>(value));
    return static_cast<uint16_t>(((bits >> 23) - 127 + 15) << 10 | (bits >> 13 & 0x3ff));
}

// A block of Q4_0 is a half d and 32 four-bit q, which are (q - 8) d. Even q have mean -0.5 and mean square 21.5.
void write_q4_0(std::ofstream& file, int64_t n, int64_t in, Rng& rng) {
    constexpr int64_t kBlock = 18;
    const std::string d = bytes_of(half_bits(1.0f / std::sqrt(21.5f * static_cast<float>(in))));
    std::string piece;
    for (int64_t blocks = n / 32, done = 0; done < blocks;
         done += static_cast<int64_t>(piece.size()) / kBlock) {
        piece.clear();
        for (int64_t b = done; b < std::min(blocks, done + kPiece / 32); b++) {
            piece += d + bytes_of(rng.next()) + bytes_of(rng.next());
        }
        file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
    }
}

void write_ones(std::ofstream& file, int64_t n, const std::string& one) {
    for (int64_t i = 0; i < n; i++) {
        file << one;
    }
}

std::ofstream create(const std::string& path) {
    std::ofstream file(path, std::ios::binary);
    CHECK(file.good(), "%s: cannot be written", path.c_str());
    return file;
}

void finish(std::ofstream& file, const std::string& path) {
    file.flush();
    CHECK(file.good(), "%s: cannot be written, is the disk full?", path.c_str());
}

// ---- a Hugging Face folder --------------------------------------------------------------------------------

nlohmann::ordered_json config_json(const Shape& s) {
    return {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_size", s.channels},
            {"intermediate_size", s.ffn},
            {"num_hidden_layers", s.layers},
            {"num_attention_heads", s.heads},
            {"num_key_value_heads", s.kv_heads},
            {"vocab_size", s.vocab},
            {"max_position_embeddings", 2048},
            {"rms_norm_eps", 1e-5},
            {"rope_theta", 10000.0},
            {"hidden_act", "silu"},
            {"tie_word_embeddings", false},
            {"bos_token_id", 1},
            {"eos_token_id", 2},
            {"torch_dtype", "bfloat16"}};
}

void write_shard(const std::string& path, const std::vector<Entry>& all, int64_t shard, Rng& rng) {
    nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
    int64_t offset = 0;
    for (const Entry& e : all) {
        if (e.shard == shard) {
            const int64_t end = offset + 2 * e.out * e.in;
            header[e.hf] = {
                {"dtype", "BF16"},
                {"shape", e.norm ? std::vector<int64_t>{e.in} : std::vector<int64_t>{e.out, e.in}},
                {"data_offsets", {offset, end}}};
            offset = end;
        }
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::ofstream file = create(path);
    file << bytes_of<uint64_t>(text.size()) << text;
    for (const Entry& e : all) {
        if (e.shard == shard && e.norm) {
            write_ones(file, e.in, bytes_of<uint16_t>(0x3f80));
        } else if (e.shard == shard) {
            // The embedding is not a product of IN terms: variance 1.
            write_bf16(file, e.out * e.in, e.hf == "model.embed_tokens.weight" ? 1 : e.in, rng);
        }
    }
    finish(file, path);
}

void write_folder(const Shape& s, const std::string& folder) {
    std::filesystem::create_directories(folder);
    const std::vector<Entry> all = entries(s);
    const int64_t shards = all.back().shard + 1;
    nlohmann::ordered_json index = {{"metadata", {{"total_size", 0}}},
                                    {"weight_map", nlohmann::json::object()}};
    int64_t total = 0;
    Rng rng(1, s.name);
    for (int64_t i = 0; i < shards; i++) {
        char name[64];
        std::snprintf(name, sizeof(name), "model-%05d-of-%05d.safetensors", static_cast<int>(i + 1),
                      static_cast<int>(shards));
        for (const Entry& e : all) {
            if (e.shard == i) {
                index["weight_map"][e.hf] = name;
                total += 2 * e.out * e.in;
            }
        }
        write_shard(folder + "/" + name, all, i, rng);
    }
    index["metadata"]["total_size"] = total;
    create(folder + "/model.safetensors.index.json") << index.dump(1) << "\n";
    create(folder + "/config.json") << config_json(s).dump(1) << "\n";
}

// ---- a GGUF file ------------------------------------------------------------------------------------------

void add_vocabulary(GgufMaker& maker, int64_t vocab) {
    std::vector<std::string> tokens;
    std::string types;
    for (int64_t i = 0; i < vocab; i++) {
        tokens.push_back("<unused" + std::to_string(i) + ">");
        types += bytes_of<int32_t>(5); // unused
    }
    maker.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "gpt-2");
    maker.strs("tokenizer.ggml.tokens", tokens);
    maker.array("tokenizer.ggml.token_type", 5, tokens.size(), types); // of int32
    maker.strs("tokenizer.ggml.merges", {});
    maker.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
}

void write_gguf(const Shape& s, const std::string& path) {
    constexpr uint32_t kF32 = 0, kQ4_0 = 2; // GGML's numbers
    const auto u32 = [](int64_t n) { return static_cast<uint32_t>(n); };
    GgufMaker maker;
    maker.str("general.architecture", "llama").str("general.name", s.name);
    maker.u32("llama.context_length", 2048).u32("llama.embedding_length", u32(s.channels));
    maker.u32("llama.block_count", u32(s.layers)).u32("llama.feed_forward_length", u32(s.ffn));
    maker.u32("llama.attention.head_count", u32(s.heads))
        .u32("llama.attention.head_count_kv", u32(s.kv_heads));
    maker.u32("llama.rope.dimension_count", u32(s.channels / s.heads)).f32("llama.rope.freq_base", 10000);
    maker.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f).u32("llama.vocab_size", u32(s.vocab));
    add_vocabulary(maker, s.vocab);
    const std::vector<Entry> all = entries(s);
    uint64_t offset = 0;
    for (const Entry& e : all) {
        const uint64_t out = static_cast<uint64_t>(e.out), in = static_cast<uint64_t>(e.in);
        const std::vector<uint64_t> shape =
            e.norm ? std::vector<uint64_t>{in} : std::vector<uint64_t>{out, in};
        maker.tensors.push_back(GgufMaker::info(e.gguf, shape, e.norm ? kF32 : kQ4_0, offset));
        const uint64_t bytes = e.norm ? 4 * in : out * in / 32 * 18;
        CHECK(bytes % maker.alignment == 0, "%s is %llu bytes, which would need padding", e.gguf.c_str(),
              static_cast<unsigned long long>(bytes));
        offset += bytes;
    }
    std::ofstream file = create(path);
    file << maker.file();
    Rng rng(1, s.name);
    for (const Entry& e : all) {
        if (e.norm) {
            write_ones(file, e.in, bytes_of(1.0f));
        } else {
            write_q4_0(file, e.out * e.in, e.gguf == "token_embd.weight" ? 1 : e.in, rng);
        }
    }
    finish(file, path);
}

} // namespace

int main(int argc, char** argv) {
    for (const Shape& shape : kShapes) {
        if (argc == 3 && argv[1] == std::string(shape.name)) {
            try {
                shape.gguf ? write_gguf(shape, argv[2]) : write_folder(shape, argv[2]);
            } catch (const std::exception& error) {
                std::fprintf(stderr, "make_random_model: %s\n", error.what());
                return 1;
            }
            return 0;
        }
    }
    std::fprintf(stderr, "usage: make_random_model 7b-bf16|1.1b-q4_0|tiny-bf16|tiny-q4_0 OUT\n");
    return 2;
}
