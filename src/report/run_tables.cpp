// run_tables.cpp — how a run was made: the tables of report_tables.h that rest on its settings and cells
// alone.
#include <algorithm>
#include <map>

#include "report/ablations.h"
#include "report/report_tables.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

constexpr size_t kMaxMissing = 8; // missing files listed by name

// A list as it stands in run.json, ["a","b"], as words: "a,b"; numbers and names hold none of what is left
// out.
std::string plain_list(const std::string& json) {
    std::string out;
    for (const char c : json) {
        out += c == '[' || c == ']' || c == '"' ? "" : std::string(1, c);
    }
    return out;
}

bool has_variants(const RunLog& run) {
    return std::any_of(run.methods.begin(), run.methods.end(),
                       [&](const std::string& arm) { return arm != method_of(run, arm).name; });
}

// The command that made the run; put together when run.json does not have it.
std::string command_of(const RunLog& run) {
    if (!run.command.empty()) {
        return run.command;
    }
    std::string command =
        "skintern reproduce --preset " + run.preset + format(" --seeds %zu", run.seeds.size());
    for (const char* option : {"tasks", "train", "validation", "test", "fresh"}) {
        const std::string value = plain_list(said(run, std::string("data.") + option));
        command += value.empty() ? "" : std::string(" --") + option + " " + value;
    }
    const std::string epochs = said(run, "arm.epochs");
    command += epochs.empty() ? "" : " --epochs " + epochs;
    if (has_variants(run)) {
        return command + " and the arms below, from an experiment file";
    }
    std::string names;
    for (const std::string& arm : run.methods) {
        names += (names.empty() ? "" : ",") + arm;
    }
    return command + " --methods " + names;
}

struct Cells {
    int64_t all = 0, finished = 0, failed = 0, begun_again = 0;
    double seconds = 0;
    std::map<std::string, int64_t> versions, devices;
};

Cells count_cells(const RunLog& run) {
    Cells cells;
    for (const std::string& arm : run.methods) {
        for (const MethodLog& log : run.logs.at(arm)) {
            cells.all++;
            if (log.cell) {
                cells.finished += log.cell->seconds.has_value();
                cells.failed += !log.cell->failed.empty();
                cells.begun_again += log.cell->begun > 1;
                cells.seconds += log.cell->seconds.value_or(0);
                cells.versions[log.cell->version]++;
                cells.devices[log.cell->device]++;
            }
        }
    }
    return cells;
}

std::string counted_text(const std::map<std::string, int64_t>& counts) {
    std::string out;
    for (const auto& [what, count] : counts) {
        out += (out.empty() ? "" : ", ") + (what.empty() ? "unknown" : what) + format(" (%ld cells)", static_cast<long>(count));
    }
    return out;
}

// The first files that are missing.
std::string missing_text(const RunLog& run) {
    std::string out;
    for (size_t i = 0; i < std::min(run.missing.size(), kMaxMissing); i++) {
        out += (out.empty() ? "" : ", ") + run.missing[i];
    }
    return out + (run.missing.size() > kMaxMissing ? format(" and %zu more", run.missing.size() - kMaxMissing)
                                                   : "");
}

std::string seeds_text(const RunLog& run) {
    std::string out;
    for (const int64_t seed : run.seeds) {
        out += format("%s%ld", out.empty() ? "" : ", ", static_cast<long>(seed));
    }
    return out;
}

} // namespace

namespace {

void add_row(Table& table, const std::string& what, const std::string& value) {
    if (!value.empty()) {
        table.rows.push_back({what, value});
    }
}

} // namespace

std::string devices_text(const RunLog& run) {
    const std::map<std::string, int64_t> devices = count_cells(run).devices;
    if (devices.empty() || devices.rbegin()->first.empty()) { // the cells do not say
        return run.device;
    }
    return devices.size() > 1 ? counted_text(devices) : devices.begin()->first;
}

Table made_table(const RunLog& run) {
    Table table = {"", {"how it was made", ""}, {}, ""};
    const std::string tasks = plain_list(said(run, "data.tasks"));
    add_row(table, "command", command_of(run));
    add_row(table, "tasks", tasks.empty() ? "all" : tasks);
    for (const char* rows : {"train", "validation", "test", "fresh"}) {
        add_row(table, std::string(rows) + " rows a family", said(run, std::string("data.") + rows));
    }
    add_row(table, "seeds", seeds_text(run));
    add_row(table, "device", devices_text(run));
    add_row(table, "parameters of the base model",
            run.base_params ? format("%ld", static_cast<long>(*run.base_params)) : "");
    add_row(table, "passes over the training rows", said(run, "arm.epochs"));
    add_row(table, "missing", missing_text(run));
    return table;
}

Table cells_table(const RunLog& run) {
    Table table = {"", {"how it went", ""}, {}, ""};
    const Cells cells = count_cells(run);
    add_row(table, "cells",
            format("%ld, of which finished %ld, failed %ld, begun more than once %ld", static_cast<long>(cells.all),
                   static_cast<long>(cells.finished), static_cast<long>(cells.failed),
                   static_cast<long>(cells.begun_again)));
    add_row(table, "code versions", counted_text(cells.versions));
    add_row(table, "hours of all cells together, without what was killed", cells.finished > 0 ? format("%.1f", cells.seconds / 3600) : "");
    return table;
}

Table arms_table(const RunLog& run) {
    Table table = {"Arms that differ from the arm of their method", {"arm", "method", "in"}, {}, ""};
    for (const std::string& arm : run.methods) {
        const std::string method = method_of(run, arm).name;
        std::string settings;
        for (const std::string& name : differing_settings(run, arm)) {
            settings += (settings.empty() ? "" : "; ") + name + " " + value_text(setting_of(run, arm, name)) +
                        " (not " + value_text(setting_of(run, method, name)) + ")";
        }
        if (!settings.empty()) {
            table.rows.push_back({arm, method, settings});
        }
    }
    return table;
}

Table search_table(const RunLog& run) {
    if (!run.search) {
        return {};
    }
    Table table = {"Learning rates tried, accuracy in %, the chosen one in brackets: " + run.search->rule,
                   {"method"},
                   {},
                   ""};
    for (const double rate : run.search->rates) {
        table.head.push_back(format("%g", rate));
    }
    table.head.push_back("rows");
    for (const RateSearch::Method& method : run.search->methods) {
        std::vector<std::string> row = {method.name};
        int64_t rows = 0;
        for (const double rate : run.search->rates) {
            std::string cell = kUnknown;
            for (const RateTrial& trial : method.trials) {
                if (trial.lr == rate) {
                    cell = trial.failed ? "failed" : format("%.1f", 100 * trial.accuracy);
                    rows = std::max(rows, trial.rows);
                }
            }
            row.push_back(rate == method.chosen ? "[" + cell + "]" : cell);
        }
        row.push_back(format("%ld", static_cast<long>(rows)));
        table.rows.push_back(row);
    }
    return table;
}

} // namespace skintern
