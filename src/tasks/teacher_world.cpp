// teacher_world.cpp — an invented world, for the task families of teacher_world_families.cpp.
//
// A fact stands nowhere but in this world, so a model knows it from its prompt or from training on it:
//
//   table      facts                                                          example
//   prices     20 things                                     The price of a dortem is 7 coins.
//   distances  21 one-way roads between 7 towns              The distance from Galnek to Velrik is 12 miles.
//   kinship    16 persons: mother, father, godmother         The mother of Tolmok is Selwen.
//   calendar   16 feasts, and the place of each of 8 months  The month of the Falvek feast is Nartul.
//   units      4 chains of 3 conversions                     The number of peldoks in a kelvam is 6.
//
// Sentences have one shape, since to find a sentence by its subject is the hardest part for a small model.
//
// About 70 % of each table is covered: training questions need no other facts. The others stand in the
// knowledge of training rows, where no question asks for them. Places of months are always covered: a
// question about an uncovered feast shall fail for that feast alone.
#include "tasks/teacher.h"

#include <algorithm>
#include <set>

#include "support/check.h"
#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

constexpr double kCoveredShare = 0.7;
constexpr int64_t kTowns =
    7; // each has roads to the next three of the circle: the most that 7 towns can have one-way
constexpr size_t kMonths = 8;
constexpr size_t kFeasts = 16;

// Pairs of covered facts that follow one another (two roads, two relatives). Families need them for their
// questions, so the choice of covered facts is drawn again until there are enough, and enough around every
// covered fact.
constexpr double kCoveredPairs = 0.5; // of all pairs
constexpr int64_t kPairsOfFact = 2;

// -----------------------------------------------------------------------------------------------------------
// Names

// A start and an end make an invented name; no combination is an English word, and all take "a" and a plural
// in "s".
const std::vector<std::string> kStarts = {"bal", "bre", "dor",  "dru", "fen", "fol", "gar",  "gli", "hal",
                                          "jor", "kel", "kru",  "lam", "lor", "mir", "mul",  "nar", "nev",
                                          "pel", "plo", "quen", "rin", "rul", "sel", "skal", "tam", "tol",
                                          "tru", "ven", "vil",  "wor", "yal", "zan", "zim"};
const std::vector<std::string> kEnds = {"bek", "dok", "dul", "fam", "gom", "kem", "lim", "lok",
                                        "mok", "mur", "nar", "nek", "pam", "ran", "rik", "sel",
                                        "tak", "tem", "tul", "vam", "vek", "wen", "zor", "zun"};

// `count` names, different in their starts, so that the first token of a name tells it from the others of its
// table; different as a whole from `used`, which they join.
std::vector<std::string> invent_names(Rng& rng, std::set<std::string>& used, size_t count, bool capital) {
    std::vector<std::string> names;
    for (const std::string& start : rng.sample(kStarts, count)) {
        std::string name = start + rng.pick(kEnds);
        while (used.contains(name)) {
            name = start + rng.pick(kEnds);
        }
        used.insert(name);
        names.push_back(capital ? capitalised(name) : name);
    }
    return names;
}

// -----------------------------------------------------------------------------------------------------------
// Tables of facts

void add_prices(std::vector<Fact>& facts, Rng& rng, std::set<std::string>& used) {
    for (const std::string& thing : invent_names(rng, used, 20, false)) {
        const int64_t coins = rng.between(2, 19);
        const std::string about = "price of a " + thing;
        facts.push_back({"price:" + thing, "prices", "price", thing, "", coins, about,
                         "The " + about + " is " + std::to_string(coins) + " coins.", false});
    }
}

void add_distances(std::vector<Fact>& facts, Rng& rng, std::set<std::string>& used) {
    const std::vector<std::string> towns = invent_names(rng, used, kTowns, true);
    for (int64_t town = 0; town < kTowns; town++) {
        for (int64_t step = 1; step <= 3; step++) {
            const std::string& from = towns[static_cast<size_t>(town)];
            const std::string& to = towns[static_cast<size_t>((town + step) % kTowns)];
            const int64_t miles = rng.between(2, 19);
            const std::string about = "distance from " + from + " to " + to;
            facts.push_back({"distance:" + from + "-" + to, "distances", "distance", from, to, miles, about,
                             "The " + about + " is " + std::to_string(miles) + " miles.", false});
        }
    }
}

void add_relative(std::vector<Fact>& facts, const char* relation, const std::string& child,
                  const std::string& to) {
    const std::string about = std::string(relation) + " of " + child;
    facts.push_back({relation + (":" + child), "kinship", relation, child, to, 0, about,
                     "The " + about + " is " + to + ".", false});
}

// Four generations of 6, 6, 6 and 4 persons; the parents of a generation are all of the one before, three
// women and three men with as many children each, or nearly. A godmother is a woman of the parents'
// generation other than the mother.
void add_kinship(std::vector<Fact>& facts, Rng& rng, std::set<std::string>& used) {
    const std::vector<std::string> names = invent_names(rng, used, 22, true);
    const auto name = [&](size_t generation, size_t i) { return names[generation * 6 + i]; };
    for (size_t generation = 1; generation < 4; generation++) {
        std::vector<size_t> women = {0, 1, 2, 0, 1, 2};
        std::vector<size_t> men = {3, 4, 5, 3, 4, 5};
        rng.shuffle(women);
        rng.shuffle(men);
        for (size_t i = 0; i < (generation == 3 ? 4 : 6); i++) {
            const size_t other_woman = (women[i] + static_cast<size_t>(rng.between(1, 2))) % 3;
            add_relative(facts, "mother", name(generation, i), name(generation - 1, women[i]));
            add_relative(facts, "father", name(generation, i), name(generation - 1, men[i]));
            add_relative(facts, "godmother", name(generation, i), name(generation - 1, other_woman));
        }
    }
}

void add_calendar(std::vector<Fact>& facts, Rng& rng, std::set<std::string>& used) {
    const std::vector<std::string> months = invent_names(rng, used, kMonths, true);
    std::vector<std::string>
        month_of_feast; // as many feasts in each month, so that no month is the better guess
    for (size_t i = 0; i < kFeasts; i++) {
        month_of_feast.push_back(months[i % kMonths]);
    }
    rng.shuffle(month_of_feast);
    const std::vector<std::string> feasts = invent_names(rng, used, kFeasts, true);
    for (size_t i = 0; i < kFeasts; i++) {
        const std::string about = "month of the " + feasts[i] + " feast";
        facts.push_back({"month:" + feasts[i], "calendar", "month", feasts[i], month_of_feast[i], 0, about,
                         "The " + about + " is " + month_of_feast[i] + ".", false});
    }
    for (size_t i = 0; i < kMonths; i++) {
        const std::string about = "place of " + months[i];
        facts.push_back({"place:" + months[i], "calendar", "place", months[i], "",
                         static_cast<int64_t>(i + 1), about,
                         "The " + about + " is " + std::to_string(i + 1) + ".", true});
    }
}

void add_units(std::vector<Fact>& facts, Rng& rng, std::set<std::string>& used) {
    const std::vector<std::string> units = invent_names(rng, used, 16, false);
    for (size_t i = 0; i < units.size(); i++) {
        if (i % 4 == 3) {
            continue; // the smallest unit of its chain
        }
        const int64_t number = rng.between(3, 12);
        const std::string about = "number of " + units[i + 1] + "s in a " + units[i];
        facts.push_back({"unit:" + units[i], "units", "unit", units[i], units[i + 1], number, about,
                         "The " + about + " is " + std::to_string(number) + ".", false});
    }
}

// -----------------------------------------------------------------------------------------------------------
// Covered facts

// Whether questions that need two covered facts of this table in a row are many, and include every covered
// fact.
bool enough_pairs(const std::vector<Fact*>& table) {
    int64_t pairs = 0;
    int64_t covered_pairs = 0;
    for (const Fact* fact : table) {
        int64_t of_fact = 0;
        for (const Fact* other : table) {
            if (other->follows(*fact) || fact->follows(*other)) {
                pairs++; // each is met from both sides
                of_fact += fact->covered && other->covered ? 1 : 0;
            }
        }
        if (fact->covered && of_fact < kPairsOfFact) {
            return false;
        }
        covered_pairs += of_fact;
    }
    return static_cast<double>(covered_pairs) >= kCoveredPairs * static_cast<double>(pairs);
}

// Whether every month has a covered feast, without which no question about feasts needs the place of that
// month.
bool every_month(const std::vector<Fact*>& feasts) {
    std::set<std::string> months;
    for (const Fact* feast : feasts) {
        if (feast->covered) {
            months.insert(feast->to);
        }
    }
    return months.size() == kMonths;
}

bool any_choice(const std::vector<Fact*>&) {
    return true;
}

void cover(std::vector<Fact>& facts, Rng& rng, const char* table, bool (*enough)(const std::vector<Fact*>&)) {
    std::vector<Fact*> open; // those of the table that are not covered from the beginning
    for (Fact& fact : facts) {
        if (fact.table == table && !fact.covered) {
            open.push_back(&fact);
        }
    }
    const auto n_covered = static_cast<size_t>(kCoveredShare * static_cast<double>(open.size()) + 0.5);
    do {
        rng.shuffle(open);
        for (size_t i = 0; i < open.size(); i++) {
            open[i]->covered = i < n_covered;
        }
    } while (!enough(open));
}

} // namespace

World::World(uint64_t seed) {
    Rng rng(seed, "world");
    std::set<std::string> used;
    add_prices(facts, rng, used);
    add_distances(facts, rng, used);
    add_kinship(facts, rng, used);
    add_calendar(facts, rng, used);
    add_units(facts, rng, used);
    cover(facts, rng, "prices", any_choice);
    cover(facts, rng, "distances", enough_pairs);
    cover(facts, rng, "kinship", enough_pairs);
    cover(facts, rng, "calendar", every_month);
    cover(facts, rng, "units", any_choice);
}

const Fact& World::fact(const std::string& id) const {
    const auto found =
        std::find_if(facts.begin(), facts.end(), [&](const Fact& fact) { return fact.id == id; });
    CHECK(found != facts.end(), "the world has no fact '%s'", id.c_str());
    return *found;
}

} // namespace skintern
