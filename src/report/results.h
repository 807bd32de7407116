// results.h — from the logs of a run to its figures: one struct from which the table, results.json and the
// page are made.
//
// With several seeds every figure is the mean over seeds of the figure of one seed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "report/ablations.h"
#include "report/claims.h"
#include "report/comparisons.h"
#include "report/gold_in_knowledge.h"
#include "report/run_log.h"
#include "report/set_scores.h"
#include "support/statistics.h"

namespace skintern {

struct MethodResult {
    std::string name;
    Estimate in_domain, out_of_domain;                            // accuracy over all rows, with interval
    Estimate in_domain_macro, out_of_domain_macro;                // mean of the tasks' accuracies
    std::map<std::string, std::pair<Estimate, Estimate>> by_task; // task -> in domain, out of domain
    std::map<std::string, Estimate> by_split;
    std::map<std::string, std::pair<Estimate, Estimate>> by_group; // of tasks (kGroups) -> the same
    // In domain, so that length and wording are the same on both sides.
    Estimate covered;   // every needed fact is stated by some response of the teacher, in the rows as they were generated
    Estimate uncovered; // at least one needed fact stands in the knowledge only
    // Over the questions whose knowledge does not hold the answer.
    Estimate in_domain_without_gold, out_of_domain_without_gold;
    // What fine-tuning cost: the same test questions with the method's own prompt (the question alone, or with the knowledge
    // or the examples that it keeps) and with the knowledge put back.
    Estimate own_prompt, put_back;
    // Part-skills, over all splits.
    Estimate find;   // facts found of the facts needed
    Estimate apply;  // right answers among the rows that found every fact they needed
    Estimate format; // rows in which an answer follows "Therefore, the answer is"
    // Means over all splits; no interval.
    Estimate strict, unreadable, prompt_tokens, new_tokens, flops;
    Estimate flops_relative;              // to std-cot, over the questions both answered, with interval
    Estimate train_updates, train_tokens; // mean over seeds; unknown for methods that are not trained
};

struct CurvePoint {
    int64_t stage = 0;
    int64_t step = 0;
    bool knowledge = false;
    Estimate accuracy; // mean over seeds, Wilson's interval for the questions of one
};

struct MeterPoint {
    int64_t step = 0;
    double nll_question = 0; // mean over the seeds that measured at this step
    double nll_knowledge = 0;
};

// Groups of tasks, after the teacher's families.
inline constexpr const char* kGroups[] = {"as in BIG-Bench Hard", "invented world", "other tasks"};

struct Results {
    std::vector<MethodResult> methods; // in the order of run.json
    std::vector<CurvePoint> curve;     // of skintern, by stage
    std::map<std::string, std::vector<MeterPoint>>
        meter; // method -> points by step; methods without a meter left out
    Comparison comparison;
    std::vector<Claim> claims;    // of which both arms are there
    GoldInKnowledge gold;         // of the run's data
    std::vector<Ablation> ablations;
    std::vector<SetScores> sets;
    std::vector<Against> against; // of every other arm with Std-CoT, when that is there
};

Results compute_results(const RunLog& run);

} // namespace skintern
