// measure.h — tokens/s of training and decoding with a profile by op, and the check of a backend against the reference.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels.h"

namespace skintern {

struct MeasureConfig {
    int64_t batch_size = 0; // sequences; 0: 4 for training, 1 for prefill, 1, 16 and 64 for decoding
    int64_t seq_len = 512;  // tokens of a training sequence or of a prompt (decode: an eighth of it)
    int64_t new_tokens = 64;
    WeightType cache_type = WeightType::f32; // of the key/value cache: or bf16
    double labelled = 0.25; // share of the tokens of a training sequence that have a label
    int64_t lora_r = 16;
    bool recompute = false; // see Transformer::recompute
    KernelOptions options;  // those of the kernels
};

// `work` train, prefill or decode on the model in `folder` (empty: the tiny preset's shape, random weights). Prints the
// best and the median of several runs, and where a training step's time goes; with `json` one JSON line each.
void measure(Kernels& kernels, const std::string& work, const std::string& folder, const MeasureConfig& config,
             bool json);

// ---- for measurements in other files ----------------------------------------------------------------------------

// Seconds of each of `runs` runs after one that is not counted, sorted.
std::vector<double> time_runs(const std::function<void()>& run, int runs);

struct Measured {
    std::string work;
    std::string dtype; // of what is worked on
    std::string what;  // in words
    std::string unit;
    std::vector<double> values; // one a run, sorted, the best first
};
// The best and the median of the runs, and the most memory that this process has had, in one line.
void print_measured(const Measured& measured, bool json);

// ---- check ------------------------------------------------------------------------------------------------------

// Runs a training step of a small model on `kernels` and on the reference and names the first tensor that differs.
// Throws Error when one does. `bf16`: the kernels round the operands of products.
void check_against_reference(Kernels& kernels, bool bf16);

} // namespace skintern
