// results.h — from the logs of a run to its figures: one struct from which the table, results.json and the
// page are made.
//
// In domain is the split `test`; out of domain are `longer`, `unseen` and `reworded` together. With several
// seeds every figure is the mean over seeds of the figure of one seed. A question keeps its name over seeds
// ("test/navigate-3"), so that the bootstrap draws it with all its seeds at once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "run_log.h"
#include "statistics.h"

namespace skintern {

struct MethodResult {
    std::string name;
    Estimate in_domain, out_of_domain;                            // accuracy over all rows, with interval
    Estimate in_domain_macro, out_of_domain_macro;                // mean of the tasks' accuracies
    std::map<std::string, std::pair<Estimate, Estimate>> by_task; // task -> in domain, out of domain
    std::map<std::string, Estimate> by_split;
    // In domain, so that length and wording are the same on both sides.
    Estimate covered;   // every needed fact is stated by some training response
    Estimate uncovered; // at least one needed fact stands in the knowledge only
    // Part-skills, over all splits.
    Estimate find;   // facts found of the facts needed
    Estimate apply;  // right answers among the rows that found every fact they needed
    Estimate format; // rows in which an answer follows "Therefore, the answer is"
    // Means over all splits; no interval.
    Estimate strict, unreadable, prompt_tokens, new_tokens, flops;
    Estimate flops_relative;              // to std-cot, over the questions both answered
    Estimate train_updates, train_tokens; // mean over seeds; unknown for methods that are not trained
};

struct CurvePoint {
    int64_t stage = 0;
    int64_t step = 0;
    bool knowledge = false;
    Estimate accuracy; // all seeds' rows together, Wilson's interval
};

struct MeterPoint {
    int64_t step = 0;
    double nll_question = 0; // mean over the seeds that measured at this step
    double nll_knowledge = 0;
};

// SKIntern minus Std-CoT, paired by question.
struct Comparison {
    Estimate in_domain, out_of_domain;
    std::vector<double> in_domain_by_seed, out_of_domain_by_seed;
};

// An arm minus the baseline, paired by question, with the interval over tasks and p after Holm's correction for all arms of the
// column. With fewer than kFewestTasks tasks an interval over them would promise too much (statistics.h): it is then that over
// questions, and p is kUntested.
inline constexpr size_t kFewestTasks = 6;
inline constexpr double kUntested = -1;
struct Against {
    std::string name;
    Difference in_domain, out_of_domain, covered, uncovered;
};

// What is claimed of SKIntern, or what a sceptic asks of it, as the difference of two arms.
struct Claim {
    std::string text; // "SKIntern is better than Std-CoT in domain"
    Estimate difference;
};

struct Results {
    std::vector<MethodResult> methods; // in the order of run.json
    std::vector<CurvePoint> curve;     // of skintern, by stage
    std::map<std::string, std::vector<MeterPoint>>
        meter; // method -> points by step; methods without a meter left out
    Comparison comparison;
    std::vector<Claim> claims;    // of which both arms are there
    std::vector<Against> against; // of every other arm with Std-CoT, when that is there
};

inline constexpr const char* kOurs = "skintern";
inline constexpr const char* kBaseline = "std-cot";

Results compute_results(const RunLog& run);

// results.json: keys in a fixed order, null for what was not measured, nothing that depends on time or
// machine speed.
std::string results_to_json(const RunLog& run, const Results& results);

// "SKIntern - Std-CoT in domain: +1.2 points, 95 % [-2.0, +4.5]: not distinguishable".
std::string verdict_line(const char* where, const Estimate& difference);

// "holds: +9.2 points, 95 % [+2.0, +16.4]", "the other way round: ...", "cannot tell: ...".
std::string claim_verdict(const Estimate& difference);

// A difference of shares in points, "+1.2"; nothing is "-0.0".
std::string signed_points(double difference);

// 1234567 as "1.23 M", 2e9 as "2.00 G": three digits.
std::string with_prefix(double value);

// "SKIntern" for "skintern"; a method without a customary spelling keeps its name.
std::string title_of(const std::string& method);

} // namespace skintern
