// run_log.cpp — what a run left behind, read from its folder into plain structs.
#include "report/run_log.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "report/log_fields.h"
#include "report/run_file.h"
#include "support/check.h"
#include "support/files.h"

namespace skintern {

namespace {

namespace fs = std::filesystem;

// ---- one JSON object, its fields by type ---------------------------------------------------------------

// ---- the files of one method ---------------------------------------------------------------------------

// A run that was stopped and resumed may have logged the same steps twice: from the step at which it came
// back, the second telling counts.
template <class Row>
void forget_from(std::vector<Row>& rows, int64_t step) {
    while (!rows.empty() && rows.back().step >= step) {
        rows.pop_back();
    }
}

std::vector<UpdateRow> read_updates(const std::string& path) {
    std::vector<UpdateRow> updates;
    for_each_row(path, [&](const LogJson& json, const std::string& where) {
        UpdateRow row;
        row.step = count_field(json, "step", where);
        row.stage = count_field(json, "stage", where);
        row.loss = number_field(json, "loss", where);
        row.tokens = json.contains("tokens") ? count_field(json, "tokens", where) : 0;
        CHECK(updates.empty() || row.step > updates.back().step || row.stage <= updates.back().stage,
              "%s: stage %ld begins with step %ld after step %ld, but steps count on through the stages",
              where.c_str(), static_cast<long>(row.stage), static_cast<long>(row.step),
              static_cast<long>(updates.back().step));
        forget_from(updates, row.step);
        updates.push_back(row);
    });
    return updates;
}

AnswerRow answer_row(const LogJson& json, const std::string& where) {
    AnswerRow row;
    row.id = text_field(json, "id", where);
    row.task = text_field(json, "task_name", where);
    row.split = text_field(json, "split", where);
    row.coverage = text_field(json, "coverage", where);
    row.prompt_tokens = count_field(json, "prompt_tokens", where);
    row.new_tokens = count_field(json, "new_tokens", where);
    row.flops = number_field(json, "flops", where);
    row.generated = text_field(json, "generated", where);
    row.question = optional_text(json, "question", where);
    row.gold = optional_text(json, "gold", where);
    row.correct = bool_field(json, "correct", where);
    row.strict = bool_field(json, "strict", where);
    row.readable = bool_field(json, "readable", where);
    row.facts_needed = count_field(json, "facts_needed", where);
    row.facts_found = count_field(json, "facts_found", where);
    CHECK(row.flops >= 0, "%s: field \"flops\" is negative: %g", where.c_str(), row.flops);
    CHECK(row.facts_found <= row.facts_needed,
          "%s: field \"facts_found\" is %ld, more than the %ld facts needed", where.c_str(),
          static_cast<long>(row.facts_found), static_cast<long>(row.facts_needed));
    CHECK(row.coverage.empty() || row.coverage == "covered" || row.coverage == "uncovered",
          "%s: field \"coverage\" must be \"\", \"covered\" or \"uncovered\", found \"%s\"", where.c_str(),
          row.coverage.c_str());
    return row;
}

std::vector<AnswerRow> read_eval(const std::string& path, const std::string& split) {
    std::vector<AnswerRow> rows;
    std::set<std::string> ids;
    for_each_row(path, [&](const LogJson& json, const std::string& where) {
        rows.push_back(answer_row(json, where));
        CHECK(rows.back().split == split, "%s: field \"split\" is \"%s\" in a file of split \"%s\"",
              where.c_str(), rows.back().split.c_str(), split.c_str());
        CHECK(ids.insert(rows.back().id).second, "%s: question \"%s\" stands in this file twice",
              where.c_str(), rows.back().id.c_str());
    });
    return rows;
}

std::vector<MeterRow> read_meter(const std::string& path) {
    std::vector<MeterRow> meter;
    for_each_row(path, [&](const LogJson& json, const std::string& where) {
        const MeterRow row = {count_field(json, "step", where), number_field(json, "nll_question", where),
                              number_field(json, "nll_knowledge", where)};
        forget_from(meter, row.step);
        meter.push_back(row);
    });
    return meter;
}

std::vector<CurveRow> read_curve(const std::string& path) {
    std::map<std::pair<int64_t, bool>, CurveRow>
        points; // a resumed run may tell a point twice: the last one counts
    for_each_row(path, [&](const LogJson& json, const std::string& where) {
        const CurveRow row = {count_field(json, "stage", where), count_field(json, "step", where),
                              bool_field(json, "knowledge", where), count_field(json, "rows", where),
                              count_field(json, "correct", where)};
        CHECK(row.correct <= row.rows, "%s: field \"correct\" is %ld, more than the %ld rows", where.c_str(),
              static_cast<long>(row.correct), static_cast<long>(row.rows));
        points[{row.stage, row.knowledge}] = row;
    });
    std::vector<CurveRow> curve;
    for (const auto& [key, row] : points) {
        curve.push_back(row);
    }
    return curve;
}

Dropped read_dropped(const std::string& path) {
    const LogJson json = parse_object(read_file(path), path);
    return {count_field(json, "left_out", path), count_field(json, "knowledge_cut", path),
            count_field(json, "shots_cut", path)};
}

// Takes the settings of the arm from cell.json: run.json was written before the search for a rate.
CellLog read_cell(RunLog& run, const std::string& arm, const std::string& path) {
    const LogJson json = parse_object(read_file(path), path);
    CellLog cell;
    cell.begun = json.contains("begun") ? count_field(json, "begun", path) : 1;
    cell.version = optional_text(json, "version", path);
    cell.device = optional_text(json, "device", path);
    cell.failed = optional_text(json, "failed", path);
    if (json.contains("seconds")) {
        cell.seconds = number_field(json, "seconds", path);
    }
    if (json.contains("arm")) {
        run.arms[arm] = arm_settings(json["arm"], path + ": field \"arm\"");
    }
    return cell;
}

RateSearch read_search(const std::string& path) {
    const LogJson json = parse_object(read_file(path), path);
    RateSearch search;
    search.rule = text_field(json, "rule", path);
    for (const LogJson& rate : list_field(json, "rates", path)) {
        CHECK(rate.is_number(), "%s: field \"rates\" must hold numbers, found %s", path.c_str(), rate.dump().c_str());
        search.rates.push_back(rate.get<double>());
    }
    for (const auto& [name, method] : object_field(json, "methods", path).items()) {
        const std::string where = path + ": of \"" + name + "\"";
        CHECK(method.is_object(), "%s: must be an object, found %s", where.c_str(), method.type_name());
        search.methods.push_back({name, {}, number_field(method, "chosen", where)});
        for (const LogJson& trial : list_field(method, "trials", where)) {
            CHECK(trial.is_object(), "%s: field \"trials\" must hold objects, found %s", where.c_str(), trial.type_name());
            search.methods.back().trials.push_back({number_field(trial, "lr", where), number_field(trial, "accuracy", where),
                                                    count_field(trial, "rows", where), bool_field(trial, "failed", where)});
        }
    }
    return search;
}

MethodLog read_method(RunLog& run, int64_t seed, const std::string& method) {
    const std::string name = format("seed-%ld/%s", static_cast<long>(seed), method.c_str());
    const std::string folder = run.dir + "/" + name;
    MethodLog log;
    const auto present = [&](const std::string& file, bool expected) {
        const bool there = file_exists(folder + "/" + file);
        if (!there && expected) {
            run.missing.push_back(name + "/" + file);
        }
        return there;
    };
    if (!fs::is_directory(folder)) {
        run.missing.push_back(name + " (nothing yet)");
        return log;
    }
    if (present("cell.json", false)) {
        log.cell = read_cell(run, method, folder + "/cell.json");
    }
    if (present("log.jsonl", method_of(run, method).trained)) {
        log.updates = read_updates(folder + "/log.jsonl");
    }
    for (const std::string split : kSplits) {
        const std::string file = "eval/" + split + ".jsonl";
        if (present(file, true)) {
            log.eval[split] = read_eval(folder + "/" + file, split);
        }
    }
    std::vector<std::string> beside = run.sets;
    beside.push_back(kWithKnowledge);
    for (const std::string& name_of_set : beside) {
        const std::string file = "eval/" + name_of_set + ".jsonl";
        if (present(file, name_of_set != kWithKnowledge)) {
            log.beside[name_of_set] = read_eval(folder + "/" + file, name_of_set);
        }
    }
    const bool with_meter = said(run, "meter_readings") != "0" && said(run, "data.validation") != "0";
    if (present("meter.jsonl", method_of(run, method).trained && with_meter)) {
        log.meter = read_meter(folder + "/meter.jsonl");
    }
    const bool with_curve = said(run, "curve_rows") != "0" && said(run, "data.test") != "0";
    if (present("curve.jsonl", method_of(run, method).curriculum() && with_curve)) {
        log.curve = read_curve(folder + "/curve.jsonl");
    }
    if (present("dropped.json", false)) {
        log.dropped = read_dropped(folder + "/dropped.json");
    }
    return log;
}

// ---- the folder ----------------------------------------------------------------------------------------

std::vector<std::string> folders_in(const std::string& dir) {
    std::vector<std::string> names;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(dir, error)) {
        if (entry.is_directory(error)) {
            names.push_back(entry.path().filename().string());
        }
    }
    std::sort(names.begin(), names.end()); // the order in which a file system lists names means nothing
    return names;
}

// Without run.json: the seeds and methods whose folders are there.
void find_seeds_and_methods(RunLog& run) {
    std::set<std::string> methods;
    for (const std::string& name : folders_in(run.dir)) {
        int64_t seed = 0;
        const char* end = name.data() + name.size();
        if (name.rfind("seed-", 0) != 0 || std::from_chars(name.data() + 5, end, seed).ptr != end ||
            seed < 0) {
            continue;
        }
        run.seeds.push_back(seed);
        const std::vector<std::string> found = folders_in(run.dir + "/" + name);
        methods.insert(found.begin(), found.end());
    }
    std::sort(run.seeds.begin(), run.seeds.end());
    run.methods.assign(methods.begin(), methods.end());
}

} // namespace

const Method& method_of(const RunLog& run, const std::string& arm) {
    const auto it = run.method_of.find(arm);
    const std::string& name = it == run.method_of.end() ? arm : it->second;
    for (const Method& method : kMethods) {
        if (name == method.name) {
            return method;
        }
    }
    return method_by_name(name.starts_with("base") ? "base" : "std-cot");
}

std::string said(const RunLog& run, const std::string& name) {
    for (const auto& [key, value] : run.settings) {
        if (key == name) {
            return value;
        }
    }
    return "";
}

RunLog read_run(const std::string& run_dir) {
    RunLog run;
    run.dir = run_dir;
    CHECK(fs::is_directory(run_dir), "%s: is not a folder, expected the folder of a run", run_dir.c_str());
    const std::string run_file = run_dir + "/run.json";
    if (file_exists(run_file)) {
        read_run_file(run, run_file);
    } else {
        run.missing.push_back("run.json (methods and seeds are those whose folders are there)");
        find_seeds_and_methods(run);
    }
    CHECK(!run.seeds.empty() && !run.methods.empty(),
          "%s: is not the folder of a run: it names no seed or no method", run_dir.c_str());
    if (file_exists(run_dir + "/search.json")) {
        run.search = read_search(run_dir + "/search.json");
    }
    for (const std::string& method : run.methods) {
        for (const int64_t seed : run.seeds) {
            run.logs[method].push_back(read_method(run, seed, method));
        }
    }
    return run;
}

} // namespace skintern
