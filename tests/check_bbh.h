// check_bbh.h — solves a question of the families in the manner of BIG-Bench Hard from its text alone.
//
// It is the oracle of the teacher: it shares no code with src/tasks/teacher_*.cpp and solves by other means where
// there are any (truth by trying every assignment, orders by trying every permutation, brackets by crossing
// out pairs, dates by day numbers). It reads both wordings of the teacher and, for the families whose format
// coincides, the published files.
#pragma once

#include <cstdint>
#include <string>

namespace skintern::check_bbh {

struct Solved {
    std::string answer;
    int64_t size; // what grows in a longer instance: operands, people, things, moves, swaps, ...
};

// Throws Error when the question cannot be read or has not exactly one answer.
Solved solve(const std::string& task, const std::string& question);

// The families of check_bbh_tables.cpp; solve() calls them.
Solved date_understanding(const std::string& question);
Solved temporal_sequences(const std::string& question);
Solved reasoning_about_colored_objects(const std::string& question);
Solved penguins_in_a_table(const std::string& question);

} // namespace skintern::check_bbh
