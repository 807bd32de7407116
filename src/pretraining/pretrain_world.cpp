// pretrain_world.cpp — the small worlds of pre-training: words, invented names, and facts about them.
//
// A fact is "The <relation> <preposition> <entity> is <value> <unit>." Relations come from a table, or are
// invented words, so that looking a fact up cannot depend on knowing the relation. Names are made of random
// syllables: there are many millions, so a name says nothing, and the only way to a value is the sentence
// that holds it.
#include "pretraining/pretrain.h"

#include <algorithm>
#include <array>

#include "support/check.h"

namespace skintern::pretrain {

namespace {

// ---- syllables --------------------------------------------------------------------------------------------

// There is no "th" and no "c", and no name ends in "s", "e" or "i": so no word of the test families (a
// relative, a coin, a length) comes about by chance.
constexpr std::array kOnsets = {"b", "br", "bl", "d",  "dr", "f",  "fl", "g", "gl", "gr",
                                "h", "j",  "k",  "kr", "l",  "m",  "n",  "p", "pl", "qu",
                                "r", "sk", "sl", "sp", "t",  "tr", "v",  "w", "y",  "z"};
constexpr std::array kVowels = {"a", "e", "i", "o", "u", "a", "e", "o", "ai", "ou"};
constexpr std::array kCodas = {"", "", "", "", "n", "l", "r", "m"}; // of all but the last syllable
constexpr std::array kEnds = {"an",  "en",  "in",  "un",  "or",  "ar",  "ur",   "el",  "il",  "ol",
                              "ul",  "am",  "em",  "om",  "im",  "ak",  "ek",   "ik",  "ok",  "uk",
                              "ix",  "ax",  "ov",  "und", "ond", "ord", "arn",  "usk", "ask", "elm",
                              "olm", "ark", "ild", "amp", "a",   "o",   "enna", "ley"};

template <size_t N>
const char* pick_from(Rng& rng, const std::array<const char*, N>& list) {
    return list[static_cast<size_t>(rng.below(static_cast<int64_t>(N)))];
}

const std::vector<std::string>& common_names() {
    static const std::vector<std::string> names = {
        "Anna", "Ben", "Clara", "Daniel", "Emma",  "Felix", "Grace", "Hanna", "Ida",   "Jack",   "Karl",
        "Lena", "Mia", "Nora",  "Oscar",  "Paula", "Ravi",  "Sarah", "Tom",   "Ulla",  "Victor", "Wanda",
        "Yara", "Zoe", "Peter", "Maria",  "David", "Julia", "Simon", "Laura", "Henry", "Olivia"};
    return names;
}

// ---- the table of relations -------------------------------------------------------------------------------

struct Relation {
    const char* relation;
    const char* preposition;
    Entity entity;
    const char* noun;
    Value value;
    const char* unit;
    Pool pool = Pool::things;
};

const std::vector<Relation>& relations() {
    using enum Entity;
    using V = Value;
    static const std::vector<Relation> table = {
        // numbers
        {"height", "of", object, "tower", V::number, "feet"},
        {"length", "of", object, "bridge", V::number, "yards"},
        {"depth", "of", object, "well", V::number, "feet"},
        {"width", "of", object, "river", V::number, "yards"},
        {"weight", "of", thing, "stone", V::number, "pounds"},
        {"speed", "of", object, "ship", V::number, "knots"},
        {"strength", "of", object, "rope", V::number, "points"},
        {"power", "of", object, "engine", V::number, "units"},
        {"size", "of", thing, "shoe", V::number, ""},
        {"age", "of", person, "", V::number, "years"},
        {"score", "of", person, "", V::number, "points"},
        {"rank", "of", person, "", V::number, ""},
        {"level", "of", person, "", V::number, ""},
        {"room", "of", person, "", V::number, ""},
        {"heat", "of", object, "oven", V::number, "degrees"},
        {"value", "of", thing, "gem", V::number, "points"},
        {"number of doors", "of", object, "house", V::number, ""},
        {"number of pages", "in", object, "book", V::number, ""},
        {"number of windows", "in", object, "hall", V::number, ""},
        {"number of sails", "of", object, "ship", V::number, ""},
        {"number of seats", "in", object, "boat", V::number, ""},
        {"number of bells", "in", object, "tower", V::number, ""},
        {"number of beds", "in", object, "inn", V::number, ""},
        {"number of trees", "in", object, "garden", V::number, ""},
        {"number of seeds", "in", thing, "fruit", V::number, ""},
        {"number of leaves", "on", thing, "plant", V::number, ""},
        {"number of strings", "on", thing, "harp", V::number, ""},
        {"number of houses", "in", place, "", V::number, ""},
        {"number of letters", "", pair, "", V::number, ""},
        {"number of boats", "", pair, "", V::number, ""},
        {"number of signals", "", pair, "", V::number, ""},
        {"delay", "", pair, "", V::number, "minutes"},
        // people
        {"owner", "of", object, "ship", V::person, ""},
        {"captain", "of", object, "ship", V::person, ""},
        {"keeper", "of", object, "tower", V::person, ""},
        {"author", "of", object, "book", V::person, ""},
        {"builder", "of", object, "bridge", V::person, ""},
        {"cook", "of", object, "inn", V::person, ""},
        {"leader", "of", object, "team", V::person, ""},
        {"mayor", "of", place, "", V::person, ""},
        {"ruler", "of", place, "", V::person, ""},
        {"teacher", "of", person, "", V::person, ""},
        {"friend", "of", person, "", V::person, ""},
        {"partner", "of", person, "", V::person, ""},
        {"neighbour", "of", person, "", V::person, ""},
        {"doctor", "of", person, "", V::person, ""},
        {"messenger", "", pair, "", V::person, ""},
        // places
        {"capital", "of", place, "", V::place, ""},
        {"harbour", "of", object, "ship", V::place, ""},
        {"home", "of", person, "", V::place, ""},
        {"guild", "of", person, "", V::place, ""},
        {"next stop", "after", place, "", V::place, ""},
        // words
        {"colour", "of", object, "flag", V::word, "", Pool::colours},
        {"colour", "of", object, "door", V::word, "", Pool::colours},
        {"material", "of", object, "gate", V::word, "", Pool::materials},
        {"taste", "of", thing, "berry", V::word, "", Pool::tastes},
        {"pet", "of", person, "", V::word, "", Pool::animals},
        {"job", "of", person, "", V::word, "", Pool::jobs},
        {"tool", "of", person, "", V::word, "", Pool::tools},
        {"favourite fruit", "of", person, "", V::word, "", Pool::fruits},
        {"sign", "of", object, "inn", V::word, "", Pool::animals},
        {"mood", "of", person, "", V::word, "", Pool::qualities},
        {"cargo", "of", object, "ship", V::word, "", Pool::fruits},
        {"gift", "", pair, "", V::word, "", Pool::things},
    };
    return table;
}

constexpr double kInventedRelations = 0.3; // share of topics whose relation is an invented word
constexpr double kInventedBearers = 0.25;  // share of table topics that are told of "a brask", not of a tower

Topic invent_topic(Rng& rng, Names& names, Entity entity, Value value) {
    using enum Entity;
    static const std::vector<Entity> entities = {person, place, thing, thing, object, pair};
    static const std::vector<Value> values = {Value::number, Value::number, Value::person, Value::place,
                                              Value::word};
    static const std::vector<std::string> nouns = {"house", "stone", "lamp", "box",  "cart", "tree",
                                                   "mill",  "road",  "hill", "coat", "farm", "shop"};
    static const std::vector<Pool> pools = {Pool::colours, Pool::materials, Pool::animals, Pool::fruits,
                                            Pool::things};
    Topic topic;
    topic.relation = names.noun();
    topic.preposition = rng.chance(0.85) ? "of" : "in";
    topic.entity = entity == any ? rng.pick(entities) : entity;
    topic.noun = rng.pick(nouns);
    topic.value = value == Value::any ? rng.pick(values) : value;
    topic.unit = topic.value == Value::number && rng.chance(0.6) ? names.noun() + "s" : "";
    topic.pool = rng.pick(pools);
    return topic;
}

std::string draw_answer(Rng& rng, Names& names, const Topic& topic, int64_t most) {
    switch (topic.value) {
    case Value::number:
        return number(small_number(rng, most));
    case Value::person:
        return names.person();
    case Value::place:
        return names.place();
    default:
        return rng.pick(words_of(topic.pool));
    }
}

bool stands_in(const std::vector<Statement>& list, const std::string& answer) {
    return std::any_of(list.begin(), list.end(), [&](const Statement& s) { return s.answer == answer; });
}

} // namespace

// ---- words and names --------------------------------------------------------------------------------------

const std::vector<std::string>& words_of(Pool pool) {
    static const std::vector<std::string> things = {
        "tree",   "lamp",   "cup",     "hat",     "chair",  "table",   "window", "door",     "river",
        "stone",  "bread",  "water",   "fire",    "ball",   "book",    "pencil", "plate",    "shoe",
        "key",    "clock",  "house",   "boat",    "bell",   "coat",    "glass",  "paper",    "letter",
        "box",    "basket", "rope",    "wheel",   "bridge", "garden",  "field",  "cloud",    "rain",
        "snow",   "wind",   "star",    "moon",    "road",   "wall",    "roof",   "floor",    "bed",
        "bag",    "ring",   "spoon",   "knife",   "bottle", "picture", "music",  "song",     "story",
        "game",   "toy",    "flower",  "leaf",    "seed",   "grass",   "hill",   "lake",     "sea",
        "ship",   "town",   "farm",    "market",  "school", "friend",  "child",  "man",      "woman",
        "people", "hand",   "head",    "foot",    "eye",    "year",    "month",  "week",     "day",
        "hour",   "minute", "morning", "evening", "number", "list",    "word",   "question", "answer",
        "step",   "sum",    "name",    "group",   "order",  "part",    "side",   "end",      "middle"};
    static const std::vector<std::string> colours = {"red",    "blue", "green", "yellow", "black",
                                                     "white",  "grey", "brown", "pink",   "purple",
                                                     "orange", "gold", "silver"};
    static const std::vector<std::string> materials = {"wood", "iron", "stone", "glass", "clay",   "brass",
                                                       "wool", "silk", "paper", "bone",  "copper", "leather"};
    static const std::vector<std::string> tastes = {"sweet", "sour", "bitter", "salty", "mild",  "sharp",
                                                    "plain", "rich", "smoky",  "fresh", "nutty", "dry"};
    static const std::vector<std::string> animals = {
        "cat",  "dog", "horse", "cow",  "goat", "sheep", "rabbit", "fox",   "bear", "snail",
        "duck", "hen", "frog",  "fish", "bird", "crow",  "pig",    "mouse", "bee",  "owl"};
    static const std::vector<std::string> fruits = {
        "apple", "pear",   "plum",  "cherry", "grape",   "peach", "melon",  "banana",
        "lemon", "carrot", "onion", "potato", "cabbage", "bean",  "garlic", "nut"};
    static const std::vector<std::string> jobs = {"baker",   "farmer", "sailor", "smith",
                                                  "weaver",  "singer", "hunter", "miller",
                                                  "painter", "tailor", "guard",  "gardener"};
    static const std::vector<std::string> tools = {"drum", "flute", "violin", "piano", "harp",   "hammer",
                                                   "saw",  "spade", "needle", "brush", "ladder", "lens"};
    static const std::vector<std::string> months = {"January",   "February", "March",    "April",
                                                    "May",       "June",     "July",     "August",
                                                    "September", "October",  "November", "December"};
    static const std::vector<std::string> days = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                  "Friday", "Saturday", "Sunday"};
    static const std::vector<std::string> places = {
        "left", "right",  "forward", "back",     "north",     "south",   "east",   "west",   "up",
        "down", "first",  "second",  "third",    "fourth",    "fifth",   "last",   "before", "after",
        "then", "now",    "today",   "tomorrow", "yesterday", "true",    "false",  "yes",    "no",
        "not",  "and",    "or",      "more",     "less",      "between", "under",  "over",   "start",
        "turn", "around", "take",    "steps",    "again",     "always",  "newest", "oldest"};
    static const std::vector<std::string> qualities = {"old",   "new",   "small", "large", "quiet", "happy",
                                                       "sad",   "warm",  "cold",  "tall",  "short", "bright",
                                                       "dark",  "soft",  "hard",  "quick", "slow",  "clean",
                                                       "young", "early", "late",  "empty", "full",  "strong"};
    static const std::vector<std::string> marks = {"+", "-", "*",   "/",   "(",   ")",   "[",  "]", "{",
                                                   "}", "<", ">",   "=",   "A",   "B",   "C",  "D", "E",
                                                   "x", "y", "(A)", "(B)", "(C)", "(D)", "(E)"};
    switch (pool) {
    case Pool::things:
        return things;
    case Pool::colours:
        return colours;
    case Pool::materials:
        return materials;
    case Pool::tastes:
        return tastes;
    case Pool::animals:
        return animals;
    case Pool::fruits:
        return fruits;
    case Pool::jobs:
        return jobs;
    case Pool::tools:
        return tools;
    case Pool::months:
        return months;
    case Pool::days:
        return days;
    case Pool::places:
        return places;
    case Pool::qualities:
        return qualities;
    case Pool::marks:
        return marks;
    }
    throw Error("unknown pool of words", __FILE__, __LINE__);
}

std::string Names::invent(bool capital) {
    std::string name;
    do {
        name.clear();
        const bool open = capital && rng_.chance(0.12); // "Orla": nouns do without, for they stand after "a"
        const double length = rng_.uniform();
        for (int syllables = length < 0.45 ? 0 : length < 0.9 ? 1 : 2; syllables > 0; syllables--) {
            name += open && name.empty() ? "" : pick_from(rng_, kOnsets);
            name += pick_from(rng_, kVowels);
            name += pick_from(rng_, kCodas);
        }
        name += pick_from(rng_, kOnsets);
        name += pick_from(rng_, kEnds);
        if (capital) {
            name[0] = static_cast<char>(name[0] - 'a' + 'A');
        }
    } while (name.size() < 4 || std::find(used_.begin(), used_.end(), name) != used_.end());
    used_.push_back(name);
    return name;
}

std::string Names::person() {
    if (rng_.chance(0.25)) {
        const std::string& name = rng_.pick(common_names());
        if (std::find(used_.begin(), used_.end(), name) == used_.end()) {
            used_.push_back(name);
            return name;
        }
    }
    return invent(true);
}

std::string Names::place() {
    return invent(true);
}

std::string Names::noun() {
    return invent(false);
}

std::string joined(const std::vector<std::string>& parts, const std::string& between) {
    std::string out;
    for (size_t i = 0; i < parts.size(); i++) {
        out += i == 0 ? "" : between;
        out += parts[i];
    }
    return out;
}

std::string number(int64_t value) {
    return std::to_string(value);
}

int64_t small_number(Rng& rng, int64_t most) {
    return rng.chance(0.65) ? rng.between(2, std::min<int64_t>(20, most)) : rng.between(2, most);
}

std::vector<std::string> different_words(Rng& rng, size_t count) {
    static const std::vector<Pool> pools = {Pool::things,  Pool::things, Pool::things,    Pool::things,
                                            Pool::animals, Pool::fruits, Pool::qualities, Pool::colours};
    std::vector<std::string> words;
    while (words.size() < count) {
        const std::string& word = rng.pick(words_of(rng.pick(pools)));
        if (std::find(words.begin(), words.end(), word) == words.end()) {
            words.push_back(word);
        }
    }
    return words;
}

std::string random_sentence(Rng& rng, Names& names) {
    static const std::vector<std::string> openings = {
        "Today ",      "Yesterday ",      "Then ",           "First ",
        "After that ", "Before noon ",    "A year later ",   "In the evening ",
        "Every week ", "Two days later ", "After the rain ", "Before the snow "};
    static const std::vector<std::string> verbs = {
        "finds",  "opens", "paints", "carries", "sells", "sees",  "cleans",  "brings",  "moves",
        "breaks", "wants", "likes",  "keeps",   "hides", "draws", "repairs", "forgets", "has"};
    static const std::vector<std::string> places = {
        "on the left",      "on the right",  "under the tree",      "near the river",
        "behind the house", "at the market", "in the garden",       "between two walls",
        "beside the road",  "over the hill", "in front of the door"};
    static const std::vector<std::string> many = {
        "cats",  "dogs",  "horses", "cows",  "goats",  "birds", "snails", "ducks",   "apples",
        "pears", "plums", "stones", "books", "chairs", "bells", "boats",  "letters", "flowers"};
    const bool opened = rng.chance(0.4);
    std::string out = opened ? rng.pick(openings) : "";
    const bool named = rng.chance(0.6);
    out += named ? names.person() : (opened ? "the " : "The ") + rng.pick(words_of(Pool::jobs));
    out += " " + rng.pick(verbs) + " ";
    if (rng.chance(0.3)) {
        const std::string thing = rng.pick(many), quality = rng.pick(words_of(Pool::qualities));
        out += number(rng.between(2, 12)) + " " + quality + " " + thing;
    } else {
        const std::string thing = rng.pick(words_of(Pool::things)), quality = rng.pick(words_of(Pool::qualities));
        out += (rng.chance(0.5) ? "the " : "one ") + quality + " " + thing;
    }
    return out + (rng.chance(0.5) ? " " + rng.pick(places) : "") + ".";
}

// ---- numbers ----------------------------------------------------------------------------------------------

size_t index_below(Rng& rng, size_t n) {
    return static_cast<size_t>(rng.below(static_cast<int64_t>(n)));
}

std::vector<size_t> draw_indices(Rng& rng, size_t n, size_t k) {
    std::vector<size_t> all(n);
    for (size_t i = 0; i < n; i++) {
        all[i] = i;
    }
    return rng.sample(std::move(all), k);
}

std::vector<std::string> near_numbers(Rng& rng, int64_t right) {
    std::vector<std::string> out;
    for (int i = 0; i < 4; i++) {
        out.push_back(number(std::max<int64_t>(0, right + rng.between(-6, 6))));
    }
    return out;
}

std::string plus(int64_t a, int64_t b) {
    return number(a) + " plus " + number(b) + " is " + number(a + b) + ".";
}
std::string minus(int64_t a, int64_t b) {
    return number(a) + " minus " + number(b) + " is " + number(a - b) + ".";
}
std::string times(int64_t a, int64_t b) {
    return number(a) + " times " + number(b) + " is " + number(a * b) + ".";
}

std::string comparison(int64_t a, int64_t b) {
    const std::string how = a > b ? " is more than " : a < b ? " is less than " : " is equal to ";
    return number(a) + how + number(b) + ".";
}

// ---- facts ------------------------------------------------------------------------------------------------

Topic draw_topic(Rng& rng, Names& names, Entity entity, Value value) {
    if (!rng.chance(kInventedRelations)) {
        std::vector<const Relation*> fitting;
        for (const Relation& r : relations()) {
            if ((entity == Entity::any || r.entity == entity) && (value == Value::any || r.value == value)) {
                fitting.push_back(&r);
            }
        }
        if (!fitting.empty()) {
            const Relation& r = *rng.pick(fitting);
            Topic topic{r.relation, r.preposition, r.entity, r.noun, r.value, r.unit, r.pool};
            if (topic.entity == Entity::object && entity == Entity::any && rng.chance(kInventedBearers)) {
                topic.entity = Entity::thing;
            }
            return topic;
        }
    }
    return invent_topic(rng, names, entity, value);
}

std::string draw_entity(Rng& rng, Names& names, const Topic& topic) {
    switch (topic.entity) {
    case Entity::person:
        return names.person();
    case Entity::place:
        return names.place();
    case Entity::thing:
        return "a " + names.noun();
    case Entity::object:
        return "the " + (rng.chance(0.85) ? names.place() : names.person()) + " " + topic.noun;
    case Entity::pair: {
        const std::string from = names.place();
        return "from " + from + " to " + names.place();
    }
    case Entity::any:
        break;
    }
    throw Error("a topic must say what it is about", __FILE__, __LINE__);
}

Statement state(const Topic& topic, const std::string& entity, const std::string& answer) {
    Statement s;
    s.entity = entity;
    s.about = "the " + topic.relation + (topic.entity == Entity::pair ? "" : " " + topic.preposition) + " " +
              entity;
    s.answer = answer;
    s.number = topic.value == Value::number ? std::stoll(answer) : 0;
    s.sentence =
        "T" + s.about.substr(1) + " is " + answer + (topic.unit.empty() ? "" : " " + topic.unit) + ".";
    return s;
}

std::vector<Statement> draw_statements_on(Rng& rng, Names& names, const Topic& topic,
                                          const std::vector<std::string>& entities, int64_t most,
                                          bool different) {
    std::vector<Statement> out;
    for (const std::string& entity : entities) {
        std::string answer = draw_answer(rng, names, topic, most);
        while (different && stands_in(out, answer)) {
            answer = draw_answer(rng, names, topic, most);
        }
        out.push_back(state(topic, entity, answer));
    }
    return out;
}

std::vector<Statement> draw_statements(Rng& rng, Names& names, const Topic& topic, size_t count, int64_t most,
                                       bool different) {
    std::vector<std::string> entities;
    for (size_t i = 0; i < count; i++) {
        entities.push_back(draw_entity(rng, names, topic));
    }
    return draw_statements_on(rng, names, topic, entities, most, different);
}

} // namespace skintern::pretrain
