// Tests of statistics.h: means that can be checked by hand, intervals whose width is known.
#include "test.h"

#include <cmath>

#include "support/rng.h"
#include "support/statistics.h"

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

// ---- tasks ---------------------------------------------------------------------------------------------

namespace {

struct Pair {
    ScoreTable a, b;
};

// `tasks` tasks of `questions` questions in two seeds. b is right half the time, and a with a probability of its
// own in each task: 1/2 + gain + uniform in -+spread.
Pair simulate(Rng& rng, int64_t tasks, int64_t questions, double gain, double spread) {
    Pair pair;
    pair.a.seeds = pair.b.seeds = 2;
    for (int64_t t = 0; t < tasks; t++) {
        const double chance = 0.5 + gain + spread * (2 * rng.uniform() - 1);
        for (int64_t q = 0; q < questions; q++) {
            for (ScoreTable* table : {&pair.a, &pair.b}) {
                table->questions.push_back(format("%02d-%02d", static_cast<int>(t), static_cast<int>(q)));
                table->groups.push_back(format("task %02d", static_cast<int>(t)));
                for (int64_t s = 0; s < table->seeds; s++) {
                    table->scores.push_back({rng.chance(table == &pair.a ? chance : 0.5) ? 1.0 : 0.0, 1});
                }
            }
        }
    }
    return pair;
}

struct Held {
    int by_task = 0;     // trials of 200 whose interval holds the true difference
    int by_question = 0; // of the first 60: to draw questions takes 20 times as long
    int found = 0;       // trials of 200 with p below 0.05
};

Held count_held(int64_t tasks, double gain, double spread) {
    Rng rng(21);
    Held held;
    for (int trial = 0; trial < 200; trial++) {
        const Pair pair = simulate(rng, tasks, 20, gain, spread);
        const Difference by_task = bootstrap_difference_by_task(pair.a, pair.b);
        held.by_task += by_task.estimate.lo <= gain && gain <= by_task.estimate.hi ? 1 : 0;
        if (trial < 60) {
            const Estimate by_question = bootstrap_difference(pair.a, pair.b);
            REQUIRE(by_task.estimate.mean == by_question.mean);
            held.by_question += by_question.lo <= gain && gain <= by_question.hi ? 1 : 0;
        }
        held.found += by_task.p < 0.05 ? 1 : 0;
    }
    return held;
}

} // namespace

TEST_CASE("tasks are drawn whole: the interval of two tasks can be checked by hand", "[statistics]") {
    // a is right on both questions of task x and on none of y, b on none: 2/4 - 0. A draw has x twice, y twice (a
    // quarter each) or one of each: differences 1, 0 and 1/2.
    ScoreTable a = table_of({1, 1, 0, 0}), b = table_of({0, 0, 0, 0});
    a.groups = b.groups = {"x", "x", "y", "y"};
    const Difference difference = bootstrap_difference_by_task(a, b);
    REQUIRE(difference.estimate.mean == 0.5);
    REQUIRE(difference.estimate.rows == 4);
    REQUIRE((difference.estimate.lo == 0 && difference.estimate.hi == 1));
    // A quarter of the draws is at zero and none below: p is one half, with a standard error of
    // 2 sqrt(3/16 / 2000) = 0.02.
    REQUIRE(std::abs(difference.p - 0.5) <= 0.08);
    const Difference turned = bootstrap_difference_by_task(b, a);
    REQUIRE((turned.estimate.mean == -0.5 && turned.estimate.lo == -1 && turned.p == difference.p));
}

TEST_CASE("drawing tasks widens the interval where the questions of a task go together", "[statistics]") {
    // 24 tasks of 20 questions. Per question and seed the variance of a - b is about 1/2 (the two are independent
    // here), so that drawing questions gives a standard error of sqrt(1/2 / 2 / 480) = 0.023. A chance of a task
    // uniform in -+0.4 has a variance of 0.053, and the mean of 24 of them an error of 0.047: in all 0.052.
    Rng rng(22);
    const Pair apart = simulate(rng, 24, 20, 0, 0), together = simulate(rng, 24, 20, 0, 0.4);
    const auto width = [](const Estimate& e) { return (e.hi - e.lo) / (2 * 1.96); };
    const double plain = width(bootstrap_difference(together.a, together.b));
    const double clustered = width(bootstrap_difference_by_task(together.a, together.b).estimate);
    REQUIRE(plain == Approx(0.025).epsilon(0.2));
    REQUIRE(clustered == Approx(0.052).epsilon(0.25));
    // Where they do not, both are the same but for the error of a width from 24 tasks, 1 / sqrt(48).
    REQUIRE(width(bootstrap_difference_by_task(apart.a, apart.b).estimate) ==
            Approx(width(bootstrap_difference(apart.a, apart.b))).epsilon(0.45));
}

TEST_CASE("the interval over tasks holds the true difference, the one over questions does not", "[statistics]") {
    // In 2000 such trials the interval over 24 tasks held 94 of 100 times, p was below 0.05 in 6 of 100.
    // Binomial(200, 0.94) has a standard deviation of 3.4; four of them are allowed.
    const Held null = count_held(24, 0, 0.4);
    REQUIRE((null.by_task >= 174 && null.by_task <= 199));
    REQUIRE(null.found <= 12 + 14);
    REQUIRE(null.by_question <= 50); // 64 of 100, with a standard deviation of 3.7 in 60
    const Held gain = count_held(24, 0.1, 0.3); // 2.5 standard errors
    REQUIRE((gain.by_task >= 174 && gain.by_task <= 199));
    REQUIRE(gain.found >= 100);
    const Held few = count_held(6, 0, 0.4); // 87 of 100: the interval of few tasks is too narrow
    REQUIRE((few.by_task >= 155 && few.by_task <= 193));
}

TEST_CASE("p over tasks is 1 without a difference, small for a clear one, and of the seed alone", "[statistics]") {
    Rng rng(23);
    const Pair none = simulate(rng, 12, 10, 0, 0), clear = simulate(rng, 12, 10, 0.4, 0.05);
    REQUIRE(bootstrap_difference_by_task(none.a, none.a).p == 1);
    const Difference found = bootstrap_difference_by_task(clear.a, clear.b);
    REQUIRE(found.p == 2.0 / (kResamples + 1)); // no draw at or below zero
    REQUIRE(found.estimate.lo > 0);
    REQUIRE(same(found.estimate, bootstrap_difference_by_task(clear.a, clear.b, 1).estimate));
    REQUIRE(!same(found.estimate, bootstrap_difference_by_task(clear.a, clear.b, 2).estimate));
    const ScoreTable one_task = table_of({1, 0, 1});
    const Difference unknown = bootstrap_difference_by_task(one_task, one_task);
    REQUIRE((!unknown.estimate.known() && unknown.p == 1));
    REQUIRE(!bootstrap_difference_by_task(ScoreTable{}, ScoreTable{}).estimate.known());
}

TEST_CASE("Holm's correction of a textbook example, in the order given", "[statistics]") {
    // Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2 = 0.06, 0.04 * 1 = 0.04, which is raised to 0.06.
    const std::vector<double> adjusted = holm({0.01, 0.04, 0.03, 0.005});
    const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
    REQUIRE(adjusted.size() == 4);
    for (size_t i = 0; i < 4; i++) {
        REQUIRE(adjusted[i] == Approx(expected[i]).epsilon(1e-12));
    }
    REQUIRE(holm({0.6, 0.5}) == std::vector<double>{1, 1});
    REQUIRE(holm({0.2}) == std::vector<double>{0.2});
    REQUIRE(holm({}).empty());
    REQUIRE_THROWS_WITH(holm({0.1, 1.5}), "1.5 is no p value");
    REQUIRE_THROWS_AS(holm({std::nan("")}), Error);
}

// ---- seeds ---------------------------------------------------------------------------------------------

TEST_CASE("Student's interval has the quantiles of the published table", "[statistics]") {
    // n - 1 zeros and one value n have the mean 1 and s^2 / n = 1: the interval is 1 -+ t.
    const std::pair<int, double> table[] = {{1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},
                                            {5, 2.571},  {10, 2.228}, {30, 2.042}, {100, 1.984}};
    for (const auto& [freedom, t] : table) {
        std::vector<double> values(static_cast<size_t>(freedom), 0.0);
        values.push_back(freedom + 1);
        const Estimate estimate = t_interval(values);
        INFO(freedom);
        REQUIRE(estimate.mean == 1);
        REQUIRE(estimate.rows == freedom + 1);
        REQUIRE(std::abs(estimate.hi - 1 - t) <= 0.0005 + 1e-9);
        REQUIRE(std::abs(1 - estimate.lo - t) <= 0.0005 + 1e-9);
    }
    const Estimate five = t_interval({1, 2, 3, 4, 5}); // s^2 = 10/4, over 5: 0.5
    REQUIRE(five.mean == 3);
    REQUIRE(five.hi == Approx(3 + 2.776 * std::sqrt(0.5)).epsilon(1e-4));
}

TEST_CASE("one seed has no end to its interval, equal seeds have none to doubt, no seed is unknown", "[statistics]") {
    const Estimate one = t_interval({0.7});
    REQUIRE((one.mean == 0.7 && one.rows == 1 && std::isinf(one.lo) && std::isinf(one.hi)));
    REQUIRE(!is_distinguishable(one));
    REQUIRE(same(t_interval({0.5, 0.5, 0.5}), {0.5, 0.5, 0.5, 3}));
    REQUIRE(!t_interval({}).known());
}

TEST_CASE("seeds that agree to the question may still differ by a part of one", "[statistics]") {
    // Two seeds, ten questions: s = 0.1 / sqrt(12), the interval 0.2 -+ 12.706 s / sqrt(2).
    const Estimate two = t_interval({0.2, 0.2}, 0.1);
    REQUIRE(two.lo == Approx(0.2 - 12.706 * 0.1 / std::sqrt(24)).epsilon(1e-3));
    REQUIRE(!is_distinguishable(two));
    REQUIRE(is_distinguishable(t_interval({0.2, 0.2, 0.2, 0.2, 0.2}, 0.1)));
    REQUIRE(same(t_interval({0.2, 0.3}, 0.1), t_interval({0.2, 0.3}))); // a difference of one question is seen
}

TEST_CASE("Student's interval of three seeds holds the mean in 95 of 100 samples", "[statistics]") {
    Rng rng(24);
    int held = 0;
    for (int trial = 0; trial < 2000; trial++) {
        const Estimate estimate = t_interval({rng.normal(), rng.normal(), rng.normal()});
        held += estimate.lo <= 0 && 0 <= estimate.hi ? 1 : 0;
    }
    // Binomial(2000, 0.95) has a standard deviation of 9.7; 1.96 in place of t would hold 1620 times.
    REQUIRE(held >= 1861);
    REQUIRE(held <= 1939);
}

// ---- counts --------------------------------------------------------------------------------------------

TEST_CASE("Wilson's interval agrees with published values", "[statistics]") {
    // Brown, Cai and DasGupta (2001), and by hand: 0 of n gives z^2 / (n + z^2) at the upper end.
    const Estimate half = wilson_interval(5, 10);
    REQUIRE(half.mean == 0.5);
    REQUIRE(half.lo == Approx(0.2366).margin(1e-4));
    REQUIRE(half.hi == Approx(0.7634).margin(1e-4));
    const Estimate none = wilson_interval(0, 10);
    REQUIRE(none.lo == Approx(0).margin(1e-12));
    REQUIRE(none.hi == Approx(3.8415 / 13.8415).margin(1e-4));
    REQUIRE(wilson_interval(5.5, 10).mean == Approx(0.55)); // a mean of two counts
    REQUIRE(!wilson_interval(0, 0).known());
    REQUIRE_THROWS_AS(wilson_interval(3, 2), Error);
}

TEST_CASE("a table whose parts do not fit together is refused", "[statistics]") {
    ScoreTable table = table_of({1, 0});
    table.scores.pop_back();
    REQUIRE_THROWS_AS(bootstrap_mean(table), Error);
}

// ---- the best of several ---------------------------------------------------------------------------------

TEST_CASE("the best of one is the plain difference, and the best of several is named", "[statistics]") {
    const ScoreTable ours = table_of(some_right(30, 100));
    const ScoreTable weak = table_of(some_right(20, 100)), strong = table_of(some_right(40, 100));
    const FromBest one = bootstrap_difference_from_best(ours, {weak}, Draw::questions);
    REQUIRE(one.best == 0);
    REQUIRE(one.estimate.mean == Approx(bootstrap_difference(ours, weak).mean));
    const FromBest two = bootstrap_difference_from_best(ours, {weak, strong}, Draw::questions);
    REQUIRE(two.best == 1);
    REQUIRE(two.estimate.mean == Approx(-0.1));
    REQUIRE(two.estimate.hi < 0); // 10 questions of 100 stand one way, none the other
    REQUIRE(two.estimate.rows == 100);
    REQUIRE(two.by_seed.size() == 1);
    REQUIRE(two.by_seed[0] == Approx(-0.1)); // minus the strong one's, over the cells that all three have
    REQUIRE(!bootstrap_difference_from_best(ours, {table_of({1, 0}, "other")}, Draw::questions).estimate.known());
    REQUIRE_THROWS(bootstrap_difference_from_best(ours, {}, Draw::questions));
}

TEST_CASE("to be behind the luckiest of many equals is not to be worse", "[statistics]") {
    // Ours and nine others answer 300 questions by the same coin. The best of the nine is ahead by luck.
    const auto lucky = [](uint64_t seed) {
        Rng rng(seed, "coins");
        std::vector<int> right(300);
        for (int& r : right) {
            r = rng.below(2) == 0 ? 0 : 1;
        }
        return table_of(right);
    };
    int worse = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        std::vector<ScoreTable> others;
        for (uint64_t other = 1; other < 10; other++) {
            others.push_back(lucky(100 * seed + other));
        }
        const Estimate d = bootstrap_difference_from_best(lucky(100 * seed), others, Draw::questions).estimate;
        worse += d.hi < 0;
    }
    REQUIRE(worse <= 6); // 12 in 100 are expected; the percentile interval says it of half
}

TEST_CASE("a ratio of means has an interval, and none where nothing is below", "[statistics]") {
    ScoreTable twice = table_of(some_right(4, 8)), once = twice;
    for (Score& score : twice.scores) {
        score.got = 2 * (score.got + 1);
    }
    for (Score& score : once.scores) {
        score.got += 1;
    }
    const Estimate ratio = bootstrap_ratio(twice, once, Draw::questions);
    REQUIRE(same(ratio, {2, 2, 2, 8})); // of every question alike
    REQUIRE(!bootstrap_ratio(once, table_of(some_right(0, 8)), Draw::questions).known());
    REQUIRE(!bootstrap_ratio(once, table_of({1}, "other"), Draw::questions).known());
}

TEST_CASE("a table of differences has the mean of the difference, over all and over groups", "[statistics]") {
    ScoreTable a = table_of({1, 1, 1, 0}), b = table_of({1, 0, 0, 0});
    a.groups = b.groups = {"x", "x", "x", "y"};
    REQUIRE(bootstrap_mean(paired_difference(a, b)).mean == Approx(0.5));
    REQUIRE(bootstrap_macro_mean(paired_difference(a, b)).mean == Approx((2.0 / 3 + 0) / 2));
    const ScoreTable means = means_by_group(a);
    REQUIRE(means.questions == std::vector<std::string>{"x", "y"});
    REQUIRE(bootstrap_mean(means).mean == Approx(0.5)); // x 1, y 0
    REQUIRE(bootstrap_mean(means).hi == 1);             // both draws may be x
}
