// keep_labels.cpp — see keep_labels.h.
#include "tasks/keep_labels.h"

#include <algorithm>
#include <set>

#include "support/check.h"
#include "tasks/words.h"

namespace skintern {

namespace {

bool is_function_word(const std::string& word) {
    static const std::set<std::string> words = {
        "a",    "an",   "the", "of",  "is",   "are", "was",  "be",   "has",   "have", "do",    "does", "in",
        "on",   "at",   "to",  "from", "for", "by",  "as",   "and",  "with",  "so",   "it",    "its",  "this",
        "that", "these", "they", "there", "then", "who", "whoever", "what", "which", "where", "when"};
    return words.contains(bare_word(word));
}

// A word of a summary, with the fact that its sentence states.
struct Place {
    std::string word;
    bool supplementary = false;   // of the supplementary knowledge
    const Fact* needed = nullptr; // the needed fact whose sentence it stands in
};

// Without a leading blank or line break, as the sentence of a fact begins with neither.
std::string sentence_text(const std::vector<std::string>& words, const std::vector<size_t>& sentences,
                          size_t sentence) {
    std::string text;
    for (size_t w = 0; w < words.size(); w++) {
        text += sentences[w] == sentence ? words[w] : "";
    }
    return text.substr(std::min(text.find_first_not_of(" \n"), text.size()));
}

std::vector<Place> places(const Record& record, const World& world) {
    CHECK(record.summary == record.learning_summary + "\n" + record.supplementary_knowledge,
          "record \"%s\": its summary is not its learning summary, a newline and its supplementary knowledge",
          record.id.c_str());
    const std::vector<std::string> words = split_words(record.summary);
    const std::vector<size_t> sentences = sentence_of_words(words);
    const size_t learning = split_words(record.learning_summary).size();
    std::vector<Place> out;
    for (size_t w = 0; w < words.size(); w++) {
        Place place{words[w], w >= learning, nullptr};
        const std::string sentence = sentence_text(words, sentences, sentences[w]);
        for (const std::string& id : record.facts_needed) {
            const Fact& fact = world.fact(id);
            if (place.supplementary && fact.sentence == sentence) {
                place.needed = &fact;
            }
        }
        out.push_back(place);
    }
    return out;
}

} // namespace

std::vector<bool> keep_labels(const Record& record, const World& world) {
    std::vector<bool> keep;
    for (const Place& place : places(record, world)) {
        const bool of_use = !place.supplementary || record.facts_needed.empty() || place.needed != nullptr;
        keep.push_back(of_use && !is_function_word(place.word));
    }
    return keep;
}

std::vector<LabelledText> label_summaries(const std::vector<Record>& records, const World& world) {
    std::vector<LabelledText> out;
    for (const Record& record : records) {
        out.push_back({record.instruction, record.summary, keep_labels(record, world)});
    }
    return out;
}

std::vector<bool> key_words(const Record& record, const World& world) {
    std::vector<bool> keys;
    for (const Place& place : places(record, world)) {
        bool is_key = false;
        if (place.needed != nullptr) {
            const std::string word = bare_word(place.word);
            for (const std::string& key : {place.needed->from, place.needed->to, place.needed->value()}) {
                is_key |= !key.empty() && (word == bare_word(key) || word == bare_word(key + "s"));
            }
        }
        keys.push_back(is_key);
    }
    return keys;
}

} // namespace skintern
