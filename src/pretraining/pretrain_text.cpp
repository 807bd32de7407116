// pretrain_text.cpp — the mix of pre-training documents, and lessons laid out as prompts.
//
// A document is made from (seed, index) alone: index i of one seed is the same whatever was made before it.
// Its length is 60 to 350 words (a question alone may be shorter); one that falls outside is drawn again.
#include "pretraining/pretrain.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tasks/teacher.h"

namespace skintern::pretrain {

namespace {

// ---- the mix ----------------------------------------------------------------------------------------------

struct Share {
    Kind kind;
    double weight;
    int64_t least_words;
};

constexpr int64_t kMostWords = 350;
constexpr std::array<Share, 4> kMix = {{
    {Kind::repetition, 0.35, 60},
    {Kind::knowledge, 0.45, 60},
    {Kind::question_only, 0.10, 36}, // short: evaluation prompts have no knowledge and no examples
    {Kind::arithmetic, 0.10, 60},
}};

// Lessons with knowledge: facts, rules, lists. Lessons without: the same three.
constexpr std::array<double, 3> kKnowledgeLessons = {0.70, 0.15, 0.15};
constexpr std::array<double, 3> kQuestionLessons = {0.35, 0.10, 0.55};

constexpr double kOptions = 0.2;      // share of lessons that offer options (A), (B), ...
constexpr double kYesNoOptions = 0.3; // share of yes-or-no lessons that list both
constexpr double kExampleFacts = 0.5; // share of knowledge blocks that hold the facts of the examples too
constexpr double kFactsByLine = 0.5;  // else in one paragraph
constexpr double kShortened = 0.12;   // share of knowledge blocks without small words, as if compressed
constexpr double kFromExamples = 0.4; // share of question-only fact lessons with their facts in the examples

// The layout of prompts (docs/method.md, "Prompt and target").
const char* const kInstruction = "Solve the task.";
const char* const kFormat = "End with \"Therefore, the answer is\".";
const char* const kLead = "This knowledge helps:";
const char* const kThink = "Let's think step by step.";

// ---- lessons as prompts -----------------------------------------------------------------------------------

// Letters for the right answer and up to four wrong ones; the answer becomes the letter.
void offer_options(Rng& rng, Exercise& e) {
    std::vector<std::string> options;
    rng.shuffle(e.others);
    for (const std::string& other : e.others) {
        if (other != e.answer && options.size() < 4 &&
            std::find(options.begin(), options.end(), other) == options.end()) {
            options.push_back(other);
        }
    }
    if (options.empty()) {
        return;
    }
    options.push_back(e.answer);
    rng.shuffle(options);
    e.question += "\nOptions:";
    std::string letter;
    for (size_t i = 0; i < options.size(); i++) {
        const std::string label = std::string("(") + static_cast<char>('A' + i) + ")";
        e.question += "\n" + label + " " + options[i];
        if (options[i] == e.answer) {
            letter = label;
        }
    }
    e.steps += " Option " + letter + " is " + e.answer + ".";
    e.answer = letter;
}

void offer_options(Rng& rng, Lesson& lesson) {
    const bool letters = rng.chance(kOptions);
    const bool yes_no = rng.chance(kYesNoOptions);
    for (Exercise& e : lesson.exercises) {
        if (e.answer == "Yes" || e.answer == "No") {
            e.question += yes_no ? "\nOptions:\n- Yes\n- No" : "";
        } else if (letters && !e.others.empty()) {
            offer_options(rng, e);
        }
    }
}

std::string response(const Exercise& e) {
    return e.steps + " Therefore, the answer is " + e.answer + ".";
}

void add_missing(std::vector<size_t>& into, const std::vector<size_t>& from) {
    for (const size_t k : from) {
        if (std::find(into.begin(), into.end(), k) == into.end()) {
            into.push_back(k);
        }
    }
}

// Needed facts and two to four others, shuffled.
std::vector<std::string> with_distractors(Rng& rng, const Lesson& lesson, const std::vector<size_t>& needs) {
    std::vector<size_t> chosen;
    add_missing(chosen, needs);
    const size_t wanted = chosen.size() + 2 + index_below(rng, 3);
    for (const size_t k : draw_indices(rng, lesson.facts.size(), lesson.facts.size())) {
        if (chosen.size() < wanted) {
            add_missing(chosen, {k});
        }
    }
    rng.shuffle(chosen);
    std::vector<std::string> out;
    for (const size_t k : chosen) {
        out.push_back(lesson.facts[k]);
    }
    return out;
}

std::string lay_out(const Lesson& lesson, const std::string& knowledge) {
    std::string text = std::string(kInstruction) + " " + lesson.description + " " + kFormat;
    if (!knowledge.empty()) {
        text += std::string("\n\n") + kLead + "\n" + knowledge;
    }
    for (size_t i = 0; i < lesson.exercises.size(); i++) {
        const bool last = i + 1 == lesson.exercises.size();
        text += "\n\nQuestion: " + lesson.exercises[i].question +
                "\nAnswer: " + (last ? std::string(kThink) + " " : "") + response(lesson.exercises[i]);
    }
    return text;
}

// Most of the small words left out: what the curriculum's middle stages show instead of whole sentences.
std::string without_small_words(Rng& rng, const std::string& text) {
    static const std::vector<std::string> small = {"The", "the", "of",  "is",   "a",   "A",
                                                   "in",  "to",  "and", "then", "from"};
    std::string out;
    for (size_t from = 0; from < text.size();) {
        const size_t space = std::min(text.find_first_of(" \n", from), text.size());
        const std::string word = text.substr(from, space - from);
        if (std::find(small.begin(), small.end(), word) == small.end() || rng.chance(0.3)) {
            out += text.substr(from, space + 1 - from);
        }
        from = space + 1;
    }
    return out;
}

// The first `count` exercises with different questions.
void keep_different(Lesson& lesson, size_t count) {
    std::vector<Exercise> kept;
    for (const Exercise& e : lesson.exercises) {
        const bool known = std::any_of(kept.begin(), kept.end(),
                                       [&](const Exercise& k) { return k.question == e.question; });
        if (!known && kept.size() < count) {
            kept.push_back(e);
        }
    }
    lesson.exercises = std::move(kept);
}

const LessonFamily& draw_family(Rng& rng, const std::array<double, 3>& shares) {
    const size_t sort = draw_by_weight(rng, shares.size(), [&](size_t i) { return shares[i]; });
    const std::vector<LessonFamily>& families = sort == 0   ? fact_lessons()
                                                : sort == 1 ? rule_lessons()
                                                            : list_lessons();
    return families[draw_by_weight(rng, families.size(), [&](size_t i) { return families[i].weight; })];
}

Document knowledge_document(Rng& rng) {
    static const std::vector<size_t> example_counts = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3};
    const LessonFamily& family = draw_family(rng, kKnowledgeLessons);
    Names names(rng);
    const size_t examples = rng.pick(example_counts);
    Lesson lesson = family.make(rng, names, 1 + 2 * examples);
    keep_different(lesson, 1 + examples);
    std::string knowledge = lesson.summary;
    if (!lesson.facts.empty()) {
        std::vector<size_t> needs = lesson.exercises.back().needs;
        if (rng.chance(kExampleFacts)) {
            for (const Exercise& e : lesson.exercises) {
                add_missing(needs, e.needs);
            }
        }
        const std::string between = rng.chance(kFactsByLine) ? "\n" : " ";
        knowledge += "\n" + joined(with_distractors(rng, lesson, needs), between);
    }
    const bool shortened = rng.chance(kShortened);
    if (shortened) {
        knowledge = without_small_words(rng, knowledge);
    }
    offer_options(rng, lesson);
    return {Kind::knowledge, family.name, shortened, lay_out(lesson, knowledge)};
}

// Puts an exercise last whose facts all stand in the solutions of the others; false when there is none.
bool end_with_known_facts(Lesson& lesson) {
    for (size_t i = 0; i < lesson.exercises.size(); i++) {
        std::vector<size_t> known;
        for (size_t j = 0; j < lesson.exercises.size(); j++) {
            if (j != i) {
                add_missing(known, lesson.exercises[j].needs);
            }
        }
        const std::vector<size_t>& needs = lesson.exercises[i].needs;
        if (std::all_of(needs.begin(), needs.end(),
                        [&](size_t k) { return std::find(known.begin(), known.end(), k) != known.end(); })) {
            std::swap(lesson.exercises[i], lesson.exercises.back());
            return true;
        }
    }
    return false;
}

Document question_document(Rng& rng) {
    static const std::vector<size_t> example_counts = {0, 0, 0, 0, 0, 0, 1, 1, 2, 3};
    const LessonFamily& family = draw_family(rng, kQuestionLessons);
    Names names(rng);
    const bool from_examples = rng.chance(kFromExamples);
    const size_t examples = rng.pick(example_counts);
    Lesson lesson = family.make(rng, names, from_examples ? 5 : 1 + examples);
    if (lesson.facts.empty()) {
        lesson.exercises.resize(1 + examples);
    } else if (!from_examples || !end_with_known_facts(lesson)) {
        lesson.exercises.resize(1 + std::min<size_t>(examples, 2));
        for (Exercise& e : lesson.exercises) {
            e.question = joined(with_distractors(rng, lesson, e.needs), " ") + " " + e.question;
        }
    }
    offer_options(rng, lesson);
    return {Kind::question_only, family.name, false, lay_out(lesson, "")};
}

} // namespace

// ---- documents --------------------------------------------------------------------------------------------

int64_t count_words(const std::string& text) {
    int64_t words = 0;
    bool inside = false;
    for (const char c : text) {
        const bool letter = c != ' ' && c != '\n';
        words += letter && !inside ? 1 : 0;
        inside = letter;
    }
    return words;
}

Document make_document(uint64_t seed, int64_t index) {
    Rng stream(seed, "pretraining");
    Rng rng(stream.next() ^ static_cast<uint64_t>(index), "document");
    const Share& share = kMix[draw_by_weight(rng, kMix.size(), [](size_t i) { return kMix[i].weight; })];
    while (true) {
        Document document = share.kind == Kind::repetition      ? repetition_document(rng)
                            : share.kind == Kind::knowledge     ? knowledge_document(rng)
                            : share.kind == Kind::question_only ? question_document(rng)
                                                                : arithmetic_document(rng);
        const int64_t words = count_words(document.text);
        if (words >= share.least_words && words <= kMostWords) {
            return document;
        }
    }
}

} // namespace skintern::pretrain

namespace skintern {

std::string pretraining_document(uint64_t seed, int64_t index) {
    return pretrain::make_document(seed, index).text;
}

} // namespace skintern
