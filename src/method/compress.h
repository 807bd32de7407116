// compress.h — shortening knowledge to a share of its words, nested from stage to stage.
//
// A compressor ranks the words of a text once; a share s keeps the ceil(s n) best in their original order, so what a
// later stage keeps, the earlier one kept too.
//
//   probe        the probability that the teacher would keep the word, by a trained classifier (probe.h). The paper
//                uses LLMLingua-2, which is one, and thresholds at the percentile that the stage asks for: a rank does
//   information  the mean self-information -log p(token | text before it), under the base model, of the word's
//                tokens: what the model could have guessed is dropped first (Selective Context, Li et al. 2023)
//   sentences    whole sentences by the mean self-information of their words; never more than the share, mostly less
//   random       by lot
//   head         the beginning of the text
#pragma once

#include <string>
#include <vector>

#include "method/probe.h"
#include "model/transformer.h"
#include "tasks/words.h"
#include "tokenizer/bpe.h"

namespace skintern {

inline constexpr const char* kCompressors[] = {"probe", "information", "sentences", "random", "head"};

struct RankedText {
    std::vector<std::string> words; // each with the white space before it; together they are the text
    std::vector<int64_t> rank;      // (words) 0 is kept longest; words of one rank stay or go together
};

// What compressors rank with.
struct RankContext {
    Transformer& model; // its adapter should be off
    const Bpe& bpe;
    int32_t bos = -1;
    const Probe* probe = nullptr; // of "probe"
    uint64_t seed = 1;            // of "random"
};

// Throws Error naming the compressors there are.
void check_compressor(const std::string& name);

// Ranks the words of each text. `questions`: one a text for a probe that reads them, else unused.
std::vector<RankedText> rank_texts(const std::string& compressor, const RankContext& context,
                                   const std::vector<std::string>& texts,
                                   const std::vector<std::string>& questions = {});

// rank_texts() with "information".
std::vector<RankedText> rank_by_information(Transformer& model, const Bpe& bpe, int32_t bos,
                                            const std::vector<std::string>& texts);

// Ranks given scores, one a word; ties keep the earlier word.
RankedText rank_words(const std::string& text, const std::vector<double>& scores);

// Which words the share `keep` leaves.
std::vector<bool> kept_words(const RankedText& text, double keep);

// The text with the share `keep` of its words, in order; 1 is the text itself, 0 the empty text.
std::string shorten(const RankedText& text, double keep);

} // namespace skintern
