// footprint.h — the memory that training and generation take, by formula, before a model is there.
//
// All is F32 but the weights, which stay in the type of their file, and the key/value cache. N rows in a pass, M of them
// scored, C channels, QC = NH HS, KC = NKV HS, F feed-forward, R rank, L layers, V vocabulary:
//
//   weights               matrices in their type; norms and biases in F32
//   adapter, gradients    sum over its layers of R (IN + OUT), each
//   moments               twice that
//   inputs of layers      (L+1) N C                                                      kept for the backward pass
//   activations           N (C + 2 QC + 2 KC + 2 F + NH + 2 + 7 R) a layer, all kept; with recompute those of one layer
//                         (+ QC + KC + NH + NKV where q and k are normed)
//   scratch of a layer    N (3 C + 2 QC + 2 KC + 4 F + 6 R)          (+ QC + KC where q and k are normed)
//   scored rows           4 M C
//   logits                min(M, 256) V
//
// Generation in the same process uses these buffers, and has 2 L slots capacity KC of keys and values, and the frozen weights
// packed anew for many rows and for few, each where it takes at most 4 GiB.
//
// Not counted: the table of positions, the kernels' scratch (some megabytes; in BF16 on a GPU
// up to 512 for the gradients of scores). What transformer_setup.cpp allocates decides:
// tests/test_plan.cpp compares, and `skintern bench train` prints both.
#pragma once

#include <string>
#include <vector>

#include "formats/config.h"
#include "formats/lora_config.h"
#include "formats/tensor_file.h"
#include "kernels.h"

namespace skintern {

struct MemoryPart {
    std::string name;
    double bytes;
};

double total_bytes(const std::vector<MemoryPart>& parts);

// Rows of the largest pass.
struct PassSize {
    int64_t rows = 0;   // N
    int64_t scored = 0; // M
};

int64_t parameters_of(const ModelConfig& config);
int64_t adapter_parameters(const ModelConfig& config, const LoraConfig& lora);

// Of program and libraries before there is a model, measured.
inline constexpr double kProgramBytes = 12e6;

// Weights as a file of matrices of `type` has them, and those of a file.
double weight_bytes(const ModelConfig& config, WeightType type);
double weight_bytes(const std::vector<StoredTensor>& tensors);

// What training takes beside the weights.
std::vector<MemoryPart> training_memory(const ModelConfig& config, const LoraConfig& lora, PassSize pass,
                                        bool recompute);

// The cache of `slots` sequences of up to `capacity` tokens, and the packed weights.
std::vector<MemoryPart> generation_memory(const Kernels& kernels, const ModelConfig& config, WeightType type,
                                          int64_t slots, int64_t capacity, WeightType cache_type);

} // namespace skintern
