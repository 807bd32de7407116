// comparisons.h — differences between arms, paired by question.
//
// An interval is over tasks: what is drawn are whole tasks (statistics.h). With fewer than kFewestTasks of
// them it would promise too much; it is then over questions, and nothing is tested. Training once more moves
// a difference as well: a verdict asks that it holds over training seeds too, where there are two or more.
#pragma once

#include <string>
#include <vector>

#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

inline constexpr const char* kOurs = "skintern";
inline constexpr const char* kBaseline = "std-cot";
inline constexpr size_t kFewestTasks = 6;
inline constexpr double kUntested = -1;

// A difference with its interval over questions or tasks, and in each training seed by itself.
struct Paired {
    Estimate estimate;
    std::vector<double> by_seed;

    Estimate over_seeds() const; // Student's interval; unknown with one seed
    Estimate over_both() const;  // the shortest interval that holds both
};

// SKIntern minus Std-CoT, over questions.
struct Comparison {
    Paired in_domain, out_of_domain;
};

// An arm minus the baseline; p after Holm's correction for all arms of the column, or kUntested.
struct Against {
    std::string name;
    Difference in_domain, out_of_domain, covered, uncovered;
};

// What an interval over these questions is drawn from.
Draw draw_of(const ScoreTable& table);

// A minus b with the interval that the tasks allow.
Difference difference_of(const ScoreTable& a, const ScoreTable& b);

// The same, and in each training seed by itself.
Paired paired_difference_of(const ScoreTable& a, const ScoreTable& b);

Comparison compare_with_baseline(const RunLog& run);

// Every other arm against the baseline; none without it.
std::vector<Against> compare_all(const RunLog& run);

bool is_tested(const Difference& difference);

// "SKIntern - Std-CoT in domain: +1.2 points, 95 % [-2.0, +4.5]: not distinguishable". The interval is over questions, the
// verdict over both.
std::string verdict_line(const char* where, const Paired& difference);

} // namespace skintern
