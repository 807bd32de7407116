// eval_rows.h — answered questions: a row of eval/<split>.jsonl or of eval's --out, to JSON and back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tasks/task.h"

namespace skintern {

struct EvalRow {
    std::string id, task_name, benchmark, split, coverage;
    int64_t prompt_tokens = 0;
    int64_t new_tokens = 0; // EOS included
    int64_t flops = 0;      // of prompt and new tokens, see flops.h
    std::string question, gold, generated;
    bool correct = false, strict = false, readable = false;
    int64_t facts_needed = 0;
    int64_t facts_found = 0; // of those, whose sentence stands in the generated text
};

// One line. Bytes of `generated` that are not UTF-8 become U+FFFD: a model may stop in the middle of a character.
std::string eval_row_to_json(const EvalRow& row);
// `where` ("file.jsonl:12") begins every error message.
EvalRow eval_row_from_json(const std::string& line, const std::string& where);

// JSONL, whole or not at all.
void write_eval(const std::string& path, const std::vector<EvalRow>& rows);

int64_t count_correct(const std::vector<EvalRow>& rows);

// The file of an evaluation that may be stopped at any time. A row is appended as its question is finished, so the rows
// stand in the order of finishing until finish() puts them into the order of the questions. What made them stands
// beside it, in PATH.settings.json: only the same settings continue a file.
class EvalFile {
public:
    // An empty file, or with `resume` the one that is there: its rows are kept, but for a last line cut mid-write.
    EvalFile(const std::string& path, const nlohmann::ordered_json& settings, bool resume);

    const std::vector<EvalRow>& rows() const { return rows_; }
    bool cut() const { return cut_; } // a last line was dropped; its question is asked again
    // Of `records`, those without a row. Throws Error when a row is not the answer to one of them.
    std::vector<Record> unanswered(const std::vector<Record>& records) const;
    void append(const EvalRow& row);
    // All rows in the order of `records`, which must all be answered; writes them.
    const std::vector<EvalRow>& finish(const std::vector<Record>& records);

private:
    void take_up(const nlohmann::ordered_json& settings);

    std::string path_;
    std::vector<EvalRow> rows_;
    bool cut_ = false;
};

} // namespace skintern
