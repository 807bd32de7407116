// pretrain_facts.cpp — lessons whose solution looks facts up: state each fact word for word, then compute.
//
// Each maker draws a world of 5 to 9 facts and then exercises on it. The facts that no exercise needs are the
// distractors: facts of the same relation on other entities, so that only the name tells which one is meant.
#include "pretraining/pretrain.h"

#include <algorithm>

namespace skintern::pretrain {

namespace {

using Rows = std::vector<Statement>;

// ---- helpers ----------------------------------------------------------------------------------------------

std::vector<std::string> sentences(const Rows& rows) {
    std::vector<std::string> out;
    for (const Statement& row : rows) {
        out.push_back(row.sentence);
    }
    return out;
}

std::vector<std::string> answers(const Rows& rows) {
    std::vector<std::string> out;
    for (const Statement& row : rows) {
        out.push_back(row.answer);
    }
    return out;
}

std::string question_word(const Topic& topic) {
    return topic.value == Value::person ? "Who" : "What";
}

// Rows of one relation, in a lesson that is still without exercises.
Lesson begin(const Rows& rows, const std::string& description, const std::string& summary) {
    return {description, summary, sentences(rows), {}};
}

Topic draw_number_topic(Rng& rng, Names& names) {
    return draw_topic(rng, names, Entity::any, Value::number);
}

// ---- one fact ---------------------------------------------------------------------------------------------

Lesson look_up(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_topic(rng, names, Entity::any, Value::any);
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 99, false);
    const std::vector<std::string> descriptions = {"Find the " + topic.relation + ".", "Answer the question.",
                                                   "Look up the " + topic.relation + " that is asked for."};
    const std::vector<std::string> summaries = {
        "Find the fact about the right name and give its value.",
        "To answer, read the fact that names the same thing as the question."};
    const std::string summary = rng.pick(summaries);
    Lesson lesson = begin(rows, rng.pick(descriptions), summary);
    for (size_t i = 0; i < count; i++) {
        const size_t k = index_below(rng, rows.size());
        lesson.exercises.push_back({question_word(topic) + " is " + rows[k].about + "?",
                                    rows[k].sentence,
                                    rows[k].answer,
                                    {k},
                                    answers(rows)});
    }
    return lesson;
}

// Two relations on the same entities: neither the name nor the relation alone finds the fact.
Lesson look_up_among_two(Rng& rng, Names& names, size_t count) {
    const Entity entity = rng.chance(0.6) ? Entity::person : Entity::place;
    const Topic first = draw_topic(rng, names, entity, Value::any);
    Topic second = draw_topic(rng, names, entity, Value::any);
    while (second.relation == first.relation) {
        second = draw_topic(rng, names, entity, Value::any);
    }
    const size_t half = 3 + index_below(rng, 2);
    Rows rows = draw_statements(rng, names, first, half, 99, false);
    std::vector<std::string> entities;
    for (const Statement& row : rows) {
        entities.push_back(row.entity);
    }
    const Rows more = draw_statements_on(rng, names, second, entities, 99, false);
    rows.insert(rows.end(), more.begin(), more.end());
    Lesson lesson =
        begin(rows, "Answer a question about the " + first.relation + " or the " + second.relation + ".",
              "Find the fact that has both the name and the word of the question.");
    for (size_t i = 0; i < count; i++) {
        const size_t k = index_below(rng, rows.size());
        lesson.exercises.push_back({question_word(k < half ? first : second) + " is " + rows[k].about + "?",
                                    rows[k].sentence,
                                    rows[k].answer,
                                    {k},
                                    {}});
    }
    return lesson;
}

// From the value back to the entity.
Lesson reverse_look_up(Rng& rng, Names& names, size_t count) {
    Topic topic = draw_topic(rng, names, Entity::any, Value::any);
    while (topic.entity == Entity::pair) {
        topic = draw_topic(rng, names, Entity::any, Value::any);
    }
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 99, true);
    std::vector<std::string> entities;
    for (const Statement& row : rows) {
        entities.push_back(row.entity);
    }
    Lesson lesson = begin(rows, "Find what has the given " + topic.relation + ".",
                          "Find the fact that ends with the value and give its name.");
    const std::string opening = topic.entity == Entity::person ? "Who" : "What";
    for (size_t i = 0; i < count; i++) {
        const size_t k = index_below(rng, rows.size());
        const std::string unit = topic.unit.empty() ? "" : " " + topic.unit;
        lesson.exercises.push_back(
            {opening + " has the " + topic.relation + " " + rows[k].answer + unit + "?",
             rows[k].sentence,
             rows[k].entity,
             {k},
             entities});
    }
    return lesson;
}

// ---- facts and one or two sums ----------------------------------------------------------------------------

Lesson sum(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_number_topic(rng, names);
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 60, false);
    const std::vector<std::string> summaries = {"Find the number of each and add them.",
                                                "State the facts, then add the numbers one after the other."};
    Lesson lesson = begin(rows, "Find the sum of several numbers.", rng.pick(summaries));
    for (size_t i = 0; i < count; i++) {
        const std::vector<size_t> needs = draw_indices(rng, rows.size(), 2 + index_below(rng, 3));
        std::vector<std::string> asked;
        std::vector<std::string> steps;
        std::vector<std::string> additions;
        int64_t total = 0;
        for (const size_t k : needs) {
            asked.push_back(rows[k].about);
            steps.push_back(rows[k].sentence);
            if (steps.size() > 1) {
                additions.push_back(plus(total, rows[k].number));
            }
            total += rows[k].number;
        }
        lesson.exercises.push_back({"What is " + joined(asked, " plus ") + "?",
                                    joined(steps, " ") + " " + joined(additions, " "), number(total), needs,
                                    near_numbers(rng, total)});
    }
    return lesson;
}

Lesson difference(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_number_topic(rng, names);
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 99, true);
    Lesson lesson = begin(rows, "Find the difference of two numbers.",
                          "Find both numbers and take the smaller from the larger.");
    for (size_t i = 0; i < count; i++) {
        std::vector<size_t> needs = draw_indices(rng, rows.size(), 2);
        if (rows[needs[0]].number < rows[needs[1]].number) {
            std::swap(needs[0], needs[1]);
        }
        const Statement& a = rows[needs[0]];
        const Statement& b = rows[needs[1]];
        const std::string question = rng.chance(0.5)
                                         ? "How much more is " + a.about + " than " + b.about + "?"
                                         : "What is " + a.about + " minus " + b.about + "?";
        lesson.exercises.push_back({question, a.sentence + " " + b.sentence + " " + minus(a.number, b.number),
                                    number(a.number - b.number), needs,
                                    near_numbers(rng, a.number - b.number)});
    }
    return lesson;
}

Lesson product(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_number_topic(rng, names);
    const int64_t most = rng.chance(0.8) ? 12 : 30;
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), most, false);
    Lesson lesson = begin(rows, "Multiply the " + topic.relation + " by a number.",
                          "Find the number in the facts, then multiply.");
    for (size_t i = 0; i < count; i++) {
        const size_t k = index_below(rng, rows.size());
        const int64_t factor = rng.between(2, 9);
        lesson.exercises.push_back({"What is " + number(factor) + " times " + rows[k].about + "?",
                                    rows[k].sentence + " " + times(factor, rows[k].number),
                                    number(factor * rows[k].number),
                                    {k},
                                    near_numbers(rng, factor * rows[k].number)});
    }
    return lesson;
}

// k times a, and then a second fact more or less: two facts, two steps.
Lesson mixed_sum(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_number_topic(rng, names);
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 30, false);
    Lesson lesson = begin(rows, "Multiply one number, then add or take away another.",
                          "Begin with the first number. Multiply it, then add or take away the second one.");
    for (size_t i = 0; i < count; i++) {
        const std::vector<size_t> needs = draw_indices(rng, rows.size(), 2);
        const Statement& a = rows[needs[0]];
        const Statement& b = rows[needs[1]];
        const int64_t factor = rng.between(2, 5);
        const int64_t first = factor * a.number;
        const bool take_away = first >= b.number && rng.chance(0.5);
        const int64_t result = take_away ? first - b.number : first + b.number;
        lesson.exercises.push_back({"Multiply " + a.about + " by " + number(factor) + ", then " +
                                        (take_away ? "take away " : "add ") + b.about +
                                        ". What is the result?",
                                    a.sentence + " " + times(factor, a.number) + " " + b.sentence + " " +
                                        (take_away ? minus(first, b.number) : plus(first, b.number)),
                                    number(result), needs, near_numbers(rng, result)});
    }
    return lesson;
}

// ---- comparing --------------------------------------------------------------------------------------------

Lesson compare(Rng& rng, Names& names, size_t count) {
    Topic topic = draw_number_topic(rng, names);
    while (topic.entity == Entity::pair) {
        topic = draw_number_topic(rng, names);
    }
    const bool greatest = rng.chance(0.5);
    const std::string word = greatest ? "largest" : "smallest";
    const Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 99, true);
    Lesson lesson = begin(rows, "Find which one has the " + word + " " + topic.relation + ".",
                          "State the numbers and keep the " + word + " so far.");
    for (size_t i = 0; i < count; i++) {
        const std::vector<size_t> needs = draw_indices(rng, rows.size(), 2 + index_below(rng, 3));
        std::vector<std::string> asked;
        std::string steps;
        size_t best = needs[0];
        for (const size_t k : needs) {
            asked.push_back(rows[k].entity);
            steps += (steps.empty() ? "" : " ") + rows[k].sentence;
            if (k != needs[0]) {
                steps += " " + comparison(rows[k].number, rows[best].number);
            }
            if (greatest == (rows[k].number > rows[best].number)) {
                best = k;
            }
        }
        steps += " The " + word + " number is " + rows[best].answer + ".";
        const std::string last = asked.back();
        std::vector<std::string> all = asked;
        asked.pop_back();
        const std::string opening = topic.entity == Entity::person ? "Who" : "Which";
        lesson.exercises.push_back({opening + " has the " + word + " " + topic.relation + ": " +
                                        joined(asked, ", ") + " or " + last + "?",
                                    steps, rows[best].entity, needs, all});
    }
    return lesson;
}

// Yes or no: equal, more or less than a number or than another fact.
Lesson yes_or_no(Rng& rng, Names& names, size_t count) {
    const Topic topic = draw_number_topic(rng, names);
    Rows rows = draw_statements(rng, names, topic, 5 + index_below(rng, 4), 40, false);
    for (size_t k = 1; k < rows.size(); k += 2) { // equal pairs, or the answer would nearly always be no
        rows[k] = state(topic, rows[k].entity, rng.chance(0.5) ? rows[k - 1].answer : rows[k].answer);
    }
    Lesson lesson = begin(rows, "Compare numbers and answer yes or no.",
                          "State the facts, compare the numbers, and answer Yes or No.");
    for (size_t i = 0; i < count; i++) {
        const std::vector<size_t> pair = draw_indices(rng, rows.size(), 2);
        const bool related = rng.chance(0.5);
        const Statement& a = rows[related ? pair[0] / 2 * 2 : pair[0]];
        const size_t other = related ? std::min(pair[0] / 2 * 2 + 1, rows.size() - 1) : pair[1];
        const Statement& b = rows[other];
        const int64_t limit = rng.between(2, 40);
        Exercise e;
        switch (&a == &b ? 0 : rng.below(3)) {
        case 0:
            e.question = "Is " + a.about + " more than " + number(limit) + "?";
            e.steps = a.sentence + " " + comparison(a.number, limit);
            e.answer = a.number > limit ? "Yes" : "No";
            break;
        case 1:
            e.question = "Is " + a.about + " less than " + b.about + "?";
            e.steps = a.sentence + " " + b.sentence + " " + comparison(a.number, b.number);
            e.answer = a.number < b.number ? "Yes" : "No";
            break;
        default:
            e.question = "Is " + a.about + " equal to " + b.about + "?";
            e.steps = a.sentence + " " + b.sentence + " " + comparison(a.number, b.number);
            e.answer = a.number == b.number ? "Yes" : "No";
        }
        for (size_t k = 0; k < rows.size(); k++) {
            if (e.steps.find(rows[k].sentence) != std::string::npos) {
                e.needs.push_back(k);
            }
        }
        e.others = {"Yes", "No"};
        lesson.exercises.push_back(e);
    }
    return lesson;
}

// ---- chains -----------------------------------------------------------------------------------------------

// "Who is the doctor of the captain of the Orla ship?": each value is the next entity. `hops` relations over
// as many layers of facts, `width` chains beside one another.
Lesson chain(Rng& rng, Names& names, size_t count, size_t hops, size_t width, bool ends_in_sum) {
    std::vector<Topic> topics;
    Rows rows;
    std::vector<std::string> entities;
    while (topics.size() < hops) {
        const bool last = topics.size() + 1 == hops;
        const Value value = !last ? Value::person : ends_in_sum ? Value::number : Value::any;
        const Topic topic = draw_topic(rng, names, topics.empty() ? Entity::any : Entity::person, value);
        if (std::any_of(topics.begin(), topics.end(),
                        [&](const Topic& t) { return t.relation == topic.relation; })) {
            continue;
        }
        for (size_t w = 0; topics.empty() && w < width; w++) {
            entities.push_back(draw_entity(rng, names, topic));
        }
        const Rows layer = draw_statements_on(rng, names, topic, entities, 60, true);
        rows.insert(rows.end(), layer.begin(), layer.end());
        entities = answers(layer);
        topics.push_back(topic);
    }
    Lesson lesson =
        begin(rows, "Follow the facts from one to the next.",
              "Begin with the last name of the question. Each answer is the name for the next fact.");
    for (size_t i = 0; i < count; i++) {
        const size_t w = index_below(rng, width);
        std::string asked = rows[w].about;
        std::string steps = rows[w].sentence;
        std::vector<size_t> needs = {w};
        for (size_t h = 1; h < hops; h++) {
            asked = "the " + topics[h].relation + " " + topics[h].preposition + " " + asked;
            steps += " " + rows[h * width + w].sentence;
            needs.push_back(h * width + w);
        }
        const Statement& end = rows[(hops - 1) * width + w];
        if (ends_in_sum) {
            const int64_t more = rng.between(2, 20);
            lesson.exercises.push_back({"What is " + asked + " plus " + number(more) + "?",
                                        steps + " " + plus(end.number, more), number(end.number + more),
                                        needs, near_numbers(rng, end.number + more)});
        } else {
            lesson.exercises.push_back({question_word(topics.back()) + " is " + asked + "?", steps,
                                        end.answer, needs,
                                        answers({rows.end() - static_cast<int64_t>(width), rows.end()})});
        }
    }
    return lesson;
}

Lesson two_hops(Rng& rng, Names& names, size_t count) {
    return chain(rng, names, count, 2, 3 + index_below(rng, 2), false);
}
Lesson three_hops(Rng& rng, Names& names, size_t count) {
    return chain(rng, names, count, 3, 3, false);
}
Lesson hops_and_sum(Rng& rng, Names& names, size_t count) {
    return chain(rng, names, count, 2, 3, true);
}

// The same relation again and again, along a row of names: 2 to 5 steps.
Lesson walk(Rng& rng, Names& names, size_t count) {
    const bool people = rng.chance(0.5);
    const Topic topic = draw_topic(rng, names, people ? Entity::person : Entity::place,
                                   people ? Value::person : Value::place);
    std::vector<std::string> stops;
    for (int64_t n = rng.between(6, 9); n > 0; n--) {
        stops.push_back(people ? names.person() : names.place());
    }
    Rows rows;
    for (size_t k = 0; k + 1 < stops.size(); k++) {
        rows.push_back(state(topic, stops[k], stops[k + 1]));
    }
    Lesson lesson = begin(rows, "Take the " + topic.relation + " several times.",
                          "Write one fact for each step. The value of one step is the name of the next.");
    for (size_t i = 0; i < count; i++) {
        const size_t length = 2 + index_below(rng, 4);
        const size_t from = index_below(rng, stops.size() - length);
        std::string steps;
        std::vector<size_t> needs;
        for (size_t k = from; k < from + length; k++) {
            steps += (steps.empty() ? "" : " ") + ("Step " + number(static_cast<int64_t>(k - from + 1))) +
                     ": " + rows[k].sentence;
            needs.push_back(k);
        }
        lesson.exercises.push_back({"Begin with " + stops[from] + " and take the " + topic.relation + " " +
                                        number(static_cast<int64_t>(length)) + " times. What comes out?",
                                    steps, stops[from + length], needs, stops});
    }
    return lesson;
}

} // namespace

const std::vector<LessonFamily>& fact_lessons() {
    static const std::vector<LessonFamily> families = {
        {"look_up", 16, look_up},
        {"look_up_among_two", 8, look_up_among_two},
        {"reverse_look_up", 6, reverse_look_up},
        {"sum", 12, sum},
        {"difference", 6, difference},
        {"product", 8, product},
        {"mixed_sum", 6, mixed_sum},
        {"compare", 7, compare},
        {"yes_or_no", 5, yes_or_no},
        {"two_hops", 9, two_hops},
        {"three_hops", 6, three_hops},
        {"hops_and_sum", 4, hops_and_sum},
        {"walk", 6, walk},
    };
    return families;
}

} // namespace skintern::pretrain
