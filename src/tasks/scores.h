// scores.h — what answered questions come to: by task, by benchmark, over all rows and as means; and `score`, which
// judges a file of generations by any program.
//
// An accuracy over one group of rows has Wilson's 95 % interval; a mean of tasks or benchmarks, in which each counts the
// same, has the bootstrap of statistics.h with questions drawn within their task or benchmark. Both say how much the
// figure would move with other questions, not with another training run.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "support/statistics.h"
#include "tasks/eval_rows.h"

namespace skintern {

struct GroupScore {
    std::string name;
    Estimate accuracy;
    double strict = 0, unreadable = 0;                   // shares of the rows
    double prompt_tokens = 0, new_tokens = 0, flops = 0; // means a question; 0 where the rows do not say
};

struct Scores {
    std::vector<GroupScore> tasks;      // in the order in which they first stand in the rows
    std::vector<GroupScore> benchmarks; // the same; empty unless the rows name two or more
    GroupScore all;                     // over all rows (micro)
    Estimate task_mean;                 // mean of the tasks (macro)
    Estimate benchmark_mean;            // mean of the benchmarks, as the paper's last column; unknown without them
};

Scores compute_scores(const std::vector<EvalRow>& rows);

void print_scores(const Scores& scores, std::FILE* out);

// Judges each line of a JSONL file: an object with task or task_name, question, gold and generated. Writes each of them
// to `out` with the fields correct, strict, readable and answer (what was read) set, and returns them all.
std::vector<EvalRow> score_file(const std::string& path, std::FILE* out);

} // namespace skintern
