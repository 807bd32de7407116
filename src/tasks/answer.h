// answer.h — reading an answer out of generated text and comparing it with the gold one.
//
// The rules are those of docs/method.md ("Evaluation"), numbered as there; they follow the scorer that the authors of
// SKIntern published, with the departures that docs/method.md marks.
#pragma once

#include <string>

namespace skintern {

struct Answer {
    std::string text;    // what the marker rules left, stripped, without final full stops, lower-case
    std::string choice;  // "(a)", or empty
    std::string content; // what the choice says, or the whole text without one
};

struct Verdict {
    bool correct = false; // by the lenient rules (the headline)
    bool strict = false;  // correct, and written as MARK followed by the answer
    bool readable = false; // an answer could be read at all
    Answer answer, gold;
};

// The phrase that every rationale ends with; followed by " A.".
inline constexpr const char* kAnswerMark = "Therefore, the answer is";

Verdict judge(const std::string& task_name, const std::string& question, const std::string& gold,
              const std::string& generated);

} // namespace skintern
