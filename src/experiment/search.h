// search.h — the learning rate of each method, chosen before a test question is asked.
//
// The rule: every trained method tries the same rates, once each, with everything else as the experiment has it and a seed that
// no result has; the rate with most right answers to the validation questions is taken, of equals the smaller. A rate
// with which training diverges has none right. Arms that are variants of a method take the method's rate; an arm that
// names a rate of its own keeps it. A base model of an arm's own has a search of its own: a wider model stands a smaller rate.
#pragma once

#include <string>
#include <vector>

#include "experiment/cell.h"

namespace skintern {

struct SearchConfig {
    std::string out;                // folder of the run: OUT/search/<method>/lr-<rate>/ (of an arm's
                                    // own model OUT/search/<model>/<method>/lr-<rate>/), OUT/search.json
    std::vector<double> rates;
    ArmConfig arm;                  // what every arm starts from
    uint64_t seed = 1000;
};

struct Trial {
    double rate = 0;
    int64_t correct = 0, rows = 0; // of the validation questions
    bool diverged = false;
};

// The rule above, of at least one trial.
double choose_rate(const std::vector<Trial>& trials);

// What rates are sought for: each trained method of the arms, with each base model that it has there, and all else as in `common`.
std::vector<ArmConfig> searched_arms(const ArmConfig& common, const std::vector<ArmConfig>& arms);

// Runs the trials that are missing, waits for those that other processes are at, writes OUT/search.json and gives the arms
// their rates.
void search_rates(const Shared& shared, const SearchConfig& config, std::vector<ArmConfig>& arms);

} // namespace skintern
