// flops.cpp — see flops.h for the formulas.
#include "model/flops.h"

#include <initializer_list>
#include <string>

#include "support/check.h"

namespace skintern {

namespace {

// A product of counts, of which three still add up in 64 bits.
int64_t product(std::initializer_list<int64_t> factors) {
    double exact = 1;
    int64_t out = 1;
    for (const int64_t factor : factors) {
        exact *= static_cast<double>(factor);
        CHECK(exact < 3e18, "the FLOPs of so many tokens do not fit 64 bits");
        out *= factor;
    }
    return out;
}

} // namespace

std::vector<LinearShape> linear_shapes(const ModelConfig& config) {
    const int64_t C = config.channels, F = config.ffn;
    const int64_t QC = config.heads * config.head_size, KC = config.kv_heads * config.head_size;
    return {{"self_attn.q_proj", C, QC, true}, {"self_attn.k_proj", C, KC, true}, {"self_attn.v_proj", C, KC, true},
            {"self_attn.o_proj", QC, C},       {"mlp.gate_proj", C, F},           {"mlp.up_proj", C, F},
            {"mlp.down_proj", F, C}};
}

Flops forward_flops(const ModelConfig& config, int64_t tokens, int64_t keys) {
    const int64_t C = config.channels, F = config.ffn;
    const int64_t QC = config.heads * config.head_size, KC = config.kv_heads * config.head_size;
    Flops flops;
    flops.linear = product({2, tokens, config.layers, C * QC + 2 * C * KC + QC * C + 3 * C * F});
    flops.output = product({2, tokens, C, config.vocab});
    flops.attention = product({4, config.layers, QC, tokens, keys});
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

Flops training_flops(const ModelConfig& config, const LoraConfig& lora, const TrainingWork& work, bool recompute) {
    const int64_t QC = config.heads * config.head_size;
    int64_t multiply_adds = 0, dot_products = 0; // of a token, and of a token with another
    for (int64_t l = 0; l < config.layers; l++) {
        const int64_t forwards = recompute && l + 1 < config.layers ? 2 : 1;
        for (const LinearShape& shape : linear_shapes(config)) {
            const std::string name = format("model.layers.%lld.%s", static_cast<long long>(l), shape.module);
            const int64_t R = lora.applies_to(name, l) ? lora.rank_of(name) : 0;
            const int64_t dx = shape.reads_input && l == 0 ? 0 : 1; // nothing below it is trained
            multiply_adds += (forwards + dx) * shape.in * shape.out;
            // The low product and its use, dlow, dB and dA, and what dlow adds to dx.
            multiply_adds += R * (forwards * (shape.in + shape.out) + 2 * shape.out + shape.in + dx * shape.in);
        }
        dot_products += (4 * forwards + 10) * QC;
    }
    Flops flops;
    flops.linear = product({2, work.tokens, multiply_adds});
    flops.attention = product({dot_products, work.squares});
    flops.output = product({4, work.labelled, config.channels, config.vocab});
    return flops;
}

int64_t prompt_linear_macs(const ModelConfig& config, int64_t prompt_tokens) {
    const Flops flops = forward_flops(config, prompt_tokens, prompt_tokens);
    return (flops.linear + flops.output) / 2;
}

} // namespace skintern
