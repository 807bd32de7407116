// check_bbh.cpp — see check_bbh.h; the families that read from tables and calendars are in
// check_bbh_tables.cpp.
#include "check_bbh.h"

#include <complex>
#include <numeric>

#include "check_text.h"

namespace skintern::check_bbh {

namespace {

// -----------------------------------------------------------------------------------------------------------
// boolean_expressions and multistep_arithmetic_two: recursive descent

struct BooleanParser {
    Strings words;
    size_t at = 0;
    int64_t literals = 0;

    bool take(const std::string& word) {
        const bool here = at < words.size() && words[at] == word;
        at += here ? 1 : 0;
        return here;
    }
    bool disjunction() {
        bool value = conjunction();
        while (take("or")) {
            const bool right = conjunction();
            value = value || right;
        }
        return value;
    }
    bool conjunction() {
        bool value = negation();
        while (take("and")) {
            const bool right = negation();
            value = value && right;
        }
        return value;
    }
    bool negation() {
        if (take("not")) {
            return !negation();
        }
        if (take("(")) {
            const bool value = disjunction();
            CHECK(take(")"), "a bracket is not closed");
            return value;
        }
        literals++;
        const bool value = take("True");
        CHECK(value || take("False"), "word %zu is not a truth value", at);
        return value;
    }
};

Solved boolean_expressions(const std::string& question) {
    BooleanParser parser;
    for (const std::string& word : words_of(has(question, "\"") ? between(question, "\"", "\"") : question)) {
        if (has(Strings{"True", "False", "and", "or", "not", "(", ")"}, word)) {
            parser.words.push_back(word);
        }
    }
    const bool value = parser.disjunction();
    CHECK(parser.at == parser.words.size(), "the expression goes on: %s", question.c_str());
    return {value ? "True" : "False", parser.literals};
}

struct ArithmeticParser {
    std::string text; // without spaces
    size_t at = 0;
    int64_t numbers = 0;

    bool take(char c) {
        const bool here = at < text.size() && text[at] == c;
        at += here ? 1 : 0;
        return here;
    }
    int64_t sum() {
        int64_t value = product();
        while (at < text.size() && (text[at] == '+' || text[at] == '-')) {
            const bool minus = text[at++] == '-';
            const int64_t right = product();
            value += minus ? -right : right;
        }
        return value;
    }
    int64_t product() {
        int64_t value = atom();
        while (take('*')) {
            value *= atom();
        }
        return value;
    }
    int64_t atom() {
        if (take('-')) {
            return -atom();
        }
        if (take('(')) {
            const int64_t value = sum();
            CHECK(take(')'), "a bracket is not closed in %s", text.c_str());
            return value;
        }
        const size_t begin = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
            at++;
        }
        CHECK(at > begin, "no number at %zu of %s", begin, text.c_str());
        numbers++;
        return std::stoll(text.substr(begin, at - begin));
    }
};

Solved multistep_arithmetic_two(const std::string& question) {
    ArithmeticParser parser;
    const size_t begin = question.find('(');
    parser.text = question.substr(begin, question.rfind(')') + 1 - begin);
    parser.text.erase(std::remove(parser.text.begin(), parser.text.end(), ' '), parser.text.end());
    const int64_t value = parser.sum();
    CHECK(parser.at == parser.text.size(), "the expression goes on: %s", question.c_str());
    return {std::to_string(value), parser.numbers};
}

// -----------------------------------------------------------------------------------------------------------
// web_of_lies: of all assignments of truth and lie, those that fit every sentence must agree on the answer

Solved web_of_lies(const std::string& question) {
    struct Claim {
        std::string speaker, about; // speaker empty: it is so
        bool truthful;
    };
    std::vector<Claim> claims;
    Strings people;
    std::string asked;
    for (const std::string& sentence : sentences_of(question)) {
        Strings words = words_of(sentence);
        words.erase(
            std::remove_if(words.begin(), words.end(),
                           [](const std::string& word) { return word == "Question" || word == "that"; }),
            words.end());
        const std::string tail = words.back();
        if (words[0] == "Does" || words[0] == "Is") {
            asked = words[1];
        } else if (words[0] == "In") { // the setting of the reworded frame
            CHECK(has(sentence, "everybody is honest or a liar"), "unknown sentence: %s", sentence.c_str());
        } else {
            CHECK(has(Strings{"truth", "lies", "honest", "liar"}, tail), "unknown sentence: %s",
                  sentence.c_str());
            const bool speech = words[1] == "says" || words[1] == "calls";
            claims.push_back(
                {speech ? words[0] : "", speech ? words[2] : words[0], tail == "truth" || tail == "honest"});
            people.push_back(words[0]);
        }
    }
    std::set<std::string> answers;
    for (uint64_t truth = 0; truth < (uint64_t(1) << people.size()); truth++) {
        const auto truthful = [&](const std::string& name) {
            const auto person = std::find(people.begin(), people.end(), name);
            CHECK(person != people.end(), "unknown person %s: %s", name.c_str(), question.c_str());
            return (truth >> (person - people.begin()) & 1) == 1;
        };
        const bool fits = std::all_of(claims.begin(), claims.end(), [&](const Claim& claim) {
            const bool so = truthful(claim.about) == claim.truthful;
            return claim.speaker.empty() ? so : truthful(claim.speaker) == so;
        });
        if (fits) {
            answers.insert(truthful(asked) ? "Yes" : "No");
        }
    }
    CHECK(answers.size() == 1, "%zu answers fit: %s", answers.size(), question.c_str());
    return {*answers.begin(), static_cast<int64_t>(people.size())};
}

// -----------------------------------------------------------------------------------------------------------
// logical_deduction: of all orders exactly one must fit every clue

// The place a sentence speaks of, from 0; -1 when of none.
int64_t place_in(const std::string& sentence, int64_t n) {
    for (const char* first : {"leftmost", "finished first", "at the bottom", "the cheapest"}) {
        if (has(sentence, first)) {
            return 0;
        }
    }
    for (const char* last : {"rightmost", "finished last", "at the top", "the dearest"}) {
        if (has(sentence, last)) {
            return n - 1;
        }
    }
    const Strings ordinals = {"second", "third", "fourth", "fifth", "sixth"};
    for (size_t i = 0; i < ordinals.size(); i++) {
        if (has(sentence, ordinals[i])) {
            return static_cast<int64_t>(i) + 1;
        }
    }
    return -1;
}

Solved logical_deduction(const std::string& question) {
    const Strings things = options_of(question);
    const int64_t n = static_cast<int64_t>(things.size());
    struct Clue {
        int64_t thing, other, place; // other -1: at the place; otherwise before the other
    };
    std::vector<Clue> clues;
    Strings sentences = sentences_of(body_of(question));
    const int64_t asked = place_in(sentences.back(), n);
    CHECK(asked >= 0, "no place is asked for: %s", question.c_str());
    for (size_t s = 1; s + 1 < sentences.size(); s++) { // the first sentence lists the things
        std::vector<std::pair<size_t, int64_t>> named;  // where in the sentence, which thing
        for (int64_t i = 0; i < n; i++) {
            const std::string padded = " " + sentences[s] + " ";
            const size_t at = padded.find(" " + things[static_cast<size_t>(i)] + " ");
            if (at != std::string::npos) {
                named.push_back({at, i});
            }
        }
        std::sort(named.begin(), named.end());
        const int64_t place = place_in(sentences[s], n);
        CHECK(named.size() == (place >= 0 ? 1u : 2u), "unknown clue: %s", sentences[s].c_str());
        if (place >= 0) {
            clues.push_back({named[0].second, -1, place});
            continue;
        }
        const bool after = has(sentences[s], "right of") || has(sentences[s], "finished after") ||
                           has(sentences[s], "stands above") || has(sentences[s], "costs more than");
        const bool before = has(sentences[s], "left of") || has(sentences[s], "finished before") ||
                            has(sentences[s], "stands below") || has(sentences[s], "costs less than");
        CHECK(after != before, "unknown clue: %s", sentences[s].c_str());
        clues.push_back({named[after ? 1 : 0].second, named[after ? 0 : 1].second, -1});
    }
    std::vector<int64_t> place_of(things.size());
    std::iota(place_of.begin(), place_of.end(), 0);
    int64_t fitting = 0;
    size_t answer = 0;
    do {
        const bool fits = std::all_of(clues.begin(), clues.end(), [&](const Clue& clue) {
            const int64_t place = place_of[static_cast<size_t>(clue.thing)];
            return clue.other < 0 ? place == clue.place : place < place_of[static_cast<size_t>(clue.other)];
        });
        if (fits) {
            fitting++;
            answer =
                static_cast<size_t>(std::find(place_of.begin(), place_of.end(), asked) - place_of.begin());
        }
    } while (std::next_permutation(place_of.begin(), place_of.end()));
    CHECK(fitting == 1, "%lld orders fit: %s", static_cast<long long>(fitting), question.c_str());
    return {letter_of(question, things[answer]), n};
}

// -----------------------------------------------------------------------------------------------------------
// navigate: complex numbers; tracking_shuffled_objects: a map

Solved navigate(const std::string& question) {
    using Complex = std::complex<double>;
    const Complex left(0, 1);
    const std::map<std::string, Complex> sides = {{"forward", 1},   {"backward", -1}, {"left", left},
                                                  {"right", -left}, {"north", 1},     {"south", -1},
                                                  {"west", left},   {"east", -left},  {"around", -1}};
    Complex place = 0;
    Complex heading = 1;
    int64_t size = 0;
    for (const std::string& sentence : sentences_of(body_of(question))) {
        Strings words = words_of(sentence);
        if (words[0] == "It") {
            words.erase(words.begin());
        }
        if (words[0] == "Turn") {
            heading *= sides.at(words[1]);
            size++;
        } else if (words[0] == "Take" || words[0] == "Go" || words[0] == "rolls") {
            const double steps = std::stod(words[1]);
            place += heading * steps * (words.size() > 3 ? sides.at(words[3]) : Complex(1));
            size++;
        } else {
            CHECK(words[0] == "If" || words[0] == "Walk" || words[0] == "Always" || words[0] == "Are" ||
                      words[0] == "Is" || words[0] == "A",
                  "unknown sentence: %s", sentence.c_str());
        }
    }
    return {std::abs(place) < 0.5 ? "Yes" : "No", size};
}

bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

// Where `phrase` stands in `text` with no letter beside it.
size_t find_phrase(const std::string& text, const std::string& phrase) {
    const auto letter = [&](size_t i) {
        return i < text.size() && ((text[i] >= 'a' && text[i] <= 'z') || is_upper(text[i]));
    };
    size_t at = text.find(phrase);
    while (at != std::string::npos && (letter(at + phrase.size()) || (at > 0 && letter(at - 1)))) {
        at = text.find(phrase, at + 1);
    }
    CHECK(at != std::string::npos, "'%s' is not in: %s", phrase.c_str(), text.c_str());
    return at;
}

Solved tracking_shuffled_objects(const std::string& question) {
    const std::string body = body_of(question);
    const Strings objects = options_of(question);
    std::map<std::string, std::string> has_object;
    for (const std::string& object : objects) { // the owner is the last name before the object
        std::string owner;
        for (const std::string& word : words_of(body.substr(0, find_phrase(body, object)))) {
            owner = is_upper(word[0]) ? word : owner;
        }
        has_object[owner] = object;
    }
    CHECK(has_object.size() == objects.size(), "somebody has two objects: %s", question.c_str());

    int64_t swaps = 0;
    std::string asked;
    const Strings sentences = sentences_of(body);
    for (const std::string& sentence : sentences) {
        const Strings words = words_of(sentence);
        Strings named;
        for (const std::string& word : words) {
            if (has_object.count(word) != 0) {
                named.push_back(word);
            }
        }
        const bool swap =
            has(words, "swap") || has(words, "trade") || has(words, "switch") || has(words, "change");
        if (swap && named.size() == 2) {
            std::swap(has_object.at(named[0]), has_object.at(named[1]));
            swaps++;
        }
        if (&sentence == &sentences.back()) {
            CHECK(named.size() == 1, "nobody is asked for: %s", question.c_str());
            asked = named[0];
        }
    }
    CHECK(swaps > 0, "no swap in: %s", question.c_str());
    return {letter_of(question, has_object.at(asked)), static_cast<int64_t>(objects.size()) + swaps};
}

// -----------------------------------------------------------------------------------------------------------
// dyck_languages: cross out pairs; word_sorting: rank every word; object_counting: a table of kinds

Solved dyck_languages(const std::string& question) {
    std::string brackets;
    for (const std::string& word :
         words_of(has(question, "Input:") ? between(question, "Input:", "") : question)) {
        if (word.size() == 1 && has("()[]{}<>", word)) {
            brackets += word;
        }
    }
    const int64_t size = static_cast<int64_t>(brackets.size());
    for (bool again = true; again;) {
        again = false;
        for (const char* pair : {"()", "[]", "{}", "<>"}) {
            const size_t at = brackets.find(pair);
            if (at != std::string::npos) {
                brackets.erase(at, 2);
                again = true;
            }
        }
    }
    std::string answer;
    for (auto open = brackets.rbegin(); open != brackets.rend(); open++) {
        const size_t kind = std::string("([{<").find(*open);
        CHECK(kind != std::string::npos, "a bracket closes nothing: %s", question.c_str());
        answer += (answer.empty() ? "" : " ") + std::string(1, ")]}>"[kind]);
    }
    return {answer, size};
}

Solved word_sorting(const std::string& question) {
    Strings words;
    if (has(question, "List:")) {
        std::istringstream in(between(question, "List:", "")); // words may hold punctuation: "it&t", "o's"
        for (std::string word; in >> word;) {
            words.push_back(word);
        }
    } else {
        words = list_of(between(question, "entries ", ". "));
    }
    Strings ranked(words.size());
    for (size_t i = 0; i < words.size(); i++) {
        size_t rank = 0;
        for (size_t j = 0; j < words.size(); j++) {
            rank += words[j] < words[i] || (words[j] == words[i] && j < i) ? 1 : 0;
        }
        ranked[rank] = words[i];
    }
    std::string answer;
    for (const std::string& word : ranked) {
        answer += (answer.empty() ? "" : " ") + word;
    }
    return {answer, static_cast<int64_t>(words.size())};
}

const std::map<std::string, std::set<std::string>>& kinds() {
    static const std::map<std::string, std::set<std::string>> all = {
        {"fruit",
         {"pear", "lemon", "cherry", "fig", "kiwi", "lime", "melon", "mango", "plum", "banana", "strawberry",
          "raspberry", "blackberry", "peach", "grape", "nectarine", "apple", "orange"}},
        {"vegetable",
         {"turnip", "leek", "beet", "radish", "parsnip", "pumpkin", "bean", "cucumber", "yam", "onion",
          "potato", "lettuce", "broccoli", "celery", "cauliflower", "cabbage", "carrot", "garlic"}},
        {"animal", {"horse", "otter",   "tiger",  "camel", "zebra", "fox",   "beaver", "parrot",
                    "fish",  "mouse",   "mice",   "pig",   "duck",  "snail", "frog",   "donkey",
                    "goat",  "chicken", "rabbit", "cow",   "snake", "bear",  "cat",    "dog"}},
        {"instrument",
         {"harp", "banjo", "cello", "tuba", "oboe", "guitar", "viola", "gong", "trumpet", "accordion", "drum",
          "piano", "trombone", "flute", "clarinet", "violin"}},
        {"tool", {"hammer", "saw", "drill", "wrench", "chisel", "rake", "spade", "axe"}}};
    return all;
}

bool is_of_kind(const std::string& word, const std::string& kind) {
    const std::set<std::string>& members = kinds().at(kind);
    const auto without = [&](size_t n, const char* tail) {
        return word.size() > n ? word.substr(0, word.size() - n) + tail : word;
    };
    return members.count(word) != 0 || members.count(without(1, "")) != 0 ||
           members.count(without(2, "")) != 0 || members.count(without(3, "y")) != 0;
}

Solved object_counting(const std::string& question) {
    const std::string opening = has(question, " see ")     ? " see "
                                : has(question, " shows ") ? " shows "
                                                           : " have ";
    std::string asked = has(question, "number of ") ? between(question, "number of ", " in it")
                                                    : between(question, "How many ", " do I");
    asked = words_of(asked).back();
    asked.pop_back(); // all are plural
    int64_t total = 0;
    const Strings items = list_of(between(question, opening, ". "));
    for (const std::string& item : items) {
        const Strings words = words_of(item);
        const std::optional<int64_t> count = number_of(words[0]);
        CHECK(count.has_value(), "no number before '%s'", item.c_str());
        const bool counts = asked == "object" ||
                            std::any_of(words.begin() + 1, words.end(),
                                        [&](const std::string& word) { return is_of_kind(word, asked); });
        total += counts ? *count : 0;
    }
    return {std::to_string(total), static_cast<int64_t>(items.size())};
}

} // namespace

Solved solve(const std::string& task, const std::string& question) {
    static const std::map<std::string, Solved (*)(const std::string&)> solvers = {
        {"boolean_expressions", boolean_expressions},
        {"multistep_arithmetic_two", multistep_arithmetic_two},
        {"web_of_lies", web_of_lies},
        {"logical_deduction", logical_deduction},
        {"navigate", navigate},
        {"tracking_shuffled_objects", tracking_shuffled_objects},
        {"dyck_languages", dyck_languages},
        {"word_sorting", word_sorting},
        {"object_counting", object_counting},
        {"date_understanding", date_understanding},
        {"temporal_sequences", temporal_sequences},
        {"reasoning_about_colored_objects", reasoning_about_colored_objects},
        {"penguins_in_a_table", penguins_in_a_table}};
    CHECK(solvers.count(task) != 0, "the checker knows no family '%s'", task.c_str());
    return solvers.at(task)(question);
}

} // namespace skintern::check_bbh
