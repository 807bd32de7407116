// teacher_logic.cpp — web_of_lies and logical_deduction: draw one conclusion after the other.
//
// web_of_lies: the first person is known to tell the truth or to lie; everyone after that speaks about the
// one before:
//   truthful(speaker) = (what they say of the one before is so).
// Sizes (people): 3-4, longer 6-7.
//
// logical_deduction: things stand in an unknown order. The clues are built so that exactly one order fits: up
// to some `placed` things are given their place outright, the others form a chain of neighbours ("a is left
// of b").
// Sizes (things): 3, longer 5 or 7.
#include <algorithm>
#include <set>

#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// web_of_lies

constexpr TaskText kWebOfLies{
    "web_of_lies", "Truth and lies",
    "Find out whether the last person tells the truth, from what the people say about each other.",
    "Go from the first person to the last. A speaker tells the truth if what they say about the one "
    "before is so, and lies otherwise."};

struct LieWords {
    std::string truthful, lying;                // "tells the truth", "lies"
    std::string claims;                         // between the speaker and the person spoken of
    std::string after_truthful, after_lying;    // after that person
    std::string whoever, of_truthful, of_lying; // in a rule
};

const LieWords& lie_words(Wording wording) {
    static const LieWords usual{"tells the truth",  "lies",  " says that ",
                                " tells the truth", " lies", "whoever says that they ",
                                "tell the truth",   "lie"};
    static const LieWords reworded{"is honest", "is a liar",           " calls ", " honest",
                                   " a liar",   "whoever calls them ", "honest",  "a liar"};
    return wording == Wording::usual ? usual : reworded;
}

// The rule for one step; the four of them are the whole logic of the task.
std::string lie_rule(const LieWords& words, bool claim, bool before) {
    return "If someone " + (before ? words.truthful : words.lying) + ", " + words.whoever +
           (claim ? words.of_truthful : words.of_lying) + " " +
           (claim == before ? words.truthful : words.lying) + ".";
}

Record make_web_of_lies(Rng& rng, const World&, Length length, Wording wording, bool) {
    const LieWords& words = lie_words(wording);
    const int64_t count = length == Length::normal ? rng.between(3, 4) : rng.between(6, 7);
    const std::vector<std::string> names = rng.sample(people(), static_cast<size_t>(count));
    bool truthful = rng.chance(0.5);

    const std::string start = names[0] + " " + (truthful ? words.truthful : words.lying) + ".";
    Instance instance;
    instance.question =
        wording == Wording::usual ? start : "In this town everybody is honest or a liar. " + start;
    instance.steps = {start};
    std::set<std::string> rules; // sorted, so that the order does not tell the last step
    for (size_t i = 1; i < names.size(); i++) {
        const bool claim = rng.chance(0.5);
        const std::string said =
            names[i] + words.claims + names[i - 1] + (claim ? words.after_truthful : words.after_lying);
        rules.insert(lie_rule(words, claim, truthful));
        truthful = claim == truthful;
        instance.question += " " + said + ".";
        instance.steps.push_back(said + ", so " + names[i] + " " + (truthful ? words.truthful : words.lying) +
                                 ".");
    }
    instance.question += wording == Wording::usual ? " Does " + names.back() + " tell the truth?"
                                                   : " Is " + names.back() + " honest?";
    instance.facts.assign(rules.begin(), rules.end());
    instance.answer = truthful ? "Yes" : "No";
    return make_record(kWebOfLies, instance);
}

// -----------------------------------------------------------------------------------------------------------
// logical_deduction

constexpr TaskText kDeduction{
    "logical_deduction", "Finding the order",
    "Find the place of a thing in an order from clues about the things.",
    "Put the things into an order, one clue after the other, until every thing has its place. Then read "
    "off the place that is asked for."};

// How an order is talked about. `place(i, n)` is what is said of the thing at place i of n, from 1.
struct Theme {
    std::vector<std::string> things;
    std::string opening;                    // before the list; in the usual wording the number comes first
    bool articles;                          // "a wren" in the list, "the wren" in the clues
    std::string before, after;              // "is left of", "is right of"
    std::string first, last;                // "is the leftmost", "is the rightmost"
    std::string between_head, between_tail; // around the ordinal
    std::string who;                        // opens the question

    std::string place(size_t i, size_t n) const {
        return i == 1   ? first
               : i == n ? last
                        : between_head + ordinal_word(static_cast<int64_t>(i)) + between_tail;
    }
    std::string the(const std::string& thing) const { return (articles ? "the " : "") + thing; }
};

const std::vector<Theme>& themes(Wording wording) {
    static const std::vector<std::string> birds = {"wren",  "heron", "finch", "swan",   "stork", "gull",
                                                   "duck",  "owl",   "eagle", "magpie", "tern",  "dove",
                                                   "goose", "rook",  "swift", "kite"};
    static const std::vector<std::string> boxes = {"red box",   "blue box",   "green box", "black box",
                                                   "white box", "pink box",   "gray box",  "brown box",
                                                   "gold box",  "silver box", "tin box",   "iron box",
                                                   "glass box", "paper box",  "round box", "square box"};
    static const std::vector<std::string> goods = {"lamp",   "ball", "drum",  "rug", "vase", "chair",
                                                   "clock",  "bell", "broom", "cup", "fork", "spade",
                                                   "kettle", "sled", "flag",  "rope"};
    static const std::vector<Theme> usual = {
        {birds, " birds sit in a row: ", true, "is left of", "is right of", "is the leftmost",
         "is the rightmost", "is the ", " from the left", "Which bird"},
        {people(), " runners ran a race: ", false, "finished before", "finished after", "finished first",
         "finished last", "finished ", "", "Who"}};
    static const std::vector<Theme> reworded = {
        {boxes, "Somebody stacked ", true, "stands below", "stands above", "stands at the bottom",
         "stands at the top", "stands ", " from the bottom", "Which box"},
        {goods, "A shop offers ", true, "costs less than", "costs more than", "is the cheapest",
         "is the dearest", "is the ", " cheapest", "Which"}};
    return wording == Wording::usual ? usual : reworded;
}

struct Clue {
    bool placed; // thing stands at its place; otherwise thing and next are neighbours of the chain
    std::string thing, next; // thing stands before next
    bool reversed;           // told as "next is after thing"
    std::string text;
};

// Clues that fit `order` and no other order, shuffled.
std::vector<Clue> make_clues(Rng& rng, const Theme& theme, const std::vector<std::string>& order) {
    const size_t n = order.size();
    const size_t placed = static_cast<size_t>(rng.below(n > 3 ? 3 : 2));
    std::vector<size_t> places;
    for (size_t i = 0; i < n; i++) {
        places.push_back(i);
    }
    rng.shuffle(places);
    const std::set<size_t> fixed(places.begin(), places.begin() + static_cast<int64_t>(placed));

    std::vector<Clue> clues;
    std::string previous;
    for (size_t i = 0; i < n; i++) {
        if (fixed.count(i) != 0) {
            clues.push_back({true, order[i], "", false, theme.the(order[i]) + " " + theme.place(i + 1, n)});
            continue;
        }
        if (!previous.empty()) {
            const bool reversed = rng.chance(0.5);
            clues.push_back({false, previous, order[i], reversed,
                             reversed
                                 ? theme.the(order[i]) + " " + theme.after + " " + theme.the(previous)
                                 : theme.the(previous) + " " + theme.before + " " + theme.the(order[i])});
        }
        previous = order[i];
    }
    rng.shuffle(clues);
    return clues;
}

// Puts the clues together: first the chain, each clue when it touches the chain, then the placed things from
// the front. Every step states the order so far.
std::vector<std::string> deduce(std::vector<Clue> clues, const std::vector<std::string>& order) {
    std::vector<std::string> chain, steps;
    const auto note = [&](const Clue& clue) {
        steps.push_back(capitalised(clue.text) + ": " + join(chain, ", ") + ".");
    };
    const auto touches = [&](const Clue& clue) {
        return !clue.placed && (chain.empty() || clue.thing == chain.back() || clue.next == chain.front());
    };
    for (auto at = std::find_if(clues.begin(), clues.end(), touches); at != clues.end();
         at = std::find_if(clues.begin(), clues.end(), touches)) {
        if (chain.empty()) {
            chain = {at->thing, at->next};
        } else if (at->thing == chain.back()) {
            chain.push_back(at->next);
        } else {
            chain.insert(chain.begin(), at->thing);
        }
        note(*at);
        clues.erase(at);
    }
    // From the front, so that what is put in later never moves what was put in before.
    std::sort(clues.begin(), clues.end(), [&](const Clue& a, const Clue& b) {
        return index_of(order, a.thing) < index_of(order, b.thing);
    });
    for (const Clue& clue : clues) {
        chain.insert(chain.begin() + static_cast<int64_t>(index_of(order, clue.thing)), clue.thing);
        note(clue);
    }
    return steps;
}

Record make_deduction(Rng& rng, const World&, Length length, Wording wording, bool) {
    const Theme& theme = rng.pick(themes(wording));
    const size_t n = length == Length::normal ? 3 : rng.chance(0.5) ? 5 : 7;
    const std::vector<std::string> order = rng.sample(theme.things, n);
    std::vector<std::string> listed = order;
    rng.shuffle(listed);
    const std::vector<Clue> clues = make_clues(rng, theme, order);
    const size_t asked = static_cast<size_t>(rng.below(static_cast<int64_t>(n)));
    const std::string place = theme.place(asked + 1, n);

    Instance instance;
    std::vector<std::string> introduced;
    for (const std::string& thing : listed) {
        introduced.push_back(theme.articles ? with_article(thing) : thing);
    }
    const std::string count = number_word(static_cast<int64_t>(n));
    instance.question = wording == Wording::usual
                            ? capitalised(count) + theme.opening + and_list(introduced) + "."
                            : theme.opening + and_list(introduced) + ".";
    bool any_reversed = false;
    for (const Clue& clue : clues) {
        instance.question += " " + capitalised(clue.text) + ".";
        any_reversed = any_reversed || clue.reversed;
    }
    instance.question += " " + theme.who + " " + place + "?" + options_block(listed);
    instance.answer = option_letter(index_of(listed, order[asked]));
    instance.steps = deduce(clues, order);
    instance.steps.push_back(capitalised(theme.the(order[asked])) + " " + place + ".");

    instance.facts = {"If X " + theme.before + " Y and Y " + theme.before + " Z, then X " + theme.before +
                      " Z."};
    if (any_reversed) {
        instance.facts.push_back("X " + theme.after + " Y means that Y " + theme.before + " X.");
    }
    instance.facts.push_back("Number " + std::to_string(asked + 1) + " of " + std::to_string(n) + " " +
                             place + ".");
    return make_record(kDeduction, instance);
}

} // namespace

std::vector<Family> logic_families() {
    return {bbh_family(kWebOfLies, true, make_web_of_lies), bbh_family(kDeduction, true, make_deduction)};
}

} // namespace skintern
