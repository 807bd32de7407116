// prompt.h — every prompt of the project is made here, and knowledge enters the model nowhere else.
//
//   P T FMT                                          the task
//   (blank line) LEAD or WORLD (newline) knowledge   only while there is knowledge
//   (blank line) Question: q (newline) Answer: r     an example, k times
//   (blank line) Question: Q (newline) Answer: Let's think step by step.
//
// Methods that do not ask for a rationale, or ask twice, end otherwise and leave FMT out: see Ask.
//
// The target is a space, the rationale R, and EOS. Prompt and target are tokenised apart and joined, so the loss mask
// comes from lengths and never from a search in the text. With no knowledge and no examples left this is the std
// prompt, byte for byte: that is the last stage of SKIntern, and the prompt of its evaluation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tasks/task.h"
#include "tokenizer/bpe.h"

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

inline constexpr char kMark[] = "Therefore, the answer is";

// What the prompt asks for: how it ends, after "Question: Q".
enum class Ask {
    think,       // (newline) Answer: Let's think step by step.
    answer,      // (newline) Answer:                    FT and KAFT; the second task of Distilling step-by-step
    rationale,   // (newline) Rationale:                 Distilling step-by-step, CasCoD
    explanation, // (newline) [Explanation Generation]:  MT-CoT
    prediction,  // (newline) [Answer Prediction]:       MT-CoT
    conclusion,  // (space) rationale (newline) MARK     CasCoD, once there is a rationale
};

// What stands in the prompt beside the question.
struct Context {
    std::string knowledge;             // text under LEAD, or under WORLD when `retrieved`
    bool retrieved = false;
    std::vector<const Record*> shots;  // examples, in order
    Ask ask = Ask::think;
    std::string rationale;             // for Ask::conclusion
    bool bare = false;                 // `opening` stands for everything before examples and question
    std::string opening;
};

// Everything before examples and question: P T FMT, and the knowledge if there is any.
std::string make_opening(const Templates& templates, const Record& record, const Context& context);

std::string make_prompt(const Templates& templates, const Record& record, const Context& context);

// R before MARK: the rationale without its answer.
std::string rationale_of(const std::string& response);

// The first three passages, numbered, 128 words each at most (KARD).
std::string make_passages(const std::vector<std::string>& passages);

// One training row, or one question to be answered.
struct Sample {
    std::vector<int32_t> ids;  // prompt, then target and EOS (a question: the prompt alone)
    int64_t prompt_tokens = 0; // ids before the target; at least one
    // Empty: everything after the prompt is labelled. Else (ids) the label of each token, kNoLabel where it has none.
    std::vector<int32_t> labels;
    // A row of a multi-task method is one sample a task; the loss is the weighted sum of the tasks' means.
    int64_t task = 0;
    double weight = 1;
    // The same target behind another prompt, in which the frozen base model is the teacher: its logits are learned instead of
    // the target. Empty: none.
    std::vector<int32_t> teacher_ids;
    int64_t teacher_prompt_tokens = 0;
    int64_t target_tokens() const;
};
// What one training row asks: a sample for each task of the method.
using Row = std::vector<Sample>;
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

// Examples for questions of an evaluation: for each record the same `k` training rows of its family, or of all families
// where its own has not so many (an unseen one has none).
std::vector<std::vector<const Record*>> evaluation_shots(const std::vector<Record>& train,
                                                         const std::vector<Record>& records, int64_t k, uint64_t seed);

} // namespace skintern
