// measure_ops.h — GFLOP/s of one matrix product and of attention, and what this machine could reach at most.
#pragma once

#include <string>

#include "kernels.h"

namespace skintern {

struct OpConfig {
    int64_t M = 512, N = 1536, K = 576; // matmul: out(M,N) = a(M,K) b(N,K)^T, a linear layer forward
    int64_t heads = 9, kv_heads = 3, head_size = 64, seq_len = 512, sequences = 4; // attention
    WeightType operands = WeightType::f32; // matmul: the type in which a and b lie in memory
    std::string save;                      // matmul: file for a, b and out
};

// `work` matmul: a product of random numbers, the weight as it is and, where the backend packs frozen weights, packed
// once before. With `save`, operands and result are written as safetensors, for a comparison with other programs.
// `work` attention: training forward and backward. Operations are counted as a causal attention needs them: what a
// kernel computes and masks away does not count.
// Prints the best and the median of several runs; with `json` one JSON line each.
void measure_op(Kernels& kernels, const std::string& work, const std::string& dtype, const OpConfig& config, bool json);

// The roofs: multiply-adds in registers in F32 and, where the processor has them, in BF16; bytes read from memory.
// All threads at work.
void measure_roof(const KernelOptions& options, bool json);

} // namespace skintern
