// statistics.cpp — a mean over questions, and how far to trust it.
//
// Cost: 2000 Q S additions an interval. All sums run in the order of the questions, so a result depends on
// the table alone.
#include "support/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "support/check.h"
#include "support/rng.h"

namespace skintern {

namespace {

constexpr uint64_t kBootstrapSeed = 1;
constexpr double kTail = 0.025;              // on either side of a 95 % interval
constexpr double kNormalQuantile = 1.959964; // of 1 - kTail
constexpr double kPi = 3.14159265358979323846;

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

// The statistic on each resample, sorted; `redraw(rng)` computes it on one.
template <class Redraw>
std::vector<double> resample(uint64_t seed, Redraw redraw) {
    Rng rng(seed, "bootstrap");
    std::vector<double> values(static_cast<size_t>(kResamples));
    for (double& value : values) {
        value = redraw(rng);
    }
    std::sort(values.begin(), values.end());
    return values;
}

Estimate with_interval(double mean, int64_t rows, const std::vector<double>& sorted) {
    return {mean, percentile(sorted, kTail), percentile(sorted, 1 - kTail), rows};
}

size_t draw(Rng& rng, size_t n) {
    return static_cast<size_t>(rng.below(static_cast<int64_t>(n)));
}

// The cells that all tables have, question by question; everything else is left out of each.
std::vector<ScoreTable> in_common(const std::vector<ScoreTable>& tables) {
    const int64_t seeds = tables.front().seeds;
    std::vector<std::map<std::string, size_t>> positions(tables.size());
    for (size_t t = 0; t < tables.size(); t++) {
        CHECK(tables[t].seeds == seeds, "tables of %ld and %ld seeds cannot be paired", static_cast<long>(seeds),
              static_cast<long>(tables[t].seeds));
        for (size_t q = 0; q < tables[t].questions.size(); q++) {
            positions[t][tables[t].questions[q]] = q;
        }
    }
    std::vector<ScoreTable> common(tables.size());
    for (size_t first = 0; first < tables.front().questions.size(); first++) {
        const std::string& question = tables.front().questions[first];
        std::vector<const Score*> scores; // (tables) of (S)
        for (size_t t = 0; t < tables.size(); t++) {
            const auto found = positions[t].find(question);
            if (found != positions[t].end()) {
                scores.push_back(scores_of(tables[t], found->second));
            }
        }
        if (scores.size() < tables.size()) {
            continue;
        }
        for (size_t t = 0; t < tables.size(); t++) {
            common[t].questions.push_back(question);
            common[t].groups.push_back(tables.front().groups[first]);
            for (int64_t s = 0; s < seeds; s++) {
                const bool all = std::all_of(scores.begin(), scores.end(), [&](const Score* of_table) { return of_table[s].of > 0; });
                common[t].scores.push_back(all ? scores[t][s] : Score{});
            }
        }
    }
    for (ScoreTable& table : common) {
        table.seeds = seeds;
        table = without_silent_questions(table);
    }
    return common;
}

std::pair<ScoreTable, ScoreTable> in_pairs(const ScoreTable& a, const ScoreTable& b) {
    std::vector<ScoreTable> pair = in_common({a, b});
    return {std::move(pair[0]), std::move(pair[1])};
}

// Any figure of the means of several tables of the same questions, on draws of these that are the same in all; sorted.
template <class Figure>
std::vector<double> resample_means(const std::vector<ScoreTable>& tables, uint64_t seed, Figure figure) {
    std::vector<SeedSums> sums(tables.size(), SeedSums(tables.front().seeds));
    std::vector<double> means(tables.size());
    const size_t questions = tables.front().questions.size();
    return resample(seed, [&](Rng& rng) {
        for (SeedSums& sum : sums) {
            sum.clear();
        }
        for (size_t i = 0; i < questions; i++) {
            const size_t q = draw(rng, questions);
            for (size_t t = 0; t < tables.size(); t++) {
                sums[t].add(scores_of(tables[t], q));
            }
        }
        for (size_t t = 0; t < tables.size(); t++) {
            means[t] = sums[t].mean();
        }
        return figure(means);
    });
}

double first_minus_second(const std::vector<double>& means) { return means[0] - means[1]; }

// Each task as one question, whose scores are the sums of its questions' scores: the same mean, other draws.
ScoreTable tasks_as_questions(const ScoreTable& table) {
    std::map<std::string, std::vector<Score>> sums; // task -> (S)
    for (size_t q = 0; q < table.questions.size(); q++) {
        std::vector<Score>& sum = sums[table.groups[q]];
        sum.resize(static_cast<size_t>(table.seeds));
        for (size_t s = 0; s < sum.size(); s++) {
            sum[s].got += scores_of(table, q)[s].got;
            sum[s].of += scores_of(table, q)[s].of;
        }
    }
    ScoreTable tasks;
    tasks.seeds = table.seeds;
    for (const auto& [task, scores] : sums) {
        tasks.questions.push_back(task);
        tasks.groups.push_back(task);
        tasks.scores.insert(tasks.scores.end(), scores.begin(), scores.end());
    }
    return tasks;
}

std::vector<ScoreTable> drawn_by(Draw what, std::vector<ScoreTable> tables) {
    for (ScoreTable& table : tables) {
        table = what == Draw::tasks ? tasks_as_questions(table) : table;
    }
    return tables;
}

// P(|T| <= t) of Student's distribution with n degrees of freedom, a finite sum for whole n (Abramowitz & Stegun 1964,
// 26.7.3 and 26.7.4): with tan(a) = t / sqrt(n)
//   n odd:   2/pi (a + sin a (cos a + 2/3 cos^3 a + 2/3 4/5 cos^5 a + ... up to cos^(n-2) a))
//   n even:  sin a (1 + 1/2 cos^2 a + 1/2 3/4 cos^4 a + ... up to cos^(n-2) a)
double student_within(double t, int64_t n) {
    const double a = std::atan(t / std::sqrt(static_cast<double>(n)));
    const bool odd = n % 2 == 1;
    double sum = 0;
    double term = odd ? std::cos(a) : 1;
    for (int64_t power = odd ? 1 : 0; power <= n - 2; power += 2) {
        sum += term;
        term *= std::cos(a) * std::cos(a) * static_cast<double>(power + 1) / static_cast<double>(power + 2);
    }
    return odd ? 2 / kPi * (a + std::sin(a) * sum) : std::sin(a) * sum;
}

// The t with P(|T| <= t) = 1 - 2 kTail, by bisection; 12.7 for one degree of freedom is the largest.
double student_quantile(int64_t n) {
    double below = 0, above = 16;
    for (int i = 0; i < 60; i++) { // 16 / 2^60 is beyond the precision of double
        const double middle = (below + above) / 2;
        (student_within(middle, n) < 1 - 2 * kTail ? below : above) = middle;
    }
    return above;
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
    return with_interval(plain.mean, plain.rows, resample(kBootstrapSeed, [&](Rng& rng) {
        sums.clear();
        for (size_t i = 0; i < table.questions.size(); i++) {
            sums.add(scores_of(table, draw(rng, table.questions.size())));
        }
        return sums.mean();
    }));
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
    return with_interval(mean, count_rows(table), resample(kBootstrapSeed, [&](Rng& rng) {
        return mean_of_groups(
            [&](const Members& members, size_t) { return members[draw(rng, members.size())]; });
    }));
}

// ---- two samples ---------------------------------------------------------------------------------------

Estimate bootstrap_difference(const ScoreTable& a, const ScoreTable& b) {
    const auto [pair_a, pair_b] = in_pairs(a, b);
    const Estimate mean_a = mean_over_seeds(pair_a);
    const Estimate mean_b = mean_over_seeds(pair_b);
    if (!mean_a.known()) {
        return {};
    }
    return with_interval(mean_a.mean - mean_b.mean, mean_a.rows, resample_means({pair_a, pair_b}, kBootstrapSeed, first_minus_second));
}

Difference bootstrap_difference_by_task(const ScoreTable& a, const ScoreTable& b, uint64_t seed) {
    const auto [pair_a, pair_b] = in_pairs(a, b);
    const ScoreTable tasks_a = tasks_as_questions(pair_a), tasks_b = tasks_as_questions(pair_b);
    if (tasks_a.questions.size() < 2) {
        return {};
    }
    const double mean = mean_over_seeds(pair_a).mean - mean_over_seeds(pair_b).mean;
    const std::vector<double> sorted = resample_means({tasks_a, tasks_b}, seed, first_minus_second);
    const auto not_above = std::upper_bound(sorted.begin(), sorted.end(), 0.0) - sorted.begin();
    const auto not_below = sorted.end() - std::lower_bound(sorted.begin(), sorted.end(), 0.0);
    // The data itself counts as one draw more (Davison & Hinkley 1997, section 4.2): no p is 0.
    const double share = static_cast<double>(std::min(not_above, not_below) + 1) / static_cast<double>(kResamples + 1);
    return {with_interval(mean, count_rows(pair_a), sorted), std::min(1.0, 2 * share)};
}

FromBest bootstrap_difference_from_best(const ScoreTable& ours, const std::vector<ScoreTable>& others, Draw what) {
    CHECK(!others.empty(), "there is no best of none");
    std::vector<ScoreTable> tables = {ours};
    tables.insert(tables.end(), others.begin(), others.end());
    tables = in_common(tables);
    std::vector<double> means;
    for (const ScoreTable& table : tables) {
        means.push_back(mean_over_seeds(table).mean);
    }
    const int64_t rows = count_rows(tables.front());
    if (rows == 0) {
        return {};
    }
    const auto from_best = [](const std::vector<double>& m) { return m[0] - *std::max_element(m.begin() + 1, m.end()); };
    const size_t best = static_cast<size_t>(std::max_element(means.begin() + 1, means.end()) - means.begin() - 1);
    const double figure = from_best(means);
    const Estimate draws = with_interval(figure, rows, resample_means(drawn_by(what, tables), kBootstrapSeed, from_best));
    return {{figure, 2 * figure - draws.hi, 2 * figure - draws.lo, rows}, best, difference_by_seed(tables[0], tables[best + 1])};
}

Estimate bootstrap_ratio(const ScoreTable& a, const ScoreTable& b, Draw what) {
    const std::vector<ScoreTable> tables = in_common({a, b});
    const double below = mean_over_seeds(tables[1]).mean;
    if (!(below > 0)) {
        return {};
    }
    // A draw of questions that all cost nothing says nothing: it counts as equal.
    const auto ratio = [](const std::vector<double>& m) { return m[1] > 0 ? m[0] / m[1] : 1.0; };
    return with_interval(mean_over_seeds(tables[0]).mean / below, count_rows(tables[0]),
                         resample_means(drawn_by(what, tables), kBootstrapSeed, ratio));
}

ScoreTable paired_difference(const ScoreTable& a, const ScoreTable& b) {
    auto [difference, subtrahend] = in_pairs(a, b);
    for (size_t i = 0; i < difference.scores.size(); i++) {
        difference.scores[i].got -= subtrahend.scores[i].got;
    }
    return difference;
}

ScoreTable means_by_group(const ScoreTable& table) {
    ScoreTable means = tasks_as_questions(table);
    for (Score& score : means.scores) {
        score = score.of > 0 ? Score{score.got / score.of, 1} : Score{};
    }
    return means;
}

std::vector<double> holm(const std::vector<double>& p) {
    for (const double value : p) {
        CHECK(value >= 0 && value <= 1, "%g is no p value", value); // nor is NaN
    }
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return p[i] < p[j]; });
    std::vector<double> adjusted(p.size());
    double largest = 0;
    for (size_t k = 0; k < order.size(); k++) {
        largest = std::max(largest, static_cast<double>(order.size() - k) * p[order[k]]);
        adjusted[order[k]] = std::min(1.0, largest);
    }
    return adjusted;
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

// ---- seeds ---------------------------------------------------------------------------------------------

Estimate t_interval(const std::vector<double>& values, double grain) {
    const int64_t n = static_cast<int64_t>(values.size());
    if (n == 0) {
        return {};
    }
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(n);
    if (n == 1) {
        return {mean, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(), n};
    }
    double squares = 0;
    for (const double value : values) {
        squares += (value - mean) * (value - mean);
    }
    const double variance = std::max(squares / static_cast<double>(n - 1), grain * grain / 12);
    const double error = std::sqrt(variance / static_cast<double>(n));
    const double half = student_quantile(n - 1) * error;
    return {mean, mean - half, mean + half, n};
}

// ---- counts --------------------------------------------------------------------------------------------

Estimate wilson_interval(double correct, int64_t rows) {
    const double n = static_cast<double>(rows);
    CHECK(correct >= 0 && correct <= n, "%g of %ld rows cannot be correct", correct, static_cast<long>(rows));
    if (rows == 0) {
        return {};
    }
    const double p = correct / n;
    const double z2 = kNormalQuantile * kNormalQuantile;
    const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    const double half = kNormalQuantile / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return {p, std::max(0.0, centre - half), std::min(1.0, centre + half), rows};
}

} // namespace skintern
