// prompt.h — every prompt of the project is made here, and knowledge enters the model nowhere else.
//
//   P T FMT                                          the task
//   (blank line) LEAD or WORLD (newline) knowledge   only while there is knowledge
//   (blank line) Question: q (newline) Answer: r     an example, k times
//   (blank line) Question: Q (newline) Answer: Let's think step by step.
//
// The target is a space, the rationale R, and EOS. Prompt and target are tokenised apart and joined, so the loss mask
// comes from lengths and never from a search in the text. With no knowledge and no examples left this is the std
// prompt, byte for byte: that is the last stage of SKIntern, and the prompt of its evaluation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bpe.h"
#include "task.h"

namespace skintern {

// The wording; data/templates/default.json, or a file with a publication's own.
struct Templates {
    std::string instruction; // P
    std::string format;      // FMT, asks for the mark at the end
    std::string lead;        // LEAD, introduces the teacher's summary
    std::string world;       // WORLD, introduces retrieved passages
    std::map<std::string, std::string> tasks = {}; // T of a task whose records have none, as those of published files
};

Templates read_templates(const std::string& path);

// What stands in the prompt beside the question.
struct Context {
    std::string knowledge;             // text under LEAD, or under WORLD when `retrieved`
    bool retrieved = false;
    std::vector<const Record*> shots;  // examples, in order
};

std::string make_prompt(const Templates& templates, const Record& record, const Context& context);

// The first three passages of the record, numbered, 128 words each at most (KARD).
std::string make_passages(const Record& record);

// One training row, or one question to be answered.
struct Sample {
    std::vector<int32_t> ids;  // prompt, then target and EOS (a question: the prompt alone)
    int64_t prompt_tokens = 0; // ids before the target; at least one
    // Empty: everything after the prompt is labelled. Else (ids) the label of each token, kNoLabel where it has none.
    std::vector<int32_t> labels;
    int64_t target_tokens() const;
};
inline constexpr int32_t kNoLabel = -100; // as in Hugging Face's data collators

// With `chat` the prompt stands between the model's own turn markers (chat.h), which bring their BOS, and no space begins
// the target.
Sample make_sample(const Bpe& bpe, int32_t bos, const std::string& prompt, const std::string& response,
                   bool chat = false);
Sample make_question(const Bpe& bpe, int32_t bos, const std::string& prompt, bool chat = false);

// Seeded draw of `k` examples for each family's block of at most `block` training rows, shared by the block: for each
// row of `train` its examples (of its own family), and whether the row itself is one (then it is left out of training).
struct Shots {
    std::vector<std::vector<const Record*>> of_row; // (rows)
    std::vector<bool> is_shot;                      // (rows)
};
Shots draw_shots(const std::vector<Record>& train, int64_t k, int64_t block, uint64_t seed);

// The paper's way: `k` drawn from the `nearest` rows of the same family whose questions are most like the row's, by the
// cosine of their TF-IDF vectors over words; nearest first. No row is left out of training.
Shots similar_shots(const std::vector<Record>& train, int64_t k, int64_t nearest, uint64_t seed);

} // namespace skintern
