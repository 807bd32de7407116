// arm.cpp — see arm.h.
#include "experiment/arm.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "method/methods.h"
#include "support/check.h"

namespace skintern {

using Json = nlohmann::ordered_json;

namespace {

// Settings that came later stand there only where they are used: cells made before them are still the same.
Json arm_extras(const ArmConfig& arm) {
    Json json = Json::object();
    if (!arm.model.empty()) {
        json["model"] = arm.model;
        json["params"] = arm.params;
    }
    for (const auto& [name, value] : {std::pair{"match_tokens", arm.match_tokens}, {"match_flops", arm.match_flops}}) {
        if (!value.empty()) {
            json[name] = value;
        }
    }
    for (const auto& [name, seed] : {std::pair{"order_seed", arm.order_seed}, {"adapter_seed", arm.adapter_seed},
                                     {"examples_seed", arm.examples_seed}}) {
        if (seed > 0) {
            json[name] = seed;
        }
    }
    return json;
}

} // namespace

Json arm_json(const ArmConfig& arm) {
    Json stages = Json::array();
    for (const Stage& stage : method_stages(method_by_name(arm.method), arm.curriculum)) {
        stages.push_back({{"stage", stage.index}, {"keep", stage.keep}, {"shots", stage.shots}});
    }
    Json json = {{"method", arm.method},
            {"lora", {{"r", arm.lora.r}, {"alpha", arm.lora.alpha}, {"target_modules", arm.lora.target_modules}}},
            {"schedule_name", arm.curriculum.schedule},
            {"shots_from", arm.curriculum.shots_from},
            {"stages", stages},
            {"train", {{"lr", arm.train.adamw.lr}, {"weight_decay", arm.train.adamw.weight_decay},
                       {"max_grad_norm", arm.train.adamw.max_grad_norm}, {"warmup_ratio", arm.train.adamw.warmup_ratio},
                       {"lr_scheduler", arm.train.adamw.lr_scheduler}, {"batch_size", arm.train.batch_size},
                       {"micro_tokens", arm.train.micro_tokens}, {"one_schedule", arm.train.one_schedule}}},
            {"epochs", arm.epochs},
            {"train_share", arm.train_share},
            {"cutoff_len", arm.cutoff_len},
            {"compressor", arm.compressor},
            {"knowledge", arm.variant.knowledge},
            {"rationales", arm.variant.rationales},
            {"wrong", arm.variant.wrong},
            {"keep_knowledge", arm.keep_knowledge}};
    json.update(arm_extras(arm));
    return json;
}

std::vector<Record> training_rows(const ArmConfig& arm, const std::vector<Record>& train) {
    CHECK(arm.train_share > 0 && arm.train_share <= 1, "--train-share is %g: it must be above 0 and at most 1",
          arm.train_share);
    std::map<std::string, int64_t> of_family, taken;
    for (const Record& record : train) {
        of_family[record.task_name]++;
    }
    std::vector<Record> rows;
    for (const Record& record : train) {
        const double share = static_cast<double>(of_family[record.task_name]) * arm.train_share;
        if (taken[record.task_name] < std::max<int64_t>(1, std::llround(share))) {
            taken[record.task_name]++;
            rows.push_back(record);
        }
    }
    return rows;
}

int64_t total_updates(const ArmConfig& arm, int64_t rows) {
    return std::max<int64_t>(1, std::llround(arm.epochs * static_cast<double>(rows) / static_cast<double>(arm.train.batch_size)));
}

} // namespace skintern
