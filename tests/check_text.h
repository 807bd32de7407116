// check_text.h — the small pieces of text reading that the independent checker of the teacher is made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/check.h"

namespace skintern::check_bbh {

using Strings = std::vector<std::string>;

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

inline bool has(const Strings& list, const std::string& element) {
    return std::find(list.begin(), list.end(), element) != list.end();
}

// What stands between the first `from` and the next `to` (empty: the end).
inline std::string between(const std::string& text, const std::string& from, const std::string& to) {
    const size_t begin = text.find(from);
    CHECK(begin != std::string::npos, "no '%s' in: %s", from.c_str(), text.c_str());
    const size_t start = begin + from.size();
    const size_t end = to.empty() ? text.size() : text.find(to, start);
    CHECK(end != std::string::npos, "no '%s' after '%s' in: %s", to.c_str(), from.c_str(), text.c_str());
    return text.substr(start, end - start);
}

inline Strings split(const std::string& text, const std::string& separator) {
    Strings parts;
    size_t begin = 0;
    for (size_t at = text.find(separator); at != std::string::npos; at = text.find(separator, begin)) {
        parts.push_back(text.substr(begin, at - begin));
        begin = at + separator.size();
    }
    parts.push_back(text.substr(begin));
    return parts;
}

// Words by white space, without the punctuation around them.
inline Strings words_of(const std::string& text) {
    std::istringstream in(text);
    Strings words;
    for (std::string word; in >> word;) {
        while (!word.empty() && std::string(".,:;?!\"").find(word.back()) != std::string::npos) {
            word.pop_back();
        }
        if (!word.empty()) {
            words.push_back(word);
        }
    }
    return words;
}

// Sentences of a text on one or more lines, without their marks.
inline Strings sentences_of(const std::string& text) {
    Strings sentences;
    std::string now;
    for (size_t i = 0; i < text.size(); i++) {
        const bool ends = (text[i] == '.' || text[i] == '?') && (i + 1 == text.size() || text[i + 1] <= ' ');
        if (ends || text[i] == '\n') {
            if (!now.empty()) {
                sentences.push_back(now);
            }
            now.clear();
        } else if (!(now.empty() && text[i] == ' ')) {
            now += text[i];
        }
    }
    if (!now.empty()) {
        sentences.push_back(now);
    }
    return sentences;
}

// "a", "a and b", "a, b, and c".
inline Strings list_of(const std::string& text) {
    Strings items;
    for (const std::string& part : split(text, ", ")) {
        const std::string item = part.rfind("and ", 0) == 0 ? part.substr(4) : part;
        for (const std::string& piece : split(item, " and ")) {
            items.push_back(piece);
        }
    }
    return items;
}

inline std::string body_of(const std::string& question) {
    return question.substr(0, question.find("\nOptions:"));
}

inline Strings options_of(const std::string& question) {
    Strings options;
    for (const std::string& line : split(between(question, "\nOptions:\n", ""), "\n")) {
        CHECK(line.size() > 4 && line[0] == '(' && line[1] == static_cast<char>('A' + options.size()) &&
                  line.compare(2, 2, ") ") == 0,
              "bad option line '%s'", line.c_str());
        options.push_back(line.substr(4));
    }
    CHECK(std::set<std::string>(options.begin(), options.end()).size() == options.size(),
          "options repeat: %s", question.c_str());
    return options;
}

// The letter of the one option that `right` accepts.
template <class Right>
inline std::string letter_where(const std::string& question, Right right) {
    const Strings options = options_of(question);
    std::string letter;
    for (size_t i = 0; i < options.size(); i++) {
        if (right(options[i])) {
            CHECK(letter.empty(), "two options are right: %s", question.c_str());
            letter = std::string("(") + static_cast<char>('A' + i) + ")";
        }
    }
    CHECK(!letter.empty(), "no option is right: %s", question.c_str());
    return letter;
}

inline std::string letter_of(const std::string& question, const std::string& answer) {
    return letter_where(question, [&](const std::string& option) { return option == answer; });
}

// Digits or a word; a and an are one.
inline std::optional<int64_t> number_of(const std::string& word) {
    static const std::map<std::string, int64_t> known = {
        {"a", 1},    {"an", 1},  {"one", 1},   {"two", 2},   {"three", 3}, {"four", 4},
        {"five", 5}, {"six", 6}, {"seven", 7}, {"eight", 8}, {"nine", 9},  {"ten", 10}};
    if (known.count(word) != 0) {
        return known.at(word);
    }
    const bool digits = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
    return digits ? std::optional<int64_t>(std::stoll(word)) : std::nullopt;
}

} // namespace skintern::check_bbh
