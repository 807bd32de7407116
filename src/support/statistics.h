// statistics.h — a mean over questions, and how far to trust it.
//
// A ScoreTable holds Q questions by S seeds. A cell is a score got/of: for accuracy 1/1 or 0/1, for finding
// facts found/needed. The statistic is, with q over questions and s over seeds,
//     mean = 1/S sum_s ( sum_q got[q,s] / sum_q of[q,s] )
// and its interval comes from the bootstrap (Efron 1979): draw Q questions with replacement, each with the
// scores of all its seeds, compute the mean again, 2000 times; the 95 % interval runs from the 2.5th to
// the 97.5th percentile.
//
// What it says: how much the figure would move with other questions of the same kind. What it does not say:
// how much it would move with another training seed; for that, look at difference_by_seed and t_interval. Nor
// with other tasks, whose questions are alike: for that, bootstrap_difference_by_task draws whole tasks. A table
// that is all right or all wrong has an interval of width zero. Same table, same interval, to the bit: the draws
// have a fixed seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

struct Score {
    double got = 0;
    double of = 0; // 0: the question says nothing here (not asked in that seed, or no fact needed)
};

struct ScoreTable {
    int64_t seeds = 0;                  // S
    std::vector<std::string> questions; // (Q) sorted, each once
    std::vector<std::string> groups;    // (Q) the task a question belongs to
    std::vector<Score> scores;          // (Q,S)
};

struct Estimate {
    double mean = 0;
    double lo = 0; // 95 % interval
    double hi = 0;
    int64_t rows = 0; // cells with of > 0; 0: nothing was measured and the other fields mean nothing
    bool known() const { return rows > 0; }
};

inline constexpr int64_t kResamples = 2000;

// The mean alone, without the cost of an interval (lo = hi = mean).
Estimate mean_over_seeds(const ScoreTable& table);

// The mean over all questions, with its interval.
Estimate bootstrap_mean(const ScoreTable& table);

// The mean of the means of the groups: every task counts the same. Questions are drawn within their group.
Estimate bootstrap_macro_mean(const ScoreTable& table);

// mean(a) - mean(b) over the cells that both have; each draw takes the same questions from both, which
// removes what the difficulty of a question does to both alike.
Estimate bootstrap_difference(const ScoreTable& a, const ScoreTable& b);

struct Difference {
    Estimate estimate;
    double p = 1; // two-sided, of no difference at all; at least 2 / (kResamples + 1)
};

// The same mean(a) - mean(b), for a claim about other tasks like these: what is drawn with replacement are tasks
// (`groups`), each with all its questions in all seeds. Questions of a task go together, right or wrong, so that
// they count for less than as many of different tasks. Drawing the questions of a drawn task anew would count
// their spread twice: it is already part of what makes tasks differ (Davison & Hinkley 1997, section 3.8).
// p is twice the share of draws on the rarer side of zero, those at zero included: below 0.05 where the interval
// leaves zero out, but for the rounding of both.
// Fewer than two tasks say nothing of others: the estimate is unknown. With few the interval is too narrow and p
// too small: simulated, the interval of 24 tasks holds the true difference 94 times in 100, of 12 tasks 92
// times, of 6 only 87 times.
Difference bootstrap_difference_by_task(const ScoreTable& a, const ScoreTable& b, uint64_t seed = 1);

// What a resample draws: questions, or tasks, each with all its questions.
enum class Draw { questions, tasks };

// mean(ours) minus the largest of the others' means, over the cells that all have. The largest of several is above what it
// would be with other questions, the more the more there are. Each draw chooses the largest anew, so that the draws are
// too low by about as much as the figure itself is; the interval is therefore the basic one (Davison & Hinkley 1997,
// section 5.2), from 2 figure - 97.5th to 2 figure - 2.5th percentile, which takes that back. Simulated with 12 tasks and
// seven others that are all as good as ours, it lies below zero 12 times in 100, the percentile interval 41 times; with
// one that leads clearly both do as they should.
struct FromBest {
    Estimate estimate; // unknown when the tables have no cell in common
    size_t best = 0;   // which of the others has the largest mean on the data itself
    std::vector<double> by_seed; // mean(ours) minus the mean of that one in each seed, over the same cells
};
FromBest bootstrap_difference_from_best(const ScoreTable& ours, const std::vector<ScoreTable>& others, Draw draw);

// mean(a) / mean(b) over the cells that both have; unknown where mean(b) is not above 0.
Estimate bootstrap_ratio(const ScoreTable& a, const ScoreTable& b, Draw draw);

// Holm's correction (1979) for several tests: the adjusted p of each, in the order given. The k-th smallest of m
// is multiplied by m - k + 1, is at least as large as those before it and at most 1. If every hypothesis whose
// adjusted p is at most alpha is rejected, the chance of rejecting any true one is at most alpha, however the tests
// depend on each other.
std::vector<double> holm(const std::vector<double>& p);

// a - b cell by cell, over the cells that both have: bootstrap_mean of it is bootstrap_difference, and
// bootstrap_macro_mean the difference of macro means. Scores must be of 1.
ScoreTable paired_difference(const ScoreTable& a, const ScoreTable& b);

// Each group as one question whose score is the mean of its questions': bootstrap_mean then draws groups, all of the
// same weight.
ScoreTable means_by_group(const ScoreTable& table);

// mean(a) - mean(b) in each seed that both have, over the same cells.
std::vector<double> difference_by_seed(const ScoreTable& a, const ScoreTable& b);

// Zero lies outside the interval.
bool is_distinguishable(const Estimate& difference);

// Share with Wilson's score interval (1927), for counts without their questions; 0 <= correct <= rows, where correct may
// be a mean of several counts.
Estimate wilson_interval(double correct, int64_t rows);

// The mean of n values, one of each training seed, with Student's interval mean -+ t s / sqrt(n): t is the 97.5 %
// quantile for n - 1 degrees of freedom, s the standard deviation (n - 1 below). One value has an interval without
// ends. Values that come in steps of `grain` can be equal by chance: s is at least grain / sqrt(12), that of rounding to a
// step.
Estimate t_interval(const std::vector<double>& values, double grain = 0);

} // namespace skintern
