// benchmarks.h — published test files as they are: which layout a row has, and the Record it becomes.
//
//   BIG-Bench Hard  one object a file: {"canary", "examples": [{"input", "target"}]}; the task is the file's name
//   GSM-Plus        JSONL: question, answer, perturbation_type, seed_question, seed_answer, ...
//   ARC             JSONL: id, question {stem, choices [{text, label}]}, answerKey; or, as Hugging Face flattens it,
//                   question (a text), choices {text [...], label [...]}, answerKey
//   AGIEval         JSONL: passage, question, options ["(A)..."], label, answer
//   GSM8K           JSONL: question, answer (a worked solution, then "#### 18")
//
// A row is recognised by its fields; read_records() (task.h) asks here before it takes a row for a record of its own.
// Nothing but question, options and answer reaches a Record: the canary of BIG-Bench Hard stays in its file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tasks/task.h"

namespace skintern {

// Where a row stands.
struct RowPlace {
    std::string where;   // "file.jsonl:12", begins every message
    std::string task;    // the file's name without folder and ending
    size_t number = 0;   // from 1
};

struct BenchmarkLayout {
    const char* benchmark;           // as its authors call it
    std::vector<const char*> signs;  // a row with one of these fields has this layout
    // Empty for a row that has no answer and is left out.
    std::optional<Record> (*read)(const nlohmann::json& row, const RowPlace& place);
};

// nullptr: no published layout; a record, or nothing that is known.
const BenchmarkLayout* find_layout(const nlohmann::json& row);

// Throws Error when records of a published test file are to be trained on. GSM8K's own training split, train.jsonl, and
// recorded teacher data are no test files.
void check_trainable(const std::vector<Record>& records, const std::string& path);

} // namespace skintern
