// compress.h — shortening knowledge to a share of its words, nested from stage to stage.
//
// Words are ranked once; a share s keeps the ceil(s n) best in their original order, so what a later stage keeps, the earlier
// one kept too. What decides the rank is the compressor:
//
//   information  mean self-information -log p(token | text before it) of the word's tokens under the base model: what it
//                could have guessed is dropped first (Selective Context, Li et al. 2023)
//   probe        a classifier on the base model's hidden states (probe.h), as the paper has it by LLMLingua-2
//   sentences    whole sentences are dropped, the one of least information first
//   head         the beginning is kept
//   random       drawn
#pragma once

#include <string>
#include <vector>

#include "bpe.h"
#include "probe.h"
#include "teacher.h"
#include "transformer.h"

namespace skintern {

struct RankedText {
    std::vector<std::string> words; // each with the white space before it; together they are the text
    std::vector<int64_t> rank;      // (words) 0 is kept longest
};

// The scores of `information`.
std::vector<std::vector<double>> word_information(Transformer& model, const Bpe& bpe, int32_t bos,
                                                  const std::vector<std::string>& texts); // one a word of each text

// Mean hidden state of each word behind the last norm, words of all texts one after the other: (words,C).
std::vector<float> word_states(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<std::string>& texts);

// A probe that keeps what the teacher would keep of the summaries of generated tasks (keep_labels.h); of `records` at most
// kProbeRows, evenly spread.
inline constexpr int64_t kProbeRows = 256;
Probe train_word_probe(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<Record>& records,
                       const World& world);

// What compressors rank with: the base model (its adapter off), and a probe for the one that needs it.
struct Ranker {
    Transformer* model;
    const Bpe* bpe;
    int32_t bos;
    const Probe* probe; // or null
    uint64_t seed;
};
// Throws Error naming the compressors there are.
std::vector<RankedText> rank_texts(const std::string& compressor, const Ranker& ranker,
                                   const std::vector<std::string>& texts);

// Ranks given scores, one a word; ties keep the earlier word.
RankedText rank_words(const std::string& text, const std::vector<double>& scores);

// The words of a text, each with the white space before it.
std::vector<std::string> split_words(const std::string& text);

// The text with the share `keep` of its words, in order; 1 is the text itself, 0 the empty text.
std::string shorten(const RankedText& text, double keep);

} // namespace skintern
