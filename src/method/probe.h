// probe.h — a trained compressor of knowledge: token classification on the hidden states of the frozen base model.
//
//   x_w = mean of h_t over the tokens t of word w        h: the rows after the model's last norm, (C)
//   p_w = 1 / (1 + exp(-(weight . x_w + bias)))          the probability that the teacher keeps word w
//
// The logit is linear in h, so that of the mean is the mean of the tokens' logits. LLMLingua-2 (arXiv 2403.12968),
// which the paper uses, is the same classifier over a trained bidirectional encoder; here the model is frozen, and a
// row knows only what stands before it. So a probe may read the question before the text: which facts are needed is
// not in the text.
//
// Training is logistic regression: the mean cross-entropy over all words plus kL2/2 |weight|^2, on features of mean 0
// and variance 1 (folded into weight and bias at the end), by Newton's method from zero. No random numbers. Cost: one
// pass of the model over the texts, then O(words C^2) an iteration, of which it takes few.
#pragma once

#include <string>
#include <vector>

#include "formats/fingerprint.h"
#include "model/transformer.h"
#include "tasks/keep_labels.h"
#include "tokenizer/bpe.h"

namespace skintern {

struct Probe {
    bool reads_question = false;
    std::vector<double> weight; // (C)
    double bias = 0;
    Fingerprint base; // of the model whose hidden states it reads
};

// On the training rows' labels (the model's adapter should be off). Throws Error when no word, or every word, is kept.
Probe train_probe(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<LabelledText>& examples,
                  bool reads_question);

// p_w of each word of each text. `questions`: one a text for a probe that reads them, else unused.
std::vector<std::vector<double>> keep_probabilities(Transformer& model, const Bpe& bpe, int32_t bos, const Probe& probe,
                                                    const std::vector<std::string>& texts,
                                                    const std::vector<std::string>& questions);

// A JSON object, see docs/formats.md.
void save_probe(const std::string& path, const Probe& probe);
Probe load_probe(const std::string& path);

} // namespace skintern
