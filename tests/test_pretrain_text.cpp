// Pre-training text: every statement in it is checked by a reader of its own that knows only the English
// sentences.
#include "test.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pretraining/pretrain.h"
#include "tasks/teacher.h"

using namespace skintern;
using pretrain::Document;
using pretrain::Kind;

namespace {

constexpr uint64_t kSeed = 11;
constexpr int64_t kDocuments = 4000;

const std::vector<Document>& documents() {
    static const std::vector<Document> all = [] {
        std::vector<Document> made;
        for (int64_t i = 0; i < kDocuments; i++) {
            made.push_back(pretrain::make_document(kSeed, i));
        }
        return made;
    }();
    return all;
}

std::vector<std::string> split(const std::string& text, const std::string& between) {
    std::vector<std::string> parts;
    size_t from = 0;
    for (size_t at = text.find(between); at != std::string::npos; at = text.find(between, from)) {
        parts.push_back(text.substr(from, at - from));
        from = at + between.size();
    }
    parts.push_back(text.substr(from));
    return parts;
}

std::vector<std::string> words_in(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text + " ") {
        if (c != ' ' && c != '\n') {
            word += c;
        } else if (!word.empty()) {
            words.push_back(word);
            word.clear();
        }
    }
    return words;
}

// "23." -> 23; nothing when it is no whole number.
std::optional<int64_t> as_number(std::string word) {
    while (!word.empty() && std::string(".,?").find(word.back()) != std::string::npos) {
        word.pop_back();
    }
    const size_t digits = !word.empty() && word[0] == '-' ? 1 : 0;
    if (word.size() == digits || word.size() > 9 ||
        word.find_first_not_of("0123456789", digits) != std::string::npos) {
        return std::nullopt;
    }
    return std::stoll(word);
}

// ---- a reader of lessons ----

// The last question of a lesson, taken apart at the fixed phrases of the layout.
struct Read {
    std::vector<std::string> facts; // without the full stop; of the knowledge, of examples, of the question
    std::string question;           // from the last sentence on, without options
    std::string response;
    std::string answer; // an option letter is replaced by what it stands for
};

std::vector<std::string> sentences_of(const std::string& text) {
    std::vector<std::string> out;
    for (const std::string& line : split(text, "\n")) {
        for (std::string sentence : split(line, ". ")) {
            for (const std::string before :
                 {": The ", "? The "}) { // "Answer: Step 1: The ...", "Who is ...? The ..."
                const size_t at = sentence.rfind(before);
                sentence = at == std::string::npos ? sentence : sentence.substr(at + 2);
            }
            if (!sentence.empty() && sentence.back() == '.') {
                sentence.pop_back();
            }
            out.push_back(sentence);
        }
    }
    return out;
}

Read read_lesson(const Document& document) {
    const std::string& text = document.text;
    const size_t question = text.rfind("\n\nQuestion: ");
    const std::string think = "\nAnswer: Let's think step by step. ";
    const size_t answer = text.find(think, question);
    REQUIRE(question != std::string::npos);
    REQUIRE(answer != std::string::npos);
    Read read;
    read.facts = sentences_of(text.substr(0, answer));
    read.question = text.substr(question + 12, answer - question - 12);
    read.response = text.substr(answer + think.size());
    const std::string mark = "Therefore, the answer is ";
    const size_t at = read.response.find(mark);
    REQUIRE(at != std::string::npos);
    REQUIRE(read.response.find(mark, at + 1) == std::string::npos);
    REQUIRE(read.response.back() == '.');
    read.answer = read.response.substr(at + mark.size(), read.response.size() - 1 - at - mark.size());
    const size_t options = read.question.find("\nOptions:");
    if (options != std::string::npos) {
        for (const std::string& line : split(read.question.substr(options), "\n")) {
            if (line.substr(0, 4) == read.answer + " ") {
                read.answer = line.substr(4);
            }
        }
        read.question.resize(options);
    }
    return read;
}

// Facts by what they are about: "the height of the Orla tower" -> "14". Units do not count.
std::map<std::string, std::string> values_of(const std::vector<std::string>& facts) {
    std::map<std::string, std::string> values;
    for (const std::string& fact : facts) {
        const size_t is = fact.find(" is ");
        if (fact.substr(0, 4) == "The " && is != std::string::npos) {
            values["t" + fact.substr(1, is - 1)] = words_in(fact.substr(is + 4))[0];
        }
    }
    return values;
}

// The question with every "the ... of ..." that a fact tells replaced by its value, the innermost first.
std::string with_values(std::string question, const std::map<std::string, std::string>& values) {
    for (bool changed = true; changed;) {
        changed = false;
        for (const auto& [about, value] : values) {
            const size_t at = question.find(about);
            const size_t end = at + about.size();
            if (at != std::string::npos &&
                (end == question.size() || std::string(" ?,.").find(question[end]) != std::string::npos)) {
                question.replace(at, about.size(), value);
                changed = true;
            }
        }
    }
    return question;
}

// "14 plus 9 minus 3", from left to right; a single word is its own value.
std::string computed(const std::string& expression) {
    const std::vector<std::string> words = words_in(expression);
    if (words.size() == 1) {
        return words[0];
    }
    int64_t value = as_number(words.at(0)).value();
    for (size_t i = 1; i + 1 < words.size(); i += 2) {
        const int64_t next = as_number(words[i + 1]).value();
        value = words[i] == "plus" ? value + next : words[i] == "minus" ? value - next : value * next;
    }
    return std::to_string(value);
}

// Where the lesson can be solved by looking facts up and computing, its answer.
std::optional<std::string> solved(const std::string& family, const Read& read) {
    const auto values = values_of(read.facts);
    std::string question = read.question;
    for (const std::string opening :
         {"Multiply ", "Begin with ", "How much more is ", "What is ", "Who is "}) {
        const size_t at = question.find(opening); // facts may stand before the question
        if (at != std::string::npos) {
            question = question.substr(at);
            break;
        }
    }
    const auto after = [&](const std::string& opening) {
        return question.compare(0, opening.size(), opening) == 0 ? question.substr(opening.size())
                                                                 : std::string();
    };
    static const std::set<std::string> plain = {"look_up",    "look_up_among_two", "sum",
                                                "difference", "product",           "two_hops",
                                                "three_hops", "hops_and_sum",      "long_sum"};
    if (plain.contains(family)) {
        question = with_values(question, values);
        question.pop_back(); // the question mark
        if (!after("How much more is ").empty()) {
            const std::vector<std::string> sides = split(after("How much more is "), " than ");
            return computed(sides.at(0) + " minus " + sides.at(1));
        }
        return computed(after("What is ") + after("Who is "));
    }
    if (family == "mixed_sum") {
        question = with_values(question, values); // Multiply 3 by 4, then add 5. What is the result?
        const std::vector<std::string> words = words_in(question);
        const bool add = words.at(5) == "add";
        return computed(words[1] + " times " + words[3] + (add ? " plus " : " minus ") +
                        words.at(add ? 6 : 7));
    }
    if (family == "walk") {
        const std::vector<std::string> sides = split(after("Begin with "), " and take the ");
        const std::vector<std::string> words = words_in(sides.at(1)); // relation 3 times. What comes out?
        const int64_t steps = as_number(words.at(words.size() - 5)).value();
        std::string relation;
        for (size_t i = 0; i + 5 < words.size(); i++) {
            relation += (i > 0 ? " " : "") + words[i];
        }
        std::string name = sides[0];
        for (int64_t i = 0; i < steps; i++) {
            for (const auto& [about, value] : values) {
                const size_t space = about.rfind(' ');
                if (about.compare(4, relation.size(), relation) == 0 && about.substr(space + 1) == name) {
                    name = value;
                    break;
                }
            }
        }
        return name;
    }
    if (family == "turn_around") {
        std::vector<std::string> list = split(after("Turn this list around: "), ", ");
        list.back().pop_back();
        std::reverse(list.begin(), list.end());
        std::string out;
        for (const std::string& word : list) {
            out += (out.empty() ? "" : ", ") + word;
        }
        return out;
    }
    if (family == "count_words") {
        return std::to_string(split(question, ", ").size());
    }
    if (family == "extreme_number") {
        std::vector<int64_t> list;
        for (const std::string& word : split(split(question, "? ").at(1), ", ")) {
            list.push_back(as_number(word).value());
        }
        const bool largest = question.find("largest") != std::string::npos;
        return std::to_string(largest ? *std::max_element(list.begin(), list.end())
                                      : *std::min_element(list.begin(), list.end()));
    }
    return std::nullopt;
}

bool is_fact_lesson(const std::string& family) {
    const auto& families = pretrain::fact_lessons();
    return std::any_of(families.begin(), families.end(), [&](const auto& f) { return f.name == family; });
}

} // namespace

TEST_CASE("a pre-training document depends on seed and index alone", "[pretrain]") {
    const std::string alone = pretraining_document(kSeed, 17);
    REQUIRE(alone == documents()[17].text);
    REQUIRE(pretraining_document(kSeed, 17) == alone);
    REQUIRE(pretraining_document(kSeed + 1, 17) != alone);
    std::set<std::string> different;
    for (const Document& document : documents()) {
        different.insert(document.text);
    }
    REQUIRE(different.size() == documents().size());
}

TEST_CASE("the text is that on which data/base was trained, whatever the compiler", "[pretrain]") {
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (int64_t i = 0; i < 500; i++) {
        for (const char c : pretraining_document(1, i)) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        }
    }
    REQUIRE(hash == 0x646bc3f38513cd43);
}

TEST_CASE("every sum, difference, product and comparison of the pre-training text is right", "[pretrain]") {
    std::map<std::string, int64_t> seen;
    for (const Document& document : documents()) {
        const std::vector<std::string> words = words_in(document.text);
        for (size_t i = 0; i + 4 < words.size(); i++) {
            const auto a = as_number(words[i]);
            const auto b = as_number(words[i + 2]);
            const auto c = as_number(words[i + 4]);
            INFO(document.text);
            INFO(words[i] << " " << words[i + 1] << " " << words[i + 2] << " " << words[i + 3] << " "
                          << words[i + 4]);
            const std::string& operation = words[i + 1];
            const bool one_sentence = a && std::isdigit(static_cast<unsigned char>(words[i].back())) != 0;
            if (one_sentence && b && c && words[i + 3] == "is" &&
                (operation == "plus" || operation == "minus" || operation == "times")) {
                seen[operation]++;
                REQUIRE(*c == (operation == "plus" ? *a + *b : operation == "minus" ? *a - *b : *a * *b));
            }
            if (one_sentence && c && operation == "is" && (words[i + 3] == "than" || words[i + 3] == "to")) {
                seen[words[i + 2]]++;
                REQUIRE((words[i + 2] == "more" ? *a > *c : words[i + 2] == "less" ? *a < *c : *a == *c));
            }
        }
    }
    for (const std::string what : {"plus", "minus", "times", "more", "less", "equal"}) {
        INFO(what);
        REQUIRE(seen[what] > 100);
    }
}

TEST_CASE("answers of lessons follow from the facts in their prompt", "[pretrain]") {
    std::map<std::string, int64_t> checked;
    for (const Document& document : documents()) {
        if (document.kind != Kind::knowledge && document.kind != Kind::question_only) {
            continue;
        }
        const Read read = read_lesson(document);
        if (document.shortened) {
            continue;
        }
        INFO(document.text);
        const std::optional<std::string> answer = solved(document.family, read);
        if (answer) {
            checked[document.family]++;
            REQUIRE(read.answer == *answer);
        }
        if (document.family == "reverse_look_up") { // Who has the height 14 feet?
            checked[document.family]++;
            const std::string fact = split(read.response, ". ").at(0);
            const size_t has = read.question.rfind(" has the ") + 9;
            const std::vector<std::string> asked = words_in(read.question.substr(has));
            REQUIRE(std::count(read.facts.begin(), read.facts.end(), fact) > 0);
            REQUIRE(fact.find("The " + asked.at(0)) == 0);
            REQUIRE(fact.find(" " + read.answer + " is ") != std::string::npos);
        }
    }
    for (const std::string family : {"look_up", "look_up_among_two", "reverse_look_up", "sum", "difference",
                                     "product", "two_hops", "three_hops", "hops_and_sum", "mixed_sum", "walk",
                                     "long_sum", "turn_around", "count_words", "extreme_number"}) {
        INFO(family);
        REQUIRE(checked[family] >= 15);
    }
}

TEST_CASE("a solution states its facts word for word as the prompt has them", "[pretrain]") {
    int64_t stated = 0;
    for (const Document& document : documents()) {
        if (!is_fact_lesson(document.family) || document.shortened || document.kind == Kind::repetition) {
            continue;
        }
        const Read read = read_lesson(document);
        for (const std::string& sentence : sentences_of(read.response)) {
            const bool fact = sentence.compare(0, 4, "The ") == 0 &&
                              sentence.compare(0, 11, "The largest") != 0 &&
                              sentence.compare(0, 12, "The smallest") != 0;
            if (fact) {
                INFO(document.text);
                INFO(sentence);
                stated++;
                REQUIRE(std::count(read.facts.begin(), read.facts.end(), sentence) > 0);
            }
        }
    }
    REQUIRE(stated > 2000);
}

TEST_CASE("facts about one thing never contradict each other within a document", "[pretrain]") {
    for (const Document& document : documents()) {
        if (!is_fact_lesson(document.family) || document.kind == Kind::repetition) {
            continue;
        }
        std::map<std::string, std::string> values;
        for (const std::string& fact : read_lesson(document).facts) {
            const size_t is = fact.find(" is ");
            // In a question-only document each example has facts of the same world, so they may repeat but
            // not differ.
            if (fact.compare(0, 4, "The ") == 0 && is != std::string::npos &&
                fact.find(" number is ") == std::string::npos) {
                INFO(document.text);
                const auto [at, inserted] = values.emplace(fact.substr(0, is), fact.substr(is));
                REQUIRE((inserted || at->second == fact.substr(is)));
            }
        }
    }
}

TEST_CASE("no sentence or question of a test family stands in the pre-training text", "[pretrain]") {
    const std::vector<std::string> forbidden = {
        "price",    "coin",        " miles",    "mother",      "father",           "sister",
        "brother",  "festival",    "feast",     "distance",    "sort the",         "sorted",
        "alphabet", "return to",   "truth",     " lies",       "bracket",          "swap",
        " trades ", "schedule",    "mm/dd",     "calendar",    "how many objects", "penguin",
        "not (",    "not true",    "not false", "true and",    "true or",          "false and",
        "false or", "on the desk", "parenthes", "take 1 step", "turn left",        "turn right",
        "facing",   "dance",       "convert",   "which day",   "to the left of",   "to the right of",
        "cost"};
    for (const Document& document : documents()) {
        std::string text = document.text;
        std::transform(text.begin(), text.end(), text.begin(),
                       [](unsigned char c) { return std::tolower(c); });
        for (const std::string& pattern : forbidden) {
            if (document.family == "words" && pattern.find(' ') != std::string::npos) {
                continue; // rows of random words, where any two may meet
            }
            INFO(document.text);
            INFO(pattern);
            REQUIRE(text.find(pattern) == std::string::npos);
        }
    }
}

TEST_CASE("repetition documents repeat", "[pretrain]") {
    std::map<std::string, std::vector<double>> shares;
    for (const Document& document : documents()) {
        if (document.kind != Kind::repetition) {
            continue;
        }
        // The share of runs of three words that occur more than once; separators do not count.
        std::vector<std::string> words = words_in(document.text);
        for (std::string& word : words) {
            if (std::string(".,").find(word.back()) != std::string::npos) {
                word.pop_back();
            }
        }
        std::map<std::string, int64_t> runs;
        for (size_t i = 0; i + 2 < words.size(); i++) {
            runs[words[i] + " " + words[i + 1] + " " + words[i + 2]]++;
        }
        int64_t repeated = 0;
        int64_t all = 0;
        for (const auto& [run, count] : runs) {
            repeated += count > 1 ? count : 0;
            all += count;
        }
        const double share = static_cast<double>(repeated) / static_cast<double>(all);
        INFO(document.text);
        // What comes back in another order is checked below.
        const bool same_order =
            document.family != "pairs" && document.family != "shuffled" && document.family != "questions";
        REQUIRE((!same_order || share > 0.8));
        shares[document.family].push_back(share);
    }
    REQUIRE(shares.size() == 8);
}

TEST_CASE("shuffled facts come back with their values", "[pretrain]") {
    int64_t echoed = 0;
    for (const Document& document : documents()) {
        if (document.family != "shuffled" && document.family != "questions") {
            continue;
        }
        INFO(document.text);
        for (const std::string& segment : split(document.text, "\n\n")) {
            std::map<std::string, int64_t> times; // by fact
            for (const std::string& sentence : sentences_of(segment)) {
                const size_t is = sentence.find(" is ");
                if (sentence.compare(0, 4, "The ") == 0 && is != std::string::npos) {
                    times[sentence]++;
                }
            }
            int64_t twice = 0;
            for (const auto& [fact, count] : times) {
                const size_t is = fact.find(" is ");
                const std::string about = fact.substr(1, is - 1); // "he height of the Orla tower"
                const bool asked = segment.find(about + ": " + fact.substr(is + 4)) != std::string::npos ||
                                   segment.find(about + "? " + fact.substr(is + 4)) != std::string::npos;
                twice += count > 1 || asked ? 1 : 0;
            }
            const bool some = segment.find("Some of them:") != std::string::npos;
            REQUIRE(times.size() >= 3);
            REQUIRE(twice * 2 >= static_cast<int64_t>(times.size()));
            REQUIRE((some || twice == static_cast<int64_t>(times.size())));
            echoed++;
        }
    }
    REQUIRE(echoed > 200);
}

TEST_CASE("a list with values comes back with the same values", "[pretrain]") {
    int64_t reordered = 0;
    for (const Document& document : documents()) {
        if (document.family != "pairs") {
            continue;
        }
        for (const std::string& segment : split(document.text, "\n\n")) {
            const std::vector<std::string> halves = split(segment, "\nIn another order: ");
            if (halves.size() == 2) {
                INFO(segment);
                std::vector<std::string> once = split(halves[0], ", ");
                std::vector<std::string> again = split(halves[1], ", ");
                REQUIRE(once.size() >= 10);
                std::sort(once.begin(), once.end());
                std::sort(again.begin(), again.end());
                REQUIRE(once == again);
                reordered++;
            }
        }
    }
    REQUIRE(reordered > 50);
}

TEST_CASE("kinds and families of pre-training text occur near their weights", "[pretrain]") {
    std::map<Kind, double> share;
    std::map<std::string, int64_t> families;
    std::map<std::string, int64_t> relations;
    int64_t yes = 0;
    int64_t no = 0;
    std::map<std::string, int64_t> letters;
    for (const Document& document : documents()) {
        share[document.kind] += 1.0 / static_cast<double>(kDocuments);
        families[document.family]++;
        const std::string& text = document.text;
        yes += text.ends_with(" the answer is Yes.") ? 1 : 0;
        no += text.ends_with(" the answer is No.") ? 1 : 0;
        if (text.ends_with(").")) {
            letters[text.substr(text.size() - 4, 3)]++;
        }
        for (const std::string& sentence : sentences_of(text)) {
            const size_t of = std::min({sentence.find(" of "), sentence.find(" in "), sentence.find(" on "),
                                        sentence.find(" from ")});
            if (sentence.compare(0, 4, "The ") == 0 && of != std::string::npos) {
                const bool counts = sentence.compare(0, 14, "The number of ") == 0;
                relations[counts ? sentence.substr(0, sentence.find(' ', 14)) : sentence.substr(0, of)]++;
            }
        }
    }
    // Three standard errors of a share of 4000 draws are at most 0.024.
    REQUIRE(share[Kind::repetition] == Approx(0.35).margin(0.024));
    REQUIRE(share[Kind::knowledge] == Approx(0.45).margin(0.024));
    REQUIRE(share[Kind::question_only] == Approx(0.10).margin(0.024));
    REQUIRE(share[Kind::arithmetic] == Approx(0.10).margin(0.024));
    for (const auto* list :
         {&pretrain::fact_lessons(), &pretrain::rule_lessons(), &pretrain::list_lessons()}) {
        for (const pretrain::LessonFamily& family : *list) {
            INFO(family.name);
            REQUIRE(families[family.name] >= 15);
        }
    }
    const auto common =
        std::count_if(relations.begin(), relations.end(), [](const auto& r) { return r.second >= 40; });
    REQUIRE(common >= 40);
    REQUIRE(relations.size() > 400); // invented relation words
    REQUIRE(static_cast<double>(yes) / static_cast<double>(yes + no) == Approx(0.5).margin(0.15));
    for (const std::string letter : {"(A)", "(B)", "(C)", "(D)", "(E)"}) {
        INFO(letter);
        REQUIRE(letters[letter] >= 10);
    }
}

TEST_CASE("pre-training documents keep to their length", "[pretrain]") {
    double total = 0;
    for (const Document& document : documents()) {
        const int64_t words = pretrain::count_words(document.text);
        INFO(document.text);
        REQUIRE(words >= (document.kind == Kind::question_only ? 36 : 60));
        REQUIRE(words <= 350);
        REQUIRE(document.text.find("  ") == std::string::npos);
        REQUIRE(document.text.find("\n\n\n") == std::string::npos);
        REQUIRE(document.text.back() != '\n');
        total += static_cast<double>(words);
    }
    REQUIRE(total / static_cast<double>(kDocuments) > 130);
    REQUIRE(total / static_cast<double>(kDocuments) < 180);
}

TEST_CASE("lessons have the layout of prompts, in the words of the templates", "[pretrain]") {
    const std::string path = "data/templates/default.json";
    if (!std::filesystem::exists(path)) {
        std::cout << "skipped: " << path << " is not there\n";
        return;
    }
    std::ifstream file(path);
    const nlohmann::json words = nlohmann::json::parse(file);
    const std::string instruction = words.at("instruction").get<std::string>() + " ";
    const std::string form = " " + words.at("format").get<std::string>() + "\n\n";
    const std::string lead = words.at("lead").get<std::string>() + "\n";
    std::map<int64_t, int64_t> examples;
    for (const Document& document : documents()) {
        if (document.kind != Kind::knowledge && document.kind != Kind::question_only) {
            continue;
        }
        INFO(document.text);
        const std::string& text = document.text;
        const std::vector<std::string> blocks = split(text, "\n\n");
        const bool knowledge = document.kind == Kind::knowledge;
        REQUIRE(text.compare(0, instruction.size(), instruction) == 0);
        REQUIRE((blocks[0] + "\n\n").ends_with(form));
        REQUIRE((text.find(lead) != std::string::npos) == knowledge);
        const size_t first = knowledge ? 2 : 1;
        REQUIRE(blocks.size() > first);
        REQUIRE((!knowledge || blocks[1].compare(0, lead.size(), lead) == 0));
        for (size_t i = first; i < blocks.size(); i++) {
            const std::vector<std::string> sides = split(blocks[i], "\nAnswer: ");
            REQUIRE(sides.size() == 2);
            REQUIRE(sides[0].compare(0, 10, "Question: ") == 0);
            REQUIRE((sides[1].find("Let's think step by step. ") == 0) == (i + 1 == blocks.size()));
        }
        examples[static_cast<int64_t>(blocks.size() - first - 1)]++;
    }
    REQUIRE(examples[0] > 500);
    REQUIRE(examples[3] > 100);
}
