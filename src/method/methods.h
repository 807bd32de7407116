// methods.h — the methods under comparison, as one table: what stands in the prompt in training, and what at the end.
//
// All share the model, the data, the loop (train.h) and the number of updates; a method is nothing but its prompts, its
// targets and its stages. docs/method.md has the table with sources and choices.
#pragma once

#include <string>
#include <vector>

#include "method/batch.h"
#include "method/compress.h"
#include "method/curriculum.h"
#include "method/evaluate.h"
#include "method/prompt.h"

namespace skintern {

enum class Knowledge {
    none,     // the question alone
    summary,  // the teacher's learning summary and supplementary knowledge, under LEAD
    passages, // retrieved passages, under WORLD
    given,    // the passages that the teacher has for the question: what a perfect retriever would find
};

enum class Target {
    response,     // R, which ends MARK A
    rationale,    // R before MARK
    answer,       // A
    answer_first, // MARK A, then R before MARK
};

// One question that a training row asks, and its share of the loss.
struct Part {
    Ask ask;
    Target target;
    double weight;
};

// What a training row asks, one question or two, and what evaluation asks.
struct Tasks {
    Part first;
    Part second;
    Ask evaluated;
    bool cascade() const { return second.ask == Ask::conclusion; } // evaluation asks both, one after the other
};
inline constexpr Part kNoPart = {Ask::think, Target::response, 0};
inline constexpr Tasks kRationales = {{Ask::think, Target::response, 1}, kNoPart, Ask::think};
inline constexpr Tasks kAnswers = {{Ask::answer, Target::answer, 1}, kNoPart, Ask::answer};
// Distilling step-by-step (Hsieh et al. 2023), two variants of MT-CoT (Li et al. 2022), CasCoD (Dai et al. 2024).
inline constexpr Tasks kStepByStep = {
    {Ask::rationale, Target::rationale, 0.7}, {Ask::answer, Target::answer, 0.3}, Ask::answer};
inline constexpr Tasks kAnswerFirst = {
    {Ask::explanation, Target::answer_first, 0.7}, {Ask::prediction, Target::answer, 0.3}, Ask::prediction};
inline constexpr Tasks kExplanation = {
    {Ask::explanation, Target::response, 0.7}, {Ask::prediction, Target::answer, 0.3}, Ask::explanation};
inline constexpr Tasks kCascade = {
    {Ask::rationale, Target::rationale, 0.7}, {Ask::conclusion, Target::answer, 0.3}, Ask::rationale};

// What leaves stage by stage, as the schedule says.
enum class Withdrawn {
    nothing,
    knowledge, // knowledge is shortened, examples become fewer (SKIntern)
    prompt,    // likewise, and P, T, FMT are shortened with the knowledge: the question alone is left (PromptIntern)
    rationale, // the beginning of the target; the prompt stays (stepwise internalization)
};

// What the model writes itself, to fresh questions with the knowledge in its prompt, and then learns from without it.
enum class Own {
    nothing,
    last_stage, // the model of the stage before the last writes; the last stage has teacher's rows and these (ours)
    all,        // the base model writes and is the teacher: its logits are learned (context distillation, Snell et al. 2022)
};

struct Method {
    const char* name;
    bool trained;
    bool by_default; // one of those that `skintern` alone compares
    Tasks tasks;
    Knowledge in_training; // what a stage with keep > 0 may show
    Knowledge in_evaluation;
    Withdrawn withdrawn = Withdrawn::nothing;
    bool examples = false; // K examples in the prompt, in training and in evaluation
    Own own = Own::nothing;

    bool curriculum() const { return withdrawn != Withdrawn::nothing; }
};

inline constexpr Method kMethods[] = {
    {"base", false, true, kRationales, Knowledge::none, Knowledge::none},
    {"base+examples", false, false, kRationales, Knowledge::none, Knowledge::none, Withdrawn::nothing, true},
    {"base+knowledge", false, true, kRationales, Knowledge::none, Knowledge::summary},
    {"ft", true, false, kAnswers, Knowledge::none, Knowledge::none},
    {"kaft", true, false, kAnswers, Knowledge::passages, Knowledge::passages},
    {"std-cot", true, true, kRationales, Knowledge::none, Knowledge::none},
    {"mt-re", true, false, kStepByStep, Knowledge::none, Knowledge::none},
    {"mt-ra", true, false, kAnswerFirst, Knowledge::none, Knowledge::none},
    {"mt-cot", true, false, kExplanation, Knowledge::none, Knowledge::none},
    {"cascod", true, false, kCascade, Knowledge::none, Knowledge::none},
    {"kard", true, true, kRationales, Knowledge::passages, Knowledge::passages}, // Kang et al. 2023
    {"kard-given", true, false, kRationales, Knowledge::given, Knowledge::given},
    {"in-context", true, false, kRationales, Knowledge::none, Knowledge::none, Withdrawn::nothing, true},
    {"skintern", true, true, kRationales, Knowledge::summary, Knowledge::none, Withdrawn::knowledge},
    {"skintern-own", true, false, kRationales, Knowledge::summary, Knowledge::none, Withdrawn::knowledge, false,
     Own::last_stage},
    {"context-distillation", true, false, kRationales, Knowledge::none, Knowledge::none, Withdrawn::nothing, false, Own::all},
    {"promptintern", true, false, kRationales, Knowledge::summary, Knowledge::none, Withdrawn::prompt},
    {"stepwise", true, false, kRationales, Knowledge::none, Knowledge::none, Withdrawn::rationale},
};

// Throws Error naming the methods there are.
const Method& method_by_name(const std::string& name);

// The stages of a method: the curriculum, or one stage that shows what the method always shows.
std::vector<Stage> method_stages(const Method& method, const CurriculumConfig& curriculum);

// The knowledge of a kind in full.
Context full_context(const Record& record, Knowledge kind);

// What all methods' prompts are made with.
struct PromptSettings {
    Templates templates;
    int32_t bos = -1;
    bool chat = false;         // prompts stand between the model's own turn markers
    int64_t cutoff_len = 2048; // tokens of a training row
    std::string shots_from = "block"; // block | similar, see prompt.h
    int64_t shot_block = 1000;        // training rows that share their examples
    int64_t nearest_shots = 6;        // rows that similar examples are drawn from, K
    uint64_t seed = 1;
};

// The training rows of a stage, and what did not fit.
struct StageRows {
    std::vector<Row> rows;
    int64_t as_shots = 0;      // rows that serve as examples and are not trained on
    int64_t knowledge_cut = 0; // rows whose knowledge was shortened further to fit the cut-off
    int64_t shots_cut = 0;     // rows that lost examples as well
    int64_t left_out = 0;      // rows whose question and target alone are too long
};

// `ranked` (rows of train) is the summary of each row, ranked for shortening; unused by methods without a curriculum.
StageRows make_stage_rows(const Method& method, const Stage& stage, const std::vector<Record>& train,
                          const std::vector<RankedText>& ranked, const Bpe& bpe, const PromptSettings& settings);

// Without white space at both ends.
std::string trimmed(const std::string& text);

// The text of each training row that a method's stages shorten.
std::vector<std::string> texts_to_shorten(const Method& method, const std::vector<Record>& train,
                                          const Templates& templates);

// The prompts of an evaluation. `train`: where a method that shows examples takes them from.
std::vector<std::string> evaluation_prompts(const Method& method, const std::vector<Record>& records,
                                            const PromptSettings& settings, const std::vector<Record>& train);

// The answers to a method's own prompts; twice asked where the method is a cascade.
std::vector<EvalRow> evaluate_method(const Method& method, Transformer& model, const Bpe& bpe,
                                     const std::vector<Record>& records, const PromptSettings& settings,
                                     const std::vector<Record>& train, const EvalConfig& config);

} // namespace skintern
