// gold_in_knowledge.h — does the knowledge that a question comes with hold its answer?
//
// A prompt whose knowledge names the answer asks for less than reasoning. Looked for is the gold answer (of a
// choice what it says) in the record's `summary`, as whole words: "7" is not in "17", nor "tan" in "tank".
// That a word stands there by chance, as "True" does in a rule about truth, counts as well: the share is an
// upper bound.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tasks/task.h"

namespace skintern {

// Whether `phrase` stands in `text` as whole words, upper and lower case alike, with any white space between
// words. A point or comma within a number is part of it.
bool holds_phrase(const std::string& text, const std::string& phrase);

bool knowledge_holds_answer(const Record& record);

struct GoldCount {
    std::string split, family;
    int64_t rows = 0;
    int64_t held = 0; // of these, with the answer in their knowledge
};

struct GoldInKnowledge {
    std::vector<GoldCount> counts;  // by split, then family
    std::set<std::string> not_held; // questions without it, "test/navigate-3"
};

// Over RUN/data/<split>.jsonl; a split without a file is left out. Throws Error naming file, line and field.
GoldInKnowledge look_for_gold(const std::string& run_dir);

} // namespace skintern
