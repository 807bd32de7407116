// config.h — the sizes and settings of a model, as Hugging Face's config.json has them.
#pragma once

#include <cstdint>
#include <string>

namespace skintern {

// A decoder of the Llama family. Field names on the right are those of Hugging Face's config.json. The four
// architectures differ in their defaults and in what is beside the weight matrices:
//
//   LlamaForCausalLM     no biases, unless attention_bias (q, k, v and o) or mlp_bias (gate, up and down)
//   MistralForCausalLM   no biases; a sliding window is not computed
//   Qwen2ForCausalLM     biases on q, k and v
//   Qwen3ForCausalLM     q and k norms; attention_bias as in Llama
struct ModelConfig {
    std::string architecture = "LlamaForCausalLM"; // architectures[0]
    int64_t layers = 4;                            // num_hidden_layers
    int64_t channels = 192;                        // hidden_size
    int64_t heads = 6;                             // num_attention_heads
    int64_t kv_heads = 6;                          // num_key_value_heads
    int64_t head_size = 32;                        // head_dim
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
    bool qkv_bias = false; // biases on q_proj, k_proj, v_proj: attention_bias, or Qwen2
    bool o_bias = false;   // bias on o_proj: attention_bias of Llama and Qwen3
    bool mlp_bias = false; // biases on gate_proj, up_proj, down_proj: mlp_bias of Llama
    bool qk_norm = false;  // each head of q and of k is normed before rope: Qwen3
    bool tied = false;     // tie_word_embeddings
    int32_t bos = -1;      // bos_token_id, -1: none
    int32_t eos = -1;      // eos_token_id
};

// config.json of a Hugging Face folder, in the spelling of transformers 5 or the older one. Throws Error naming file
// and field; an architecture or setting that is not computed here is refused by name.
ModelConfig read_model_config(const std::string& path);
// `dtype`: the type of the weights beside it, float32, bfloat16 or float16. A combination of biases and norms that no
// architecture of Hugging Face has is refused.
void write_model_config(const std::string& path, const ModelConfig& config, const std::string& dtype = "float32");
// Throws Error naming `where` and the field whose value is impossible.
void validate(const ModelConfig& config, const std::string& where);

} // namespace skintern
