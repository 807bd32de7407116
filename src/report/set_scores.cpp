// set_scores.cpp — see set_scores.h.
#include "report/set_scores.h"

#include "report/score_tables.h"

namespace skintern {

namespace {

Estimate mean_of_sets(const ScoreTable& table) {
    return draw_of(table) == Draw::tasks ? bootstrap_mean(means_by_group(table))
                                         : bootstrap_macro_mean(table);
}

} // namespace

ScoreTable table_of_sets(const RunLog& run, const std::string& arm) {
    const auto of_a_set = [](const AnswerRow& row) { return row.split != kWithKnowledge; };
    ScoreTable table = table_of(run.logs.at(arm), &MethodLog::beside, of_a_set, right_answer);
    for (size_t q = 0; q < table.questions.size(); q++) {
        table.groups[q] = table.questions[q].substr(0, table.questions[q].find('/'));
    }
    return table;
}

Paired difference_on_sets(const ScoreTable& ours, const ScoreTable& theirs) {
    return {mean_of_sets(paired_difference(ours, theirs)), difference_by_seed(means_by_group(ours), means_by_group(theirs))};
}

std::vector<SetScores> score_sets(const RunLog& run) {
    std::vector<SetScores> all;
    for (const std::string& arm : run.sets.empty() ? std::vector<std::string>{} : run.methods) {
        SetScores scores{arm, {}, {}, {}};
        for (const std::string& set : run.sets) {
            const auto of_this_set = [&](const AnswerRow& row) { return row.split == set; };
            scores.by_set.push_back(
                bootstrap_mean(table_of(run.logs.at(arm), &MethodLog::beside, of_this_set, right_answer)));
        }
        const ScoreTable table = table_of_sets(run, arm);
        scores.mean = mean_of_sets(table);
        if (arm != kBaseline && run.logs.contains(kBaseline)) {
            scores.against_baseline = difference_on_sets(table, table_of_sets(run, kBaseline)).estimate;
        }
        all.push_back(scores);
    }
    return all;
}

} // namespace skintern
