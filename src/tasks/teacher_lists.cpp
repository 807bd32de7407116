// teacher_lists.cpp — dyck_languages, word_sorting and object_counting: go through a list.
//
// dyck_languages: read the brackets and keep the open ones on a stack; the answer closes them, the last
// opened first.
// Sizes (brackets read): 4-6, longer 10-14.
//
// word_sorting: order the first letters, and the second letters of words that share the first.
// Sizes (words): 3-4, longer 6-7.
//
// object_counting: add up the things of one kind and pass over the others.
// Sizes (sorts of things): 3-4, longer 6-7.
#include <algorithm>
#include <map>
#include <set>

#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// dyck_languages

constexpr TaskText kDyck{
    "dyck_languages", "Closing brackets",
    "Write the closing brackets that a sequence of brackets still needs, in order.",
    "Read from left to right. An opening bracket joins the open ones, a closing one removes the last. "
    "At the end close those still open, the last first."};

std::string closing_of(const std::string& opening) {
    static const std::map<std::string, std::string> pairs = {{"(", ")"}, {"[", "]"}, {"{", "}"}, {"<", ">"}};
    return pairs.at(opening);
}

struct Brackets {
    std::vector<std::string> read;  // the input
    std::vector<std::string> open;  // what is open at its end
    std::vector<std::string> steps; // "Read [: open ( [."
};

Brackets random_brackets(Rng& rng, int64_t count, size_t depth) {
    static const std::vector<std::string> openings = {"(", "[", "{", "<"};
    Brackets brackets;
    for (int64_t i = 0; i < count; i++) {
        const bool opens = brackets.open.empty() || (brackets.open.size() < depth && rng.chance(0.6));
        brackets.read.push_back(opens ? rng.pick(openings) : closing_of(brackets.open.back()));
        if (opens) {
            brackets.open.push_back(brackets.read.back());
        } else {
            brackets.open.pop_back();
        }
        const std::string state =
            brackets.open.empty() ? "nothing open." : "open " + join(brackets.open, " ") + ".";
        brackets.steps.push_back("Read " + brackets.read.back() + ": " + state);
    }
    return brackets;
}

Record make_dyck(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool normal = length == Length::normal;
    const int64_t count = normal ? rng.between(4, 6) : rng.between(10, 14);
    Brackets brackets;
    do {
        brackets = random_brackets(rng, count, normal ? 3 : 5);
    } while (brackets.open.size() < (normal ? 2 : 3));

    std::vector<std::string> closers;
    for (auto at = brackets.open.rbegin(); at != brackets.open.rend(); at++) {
        closers.push_back(closing_of(*at));
    }
    const std::string input = join(brackets.read, " ");
    Instance instance;
    instance.question =
        wording == Wording::usual
            ? "Close what is still open in these brackets. Input: " + input
            : "Somebody typed " + input + " and went away. Which brackets must be typed to finish it?";
    instance.steps = brackets.steps;
    instance.steps.push_back("Close from the last.");
    std::set<std::string> used(brackets.read.begin(), brackets.read.end());
    for (const std::string& bracket : used) {
        if (std::string("([{<").find(bracket) != std::string::npos) {
            instance.facts.push_back(bracket + " is closed by " + closing_of(bracket) + ".");
        }
    }
    instance.answer = join(closers, " ");
    return make_record(kDyck, instance);
}

// -----------------------------------------------------------------------------------------------------------
// word_sorting

constexpr TaskText kSorting{
    "word_sorting", "Alphabetical order", "Put words into alphabetical order.",
    "Compare the first letters. Where two words share it, compare the second letters. Write the words "
    "in that order."};

const std::vector<std::string>& sortable_words() {
    static const std::vector<std::string> words = {
        "acorn",  "arrow",  "anchor",  "basket", "bread",  "button", "candle", "cloud",  "corner", "desk",
        "dinner", "dust",   "eagle",   "engine", "essay",  "farmer", "flute",  "forest", "garden", "glove",
        "ground", "harbor", "honey",   "hut",    "island", "iron",   "jacket", "jungle", "kettle", "knife",
        "ladder", "lemon",  "lion",    "market", "milk",   "moon",   "nail",   "nest",   "night",  "ocean",
        "olive",  "orbit",  "paper",   "pencil", "plate",  "queen",  "quilt",  "rabbit", "river",  "roof",
        "salt",   "shell",  "silver",  "stone",  "table",  "tent",   "tiger",  "truck",  "uncle",  "urn",
        "valley", "velvet", "village", "wagon",  "window", "wolf",   "yard",   "yellow", "zebra",  "zone"};
    return words;
}

// Pairs of neighbours that share the first letter; -1 where a word shares it with two others or the second
// letter too.
int64_t count_ties(const std::vector<std::string>& sorted) {
    int64_t ties = 0;
    for (size_t i = 1; i < sorted.size(); i++) {
        if (sorted[i][0] != sorted[i - 1][0]) {
            continue;
        }
        if (sorted[i][1] == sorted[i - 1][1] || (i >= 2 && sorted[i - 2][0] == sorted[i][0])) {
            return -1;
        }
        ties++;
    }
    return ties;
}

std::string letters_of(const std::vector<std::string>& words) {
    std::vector<std::string> parts;
    for (const std::string& word : words) {
        parts.push_back(word.substr(0, 1) + " " + word);
    }
    return join(parts, ", ");
}

Record make_sorting(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool normal = length == Length::normal;
    const size_t count = static_cast<size_t>(normal ? rng.between(3, 4) : rng.between(6, 7));
    std::vector<std::string> words, sorted;
    int64_t ties = 0;
    do {
        words = rng.sample(sortable_words(), count);
        sorted = words;
        std::sort(sorted.begin(), sorted.end());
        ties = count_ties(sorted);
    } while (ties < 0 || ties > (normal ? 1 : 2) || words == sorted);

    Instance instance;
    instance.question =
        wording == Wording::usual
            ? "Put these words into alphabetical order. List: " + join(words, " ")
            : "A dictionary has the entries " + and_list(words) +
                  ". Write them one after the other as they stand in it, with spaces between.";
    instance.steps = {"First letters: " + letters_of(words) + "."};
    for (size_t i = 1; i < sorted.size(); i++) {
        if (sorted[i][0] == sorted[i - 1][0]) {
            instance.steps.push_back("Second letters: " + sorted[i - 1].substr(1, 1) + " of " +
                                     sorted[i - 1] + " before " + sorted[i].substr(1, 1) + " of " +
                                     sorted[i] + ".");
        }
    }
    instance.steps.push_back("In order: " + letters_of(sorted) + ".");
    // Where the letters stand in the alphabet, in the order of the question.
    std::vector<std::string> numbers;
    for (const std::string& word : words) {
        const std::string number = word.substr(0, 1) + " is " + std::to_string(word[0] - 'a' + 1);
        if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
            numbers.push_back(number);
        }
    }
    instance.facts = {"In the alphabet " + join(numbers, ", ") + "."};
    instance.answer = join(sorted, " ");
    return make_record(kSorting, instance);
}

// -----------------------------------------------------------------------------------------------------------
// object_counting

constexpr TaskText kCounting{
    "object_counting", "Counting things of one kind",
    "Count how many of the things in a list are of one kind.",
    "Go through the list. Add the number of each thing that is of the kind asked for, and pass over the "
    "others."};

struct Kind {
    std::string name; // "fruit"
    std::vector<std::string> things;
};

const std::vector<Kind>& kinds() {
    static const std::vector<Kind> all = {
        {"fruit", {"pear", "lemon", "cherry", "fig", "kiwi", "lime", "melon", "mango"}},
        {"vegetable", {"turnip", "leek", "beet", "radish", "parsnip", "pumpkin", "bean", "cucumber"}},
        {"animal", {"horse", "otter", "tiger", "camel", "zebra", "fox", "beaver", "parrot"}},
        {"instrument", {"harp", "banjo", "cello", "tuba", "oboe", "guitar", "viola", "gong"}},
        {"tool", {"hammer", "saw", "drill", "wrench", "chisel", "rake", "spade", "axe"}}};
    return all;
}

struct Lot {
    std::string thing, kind;
    int64_t count;
    std::string text() const {
        return count == 1 ? with_article(thing) : number_word(count) + " " + plural(thing);
    }
};

// Lots of two or three kinds; at least two of the first kind and one of another.
std::vector<Lot> random_lots(Rng& rng, size_t sorts) {
    const std::vector<Kind> chosen = rng.sample(kinds(), sorts > 4 ? 3 : 2);
    const size_t asked_sorts = static_cast<size_t>(rng.between(2, static_cast<int64_t>(sorts) - 1));
    std::vector<Lot> lots;
    for (const std::string& thing : rng.sample(chosen[0].things, asked_sorts)) {
        lots.push_back({thing, chosen[0].name, 0});
    }
    while (lots.size() < sorts) {
        const Kind& kind =
            chosen[static_cast<size_t>(rng.between(1, static_cast<int64_t>(chosen.size()) - 1))];
        const std::string thing = rng.pick(kind.things);
        const bool known =
            std::any_of(lots.begin(), lots.end(), [&](const Lot& lot) { return lot.thing == thing; });
        if (!known) {
            lots.push_back({thing, kind.name, 0});
        }
    }
    for (Lot& lot : lots) {
        lot.count = rng.chance(0.4) ? 1 : rng.between(2, 4);
    }
    return lots;
}

std::vector<std::string> counting_facts(const std::vector<Lot>& lots) {
    std::map<std::string, std::vector<std::string>> things_of;
    for (const Lot& lot : lots) {
        things_of[lot.kind].push_back(with_article(lot.thing));
    }
    std::vector<std::string> facts;
    for (const auto& [kind, things] : things_of) {
        facts.push_back(capitalised(and_list(things)) +
                        (things.size() == 1 ? " is " + with_article(kind) : " are " + plural(kind)) + ".");
    }
    return facts;
}

Record make_counting(Rng& rng, const World&, Length length, Wording wording, bool) {
    const size_t sorts =
        static_cast<size_t>(length == Length::normal ? rng.between(3, 4) : rng.between(6, 7));
    std::vector<Lot> lots = random_lots(rng, sorts);
    const std::string asked = lots[0].kind;
    rng.shuffle(lots);

    Instance instance;
    int64_t total = 0;
    std::vector<std::string> listed;
    for (const Lot& lot : lots) {
        listed.push_back(lot.text());
        const std::string is = capitalised(lot.text()) + (lot.count == 1 ? " is " : " are ");
        if (lot.kind != asked) {
            instance.steps.push_back(is + "no " + (lot.count == 1 ? asked : plural(asked)) + ": " +
                                     std::to_string(total) + ".");
            continue;
        }
        instance.steps.push_back(is + (lot.count == 1 ? with_article(asked) : plural(asked)) + ": " +
                                 std::to_string(total) + " + " + std::to_string(lot.count) + " = " +
                                 std::to_string(total + lot.count) + ".");
        total += lot.count;
    }
    instance.question =
        wording == Wording::usual
            ? "On the table I see " + and_list(listed) + ". How many " + plural(asked) + " do I see?"
            : rng.pick(people()) + " paints a picture. It shows " + and_list(listed) +
                  ". What is the number of " + plural(asked) + " in it?";
    instance.facts = counting_facts(lots);
    instance.answer = std::to_string(total);
    return make_record(kCounting, instance);
}

} // namespace

std::vector<Family> list_families() {
    return {bbh_family(kDyck, true, make_dyck), bbh_family(kSorting, true, make_sorting),
            bbh_family(kCounting, true, make_counting)};
}

} // namespace skintern
