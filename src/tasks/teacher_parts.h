// teacher_parts.h — what the task families share: how an instance becomes a record, and small pieces of
// English.
//
// A family works out an Instance (question, one sentence a step, facts, answer); make_record puts it into the
// fields of a Record, so that every family's response ends "Therefore, the answer is X." with X exactly the
// output.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/teacher.h"

namespace skintern {

// What all instances of one family have in common.
struct TaskText {
    const char* name;        // "navigate"
    const char* title;       // of its passages: "Walking back to the start"
    const char* description; // T
    const char* learning;    // the learning summary: the procedure of the task
};

// What one instance has for itself.
struct Instance {
    std::string question;
    std::vector<std::string> steps; // the rationale, one sentence a step, before the answer
    std::vector<std::string> facts; // supplementary knowledge, one sentence each
    std::string answer;             // "(B)", "14", "Yes"
};

// Fills every field that the family knows; id, split, coverage and the lists of facts are left empty.
Record make_record(const TaskText& text, const Instance& instance);

// A family that needs nothing of the invented world.
Family bbh_family(const TaskText& text, bool seen, Record (*make)(Rng&, const World&, Length, Wording, bool));

// The families of one theme each, in the order of bbh_families().
std::vector<Family> expression_families(); // teacher_expressions.cpp
std::vector<Family> logic_families();      // teacher_logic.cpp
std::vector<Family> move_families();       // teacher_moves.cpp
std::vector<Family> list_families();       // teacher_lists.cpp
std::vector<Family> time_families();       // teacher_time.cpp
std::vector<Family> table_families();      // teacher_tables.cpp

// -----------------------------------------------------------------------------------------------------------
// Pieces of English

std::string join(const std::vector<std::string>& parts, const std::string& between);
std::string and_list(const std::vector<std::string>& parts); // "a", "a and b", "a, b, and c"
std::string number_word(int64_t n);                          // 1..12 in letters, other numbers in digits
std::string ordinal_word(int64_t n);                         // "first".."seventh"
std::string article(const std::string& noun);                // "a" or "an", by the first letter
std::string with_article(const std::string& noun);           // "an otter"
std::string plural(const std::string& noun);                 // regular nouns only: "foxes", "cherries"
std::string capitalised(std::string text);

// -----------------------------------------------------------------------------------------------------------
// Multiple choice

std::string option_letter(size_t index);                            // 0 -> "(A)"
std::string options_block(const std::vector<std::string>& options); // "\nOptions:\n(A) x\n(B) y"
size_t index_of(const std::vector<std::string>& list, const std::string& element); // it must be in the list

// Short first names that no other list of the teacher holds.
const std::vector<std::string>& people();

} // namespace skintern
