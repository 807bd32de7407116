// small_model.h — a model of a few numbers, for the tests of what holds models.
#pragma once

#include <string>
#include <vector>

#include "formats/model_file.h"
#include "test.h"

namespace skintern {

// Two layers, three heads of four on one key/value head, nothing else of the same size.
inline ModelConfig small_config(const std::string& architecture = "LlamaForCausalLM") {
    ModelConfig config;
    config.architecture = architecture;
    config.layers = 2;
    config.channels = 10;
    config.heads = 3;
    config.kv_heads = 1;
    config.head_size = 4;
    config.ffn = 6;
    config.vocab = 7;
    config.max_positions = 64;
    config.qkv_bias = architecture == "Qwen2ForCausalLM";
    config.qk_norm = architecture == "Qwen3ForCausalLM";
    config.tied = true;
    config.bos = 1;
    config.eos = 2;
    return config;
}

inline std::vector<uint64_t> sizes_of(const ModelTensor& tensor) {
    return {tensor.shape.begin(), tensor.shape.end()};
}

// Numbers that tell the tensor and the element: 1000 i + j.
inline std::vector<float> numbers_of(size_t i, const ModelTensor& tensor) {
    std::vector<float> numbers(static_cast<size_t>(*count_elements(tensor.shape, 1)));
    for (size_t j = 0; j < numbers.size(); ++j) {
        numbers[j] = static_cast<float>(1000 * i + j);
    }
    return numbers;
}

inline void require_same_config(const ModelConfig& a, const ModelConfig& b) {
    REQUIRE(a.architecture == b.architecture);
    REQUIRE(a.layers == b.layers);
    REQUIRE(a.channels == b.channels);
    REQUIRE(a.heads == b.heads);
    REQUIRE(a.kv_heads == b.kv_heads);
    REQUIRE(a.head_size == b.head_size);
    REQUIRE(a.ffn == b.ffn);
    REQUIRE(a.vocab == b.vocab);
    REQUIRE(a.max_positions == b.max_positions);
    REQUIRE(static_cast<float>(a.norm_eps) == static_cast<float>(b.norm_eps)); // GGUF keeps a float
    REQUIRE(a.rope_theta == b.rope_theta);
    REQUIRE(a.rope_scaling.type == b.rope_scaling.type);
    REQUIRE(a.qkv_bias == b.qkv_bias);
    REQUIRE(a.o_bias == b.o_bias);
    REQUIRE(a.mlp_bias == b.mlp_bias);
    REQUIRE(a.qk_norm == b.qk_norm);
    REQUIRE(a.tied == b.tied);
    REQUIRE(a.bos == b.bos);
    REQUIRE(a.eos == b.eos);
}

} // namespace skintern
