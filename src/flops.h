// flops.h — what a question costs, counted by formula. A multiply-add is 2 FLOPs; norms, softmax, rotation, biases and
// SwiGLU are not counted.
//
//   linear     2 * tokens * (L (C QC + 2 C KC + QC C + 3 C F))      QC = NH HS, KC = NKV HS
//   output     2 * tokens * C V                                     on every position, as a framework computes it
//   attention  4 * L * NH * HS * queries * keys                     scores and values, over the full square
//
// Answering P prompt tokens with G new ones over a key/value cache is one pass over P tokens, which yields the first new
// token, and G-1 passes of one token over P+1 .. P+G-1 keys.
#pragma once

#include <cstdint>

#include "config.h"
#include "kernels.h"

namespace skintern {

struct Flops {
    int64_t linear = 0;
    int64_t output = 0;
    int64_t attention = 0;
    int64_t total() const { return linear + output + attention; }
};

// One forward pass over `tokens` new tokens of which the last sees `keys` positions (tokens <= keys).
Flops forward_flops(const ModelConfig& config, int64_t tokens, int64_t keys);

Flops question_flops(const ModelConfig& config, int64_t prompt_tokens, int64_t new_tokens);

// The figure as the paper counts it: multiply-adds of the linear layers over the prompt alone.
int64_t prompt_linear_macs(const ModelConfig& config, int64_t prompt_tokens);

} // namespace skintern
