// ablations.h — which arms of a run are ablations, found from their settings.
//
// An arm is compared with the arm that has the name of its method. When the two differ in one setting and
// nothing else, that setting is an axis of the ablations and the arm a point on it, beside the arm it is
// compared with. Some settings follow from others and do not count by themselves: what each stage keeps
// follows from schedule and number of stages, alpha goes with the rank, the model with the number of its
// parameters, and so does a learning rate that was searched for each model.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/comparisons.h"
#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

struct MethodResult;

struct AblationPoint {
    std::string arm, method;
    Setting value;
    Estimate in_domain, out_of_domain, covered, uncovered;
    Paired less_method; // in domain, less the arm of its method; unknown for that arm itself
};

struct Ablation {
    std::string setting; // "train_share"
    std::string title;   // "Share of the training rows"
    bool numeric = false;
    bool logarithmic = false;          // a numeric axis on which factors count
    std::vector<AblationPoint> points; // method by method, numbers in order
};

// Settings in which an arm differs from the one it is compared with, in the order of their names; none when
// it is that one or when there is no such arm.
std::vector<std::string> differing_settings(const RunLog& run, const std::string& arm);

// The value of an arm's setting, "-" when the logs do not tell it.
Setting setting_of(const RunLog& run, const std::string& arm, const std::string& name);

// "0.005", "2.16 M" for 2160000.
std::string value_text(const Setting& value);

std::vector<Ablation> find_ablations(const RunLog& run, const std::vector<MethodResult>& methods);

} // namespace skintern
