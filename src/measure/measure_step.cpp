// measure_step.cpp — see measure_step.h.
#include "measure/measure_step.h"

#include <algorithm>

#include "cpu.h"
#include "measure/measure.h"
#include "method/batch.h"
#include "model/adamw.h"
#include "model/flops.h"
#include "model/transformer.h"
#include "support/rng.h"

namespace skintern {

namespace {

constexpr int64_t kVocab = 2048;
constexpr int64_t kRows = 1024;  // of few, packing a wide weight would take much of the time of its product
constexpr double kWork = 1.5e11; // FLOPs of a step, about; one layer of a wide model is more
constexpr int kSteps = 3;

double step_flops(const ModelConfig& config, const LoraConfig& lora, const TrainingWork& sequence,
                  int64_t sequences) {
    return static_cast<double>(sequences) *
           static_cast<double>(training_flops(config, lora, sequence).total());
}

} // namespace

Machine measure_machine(Kernels& kernels, const ModelConfig& config, const LoraConfig& lora,
                        const TrainingWork& sequence, int threads) {
    ModelConfig part = config;
    part.vocab = std::min(config.vocab, kVocab);
    part.bos = part.eos = -1; // may lie beyond it
    const int64_t sequences = std::max<int64_t>(1, kRows / sequence.tokens);
    part.layers = 1;
    const double layer = step_flops(part, lora, sequence, sequences);
    part.layers = std::clamp<int64_t>(static_cast<int64_t>(kWork / layer), 1, config.layers);

    Transformer model(kernels, part, Train::adapter, lora);
    Rng rng(1);
    model.init_adapter(rng);
    Adamw adamw({}, model.adapter(), model.grads());
    Batch batch;
    for (int64_t s = 0; s < sequences; s++) {
        Sample sample;
        for (int64_t t = 0; t < sequence.tokens; t++) {
            sample.ids.push_back(static_cast<int32_t>(rng.below(part.vocab)));
        }
        sample.prompt_tokens = sequence.tokens - sequence.labelled;
        add_sample(batch, sample);
    }
    const auto step = [&] {
        model.grads().zero();
        model.forward_backward(batch, 1.0 / static_cast<double>(batch.rows.size()));
        adamw.update(1e-4);
    };
    return {step_flops(part, lora, sequence, sequences) / time_runs(step, kSteps).front(),
            measure_bandwidth(threads)};
}

} // namespace skintern
