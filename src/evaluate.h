// evaluate.h — asking a model questions and judging what it says; measuring what it finds likely.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bpe.h"
#include "prompt.h"
#include "task.h"
#include "transformer.h"

namespace skintern {

struct EvalConfig {
    int64_t max_new_tokens = 1024;
    int64_t batch_size = 64;
    int32_t bos = -1;
    std::map<std::string, std::string> fact_sentences; // fact id -> its sentence, where facts are known
    std::string label;                                 // for the progress bar; empty: none is shown
};

// One answered question, as it stands in eval/<split>.jsonl.
struct EvalRow {
    std::string id, task_name, split, coverage;
    int64_t prompt_tokens = 0;
    int64_t new_tokens = 0; // EOS included
    int64_t flops = 0;      // of prompt and new tokens, see flops.h
    std::string question, gold, generated;
    bool correct = false, strict = false, readable = false;
    int64_t facts_needed = 0;
    int64_t facts_found = 0; // of those, whose sentence stands in the generated text
};

// Greedy answers to `prompts` (one a record), judged by answer.h.
std::vector<EvalRow> evaluate(Transformer& model, const Bpe& bpe, const std::vector<Record>& records,
                              const std::vector<std::string>& prompts, const EvalConfig& config);

// JSONL, whole or not at all.
void write_eval(const std::string& path, const std::vector<EvalRow>& rows);

int64_t count_correct(const std::vector<EvalRow>& rows);

// Mean cross-entropy in nats of a target token (EOS included) of the samples.
double mean_nll(Transformer& model, const std::vector<Sample>& samples);

} // namespace skintern
