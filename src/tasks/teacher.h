// teacher.h — a teacher that is never wrong: task families whose instances are generated with their solution.
//
// Each family makes a question, solves it by rule, and writes the step-by-step rationale that ends
// "Therefore, the answer is X.", a learning summary (the procedure of the task, the same for every instance) and
// supplementary knowledge (the facts this question needs). Families of the invented world rest on facts that stand
// nowhere else; see World.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/rng.h"
#include "tasks/task.h"

namespace skintern {

enum class Length { normal, longer }; // longer: more steps or objects than any training instance ever has
enum class Wording { usual, reworded };

// The invented world: facts drawn from a seed, fixed for a run. Every fact is one sentence of the same shape,
// "The <about> is <value>.", and is or is not allowed in training responses.
struct Fact {
    std::string id;       // "price:dortem"
    std::string table;    // prices | distances | kinship | calendar | units
    std::string relation; // price, distance, mother, father, godmother, month, place, unit; begins the id
    std::string from;     // of whom or what: "dortem"; of a road the town where it begins
    std::string to;       // mother, month, town where a road ends, smaller unit; empty where there is no name
    int64_t number;       // coins, miles, units, place in the year; 0 when the value is the name `to`
    std::string about;    // "price of a dortem"
    std::string sentence; // "The price of a dortem is 7 coins."
    bool covered;         // training questions may need (and their responses state) it

    std::string value() const { return number == 0 ? to : std::to_string(number); }
    // Whether it is told of what `first` leads to: the next road, a relative's relative, the next unit.
    bool follows(const Fact& first) const { return !first.to.empty() && from == first.to; }
};

struct World {
    explicit World(uint64_t seed);
    std::vector<Fact> facts; // every fact, in a fixed order, table by table
    const Fact& fact(const std::string& id) const;
};

struct Family {
    const char* name;        // as in the published files where there is one: "navigate"
    const char* description; // T
    bool world;              // rests on facts of the invented world
    bool seen;               // trained on; the others make the `unseen` test split
    // Makes one instance. `need_uncovered`: the question must need at least one uncovered fact (world families only);
    // otherwise it needs covered facts only.
    Record (*make)(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered);
};

// All families in a fixed order: those in the manner of BIG-Bench Hard first, then those of the invented world.
const std::vector<Family>& families();
std::vector<Family> bbh_families();   // teacher_bbh.cpp
std::vector<Family> world_families(); // teacher_world_families.cpp

struct DataConfig {
    uint64_t seed = 1;
    std::vector<std::string> tasks; // family names; empty: all
    int64_t train = 48;             // rows a seen family
    int64_t validation = 4;         // rows a seen family, for the search for a rate and the internalization meter
    int64_t test = 24;              // rows a family in each test split that it belongs to
    int64_t fresh = 0;              // rows a seen family of new questions, whose answers no method may learn from
};

// The splits by name: train, validation, test (in domain), longer, unseen, reworded, fresh. No question stands in two splits
// or twice in one. Throws Error when a family cannot make that many different questions.
std::map<std::string, std::vector<Record>> make_splits(const DataConfig& config, const World& world);

// The knowledge that a retriever searches: the procedure of each family that is trained on (as their passages have it), and
// every fact of the world, six of a table to a passage: "Prices . The price of a dortem is 7 coins. ..."
std::vector<std::string> knowledge_corpus(const World& world, const std::vector<Record>& train);

// Pre-training text for the base model: documents from families of its own, in random worlds of their own, so that no
// test family leaks into it. Each document is made from (seed, index) alone.
std::string pretraining_document(uint64_t seed, int64_t index);

} // namespace skintern
