// pretrain.h — the parts that pre-training documents are built from.
//
// A base model of 2 million parameters must learn, from some 15 million tokens, to use knowledge that
// stands in its prompt. A small trial before this project found that tasks alone do not teach it to find a
// fact, and that plain repetition does: a sequence said twice gives a signal at every token of the second
// copy. So a good third of the documents repeats, about half are tasks with their knowledge, and the rest
// drills format and arithmetic.
//
// Every document has its own names and its own facts, so nothing can be learned by heart but the language.
// None of the families here is a family of teacher.h, and none of their sentences occurs; only the shape is
// shared, as it is in all text ("The height of the Orla tower is 14 feet.").
//
//   Names -> Topic (a relation: height of a tower) -> Statement (one fact) -> Lesson (a task) -> Document
//
// Files: pretrain_world.cpp (words, names, facts), pretrain_facts.cpp, pretrain_rules.cpp and
// pretrain_lists.cpp (lessons on facts, on invented rules, on lists and numbers), pretrain_repetition.cpp
// (repetition and drills), pretrain_text.cpp (layout of prompts, the mix).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "support/rng.h"

namespace skintern::pretrain {

// ---- words and names (pretrain_world.cpp) -----------------------------------------------------------------

enum class Pool {
    things,
    colours,
    materials,
    tastes,
    animals,
    fruits,
    jobs,
    tools,
    months,
    days,
    places,
    qualities,
    marks
};
const std::vector<std::string>& words_of(Pool pool);

// Invented names, no two alike within a document.
class Names {
public:
    explicit Names(Rng& rng) : rng_(rng) {}
    std::string person(); // "Tolvar", at times a common name: "Hanna"
    std::string place();  // "Velmok"
    std::string noun();   // "brask"
private:
    std::string invent(bool capital);
    Rng& rng_;
    std::vector<std::string> used_;
};

std::string random_sentence(Rng& rng, Names& names); // "After the rain Hanna opens the old door."
std::string joined(const std::vector<std::string>& parts, const std::string& between);
std::vector<std::string> different_words(Rng& rng, size_t count); // common words, no two alike

size_t index_below(Rng& rng, size_t n);
std::vector<size_t> draw_indices(Rng& rng, size_t n, size_t k); // k different ones below n, in random order
std::string number(int64_t value);
int64_t small_number(Rng& rng, int64_t most); // 2..most, mostly below 20
std::vector<std::string> near_numbers(Rng& rng, int64_t right);
std::string plus(int64_t a, int64_t b); // "14 plus 9 is 23."
std::string minus(int64_t a, int64_t b);
std::string times(int64_t a, int64_t b);
std::string comparison(int64_t a, int64_t b); // "14 is more than 9.", "less than", "equal to"

// ---- facts (pretrain_world.cpp) ---------------------------------------------------------------------------

// Tolm | Arn | a brask | the Orla tower | from Arn to Velm
enum class Entity { any, person, place, thing, object, pair };
enum class Value { any, number, person, place, word };

struct Topic {
    std::string relation;    // "height", "number of pages"
    std::string preposition; // "of", "in"; a pair brings its own
    Entity entity;
    std::string noun; // of an object: "tower"
    Value value;
    std::string unit; // of a number, may be empty
    Pool pool;        // of a word
};

struct Statement {
    std::string entity;   // "the Orla tower"
    std::string about;    // "the height of the Orla tower"
    std::string answer;   // "14"
    int64_t number;       // of a number, else 0
    std::string sentence; // "The height of the Orla tower is 14 feet."
};

// A topic of the wanted kinds: from the table of some sixty, or with an invented relation word.
Topic draw_topic(Rng& rng, Names& names, Entity entity, Value value);
std::string draw_entity(Rng& rng, Names& names, const Topic& topic);
Statement state(const Topic& topic, const std::string& entity, const std::string& answer);
// `count` statements on different entities; numbers are 2..most. `different`: no two answers are alike.
std::vector<Statement> draw_statements(Rng& rng, Names& names, const Topic& topic, size_t count, int64_t most,
                                       bool different);
std::vector<Statement> draw_statements_on(Rng& rng, Names& names, const Topic& topic,
                                          const std::vector<std::string>& entities, int64_t most,
                                          bool different);

// ---- lessons ----------------------------------------------------------------------------------------------

struct Exercise {
    std::string question;
    std::string steps;               // the solution up to the last sentence
    std::string answer;              // the last sentence is "Therefore, the answer is <answer>."
    std::vector<size_t> needs;       // facts of the lesson that the solution states
    std::vector<std::string> others; // wrong answers, for options to choose from; empty: no options
};

// One task in one world.
struct Lesson {
    std::string description;        // T
    std::string summary;            // the procedure
    std::vector<std::string> facts; // sentences; empty for lessons on lists
    std::vector<Exercise> exercises;
};

struct LessonFamily {
    const char* name;
    double weight; // relative to the other families of its file
    Lesson (*make)(Rng& rng, Names& names, size_t exercises);
};

const std::vector<LessonFamily>& fact_lessons(); // pretrain_facts.cpp
const std::vector<LessonFamily>& rule_lessons(); // pretrain_rules.cpp
const std::vector<LessonFamily>& list_lessons(); // pretrain_lists.cpp

// ---- documents --------------------------------------------------------------------------------------------

enum class Kind { repetition, knowledge, question_only, arithmetic };

struct Document {
    Kind kind;
    std::string family; // name of the lesson family, or of the sort of repetition; empty for drills
    bool shortened;     // the knowledge has lost small words ("height Orla tower 14 feet")
    std::string text;
};

Document repetition_document(Rng& rng); // pretrain_repetition.cpp
Document arithmetic_document(Rng& rng);

// What pretraining_document (teacher.h) returns the text of.
Document make_document(uint64_t seed, int64_t index);

int64_t count_words(const std::string& text);

// An index drawn in proportion to weight(0), ..., weight(n - 1).
template <class Weight>
size_t draw_by_weight(Rng& rng, size_t n, Weight weight) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        total += weight(i);
    }
    double left = rng.uniform() * total;
    for (size_t i = 0; i + 1 < n; i++) {
        left -= weight(i);
        if (left < 0) {
            return i;
        }
    }
    return n - 1;
}

} // namespace skintern::pretrain
