// pretrain_lists.cpp — lessons that need no facts: the question holds a list or numbers, the summary a
// procedure.
//
// Each solution goes through the list in order and writes down every step, so that each word of it follows
// from the question and the line before.
#include "pretraining/pretrain.h"

#include <algorithm>

namespace skintern::pretrain {

namespace {

using Words = std::vector<std::string>;

const char* kOrdinals[] = {"first", "second", "third", "fourth", "fifth", "sixth"};

Words draw_list(Rng& rng, Names& names, size_t count) {
    if (rng.chance(0.25)) {
        Words list;
        while (list.size() < count) {
            list.push_back(rng.chance(0.5) ? names.person() : names.noun());
        }
        return list;
    }
    return different_words(rng, count);
}

std::string of(const Words& list) {
    return joined(list, ", ");
}

// ---- lists ------------------------------------------------------------------------------------------------

Lesson turn_around(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Turn the list around.", "Read the list from its end to its start and write each word.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        Words list = draw_list(rng, names, 3 + index_below(rng, 3));
        const std::string question = "Turn this list around: " + of(list) + ".";
        std::string steps = "The last word is " + list.back() + ".";
        for (size_t k = list.size() - 1; k > 0; k--) {
            steps += " Before " + list[k] + " comes " + list[k - 1] + ".";
        }
        std::reverse(list.begin(), list.end());
        lesson.exercises.push_back(
            {question, steps + " The list is now " + of(list) + ".", of(list), {}, {}});
    }
    return lesson;
}

Lesson word_at(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Find a word by its position in the list.", "Number the words from the start of the list.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        const Words list = draw_list(rng, names, 3 + index_below(rng, 4));
        const bool last = rng.chance(0.2);
        const size_t k = last ? list.size() - 1 : index_below(rng, list.size());
        std::string steps;
        for (size_t n = 0; n <= k; n++) {
            steps += (n == 0 ? "The " : " The ") + std::string(kOrdinals[n]) + " word is " + list[n] + ".";
        }
        steps += last ? " That is the end of the list." : "";
        lesson.exercises.push_back(
            {"What is the " + std::string(last ? "last" : kOrdinals[k]) + " word of this list? " + of(list),
             steps,
             list[k],
             {},
             list});
    }
    return lesson;
}

Lesson count_words_of_list(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Count the words of the list.", "Go through the list and count one up for each word.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        const Words list = draw_list(rng, names, 2 + index_below(rng, 7));
        Words counted;
        for (size_t k = 0; k < list.size(); k++) {
            counted.push_back(list[k] + " " + number(static_cast<int64_t>(k + 1)));
        }
        const int64_t n = static_cast<int64_t>(list.size());
        lesson.exercises.push_back({"How long is this list? " + of(list),
                                    "Count: " + of(counted) + ".",
                                    number(n),
                                    {},
                                    near_numbers(rng, n)});
    }
    return lesson;
}

Lesson replace_word(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {"Replace one word of the list by another.",
                     "Write the list again. Where the old word stands, write the new one.",
                     {},
                     {}};
    for (size_t i = 0; i < count; i++) {
        Words list = draw_list(rng, names, 4 + index_below(rng, 3));
        const std::string before = of(list);
        const std::string old_word = list.back();
        const std::string new_word = list[list.size() - 2];
        list.resize(list.size() - 2); // two words that are not in the list: one to find, one to write
        const size_t at = index_below(rng, list.size() + 1);
        list.insert(list.begin() + static_cast<int64_t>(at), old_word);
        const std::string question =
            "Replace " + old_word + " by " + new_word + " in this list: " + of(list) + ".";
        list[at] = new_word;
        lesson.exercises.push_back({question,
                                    "The old word is " + old_word + ". The new word is " + new_word +
                                        ". The list is now " + of(list) + ".",
                                    of(list),
                                    {},
                                    {}});
    }
    return lesson;
}

Lesson say_again(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Repeat the words.", "Write the words as often as the question says and count each time.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        const Words list = draw_list(rng, names, 1 + index_below(rng, 3));
        const size_t repeats = 2 + index_below(rng, 3);
        std::string steps;
        Words all;
        for (size_t k = 0; k < repeats; k++) {
            steps +=
                (k == 0 ? "" : " ") + number(static_cast<int64_t>(k + 1)) + ": " + joined(list, " ") + ".";
            all.insert(all.end(), list.begin(), list.end());
        }
        lesson.exercises.push_back(
            {"Say this " + number(static_cast<int64_t>(repeats)) + " times: " + joined(list, " "),
             steps,
             joined(all, " "),
             {},
             {}});
    }
    return lesson;
}

Lesson word_beside(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {"Find the word right before or right after another.",
                     "Find the word in the list, then look at the one beside it.",
                     {},
                     {}};
    for (size_t i = 0; i < count; i++) {
        const Words list = draw_list(rng, names, 4 + index_below(rng, 4));
        const size_t k = index_below(rng, list.size() - 1);
        const bool after = rng.chance(0.5);
        const std::string& given = after ? list[k] : list[k + 1];
        const std::string& found = after ? list[k + 1] : list[k];
        const std::string side = after ? "after " : "before ";
        lesson.exercises.push_back({"Which word stands right " + side + given + " in this list? " + of(list),
                                    "The list has " + list[k] + ", " + list[k + 1] + ". Right " + side +
                                        given + " stands " + found + ".",
                                    found,
                                    {},
                                    list});
    }
    return lesson;
}

Lesson is_in_list(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Say whether a word is in the list.", "Compare the word with each word of the list.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        Words list = draw_list(rng, names, 4 + index_below(rng, 3));
        const std::string stranger = list.back();
        list.pop_back();
        const bool in = rng.chance(0.5);
        const std::string wanted = in ? rng.pick(list) : stranger;
        Words compared;
        for (const std::string& word : list) {
            compared.push_back(word + (word == wanted ? " is the word" : " is not"));
            if (word == wanted) {
                break;
            }
        }
        lesson.exercises.push_back({"Is " + wanted + " in this list? " + of(list),
                                    "The word is " + wanted + ". " + of(compared) + ".",
                                    in ? "Yes" : "No",
                                    {},
                                    {"Yes", "No"}});
    }
    return lesson;
}

// Words are put at the two ends or taken away, one after the other.
Lesson change_ends(Rng& rng, Names& names, size_t count) {
    Lesson lesson = {
        "Change the list step by step.", "Do one step at a time and write the list after each step.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        const Words all = draw_list(rng, names, 7);
        Words list(all.begin(), all.begin() + 3);
        std::string question = "The list is " + of(list) + ".";
        std::string steps = "The list is " + of(list) + ".";
        const size_t length = 1 + index_below(rng, 4);
        for (size_t k = 0; k < length; k++) {
            const std::string& word = all[3 + k];
            std::string action;
            switch (list.size() > 2 ? rng.below(3) : rng.below(2)) {
            case 0:
                action = "Add " + word + " at the end.";
                list.push_back(word);
                break;
            case 1:
                action = "Add " + word + " at the start.";
                list.insert(list.begin(), word);
                break;
            default: {
                const size_t at = index_below(rng, list.size());
                action = "Take " + list[at] + " away.";
                list.erase(list.begin() + static_cast<int64_t>(at));
            }
            }
            question += " " + action;
            steps += " " + action + " Now it is " + of(list) + ".";
        }
        lesson.exercises.push_back({question + " What is the list now?", steps, of(list), {}, {}});
    }
    return lesson;
}

// ---- numbers ----------------------------------------------------------------------------------------------

Lesson counter(Rng& rng, Names&, size_t count) {
    Lesson lesson = {
        "Follow the counter.", "Keep the number of the counter and change it at each step.", {}, {}};
    for (size_t i = 0; i < count; i++) {
        int64_t value = rng.between(2, 20);
        std::string question = "The counter stands at " + number(value) + ".";
        std::string steps = "The counter stands at " + number(value) + ".";
        for (int64_t n = rng.between(1, 5); n > 0; n--) {
            const int64_t k = rng.between(1, 12);
            if (value <= 25 && rng.chance(0.2)) {
                question += " Double it.";
                steps += " " + times(2, value);
                value *= 2;
            } else if (value >= k && rng.chance(0.5)) {
                question += " Take away " + number(k) + ".";
                steps += " " + minus(value, k);
                value -= k;
            } else {
                question += " Add " + number(k) + ".";
                steps += " " + plus(value, k);
                value += k;
            }
        }
        lesson.exercises.push_back(
            {question + " Where does it stand?", steps, number(value), {}, near_numbers(rng, value)});
    }
    return lesson;
}

// 4 plus 5 minus 3, from left to right.
Lesson long_sum(Rng& rng, Names&, size_t count) {
    Lesson lesson = {"Compute from left to right.",
                     "Take the first two numbers, then go on with the result and the next number.",
                     {},
                     {}};
    for (size_t i = 0; i < count; i++) {
        int64_t value = small_number(rng, 40);
        std::string question = "What is " + number(value);
        Words steps;
        for (int64_t n = rng.between(1, 4); n > 0; n--) {
            const int64_t k = small_number(rng, 40);
            const bool take_away = value >= k && rng.chance(0.45);
            question += (take_away ? " minus " : " plus ") + number(k);
            steps.push_back(take_away ? minus(value, k) : plus(value, k));
            value += take_away ? -k : k;
        }
        lesson.exercises.push_back(
            {question + "?", joined(steps, " "), number(value), {}, near_numbers(rng, value)});
    }
    return lesson;
}

Lesson extreme_number(Rng& rng, Names&, size_t count) {
    const bool largest = rng.chance(0.5);
    const std::string word = largest ? "largest" : "smallest";
    Lesson lesson = {"Find the " + word + " number.",
                     "Keep the " + word + " number so far and compare it with the next one.",
                     {},
                     {}};
    for (size_t i = 0; i < count; i++) {
        std::vector<int64_t> list;
        Words asked;
        for (int64_t n = rng.between(2, 6); n > 0; n--) {
            list.push_back(small_number(rng, 99));
            asked.push_back(number(list.back()));
        }
        int64_t best = list[0];
        Words steps;
        for (size_t k = 1; k < list.size(); k++) {
            steps.push_back(comparison(list[k], best));
            best = largest ? std::max(best, list[k]) : std::min(best, list[k]);
        }
        lesson.exercises.push_back({"What is the " + word + " of these numbers? " + of(asked),
                                    "Begin with " + asked[0] + ". " + joined(steps, " "),
                                    number(best),
                                    {},
                                    asked});
    }
    return lesson;
}

} // namespace

const std::vector<LessonFamily>& list_lessons() {
    static const std::vector<LessonFamily> families = {
        {"turn_around", 5, turn_around},
        {"word_at", 7, word_at},
        {"count_words", 5, count_words_of_list},
        {"replace_word", 5, replace_word},
        {"say_again", 4, say_again},
        {"word_beside", 6, word_beside},
        {"is_in_list", 5, is_in_list},
        {"change_ends", 7, change_ends},
        {"counter", 8, counter},
        {"long_sum", 8, long_sum},
        {"extreme_number", 6, extreme_number},
    };
    return families;
}

} // namespace skintern::pretrain
