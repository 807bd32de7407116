// keep_labels.cpp — see keep_labels.h for the rule.
#include "keep_labels.h"

#include <algorithm>
#include <set>

#include "compress.h"

namespace skintern {

namespace {

bool is_function_word(const std::string& word) {
    static const std::set<std::string> kWords = {
        "a",    "an",   "and",  "are",   "as",   "at",   "be",    "but",  "by",   "each", "for",  "from", "has",  "have",
        "if",   "in",   "into", "is",    "it",   "its",  "of",    "on",   "one",  "or",   "so",   "than", "that", "the",
        "them", "then", "they", "there", "this", "those", "to",   "until", "was", "what", "when", "where", "which", "who",
        "whose", "will", "with", "you"};
    std::string lower;
    for (const char c : word) {
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80) {
            lower += c;
        } else if (c >= 'A' && c <= 'Z') {
            lower += static_cast<char>(c - 'A' + 'a');
        }
    }
    return kWords.contains(lower);
}

// Where the sentences of the facts that the question needs stand in the text: [begin, end) each.
std::vector<std::pair<size_t, size_t>> needed_sentences(const std::string& text, const Record& record,
                                                        const World& world) {
    std::vector<std::pair<size_t, size_t>> places;
    for (const std::string& id : record.facts_needed) {
        const std::string& sentence = world.fact(id).sentence;
        for (size_t at = text.find(sentence); at != std::string::npos; at = text.find(sentence, at + 1)) {
            places.emplace_back(at, at + sentence.size());
        }
    }
    return places;
}

} // namespace

std::vector<bool> keep_labels(const Record& record, const World& world) {
    const std::vector<std::pair<size_t, size_t>> needed = needed_sentences(record.summary, record, world);
    std::vector<bool> labels;
    size_t end = 0;
    for (const std::string& word : split_words(record.summary)) {
        end += word.size(); // behind the last byte of the word
        const bool in_learning = end <= record.learning_summary.size();
        const bool in_needed = record.facts_needed.empty() ||
                               std::any_of(needed.begin(), needed.end(), [&](const std::pair<size_t, size_t>& place) {
                                   return place.first < end && end <= place.second;
                               });
        labels.push_back((in_learning || in_needed) && !is_function_word(word));
    }
    return labels;
}

} // namespace skintern
