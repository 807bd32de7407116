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
// how much it would move with another training seed; for that, look at difference_by_seed. A table that is
// all right or all wrong has an interval of width zero. Same table, same interval, to the bit: the draws have
// a fixed seed.
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

// The same, as a test: how much the difference would move with other tasks and other training runs. Tasks are drawn with
// replacement, each with all its questions, because questions of one task are alike; and so are seeds. p is two-sided: twice
// the share of draws on the other side of zero, at least 2 / (kResamples + 1).
struct Tested {
    Estimate difference;
    double p = 1;
};
Tested clustered_difference(const ScoreTable& a, const ScoreTable& b);

// Holm 1979: the p values of several tests, each raised so that one wrongly significant among them is as rare as promised.
std::vector<double> holm(const std::vector<double>& p);

// Mean of a few independent values and its 95 % interval by Student's t; of one value an interval without end.
Estimate t_interval(const std::vector<double>& values);

// mean(a) - mean(b) in each seed that both have, over the same cells.
std::vector<double> difference_by_seed(const ScoreTable& a, const ScoreTable& b);

// Zero lies outside the interval.
bool is_distinguishable(const Estimate& difference);

// Share with Wilson's score interval (1927), for counts without their questions; 0 <= correct <= rows.
Estimate wilson_interval(int64_t correct, int64_t rows);

} // namespace skintern
