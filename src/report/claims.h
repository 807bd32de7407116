// claims.h — what is claimed of SKIntern, or what a sceptic asks of it, and what a run says to that.
//
// "The best baseline" is chosen on the same questions that it is then compared on, which makes it look better
// than it is. Each resample of the bootstrap therefore chooses anew, so that the interval holds the choice as
// well. A baseline is a method that is trained and answers from the question alone, as SKIntern does, without
// being one of its relatives (those that learn from knowledge which is withdrawn, or from responses of their
// own). Only arms with the name of their method count: the others are variants.
#pragma once

#include <string>
#include <vector>

#include "report/comparisons.h"
#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

struct Claim {
    std::string text;  // "SKIntern is better than Std-CoT in domain"
    Paired found;      // a difference of accuracies, or a ratio (by_seed empty)
    bool is_ratio = false;
    std::string note; // what the numbers rest on: "over 14 tasks; the best is stepwise"
};

// The claims of which all arms are there.
std::vector<Claim> check_claims(const RunLog& run);

// "holds here", "does not hold", "cannot tell", "not measured": by the interval over tasks or questions, and by that over seeds.
std::string verdict_of(const Claim& claim);
// "+9.2 points, 95 % [+2.0, +16.4], over seeds [-1.0, +19.4]", "2.48 times, 95 % [2.40, 2.56]".
std::string numbers_of(const Claim& claim);

} // namespace skintern
