// words.cpp — see words.h.
#include "tasks/words.h"

#include <algorithm>
#include <string_view>

namespace skintern {

namespace {

constexpr std::string_view kSpaces = " \n\t\r";
constexpr std::string_view kSentenceEnds = ".!?";

} // namespace

std::vector<std::string> split_words(const std::string& text) {
    std::vector<std::string> words;
    for (size_t begin = 0; begin < text.size();) {
        const size_t first = std::min(text.find_first_not_of(kSpaces, begin), text.size());
        const size_t end = std::min(text.find_first_of(kSpaces, first), text.size());
        words.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    return words;
}

std::string bare_word(const std::string& word) {
    const size_t begin = std::min(word.find_first_not_of(kSpaces), word.size());
    const size_t last = word.find_last_not_of(".,:;!?");
    std::string bare = last == std::string::npos || last < begin ? "" : word.substr(begin, last + 1 - begin);
    for (char& c : bare) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return bare;
}

std::vector<size_t> sentence_of_words(const std::vector<std::string>& words) {
    std::vector<size_t> sentences;
    size_t sentence = 0;
    for (size_t w = 0; w < words.size(); w++) {
        const bool ended = w > 0 && kSentenceEnds.find(words[w - 1].back()) != std::string_view::npos;
        if (w > 0 && (ended || words[w].find('\n') != std::string::npos)) {
            sentence++;
        }
        sentences.push_back(sentence);
    }
    return sentences;
}

std::vector<size_t> word_of_tokens(const Bpe& bpe, const std::vector<std::string>& words,
                                   const std::vector<int32_t>& ids) {
    if (words.empty()) {
        return {};
    }
    std::vector<size_t> out;
    size_t word = 0;
    int64_t word_end = static_cast<int64_t>(words[0].size());
    // Tokens may say more than the text: SentencePiece puts a blank before it.
    int64_t byte = 0;
    for (const std::string& w : words) {
        byte += static_cast<int64_t>(w.size());
    }
    for (const int32_t id : ids) {
        byte -= static_cast<int64_t>(bpe.token_bytes(id).size());
    }
    for (const int32_t id : ids) {
        // A token belongs to the word in which its last byte stands (its first may be the space before the word).
        byte += static_cast<int64_t>(bpe.token_bytes(id).size());
        while (word + 1 < words.size() && byte > word_end) {
            word++;
            word_end += static_cast<int64_t>(words[word].size());
        }
        out.push_back(word);
    }
    return out;
}

} // namespace skintern
