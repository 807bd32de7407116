// methods.h — the methods under comparison, as one table: what stands in the prompt in training, and what at the end.
//
// All share the model, the data, the loop (train.h) and the number of updates; a method is nothing but its prompts and
// its stages.
#pragma once

#include <string>
#include <vector>

#include "batch.h"
#include "compress.h"
#include "curriculum.h"
#include "prompt.h"

namespace skintern {

enum class Knowledge {
    none,     // the question alone
    summary,  // the teacher's learning summary and supplementary knowledge, under LEAD
    passages, // retrieved passages, under WORLD
};

struct Method {
    const char* name;
    bool trained;
    bool curriculum;       // knowledge and examples leave stage by stage
    Knowledge in_training; // what a stage with keep > 0 may show
    Knowledge in_evaluation;
};

inline constexpr Method kMethods[] = {
    {"base", false, false, Knowledge::none, Knowledge::none},
    {"base+knowledge", false, false, Knowledge::none, Knowledge::summary},
    {"std-cot", true, false, Knowledge::none, Knowledge::none},          // fine-tuning on rationales
    {"kard", true, false, Knowledge::passages, Knowledge::passages},     // knowledge in the prompt, always
    {"skintern", true, true, Knowledge::summary, Knowledge::none},       // knowledge in the prompt, then gone
};

// Throws Error naming the methods there are.
const Method& method_by_name(const std::string& name);

// The stages of a method: the curriculum, or one stage that shows what the method always shows.
std::vector<Stage> method_stages(const Method& method, const CurriculumConfig& curriculum);

// The knowledge text of a kind in full.
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
    std::vector<Sample> samples;
    int64_t as_shots = 0;      // rows that serve as examples and are not trained on
    int64_t knowledge_cut = 0; // rows whose knowledge was shortened further to fit the cut-off
    int64_t shots_cut = 0;     // rows that lost examples as well
    int64_t left_out = 0;      // rows whose question and target alone are too long
};

// `ranked` (rows of train) is the summary of each row, ranked for shortening; unused by methods without a curriculum.
StageRows make_stage_rows(const Method& method, const Stage& stage, const std::vector<Record>& train,
                          const std::vector<RankedText>& ranked, const Bpe& bpe, const PromptSettings& settings);

// The prompts of an evaluation.
std::vector<std::string> evaluation_prompts(Knowledge kind, const std::vector<Record>& records,
                                            const Templates& templates);

} // namespace skintern
