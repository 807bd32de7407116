// pretrain_rules.cpp — lessons on invented rules: the knowledge says what a word does, a solution does it.
//
// These are the chains of several steps whose state changes: each step states the rule word for word, applies
// it, and writes the new state, so that the next step needs only what stands right before it.
#include "pretraining/pretrain.h"

#include <algorithm>

namespace skintern::pretrain {

namespace {

struct NumberRule {
    std::string name;
    int64_t factor; // 0: the rule adds
    int64_t added;
};

// "A brask adds 3 to the number." Then: "Begin with 5. Use brask, then glim."
Lesson number_rules(Rng& rng, Names& names, size_t count) {
    std::vector<NumberRule> rules;
    std::vector<std::string> facts;
    for (int64_t n = rng.between(4, 6); n > 0; n--) {
        const std::string name = names.noun();
        const int64_t k = rng.between(2, 9);
        if (rng.chance(0.25)) {
            const int64_t factor = rng.between(2, 4);
            rules.push_back({name, factor, 0});
            facts.push_back("A " + name + " multiplies the number by " + number(factor) + ".");
        } else if (rng.chance(0.6)) {
            rules.push_back({name, 0, k});
            facts.push_back("A " + name + " adds " + number(k) + " to the number.");
        } else {
            rules.push_back({name, 0, -k});
            facts.push_back("A " + name + " takes " + number(k) + " from the number.");
        }
    }
    Lesson lesson = {"Use the rules on a number.",
                     "Use the rules one after the other. Each rule changes the number.",
                     facts,
                     {}};
    while (lesson.exercises.size() < count) {
        int64_t value = rng.between(3, 20);
        Exercise e;
        e.steps = "The number is " + number(value) + ".";
        std::vector<std::string> used;
        int64_t lowest = value;
        int64_t highest = value;
        for (int64_t n = rng.between(1, 4); n > 0; n--) {
            const size_t k = index_below(rng, rules.size());
            const NumberRule& rule = rules[k];
            used.push_back(rule.name);
            e.needs.push_back(k);
            e.steps += " " + facts[k] + " ";
            e.steps += rule.factor > 0  ? times(rule.factor, value)
                       : rule.added > 0 ? plus(value, rule.added)
                                        : minus(value, -rule.added);
            if (e.question.empty()) {
                e.question = "Begin with " + number(value) + ". Use ";
            }
            value = rule.factor > 0 ? rule.factor * value : value + rule.added;
            lowest = std::min(lowest, value);
            highest = std::max(highest, value);
        }
        if (lowest < 0 || highest > 120) {
            continue;
        }
        e.question += joined(used, ", then ") + ". What is the number now?";
        e.answer = number(value);
        e.others = near_numbers(rng, value);
        lesson.exercises.push_back(e);
    }
    return lesson;
}

// "A brask reverses the list." The list is written down after each rule.
Lesson list_rules(Rng& rng, Names& names, size_t count) {
    static const std::vector<std::string> effects = {
        "turns the list around",  "puts the first word at the end", "puts the last word at the front",
        "removes the first word", "removes the last word",          "adds the first word again at the end"};
    const std::vector<size_t> kinds = draw_indices(rng, effects.size(), 4);
    std::vector<std::string> rules;
    Lesson lesson = {"Use the rules on a list of words.",
                     "Use the rules in order and write the list after each one.",
                     {},
                     {}};
    for (const size_t kind : kinds) {
        rules.push_back(names.noun());
        lesson.facts.push_back("A " + rules.back() + " " + effects[kind] + ".");
    }
    for (size_t i = 0; i < count; i++) {
        std::vector<std::string> list = different_words(rng, 4 + index_below(rng, 2));
        Exercise e;
        e.question = "The list is " + joined(list, ", ") + ". Use ";
        e.steps = "The list is " + joined(list, ", ") + ".";
        std::vector<std::string> used;
        for (int64_t n = rng.between(1, 3); n > 0; n--) {
            const size_t k = index_below(rng, rules.size());
            switch (kinds[k]) {
            case 0:
                std::reverse(list.begin(), list.end());
                break;
            case 1:
                std::rotate(list.begin(), list.begin() + 1, list.end());
                break;
            case 2:
                std::rotate(list.begin(), list.end() - 1, list.end());
                break;
            case 3:
                list.erase(list.begin());
                break;
            case 4:
                list.pop_back();
                break;
            default:
                list.push_back(list.front());
            }
            used.push_back(rules[k]);
            e.needs.push_back(k);
            e.steps += " " + lesson.facts[k] + " Now the list is " + joined(list, ", ") + ".";
        }
        e.question += joined(used, ", then ") + ". What is the list now?";
        e.answer = joined(list, ", ");
        lesson.exercises.push_back(e);
    }
    return lesson;
}

// "Every brask is a glim." From a kind to a wider kind, until the one asked for or the end.
Lesson kinds_of_things(Rng& rng, Names& names, size_t count) {
    std::vector<std::vector<std::string>> lines(2);
    std::vector<std::vector<size_t>> fact_of(2); // fact_of[l][k]: fact from lines[l][k] to lines[l][k + 1]
    Lesson lesson = {"Say whether the last sentence follows.",
                     "Go from kind to kind. If the kind in question comes up, answer Yes, else No.",
                     {},
                     {}};
    for (size_t l = 0; l < 2; l++) {
        const size_t length = 4 + index_below(rng, 2);
        while (lines[l].size() < length) {
            lines[l].push_back(names.noun());
        }
        for (size_t k = 0; k + 1 < length; k++) {
            fact_of[l].push_back(lesson.facts.size());
            lesson.facts.push_back("Every " + lines[l][k] + " is a " + lines[l][k + 1] + ".");
        }
    }
    for (size_t i = 0; i < count; i++) {
        const size_t l = index_below(rng, 2);
        const std::vector<std::string>& line = lines[l];
        const size_t from = index_below(rng, line.size() - 1);
        const bool follows = rng.chance(0.5);
        const size_t to = follows ? from + 1 + index_below(rng, line.size() - 1 - from) : line.size() - 1;
        const std::string name = names.person();
        const std::string wanted = follows ? line[to] : rng.pick(lines[1 - l]);
        Exercise e;
        e.question = name + " is a " + line[from] + ". Is " + name + " a " + wanted + "?";
        e.steps = name + " is a " + line[from] + ".";
        for (size_t k = from; k < to; k++) {
            e.steps += " " + lesson.facts[fact_of[l][k]] + " " + name + " is a " + line[k + 1] + ".";
            e.needs.push_back(fact_of[l][k]);
        }
        e.steps += follows ? "" : " No fact says more.";
        e.answer = follows ? "Yes" : "No";
        e.others = {"Yes", "No"};
        lesson.exercises.push_back(e);
    }
    return lesson;
}

} // namespace

const std::vector<LessonFamily>& rule_lessons() {
    static const std::vector<LessonFamily> families = {
        {"number_rules", 7, number_rules},
        {"list_rules", 4, list_rules},
        {"kinds_of_things", 5, kinds_of_things},
    };
    return families;
}

} // namespace skintern::pretrain
