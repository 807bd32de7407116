// lora_config.h — what an adapter is: rank, scale, and the layers it sits on. PEFT's adapter_config.json.
//
//   y = x W^T + s (x A^T) B^T      s = alpha / r, or alpha / sqrt(r) with rank-stabilised scaling (Kalajdzievski 2023)
//
// A layer is known by its module name, "model.layers.0.self_attn.q_proj". A name in a list stands for the module of that
// name and for every module that ends in "." and the name: "q_proj", "self_attn.q_proj".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace skintern {

// The linear layers of a decoder block, in the order data flows; PEFT's "all-linear" is all of these.
const std::vector<std::string>& linear_modules();

// LoRA (Hu et al. 2021), names as in PEFT's adapter_config.json.
struct LoraConfig {
    int64_t r = 16; // 0: no adapter
    double alpha = 32;
    bool use_rslora = false;
    std::vector<std::string> target_modules = linear_modules();
    std::vector<std::string> exclude_modules;
    std::vector<int64_t> layers_to_transform; // empty: all; does not count for a target that is a full name
    std::map<std::string, int64_t> rank_pattern; // r of the layers of that name
    std::map<std::string, double> alpha_pattern; // alpha of the layers of that name

    bool applies_to(const std::string& module, int64_t layer) const;
    int64_t rank_of(const std::string& module) const;
    double scale_of(const std::string& module) const;
    int64_t largest_rank() const;
};

// Throw Error naming file and field; a setting that is not computed here is refused by name.
LoraConfig read_lora_config(const std::string& path);
void write_lora_config(const std::string& path, const LoraConfig& config, const std::string& base_model);
// Throws Error naming `where` and the field whose value is impossible.
void validate(const LoraConfig& config, const std::string& where);

} // namespace skintern
