// generate.h — greedy decoding in batches over a key/value cache.
//
// Up to `batch_size` sequences run at a time; one that finishes leaves and the next prompt takes its slot, its prompt
// rows packed beside the single rows of the others in the same pass.
#pragma once

#include <functional>
#include <vector>

#include "transformer.h"

namespace skintern {

struct GenerateConfig {
    int64_t max_new_tokens = 256;
    int64_t batch_size = 64;
    int32_t eos = -1; // ends a sequence and is not part of its output; -1: none
    // Asked after each token; true ends the sequence (the published evaluation stops before a new "Question: ").
    std::function<bool(const std::vector<int32_t>& ids)> stop;
    std::function<void(int64_t finished)> progress;
};

struct Generation {
    std::vector<int32_t> ids; // new tokens, without EOS
    bool finished = false;    // by EOS or stop, not by the limit
    int64_t steps = 0;        // tokens the model produced, EOS included
};

std::vector<Generation> generate(Transformer& model, const std::vector<std::vector<int32_t>>& prompts,
                                 const GenerateConfig& config);

} // namespace skintern
