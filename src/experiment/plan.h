// plan.h — what a run would take, told without doing it: `reproduce --dry-run`.
//
// The schedule first; then rows and tokens of every arm and stage, training FLOPs, memory by part, time, evaluation, and
// example prompts. It needs no weights: where the base model is not there, sizes come from data/models/<shape>.json and
// tokens are counted with another tokenizer, which is said.
//
//   time of training    FLOPs of flops.h / FLOP/s that training sustains, measured (measure_step.h) or given
//   time of prompts     FLOPs / the same
//   time of decoding    steps * max(FLOPs of a step / the same, bytes of the weights / memory bandwidth)
//
// Not in it: the ranking of a compressor, the internalization meter and curve, what a model writes itself to learn from.
#pragma once

#include "experiment/reproduce.h"

namespace skintern {

struct PlanOptions {
    std::string data_folder;  // the project's data/
    std::string shape;        // data/models/<shape>.json, where the base model is not there
    std::string tokenizer;    // counts tokens; empty: the base model's, or else the project's own
    double machine_flops = 0; // FLOP/s that training sustains; 0: measured here
    double machine_bandwidth =
        0; // bytes/s of memory; 0: measured here, or with machine_flops left out of account
    int threads = 0;
    bool show_prompts = false; // whole
};

// On stdout.
void print_plan(Kernels& kernels, const ReproduceConfig& config, const PlanOptions& options);

} // namespace skintern
