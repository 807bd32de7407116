// run_file.cpp — see run_file.h.
#include "report/run_file.h"

#include <algorithm>

#include "support/check.h"
#include "support/files.h"

namespace skintern {

namespace {

// {"base":{"params":5}} -> visit("base.params", 5).
template <class Visit>
void flatten(const std::string& name, const LogJson& value, Visit visit) {
    if (value.is_object()) {
        for (const auto& [key, inner] : value.items()) {
            flatten(name.empty() ? key : name + "." + key, inner, visit);
        }
        return;
    }
    visit(name, value);
}

std::string shown(const LogJson& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

void read_seeds(RunLog& run, const LogJson& json, const std::string& path) {
    for (const LogJson& seed : list_field(json, "seeds", path)) {
        CHECK(seed.is_number_unsigned() && seed.get<uint64_t>() <= uint64_t{1} << 53,
              "%s: field \"seeds\" must hold whole numbers, found %s", path.c_str(), seed.dump().c_str());
        run.seeds.push_back(static_cast<int64_t>(seed.get<uint64_t>()));
        CHECK(std::count(run.seeds.begin(), run.seeds.end(), run.seeds.back()) == 1,
              "%s: field \"seeds\" names %ld twice", path.c_str(), static_cast<long>(run.seeds.back()));
    }
}

// A list of names of folders or files.
std::vector<std::string> read_names(const LogJson& json, const char* name, const char* what,
                                    const std::string& path) {
    std::vector<std::string> names;
    for (const LogJson& value : list_field(json, name, path)) {
        CHECK(value.is_string(), "%s: field \"%s\" must hold names, found %s", path.c_str(), name,
              value.dump().c_str());
        names.push_back(value.get<std::string>());
        CHECK(is_plain_name(names.back()), "%s: field \"%s\" holds \"%s\", which cannot be the name of a %s",
              path.c_str(), name, names.back().c_str(), what);
        CHECK(std::count(names.begin(), names.end(), names.back()) == 1,
              "%s: field \"%s\" names \"%s\" twice", path.c_str(), name, names.back().c_str());
    }
    return names;
}

void read_method_of(RunLog& run, const LogJson& json, const std::string& path) {
    for (const auto& [arm, method] : object_field(json, "method_of", path).items()) {
        CHECK(method.is_string(), "%s: field \"method_of.%s\" must be a name, found %s", path.c_str(),
              arm.c_str(), method.dump().c_str());
        run.method_of[arm] = method.get<std::string>();
    }
}

void read_schedule(RunLog& run, const LogJson& json, const std::string& path) {
    for (const LogJson& row : list_field(json, "schedule", path)) {
        CHECK(row.is_object(), "%s: field \"schedule\" must hold objects, found %s", path.c_str(),
              row.type_name());
        run.schedule.push_back({count_field(row, "stage", path), number_field(row, "keep", path),
                                count_field(row, "shots", path), std::nullopt});
        if (row.contains("updates")) {
            run.schedule.back().updates = count_field(row, "updates", path);
        }
    }
}

} // namespace

Settings arm_settings(const LogJson& arm, const std::string& where) {
    CHECK(arm.is_object(), "%s must be an object, found %s", where.c_str(), arm.type_name());
    Settings settings;
    flatten("", arm, [&](const std::string& name, const LogJson& value) {
        const bool number = value.is_number();
        settings[name] = {shown(value), number ? std::optional(value.get<double>()) : std::nullopt};
    });
    if (arm.contains("stages")) {
        std::string keeps;
        int64_t most = 0;
        for (const LogJson& stage : list_field(arm, "stages", where)) {
            CHECK(stage.is_object(), "%s: field \"stages\" must hold objects, found %s", where.c_str(),
                  stage.type_name());
            keeps += format("%s%.3g", keeps.empty() ? "" : ", ", number_field(stage, "keep", where));
            most = std::max(most, count_field(stage, "shots", where));
        }
        const size_t stages = arm["stages"].size();
        settings["stages"] = {format("%zu", stages), static_cast<double>(stages)};
        settings["shots"] = {format("%ld", static_cast<long>(most)), static_cast<double>(most)};
        settings["keeps"] = {keeps, std::nullopt};
    }
    return settings;
}

void read_run_file(RunLog& run, const std::string& path) {
    LogJson json = parse_object(read_file(path), path);
    run.preset = optional_text(json, "preset", path);
    run.device = optional_text(json, "device", path);
    run.command = optional_text(json, "command", path);
    read_seeds(run, json, path);
    run.methods = read_names(json, "methods", "method", path);
    if (json.contains("method_of")) {
        read_method_of(run, json, path);
    }
    if (json.contains("sets")) {
        run.sets = read_names(json, "sets", "set", path);
    }
    if (json.contains("base_params")) {
        run.base_params = count_field(json, "base_params", path);
    }
    if (json.contains("arms")) {
        for (const auto& [arm, settings] : object_field(json, "arms", path).items()) {
            run.arms[arm] = arm_settings(settings, path + ": field \"arms." + arm + "\"");
        }
    }
    if (json.contains("schedule")) {
        read_schedule(run, json, path);
    }
    for (const char* own_table : {"method_of", "arms", "schedule"}) {
        json.erase(own_table);
    }
    flatten("", json, [&](const std::string& name, const LogJson& value) {
        run.settings.emplace_back(name, shown(value));
    });
}

} // namespace skintern
