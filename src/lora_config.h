// lora_config.h — what an adapter is: rank, scale, and the layers it sits on. PEFT's adapter_config.json.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

// LoRA (Hu et al. 2021): y = x W^T + (alpha/r) (x A^T) B^T. Names as in PEFT's adapter_config.json.
struct LoraConfig {
    int64_t r = 16;
    double alpha = 32;
    std::vector<std::string> target_modules = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                               "gate_proj", "up_proj", "down_proj"};
};

LoraConfig read_lora_config(const std::string& path);
void write_lora_config(const std::string& path, const LoraConfig& config, const std::string& base_model);

} // namespace skintern
