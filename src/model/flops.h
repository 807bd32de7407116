// flops.h — what a question costs, counted by formula. A multiply-add is 2 FLOPs; norms, softmax, rotation, biases and
// SwiGLU are not counted.
//
//   linear     2 * tokens * (L (C QC + 2 C KC + QC C + 3 C F))      QC = NH HS, KC = NKV HS
//   output     2 * tokens * C V                                     on every position, as a framework computes it
//   attention  4 * L * NH * HS * queries * keys                     scores and values, over the full square
//
// Training an adapter on N tokens, of which M have a label, in sequences whose squared lengths sum to Q:
//
//   linear     forward, and as much for dx; no dW of what is frozen, and no dx of q, k, v below the first layer
//   adapter    2 N R (IN + OUT) forward and twice that backward, for each layer it sits on      counted in `linear`
//   output     2 * 2 * M C V: only labelled rows have logits
//   attention  (4 + 10) * L * NH * HS * Q: the backward pass computes the scores again
//
// With recompute all but the last layer run forward twice. No optimizer: it counts no products.
//
// Answering P prompt tokens with G new ones over a key/value cache is one pass over P tokens, which yields the first new
// token, and G-1 passes of one token over P+1 .. P+G-1 keys.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/config.h"
#include "formats/lora_config.h"

namespace skintern {

struct Flops {
    int64_t linear = 0;
    int64_t output = 0;
    int64_t attention = 0;
    int64_t total() const { return linear + output + attention; }
};

struct LinearShape {
    const char* module; // "self_attn.q_proj"
    int64_t in, out;
    bool reads_input = false; // of the block, behind a norm
};

// The linear layers of a block, in the order data flows.
std::vector<LinearShape> linear_shapes(const ModelConfig& config);

// One forward pass over `tokens` new tokens of which the last sees `keys` positions (tokens <= keys).
Flops forward_flops(const ModelConfig& config, int64_t tokens, int64_t keys);

Flops question_flops(const ModelConfig& config, int64_t prompt_tokens, int64_t new_tokens);

// What is trained on: a sequence, or the sums over many.
struct TrainingWork {
    int64_t tokens = 0;   // prompt and target
    int64_t squares = 0;  // of the lengths
    int64_t labelled = 0; // tokens with a loss
};

// Forward and backward of an adapter. Throws Error, as the others do, where the figures leave int64_t.
Flops training_flops(const ModelConfig& config, const LoraConfig& lora, const TrainingWork& work, bool recompute = false);

// The figure as the paper counts it: multiply-adds of the linear layers over the prompt alone.
int64_t prompt_linear_macs(const ModelConfig& config, int64_t prompt_tokens);

} // namespace skintern
