// batch.h — from samples to packed rows: which rows stand in an update, in what order, and what is scored.
#pragma once

#include <cstdint>
#include <vector>

#include "method/prompt.h"
#include "model/transformer.h"

namespace skintern {

// Appends a sample; the rows that predict a target token are scored. The last token predicts nothing.
void add_sample(Batch& batch, const Sample& sample);

// Splits samples into batches of at most `max_tokens` tokens (a longer sample stands alone), in order.
std::vector<Batch> pack(const std::vector<Sample>& samples, int64_t max_tokens);

// Which of `processes` computes each sample of an update: the longest first, each to the one that has the fewest tokens yet,
// so that two differ by at most the longest sample. (samples), by the numbers of tokens alone.
std::vector<int> divide(const std::vector<Sample>& samples, int processes);

// Row number of the k-th draw from n rows: every epoch is a new permutation, by (seed, epoch) alone.
class Order {
public:
    Order(int64_t n, uint64_t seed, bool shuffle) : n_(n), seed_(seed), shuffle_(shuffle) {}
    int64_t operator()(int64_t k);

private:
    int64_t n_;
    uint64_t seed_;
    bool shuffle_;
    int64_t epoch_ = -1;
    std::vector<int64_t> permutation_;
};

} // namespace skintern
