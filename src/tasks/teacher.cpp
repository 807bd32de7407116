// teacher.cpp — from task families to data: train, validation, and the test splits that are kept apart.
//
//   split       families  length  wording   facts of the invented world
//   train       seen      normal  usual     covered
//   validation  seen      normal  usual     covered
//   test        seen      normal  usual     even rows covered, odd rows at least one uncovered
//   longer      seen      longer  usual     as test
//   reworded    seen      normal  reworded  as test, mostly the same questions
//   unseen      others    normal  usual     as test
//   fresh       seen      normal  usual     as test; a method may train on the question, not on its answer
//
// Row r of a split is drawn from Rng(seed, "family/split/r/attempt"), attempt after attempt until the
// question is new.
//
// The first training rows (kFirstRows) are drawn before the test splits, chosen to state as many covered facts as they can,
// and the others after them. So the number of training rows changes no test row, and a smaller training
// set is the beginning of a larger one.
//
// Two rules keep memory apart from understanding. No question text is used twice in a family. And a training
// row never has the same answer from the same facts (two or more) as a row of another split: a test question
// about the mother of Tolmok's father is not a training question about her in other words.
#include "tasks/teacher.h"

#include <algorithm>
#include <set>

#include "support/check.h"
#include "tasks/teacher_parts.h"

namespace skintern {

const std::vector<Family>& families() {
    static const std::vector<Family> all = [] {
        std::vector<Family> list = bbh_families();
        for (const Family& family : world_families()) {
            list.push_back(family);
        }
        return list;
    }();
    return all;
}

namespace {

constexpr int64_t kAttempts =
    4000; // for one new question; a family of 300 questions gives out its last one in this
constexpr int64_t kCandidates = 48; // a training row of a world family is the most informative of so many
constexpr int64_t kFirstRows = 24;  // of training, drawn before the test splits
constexpr int64_t kTimesInKnowledge =
    3; // that an uncovered fact shall stand in training knowledge, per family

// -----------------------------------------------------------------------------------------------------------
// What counts as the same

// Lower-case letters, digits and the signs of formulas and brackets: what is left when layout and punctuation
// are gone.
std::string normalised(const std::string& question) {
    static const std::string kSigns = "()[]{}<>+-*/=";
    std::string out;
    for (const char c : question) {
        const bool upper = c >= 'A' && c <= 'Z';
        const bool other = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                           kSigns.find(c) != std::string::npos || static_cast<unsigned char>(c) >= 0x80;
        if (upper || other) {
            out += upper ? static_cast<char>(c - 'A' + 'a') : c;
        }
    }
    return out;
}

// The facts of a question, in whatever order it uses them, and its answer; empty when fewer than two facts are put together.
std::string content(const Record& record) {
    std::string out;
    if (record.facts_needed.size() < 2) {
        return out;
    }
    for (const std::string& id : std::set<std::string>(record.facts_needed.begin(), record.facts_needed.end())) {
        out += id + " ";
    }
    return out + record.output;
}

// -----------------------------------------------------------------------------------------------------------
// Training rows that show the whole world

// The facts that a training row makes known: those that its response states and the uncovered ones in its
// knowledge.
std::vector<std::string> facts_shown(const Record& record, const World& world) {
    std::vector<std::string> ids = record.facts_stated;
    for (const Fact& fact : world.facts) {
        if (!fact.covered && record.supplementary_knowledge.find(fact.sentence) != std::string::npos) {
            ids.push_back(fact.id);
        }
    }
    return ids;
}

// How much of the world a row shows that the rows of its family so far did not (`shown`: how often they
// showed a fact). A fact stated for the first time counts more than one that merely stands in the knowledge;
// a unit counts most, as the family that computes with units is never trained on, and of the others only
// world_facts states them.
int64_t novelty(const Record& record, const World& world, const std::map<std::string, int64_t>& shown) {
    int64_t value = 0;
    for (const std::string& id : facts_shown(record, world)) {
        const Fact& fact = world.fact(id);
        const auto found = shown.find(id);
        const int64_t times = found == shown.end() ? 0 : found->second;
        if (!fact.covered) {
            value += times < kTimesInKnowledge ? 1 : 0;
        } else if (times == 0) {
            value += fact.relation == "unit" ? 20 : 4;
        }
    }
    return value;
}

// -----------------------------------------------------------------------------------------------------------
// The rows of one family

struct Split {
    const char* name;
    const char* stream; // of random numbers
    int64_t rows;
    Length length;
    Wording wording;
    bool mixed; // half of the rows of a world family need an uncovered fact
};

std::vector<Split> splits_of(const Family& family, const DataConfig& config) {
    const Split train = {"train", "train", config.train, Length::normal, Wording::usual, false};
    const Split first = {"train", "train", kFirstRows, Length::normal, Wording::usual, false};
    if (!family.seen) {
        return {{"unseen", "unseen", config.test, Length::normal, Wording::usual, true}};
    }
    return {
        first,
        {"test", "test", config.test, Length::normal, Wording::usual, true},
        {"longer", "longer", config.test, Length::longer, Wording::usual, true},
        {"reworded", "test", config.test, Length::normal, Wording::reworded, true},
        {"validation", "validation", config.validation, Length::normal, Wording::usual, false},
        train,
        {"fresh", "fresh", config.fresh, Length::normal, Wording::usual, true},
    };
}

class FamilyRows {
public:
    FamilyRows(const Family& family, const World& world, uint64_t seed)
        : family_(family), world_(world), seed_(seed) {}

    // Continues the split up to its number of rows, or fresh questions as far as they go.
    void draw(const Split& split) {
        const bool training = is_training(split);
        std::vector<Record>& rows = rows_[split.name];
        while (std::ssize(rows) < split.rows) {
            Record record = draw_row(split, std::ssize(rows));
            if (record.instruction.empty()) {
                break;
            }
            questions_.insert(normalised(record.instruction));
            (training ? trained_ : held_out_).insert(content(record));
            if (training) {
                for (const std::string& id : facts_shown(record, world_)) {
                    shown_[id]++;
                }
            }
            record.id =
                format("%s-%s-%04lld", split.name, family_.name, static_cast<long long>(rows.size() + 1));
            record.split = split.name;
            rows.push_back(std::move(record));
        }
    }

    // The rows of a split, once all are drawn; at most `count`, as the first training rows may be more than
    // are wanted.
    std::vector<Record> rows(const std::string& split, int64_t count) const {
        const std::vector<Record>& all = rows_.at(split);
        return {all.begin(), all.begin() + std::min(std::ssize(all), count)};
    }

private:
    static bool is_training(const Split& split) {
        return std::string(split.name) == "train" || std::string(split.name) == "fresh";
    }

    bool is_new(const Record& record, const Split& split) const {
        const std::string key = content(record);
        const std::set<std::string>& others = is_training(split) ? held_out_ : trained_;
        return !questions_.contains(normalised(record.instruction)) && (key.empty() || !others.contains(key));
    }

    // The first new question; for training, of the first few new ones the one that shows most of the world.
    Record draw_row(const Split& split, int64_t row) const {
        const bool need_uncovered = family_.world && split.mixed && row % 2 == 1;
        const int64_t wanted = family_.world && std::string(split.name) == "train" ? kCandidates : 1;
        Record best;
        int64_t best_novelty = -1;
        int64_t found = 0;
        for (int64_t attempt = 0; attempt < kAttempts && found < wanted; attempt++) {
            const std::string drawn = format("%s/%s/%lld/%lld", family_.name, split.stream, static_cast<long long>(row),
                                             static_cast<long long>(attempt));
            Rng rng(seed_, drawn);
            Record record = family_.make(rng, world_, split.length, split.wording, need_uncovered);
            record.drawn = drawn;
            if (!is_new(record, split)) {
                continue;
            }
            found++;
            const int64_t value = novelty(record, world_, shown_);
            if (value > best_novelty) {
                best_novelty = value;
                best = std::move(record);
            }
        }
        // A family of few questions may have no more fresh ones; all other splits are as large as asked for.
        CHECK(found > 0 || std::string(split.name) == "fresh", "family %s has too few different questions for split %s: %lld of %lld rows found",
              family_.name, split.name, static_cast<long long>(row), static_cast<long long>(split.rows));
        return best;
    }

    const Family& family_;
    const World& world_;
    uint64_t seed_;
    std::set<std::string> questions_;      // of all splits, normalised
    std::set<std::string> trained_;        // content of training rows
    std::set<std::string> held_out_;       // content of all other rows
    std::map<std::string, int64_t> shown_; // how many training rows make a fact known
    std::map<std::string, std::vector<Record>> rows_;
};

// -----------------------------------------------------------------------------------------------------------
// All families

std::vector<Family> chosen_families(const std::vector<std::string>& tasks) {
    std::string known;
    for (const Family& family : families()) {
        known += (known.empty() ? "" : ", ") + std::string(family.name);
    }
    for (const std::string& task : tasks) {
        const auto is_named = [&](const Family& family) { return family.name == task; };
        CHECK(std::any_of(families().begin(), families().end(), is_named),
              "tasks names '%s', which is no task family; known are %s", task.c_str(), known.c_str());
        CHECK(std::count(tasks.begin(), tasks.end(), task) == 1, "tasks names '%s' twice", task.c_str());
    }
    std::vector<Family> chosen;
    for (const Family& family : families()) {
        if (tasks.empty() || std::find(tasks.begin(), tasks.end(), family.name) != tasks.end()) {
            chosen.push_back(family);
        }
    }
    return chosen;
}

// A fact is covered when a training response states it, whatever was intended: with few training rows some of
// those that could be stated are not.
void set_coverage(std::map<std::string, std::vector<Record>>& splits) {
    std::set<std::string> stated;
    for (const Record& record : splits.at("train")) {
        stated.insert(record.facts_stated.begin(), record.facts_stated.end());
    }
    for (auto& [name, records] : splits) {
        for (Record& record : records) {
            const bool all = std::all_of(record.facts_needed.begin(), record.facts_needed.end(),
                                         [&](const std::string& id) { return stated.contains(id); });
            record.coverage = record.facts_needed.empty() ? "" : all ? "covered" : "uncovered";
        }
    }
}

} // namespace

std::map<std::string, std::vector<Record>> make_splits(const DataConfig& config, const World& world) {
    const std::pair<const char*, int64_t> counts[] = {
        {"train", config.train}, {"validation", config.validation}, {"test", config.test}, {"fresh", config.fresh}};
    for (const auto& [name, count] : counts) {
        CHECK(count >= 0, "%s is %lld, but a split has no negative number of rows", name,
              static_cast<long long>(count));
    }
    std::map<std::string, std::vector<Record>> splits = {
        {"train", {}}, {"validation", {}}, {"test", {}}, {"longer", {}}, {"unseen", {}}, {"reworded", {}}, {"fresh", {}}};
    for (const Family& family : chosen_families(config.tasks)) {
        FamilyRows family_rows(family, world, config.seed);
        std::map<std::string, int64_t> wanted;
        for (const Split& split : splits_of(family, config)) {
            family_rows.draw(split);
            wanted[split.name] = split.rows; // of training, the last number counts
        }
        for (const auto& [name, count] : wanted) {
            for (Record& record : family_rows.rows(name, count)) {
                splits.at(name).push_back(std::move(record));
            }
        }
    }
    set_coverage(splits);
    return splits;
}

std::vector<std::string> knowledge_corpus(const World& world, const std::vector<Record>& train) {
    constexpr int64_t kFactsOfPassage = 6;
    std::vector<std::string> passages;
    std::set<std::string> seen;
    for (const Record& record : train) {
        if (!record.knowledge.empty() && seen.insert(record.knowledge[0]).second) {
            passages.push_back(record.knowledge[0]);
        }
    }
    std::string table;
    int64_t facts = 0;
    for (const Fact& fact : world.facts) {
        if (fact.table != table || facts == kFactsOfPassage) {
            table = fact.table;
            facts = 0;
            passages.push_back(capitalised(table) + " .");
        }
        passages.back() += " " + fact.sentence;
        facts++;
    }
    return passages;
}

} // namespace skintern
