// pretrain_repetition.cpp — pre-training documents that are no prompts: repetition and arithmetic drills.
//
// In the second copy of a random sequence every token can be told from the first, and from nothing else.
// Where the copy is in the same order, "what followed this before?" is enough; where facts come back in
// another order, the right one has to be found by its name. Both are the look-up that knowledge in a prompt
// needs.
#include "pretraining/pretrain.h"

#include <algorithm>
#include <array>

namespace skintern::pretrain {

namespace {

// ---- repetition -------------------------------------------------------------------------------------------

// The parts a second time, and at times a third.
std::string said_twice(Rng& rng, const std::vector<std::string>& parts, const std::string& between) {
    static const std::vector<std::string> links = {
        " Again: ",   "\nAgain: ",    " Once more: ", "\nThe same again: ", "\n", " ",
        "\nRepeat: ", " And again: ", "\n\n"};
    const std::string link = rng.pick(links);
    const std::string once = joined(parts, between);
    return once + link + once + (parts.size() <= 40 && rng.chance(0.2) ? link + once : "");
}

std::string separator(Rng& rng) {
    return rng.chance(0.5) ? " " : ", ";
}

std::string repeat_words(Rng& rng, Names&) {
    static const std::vector<Pool> pools = {Pool::things, Pool::places, Pool::qualities, Pool::animals,
                                            Pool::fruits, Pool::jobs,   Pool::tools,     Pool::months,
                                            Pool::days,   Pool::colours};
    const bool one_pool = rng.chance(0.2);
    const Pool pool = rng.pick(pools);
    std::vector<std::string> parts;
    for (int64_t n = rng.between(20, 80); n > 0; n--) {
        parts.push_back(rng.pick(words_of(one_pool ? pool : rng.pick(pools))));
    }
    return said_twice(rng, parts, separator(rng));
}

std::string repeat_names(Rng& rng, Names& names) {
    const int64_t sort = rng.below(3); // 0: people, 1: invented nouns, 2: both
    std::vector<std::string> parts;
    for (int64_t n = rng.between(20, 50); n > 0; n--) {
        parts.push_back(sort == 0 || (sort == 2 && rng.chance(0.5)) ? names.person() : names.noun());
    }
    return said_twice(rng, parts, separator(rng));
}

std::string repeat_numbers(Rng& rng, Names&) {
    const int64_t most = rng.chance(0.5) ? 99 : rng.chance(0.5) ? 9 : 2999;
    const bool with_marks = rng.chance(0.3);
    std::vector<std::string> parts;
    for (int64_t n = rng.between(20, 60); n > 0; n--) {
        parts.push_back(with_marks && rng.chance(0.6) ? rng.pick(words_of(Pool::marks))
                                                      : number(rng.between(0, most)));
    }
    return said_twice(rng, parts, with_marks ? " " : separator(rng));
}

std::string repeat_sentences(Rng& rng, Names& names) {
    std::vector<std::string> parts;
    for (int64_t n = rng.between(4, 9); n > 0; n--) {
        parts.push_back(random_sentence(rng, names));
    }
    return said_twice(rng, parts, " ");
}

// Facts of one or two relations.
std::vector<Statement> some_facts(Rng& rng, Names& names) {
    std::vector<Statement> facts;
    for (int64_t topics = rng.between(1, 2), left = topics; left > 0; left--) {
        const Topic topic = draw_topic(rng, names, Entity::any, Value::any);
        const size_t count = topics == 1 ? 5 + index_below(rng, 5) : 3 + index_below(rng, 3);
        const std::vector<Statement> more = draw_statements(rng, names, topic, count, 99, false);
        facts.insert(facts.end(), more.begin(), more.end());
    }
    rng.shuffle(facts);
    return facts;
}

std::string repeat_facts(Rng& rng, Names& names) {
    std::vector<std::string> parts;
    for (const Statement& fact : some_facts(rng, names)) {
        parts.push_back(fact.sentence);
    }
    return said_twice(rng, parts, rng.chance(0.5) ? " " : "\n");
}

// "tree 7, Tolm 3": the same list again, or in another order, so that the number has to be found by the word.
std::string repeat_pairs(Rng& rng, Names& names) {
    const bool invented = rng.chance(0.6);
    const size_t count = 10 + index_below(rng, 21);
    std::vector<std::string> parts = invented ? std::vector<std::string>() : different_words(rng, count);
    while (parts.size() < count) {
        parts.push_back(rng.chance(0.5) ? names.person() : names.noun());
    }
    const std::string colon = rng.chance(0.3) ? ": " : " ";
    for (std::string& part : parts) {
        part += colon + (rng.chance(0.8) ? number(rng.between(1, 99)) : rng.pick(words_of(Pool::qualities)));
    }
    if (rng.chance(0.4)) {
        return said_twice(rng, parts, ", ");
    }
    const std::string once = joined(parts, ", ");
    rng.shuffle(parts);
    return once + "\nIn another order: " + joined(parts, ", ");
}

// Facts, then the same facts, or most of them, in another order.
std::string echo_shuffled(Rng& rng, Names& names) {
    static const std::vector<std::string> links = {
        "\nIn another order:", "\nThe same facts:", "\nAgain:", "\nSome of them:"};
    std::vector<Statement> facts = some_facts(rng, names);
    const std::string between = rng.chance(0.5) ? " " : "\n";
    std::vector<std::string> parts;
    for (const Statement& fact : facts) {
        parts.push_back(fact.sentence);
    }
    const size_t link = index_below(rng, links.size());
    std::string out = joined(parts, between) + links[link] + between;
    for (int64_t rounds = rng.between(1, 2); rounds > 0; rounds--) {
        rng.shuffle(parts);
        const size_t kept = link + 1 == links.size() ? parts.size() / 2 + 1 : parts.size();
        out += joined({parts.begin(), parts.begin() + static_cast<int64_t>(kept)}, between) +
               (rounds > 1 ? between : "");
    }
    return out;
}

// Facts, then each asked for in another order: "What is the height of the Orla tower? 14 feet."
std::string echo_questions(Rng& rng, Names& names) {
    std::vector<Statement> facts = some_facts(rng, names);
    const std::string between = rng.chance(0.5) ? " " : "\n";
    std::vector<std::string> parts;
    for (const Statement& fact : facts) {
        parts.push_back(fact.sentence);
    }
    std::string out = joined(parts, between);
    const int64_t form = rng.below(3); // 0: question and value, 1: question and fact, 2: name and value
    for (int64_t rounds = rng.between(1, 2); rounds > 0; rounds--) {
        rng.shuffle(facts);
        for (const Statement& fact : facts) {
            const std::string value = fact.sentence.substr(fact.about.size() + 4); // after " is "
            out += "\n" + (form == 2 ? fact.about + ": " : "What is " + fact.about + "? ") +
                   (form == 1 ? fact.sentence : value);
        }
    }
    return out;
}

struct Repetition {
    const char* name;
    double weight;
    std::string (*make)(Rng& rng, Names& names);
};

constexpr std::array<Repetition, 8> kRepetitions = {{
    {"words", 14, repeat_words},
    {"names", 14, repeat_names},
    {"numbers", 9, repeat_numbers},
    {"sentences", 10, repeat_sentences},
    {"facts", 12, repeat_facts},
    {"pairs", 13, repeat_pairs},
    {"shuffled", 14, echo_shuffled},
    {"questions", 14, echo_questions},
}};

// ---- arithmetic drills ------------------------------------------------------------------------------------

int64_t drill_number(Rng& rng) {
    return rng.chance(0.55) ? rng.between(0, 9) : rng.between(10, 99);
}

std::string count_by(Rng& rng) {
    const int64_t step = rng.chance(0.5) ? 1 : rng.between(2, 10);
    int64_t value = rng.between(0, 40);
    std::string out = step == 1 ? "Count up: " : "Count by " + number(step) + ": ";
    for (int64_t n = rng.between(5, 10); n > 0; n--, value += step) {
        out += number(value) + (n > 1 ? ", " : ".");
    }
    return out;
}

std::string in_order(Rng& rng) {
    std::vector<int64_t> values;
    std::vector<std::string> before;
    for (int64_t n = rng.between(3, 5); n > 0; n--) {
        values.push_back(rng.between(0, 99));
        before.push_back(number(values.back()));
    }
    std::sort(values.begin(), values.end());
    std::vector<std::string> after;
    for (const int64_t value : values) {
        after.push_back(number(value));
    }
    return "From small to large, " + joined(before, ", ") + " becomes " + joined(after, ", ") + ".";
}

std::string drill(Rng& rng) {
    const int64_t a = drill_number(rng);
    const int64_t b = drill_number(rng);
    switch (rng.below(12)) {
    case 0:
    case 1:
    case 2:
        return plus(a, b);
    case 3:
    case 4:
        return rng.chance(0.1) ? minus(std::min(a, b), std::max(a, b))
                               : minus(std::max(a, b), std::min(a, b));
    case 5:
    case 6:
    case 7: {
        const bool in_table = rng.chance(0.8);
        const int64_t second = in_table ? rng.between(0, 12) : rng.between(10, 30);
        const int64_t first = in_table ? rng.between(0, 12) : rng.between(2, 9);
        return times(first, second);
    }
    case 8:
        return comparison(a, rng.chance(0.15) ? a : b);
    case 9:
        return count_by(rng);
    case 10:
        return in_order(rng);
    default: {
        const size_t month = index_below(rng, 11);
        const std::vector<std::string>& months = words_of(Pool::months);
        return rng.chance(0.5) ? months[month] + " is month " + number(static_cast<int64_t>(month + 1)) + "."
                               : "After " + months[month] + " comes " + months[month + 1] + ".";
    }
    }
}

} // namespace

// ---- documents --------------------------------------------------------------------------------------------

Document repetition_document(Rng& rng) {
    const size_t sort =
        draw_by_weight(rng, kRepetitions.size(), [](size_t i) { return kRepetitions[i].weight; });
    const int64_t least = rng.between(60, 160);
    Names names(rng);
    std::string text = kRepetitions[sort].make(rng, names);
    while (count_words(text) < least) {
        text += "\n\n" + kRepetitions[sort].make(rng, names);
    }
    return {Kind::repetition, kRepetitions[sort].name, false, text};
}

Document arithmetic_document(Rng& rng) {
    const int64_t least = rng.between(60, 150);
    std::string text = drill(rng);
    while (count_words(text) < least) {
        text += " " + drill(rng);
    }
    return {Kind::arithmetic, "", false, text};
}

} // namespace skintern::pretrain
