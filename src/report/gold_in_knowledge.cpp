// gold_in_knowledge.cpp — see gold_in_knowledge.h.
#include "report/gold_in_knowledge.h"

#include <cctype>
#include <filesystem>
#include <map>

#include "support/files.h"
#include "tasks/answer.h"

namespace skintern {

namespace {

constexpr const char* kDataSplits[] = {"train", "validation", "test", "longer", "unseen", "reworded"};

bool is_digit(char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
}
// Bytes of other scripts are letters.
bool is_wordy(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

// Lower-case, white space as single spaces.
std::string folded(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const unsigned char byte = static_cast<unsigned char>(c);
        if (std::isspace(byte) == 0) {
            out += static_cast<char>(std::tolower(byte));
        } else if (!out.empty() && out.back() != ' ') {
            out += ' ';
        }
    }
    return out.substr(0, out.find_last_not_of(' ') + 1);
}

char at_or_space(const std::string& text, size_t position) {
    return position < text.size() ? text[position] : ' ';
}

// Whether a word ends between positions end - 1 and end: "3" does not in "3.5", but in "3. 5".
bool ends_at(const std::string& text, size_t end) {
    const char last = text[end - 1], next = at_or_space(text, end);
    const bool goes_on =
        (next == '.' || next == ',') && is_digit(last) && is_digit(at_or_space(text, end + 1));
    return !is_wordy(last) || (!is_wordy(next) && !goes_on);
}

bool begins_at(const std::string& text, size_t begin) {
    if (begin == 0 || !is_wordy(text[begin])) {
        return true;
    }
    const char before = text[begin - 1];
    const bool goes_on =
        (before == '.' || before == ',') && is_digit(text[begin]) && begin > 1 && is_digit(text[begin - 2]);
    const bool negative =
        before == '-' && is_digit(text[begin]) && (begin == 1 || !is_wordy(text[begin - 2]));
    return !is_wordy(before) && !goes_on && !negative;
}

} // namespace

bool holds_phrase(const std::string& text, const std::string& phrase) {
    const std::string in = folded(text), wanted = folded(phrase);
    if (wanted.empty()) {
        return false;
    }
    for (size_t at = in.find(wanted); at != std::string::npos; at = in.find(wanted, at + 1)) {
        if (begins_at(in, at) && ends_at(in, at + wanted.size())) {
            return true;
        }
    }
    return false;
}

bool knowledge_holds_answer(const Record& record) {
    const Answer gold = judge(record.task_name, record.instruction, record.output, "").gold;
    return holds_phrase(record.summary, gold.content);
}

GoldInKnowledge look_for_gold(const std::string& run_dir) {
    GoldInKnowledge found;
    for (const std::string split : kDataSplits) {
        const std::string path = run_dir + "/data/" + split + ".jsonl";
        if (!file_exists(path) || std::filesystem::is_empty(path)) { // not every family is in every split
            continue;
        }
        std::map<std::string, GoldCount> by_family;
        for (const Record& record : read_records(path)) {
            const bool held = knowledge_holds_answer(record);
            GoldCount& count = by_family[record.task_name];
            count.rows++;
            count.held += held;
            if (!held) {
                found.not_held.insert(split + "/" + record.id);
            }
        }
        for (auto& [family, count] : by_family) {
            found.counts.push_back({split, family, count.rows, count.held});
        }
    }
    return found;
}

} // namespace skintern
