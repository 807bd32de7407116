// A model from a .gguf file: its configuration from the metadata, its tensors under their canonical names.
#include "test.h"

#include <cmath>
#include <string>
#include <vector>

#include "formats/gguf_model.h"
#include "formats/model_file.h"
#include "formats/rope.h"
#include "gguf_maker.h"
#include "small_model.h"
#include "test_support.h"

using namespace skintern;

namespace {

// The metadata of a model, as the converter of llama.cpp writes them.
GgufMaker gguf_keys(const ModelConfig& config) {
    const std::string arch = config.architecture == "LlamaForCausalLM"   ? "llama"
                             : config.architecture == "Qwen2ForCausalLM" ? "qwen2"
                                                                         : "qwen3";
    const auto u32 = [](int64_t value) { return static_cast<uint32_t>(value); };
    GgufMaker maker;
    maker.str("general.architecture", arch);
    maker.u32(arch + ".block_count", u32(config.layers))
        .u32(arch + ".embedding_length", u32(config.channels));
    maker.u32(arch + ".feed_forward_length", u32(config.ffn))
        .u32(arch + ".context_length", u32(config.max_positions));
    maker.u32(arch + ".attention.head_count", u32(config.heads));
    maker.u32(arch + ".attention.head_count_kv", u32(config.kv_heads));
    maker.u32(arch + ".attention.key_length", u32(config.head_size));
    maker.f32(arch + ".attention.layer_norm_rms_epsilon", 0.25f).f32(arch + ".rope.freq_base", 500);
    maker.u32("tokenizer.ggml.bos_token_id", u32(config.bos))
        .u32("tokenizer.ggml.eos_token_id", u32(config.eos));
    return maker;
}

GgufMaker gguf_of(const ModelConfig& config) {
    GgufMaker maker = gguf_keys(config);
    size_t i = 0;
    for (const ModelTensor& tensor : model_tensors(config)) {
        maker.floats(tensor.gguf_name, sizes_of(tensor), numbers_of(i++, tensor));
    }
    return maker;
}

ModelFile model_of(const std::string& bytes) {
    const auto owner = std::make_shared<const std::string>(bytes);
    return gguf_model(GgufFile::parse(*owner, "x.gguf", owner));
}

std::string error_in(const GgufMaker& maker) {
    return error_of([&] { model_of(maker.file()); });
}

// The file with one key of another value.
GgufMaker with_key(const std::string& name, uint32_t type, const std::string& value) {
    GgufMaker maker = gguf_of(small_config());
    std::erase_if(maker.keys, [&](const std::string& key) { return key.starts_with(GgufMaker::text(name)); });
    return maker.key(name, type, value);
}
GgufMaker with_u32(const std::string& name, uint32_t value) {
    return with_key(name, 4, bytes_of(value));
}

} // namespace

TEST_CASE("a GGUF file gives the configuration of its keys and tensors", "[gguf_model]") {
    for (const char* name : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
        ModelConfig config = small_config(name);
        config.norm_eps = 0.25;
        config.rope_theta = 500;
        require_same_config(model_of(gguf_of(config).file()).config, config);
        config.tied = false;
        require_same_config(model_of(gguf_of(config).file()).config, config);
    }
    ModelConfig biased = small_config();
    biased.norm_eps = 0.25;
    biased.rope_theta = 500;
    biased.qkv_bias = biased.o_bias = biased.mlp_bias = true;
    require_same_config(model_of(gguf_of(biased).file()).config, biased);
}

TEST_CASE("keys that a GGUF file may leave out have llama.cpp's values", "[gguf_model]") {
    GgufMaker maker = gguf_of(small_config());
    std::erase_if(maker.keys, [](const std::string& key) {
        return key.find("head_count_kv") != std::string::npos || key.find("freq_base") != std::string::npos ||
               key.find("token_id") != std::string::npos;
    });
    REQUIRE_THAT(error_in(maker),
                 Contains("tensor blk.0.attn_k.weight has shape [4,10], the configuration asks for "
                          "[12,10]")); // as many key/value heads as heads
    maker.u32("llama.attention.head_count_kv", 1);
    const ModelConfig config = model_of(maker.file()).config;
    REQUIRE(config.rope_theta == 10000);
    REQUIRE(config.bos == -1);
    REQUIRE(config.eos == -1);
}

TEST_CASE("the rows of q and k in a llama file go back to their places, biases too", "[gguf_model]") {
    ModelConfig config = small_config();
    config.qkv_bias = true;
    const std::vector<ModelTensor> table = model_tensors(config);
    const ModelFile model = model_of(gguf_of(config).file());
    REQUIRE(model.tensors.size() == table.size());
    // In a head of 4, the model's rows 0 1 2 3 lie in the file as 0 2 1 3.
    const int64_t place[] = {0, 2, 1, 3};
    for (size_t i = 0; i < table.size(); ++i) {
        INFO(table[i].name);
        REQUIRE(model.tensors[i].name == table[i].name);
        REQUIRE(model.tensors[i].shape == table[i].shape);
        const std::vector<float> in_file = numbers_of(i, table[i]);
        const std::vector<float> numbers = to_floats(model.tensors[i]);
        const bool permuted = table[i].name.find("q_proj") != std::string::npos ||
                              table[i].name.find("k_proj") != std::string::npos;
        const int64_t columns = table[i].shape.size() == 2 ? table[i].shape[1] : 1;
        for (size_t j = 0; j < numbers.size(); ++j) {
            const int64_t row = static_cast<int64_t>(j) / columns, column = static_cast<int64_t>(j) % columns;
            const int64_t from = permuted ? row / 4 * 4 + place[row % 4] : row;
            REQUIRE(numbers[j] == in_file[static_cast<size_t>(from * columns + column)]);
        }
    }
}

TEST_CASE("a vector in a quantised type is refused", "[gguf_model]") {
    ModelConfig config = small_config();
    config.qkv_bias = true;
    config.heads = 32 / config.head_size; // a bias of q of one block
    config.kv_heads = 1;
    GgufMaker maker = gguf_keys(config);
    for (const ModelTensor& tensor : model_tensors(config)) {
        if (tensor.gguf_name == "blk.0.attn_q.bias") {
            maker.tensor(tensor.gguf_name, {32}, 8, std::string(34, 1));
        } else {
            maker.floats(tensor.gguf_name, sizes_of(tensor), numbers_of(0, tensor));
        }
    }
    REQUIRE(error_in(maker) == "x.gguf: tensor blk.0.attn_q.bias is a vector in Q8_0, only matrices may be quantised");
}

TEST_CASE("files of qwen2 and qwen3 are used as they lie", "[gguf_model]") {
    for (const char* name : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
        const ModelConfig config = small_config(name);
        const std::vector<ModelTensor> table = model_tensors(config);
        const ModelFile model = model_of(gguf_of(config).file());
        for (size_t i = 0; i < table.size(); ++i) {
            REQUIRE(to_floats(model.tensors[i]) == numbers_of(i, table[i]));
        }
    }
}

TEST_CASE("quantised rows of q are moved whole, in the file's type", "[gguf_model]") {
    ModelConfig config = small_config();
    config.channels = 32;
    GgufMaker maker = gguf_keys(config);
    for (const ModelTensor& tensor : model_tensors(config)) {
        if (tensor.gguf_name == "blk.0.attn_q.weight") {
            std::string blocks; // row r: a scale of 1 and numbers r
            for (char row = 0; row < 12; ++row) {
                blocks += bytes_of<uint16_t>(0x3c00) + std::string(32, row);
            }
            maker.tensor(tensor.gguf_name, sizes_of(tensor), 8, blocks);
        } else {
            maker.floats(tensor.gguf_name, sizes_of(tensor), numbers_of(0, tensor));
        }
    }
    for (const StoredTensor& tensor : model_of(maker.file()).tensors) {
        if (tensor.name == "model.layers.0.self_attn.q_proj.weight") {
            REQUIRE(tensor.type == WeightType::q8_0);
            const std::vector<float> numbers = to_floats(tensor);
            REQUIRE(numbers.size() == 12 * 32);
            const float rows[] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11};
            for (size_t row = 0; row < 12; ++row) {
                REQUIRE(numbers[row * 32] == rows[row]);
                REQUIRE(numbers[row * 32 + 31] == rows[row]);
            }
        }
    }
}

TEST_CASE("a GGUF file of an architecture or with a setting that is not computed is refused by name",
          "[gguf_model]") {
    REQUIRE(error_in(gguf_of(small_config())) == "");
    REQUIRE_THAT(
        error_in(with_key("general.architecture", 8, GgufMaker::text("gemma2"))),
        Contains("x.gguf: general.architecture is gemma2, computed here are llama, qwen2 and qwen3"));
    REQUIRE_THAT(error_in(with_u32("general.architecture", 1)), Contains("general.architecture is u32"));
    REQUIRE_THAT(error_in(with_u32("llama.logit_scale", 1)),
                 Contains("the key llama.logit_scale is not known here"));
    REQUIRE_THAT(error_in(with_u32("llama.expert_count", 8)),
                 Contains("llama.expert_count is 8, expected 0"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.value_length", 8)),
                 Contains("value_length is 8, expected 4"));
    REQUIRE_THAT(error_in(with_u32("llama.rope.dimension_count", 2)),
                 Contains("dimension_count is 2, expected 4"));
    REQUIRE_THAT(error_in(with_u32("llama.vocab_size", 8)), Contains("llama.vocab_size is 8, expected 7"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.sliding_window", 63)), Contains("sliding_window is 63"));
    REQUIRE(error_in(with_u32("llama.attention.sliding_window", 64)) == "");
    REQUIRE_THAT(error_in(with_key("llama.attention.causal", 7, std::string(1, '\0'))),
                 Contains("causal is false"));
    REQUIRE_THAT(error_in(with_u32("split.count", 3)), Contains("is one of 3 parts"));
}

TEST_CASE("sizes of a GGUF file that are impossible are refused before they are used", "[gguf_model]") {
    REQUIRE_THAT(error_in(with_u32("llama.attention.key_length", 0)), Contains("x.gguf: head_dim is 0"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.key_length", 3)),
                 Contains("head_dim is 3, must be even"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.head_count_kv", 2)),
                 Contains("no multiple of num_key_value_heads"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.head_count_kv", 0)),
                 Contains("num_key_value_heads is 0"));
    REQUIRE_THAT(error_in(with_u32("llama.attention.head_count", 0)), Contains("num_attention_heads is 0"));
    REQUIRE_THAT(error_in(with_key("llama.rope.freq_base", 6, bytes_of(0.0f))), Contains("rope_theta is 0"));
    REQUIRE_THAT(error_in(with_key("llama.rope.freq_base", 6, bytes_of(NAN))), Contains("rope_theta is nan"));
    REQUIRE_THAT(error_in(with_u32("llama.rope.dimension_count", 0)),
                 Contains("dimension_count is 0, expected 4"));
    REQUIRE_THAT(error_in(with_u32("llama.block_count", 0)), Contains("num_hidden_layers is 0"));
    REQUIRE_THAT(error_in(with_u32("llama.block_count", UINT32_MAX)),
                 Contains("num_hidden_layers is 4294967295"));
    REQUIRE_THAT(error_in(with_u32("llama.block_count", 1000)),
                 Contains("has 20 tensors, too few for a model of 1000"));
    REQUIRE_THAT(error_in(with_u32("llama.block_count", 3)),
                 Contains("tensor blk.2.attn_norm.weight is missing"));
    REQUIRE_THAT(error_in(with_u32("llama.block_count", 1)),
                 Contains("tensor blk.1.attn_k.weight is not part of"));
    REQUIRE_THAT(error_in(with_key("llama.block_count", 5, bytes_of(-1))),
                 Contains("num_hidden_layers is -1"));
    REQUIRE_THAT(error_in(with_key("llama.block_count", 8, GgufMaker::text("2"))),
                 Contains("is text, expected an"));
    REQUIRE_THAT(error_in(with_u32("tokenizer.ggml.eos_token_id", 7)),
                 Contains("eos_token_id is 7, must be below"));
    REQUIRE_THAT(error_in(with_key("tokenizer.ggml.bos_token_id", 5, bytes_of(-2))),
                 Contains("bos_token_id is -2"));
    GgufMaker no_eps = gguf_of(small_config());
    std::erase_if(no_eps.keys,
                  [](const std::string& key) { return key.find("rms_epsilon") != std::string::npos; });
    REQUIRE_THAT(error_in(no_eps), Contains("the key llama.attention.layer_norm_rms_epsilon is missing"));
    GgufMaker no_head_size = with_u32("llama.attention.head_count", 3);
    std::erase_if(no_head_size.keys,
                  [](const std::string& key) { return key.find("key_length") != std::string::npos; });
    REQUIRE_THAT(error_in(no_head_size), Contains("no llama.attention.key_length, and embedding_length 10"));
}

TEST_CASE("tensors of a GGUF file that are missing, unknown or misshapen are named as the file does",
          "[gguf_model]") {
    const ModelConfig config = small_config();
    const std::vector<ModelTensor> table = model_tensors(config);
    for (size_t left_out = 0; left_out < table.size(); ++left_out) {
        GgufMaker missing = gguf_keys(config), misshapen = gguf_keys(config);
        for (size_t i = 0; i < table.size(); ++i) {
            std::vector<uint64_t> shape = sizes_of(table[i]);
            if (i != left_out) {
                missing.floats(table[i].gguf_name, shape, numbers_of(i, table[i]));
                misshapen.floats(table[i].gguf_name, shape, numbers_of(i, table[i]));
            } else {
                shape.push_back(1);
                misshapen.floats(table[i].gguf_name, shape, numbers_of(i, table[i]));
            }
        }
        const std::string& name = table[left_out].gguf_name;
        REQUIRE_THAT(error_in(missing), Contains("x.gguf: tensor " + name + " is missing"));
        REQUIRE_THAT(error_in(misshapen), Contains("x.gguf: tensor " + name + " "));
    }
    REQUIRE_THAT(error_in(gguf_of(config).floats("blk.0.extra", {1}, {1})),
                 Contains("tensor blk.0.extra is not part of this model"));
    // A bias in one layer only.
    REQUIRE_THAT(error_in(gguf_of(config).floats("blk.1.attn_q.bias", {12}, std::vector<float>(12))),
                 Contains("tensor blk.1.attn_q.bias is not part of this model"));
    REQUIRE_THAT(error_in(gguf_of(config).floats("blk.0.attn_q.bias", {12}, std::vector<float>(12))),
                 Contains("tensor blk.0.attn_k.bias is missing"));
}

TEST_CASE("a linear rope scaling is read, others are refused by name", "[gguf_model]") {
    const auto scaled = [](const std::string& type, float factor) {
        return gguf_of(small_config())
            .str("llama.rope.scaling.type", type)
            .f32("llama.rope.scaling.factor", factor);
    };
    const ModelConfig config = model_of(scaled("linear", 4).file()).config;
    REQUIRE(config.rope_scaling.type == "linear");
    REQUIRE(config.rope_scaling.factor == 4);
    REQUIRE(model_of(scaled("none", 4).file()).config.rope_scaling.type == "default");
    REQUIRE(
        model_of(with_key("llama.rope.scale_linear", 6, bytes_of(2.0f)).file()).config.rope_scaling.factor ==
        2);
    REQUIRE_THAT(error_in(scaled("yarn", 4)),
                 Contains("llama.rope.scaling.type is yarn, computed here are none and"));
    REQUIRE_THAT(error_in(scaled("linear", -1)), Contains("rope factor is -1"));
    REQUIRE_THAT(error_in(scaled("linear", NAN)), Contains("rope factor is nan"));
}

TEST_CASE("the factors of Llama 3's rope scaling are recognised, others refused", "[gguf_model]") {
    ModelConfig config = small_config();
    config.head_size = 32; // pairs above, within and below the range of wavelengths that is interpolated
    config.rope_theta = 500000;
    ModelConfig scaled = config;
    scaled.rope_scaling = {"llama3", 8, 1, 4, 8192};
    std::vector<float> factors;
    for (int64_t i = 0; i < 16; ++i) {
        factors.push_back(static_cast<float>(rope_frequency(config, i) / rope_frequency(scaled, i)));
    }
    REQUIRE(factors.front() == 1);
    REQUIRE(factors.back() == 8);
    const auto file = [&](const std::vector<float>& values) {
        GgufMaker maker = gguf_of(config);
        std::erase_if(maker.keys,
                      [](const std::string& key) { return key.find("freq_base") != std::string::npos; });
        return maker.f32("llama.rope.freq_base", 500000).floats("rope_freqs.weight", {values.size()}, values);
    };
    const ModelConfig::RopeScaling found = model_of(file(factors).file()).config.rope_scaling;
    REQUIRE(found.type == "llama3");
    REQUIRE(found.factor == 8);
    REQUIRE(found.low_freq_factor == 1);
    REQUIRE(found.high_freq_factor == 4);
    REQUIRE(found.original_max_positions == 8192);

    std::vector<float> other = factors;
    other[8] *= 1.01f;
    REQUIRE_THAT(error_in(file(other)), Contains("tensor rope_freqs.weight: element 8 is") &&
                                            Contains("another scaling is not computed"));
    other[8] = NAN;
    REQUIRE_THAT(error_in(file(other)), Contains("element 8 is nan"));
    other.assign(16, 0);
    REQUIRE_THAT(error_in(file(other)), Contains("rope factor is 0"));
    other.pop_back();
    REQUIRE_THAT(error_in(file(other)),
                 Contains("rope_freqs.weight: is F32 of shape [15], expected F32 of shape [16]"));
}
