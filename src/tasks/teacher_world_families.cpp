// teacher_world_families.cpp — task families that need facts of the invented world (teacher_world.cpp).
//
//   family           normal                                 longer             seen
//   world_facts      recalls one fact                       two facts          yes
//   world_prices     2 things, count x price, summed        4 or 5 things      yes
//   world_distances  miles gone plus 2 roads                4 roads            yes
//   world_kinship    a relative's relative                  3 steps            yes
//   world_calendar   months plus the time between 2 feasts  2 such times       yes
//   world_units      count x unit                           2 conversions      no
//
// A response states each needed fact as its sentence, in order of use, then computes one step a sentence.
// Answers are numbers or names without options, so that guessing is hopeless; where few values are possible
// (months from feast to feast) the question adds a number of its own.
#include <algorithm>
#include <iterator>

#include "support/check.h"
#include "tasks/teacher.h"
#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// Choosing facts for a question

using Facts = std::vector<const Fact*>;

Facts facts_where(const World& world, const std::string& table, const std::string& relation = "") {
    Facts out;
    for (const Fact& fact : world.facts) {
        if (fact.table == table && (relation.empty() || fact.relation == relation)) {
            out.push_back(&fact);
        }
    }
    return out;
}

bool any_uncovered(const Facts& facts) {
    return std::any_of(facts.begin(), facts.end(), [](const Fact* fact) { return !fact->covered; });
}

// n different facts in random order: covered ones, or any with at least one uncovered among them.
Facts pick_facts(Rng& rng, Facts pool, size_t n, bool need_uncovered) {
    rng.shuffle(pool);
    if (!need_uncovered) {
        std::erase_if(pool, [](const Fact* fact) { return !fact->covered; });
    } else {
        const auto uncovered =
            std::find_if(pool.begin(), pool.end(), [](const Fact* fact) { return !fact->covered; });
        CHECK(uncovered != pool.end(), "the invented world has no uncovered fact to choose");
        std::iter_swap(pool.begin(), uncovered);
    }
    CHECK(pool.size() >= n, "the invented world has %zu facts to choose %zu from", pool.size(), n);
    pool.resize(n);
    rng.shuffle(pool);
    return pool;
}

// n facts, each about what the one before it leads to: roads of one way, relatives of relatives, smaller
// units. No town is passed twice. Random walks, until one is long enough and of the wanted coverage.
Facts pick_chain(Rng& rng, const World& world, const char* table, size_t n, bool need_uncovered) {
    Facts pool = facts_where(world, table);
    if (!need_uncovered) {
        std::erase_if(pool, [](const Fact* fact) { return !fact->covered; });
    }
    for (int attempt = 0; attempt < 10000; attempt++) {
        Facts chain = {rng.pick(pool)};
        while (chain.size() < n) {
            Facts next;
            std::copy_if(pool.begin(), pool.end(), std::back_inserter(next), [&](const Fact* fact) {
                return fact->follows(*chain.back()) &&
                       std::none_of(chain.begin(), chain.end(),
                                    [&](const Fact* f) { return f->from == fact->to; });
            });
            if (next.empty()) {
                break;
            }
            chain.push_back(rng.pick(next));
        }
        if (chain.size() == n && (!need_uncovered || any_uncovered(chain))) {
            return chain;
        }
    }
    throw Error(format("the table %s of the invented world has no %s chain of %zu facts", table,
                       need_uncovered ? "partly uncovered" : "covered", n),
                __FILE__, __LINE__);
}

// -----------------------------------------------------------------------------------------------------------
// From a question to a record

struct Draft {
    std::string question;
    Facts needed;                   // in order of use, none twice
    std::vector<std::string> steps; // the computation, after the facts are stated
    std::string answer;
};

// "7 plus 5 is 12."; returns the result.
int64_t compute(std::vector<std::string>& steps, int64_t a, const char* operation, int64_t b) {
    const std::string name = operation;
    const int64_t result = name == "plus" ? a + b : name == "minus" ? a - b : a * b;
    steps.push_back(format("%lld %s %lld is %lld.", static_cast<long long>(a), operation,
                           static_cast<long long>(b), static_cast<long long>(result)));
    return result;
}

// Adds the terms from left to right, a step each.
int64_t compute_sum(std::vector<std::string>& steps, const std::vector<int64_t>& terms) {
    int64_t sum = terms.front();
    for (size_t i = 1; i < terms.size(); i++) {
        sum = compute(steps, sum, "plus", terms[i]);
    }
    return sum;
}

// Two or three other facts of the table. Mostly uncovered ones: the knowledge of training rows is the only
// place where training shows them.
Facts pick_others(Rng& rng, const World& world, const Facts& needed) {
    Facts pool = facts_where(world, needed.front()->table);
    std::erase_if(pool,
                  [&](const Fact* f) { return std::find(needed.begin(), needed.end(), f) != needed.end(); });
    Facts others;
    const int64_t n = rng.between(2, 3);
    while (std::ssize(others) < n) {
        rng.shuffle(pool);
        const bool covered = rng.chance(0.25);
        auto found =
            std::find_if(pool.begin(), pool.end(), [&](const Fact* f) { return f->covered == covered; });
        found = found == pool.end() ? pool.begin() : found;
        others.push_back(*found);
        pool.erase(found);
    }
    return others;
}

Record finish(Rng& rng, const World& world, const TaskText& text, const Draft& draft) {
    Instance instance{draft.question, {}, {}, draft.answer};
    Facts knowledge = draft.needed;
    for (const Fact* other : pick_others(rng, world, draft.needed)) {
        knowledge.push_back(other);
    }
    rng.shuffle(knowledge);
    for (const Fact* fact : knowledge) {
        instance.facts.push_back(fact->sentence);
    }
    std::vector<std::string> ids;
    for (const Fact* fact : draft.needed) {
        instance.steps.push_back(fact->sentence);
        ids.push_back(fact->id);
    }
    instance.steps.insert(instance.steps.end(), draft.steps.begin(), draft.steps.end());

    Record record = make_record(text, instance);
    record.facts_needed = ids;
    record.facts_stated = ids;
    record.coverage = any_uncovered(draft.needed) ? "uncovered" : "covered";
    return record;
}

// -----------------------------------------------------------------------------------------------------------
// Families

constexpr TaskText kPricesText = {
    "world_prices", "Prices", "Work out what a list of things costs in coins.",
    "Find the price of each thing. Multiply each count by its price. Add the products one after the other."};

Record make_prices(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    Draft draft;
    const size_t n = length == Length::normal ? 2 : static_cast<size_t>(rng.between(4, 5));
    draft.needed = pick_facts(rng, facts_where(world, "prices"), n, need_uncovered);
    std::vector<std::string> list;
    std::vector<int64_t> costs;
    for (const Fact* price : draft.needed) {
        const int64_t count = rng.between(2, 5);
        list.push_back(std::to_string(count) + " " + price->from + "s");
        costs.push_back(compute(draft.steps, count, "times", price->number));
    }
    draft.question = wording == Wording::usual
                         ? "What is the price of " + and_list(list) + " in all?"
                         : "Someone buys " + and_list(list) + ". How many coins does this cost?";
    draft.answer = std::to_string(compute_sum(draft.steps, costs));
    return finish(rng, world, kPricesText, draft);
}

constexpr TaskText kDistancesText = {"world_distances", "Roads",
                                     "Work out how many miles a journey over several roads has.",
                                     "Find the distance of each road in order. Begin with the miles already "
                                     "gone and add one distance after the other."};

Record make_distances(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    Draft draft;
    draft.needed = pick_chain(rng, world, "distances", length == Length::normal ? 2 : 4, need_uncovered);
    std::vector<int64_t> miles = {rng.between(2, 9)};
    std::string towns = draft.needed.front()->from;
    std::vector<std::string> roads;
    for (const Fact* road : draft.needed) {
        miles.push_back(road->number);
        towns += " to " + road->to;
        roads.push_back("from " + road->from + " to " + road->to);
    }
    const std::string gone = std::to_string(miles.front());
    draft.question = wording == Wording::usual
                         ? "A cart has gone " + gone + " miles and goes on from " + towns +
                               ". How many miles is this in all?"
                         : "After " + gone + " miles a rider takes the roads " + and_list(roads) +
                               ". What is the length of the whole journey?";
    draft.answer = std::to_string(compute_sum(draft.steps, miles));
    return finish(rng, world, kDistancesText, draft);
}

constexpr TaskText kKinshipText = {
    "world_kinship", "Families", "Find a relative of a person by following the family from one to the next.",
    "Begin with the person who is named. Find this person's relative, then the relative of that one, to the "
    "end."};

Record make_kinship(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    Draft draft;
    draft.needed = pick_chain(rng, world, "kinship", length == Length::normal ? 2 : 3, need_uncovered);
    const Fact& first = *draft.needed.front();
    const Fact& last = *draft.needed.back();
    std::string outer; // "mother of the father of the ", the relations after the first, last one first
    std::string tale = first.from + " has a " + first.relation;
    for (size_t i = 1; i < draft.needed.size(); i++) {
        outer = draft.needed[i]->relation + " of the " + outer;
        tale += i + 1 < draft.needed.size() ? ", who has a " + draft.needed[i]->relation : "";
    }
    const std::string whose = "the " + outer + first.about;
    const std::string of_whom =
        "the " + outer.substr(0, outer.size() - 4) + first.from + "'s " + first.relation;
    const std::string before_last = draft.needed[draft.needed.size() - 2]->relation;
    const std::vector<std::string> usual = {"Who is " + whose + "?", "Name " + whose + ".",
                                            "Tell me who " + whose + " is.", "Who is " + of_whom + "?",
                                            "Give the name of " + whose + "."};
    const std::vector<std::string> reworded = {
        tale + ". Who is the " + last.relation + " of this " + before_last + "?",
        tale + ". What is the name of this " + before_last + "'s " + last.relation + "?"};
    draft.question = rng.pick(wording == Wording::usual ? usual : reworded);
    draft.answer = last.to;
    return finish(rng, world, kKinshipText, draft);
}

constexpr TaskText kCalendarText = {
    "world_calendar", "The year",
    "Work out how many months a work takes whose time is told by feasts of the year.",
    "Find the month of each feast and its place. Subtract the earlier place from the later. Add the months."};

// From one feast to another, later in the year. `places` are theirs.
struct Span {
    const Fact* feasts[2];
    const Fact* places[2];
};

Span pick_span(Rng& rng, const World& world, bool need_uncovered) {
    while (true) {
        Facts feasts = pick_facts(rng, facts_where(world, "calendar", "month"), 2, need_uncovered);
        Facts places = {&world.fact("place:" + feasts[0]->to), &world.fact("place:" + feasts[1]->to)};
        if (places[0]->number > places[1]->number) {
            std::swap(feasts[0], feasts[1]);
            std::swap(places[0], places[1]);
        }
        if (places[0] != places[1]) {
            return Span{{feasts[0], feasts[1]}, {places[0], places[1]}};
        }
    }
}

void add_needed(Facts& needed, const Fact* fact) {
    if (std::find(needed.begin(), needed.end(), fact) == needed.end()) {
        needed.push_back(fact);
    }
}

Record make_calendar(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    std::vector<Span> spans = {pick_span(rng, world, need_uncovered)};
    while (length == Length::longer && spans.size() < 2) {
        const Span second = pick_span(rng, world, need_uncovered && rng.chance(0.5));
        if (second.feasts[0] != spans[0].feasts[0] || second.feasts[1] != spans[0].feasts[1]) {
            spans.push_back(second);
        }
    }
    rng.shuffle(spans);

    Draft draft;
    std::vector<std::string> times;
    std::vector<int64_t> months = {rng.between(2, 9)};
    for (const Span& span : spans) {
        add_needed(draft.needed, span.feasts[0]);
        add_needed(draft.needed, span.feasts[1]);
        times.push_back("from the " + span.feasts[0]->from + " feast to the " + span.feasts[1]->from +
                        " feast");
    }
    for (const Span& span : spans) {
        add_needed(draft.needed, span.places[0]);
        add_needed(draft.needed, span.places[1]);
        months.push_back(compute(draft.steps, span.places[1]->number, "minus", span.places[0]->number));
    }
    const std::string more = std::to_string(months.front());
    draft.question = wording == Wording::usual ? "A work takes " + more + " months and the time " +
                                                     and_list(times) + ". How many months does it take?"
                                               : "A field rests " + and_list(times) + ", and " + more +
                                                     " months more. What is the number of months in all?";
    draft.answer = std::to_string(compute_sum(draft.steps, months));
    return finish(rng, world, kCalendarText, draft);
}

constexpr TaskText kUnitsText = {
    "world_units", "Units", "Convert a number of large units into smaller units.",
    "Find how many smaller units are in a larger one. Multiply, and repeat until the unit that is asked."};

Record make_units(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    Draft draft;
    draft.needed = pick_chain(rng, world, "units", length == Length::normal ? 1 : 2, need_uncovered);
    const int64_t count = rng.between(2, 9);
    int64_t result = count;
    for (const Fact* unit : draft.needed) {
        result = compute(draft.steps, result, "times", unit->number);
    }
    const std::string large = std::to_string(count) + " " + draft.needed.front()->from + "s";
    const std::string small = draft.needed.back()->to + "s";
    const std::string usual = rng.pick(std::vector<std::string>{"are", "make"});
    draft.question = wording == Wording::usual ? "How many " + small + " " + usual + " " + large + "?"
                                               : "Someone trades " + large + " for " + small +
                                                     ". What is the number of " + small + "?";
    draft.answer = std::to_string(result);
    return finish(rng, world, kUnitsText, draft);
}

constexpr TaskText kFactsText = {"world_facts", "Facts",
                                 "Answer a question about one or two facts of a far land.",
                                 "Find the sentence that tells what is asked and repeat it. Give two names "
                                 "one after the other, add two numbers."};

std::string reworded_fact(const Fact& fact) {
    if (fact.relation == "price") {
        return "How many coins does a " + fact.from + " cost?";
    }
    if (fact.relation == "distance") {
        return "How many miles is it from " + fact.from + " to " + fact.to + "?";
    }
    if (fact.relation == "month") {
        return "In which month does the " + fact.from + " feast fall?";
    }
    if (fact.relation == "place") {
        return "Which place does " + fact.from + " have in the year?";
    }
    if (fact.relation == "unit") {
        return "How many " + fact.to + "s does a " + fact.from + " hold?";
    }
    return "Whom does " + fact.from + " have as a " + fact.relation + "?";
}

Record make_facts(Rng& rng, const World& world, Length length, Wording wording, bool need_uncovered) {
    static const std::vector<std::string> tables = {"prices", "distances", "kinship", "calendar", "units"};
    const Facts pool = facts_where(world, rng.pick(tables));
    const size_t n = length == Length::normal ? 1 : 2;
    Draft draft;
    do {
        draft.needed = pick_facts(rng, pool, n, need_uncovered);
    } while ((draft.needed.front()->number == 0) !=
             (draft.needed.back()->number == 0)); // two names or two numbers
    const Fact& a = *draft.needed.front();
    const Fact& b = *draft.needed.back();
    const bool usual = wording == Wording::usual;
    const std::string who = a.table == "kinship" ? "who" : "what";
    if (n == 1) {
        draft.answer = a.value();
        const std::vector<std::string> templates = {
            capitalised(who) + " is the " + a.about + "?", "Tell me the " + a.about + ".",
            "Say " + who + " the " + a.about + " is.", "Give the " + a.about + "."};
        draft.question = rng.pick(templates);
        draft.question = usual ? draft.question : reworded_fact(a);
    } else if (a.number == 0) {
        draft.answer = a.to + " and " + b.to;
        draft.question = usual ? capitalised(who) + " are the " + a.about + " and the " + b.about + "?"
                               : "Name two: the " + a.about + ", then the " + b.about + ".";
    } else {
        draft.answer = std::to_string(compute(draft.steps, a.number, "plus", b.number));
        draft.question = usual ? "What is the " + a.about + " plus the " + b.about + "?"
                               : "Add the " + a.about + " and the " + b.about + ". Which number is this?";
    }
    return finish(rng, world, kFactsText, draft);
}

Family world_family(const TaskText& text, bool seen,
                    Record (*make)(Rng&, const World&, Length, Wording, bool)) {
    return Family{text.name, text.description, true, seen, make};
}

} // namespace

std::vector<Family> world_families() {
    return {
        world_family(kFactsText, true, make_facts),         world_family(kPricesText, true, make_prices),
        world_family(kDistancesText, true, make_distances), world_family(kKinshipText, true, make_kinship),
        world_family(kCalendarText, true, make_calendar),   world_family(kUnitsText, false, make_units),
    };
}

} // namespace skintern
