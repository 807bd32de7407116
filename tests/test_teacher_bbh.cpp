// test_teacher_bbh.cpp — the families in the manner of BIG-Bench Hard against a checker that shares nothing
// with them.
#include "test.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "check_bbh.h"
#include "tasks/answer.h"
#include "tasks/teacher.h"

using namespace skintern;

namespace {

const World& world() {
    static const World one(1);
    return one;
}

struct Setting {
    Length length;
    Wording wording;
};

constexpr Setting kSettings[] = {{Length::normal, Wording::usual},
                                 {Length::normal, Wording::reworded},
                                 {Length::longer, Wording::usual},
                                 {Length::longer, Wording::reworded}};

// `count` records of a family, from streams of their own.
std::vector<Record> records_of(const Family& family, Setting setting, int64_t count, uint64_t seed) {
    Rng rng(seed, family.name);
    std::vector<Record> records;
    for (int64_t i = 0; i < count; i++) {
        records.push_back(family.make(rng, world(), setting.length, setting.wording, false));
    }
    return records;
}

// The 200 records a setting is tested on: 50 from each of four seeds.
std::vector<Record> sample(const Family& family, Setting setting) {
    std::vector<Record> all;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        for (const Record& record : records_of(family, setting, 50, seed)) {
            all.push_back(record);
        }
    }
    return all;
}

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    return words;
}

bool ends_with(const std::string& text, const std::string& tail) {
    return text.size() >= tail.size() && text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

// Calls act for every family and setting.
void for_all(const std::function<void(const Family&, Setting)>& act) {
    for (const Family& family : bbh_families()) {
        for (const Setting setting : kSettings) {
            INFO(family.name << (setting.length == Length::normal ? ", normal" : ", longer")
                             << (setting.wording == Wording::usual ? ", usual" : ", reworded"));
            act(family, setting);
        }
    }
}

std::string shared_folder() {
    const char* set = std::getenv("SKINTERN_SHARED");
    return set != nullptr ? set : "../shared";
}

// The published rows of a file, question and target; empty when the file is not there.
std::vector<std::pair<std::string, std::string>> published(const std::string& file) {
    std::ifstream in(shared_folder() + "/data/bbh/" + file + ".json");
    std::vector<std::pair<std::string, std::string>> rows;
    if (in) {
        const nlohmann::json file_json = nlohmann::json::parse(in);
        for (const auto& row : file_json.at("examples")) {
            rows.push_back({row.at("input").get<std::string>(), row.at("target").get<std::string>()});
        }
        REQUIRE_FALSE(rows.empty());
    }
    return rows;
}

} // namespace

TEST_CASE("the families in the manner of BIG-Bench Hard are registered once each, three of them unseen",
          "[teacher_bbh]") {
    std::set<std::string> names, unseen;
    for (const Family& family : bbh_families()) {
        REQUIRE(names.insert(family.name).second);
        REQUIRE_FALSE(family.world);
        REQUIRE(ends_with(family.description, "."));
        if (!family.seen) {
            unseen.insert(family.name);
        }
    }
    REQUIRE(names == std::set<std::string>{"boolean_expressions", "multistep_arithmetic_two", "navigate",
                                           "object_counting", "tracking_shuffled_objects", "web_of_lies",
                                           "dyck_languages", "word_sorting", "date_understanding",
                                           "logical_deduction", "temporal_sequences",
                                           "reasoning_about_colored_objects", "penguins_in_a_table"});
    REQUIRE(unseen ==
            std::set<std::string>{"navigate", "temporal_sequences", "reasoning_about_colored_objects"});
}

TEST_CASE("every answer is the one that the checker finds from the question alone", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            REQUIRE(check_bbh::solve(family.name, record.instruction).answer == record.output);
        }
    });
}

TEST_CASE("every equation of a rationale holds", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        int64_t equations = 0;
        const std::string name = family.name;
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            const std::vector<std::string> words = words_of(record.response);
            for (size_t i = 3; i + 1 < words.size(); i++) {
                if (words[i] != "=") {
                    continue;
                }
                const std::string left = "(" + words[i - 3] + " " + words[i - 2] + " " + words[i - 1] + ")";
                const std::string right = words[i + 1].substr(0, words[i + 1].find_first_of(".,:"));
                REQUIRE(check_bbh::solve("multistep_arithmetic_two", left).answer == right);
                equations++;
            }
        }
        const bool counts =
            name == "multistep_arithmetic_two" || name == "object_counting" || name == "date_understanding";
        REQUIRE((equations > 100) == counts);
    });
}

TEST_CASE("what is left of an expression after a step has the value of the whole", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        const std::string name = family.name;
        if (name != "boolean_expressions" && name != "multistep_arithmetic_two") {
            return;
        }
        int64_t rest = 0;
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            for (size_t at = record.response.find(", so "); at != std::string::npos;
                 at = record.response.find(", so ", at + 1)) {
                const std::string left =
                    record.response.substr(at + 5, record.response.find('.', at) - at - 5);
                REQUIRE(check_bbh::solve(name, "(" + std::string(name[0] == 'b' ? " " : "") + left +
                                                   (name[0] == 'b' ? " )" : ")"))
                            .answer == record.output);
                rest++;
            }
        }
        REQUIRE(rest >= 200);
    });
}

TEST_CASE("every conclusion about a person and every state of the open brackets is right", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        const std::string name = family.name;
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            if (name == "web_of_lies") { // ask about the person that a step is about
                for (size_t at = record.response.find(", so "); at != std::string::npos;
                     at = record.response.find(", so ", at + 1)) {
                    const std::string said =
                        record.response.substr(at + 5, record.response.find('.', at) - at - 5);
                    const bool honest = ends_with(said, "truth") || ends_with(said, "honest");
                    const std::string asked = "Does " + words_of(said)[0] + " tell the truth?";
                    const size_t last = record.instruction.rfind(". ") + 2;
                    const std::string question = record.instruction.substr(0, last) + asked;
                    REQUIRE(check_bbh::solve(name, question).answer == (honest ? "Yes" : "No"));
                }
            } else if (name == "dyck_languages") { // close what was read so far
                std::string so_far;
                for (size_t at = record.response.find("Read "); at != std::string::npos;
                     at = record.response.find("Read ", at + 1)) {
                    so_far += record.response.substr(at + 4, 2);
                    const size_t state = record.response.find(": ", at) + 2;
                    std::string open =
                        record.response.substr(state, record.response.find('.', state) - state);
                    open = open == "nothing open" ? "" : open.substr(5);
                    std::string closers = check_bbh::solve(name, "Input:" + so_far).answer;
                    std::reverse(closers.begin(), closers.end());
                    for (char& c : closers) {
                        c = c == ')' ? '(' : c == ']' ? '[' : c == '}' ? '{' : c == '>' ? '<' : c;
                    }
                    REQUIRE(open == closers);
                }
            }
        }
    });
}

TEST_CASE("the step before the answer names what the chosen option says", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            const size_t option = record.instruction.find("\n" + record.output + " ");
            if (record.output[0] != '(' || option == std::string::npos) {
                continue;
            }
            const size_t begin = option + record.output.size() + 2;
            const std::string content =
                record.instruction.substr(begin, record.instruction.find('\n', begin) - begin);
            std::string steps = record.response.substr(0, record.response.find(kAnswerMark) - 2);
            const size_t last = steps.rfind(". ");
            steps = last == std::string::npos ? steps : steps.substr(last + 2);
            REQUIRE((" " + steps).find(" " + content) != std::string::npos);
        }
    });
}

TEST_CASE("the places of a walk follow from its steps", "[teacher_bbh]") {
    const std::map<std::string, std::pair<int64_t, int64_t>> sides = {
        {"forward", {0, 1}}, {"north", {0, 1}}, {"backward", {0, -1}}, {"south", {0, -1}},
        {"right", {1, 0}},   {"east", {1, 0}},  {"left", {-1, 0}},     {"west", {-1, 0}}};
    const std::map<std::string, int64_t> turns = {{"right:", 1}, {"around:", 2}, {"left:", 3}};
    const std::vector<std::string> compass = {"north", "east", "south", "west"};
    for_all([&](const Family& family, Setting setting) {
        if (family.name != std::string("navigate")) {
            return;
        }
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            int64_t x = 0, y = 0, facing = 0;
            const std::vector<std::string> words = words_of(record.response);
            for (size_t i = 0; words[i] != "The"; i++) {
                if (words[i] == "Turn") {
                    facing = (facing + turns.at(words[i + 1])) % 4;
                    REQUIRE(words[i + 3] == compass[static_cast<size_t>(facing)] + ".");
                } else if (std::isdigit(static_cast<unsigned char>(words[i][0])) != 0 &&
                           words[i].find(')') == std::string::npos) {
                    const std::string side = words[i + 1].substr(0, words[i + 1].size() - 1);
                    x += std::stoll(words[i]) * sides.at(side).first;
                    y += std::stoll(words[i]) * sides.at(side).second;
                    REQUIRE(words[i + 2] == "(" + std::to_string(x) + ",");
                    REQUIRE(words[i + 3] == std::to_string(y) + ").");
                    const bool turning = record.instruction.find("Turn ") != std::string::npos;
                    REQUIRE((!turning || side == compass[static_cast<size_t>(facing)]));
                }
            }
        }
    });
}

TEST_CASE("after every swap the rationale says who has what", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        if (family.name != std::string("tracking_shuffled_objects")) {
            return;
        }
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            // The question without the last sentence, and its options.
            const size_t options = record.instruction.find("\nOptions:");
            const size_t last = record.instruction.rfind(". ", options) + 2;
            size_t end = record.instruction.find(". ") + 2; // of what has happened so far
            size_t state = record.response.find(". ") + 2;
            while (end < last) {
                end = record.instruction.find(". ", end) + 2;
                state = record.response.find("swap: ", state) + 6;
                const std::string pairs =
                    record.response.substr(state, record.response.find('.', state) - state);
                const std::vector<std::string> words = words_of(pairs);
                for (size_t i = 0; i < words.size(); i += 2) {
                    const std::string thing = words[i + 1].substr(0, words[i + 1].find(','));
                    const std::string question = record.instruction.substr(0, end) + "At the end, " +
                                                 words[i] + " has the" + record.instruction.substr(options);
                    const std::string letter = check_bbh::solve(family.name, question).answer;
                    REQUIRE((record.instruction + "\n").find("\n" + letter + " " + thing + "\n") !=
                            std::string::npos);
                }
            }
        }
    });
}

TEST_CASE("an order that is written down holds every thing once, in its place", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        const std::string name = family.name;
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response);
            if (name == "logical_deduction") { // "...: a, b, c. The b is the leftmost. Therefore..."
                const size_t begin = record.response.rfind(": ") + 2;
                std::string chain =
                    record.response.substr(begin, record.response.find('.', begin) - begin) + ", ";
                const size_t fact = record.supplementary_knowledge.rfind("Number ") + 7;
                int64_t left = std::stoll(record.supplementary_knowledge.substr(fact));
                for (; left > 1; left--) {
                    chain = chain.substr(chain.find(", ") + 2);
                }
                const std::string thing = chain.substr(0, chain.find(", "));
                REQUIRE((record.instruction + "\n").find("\n" + record.output + " " + thing + "\n") !=
                        std::string::npos);
            } else if (name == "word_sorting") { // "In order: a apple, b bread."
                const size_t begin = record.response.find("In order: ") + 10;
                std::string words;
                const std::vector<std::string> listed =
                    words_of(record.response.substr(begin, record.response.find('.', begin) - begin));
                for (size_t i = 1; i < listed.size(); i += 2) {
                    REQUIRE(listed[i - 1] == listed[i].substr(0, 1));
                    words += (i == 1 ? "" : " ") + listed[i].substr(0, listed[i].find(','));
                }
                REQUIRE(words == record.output);
            }
        }
    });
}

TEST_CASE("a longer instance is larger than every normal one", "[teacher_bbh]") {
    for (const Family& family : bbh_families()) {
        INFO(family.name);
        int64_t largest_normal = 0;
        int64_t smallest_longer = INT64_MAX;
        for (const Setting setting : kSettings) {
            for (const Record& record : sample(family, setting)) {
                const int64_t size = check_bbh::solve(family.name, record.instruction).size;
                if (setting.length == Length::normal) {
                    largest_normal = std::max(largest_normal, size);
                } else {
                    smallest_longer = std::min(smallest_longer, size);
                }
            }
        }
        REQUIRE(largest_normal > 0);
        REQUIRE(smallest_longer > largest_normal);
    }
}

TEST_CASE("a record has the fields that training reads, and its response is judged right", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response << "\n" << record.summary);
            REQUIRE(record.task_name == family.name);
            REQUIRE(record.task_description == family.description);
            REQUIRE(ends_with(record.response, ". Therefore, the answer is " + record.output + "."));
            REQUIRE(record.response.find(kAnswerMark) == record.response.rfind(kAnswerMark));
            REQUIRE(record.summary == record.learning_summary + "\n" + record.supplementary_knowledge);
            REQUIRE(record.summary.find(kAnswerMark) == std::string::npos);
            REQUIRE(record.knowledge.size() == 2);
            REQUIRE(ends_with(record.knowledge[0], " . " + record.learning_summary));
            REQUIRE(ends_with(record.knowledge[1], " . " + record.supplementary_knowledge));
            REQUIRE((record.id.empty() && record.split.empty() && record.coverage.empty()));
            REQUIRE(
                (record.facts_needed.empty() && record.facts_stated.empty() && record.summarydec.empty()));
            for (const std::string& text : {record.instruction, record.response, record.summary}) {
                REQUIRE(text.find("  ") == std::string::npos);
                REQUIRE(text.find("..") == std::string::npos);
            }
        }
    });
}

TEST_CASE("texts stay short enough for a small model", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        std::set<std::string> learning;
        for (const Record& record : sample(family, setting)) {
            INFO(record.instruction << "\n" << record.response << "\n" << record.summary);
            const bool normal = setting.length == Length::normal;
            REQUIRE(words_of(record.instruction).size() <= (normal ? 45u : 110u));
            REQUIRE(words_of(record.response).size() <= (normal ? 50u : 180u));
            REQUIRE(words_of(record.supplementary_knowledge).size() <= 50);
            REQUIRE(words_of(record.supplementary_knowledge).size() >= 2);
            learning.insert(record.learning_summary);
        }
        REQUIRE(learning.size() == 1);
        REQUIRE(words_of(*learning.begin()).size() <= 30);
    });
}

TEST_CASE("results of normal arithmetic have at most three digits", "[teacher_bbh]") {
    for (const Family& family : bbh_families()) {
        if (family.name == std::string("multistep_arithmetic_two")) {
            for (const Record& record : sample(family, kSettings[0])) {
                REQUIRE(std::abs(std::stoll(record.output)) <= 999);
            }
        }
    }
}

TEST_CASE("every family has 300 different questions in every setting", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        std::set<std::string> questions;
        for (const Record& record : records_of(family, setting, 600, 5)) {
            questions.insert(record.instruction);
        }
        REQUIRE(questions.size() >= 300);
    });
}

TEST_CASE("the same seed makes the same record, another seed another", "[teacher_bbh]") {
    for_all([](const Family& family, Setting setting) {
        const Record a = records_of(family, setting, 3, 9).back();
        const Record b = records_of(family, setting, 3, 9).back();
        const Record c = records_of(family, setting, 3, 10).back();
        REQUIRE(a.instruction == b.instruction);
        REQUIRE(a.response == b.response);
        REQUIRE(a.summary == b.summary);
        REQUIRE(a.knowledge == b.knowledge);
        REQUIRE(a.instruction != c.instruction);
    });
}

TEST_CASE("a reworded question has another frame", "[teacher_bbh]") {
    // Its second to fourth word open no question of the other wording; the first may be a name.
    for (const Family& family : bbh_families()) {
        INFO(family.name);
        std::set<std::string> openings;
        const auto opening = [](const Record& record) {
            const std::vector<std::string> words = words_of(record.instruction);
            return words[1] + " " + words[2] + " " + words[3];
        };
        for (const Record& record : sample(family, kSettings[0])) {
            openings.insert(opening(record));
        }
        for (const Record& record : sample(family, kSettings[1])) {
            REQUIRE(openings.count(opening(record)) == 0);
        }
    }
}

TEST_CASE("answers to choose from are about equally frequent", "[teacher_bbh]") {
    // Five standard deviations of a count of n draws with probability p, so that a fair family never fails.
    for (const Family& family : bbh_families()) {
        for (const Setting setting : {kSettings[0], kSettings[1]}) {
            const std::vector<Record> records = records_of(family, setting, 900, 11);
            std::map<std::string, double> counts;
            for (const Record& record : records) {
                counts[record.output]++;
            }
            const bool letters = records[0].instruction.find("\nOptions:\n(A)") != std::string::npos;
            if (!letters && counts.size() != 2) {
                continue; // the answer is open
            }
            const double n = static_cast<double>(records.size());
            const double p = 1.0 / static_cast<double>(counts.size());
            for (const auto& [output, count] : counts) {
                INFO(family.name << ": " << output << " in " << count << " of " << n);
                REQUIRE(std::abs(count - n * p) <= 5.0 * std::sqrt(n * p * (1.0 - p)));
            }
        }
    }
}

TEST_CASE("the checker reads the published files whose format coincides and agrees with their targets",
          "[teacher_bbh]") {
    const std::vector<std::pair<std::string, std::string>> files = {
        {"boolean_expressions", "boolean_expressions"},
        {"multistep_arithmetic_two", "multistep_arithmetic_two"},
        {"navigate", "navigate"},
        {"object_counting", "object_counting"},
        {"tracking_shuffled_objects_three_objects", "tracking_shuffled_objects"},
        {"web_of_lies", "web_of_lies"},
        {"dyck_languages", "dyck_languages"},
        {"word_sorting", "word_sorting"}};
    for (const auto& [file, task] : files) {
        const std::vector<std::pair<std::string, std::string>> rows = published(file);
        if (rows.empty()) {
            std::printf("skipped: %s/data/bbh/%s.json is not there\n", shared_folder().c_str(), file.c_str());
            continue;
        }
        int64_t agreed = 0;
        for (const auto& [question, target] : rows) {
            std::string answer;
            try {
                answer = check_bbh::solve(task, question).answer;
            } catch (const Error& error) {
                answer = error.what();
            }
            agreed += answer == target ? 1 : 0;
        }
        const int64_t all = static_cast<int64_t>(rows.size());
        std::printf("published %s: the checker agrees with %lld of %lld\n", file.c_str(),
                    static_cast<long long>(agreed), static_cast<long long>(all));
        REQUIRE(agreed == all); // as measured
    }
}

TEST_CASE("no question is one of the published files", "[teacher_bbh]") {
    for (const Family& family : bbh_families()) {
        const std::string file = std::string(family.name) == "logical_deduction" ||
                                         std::string(family.name) == "tracking_shuffled_objects"
                                     ? std::string(family.name) + "_three_objects"
                                     : family.name;
        std::set<std::string> theirs;
        for (const auto& [question, target] : published(file)) {
            theirs.insert(question);
        }
        if (theirs.empty()) {
            std::printf("skipped: %s/data/bbh/%s.json is not there\n", shared_folder().c_str(), file.c_str());
            continue;
        }
        for (const Setting setting : kSettings) {
            for (const Record& record : sample(family, setting)) {
                REQUIRE(theirs.count(record.instruction) == 0);
            }
        }
    }
}
