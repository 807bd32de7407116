// search.cpp — see search.h.
#include "experiment/search.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "experiment/cells.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "tasks/eval_rows.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

constexpr char kRule[] = "most right answers to the validation questions, of equals the smaller rate; one trial a rate and method";

// What a rate is chosen for: a method, or "<model>/<method>" of an arm with a base model of its own.
std::string subject_of(const ArmConfig& arm) {
    return arm.model.empty() ? arm.method : std::filesystem::path(arm.model).filename().string() + "/" + arm.method;
}

// The cells of a searched arm, in the order of the rates.
std::vector<Cell> trials_of(const ArmConfig& arm, const SearchConfig& config) {
    std::vector<Cell> trials;
    for (const double rate : config.rates) {
        const std::string folder = format("%s/search/%s/lr-%g", config.out.c_str(), subject_of(arm).c_str(), rate);
        Cell trial{arm, config.seed, folder, {"validation"}, ""};
        trial.arm.train.adamw.lr = rate;
        trials.push_back(trial);
    }
    return trials;
}

void run_trials(const Shared& shared, const std::vector<Cell>& trials) {
    for (;;) {
        std::vector<Cell> missing;
        for (const Cell& trial : trials) {
            if (!is_answered(trial.folder, trial.asked) && !has_diverged(trial)) {
                missing.push_back(trial);
            }
        }
        if (missing.empty()) {
            return;
        }
        const Outcome outcome = run_cells(shared, missing);
        for (const auto& [folder, reason] : outcome.failed) {
            const auto of_folder = [&](const Cell& trial) { return trial.folder == folder; };
            CHECK(has_diverged(*std::find_if(missing.begin(), missing.end(), of_folder)), "search for a rate: %s", reason.c_str());
        }
        if (outcome.elsewhere > 0) {
            std::this_thread::sleep_for(std::chrono::seconds(1));
        }
    }
}

Trial trial_of(const Cell& cell) {
    Trial trial{cell.arm.train.adamw.lr, 0, 0, has_diverged(cell)};
    const std::string path = cell.folder + "/eval/validation.jsonl";
    for (const std::string& line : trial.diverged ? std::vector<std::string>{} : read_lines(path)) {
        trial.correct += eval_row_from_json(line, path).correct;
        trial.rows++;
    }
    return trial;
}

Json trials_json(const std::vector<Trial>& trials) {
    Json json = Json::array();
    for (const Trial& trial : trials) {
        const double accuracy = trial.rows == 0 ? 0 : static_cast<double>(trial.correct) / static_cast<double>(trial.rows);
        json.push_back({{"lr", trial.rate}, {"accuracy", accuracy}, {"rows", trial.rows}, {"failed", trial.diverged}});
    }
    return json;
}

} // namespace

double choose_rate(const std::vector<Trial>& trials) {
    const auto is_worse = [](const Trial& a, const Trial& b) {
        const int64_t a_correct = a.diverged ? 0 : a.correct, b_correct = b.diverged ? 0 : b.correct;
        return a_correct != b_correct ? a_correct < b_correct : a.rate > b.rate;
    };
    return std::max_element(trials.begin(), trials.end(), is_worse)->rate;
}

std::vector<ArmConfig> searched_arms(const ArmConfig& common, const std::vector<ArmConfig>& arms) {
    std::vector<ArmConfig> searched;
    std::set<std::string> subjects;
    for (const ArmConfig& arm : arms) {
        if (method_by_name(arm.method).trained && subjects.insert(subject_of(arm)).second) {
            searched.push_back(common);
            searched.back().name = searched.back().method = arm.method;
            searched.back().model = arm.model;
        }
    }
    return searched;
}

void search_rates(const Shared& of_run, const SearchConfig& config, std::vector<ArmConfig>& arms) {
    Shared shared = of_run;
    shared.curve_rows = shared.meter_readings = 0; // nobody looks at them
    CHECK(!shared.splits.at("validation").empty(), "--search-lr needs validation questions, and --validation asks for none");
    std::map<std::string, std::vector<Cell>> trials;
    std::vector<Cell> all;
    for (const ArmConfig& arm : searched_arms(config.arm, arms)) {
        const std::vector<Cell>& cells = trials[subject_of(arm)] = trials_of(arm, config);
        all.insert(all.end(), cells.begin(), cells.end());
    }
    for (const ArmConfig& arm : arms) {
        const std::string subject = subject_of(arm);
        CHECK(!trials.contains(subject) || trials[subject].front().arm.model == arm.model,
              "the search for a rate knows base models by the last part of their path, and both %s and %s have the same",
              trials[subject].front().arm.model.c_str(), arm.model.c_str());
    }
    check_cells(all);
    run_trials(shared, all);
    Json methods = Json::object();
    std::map<std::string, double> rate_of;
    for (const auto& [subject, cells] : trials) {
        std::vector<Trial> results;
        for (const Cell& cell : cells) {
            results.push_back(trial_of(cell));
        }
        rate_of[subject] = choose_rate(results);
        methods[subject] = {{"trials", trials_json(results)}, {"chosen", rate_of[subject]}};
    }
    const Json json = {{"rule", kRule}, {"rates", config.rates}, {"methods", methods}};
    write_file(config.out + "/search.json", json.dump(2) + "\n");
    for (ArmConfig& arm : arms) {
        if (rate_of.contains(subject_of(arm)) && !arm.own_rate) {
            arm.train.adamw.lr = rate_of.at(subject_of(arm));
        }
    }
}

} // namespace skintern
