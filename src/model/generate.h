// generate.h — greedy decoding in batches over a key/value cache.
//
// Up to `batch_size` sequences run at a time; one that finishes leaves and the next prompt takes its slot, its prompt
// rows packed beside the single rows of the others in the same pass.
//
// Prompts of one evaluation begin with the same instruction. What a new prompt shares with the tokens that already
// stand in some slot is copied, or left where it is, and only the rest is computed: attention looks back at keys and
// values, and those of a beginning depend on that beginning alone.
//
// The tokens are those of one prompt computed alone, up to rounding: a matmul of few rows sums in another order than
// one of many (kernels/matmul_cpu.cpp), so two tokens that are equally likely to the last bits may change places.
#pragma once

#include <functional>
#include <vector>

#include "model/transformer.h"

namespace skintern {

struct Generation {
    std::vector<int32_t> ids; // new tokens, without EOS
    bool finished = false;    // by EOS or stop, not by the limit
    int64_t steps = 0;        // tokens the model produced, EOS included
};

struct GenerateConfig {
    int64_t max_new_tokens = 256;
    int64_t max_positions = 0; // most tokens of prompt and answer together; 0: no bound
    int64_t batch_size = 64;
    int64_t cache_bytes = int64_t{2} << 30; // fewer sequences run at a time where their cache would take more
    WeightType cache_type = WeightType::f32; // or bf16: twice as many sequences in the same memory
    bool share_prefixes = true;
    int32_t eos = -1; // ends a sequence and is not part of its output; -1: none
    // Asked after each token; true ends the sequence (the published evaluation stops before a new "Question: ").
    std::function<bool(const std::vector<int32_t>& ids)> stop;
    // Told of each sequence as it ends.
    std::function<void(int64_t prompt, const Generation& generation)> done;
};

std::vector<Generation> generate(Transformer& model, const std::vector<std::vector<int32_t>>& prompts,
                                 const GenerateConfig& config);

} // namespace skintern
