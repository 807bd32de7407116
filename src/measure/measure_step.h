// measure_step.h — how fast this machine trains, by training a few layers of a model's widths.
#pragma once

#include "formats/config.h"
#include "formats/lora_config.h"
#include "kernels.h"
#include "model/flops.h"

namespace skintern {

struct Machine {
    double flops = 0;     // FLOP/s that training sustains, as training_flops() counts them
    double bandwidth = 0; // bytes/s read from memory; 0: not known
};

// `sequence`: a typical one; attention may be slower than products, so that its length counts. Zeros in F32 stand for the
// frozen weights, with a small vocabulary: seconds, and the memory of one layer at least.
//
// One matrix product is no measure: what a step keeps of its rate differs several times with widths, type and lengths.
Machine measure_machine(Kernels& kernels, const ModelConfig& config, const LoraConfig& lora,
                        const TrainingWork& sequence, int threads);

} // namespace skintern
