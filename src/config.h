// config.h — the settings of a model, an adapter and a training run: plain structs with defaults and validation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

// A Llama-style decoder. Field names on the right are those of Hugging Face's config.json.
struct ModelConfig {
    std::string architecture = "LlamaForCausalLM"; // or Qwen2ForCausalLM (biases on q, k, v)
    int64_t layers = 4;                            // num_hidden_layers
    int64_t channels = 192;                        // hidden_size
    int64_t heads = 6;                             // num_attention_heads
    int64_t kv_heads = 6;                          // num_key_value_heads
    int64_t head_size = 32;                        // head_dim, default hidden_size / num_attention_heads
    int64_t ffn = 512;                             // intermediate_size
    int64_t vocab = 2048;                          // vocab_size
    int64_t max_positions = 2048;                  // max_position_embeddings
    double norm_eps = 1e-5;                        // rms_norm_eps
    double rope_theta = 10000;                     // rope_theta, or rope_parameters.rope_theta
    struct RopeScaling {                           // rope_scaling, or rope_parameters
        std::string type = "default";              // rope_type: default | linear | llama3
        double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
        int64_t original_max_positions = 8192; // original_max_position_embeddings
    } rope_scaling;
    bool qkv_bias = false;   // attention_bias without a bias on o_proj; always true for Qwen2
    bool tied = false;       // tie_word_embeddings
    int32_t bos = -1;        // bos_token_id, -1: none
    int32_t eos = -1;        // eos_token_id
};

// config.json of a Hugging Face folder, in the spelling of transformers 5 or the older one. Throws Error naming file
// and field; an architecture or setting that is not computed here is refused by name.
ModelConfig read_model_config(const std::string& path);
void write_model_config(const std::string& path, const ModelConfig& config);
// Throws Error naming `where` and the field whose value is impossible.
void validate(const ModelConfig& config, const std::string& where);

// LoRA (Hu et al. 2021): y = x W^T + (alpha/r) (x A^T) B^T. Names as in PEFT's adapter_config.json.
struct LoraConfig {
    int64_t r = 16;
    double alpha = 32;
    std::vector<std::string> target_modules = {"q_proj", "k_proj",  "v_proj",   "o_proj",
                                               "gate_proj", "up_proj", "down_proj"};
};

LoraConfig read_lora_config(const std::string& path);
void write_lora_config(const std::string& path, const LoraConfig& config, const std::string& base_model);

} // namespace skintern
