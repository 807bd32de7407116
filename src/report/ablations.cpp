// ablations.cpp — see ablations.h.
#include "report/ablations.h"

#include <algorithm>
#include <map>
#include <set>

#include "report/results.h"
#include "report/score_tables.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

struct Axis {
    const char* setting;
    const char* title;
    bool logarithmic;
};

// In the order of the report; other settings come after these under their own name.
constexpr Axis kAxes[] = {
    {"schedule_name", "How knowledge and examples are withdrawn", false},
    {"stages", "Number of stages", false},
    {"epochs", "Passes over the training rows", true},
    {"train_share", "Share of the training rows", true},
    {"params", "Parameters of the base model", true},
    {"lora.r", "Rank of the adapter", true},
    {"train.lr", "Learning rate", true},
    {"compressor", "Compressor", false},
    {"knowledge", "What the knowledge is", false},
    {"rationales", "What the rationales state", false},
    {"wrong", "Share of rows whose rationale errs", false},
    {"shots", "Examples at the first stage", false},
    {"match_tokens", "As many training tokens as another arm", false},
    {"match_flops", "As many training FLOPs as another arm", false},
    {"keep_knowledge", "Knowledge kept in the prompt of the evaluation", false},
    {"train.one_schedule", "One learning-rate schedule over all stages", false},
};

// What cells had that were made before the setting was there.
const std::map<std::string, Setting>& defaults() {
    static const std::map<std::string, Setting> values = {
        {"knowledge", {"full", {}}},
        {"rationales", {"stated", {}}},
        {"wrong", {"0.0", 0.0}},
        {"keep_knowledge", {"false", {}}},
        {"compressor", {"information", {}}},
        {"train_share", {"1.0", 1.0}},
        {"shots_from", {"block", {}}},
        {"train.one_schedule", {"false", {}}},
    };
    return values;
}

bool same(const Setting& a, const Setting& b) {
    return a.number && b.number ? *a.number == *b.number : a.text == b.text;
}

bool stands_alone(const std::string& setting, const std::set<std::string>& differ, bool one_stage, bool searched) {
    if (setting == "keeps") {
        return !differ.contains("schedule_name") && !differ.contains("stages") && !differ.contains("shots");
    }
    if (setting == "shots") { // a single stage has none: it looks like the evaluation
        return !(differ.contains("stages") && one_stage);
    }
    if (setting == "lora.alpha") {
        return !differ.contains("lora.r");
    }
    if (setting == "model") {
        return !differ.contains("params");
    }
    if (setting == "train.lr") { // a search has one for each base model
        return !(searched && differ.contains("params"));
    }
    // How many tokens go through the model at a time moves a result by rounding alone.
    return setting != "method" && setting != "train.micro_tokens";
}

bool is_numeric(const std::vector<AblationPoint>& points) {
    return std::all_of(points.begin(), points.end(),
                       [](const AblationPoint& p) { return p.value.number.has_value(); });
}

AblationPoint point_of(const RunLog& run, const std::vector<MethodResult>& methods, const std::string& arm,
                       const std::string& setting) {
    const auto found =
        std::find_if(methods.begin(), methods.end(), [&](const MethodResult& m) { return m.name == arm; });
    const std::string method = method_of(run, arm).name;
    const auto right_in_domain = [&](const std::string& name) { return table_of(run.logs.at(name), in_domain, right_answer); };
    return {arm,
            method,
            setting_of(run, arm, setting),
            found->in_domain,
            found->out_of_domain,
            found->covered,
            found->uncovered,
            arm == method ? Paired{} : paired_difference_of(right_in_domain(arm), right_in_domain(method))};
}

// The arm of the method and its variants, numbers in order.
std::vector<AblationPoint> points_of(const RunLog& run, const std::vector<MethodResult>& methods,
                                     const std::string& method, const std::vector<std::string>& variants,
                                     const std::string& setting) {
    std::vector<AblationPoint> points = {point_of(run, methods, method, setting)};
    for (const std::string& arm : variants) {
        points.push_back(point_of(run, methods, arm, setting));
    }
    if (is_numeric(points)) {
        std::stable_sort(points.begin(), points.end(), [](const AblationPoint& a, const AblationPoint& b) {
            return *a.value.number < *b.value.number;
        });
    }
    return points;
}

// Where an axis stands in the report.
size_t rank(const std::string& setting) {
    const auto* found = std::find_if(std::begin(kAxes), std::end(kAxes),
                                     [&](const Axis& axis) { return setting == axis.setting; });
    return static_cast<size_t>(found - std::begin(kAxes));
}

Ablation make_ablation(const std::string& setting, std::vector<AblationPoint> points) {
    Ablation ablation;
    const size_t axis = rank(setting);
    ablation.setting = setting;
    ablation.title = axis < std::size(kAxes) ? kAxes[axis].title : setting;
    ablation.numeric = is_numeric(points);
    ablation.logarithmic =
        ablation.numeric && axis < std::size(kAxes) && kAxes[axis].logarithmic &&
        std::all_of(points.begin(), points.end(), [](const AblationPoint& p) { return *p.value.number > 0; });
    ablation.points = std::move(points);
    return ablation;
}

} // namespace

Setting setting_of(const RunLog& run, const std::string& arm, const std::string& name) {
    const auto settings = run.arms.find(arm);
    if (settings != run.arms.end()) {
        const auto found = settings->second.find(name);
        if (found != settings->second.end()) {
            return found->second;
        }
    }
    if (name == "params" && run.base_params) {
        return {std::to_string(*run.base_params), static_cast<double>(*run.base_params)};
    }
    const auto usual = defaults().find(name);
    return usual == defaults().end() ? Setting{kUnknown, {}} : usual->second;
}

std::string value_text(const Setting& value) {
    return !value.number            ? value.text
           : *value.number >= 10000 ? with_prefix(*value.number)
                                    : format("%g", *value.number);
}

std::vector<std::string> differing_settings(const RunLog& run, const std::string& arm) {
    const std::string model = method_of(run, arm).name;
    if (arm == model || !run.arms.contains(arm) || !run.arms.contains(model)) {
        return {};
    }
    std::set<std::string> names;
    for (const std::string& side : {arm, model}) {
        for (const auto& [name, value] : run.arms.at(side)) {
            names.insert(name);
        }
    }
    std::set<std::string> differ;
    for (const std::string& name : names) {
        if (!same(setting_of(run, arm, name), setting_of(run, model, name))) {
            differ.insert(name);
        }
    }
    const bool one_stage =
        setting_of(run, arm, "stages").text == "1" || setting_of(run, model, "stages").text == "1";
    std::vector<std::string> out;
    for (const std::string& name : differ) {
        if (stands_alone(name, differ, one_stage, run.search.has_value())) {
            out.push_back(name);
        }
    }
    return out;
}

std::vector<Ablation> find_ablations(const RunLog& run, const std::vector<MethodResult>& methods) {
    std::map<std::string, std::map<std::string, std::vector<std::string>>>
        arms_of; // setting -> method -> arms
    for (const std::string& arm : run.methods) {
        const std::vector<std::string> differ = differing_settings(run, arm);
        if (differ.size() == 1) {
            arms_of[differ[0]][method_of(run, arm).name].push_back(arm);
        }
    }
    std::vector<Ablation> ablations;
    for (const auto& [setting, by_method] : arms_of) {
        std::vector<AblationPoint> points;
        for (const std::string& method : run.methods) { // in their order
            const auto found = by_method.find(method);
            if (found != by_method.end()) {
                const std::vector<AblationPoint> more =
                    points_of(run, methods, method, found->second, setting);
                points.insert(points.end(), more.begin(), more.end());
            }
        }
        ablations.push_back(make_ablation(setting, std::move(points)));
    }
    std::stable_sort(ablations.begin(), ablations.end(),
                     [](const Ablation& a, const Ablation& b) { return rank(a.setting) < rank(b.setting); });
    return ablations;
}

} // namespace skintern
