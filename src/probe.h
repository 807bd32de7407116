// probe.h — token classification by a linear probe: is a word of a text worth keeping?
//
//   p(keep | word) = sigmoid(w . z + b),   z = (h - mean) / deviation
//
// h (C) is the frozen base model's hidden state behind the last norm, the mean over the tokens of the word, the text read from
// its beginning. w and b minimise the mean cross-entropy on labelled words + lambda |w|^2 / 2 (logistic regression), by
// gradient descent with momentum from zero: deterministic. LLMLingua-2 (Pan et al. 2024) fine-tunes an encoder for the same
// decision; a probe asks what the base model knows already.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

struct Probe {
    std::vector<double> mean, deviation, weight; // (C)
    double bias = 0;

    double probability(const float* h) const; // (C)
};

// features: (rows,C); labels: (rows). Throws Error when all labels are the same.
Probe train_probe(const std::vector<float>& features, const std::vector<bool>& labels, int64_t C);

// JSON. read_probe throws Error naming file and field.
void write_probe(const std::string& path, const Probe& probe);
Probe read_probe(const std::string& path);

} // namespace skintern
