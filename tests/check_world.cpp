// check_world.cpp — see check_world.h.
#include "check_world.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <regex>
#include <set>
#include <stdexcept>

namespace {

using Match = std::vector<std::string>;

// Every match in order, as its groups: [0] the whole, [1] the first bracket, ...
std::vector<Match> all_matches(const std::string& text, const std::string& pattern) {
    static std::map<std::string, std::regex> compiled; // which takes far longer than to search a question
    const std::regex& regex = compiled.try_emplace(pattern, pattern).first->second;
    std::vector<Match> out;
    for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
        out.emplace_back(it->begin(), it->end());
    }
    return out;
}

// The one match of a pattern that must be there exactly once.
Match one_match(const std::string& text, const std::string& pattern) {
    const std::vector<Match> found = all_matches(text, pattern);
    if (found.size() != 1) {
        throw std::runtime_error("'" + pattern + "' stands not once in: " + text);
    }
    return found.front();
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

} // namespace

WorldReader::WorldReader(const std::vector<std::string>& sentences) {
    for (const std::string& sentence : sentences) {
        const Match match = one_match(sentence, "^The (.+) is (\\w+)( coins| miles)?\\.$");
        if (!told_.emplace(match[1], Told{match[2], sentence}).second) {
            throw std::runtime_error("told twice: " + match[1]);
        }
    }
}

std::string WorldReader::look_up(const std::string& about, Answer& answer) const {
    const auto found = told_.find(about);
    if (found == told_.end()) {
        throw std::runtime_error("no sentence tells the " + about);
    }
    std::vector<std::string>& used = answer.sentences;
    if (std::find(used.begin(), used.end(), found->second.sentence) == used.end()) {
        used.push_back(found->second.sentence);
    }
    return found->second.value;
}

int64_t WorldReader::number(const std::string& about, Answer& answer) const {
    return std::stoll(look_up(about, answer));
}

WorldReader::Answer WorldReader::answer(const std::string& family, const std::string& question) const {
    static const std::map<std::string, void (WorldReader::*)(const std::string&, Answer&) const> readers = {
        {"world_facts", &WorldReader::facts},         {"world_prices", &WorldReader::prices},
        {"world_distances", &WorldReader::distances}, {"world_kinship", &WorldReader::kinship},
        {"world_calendar", &WorldReader::calendar},   {"world_units", &WorldReader::units}};
    Answer answer;
    (this->*readers.at(family))(question, answer);
    return answer;
}

// "What is the price of a dortem?", "How many coins does a dortem cost?", two of the first kind.
void WorldReader::facts(const std::string& question, Answer& answer) const {
    std::vector<std::pair<size_t, std::string>> asked; // where it stands, what
    for (const auto& [about, told] : told_) {
        const size_t begin = question.find("the " + about);
        const size_t end = begin + 4 + about.size();
        if (begin != std::string::npos &&
            (end == question.size() || !std::isalnum(static_cast<unsigned char>(question[end])))) {
            asked.emplace_back(begin, about);
        }
    }
    std::sort(asked.begin(), asked.end());
    const std::vector<std::pair<std::string, std::string>> other_words = {
        {"^How many coins does a (\\w+) cost\\?$", "price of a $1"},
        {"^How many miles is it from (\\w+) to (\\w+)\\?$", "distance from $1 to $2"},
        {"^In which month does the (\\w+) feast fall\\?$", "month of the $1 feast"},
        {"^Which place does (\\w+) have in the year\\?$", "place of $1"},
        {"^How many (\\w+) does a (\\w+) hold\\?$", "number of $1 in a $2"},
        {"^Whom does (\\w+) have as a (\\w+)\\?$", "$2 of $1"}};
    for (const auto& [pattern, about] : other_words) {
        if (asked.empty() && !all_matches(question, pattern).empty()) {
            asked.emplace_back(0, std::regex_replace(question, std::regex(pattern), about));
        }
    }
    if (asked.empty() || asked.size() > 2) {
        throw std::runtime_error("not one or two facts are asked in: " + question);
    }
    answer.text = look_up(asked[0].second, answer);
    if (asked.size() == 2) {
        const std::string second = look_up(asked[1].second, answer);
        const bool sum = contains(question, " plus ") || contains(question, "Add ");
        answer.text = sum ? std::to_string(std::stoll(answer.text) + std::stoll(second))
                          : answer.text + " and " + second;
    }
}

// "... 2 dortems, 3 glivams, and 4 kelzuns ..."
void WorldReader::prices(const std::string& question, Answer& answer) const {
    int64_t total = 0;
    for (const Match& match : all_matches(question, "(\\d+) (\\w+)s\\b")) {
        total += std::stoll(match[1]) * number("price of a " + match[2], answer);
    }
    answer.text = std::to_string(total);
}

// "A cart has gone 5 miles and goes on from A to B to C." "After 5 miles ... from A to B and from B to C."
void WorldReader::distances(const std::string& question, Answer& answer) const {
    int64_t miles = std::stoll(one_match(question, "(\\d+) miles")[1]);
    std::vector<std::string> towns;
    for (const Match& match : all_matches(question, "from (\\w+)((?: to \\w+)+)")) {
        if (!towns.empty() && towns.back() != match[1]) {
            throw std::runtime_error("the roads do not join in: " + question);
        }
        towns.push_back(match[1]);
        for (const Match& next : all_matches(match[2], " to (\\w+)")) {
            miles += number("distance from " + towns.back() + " to " + next[1], answer);
            towns.push_back(next[1]);
        }
    }
    if (std::set<std::string>(towns.begin(), towns.end()).size() < 3) {
        throw std::runtime_error("fewer than three towns in: " + question);
    }
    answer.text = std::to_string(miles);
}

// "Who is the mother of the father of Tolmok?" names the last relative first; "Tolmok has a father. Who is
// the mother of this father?" the first one first and each but the last twice, when it has it and when it is
// asked about.
void WorldReader::kinship(const std::string& question, Answer& answer) const {
    const std::string relative = "\\b(mother|father|godmother)\\b";
    std::vector<std::string> steps;
    std::string person;
    if (contains(question, " has a ")) {
        const std::vector<Match> had = all_matches(question, "has a " + relative);
        for (const Match& match : had) {
            steps.push_back(match[1]);
        }
        const std::string last = question.substr(question.find(". ") + 2);
        const std::vector<Match> asked = all_matches(last, relative);
        const bool of_first = contains(last, "'s "); // "this father's mother"
        steps.push_back(asked.at(of_first ? 1 : 0)[1]);
        if (asked.size() != 2 || asked[of_first ? 0 : 1][1] != had.back()[1]) {
            throw std::runtime_error("it is not clear whose relative is asked for in: " + question);
        }
        person = question.substr(0, question.find(' '));
    } else {
        for (const Match& match : all_matches(question, relative)) {
            steps.insert(steps.begin(), match[1]);
        }
        person = one_match(question.substr(1), "\\b([A-Z]\\w+)")[1]; // but for the first word of the question
    }
    for (const std::string& step : steps) {
        person = look_up(step + " of " + person, answer);
    }
    answer.text = person;
}

// "... 5 months ... from the A feast to the B feast and from the C feast to the D feast ..."
void WorldReader::calendar(const std::string& question, Answer& answer) const {
    int64_t months = std::stoll(one_match(question, "(\\d+) months")[1]);
    const std::vector<Match> spans = all_matches(question, "from the (\\w+) feast to the (\\w+) feast");
    std::vector<std::string> places;
    for (const Match& span : spans) {
        places.push_back("place of " + look_up("month of the " + span[1] + " feast", answer));
        places.push_back("place of " + look_up("month of the " + span[2] + " feast", answer));
    }
    for (size_t i = 0; i < places.size(); i += 2) {
        const int64_t first = number(places[i], answer);
        const int64_t second = number(places[i + 1], answer);
        if (first >= second) {
            throw std::runtime_error("the feasts are not in the order of the year: " + question);
        }
        months += second - first;
    }
    answer.text = std::to_string(months);
}

// "How many peldoks are 3 kelvams?" "Someone trades 3 kelvams for peldoks. ..."
void WorldReader::units(const std::string& question, Answer& answer) const {
    const Match large = one_match(question, "(\\d+) (\\w+)s\\b");
    const bool usual = contains(question, "How many ");
    const std::string small = one_match(question, usual ? "How many (\\w+)s " : "for (\\w+)s\\.")[1];
    int64_t count = std::stoll(large[1]);
    std::string unit = large[2];
    while (unit != small) {
        const auto next = std::find_if(told_.begin(), told_.end(), [&](const auto& told) {
            return !all_matches(told.first, "^number of \\w+s in a " + unit + "$").empty();
        });
        if (next == told_.end()) {
            throw std::runtime_error(large[2] + " has no part named " + small);
        }
        count *= number(next->first, answer);
        unit = one_match(next->first, "number of (\\w+)s in a ")[1];
    }
    answer.text = std::to_string(count);
}
