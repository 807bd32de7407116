// statistics.cpp — a mean over questions, and how far to trust it.
//
// Cost: 2000 Q S additions an interval. All sums run in the order of the questions, so a result depends on
// the table alone.
#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "check.h"
#include "rng.h"

namespace skintern {

namespace {

constexpr uint64_t kBootstrapSeed = 1;
constexpr double kTail = 0.025;              // on either side of a 95 % interval
constexpr double kNormalQuantile = 1.959964; // of 1 - kTail

// Sums of scores by seed, and the mean over the seeds that have any.
class SeedSums {
public:
    explicit SeedSums(int64_t seeds) : sums_(static_cast<size_t>(seeds)) {}
    void clear() { std::fill(sums_.begin(), sums_.end(), Score{}); }
    void add(const Score* scores) { // (S)
        for (size_t s = 0; s < sums_.size(); s++) {
            sums_[s].got += scores[s].got;
            sums_[s].of += scores[s].of;
        }
    }
    double mean() const {
        double sum = 0;
        int64_t seeds = 0;
        for (const Score& score : sums_) {
            if (score.of > 0) {
                sum += score.got / score.of;
                seeds++;
            }
        }
        return seeds > 0 ? sum / static_cast<double>(seeds) : 0;
    }

private:
    std::vector<Score> sums_; // (S)
};

const Score* scores_of(const ScoreTable& table, size_t q) {
    return table.scores.data() + q * static_cast<size_t>(table.seeds);
}

bool says_something(const ScoreTable& table, size_t q) {
    const Score* scores = scores_of(table, q);
    return std::any_of(scores, scores + table.seeds, [](const Score& score) { return score.of > 0; });
}

// The questions with a score: a draw of only silent ones would have no mean.
ScoreTable without_silent_questions(const ScoreTable& table) {
    CHECK(table.groups.size() == table.questions.size() &&
              table.scores.size() == table.questions.size() * static_cast<size_t>(table.seeds),
          "a table of %zu questions and %ld seeds has %zu groups and %zu scores", table.questions.size(),
          static_cast<long>(table.seeds), table.groups.size(), table.scores.size());
    ScoreTable kept;
    kept.seeds = table.seeds;
    for (size_t q = 0; q < table.questions.size(); q++) {
        if (says_something(table, q)) {
            kept.questions.push_back(table.questions[q]);
            kept.groups.push_back(table.groups[q]);
            kept.scores.insert(kept.scores.end(), scores_of(table, q), scores_of(table, q) + table.seeds);
        }
    }
    return kept;
}

int64_t count_rows(const ScoreTable& table) {
    return std::count_if(table.scores.begin(), table.scores.end(), [](const Score& s) { return s.of > 0; });
}

// The value at share q of sorted values, linear between neighbours.
double percentile(const std::vector<double>& sorted, double q) {
    const double position = q * static_cast<double>(sorted.size() - 1);
    const size_t below = static_cast<size_t>(position);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// `redraw(rng)` computes the statistic on one resample.
template <class Redraw>
Estimate with_interval(double mean, int64_t rows, Redraw redraw) {
    Rng rng(kBootstrapSeed, "bootstrap");
    std::vector<double> values(static_cast<size_t>(kResamples));
    for (double& value : values) {
        value = redraw(rng);
    }
    std::sort(values.begin(), values.end());
    return {mean, percentile(values, kTail), percentile(values, 1 - kTail), rows};
}

size_t draw(Rng& rng, size_t n) {
    return static_cast<size_t>(rng.below(static_cast<int64_t>(n)));
}

// The cells that both samples have, question by question; everything else is left out of both.
std::pair<ScoreTable, ScoreTable> in_pairs(const ScoreTable& a, const ScoreTable& b) {
    CHECK(a.seeds == b.seeds, "tables of %ld and %ld seeds cannot be paired", static_cast<long>(a.seeds),
          static_cast<long>(b.seeds));
    std::map<std::string, size_t> position_in_b;
    for (size_t q = 0; q < b.questions.size(); q++) {
        position_in_b[b.questions[q]] = q;
    }
    ScoreTable pair_a, pair_b;
    pair_a.seeds = pair_b.seeds = a.seeds;
    for (size_t q = 0; q < a.questions.size(); q++) {
        const auto found = position_in_b.find(a.questions[q]);
        if (found == position_in_b.end()) {
            continue;
        }
        for (int64_t s = 0; s < a.seeds; s++) {
            const Score score_a = scores_of(a, q)[s];
            const Score score_b = scores_of(b, found->second)[s];
            const bool both = score_a.of > 0 && score_b.of > 0;
            pair_a.scores.push_back(both ? score_a : Score{});
            pair_b.scores.push_back(both ? score_b : Score{});
        }
        for (ScoreTable* pair : {&pair_a, &pair_b}) {
            pair->questions.push_back(a.questions[q]);
            pair->groups.push_back(a.groups[q]);
        }
    }
    return {without_silent_questions(pair_a), without_silent_questions(pair_b)};
}

} // namespace

// ---- one table -----------------------------------------------------------------------------------------

Estimate mean_over_seeds(const ScoreTable& table) {
    SeedSums sums(table.seeds);
    for (size_t q = 0; q < table.questions.size(); q++) {
        sums.add(scores_of(table, q));
    }
    return {sums.mean(), sums.mean(), sums.mean(), count_rows(table)};
}

Estimate bootstrap_mean(const ScoreTable& all) {
    const ScoreTable table = without_silent_questions(all);
    const Estimate plain = mean_over_seeds(table);
    if (!plain.known()) {
        return plain;
    }
    SeedSums sums(table.seeds);
    return with_interval(plain.mean, plain.rows, [&](Rng& rng) {
        sums.clear();
        for (size_t i = 0; i < table.questions.size(); i++) {
            sums.add(scores_of(table, draw(rng, table.questions.size())));
        }
        return sums.mean();
    });
}

Estimate bootstrap_macro_mean(const ScoreTable& all) {
    const ScoreTable table = without_silent_questions(all);
    std::map<std::string, std::vector<size_t>> questions_of; // group -> positions
    for (size_t q = 0; q < table.questions.size(); q++) {
        questions_of[table.groups[q]].push_back(q);
    }
    if (questions_of.empty()) {
        return {};
    }
    SeedSums sums(table.seeds);
    // `choose(members, i)` is the position of the i-th question of a group.
    const auto mean_of_groups = [&](auto choose) {
        double sum = 0;
        for (const auto& [group, members] : questions_of) {
            sums.clear();
            for (size_t i = 0; i < members.size(); i++) {
                sums.add(scores_of(table, choose(members, i)));
            }
            sum += sums.mean();
        }
        return sum / static_cast<double>(questions_of.size());
    };
    using Members = std::vector<size_t>;
    const double mean = mean_of_groups([](const Members& members, size_t i) { return members[i]; });
    return with_interval(mean, count_rows(table), [&](Rng& rng) {
        return mean_of_groups(
            [&](const Members& members, size_t) { return members[draw(rng, members.size())]; });
    });
}

// ---- two samples ---------------------------------------------------------------------------------------

Estimate bootstrap_difference(const ScoreTable& a, const ScoreTable& b) {
    const auto [pair_a, pair_b] = in_pairs(a, b);
    const Estimate mean_a = mean_over_seeds(pair_a);
    const Estimate mean_b = mean_over_seeds(pair_b);
    if (!mean_a.known()) {
        return {};
    }
    SeedSums sums_a(pair_a.seeds), sums_b(pair_b.seeds);
    const ScoreTable& left = pair_a; // a structured binding cannot be captured
    const ScoreTable& right = pair_b;
    return with_interval(mean_a.mean - mean_b.mean, mean_a.rows, [&](Rng& rng) {
        sums_a.clear();
        sums_b.clear();
        for (size_t i = 0; i < left.questions.size(); i++) {
            const size_t q = draw(rng, left.questions.size());
            sums_a.add(scores_of(left, q));
            sums_b.add(scores_of(right, q));
        }
        return sums_a.mean() - sums_b.mean();
    });
}

Tested clustered_difference(const ScoreTable& a, const ScoreTable& b) {
    const auto [pair_a, pair_b] = in_pairs(a, b);
    const Estimate mean_a = mean_over_seeds(pair_a);
    if (!mean_a.known()) {
        return {};
    }
    // Sums of each task and seed, once: a draw adds up tasks.
    const size_t seeds = static_cast<size_t>(pair_a.seeds);
    std::map<std::string, std::vector<std::pair<Score, Score>>> sums; // task -> (S)
    for (size_t q = 0; q < pair_a.questions.size(); q++) {
        auto& task = sums[pair_a.groups[q]];
        task.resize(seeds);
        for (size_t s = 0; s < seeds; s++) {
            for (const auto& [sum, table] : {std::pair(&task[s].first, &pair_a), {&task[s].second, &pair_b}}) {
                sum->got += scores_of(*table, q)[s].got;
                sum->of += scores_of(*table, q)[s].of;
            }
        }
    }
    std::vector<const std::vector<std::pair<Score, Score>>*> tasks;
    for (const auto& [name, task] : sums) {
        tasks.push_back(&task);
    }
    int64_t not_above = 0, not_below = 0;
    const double mean = mean_a.mean - mean_over_seeds(pair_b).mean;
    const Estimate difference = with_interval(mean, mean_a.rows, [&](Rng& rng) {
        std::vector<size_t> drawn(tasks.size());
        std::generate(drawn.begin(), drawn.end(), [&] { return draw(rng, tasks.size()); });
        double sum = 0;
        int64_t counted = 0;
        for (size_t i = 0; i < seeds; i++) {
            const size_t s = draw(rng, seeds);
            Score of_a, of_b;
            for (const size_t t : drawn) {
                of_a.got += (*tasks[t])[s].first.got, of_a.of += (*tasks[t])[s].first.of;
                of_b.got += (*tasks[t])[s].second.got, of_b.of += (*tasks[t])[s].second.of;
            }
            if (of_a.of > 0 && of_b.of > 0) {
                sum += of_a.got / of_a.of - of_b.got / of_b.of;
                counted++;
            }
        }
        const double value = counted > 0 ? sum / static_cast<double>(counted) : 0;
        not_above += value <= 0;
        not_below += value >= 0;
        return value;
    });
    const double smaller = static_cast<double>(std::min(not_above, not_below)) + 1;
    return {difference, std::min(1.0, 2 * smaller / static_cast<double>(kResamples + 1))};
}

std::vector<double> holm(const std::vector<double>& p) {
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p[i] < p[j]; });
    std::vector<double> adjusted(p.size());
    double largest = 0;
    for (size_t rank = 0; rank < order.size(); rank++) {
        const double raised = p[order[rank]] * static_cast<double>(p.size() - rank);
        largest = std::max(largest, std::min(1.0, raised));
        adjusted[order[rank]] = largest;
    }
    return adjusted;
}

Estimate t_interval(const std::vector<double>& values) {
    // Quantile 0.975 of Student's distribution with 1, 2, ... degrees of freedom.
    constexpr double kQuantiles[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                     2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
    if (values.empty()) {
        return {};
    }
    const double n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double squares = 0;
    for (const double value : values) {
        squares += (value - mean) * (value - mean);
    }
    const size_t freedom = values.size() - 1;
    const double quantile = freedom == 0 ? INFINITY : freedom <= std::size(kQuantiles) ? kQuantiles[freedom - 1] : kNormalQuantile;
    const double half = freedom == 0 ? INFINITY : quantile * std::sqrt(squares / static_cast<double>(freedom) / n);
    return {mean, mean - half, mean + half, static_cast<int64_t>(values.size())};
}

std::vector<double> difference_by_seed(const ScoreTable& a, const ScoreTable& b) {
    const auto [pair_a, pair_b] = in_pairs(a, b);
    std::vector<double> differences;
    for (int64_t s = 0; s < pair_a.seeds; s++) {
        Score sum_a, sum_b;
        for (size_t q = 0; q < pair_a.questions.size(); q++) {
            sum_a.got += scores_of(pair_a, q)[s].got;
            sum_a.of += scores_of(pair_a, q)[s].of;
            sum_b.got += scores_of(pair_b, q)[s].got;
            sum_b.of += scores_of(pair_b, q)[s].of;
        }
        if (sum_a.of > 0) {
            differences.push_back(sum_a.got / sum_a.of - sum_b.got / sum_b.of);
        }
    }
    return differences;
}

bool is_distinguishable(const Estimate& difference) {
    return difference.known() && (difference.lo > 0 || difference.hi < 0);
}

// ---- counts --------------------------------------------------------------------------------------------

Estimate wilson_interval(int64_t correct, int64_t rows) {
    CHECK(correct >= 0 && correct <= rows, "%ld of %ld rows cannot be correct", static_cast<long>(correct),
          static_cast<long>(rows));
    if (rows == 0) {
        return {};
    }
    const double n = static_cast<double>(rows);
    const double p = static_cast<double>(correct) / n;
    const double z2 = kNormalQuantile * kNormalQuantile;
    const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    const double half = kNormalQuantile / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return {p, std::max(0.0, centre - half), std::min(1.0, centre + half), rows};
}

} // namespace skintern
