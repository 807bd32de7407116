// Tests of statistics.h: means that can be checked by hand, intervals whose width is known.
#include "test.h"

#include <cmath>

#include "rng.h"
#include "check.h"
#include "statistics.h"

using namespace skintern;

namespace {

// One seed; right[q] says whether question q was answered right.
ScoreTable table_of(const std::vector<int>& right, const std::string& prefix = "q") {
    ScoreTable table;
    table.seeds = 1;
    for (size_t q = 0; q < right.size(); q++) {
        table.questions.push_back(format("%s%04zu", prefix.c_str(), q));
        table.groups.push_back("task");
        table.scores.push_back({static_cast<double>(right[q]), 1});
    }
    return table;
}

std::vector<int> some_right(int64_t right, int64_t rows) {
    std::vector<int> all(static_cast<size_t>(rows), 0);
    std::fill(all.begin(), all.begin() + right, 1);
    return all;
}

bool same(const Estimate& a, const Estimate& b) {
    return a.mean == b.mean && a.lo == b.lo && a.hi == b.hi && a.rows == b.rows;
}

} // namespace

TEST_CASE("the mean is the mean over seeds of each seed's own ratio", "[statistics]") {
    ScoreTable table;
    table.seeds = 2;
    table.questions = {"a", "b", "c"};
    table.groups = {"x", "x", "y"};
    // Seed 1 answered a, b, c: 1, 0, 1. Seed 2 answered a and b only: 0, 1.
    table.scores = {{1, 1}, {0, 1}, {0, 1}, {1, 1}, {1, 1}, {0, 0}};
    const Estimate mean = bootstrap_mean(table);
    REQUIRE(mean.mean == Approx((2.0 / 3 + 1.0 / 2) / 2));
    REQUIRE(mean.rows == 5);
    // Task x: seed 1 has 1/2, seed 2 has 1/2. Task y: only seed 1, 1/1.
    const Estimate macro = bootstrap_macro_mean(table);
    REQUIRE(macro.mean == Approx((0.5 + 1.0) / 2));
    REQUIRE(macro.rows == 5);
    // One question in task y and a mean of one half in task x: the macro mean stays within [1/2, 1].
    REQUIRE(macro.lo >= 0.5);
    REQUIRE(macro.hi <= 1.0);
}

TEST_CASE("a ratio weighs a question by what it is out of", "[statistics]") {
    ScoreTable table;
    table.seeds = 1;
    table.questions = {"a", "b", "c"};
    table.groups = {"x", "x", "x"};
    table.scores = {{1, 4}, {2, 2}, {0, 0}}; // 1 of 4 facts, 2 of 2, none needed
    const Estimate found = bootstrap_mean(table);
    REQUIRE(found.mean == Approx(3.0 / 6));
    REQUIRE(found.rows == 2);
    REQUIRE(found.lo == Approx(0.25)); // question a drawn twice
    REQUIRE(found.hi == Approx(1.0));  // question b drawn twice
}

TEST_CASE("the interval of 50 right of 100 is that of the binomial distribution", "[statistics]") {
    const Estimate estimate = bootstrap_mean(table_of(some_right(50, 100)));
    REQUIRE(estimate.mean == 0.5);
    // Standard error sqrt(0.25 / 100) = 0.05. The end of a percentile interval of 2000 draws has itself a
    // standard error of about 0.05 * 0.06 = 0.003, and draws lie on a grid of 0.01: 0.02 is more than four of
    // the former.
    REQUIRE(std::abs(estimate.lo - (0.5 - 1.96 * 0.05)) <= 0.02);
    REQUIRE(std::abs(estimate.hi - (0.5 + 1.96 * 0.05)) <= 0.02);
}

TEST_CASE("the interval holds the true share in about 95 of 100 samples", "[statistics]") {
    Rng rng(7);
    int held = 0;
    for (int trial = 0; trial < 200; trial++) {
        std::vector<int> right;
        for (int q = 0; q < 80; q++) {
            right.push_back(rng.chance(0.4) ? 1 : 0);
        }
        const Estimate estimate = bootstrap_mean(table_of(right));
        held += estimate.lo <= 0.4 && 0.4 <= estimate.hi ? 1 : 0;
    }
    // Binomial(200, 0.95) has a standard deviation of 3.1; the bootstrap is known to hold a little less than
    // it says.
    REQUIRE(held >= 176);
    REQUIRE(held <= 199);
}

TEST_CASE("questions that are all right give an interval of width zero, no question gives none",
          "[statistics]") {
    const Estimate all = bootstrap_mean(table_of(some_right(9, 9)));
    REQUIRE((all.mean == 1 && all.lo == 1 && all.hi == 1 && all.rows == 9));
    for (const Estimate& none :
         {bootstrap_mean(ScoreTable{}), bootstrap_macro_mean(ScoreTable{}),
          bootstrap_difference(ScoreTable{}, ScoreTable{}), mean_over_seeds(ScoreTable{})}) {
        REQUIRE(!none.known());
    }
}

TEST_CASE("a paired difference has the sign of its name and turns with it", "[statistics]") {
    const ScoreTable better = table_of(some_right(30, 40)), worse = table_of(some_right(20, 40));
    const Estimate up = bootstrap_difference(better, worse);
    const Estimate down = bootstrap_difference(worse, better);
    REQUIRE(up.mean == Approx(0.25));
    REQUIRE(up.lo > 0);
    REQUIRE(is_distinguishable(up));
    REQUIRE(is_distinguishable(down));
    REQUIRE(down.mean == Approx(-up.mean));
    REQUIRE(down.lo == Approx(-up.hi));
    REQUIRE(down.hi == Approx(-up.lo));
    REQUIRE(difference_by_seed(better, worse) == std::vector<double>{0.25});
}

TEST_CASE("equal answers are not distinguishable", "[statistics]") {
    const ScoreTable table = table_of(some_right(20, 40));
    const Estimate none = bootstrap_difference(table, table);
    REQUIRE((none.mean == 0 && none.lo == 0 && none.hi == 0));
    REQUIRE(!is_distinguishable(none));
    REQUIRE(!is_distinguishable(Estimate{}));
}

TEST_CASE("pairing removes the difficulty of the questions from the interval", "[statistics]") {
    // b is right where a is, and on 4 of 100 questions more. The paired standard error is sqrt(.04 * .96 /
    // 100) = 0.02; the unpaired one would be sqrt(2 * .25 / 100) = 0.07, and the interval 0.28 wide.
    const Estimate difference =
        bootstrap_difference(table_of(some_right(54, 100)), table_of(some_right(50, 100)));
    REQUIRE(difference.mean == Approx(0.04));
    REQUIRE(difference.hi - difference.lo < 0.1);
    REQUIRE(difference.lo > 0); // not one question speaks against it
}

TEST_CASE("only questions that both answered are compared", "[statistics]") {
    ScoreTable a = table_of({1, 1, 0});
    ScoreTable b = table_of({1, 0, 0, 1});
    a.questions[2] = "only a";
    b.questions[2] = "only b";
    const Estimate difference = bootstrap_difference(a, b);
    REQUIRE(difference.rows == 2);
    REQUIRE(difference.mean == Approx(0.5));
    ScoreTable two_seeds;
    two_seeds.seeds = 2;
    REQUIRE_THROWS_AS(bootstrap_difference(a, two_seeds), Error);
}

TEST_CASE("the same table gives the same interval to the bit", "[statistics]") {
    const ScoreTable table = table_of(some_right(13, 31)), other = table_of(some_right(9, 31));
    REQUIRE(same(bootstrap_mean(table), bootstrap_mean(table)));
    REQUIRE(same(bootstrap_macro_mean(table), bootstrap_macro_mean(table)));
    REQUIRE(same(bootstrap_difference(table, other), bootstrap_difference(table, other)));
}

TEST_CASE("Wilson's interval agrees with published values", "[statistics]") {
    // Brown, Cai and DasGupta (2001), and by hand: 0 of n gives z^2 / (n + z^2) at the upper end.
    const Estimate half = wilson_interval(5, 10);
    REQUIRE(half.mean == 0.5);
    REQUIRE(half.lo == Approx(0.2366).margin(1e-4));
    REQUIRE(half.hi == Approx(0.7634).margin(1e-4));
    const Estimate none = wilson_interval(0, 10);
    REQUIRE(none.lo == Approx(0).margin(1e-12));
    REQUIRE(none.hi == Approx(3.8415 / 13.8415).margin(1e-4));
    REQUIRE(!wilson_interval(0, 0).known());
    REQUIRE_THROWS_AS(wilson_interval(3, 2), Error);
}

TEST_CASE("a table whose parts do not fit together is refused", "[statistics]") {
    ScoreTable table = table_of({1, 0});
    table.scores.pop_back();
    REQUIRE_THROWS_AS(bootstrap_mean(table), Error);
}

// ---- tests -------------------------------------------------------------------------------------------------------------

namespace {

// `per_task` questions of `tasks` tasks; right(task, question, seed).
template <class Right>
ScoreTable clustered_table(int64_t tasks, int64_t per_task, int64_t seeds, Right right) {
    ScoreTable table;
    table.seeds = seeds;
    for (int64_t t = 0; t < tasks; t++) {
        for (int64_t q = 0; q < per_task; q++) {
            table.questions.push_back(format("%03d-%03d", int(t), int(q)));
            table.groups.push_back(format("task %d", int(t)));
            for (int64_t s = 0; s < seeds; s++) {
                table.scores.push_back({right(t, q, s) ? 1.0 : 0.0, 1});
            }
        }
    }
    return table;
}

} // namespace

TEST_CASE("a clustered difference has the mean of the plain one and a wider interval where tasks go together", "[statistics]") {
    // a is right throughout in two tasks of ten, b never.
    const ScoreTable a = clustered_table(10, 20, 3, [](int64_t t, int64_t, int64_t) { return t < 2; });
    const ScoreTable b = clustered_table(10, 20, 3, [](int64_t, int64_t, int64_t) { return false; });
    const Estimate plain = bootstrap_difference(a, b);
    const Tested tested = clustered_difference(a, b);
    REQUIRE(tested.difference.mean == Approx(0.2));
    REQUIRE(plain.mean == Approx(0.2));
    REQUIRE(tested.difference.hi - tested.difference.lo > 2 * (plain.hi - plain.lo));
    REQUIRE(tested.difference.rows == 10 * 20 * 3);
    REQUIRE(tested.p > 0.1); // no task at all is drawn in a tenth of the draws: 0.8^10
    REQUIRE(plain.lo > 0.1);
    // The same in every task: no doubt.
    const ScoreTable c = clustered_table(10, 20, 3, [](int64_t, int64_t q, int64_t) { return q < 4; });
    REQUIRE(clustered_difference(c, b).p == Approx(2.0 / 2001));
    REQUIRE(clustered_difference(b, c).difference.mean == Approx(-0.2));
    REQUIRE(clustered_difference(b, c).p == Approx(2.0 / 2001));
    REQUIRE(clustered_difference(a, a).p == 1);
    REQUIRE(clustered_difference(a, a).difference.mean == 0);
    REQUIRE(!clustered_difference(ScoreTable(), ScoreTable()).difference.known());
}

TEST_CASE("seeds that differ widen a clustered difference", "[statistics]") {
    const ScoreTable b = clustered_table(8, 10, 4, [](int64_t, int64_t, int64_t) { return false; });
    const ScoreTable steady = clustered_table(8, 10, 4, [](int64_t, int64_t q, int64_t) { return q < 5; });
    const ScoreTable moody = clustered_table(8, 10, 4, [](int64_t, int64_t, int64_t s) { return s < 2; });
    REQUIRE(clustered_difference(moody, b).difference.mean == Approx(clustered_difference(steady, b).difference.mean));
    REQUIRE(clustered_difference(steady, b).difference.lo == Approx(0.5));
    REQUIRE(clustered_difference(moody, b).difference.lo < 0.3);
}

TEST_CASE("the clustered interval covers the truth about as often as it says", "[statistics]") {
    // Twelve tasks of 16 questions; a is better by a task's own gain, 0.1 on average.
    int64_t covered = 0;
    const int64_t rounds = 100;
    for (int64_t round = 0; round < rounds; round++) {
        Rng rng(static_cast<uint64_t>(round), "coverage");
        std::vector<double> gain(12);
        for (double& g : gain) {
            g = 0.2 * rng.uniform();
        }
        const auto right_a = [&](int64_t t, int64_t, int64_t) { return rng.uniform() < 0.4 + gain[static_cast<size_t>(t)]; };
        const ScoreTable a = clustered_table(12, 16, 3, right_a);
        const ScoreTable b = clustered_table(12, 16, 3, [&](int64_t, int64_t, int64_t) { return rng.uniform() < 0.4; });
        const Estimate difference = clustered_difference(a, b).difference;
        covered += difference.lo <= 0.1 && 0.1 <= difference.hi;
    }
    INFO(covered);
    REQUIRE(covered >= 85);
}

TEST_CASE("Holm's correction", "[statistics]") {
    // 0.005 x 4; 0.01 x 3; 0.03 x 2; 0.04 x 1 is less than the one before it, which it therefore keeps
    const std::vector<double> adjusted = holm({0.01, 0.04, 0.03, 0.005});
    REQUIRE(adjusted[0] == Approx(0.03));
    REQUIRE(adjusted[1] == Approx(0.06));
    REQUIRE(adjusted[2] == Approx(0.06));
    REQUIRE(adjusted[3] == Approx(0.02));
    REQUIRE(holm({0.6, 0.7}) == std::vector<double>{1, 1});
    REQUIRE(holm({}).empty());
}

TEST_CASE("a t interval over few seeds", "[statistics]") {
    const Estimate estimate = t_interval({1, 2, 3, 4, 5}); // mean 3, standard error sqrt(2.5 / 5), t 2.776
    REQUIRE(estimate.mean == Approx(3));
    REQUIRE(estimate.hi == Approx(3 + 2.776 * std::sqrt(0.5)));
    REQUIRE(estimate.lo == Approx(3 - 2.776 * std::sqrt(0.5)));
    REQUIRE(t_interval({2}).hi == INFINITY);
    REQUIRE(!t_interval({}).known());
}
