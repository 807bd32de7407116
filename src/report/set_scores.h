// set_scores.h — accuracy on optional sets of questions (published files), which are in no domain of the
// tasks.
//
// A set's interval is over its questions. The mean of the sets counts each the same; its interval is over
// sets, as the claim is about other sets like these. With fewer than kFewestTasks of them that would promise
// too much, and questions are drawn within their set.
#pragma once

#include <string>
#include <vector>

#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

struct SetScores {
    std::string arm;
    std::vector<Estimate> by_set; // in the order of RunLog::sets
    Estimate mean;                // of the sets
    Estimate against_baseline;    // mean of the sets minus std-cot's, paired by question
};

// Of every arm; none when the run has no sets.
std::vector<SetScores> score_sets(const RunLog& run);

} // namespace skintern
