// batch.cpp — see batch.h.
#include "method/batch.h"

#include <algorithm>
#include <numeric>

#include "support/check.h"

namespace skintern {

void add_sample(Batch& batch, const Sample& sample) {
    const int64_t start = batch.tokens();
    const int64_t length = static_cast<int64_t>(sample.ids.size());
    CHECK(sample.prompt_tokens >= 1, "a sample needs at least one token before its target");
    for (int64_t t = sample.labels.empty() ? sample.prompt_tokens : 1; t < length; t++) {
        const size_t i = static_cast<size_t>(t);
        const int32_t label = sample.labels.empty() ? sample.ids[i] : sample.labels[i];
        if (label != kNoLabel) {
            batch.rows.push_back(static_cast<int32_t>(start + t - 1)); // the row before predicts this token
            batch.targets.push_back(label);
        }
    }
    batch.add_sequence(sample.ids);
}

std::vector<Batch> pack(const std::vector<Sample>& samples, int64_t max_tokens) {
    std::vector<Batch> batches;
    for (const Sample& sample : samples) {
        const int64_t length = static_cast<int64_t>(sample.ids.size());
        if (batches.empty() || batches.back().tokens() + length > max_tokens) {
            batches.emplace_back();
        }
        add_sample(batches.back(), sample);
    }
    return batches;
}

std::vector<int> divide(const std::vector<Sample>& samples, int processes) {
    const auto tokens = [&](size_t i) { return samples[i].ids.size() + samples[i].teacher_ids.size(); };
    std::vector<size_t> longest_first(samples.size());
    std::iota(longest_first.begin(), longest_first.end(), size_t{0});
    std::stable_sort(longest_first.begin(), longest_first.end(), [&](size_t a, size_t b) { return tokens(a) > tokens(b); });
    std::vector<size_t> load(static_cast<size_t>(processes));
    std::vector<int> owner(samples.size());
    for (const size_t i : longest_first) {
        const auto least = std::min_element(load.begin(), load.end());
        owner[i] = static_cast<int>(least - load.begin());
        *least += tokens(i);
    }
    return owner;
}

int64_t Order::operator()(int64_t k) {
    const int64_t epoch = k / n_;
    if (!shuffle_) {
        return k % n_;
    }
    if (epoch != epoch_) {
        permutation_.resize(static_cast<size_t>(n_));
        std::iota(permutation_.begin(), permutation_.end(), int64_t{0});
        Rng rng(seed_ + 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(epoch + 1), "order");
        rng.shuffle(permutation_);
        epoch_ = epoch;
    }
    return permutation_[static_cast<size_t>(k % n_)];
}

} // namespace skintern
