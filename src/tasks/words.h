// words.h — the words and sentences of a text, and which of a tokenizer's tokens belong to which word.
//
// A word is what stands between white space, with the white space before it, so that the words together are the text.
// Knowledge is shortened by words (compress.h), a model reads tokens: what it says of a word is the mean over its
// tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/bpe.h"

namespace skintern {

// The words of a text, each with the white space before it.
std::vector<std::string> split_words(const std::string& text);

// The word in lower case, without the white space before it and the punctuation behind it: " Coins." is "coins".
// Brackets stay: "(A)" is an option and no article.
std::string bare_word(const std::string& word);

// The number of the sentence, from 0, in which each word stands. A sentence ends at . ! ? or with its line.
std::vector<size_t> sentence_of_words(const std::vector<std::string>& words);

// The word to which each token of the text belongs; empty where there are no words.
std::vector<size_t> word_of_tokens(const Bpe& bpe, const std::vector<std::string>& words,
                                   const std::vector<int32_t>& ids);

} // namespace skintern
