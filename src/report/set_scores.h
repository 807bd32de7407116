// set_scores.h — accuracy on optional sets of questions (published files), which are in no domain of the
// tasks.
//
// A set's interval is over its questions. The mean of the sets counts each the same; its interval is over
// sets, as the claim is about other sets like these. With fewer than kFewestTasks of them that would promise
// too much, and questions are drawn within their set.
#pragma once

#include <string>
#include <vector>

#include "report/comparisons.h"
#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

struct SetScores {
    std::string arm;
    std::vector<Estimate> by_set; // in the order of RunLog::sets
    Estimate mean;                // of the sets
    Estimate against_baseline;    // difference_on_sets; unknown without std-cot
};

// The questions of all sets, each set a group.
ScoreTable table_of_sets(const RunLog& run, const std::string& arm);

// Mean of the sets of one arm minus that of another, paired by question; in each seed too.
Paired difference_on_sets(const ScoreTable& ours, const ScoreTable& theirs);

// Of every arm; none when the run has no sets.
std::vector<SetScores> score_sets(const RunLog& run);

} // namespace skintern
