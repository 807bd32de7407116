// results_json.cpp — see results_json.h; the fields are described in docs/formats.md.
#include "report/results_json.h"

#include <cmath>

#include <nlohmann/json.hpp>

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

// Six decimals at most, and no ".0" behind a whole number.
Json plain(double x) {
    const double rounded = std::round(x * 1e6) / 1e6;
    if (rounded == std::floor(rounded) && std::abs(rounded) < 0x1.0p53) {
        return static_cast<int64_t>(rounded);
    }
    return rounded;
}

Json mean_json(const Estimate& estimate) {
    return estimate.known() ? plain(estimate.mean) : Json(nullptr);
}

Json interval_json(const Estimate& estimate) {
    if (!estimate.known()) {
        return {{"mean", nullptr}, {"ci95", nullptr}};
    }
    return {{"mean", plain(estimate.mean)}, {"ci95", Json::array({plain(estimate.lo), plain(estimate.hi)})}};
}

Json rows_json(const Estimate& estimate) {
    Json json = interval_json(estimate);
    json["rows"] = estimate.rows;
    return json;
}

Json method_json(const MethodResult& m) {
    Json json;
    json["name"] = m.name;
    json["id_accuracy"] = interval_json(m.in_domain);
    json["ood_accuracy"] = interval_json(m.out_of_domain);
    json["id_accuracy_macro"] = interval_json(m.in_domain_macro);
    json["ood_accuracy_macro"] = interval_json(m.out_of_domain_macro);
    json["by_task"] = Json::object();
    for (const auto& [task, estimates] : m.by_task) {
        json["by_task"][task] = {{"id", rows_json(estimates.first)}, {"ood", rows_json(estimates.second)}};
    }
    for (const char* split : kSplits) {
        json["by_split"][split] = rows_json(m.by_split.at(split));
    }
    json["coverage"] = {{"covered", rows_json(m.covered)}, {"uncovered", rows_json(m.uncovered)}};
    for (const auto& [group, estimates] : m.by_group) {
        json["by_group"][group] = {{"id", rows_json(estimates.first)}, {"ood", rows_json(estimates.second)}};
    }
    json["without_gold_in_knowledge"] = {{"id", rows_json(m.in_domain_without_gold)},
                                         {"ood", rows_json(m.out_of_domain_without_gold)}};
    json["knowledge_put_back"] = {{"own_prompt", rows_json(m.own_prompt)}, {"put_back", rows_json(m.put_back)}};
    json["skills"] = {
        {"find", mean_json(m.find)}, {"apply", mean_json(m.apply)}, {"format", mean_json(m.format)}};
    json["strict_accuracy"] = mean_json(m.strict);
    json["unreadable"] = mean_json(m.unreadable);
    json["prompt_tokens"] = mean_json(m.prompt_tokens);
    json["new_tokens"] = mean_json(m.new_tokens);
    json["flops_per_question"] = mean_json(m.flops);
    json["flops_relative_to_std_cot"] = mean_json(m.flops_relative);
    json["train_updates"] = mean_json(m.train_updates);
    json["train_tokens"] = mean_json(m.train_tokens);
    return json;
}

Json difference_json(const Paired& found) {
    const Estimate& difference = found.estimate;
    if (!difference.known()) {
        return nullptr;
    }
    Json json;
    json["difference"] = plain(difference.mean);
    json["ci95"] = Json::array({plain(difference.lo), plain(difference.hi)});
    json["rows"] = difference.rows;
    json["by_seed"] = Json::array();
    for (const double seed : found.by_seed) {
        json["by_seed"].push_back(plain(seed));
    }
    json["ci95_over_seeds"] = interval_json(found.over_seeds())["ci95"];
    json["distinguishable"] = is_distinguishable(found.over_both());
    return json;
}

Json training_json(const Results& results, Json& meter) {
    Json curve = Json::array();
    for (const CurvePoint& point : results.curve) {
        Json json = {{"stage", point.stage}, {"step", point.step}, {"knowledge", point.knowledge}};
        json.update(rows_json(point.accuracy));
        curve.push_back(json);
    }
    meter = Json::object();
    for (const MethodResult& method : results.methods) {
        const auto found = results.meter.find(method.name);
        for (size_t i = 0; found != results.meter.end() && i < found->second.size(); i++) {
            const MeterPoint& point = found->second[i];
            meter[method.name].push_back({{"step", point.step},
                                          {"nll_question", plain(point.nll_question)},
                                          {"nll_knowledge", plain(point.nll_knowledge)}});
        }
    }
    return curve;
}

Json tested_json(const Difference& test) {
    Json json = difference_json({test.estimate, {}});
    if (json.is_object()) {
        json.erase("by_seed");
        json.erase("ci95_over_seeds");
        json.erase("distinguishable"); // asks the seeds too
        json["p_holm"] = is_tested(test) ? plain(test.p) : Json();
    }
    return json;
}

Json against_json(const Results& results) {
    Json json = Json::array();
    for (const Against& arm : results.against) {
        json.push_back({{"arm", arm.name},
                        {"id", tested_json(arm.in_domain)},
                        {"ood", tested_json(arm.out_of_domain)},
                        {"covered", tested_json(arm.covered)},
                        {"uncovered", tested_json(arm.uncovered)}});
    }
    return json;
}

Json claims_json(const Results& results) {
    Json json = Json::array();
    for (const Claim& claim : results.claims) {
        Json row = {{"claim", claim.text}, {"verdict", verdict_of(claim)}};
        row[claim.is_ratio ? "ratio" : "difference"] = mean_json(claim.found.estimate);
        row["ci95"] = interval_json(claim.found.estimate)["ci95"];
        row["ci95_over_seeds"] = interval_json(claim.found.over_seeds())["ci95"];
        row["rows"] = claim.found.estimate.rows;
        row["note"] = claim.note;
        json.push_back(row);
    }
    return json;
}

Json ablations_json(const Results& results) {
    Json json = Json::array();
    for (const Ablation& ablation : results.ablations) {
        Json points = Json::array();
        for (const AblationPoint& point : ablation.points) {
            points.push_back(
                {{"arm", point.arm},
                 {"method", point.method},
                 {"value", point.value.number ? plain(*point.value.number) : Json(point.value.text)},
                 {"id", rows_json(point.in_domain)},
                 {"ood", rows_json(point.out_of_domain)},
                 {"covered", rows_json(point.covered)},
                 {"uncovered", rows_json(point.uncovered)},
                 {"id_less_method", mean_json(point.less_method.estimate)},
                 {"ci95", interval_json(point.less_method.estimate)["ci95"]},
                 {"ci95_over_seeds", interval_json(point.less_method.over_seeds())["ci95"]}});
        }
        json.push_back({{"setting", ablation.setting}, {"points", points}});
    }
    return json;
}

Json sets_json(const RunLog& run, const Results& results) {
    Json json = Json::array();
    for (const SetScores& arm : results.sets) {
        Json by_set = Json::object();
        for (size_t s = 0; s < run.sets.size(); s++) {
            by_set[run.sets[s]] = rows_json(arm.by_set[s]);
        }
        json.push_back({{"arm", arm.arm},
                        {"by_set", by_set},
                        {"mean", interval_json(arm.mean)},
                        {"minus_std_cot", interval_json(arm.against_baseline)}});
    }
    return json;
}

Json gold_json(const Results& results) {
    Json json = Json::array();
    for (const GoldCount& count : results.gold.counts) {
        json.push_back(
            {{"split", count.split}, {"family", count.family}, {"rows", count.rows}, {"held", count.held}});
    }
    return json;
}

} // namespace

std::string results_to_json(const RunLog& run, const Results& results) {
    Json json;
    json["preset"] = run.preset;
    json["seeds"] = run.seeds;
    json["methods"] = Json::array();
    for (const MethodResult& method : results.methods) {
        json["methods"].push_back(method_json(method));
    }
    Json meter;
    json["curve"] = training_json(results, meter);
    json["meter"] = meter;
    const Comparison& comparison = results.comparison;
    json["comparison"] = {
        {"of", kOurs},
        {"with", kBaseline},
        {"id", difference_json(comparison.in_domain)},
        {"ood", difference_json(comparison.out_of_domain)}};
    json["claims"] = claims_json(results);
    json["against"] = against_json(results);
    json["ablations"] = ablations_json(results);
    json["sets"] = sets_json(run, results);
    json["gold_in_knowledge"] = gold_json(results);
    // A folder name that is not UTF-8 can stand in for the name of a method; it must not stop the report.
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace skintern
