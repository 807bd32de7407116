// curriculum.cpp — see curriculum.h for the formulas.
#include "method/curriculum.h"

#include <cmath>

#include "support/check.h"

namespace skintern {

namespace {

// S at progress u in [0,1].
double strength(const std::string& schedule, double u) {
    constexpr double kRate = 3.0; // how far from linear the exponential schedules are
    const double floor = std::exp(-kRate);
    if (schedule == "linear") {
        return 1.0 - u;
    }
    if (schedule == "exp") {
        return (std::exp(-kRate * u) - floor) / (1.0 - floor);
    }
    if (schedule == "inverse-exp") {
        return 1.0 - (std::exp(-kRate * (1.0 - u)) - floor) / (1.0 - floor);
    }
    if (schedule == "step") {
        return u < 1.0 ? 1.0 : 0.0;
    }
    if (schedule == "reversed") {
        return u;
    }
    CHECK(schedule == "none", "--schedule is \"%s\": known are linear, exp, inverse-exp, step, none, reversed, shuffled",
          schedule.c_str());
    return 1.0;
}

// u of stage t.
double progress(int64_t t, int64_t T) {
    return T == 1 ? 1.0 : static_cast<double>(t - 1) / static_cast<double>(T - 1);
}

// Which stage comes at place t: 2, 4, ..., then 1, 3, ...
int64_t shuffled_stage(int64_t t, int64_t T) { return t <= T / 2 ? 2 * t : 2 * (t - T / 2) - 1; }

} // namespace

std::vector<Stage> make_curriculum(const CurriculumConfig& config) {
    CHECK(config.stages >= 1 && config.stages <= 1000, "--stages is %lld: it must be from 1 to 1000",
          static_cast<long long>(config.stages));
    CHECK(config.shots_from == "block" || config.shots_from == "similar",
          "--shots-from is \"%s\": known are block, similar", config.shots_from.c_str());
    CHECK(config.shots >= 0 && config.shots <= 1000, "--shots is %lld: it must be from 0 to 1000",
          static_cast<long long>(config.shots));
    std::vector<Stage> stages;
    const int64_t T = config.stages;
    for (int64_t t = 1; t <= T; t++) {
        const bool shuffled = config.schedule == "shuffled";
        const double s = strength(shuffled ? "linear" : config.schedule, progress(shuffled ? shuffled_stage(t, T) : t, T));
        // The small addend keeps K * (1/3) * 3 from falling under a whole number by rounding.
        stages.push_back({t, s, static_cast<int64_t>(std::floor(static_cast<double>(config.shots) * s + 1e-9))});
    }
    return stages;
}

} // namespace skintern
