// compress.h — shortening knowledge to a share of its words, nested from stage to stage.
//
// A word's score is the mean self-information -log p(token | text before it), under the base model, of its tokens: what
// the model could have guessed is dropped first (Selective Context, Li et al. 2023; the paper uses LLMLingua-2, a
// trained classifier). Words are ranked once; a share s keeps the ceil(s n) best in their original order, so what a
// later stage keeps, the earlier one kept too.
#pragma once

#include <string>
#include <vector>

#include "bpe.h"
#include "transformer.h"

namespace skintern {

struct RankedText {
    std::vector<std::string> words; // each with the white space before it; together they are the text
    std::vector<int64_t> rank;      // (words) 0 is kept longest
};

// Ranks the words of each text by self-information under the model (its adapter should be off).
std::vector<RankedText> rank_by_information(Transformer& model, const Bpe& bpe, int32_t bos,
                                            const std::vector<std::string>& texts);

// Ranks given scores, one a word; ties keep the earlier word.
RankedText rank_words(const std::string& text, const std::vector<double>& scores);

// The words of a text, each with the white space before it.
std::vector<std::string> split_words(const std::string& text);

// The text with the share `keep` of its words, in order; 1 is the text itself, 0 the empty text.
std::string shorten(const RankedText& text, double keep);

} // namespace skintern
