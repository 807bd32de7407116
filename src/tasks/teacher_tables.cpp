// teacher_tables.cpp — reasoning_about_colored_objects and penguins_in_a_table: look things up and compare
// them.
//
// reasoning_about_colored_objects asks for the color of a thing, for the color of its neighbor in a row, or
// for the number of things that have or have not a color.
// Sizes (things): 3, longer 5 or 7.
//
// penguins_in_a_table asks which penguin has most or least of something, or how many have more or less than a
// limit.
// Sizes (rows): 3, longer 5 or 7.
#include <algorithm>
#include <array>

#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// reasoning_about_colored_objects

constexpr TaskText kColored{
    "reasoning_about_colored_objects", "Colors of things",
    "Answer a question about the colors of some things.",
    "Go through the things in order. For a color, find the thing that is asked for and read its color. "
    "For a number, count one thing after the other."};

const std::vector<std::string>& colored_things() {
    static const std::vector<std::string> names = {"mug",  "pen",  "key",   "comb",  "ball",  "book",
                                                   "hat",  "cup",  "sock",  "bowl",  "brush", "card",
                                                   "shoe", "belt", "spoon", "plate", "towel", "whistle"};
    return names;
}

const std::vector<std::string>& thing_colors() {
    static const std::vector<std::string> names = {"red",    "blue",  "green",  "black", "white", "pink",
                                                   "gray",   "brown", "yellow", "gold",  "teal",  "purple",
                                                   "silver", "tan",   "cream",  "orange"};
    return names;
}

struct Scene {
    std::vector<std::string> things, colors; // colors[i] is that of things[i]
    std::vector<std::string> list() const {  // "a red mug", ...
        std::vector<std::string> parts;
        for (size_t i = 0; i < things.size(); i++) {
            parts.push_back(with_article(colors[i] + " " + things[i]));
        }
        return parts;
    }
};

// What is asked of the scene: the rest of the question, its solution and what helps.
void ask_color(Rng& rng, const Scene& scene, bool usual, bool neighbor, Instance& instance) {
    const size_t n = scene.things.size();
    const bool right = rng.chance(0.5);
    // The thing that the question names: the asked one, or its neighbor, which must be in the row too.
    const int64_t first = neighbor && right ? 1 : 0;
    const int64_t last = static_cast<int64_t>(n) - (neighbor && !right ? 2 : 1);
    const size_t asked = static_cast<size_t>(rng.between(first, last));
    const size_t named = !neighbor ? asked : right ? asked - 1 : asked + 1;
    const std::string side = right ? "right" : "left";
    if (neighbor) {
        instance.question +=
            usual ? " What color is the thing just " + side + " of the " + scene.things[named] + "?"
                  : " Which color comes just " + std::string(right ? "after" : "before") + " that of the " +
                        scene.things[named] + "?";
        instance.steps.push_back("The " + scene.things[named] + " is number " + std::to_string(named + 1) +
                                 ".");
        instance.steps.push_back("Number " + std::to_string(asked + 1) + " is the " + scene.things[asked] +
                                 ".");
        instance.facts.push_back(
            (usual ? "Just " + side + " of a thing is the one " : "Just ") +
            std::string(right ? "after" : "before") +
            (usual ? " it in the list." : " a thing is its neighbor in the list on that side."));
    } else {
        instance.question += usual ? " What color is the " + scene.things[asked] + "?"
                                   : " Name the color of the " + scene.things[asked] + ".";
        instance.facts.push_back("The color stands before the name of the thing.");
    }
    std::vector<std::string> options = scene.colors;
    const std::vector<std::string> shuffled = rng.sample(thing_colors(), thing_colors().size());
    options.push_back(*std::find_if(shuffled.begin(), shuffled.end(), [&](const std::string& color) {
        return std::find(options.begin(), options.end(), color) == options.end();
    }));
    rng.shuffle(options);
    instance.question += options_block(options);
    instance.steps.push_back("The " + scene.things[asked] + " is " + scene.colors[asked] + ".");
    instance.answer = option_letter(index_of(options, scene.colors[asked]));
}

void ask_count(const Scene& scene, bool usual, const std::string& color, bool denied, Instance& instance) {
    const std::string is_color = denied ? "not " + color : color;
    instance.question +=
        usual ? " How many of these things are " + is_color + "?" : " Count those that are " + is_color + ".";
    int64_t count = 0;
    for (size_t i = 0; i < scene.things.size(); i++) {
        count += (scene.colors[i] == color) != denied ? 1 : 0;
        instance.steps.push_back(capitalised(scene.colors[i]) + " " + scene.things[i] + ": " +
                                 std::to_string(count) + ".");
    }
    std::vector<std::string> options;
    for (size_t i = 0; i <= scene.things.size(); i++) {
        options.push_back(std::to_string(i));
    }
    instance.question += options_block(options);
    instance.facts.push_back("Only things that are " + is_color + " add one.");
    instance.facts.push_back("The number 0 is " + option_letter(0) + " and 1 is " + option_letter(1) + ".");
    instance.answer = option_letter(static_cast<size_t>(count));
}

Record make_colored(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool usual = wording == Wording::usual;
    const size_t n = length == Length::normal ? 3 : rng.chance(0.5) ? 5 : 7;
    const int64_t kind = rng.below(3); // color, neighbor, count
    Scene scene{rng.sample(colored_things(), n), rng.sample(thing_colors(), n)};
    const bool denied = rng.chance(0.5);
    const std::string color = scene.colors[0];
    if (kind == 2) { // as many things of the color as make every answer equally likely
        const size_t answer = static_cast<size_t>(rng.below(static_cast<int64_t>(n) + 1));
        const size_t with_color = denied ? n - answer : answer;
        std::vector<std::string> others = thing_colors();
        others.erase(others.begin() + static_cast<int64_t>(index_of(others, color)));
        for (size_t i = 0; i < n; i++) {
            scene.colors[i] = i < with_color ? color : rng.pick(others);
        }
        rng.shuffle(scene.colors);
    }
    Instance instance;
    instance.question =
        usual ? "In a row from left to right lie " + and_list(scene.list()) + "."
              : rng.pick(people()) + " unpacks a bag in this order: " + join(scene.list(), ", ") + ".";
    if (kind == 2) {
        ask_count(scene, usual, color, denied, instance);
    } else {
        ask_color(rng, scene, usual, kind == 1, instance);
    }
    return make_record(kColored, instance);
}

// -----------------------------------------------------------------------------------------------------------
// penguins_in_a_table

constexpr TaskText kPenguins{
    "penguins_in_a_table", "A table of penguins", "Answer a question about a table of penguins.",
    "Find the column that the question is about. Go down the column row by row, and keep the best so "
    "far or the count so far."};

const std::vector<std::string>& penguin_names() {
    static const std::vector<std::string> names = {"Pip",  "Moss", "Tux",   "Juno", "Coco", "Flip",
                                                   "Nora", "Otto", "Wanda", "Bubo", "Skip", "Lumi",
                                                   "Rico", "Kiki", "Balto", "Fifi", "Momo", "Pebble"};
    return names;
}

struct Column {
    const char* name;          // "age", as in the usual header with `unit`
    const char* unit;          // "", " (cm)"
    const char* most;          // "oldest"
    const char* least;         // "youngest"
    const char* more;          // "older than"
    const char* less;          // "younger than"
    const char* limit_unit;    // " years"
    int64_t low, high, stride; // values low, low + stride, ... up to high
};

constexpr std::array<Column, 3> kColumns = {{
    {"age", "", "oldest", "youngest", "older than", "younger than", " years", 2, 15, 1},
    {"height", " (cm)", "tallest", "shortest", "taller than", "shorter than", " cm", 40, 95, 5},
    {"weight", " (kg)", "heaviest", "lightest", "heavier than", "lighter than", " kg", 8, 22, 1},
}};

using Values = std::vector<int64_t>;

// n different values of a column, none at the ends of its range, so that a limit fits below and above.
Values random_values(Rng& rng, const Column& column, size_t n) {
    Values all;
    for (int64_t value = column.low + column.stride; value < column.high; value += column.stride) {
        all.push_back(value);
    }
    return rng.sample(all, n);
}

std::string table_text(const std::vector<std::string>& names, const std::array<Values, 3>& values,
                       bool usual) {
    std::string text = usual ? "Each row is one penguin.\nname" : "A keeper wrote down name";
    for (const Column& column : kColumns) {
        text += std::string(", ") + column.name + column.unit;
    }
    text += usual ? "" : ": ";
    for (size_t i = 0; i < names.size(); i++) {
        text += usual ? "\n" : i == 0 ? "" : "; ";
        text += names[i];
        for (const Values& column : values) {
            text += ", " + std::to_string(column[i]);
        }
    }
    return text + (usual ? "\n" : ". ");
}

void ask_extreme(const std::vector<std::string>& names, const Values& values, const Column& column, bool most,
                 bool usual, Instance& instance) {
    instance.question +=
        usual ? std::string("Which penguin is the ") + (most ? column.most : column.least) + "?"
              : std::string("Whose ") + column.name + " is the " + (most ? "greatest" : "smallest") + "?";
    size_t best = 0;
    for (size_t i = 0; i < names.size(); i++) {
        const bool better = i == 0 || (most ? values[i] > values[best] : values[i] < values[best]);
        best = better ? i : best;
        instance.steps.push_back(
            names[i] + " " + std::to_string(values[i]) +
            (i == 0 ? "." : ": best " + names[best] + " " + std::to_string(values[best]) + "."));
    }
    instance.question += options_block(names);
    instance.answer = option_letter(best);
    instance.facts.push_back(std::string("The ") + (most ? column.most : column.least) + " has the " +
                             (most ? "greatest " : "smallest ") + column.name + ".");
}

// Every count from 1 to the number of rows is equally likely.
void ask_limit(Rng& rng, const Values& values, const Column& column, bool most, bool usual,
               Instance& instance) {
    const size_t n = values.size();
    Values sorted = values;
    std::sort(sorted.begin(), sorted.end());
    if (most) {
        std::reverse(sorted.begin(), sorted.end());
    }
    const size_t answer = static_cast<size_t>(rng.between(1, static_cast<int64_t>(n)));
    const int64_t limit =
        answer < n ? sorted[answer] : sorted.back() + (most ? -column.stride : column.stride);
    const std::string condition =
        std::string(most ? column.more : column.less) + " " + std::to_string(limit) + column.limit_unit;
    instance.question += usual ? "How many penguins are " + condition + "?"
                               : "For how many is the " + std::string(column.name) +
                                     (most ? " above " : " below ") + std::to_string(limit) + "?";
    int64_t count = 0;
    for (const int64_t value : values) {
        const bool counts = most ? value > limit : value < limit;
        count += counts ? 1 : 0;
        instance.steps.push_back(std::to_string(value) + (most ? " > " : " < ") + std::to_string(limit) +
                                 (counts ? " yes: " : " no: ") + std::to_string(count) + ".");
    }
    std::vector<std::string> options;
    for (size_t i = 1; i <= n; i++) {
        options.push_back(std::to_string(i));
    }
    instance.question += options_block(options);
    instance.answer = option_letter(answer - 1);
    instance.facts.push_back("A penguin that has just " + std::to_string(limit) + " does not count.");
    instance.facts.push_back("The number 1 is (A) and 2 is (B).");
}

Record make_penguins(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool usual = wording == Wording::usual;
    const size_t n = length == Length::normal ? 3 : rng.chance(0.5) ? 5 : 7;
    const std::vector<std::string> names = rng.sample(penguin_names(), n);
    std::array<Values, 3> values;
    for (size_t c = 0; c < values.size(); c++) {
        values[c] = random_values(rng, kColumns[c], n);
    }
    const size_t asked = static_cast<size_t>(rng.below(3));
    const Column& column = kColumns[asked];
    const bool most = rng.chance(0.5);

    Instance instance;
    instance.question = table_text(names, values, usual);
    instance.facts = {"The " + std::string(column.name) + " is number " + std::to_string(asked + 2) +
                      " of each row."};
    if (rng.chance(0.5)) {
        ask_extreme(names, values[asked], column, most, usual, instance);
    } else {
        ask_limit(rng, values[asked], column, most, usual, instance);
    }
    return make_record(kPenguins, instance);
}

} // namespace

std::vector<Family> table_families() {
    return {bbh_family(kColored, false, make_colored), bbh_family(kPenguins, true, make_penguins)};
}

} // namespace skintern
