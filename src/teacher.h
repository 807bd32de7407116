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

#include "rng.h"
#include "task.h"

namespace skintern {

enum class Length { normal, longer }; // longer: more steps or objects than any training instance ever has
enum class Wording { usual, reworded };

// The invented world: facts drawn from a seed, fixed for a run. Each fact has an id, a sentence, and is or is not
// allowed in training responses.
struct Fact {
    std::string id;       // "price:brask"
    std::string sentence; // "The price of a brask is 7 coins."
    bool covered;         // training questions may need (and their responses state) it
};

struct World {
    explicit World(uint64_t seed);
    std::vector<Fact> facts; // every fact, in a fixed order
    const Fact& fact(const std::string& id) const;
    // Typed tables that the families and the checkers compute with.
    std::map<std::string, int64_t> price, distance, unit; // see teacher_world.cpp for the keys
    std::map<std::string, std::string> mother, month;     // child -> mother, festival -> month
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
std::vector<Family> world_families(); // teacher_world.cpp

struct DataConfig {
    uint64_t seed = 1;
    std::vector<std::string> tasks; // family names; empty: all
    int64_t train = 48;             // rows a seen family
    int64_t validation = 4;         // rows a seen family, for the internalization meter
    int64_t test = 24;              // rows a family in each test split that it belongs to
};

// The splits by name: train, validation, test (in domain), longer, unseen, reworded. No question stands in two splits
// or twice in one. Throws Error when a family cannot make that many different questions.
std::map<std::string, std::vector<Record>> make_splits(const DataConfig& config, const World& world);

// Pre-training text for the base model: documents from families of its own, in random worlds of their own, so that no
// test family leaks into it. Each document is made from (seed, index) alone.
std::string pretraining_document(uint64_t seed, int64_t index);

} // namespace skintern
