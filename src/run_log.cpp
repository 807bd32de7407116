// run_log.cpp — what a run left behind, read from its folder into plain structs.
#include "run_log.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "check.h"
#include "files.h"

namespace skintern {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// ---- one JSON object, its fields by type ---------------------------------------------------------------

Json parse_object(const std::string& text, const std::string& where) {
    Json json;
    try {
        json = Json::parse(text);
    } catch (const Json::exception& problem) {
        CHECK(false, "%s: is damaged, not JSON: %s", where.c_str(), problem.what());
    }
    CHECK(json.is_object(), "%s: is damaged, expected a JSON object and found %s", where.c_str(),
          json.type_name());
    return json;
}

const Json& field(const Json& object, const char* name, const std::string& where) {
    const auto found = object.find(name);
    CHECK(found != object.end(), "%s: field \"%s\" is missing", where.c_str(), name);
    return *found;
}

double number_field(const Json& object, const char* name, const std::string& where) {
    const Json& value = field(object, name, where);
    CHECK(value.is_number(), "%s: field \"%s\" must be a number, found %s", where.c_str(), name,
          value.type_name());
    const double number = value.get<double>();
    CHECK(std::isfinite(number), "%s: field \"%s\" is not finite", where.c_str(), name);
    return number;
}

// A count or an index: a whole number of at least 0.
int64_t count_field(const Json& object, const char* name, const std::string& where) {
    const Json& value = field(object, name, where);
    CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{1} << 53,
          "%s: field \"%s\" must be a whole number of at least 0, found %s", where.c_str(), name,
          value.dump().c_str());
    return static_cast<int64_t>(value.get<uint64_t>());
}

bool bool_field(const Json& object, const char* name, const std::string& where) {
    const Json& value = field(object, name, where);
    CHECK(value.is_boolean(), "%s: field \"%s\" must be true or false, found %s", where.c_str(), name,
          value.type_name());
    return value.get<bool>();
}

std::string text_field(const Json& object, const char* name, const std::string& where) {
    const Json& value = field(object, name, where);
    CHECK(value.is_string(), "%s: field \"%s\" must be text, found %s", where.c_str(), name,
          value.type_name());
    return value.get<std::string>();
}

std::string optional_text(const Json& object, const char* name, const std::string& where) {
    return object.contains(name) ? text_field(object, name, where) : std::string();
}

// Calls `row(object, where)` for each line of a file; `where` is "file:12".
template <class Row>
void for_each_row(const std::string& path, Row row) {
    const std::string bytes = read_file(path);
    size_t start = 0;
    for (int64_t line = 1; start < bytes.size(); line++) {
        const size_t end = std::min(bytes.find('\n', start), bytes.size());
        const std::string text = bytes.substr(start, end - start);
        start = end + 1;
        const std::string where = format("%s:%ld", path.c_str(), static_cast<long>(line));
        CHECK(!text.empty(), "%s: is an empty line", where.c_str());
        row(parse_object(text, where), where);
    }
}

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
    for_each_row(path, [&](const Json& json, const std::string& where) {
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

AnswerRow answer_row(const Json& json, const std::string& where) {
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
    for_each_row(path, [&](const Json& json, const std::string& where) {
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
    for_each_row(path, [&](const Json& json, const std::string& where) {
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
    for_each_row(path, [&](const Json& json, const std::string& where) {
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
    const Json json = parse_object(read_file(path), path);
    return {count_field(json, "left_out", path), count_field(json, "knowledge_cut", path),
            count_field(json, "shots_cut", path)};
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
    if (present("log.jsonl", method_of(run, method).trained)) {
        log.updates = read_updates(folder + "/log.jsonl");
    }
    for (const std::string split : kSplits) {
        const std::string file = "eval/" + split + ".jsonl";
        if (present(file, true)) {
            log.eval[split] = read_eval(folder + "/" + file, split);
        }
    }
    if (present("meter.jsonl", method_of(run, method).trained)) {
        log.meter = read_meter(folder + "/meter.jsonl");
    }
    if (present("curve.jsonl", method_of(run, method).curriculum())) {
        log.curve = read_curve(folder + "/curve.jsonl");
    }
    if (present("dropped.json", false)) {
        log.dropped = read_dropped(folder + "/dropped.json");
    }
    return log;
}

// ---- run.json ------------------------------------------------------------------------------------------

// {"base":{"params":5}} -> "base.params", "5".
void flatten(const std::string& name, const Json& value,
             std::vector<std::pair<std::string, std::string>>& out) {
    if (value.is_object()) {
        for (const auto& [key, inner] : value.items()) {
            flatten(name.empty() ? key : name + "." + key, inner, out);
        }
        return;
    }
    out.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
}

const Json& list_field(const Json& object, const char* name, const std::string& where) {
    const Json& value = field(object, name, where);
    CHECK(value.is_array(), "%s: field \"%s\" must be a list, found %s", where.c_str(), name,
          value.type_name());
    return value;
}

void read_run_file(RunLog& run, const std::string& path) {
    Json json = parse_object(read_file(path), path);
    run.preset = optional_text(json, "preset", path);
    run.device = optional_text(json, "device", path);
    for (const Json& seed : list_field(json, "seeds", path)) {
        CHECK(seed.is_number_unsigned() && seed.get<uint64_t>() <= uint64_t{1} << 53,
              "%s: field \"seeds\" must hold whole numbers, found %s", path.c_str(), seed.dump().c_str());
        run.seeds.push_back(static_cast<int64_t>(seed.get<uint64_t>()));
        CHECK(std::count(run.seeds.begin(), run.seeds.end(), run.seeds.back()) == 1,
              "%s: field \"seeds\" names %ld twice", path.c_str(), static_cast<long>(run.seeds.back()));
    }
    for (const Json& method : list_field(json, "methods", path)) {
        CHECK(method.is_string(), "%s: field \"methods\" must hold names, found %s", path.c_str(),
              method.dump().c_str());
        run.methods.push_back(method.get<std::string>());
        // The name becomes a folder name: it must not lead out of the run.
        const std::string& name = run.methods.back();
        CHECK(!name.empty() && name[0] != '.' && name.find('/') == std::string::npos,
              "%s: field \"methods\" holds \"%s\", which cannot be the name of a method", path.c_str(),
              name.c_str());
        CHECK(std::count(run.methods.begin(), run.methods.end(), name) == 1,
              "%s: field \"methods\" names \"%s\" twice", path.c_str(), name.c_str());
    }
    if (json.contains("method_of")) {
        const Json& methods = json["method_of"];
        CHECK(methods.is_object(), "%s: field \"method_of\" must be an object, found %s", path.c_str(), methods.type_name());
        for (const auto& [arm, method] : methods.items()) {
            CHECK(method.is_string(), "%s: field \"method_of.%s\" must be a name, found %s", path.c_str(), arm.c_str(),
                  method.dump().c_str());
            run.method_of[arm] = method.get<std::string>();
        }
        json.erase("method_of");
    }
    if (json.contains("schedule")) {
        for (const Json& row : list_field(json, "schedule", path)) {
            CHECK(row.is_object(), "%s: field \"schedule\" must hold objects, found %s", path.c_str(),
                  row.type_name());
            run.schedule.push_back({count_field(row, "stage", path), number_field(row, "keep", path),
                                    count_field(row, "shots", path), std::nullopt});
            if (row.contains("updates")) {
                run.schedule.back().updates = count_field(row, "updates", path);
            }
        }
        json.erase("schedule"); // has a table of its own
    }
    flatten("", json, run.settings);
}

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
    for (const std::string& method : run.methods) {
        for (const int64_t seed : run.seeds) {
            run.logs[method].push_back(read_method(run, seed, method));
        }
    }
    return run;
}

} // namespace skintern
