// teacher_parts.cpp — see teacher_parts.h.
#include "tasks/teacher_parts.h"

#include <algorithm>

#include "support/check.h"

namespace skintern {

Record make_record(const TaskText& text, const Instance& instance) {
    Record record;
    record.task_name = text.name;
    record.task_description = text.description;
    record.instruction = instance.question;
    record.output = instance.answer;
    record.response = join(instance.steps, " ") + " Therefore, the answer is " + instance.answer + ".";
    record.learning_summary = text.learning;
    record.supplementary_knowledge = join(instance.facts, " ");
    record.summary = record.learning_summary + "\n" + record.supplementary_knowledge;
    record.knowledge = {
        std::string(text.title) + " . " + record.learning_summary,
        "Facts: " + std::string(text.title) + " . " + record.supplementary_knowledge,
    };
    return record;
}

Family bbh_family(const TaskText& text, bool seen,
                  Record (*make)(Rng&, const World&, Length, Wording, bool)) {
    return Family{text.name, text.description, false, seen, make};
}

// -----------------------------------------------------------------------------------------------------------
// Pieces of English

std::string join(const std::vector<std::string>& parts, const std::string& between) {
    std::string out;
    for (size_t i = 0; i < parts.size(); i++) {
        out += i == 0 ? parts[i] : between + parts[i];
    }
    return out;
}

std::string and_list(const std::vector<std::string>& parts) {
    if (parts.size() < 3) {
        return join(parts, " and ");
    }
    const std::vector<std::string> all_but_last(parts.begin(), parts.end() - 1);
    return join(all_but_last, ", ") + ", and " + parts.back();
}

std::string number_word(int64_t n) {
    static const std::vector<std::string> words = {"one",   "two",   "three", "four", "five",   "six",
                                                   "seven", "eight", "nine",  "ten",  "eleven", "twelve"};
    return n >= 1 && n <= 12 ? words[static_cast<size_t>(n - 1)] : std::to_string(n);
}

std::string ordinal_word(int64_t n) {
    static const std::vector<std::string> words = {"first", "second", "third",  "fourth",
                                                   "fifth", "sixth",  "seventh"};
    CHECK(n >= 1 && n <= 7, "no ordinal word for %lld, only for 1 to 7", static_cast<long long>(n));
    return words[static_cast<size_t>(n - 1)];
}

std::string article(const std::string& noun) {
    return std::string("aeiou").find(noun.front()) == std::string::npos ? "a" : "an";
}

std::string with_article(const std::string& noun) {
    return article(noun) + " " + noun;
}

std::string plural(const std::string& noun) {
    const auto ends_with = [&](const std::string& tail) {
        return noun.size() >= tail.size() && noun.compare(noun.size() - tail.size(), tail.size(), tail) == 0;
    };
    if (ends_with("s") || ends_with("x") || ends_with("ch") || ends_with("sh")) {
        return noun + "es";
    }
    const bool consonant_y =
        ends_with("y") && noun.size() > 1 && article(noun.substr(noun.size() - 2)) == "a";
    return consonant_y ? noun.substr(0, noun.size() - 1) + "ies" : noun + "s";
}

std::string capitalised(std::string text) {
    if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') {
        text[0] = static_cast<char>(text[0] - 'a' + 'A');
    }
    return text;
}

// -----------------------------------------------------------------------------------------------------------
// Multiple choice

std::string option_letter(size_t index) {
    return std::string("(") + static_cast<char>('A' + index) + ")";
}

std::string options_block(const std::vector<std::string>& options) {
    std::string out = "\nOptions:";
    for (size_t i = 0; i < options.size(); i++) {
        out += "\n" + option_letter(i) + " " + options[i];
    }
    return out;
}

size_t index_of(const std::vector<std::string>& list, const std::string& element) {
    const auto at = std::find(list.begin(), list.end(), element);
    CHECK(at != list.end(), "'%s' is not in the list it was looked for in", element.c_str());
    return static_cast<size_t>(at - list.begin());
}

const std::vector<std::string>& people() {
    static const std::vector<std::string> names = {"Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo",
                                                   "Ivy", "Jon", "Kim",  "Leo", "Mia", "Ned",  "Ola", "Pia",
                                                   "Rob", "Sue", "Tom",  "Uma", "Vic", "Wes",  "Yan", "Zoe"};
    return names;
}

} // namespace skintern
