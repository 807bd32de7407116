// plan_work.h — the work of an arm, counted before it is done: rows, tokens, FLOPs, and the largest pass.
//
// Rows are those that training makes (methods.h), in the order in which it draws them (batch.h). One thing needs a model
// and has none here: the ranking by which a compressor shortens knowledge. Texts are shortened from their end instead, to
// the same number of words.
#pragma once

#include <vector>

#include "experiment/cell.h"
#include "model/flops.h"
#include "model/footprint.h"

namespace skintern {

// Some lengths.
struct Spread {
    int64_t sum = 0, largest = 0, count = 0;
    void add(int64_t n);
    double mean() const { return count == 0 ? 0.0 : static_cast<double>(sum) / static_cast<double>(count); }
};

struct StageWork {
    Stage stage;
    StageRows rows;        // and what did not fit
    Spread prompt;         // tokens of a sample
    Spread target, second; // likewise, of what a row asks first, and of its second question
    TrainingWork once;     // all rows, seen once
    int64_t updates = 0;
    double passes = 0; // how often a row is seen
    PassSize largest;  // of the micro-batches
    double tokens() const { return passes * static_cast<double>(once.tokens); }
};

// The work of `updates` updates on these rows, in the order of `seed`.
StageWork work_of_stage(const Stage& stage, StageRows rows, int64_t updates, const TrainConfig& train,
                        uint64_t seed);

// All stages of an arm that is trained. `train`: the run's training rows, with what was retrieved for them.
std::vector<StageWork> work_of_arm(const ArmConfig& arm, const std::vector<Record>& train, const Bpe& bpe,
                                   const PromptSettings& settings);

// Questions that are answered, each as if alone.
struct EvalWork {
    Spread prompt, answer;   // tokens
    double flops = 0;        // of all
    double decode_flops = 0; // of them, what falls to new tokens but the first
    void add(const ModelConfig& config, int64_t prompt_tokens, int64_t new_tokens);
};

} // namespace skintern
