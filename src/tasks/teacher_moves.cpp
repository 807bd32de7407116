// teacher_moves.cpp — navigate and tracking_shuffled_objects: follow what changes, step by step.
//
// navigate: a walk on the plane from (0, 0); the answer is Yes when it ends there. Half of the usual walks
// look ahead all the time and say a direction with each move, the others turn. A walk that does not return is
// one that would, with one number changed.
// Sizes (instructions): 3-4, longer 6-7.
//
// tracking_shuffled_objects: every person has a thing, pairs swap; who has what is restated after every swap.
// Sizes: 3 people and 2-3 swaps, longer 5 or 7 people and as many swaps.
#include <array>
#include <set>

#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// navigate

constexpr TaskText kNavigate{
    "navigate", "Back to the start", "Find out whether a list of moves leads back to where it began.",
    "Start at (0, 0). Write the place, and the facing where there are turns, after every move. The "
    "answer is Yes if the walk ends at (0, 0)."};

// Quarter turns to the right, from ahead (north).
constexpr std::array<const char*, 4> kCompass = {"north", "east", "south", "west"};
constexpr std::array<const char*, 4> kAround = {"forward", "right", "backward", "left"};
constexpr std::array<int64_t, 4> kDx = {0, 1, 0, -1};
constexpr std::array<int64_t, 4> kDy = {1, 0, -1, 0};

struct Move {
    int64_t turn;      // quarter turns to the right, 1..3; 0 for steps
    int64_t steps;     // 0 for a turn
    int64_t direction; // of the steps: where there are no turns, index into kAround and kCompass
};

struct Place {
    int64_t x = 0, y = 0, facing = 0;
    bool home() const { return x == 0 && y == 0; }
    std::string text() const { return "(" + std::to_string(x) + ", " + std::to_string(y) + ")"; }
};

void apply(Place& place, const Move& move) {
    place.facing = (place.facing + move.turn) % 4;
    const size_t direction = static_cast<size_t>((place.facing + move.direction) % 4);
    place.x += kDx[direction] * move.steps;
    place.y += kDy[direction] * move.steps;
}

// Whether the walk leaves the start and comes back to it.
bool returns(const std::vector<Move>& moves) {
    Place place;
    bool left = false;
    for (const Move& move : moves) {
        apply(place, move);
        left = left || !place.home();
    }
    return left && place.home();
}

std::vector<Move> random_walk(Rng& rng, int64_t count, bool turning) {
    std::vector<Move> moves;
    for (int64_t i = 0; i < count; i++) {
        if (turning && rng.chance(0.4)) {
            moves.push_back({rng.between(1, 3), 0, 0});
        } else {
            moves.push_back({0, rng.between(1, 9), turning ? 0 : rng.below(4)});
        }
    }
    return moves;
}

// Changes the number of one move, so that a walk that returned no longer does.
void spoil(Rng& rng, std::vector<Move>& moves) {
    Move* move = nullptr;
    do {
        move = &moves[static_cast<size_t>(rng.below(static_cast<int64_t>(moves.size())))];
    } while (move->steps == 0);
    const int64_t before = move->steps;
    while (move->steps == before) {
        move->steps = rng.between(1, 9);
    }
}

std::string steps_text(int64_t n, const char* unit) {
    return std::to_string(n) + " " + unit + (n == 1 ? "" : "s");
}

std::string turn_text(int64_t turn) {
    return turn == 1 ? "right" : turn == 2 ? "around" : "left";
}

std::string move_text(const Move& move, bool turning, Wording wording) {
    const size_t direction = static_cast<size_t>(move.direction);
    if (wording == Wording::reworded) {
        return "It rolls " + steps_text(move.steps, "tile") + " " + kCompass[direction] + ".";
    }
    return move.steps == 0 ? "Turn " + turn_text(move.turn) + "."
                           : "Go " + steps_text(move.steps, "step") + (turning ? "" : " ") +
                                 (turning ? "" : kAround[direction]) + ".";
}

// What happened and where that leads: "3 left: (-3, 2)."
std::string move_step(const Move& move, const Place& after, bool turning, Wording wording) {
    if (move.steps == 0) {
        return "Turn " + turn_text(move.turn) + ": facing " + kCompass[static_cast<size_t>(after.facing)] +
               ".";
    }
    const size_t direction = static_cast<size_t>(turning ? after.facing : move.direction);
    const bool compass = turning || wording == Wording::reworded;
    return std::to_string(move.steps) + " " + (compass ? kCompass[direction] : kAround[direction]) + ": " +
           after.text() + ".";
}

std::vector<std::string> navigate_facts(const std::vector<Move>& moves, bool turning, Wording wording) {
    const bool compass = turning || wording == Wording::reworded;
    const auto& names = compass ? kCompass : kAround;
    std::vector<std::string> facts;
    if (turning) {
        facts.push_back(
            "The walk begins facing north, and to the right of each comes the next: north, east, south, "
            "west, north.");
        facts.push_back("North and south change the second number, east and west the first.");
        return facts;
    }
    std::set<int64_t> used;
    for (const Move& move : moves) {
        used.insert(move.direction);
    }
    for (const int64_t direction : used) {
        const bool adds = direction == 0 || direction == 1;
        facts.push_back(capitalised(names[static_cast<size_t>(direction)]) +
                        (adds ? " adds to" : " takes from") + " the " +
                        (direction % 2 == 0 ? "second" : "first") + " number.");
    }
    return facts;
}

Record make_navigate(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool turning = wording == Wording::usual && rng.chance(0.5);
    const int64_t count = length == Length::normal ? rng.between(3, 4) : rng.between(6, 7);
    std::vector<Move> moves;
    do {
        moves = random_walk(rng, count, turning);
    } while (!returns(moves));
    const bool home = rng.chance(0.5);
    if (!home) {
        spoil(rng, moves);
    }

    Instance instance;
    instance.question = wording == Wording::reworded ? "A robot stands on a cross painted on the floor."
                        : turning                    ? "Walk as you are told."
                                                     : "Walk as you are told and look ahead all the time.";
    instance.steps = {turning ? "Start: (0, 0), facing north." : "Start: (0, 0)."};
    Place place;
    for (const Move& move : moves) {
        apply(place, move);
        instance.question += " " + move_text(move, turning, wording);
        instance.steps.push_back(move_step(move, place, turning, wording));
    }
    instance.question +=
        wording == Wording::usual ? " Are you back where you began?" : " Is it on the cross at the end?";
    instance.question += "\nOptions:\n- Yes\n- No";
    instance.steps.push_back("The end " + place.text() + (home ? " is" : " is not") + " the start.");
    instance.facts = navigate_facts(moves, turning, wording);
    instance.answer = home ? "Yes" : "No";
    return make_record(kNavigate, instance);
}

// -----------------------------------------------------------------------------------------------------------
// tracking_shuffled_objects

constexpr TaskText kTracking{
    "tracking_shuffled_objects", "Who has what",
    "Find out who has which thing after people have swapped things in pairs.",
    "Write down who has what. After each swap exchange the things of the two people and write down who "
    "has what again."};

const std::vector<std::string>& held_things() {
    static const std::vector<std::string> things = {"cup",   "key",  "map",  "pen",  "fork", "lamp",
                                                    "coin",  "bell", "rope", "book", "ring", "kite",
                                                    "spoon", "hat",  "box",  "drum"};
    return things;
}

const std::vector<std::string>& chair_colors() {
    static const std::vector<std::string> colors = {"red",    "blue",  "green",  "black", "white",  "pink",
                                                    "gray",   "brown", "yellow", "gold",  "orange", "purple",
                                                    "silver", "tan",   "cream",  "teal"};
    return colors;
}

std::string who_has_what(const std::vector<std::string>& names, const std::vector<std::string>& things) {
    std::vector<std::string> parts;
    for (size_t i = 0; i < names.size(); i++) {
        parts.push_back(names[i] + " " + things[i]);
    }
    return join(parts, ", ") + ".";
}

// "First, ", "Then, ", ..., "Finally, ".
std::string swap_opening(size_t i, size_t count, Wording wording) {
    if (wording == Wording::reworded) {
        return "";
    }
    return i == 0 ? "First, " : i + 1 == count ? "Finally, " : "Then, ";
}

Record make_tracking(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool usual = wording == Wording::usual;
    const size_t people_count = length == Length::normal ? 3 : rng.chance(0.5) ? 5 : 7;
    const size_t swaps = length == Length::normal ? static_cast<size_t>(rng.between(2, 3)) : people_count;
    const std::vector<std::string> names = rng.sample(people(), people_count);
    const std::vector<std::string> options = rng.sample(usual ? held_things() : chair_colors(), people_count);
    std::vector<std::string> things = options;

    Instance instance;
    std::vector<std::string> starts;
    for (size_t i = 0; i < people_count; i++) {
        starts.push_back(usual    ? names[i] + " has the " + things[i]
                         : i == 0 ? names[i] + " sits on the " + things[i] + " chair"
                                  : names[i] + " on the " + things[i] + " one");
    }
    instance.question = and_list(starts) + ".";
    instance.steps = {who_has_what(names, things)};
    std::set<std::string> touched;
    for (size_t i = 0; i < swaps; i++) {
        const size_t a = static_cast<size_t>(rng.below(static_cast<int64_t>(people_count)));
        const size_t step = static_cast<size_t>(rng.between(1, static_cast<int64_t>(people_count) - 1));
        const size_t b = (a + step) % people_count;
        std::swap(things[a], things[b]);
        touched.insert(names[a]);
        touched.insert(names[b]);
        const std::string pair = names[a] + " and " + names[b];
        instance.question +=
            " " + swap_opening(i, swaps, wording) + pair + (usual ? " swap." : " change seats.");
        instance.steps.push_back(pair + " swap: " + who_has_what(names, things));
    }
    const size_t asked = static_cast<size_t>(rng.below(static_cast<int64_t>(people_count)));
    instance.question +=
        usual ? " At the end, " + names[asked] + " has the" : " Which chair is " + names[asked] + " on now?";
    instance.question += options_block(options);
    instance.answer = option_letter(index_of(options, things[asked]));
    instance.steps.push_back(names[asked] + " has " + things[asked] + ".");

    instance.facts = {"A swap leaves everybody else as they were."};
    instance.facts.push_back(names[asked] + (touched.count(names[asked]) != 0 ? " takes part in a swap."
                                                                              : " takes part in no swap."));
    std::vector<std::string> letters;
    for (size_t i = 0; i < options.size(); i++) {
        letters.push_back(options[i] + " is " + option_letter(i));
    }
    instance.facts.push_back(capitalised(join(letters, ", ")) + ".");
    return make_record(kTracking, instance);
}

} // namespace

std::vector<Family> move_families() {
    return {bbh_family(kNavigate, false, make_navigate), bbh_family(kTracking, true, make_tracking)};
}

} // namespace skintern
