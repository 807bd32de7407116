// comparisons.cpp — see comparisons.h.
#include "report/comparisons.h"

#include <algorithm>
#include <set>

#include "report/score_tables.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

// Holm's correction of one column over the arms that are tested in it.
void correct(std::vector<Against>& all, Difference Against::*column) {
    std::vector<double> p;
    for (const Against& arm : all) {
        if (is_tested(arm.*column)) {
            p.push_back((arm.*column).p);
        }
    }
    const std::vector<double> adjusted = holm(p);
    size_t next = 0;
    for (Against& arm : all) {
        if (is_tested(arm.*column)) {
            (arm.*column).p = adjusted[next++];
        }
    }
}

} // namespace

Draw draw_of(const ScoreTable& table) {
    const std::set<std::string> tasks(table.groups.begin(), table.groups.end());
    return tasks.size() < kFewestTasks ? Draw::questions : Draw::tasks;
}

Difference difference_of(const ScoreTable& a, const ScoreTable& b) {
    return draw_of(a) == Draw::tasks ? bootstrap_difference_by_task(a, b)
                                     : Difference{bootstrap_difference(a, b), kUntested};
}

Paired paired_difference_of(const ScoreTable& a, const ScoreTable& b) {
    return {difference_of(a, b).estimate, difference_by_seed(a, b)};
}

Estimate Paired::over_seeds() const {
    if (by_seed.size() < 2 || !estimate.known()) {
        return {};
    }
    const double one_question = static_cast<double>(by_seed.size()) / static_cast<double>(estimate.rows);
    return t_interval(by_seed, one_question);
}

Estimate Paired::over_both() const {
    const Estimate seeds = over_seeds();
    Estimate both = estimate;
    if (both.known() && seeds.known()) {
        both.lo = std::min(both.lo, seeds.lo);
        both.hi = std::max(both.hi, seeds.hi);
    }
    return both;
}

Comparison compare_with_baseline(const RunLog& run) {
    const auto ours = run.logs.find(kOurs), theirs = run.logs.find(kBaseline);
    if (ours == run.logs.end() || theirs == run.logs.end()) {
        return {};
    }
    const auto compare = [&](const Keep& keep) {
        const ScoreTable a = table_of(ours->second, keep, right_answer);
        const ScoreTable b = table_of(theirs->second, keep, right_answer);
        return Paired{bootstrap_difference(a, b), difference_by_seed(a, b)};
    };
    return {compare(in_domain), compare(out_of_domain)};
}

std::vector<Against> compare_all(const RunLog& run) {
    std::vector<Against> all;
    if (!run.logs.contains(kBaseline)) {
        return all;
    }
    for (const std::string& name : run.methods) {
        if (name != kBaseline) {
            all.push_back({name, {}, {}, {}, {}});
        }
    }
    const auto fill = [&](Difference Against::*column, const Keep& keep) {
        const ScoreTable baseline = table_of(run.logs.at(kBaseline), keep, right_answer);
        for (Against& arm : all) {
            arm.*column = difference_of(table_of(run.logs.at(arm.name), keep, right_answer), baseline);
        }
        correct(all, column);
    };
    fill(&Against::in_domain, in_domain);
    fill(&Against::out_of_domain, out_of_domain);
    fill(&Against::covered, covered_facts);
    fill(&Against::uncovered, uncovered_facts);
    return all;
}

bool is_tested(const Difference& difference) {
    return difference.estimate.known() && difference.p >= 0;
}

std::string verdict_line(const char* where, const Paired& difference) {
    const std::string begin = title_of(kOurs) + " - " + title_of(kBaseline) + " " + where + ": ";
    if (!difference.estimate.known()) {
        return begin + "not measured (no question answered by both)";
    }
    const char* verdict = !is_distinguishable(difference.over_both()) ? "not distinguishable"
                          : difference.estimate.mean > 0              ? "SKIntern is better"
                                                                      : "SKIntern is worse";
    return begin + points_with_interval(difference.estimate) + ": " + verdict;
}

} // namespace skintern
