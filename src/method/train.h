// train.h — the one training loop: pre-training and every method go through it.
//
// A run is a list of stages; a stage is a number of updates and a function that gives its k-th row. The folder of a run
// holds log.jsonl (a row an update) and state.safetensors, from which a killed run continues with the same bits.
//
// Several processes (comm.h) share the samples of an update and add up their gradients before clipping. The loss is divided by
// the labelled tokens of the whole update, so it is that of one process but for the order of sums. Process 0 alone has the
// folder: it writes, and what it read there when a run continues is sent to the others.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "distributed/comm.h"
#include "method/batch.h"
#include "model/adamw.h"
#include "model/transformer.h"

namespace skintern {

struct TrainConfig {
    AdamwConfig adamw;
    int64_t batch_size = 32;     // rows an update
    int64_t micro_tokens = 4096; // tokens of a micro-batch: rows of an update are split, gradients added up
    bool recompute = false;      // see Transformer::recompute
    int64_t save_steps = 50;     // updates between two saved states
    bool one_schedule = false;   // one learning-rate schedule and optimizer state over all stages
};

// The k-th row drawn in a stage, k = 0, 1, ...
using RowSource = std::function<Row(int64_t k)>;

struct TrainRun {
    std::string folder;
    std::string label; // for the progress bar
    TrainConfig config;
    std::vector<int64_t> stage_updates;                  // (stages)
    std::function<RowSource(int64_t stage)> rows_of;     // stage counts from 1; the same in every process
    std::function<void(int64_t step)> after_step;        // 0: before the first update; in process 0; may be empty
    std::function<void(int64_t stage)> after_stage;      // in process 0; may be empty
};

struct TrainSummary {
    int64_t updates = 0;
    int64_t tokens = 0;    // prompt and target tokens of all updates
    double seconds = 0;    // of this process; 0 when there was nothing left to do
};

// Trains what model.trained() names. The loss of an update is the sum over all labelled tokens of its rows divided by
// their number, however the rows are split into micro-batches; with several tasks a row, the weighted sum of those of the
// tasks. With `resume`, continues from the saved state.
TrainSummary train(Transformer& model, const TrainRun& run, bool resume, Comm& comm);
TrainSummary train(Transformer& model, const TrainRun& run, bool resume); // one process

// FLOPs of a sample in one update of an adapter: forward and backward, and the forward pass of its teacher where it has one.
int64_t sample_flops(const ModelConfig& config, const LoraConfig& lora, const Sample& sample);

// The sum of a field ("tokens", "flops") of the log.jsonl in `folder`. Throws Error when a row does not have it.
double logged_sum(const std::string& folder, const char* field);

// The updates of stage t (from 1) when `total` are spread over `stages`.
int64_t updates_of_stage(int64_t total, int64_t stages, int64_t t);

} // namespace skintern
