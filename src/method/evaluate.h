// evaluate.h — asking a model questions and judging what it says; measuring what it finds likely.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "method/prompt.h"
#include "model/transformer.h"
#include "tasks/eval_rows.h"
#include "tasks/task.h"
#include "tokenizer/bpe.h"

namespace skintern {

struct EvalConfig {
    int64_t max_new_tokens = 1024;
    int64_t batch_size = 64;
    int64_t cache_bytes = int64_t{2} << 30; // bound of the key/value cache, see generate.h
    WeightType cache_type = WeightType::f32; // likewise
    int32_t bos = -1;
    bool chat = false;                      // prompts stand between the model's own turn markers, see chat.h
    std::map<std::string, std::string> fact_sentences; // fact id -> its sentence, where facts are known
    std::string label;                                 // for the progress bar; empty: none is shown
    int64_t answered = 0;                              // questions answered before, which the progress bar counts
    std::function<void(const EvalRow&)> on_row;        // told of each question as it is finished
    // Rows, one a record, that the prompts go on from: what was generated there and MARK stand before what is generated
    // here, tokens and FLOPs are added up.
    const std::vector<EvalRow>* continued = nullptr;
};

// Greedy answers to `prompts` (one a record), judged by answer.h; in the order of the records. A prompt that leaves no
// room for an answer in the model's positions is never cut: its answer is empty and wrong, and the user is told.
std::vector<EvalRow> evaluate(Transformer& model, const Bpe& bpe, const std::vector<Record>& records,
                              const std::vector<std::string>& prompts, const EvalConfig& config);

// Mean cross-entropy in nats of a target token (EOS included) of the samples.
double mean_nll(Transformer& model, const std::vector<Sample>& samples);

} // namespace skintern
