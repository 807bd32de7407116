// flops.cpp — see flops.h for the formulas.
#include "flops.h"

#include "check.h"

namespace skintern {

Flops forward_flops(const ModelConfig& config, int64_t tokens, int64_t keys) {
    const int64_t C = config.channels, F = config.ffn;
    const int64_t QC = config.heads * config.head_size, KC = config.kv_heads * config.head_size;
    Flops flops;
    flops.linear = 2 * tokens * config.layers * (C * QC + 2 * C * KC + QC * C + 3 * C * F);
    flops.output = 2 * tokens * C * config.vocab;
    flops.attention = 4 * config.layers * QC * tokens * keys;
    return flops;
}

Flops question_flops(const ModelConfig& config, int64_t prompt_tokens, int64_t new_tokens) {
    CHECK(prompt_tokens >= 0 && new_tokens >= 0 && prompt_tokens <= 1 << 24 && new_tokens <= 1 << 24,
          "%lld prompt and %lld new tokens: both must be from 0 to 16777216", static_cast<long long>(prompt_tokens),
          static_cast<long long>(new_tokens));
    Flops sum = forward_flops(config, prompt_tokens, prompt_tokens);
    for (int64_t g = 1; g < new_tokens; g++) {
        const Flops step = forward_flops(config, 1, prompt_tokens + g);
        sum.linear += step.linear;
        sum.output += step.output;
        sum.attention += step.attention;
    }
    return sum;
}

int64_t prompt_linear_macs(const ModelConfig& config, int64_t prompt_tokens) {
    const Flops flops = forward_flops(config, prompt_tokens, prompt_tokens);
    return (flops.linear + flops.output) / 2;
}

} // namespace skintern
