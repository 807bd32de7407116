// reproduce.cpp — see reproduce.h. Read from the end: reproduce() is the order of things.
#include "experiment/reproduce.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <nlohmann/json.hpp>

#include "experiment/cells.h"
#include "experiment/search.h"
#include "formats/model_file.h"
#include "report/report.h"
#include "report/run_log.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/settings_file.h"
#include "tasks/retrieve.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

// ---- the run's folder ----------------------------------------------------------------------------------------------

// The contents of what a run reads: base models, templates, passages, sets.
Json fingerprints(const ReproduceConfig& c, const std::vector<std::string>& sets) {
    Json prints = {{"base", c.from_scratch ? "" : fingerprint(c.base_folder)}, {"templates", fingerprint(c.templates)},
                   {"corpus", fingerprint(c.corpus)}};
    for (const ArmConfig& arm : arms_of(c)) {
        if (arm.params > 0) {
            prints["model of " + arm.name] = fingerprint(arm.model);
        }
    }
    const std::vector<std::string> files = data_files(c.sets); // in the order of their names
    for (size_t i = 0; i < sets.size(); i++) {
        prints["set " + sets[i]] = fingerprint(files[i]);
    }
    return prints;
}

// Everything that decides the numbers of a run; of arms whose rate is searched the rate that the search begins with.
Json settings_json(const ReproduceConfig& c, const Kernels& kernels, int64_t train_rows, const std::vector<std::string>& sets) {
    const int64_t updates = total_updates(c.arm, train_rows);
    Json stages = Json::array();
    for (const Stage& stage : make_curriculum(c.arm.curriculum)) {
        stages.push_back({{"stage", stage.index},
                          {"keep", stage.keep},
                          {"shots", stage.shots},
                          {"updates", updates_of_stage(updates, c.arm.curriculum.stages, stage.index)}});
    }
    Json names = Json::array(), methods = Json::object(), arms = Json::object();
    for (const ArmConfig& arm : arms_of(c)) {
        names.push_back(arm.name);
        methods[arm.name] = arm.method;
        arms[arm.name] = arm_json(arm);
    }
    Json seeds = Json::array();
    for (int64_t s = 0; s < c.seeds; s++) {
        seeds.push_back(c.seed + static_cast<uint64_t>(s));
    }
    return {{"preset", c.preset},
            {"command", c.command},
            {"seeds", seeds},
            {"device", kernels.name()},
            {"methods", names},
            {"method_of", methods},
            {"arms", arms},
            {"base", c.from_scratch ? "from scratch" : c.base_folder},
            {"base_updates", c.base.updates},
            {"templates", c.templates},
            {"corpus", c.corpus},
            {"fingerprints", fingerprints(c, sets)},
            {"dtype", c.dtype},
            {"activations", c.activations},
            {"data", {{"seed", c.data.seed}, {"tasks", c.data.tasks}, {"train", c.data.train},
                      {"validation", c.data.validation}, {"test", c.data.test}, {"fresh", c.data.fresh}}},
            {"schedule", stages},
            {"arm", arm_json(c.arm)},
            {"max_new_tokens", c.max_new_tokens},
            {"curve_rows", c.curve_rows},
            {"meter_readings", c.meter_readings},
            {"base_params", count_parameters(c.from_scratch ? c.base.model : open_model_file(c.base_folder).config)},
            {"sets", sets},
            {"set_limit", c.set_limit},
            {"search_lr", c.search_lr}};
}

// An earlier run in the same folder is moved aside, never overwritten, unless a process is at one of its cells.
void move_aside(const std::string& folder) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        CHECK(entry.path().filename() != kLockFile || FileLock(entry.path(), false).held(),
              "%s: another process is at work there; wait for it, help it with --resume, or choose another --out",
              entry.path().parent_path().c_str());
    }
    for (int64_t n = 1;; n++) {
        const std::string aside = folder + "." + std::to_string(n);
        if (!std::filesystem::exists(aside)) {
            std::error_code error;
            std::filesystem::rename(folder, aside, error);
            CHECK(!error, "%s: cannot be moved aside to %s (%s)", folder.c_str(), aside.c_str(),
                  error.message().c_str());
            say(folder + " held an earlier run, which is now " + aside + " (--resume would have continued it)");
            return;
        }
    }
}

// The arms and seeds of a resumed run may be others, its cells say themselves how and on which device they were made, and what
// else is asked of them may grow; everything else must be as it was, and files may lie elsewhere. A setting that an earlier
// version did not write had no other value.
void check_same_settings(const std::string& path, const Json& now) {
    const std::set<std::string> later = {"set_limit", "base_params", "fingerprints", "dtype", "activations"};
    std::set<std::string> free = {"methods", "method_of", "arms", "seeds", "sets", "search_lr", "command", "device", "fingerprints"};
    const Json before = Json::parse(read_file(path), nullptr, false);
    CHECK(before.is_object(), "%s: damaged, so this run cannot be resumed", path.c_str());
    const Json prints = before.value("fingerprints", Json::object());
    CHECK(prints.is_object(), "%s: field \"fingerprints\" must be an object, found %s", path.c_str(), prints.type_name());
    for (const auto& [key, print] : now["fingerprints"].items()) {
        if (prints.contains(key) && prints[key] != "") { // what is in a file or folder counts, not where it lies
            CHECK(prints[key] == print, "%s: the run was started with %s of other contents", path.c_str(), key.c_str());
            free.insert(key);
        }
    }
    for (const auto& [key, value] : now.items()) {
        if (!free.contains(key) && (before.contains(key) || !later.contains(key))) {
            CHECK(before.contains(key) && before[key] == value,
                  "%s: the run was started with %s = %s, not %s; resume it with the settings it has, or choose another "
                  "--out",
                  path.c_str(), key.c_str(), before.value(key, Json()).dump().c_str(), value.dump().c_str());
        }
    }
}

// Another process may be at work on the same run, and in the middle of a write.
bool is_running(int64_t process) { return ::kill(static_cast<pid_t>(process), 0) == 0 || errno != ESRCH; }

// What write_file was writing when an earlier process was killed: "curve.jsonl.1234.tmp".
void remove_leftovers(const std::string& folder) {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        const std::filesystem::path written = entry.path().stem(); // "curve.jsonl.1234"
        const std::string number = written.extension().string();
        if (entry.is_regular_file() && entry.path().extension() == ".tmp" && number.size() > 1 && number.size() < 12 &&
            number.find_first_not_of("0123456789", 1) == std::string::npos && !is_running(std::stoll(number.substr(1)))) {
            leftovers.push_back(entry.path());
        }
    }
    for (const std::filesystem::path& path : leftovers) {
        std::filesystem::remove(path);
    }
}

void prepare_folder(const ReproduceConfig& config, const Json& settings) {
    const std::string path = config.out + "/run.json";
    if (file_exists(path)) {
        if (config.resume) {
            check_same_settings(path, settings);
            remove_leftovers(config.out);
        } else {
            move_aside(config.out);
        }
    }
    make_folder(config.out);
    for (const auto& entry : std::filesystem::directory_iterator(config.out)) {
        // A process killed at once leaves run.json.<its number>.tmp.
        CHECK(file_exists(path) || entry.path().filename().string().starts_with("run.json.") ||
                  entry.path().filename() == kLockFile,
              "%s: holds %s and no run.json, so it is no run of skintern; choose another --out", config.out.c_str(),
              entry.path().filename().c_str());
    }
    write_file(path, settings.dump(2) + "\n");
}

// ---- data and base model -------------------------------------------------------------------------------------------

void write_splits(const ReproduceConfig& config, const Splits& splits) {
    const std::string folder = config.out + "/data";
    make_folder(folder);
    for (const auto& [name, records] : splits) {
        const std::string path = folder + "/" + name + ".jsonl";
        if (!file_exists(path)) {
            write_records(path, records);
        }
        CHECK(read_file(path) == records_to_jsonl(records),
              "%s: holds other rows than this version generates, so what was answered cannot be gone on with; choose another --out",
              path.c_str());
    }
}

Shared prepare(Kernels& kernels, const ReproduceConfig& config) {
    const World world(config.data.seed);
    Splits splits = make_splits(config.data, world);
    const Splits generated = splits;
    for (const ArmConfig& arm : arms_of(config)) {
        CHECK(!method_by_name(arm.method).trained || !splits.at("train").empty(),
              "%s has nothing to learn from: --train is %lld, and families of the split \"unseen\" have no training rows", arm.name.c_str(),
              static_cast<long long>(config.data.train));
    }
    const std::vector<std::string> sets = add_sets(config, splits); // before anything is written, as a file may be missing
    // Processes that share a run prepare it one after the other: the first one trains the base model, if there is one to train.
    std::optional<FileLock> alone;
    if (config.resume) {
        make_folder(config.out);
        alone.emplace(config.out + "/" + kLockFile, true);
    }
    prepare_folder(config, settings_json(config, kernels, static_cast<int64_t>(splits.at("train").size()), sets));
    write_splits(config, generated);
    std::string base = config.base_folder;
    if (config.from_scratch) {
        base = config.out + "/base";
        make_base_model(kernels, config.base, base, config.resume);
    }
    const auto bpe = std::make_shared<Bpe>(Bpe::load(base));
    Shared shared{&kernels, base, std::move(splits), sets, world, config.data.seed, {}, bpe, bpe->bos(), read_templates(config.templates),
                  config.max_new_tokens, config.curve_rows, config.meter_readings, config.resume};
    if (config.corpus.empty()) {
        write_corpus(config.out + "/data/corpus.jsonl", knowledge_corpus(world, shared.splits.at("train")));
    }
    const Retriever retriever(read_corpus(config.corpus.empty() ? config.out + "/data/corpus.jsonl" : config.corpus));
    for (auto& [name, records] : shared.splits) {
        retrieve(records, retriever);
    }
    for (const Fact& fact : world.facts) {
        shared.fact_sentences[fact.id] = fact.sentence;
    }
    return shared;
}

// ---- cells ---------------------------------------------------------------------------------------------------------

std::vector<Cell> cells_of(const ReproduceConfig& config, const Shared& shared, const std::vector<ArmConfig>& arms) {
    std::vector<Cell> cells;
    for (int64_t s = 0; s < config.seeds; s++) {
        const uint64_t seed = config.seed + static_cast<uint64_t>(s);
        const std::string folder = config.out + "/seed-" + std::to_string(seed) + "/";
        for (const ArmConfig& arm : arms) {
            const std::string matched = arm.match_tokens.empty() ? arm.match_flops : arm.match_tokens;
            const bool is_folder = matched.empty() || matched.find('/') != std::string::npos;
            cells.push_back({arm, seed, folder + arm.name, asked_of(arm, shared.sets), is_folder ? matched : folder + matched});
        }
    }
    return cells;
}

} // namespace

std::vector<ArmConfig> arms_of(const ReproduceConfig& config) {
    std::vector<ArmConfig> arms = config.arms;
    for (ArmConfig& arm : arms) {
        const bool is_there = !arm.model.empty() && std::filesystem::exists(arm.model); // or else it is missed when it is loaded
        arm.params = is_there ? count_parameters(open_model_file(arm.model).config) : 0;
    }
    if (!arms.empty()) {
        return arms;
    }
    const auto add = [&](const std::string& method) {
        arms.push_back(config.arm);
        arms.back().name = arms.back().method = method;
    };
    for (const std::string& name : config.methods) {
        add(method_by_name(name).name);
    }
    for (const Method& method : kMethods) {
        if (config.methods.empty() && method.by_default) {
            add(method.name);
        }
    }
    return arms;
}

std::vector<std::string> add_sets(const ReproduceConfig& config, Splits& splits) {
    const Splits generated = splits;
    std::vector<std::string> names;
    for (const std::string& path : data_files(config.sets)) {
        std::string name = std::filesystem::path(path).stem().string();
        if (generated.contains(name) || name == kWithKnowledge) {
            name = std::filesystem::absolute(path).lexically_normal().parent_path().filename().string() + "-" + name;
        }
        CHECK(splits.emplace(name, read_records(path, config.set_limit)).second, "--sets: %s is the second one called %s",
              path.c_str(), name.c_str());
        names.push_back(name);
    }
    return names;
}

// ---- the whole -----------------------------------------------------------------------------------------------------

void reproduce(Kernels& kernels, const ReproduceConfig& config) {
    std::vector<ArmConfig> arms = arms_of(config); // names methods there are not, before anything is done
    if (!config.notice.empty()) {
        say(config.notice);
    }
    const Shared shared = prepare(kernels, config);
    if (!config.search_lr.empty()) {
        search_rates(shared, {config.out, config.search_lr, config.arm}, arms);
    }
    const std::vector<Cell> cells = cells_of(config, shared, arms);
    check_cells(cells); // before anything is trained
    const Outcome outcome = run_cells(shared, cells);
    CHECK(outcome.failed.empty(), "%zu of %zu cells failed, the first: %s", outcome.failed.size(), cells.size(),
          outcome.failed.begin()->second.c_str());
    if (outcome.elsewhere > 0) {
        say(format("%s: %lld cells are in the hands of other processes; the last of them writes the report",
                   config.out.c_str(), static_cast<long long>(outcome.elsewhere)));
        return;
    }
    CHECK(outcome.waiting.empty(), "%s: it has to match %s, which is no finished cell of this experiment",
          outcome.waiting.begin()->first.c_str(), outcome.waiting.begin()->second.c_str());
    const Report report(config.out);
    write_report(report);
    print_table(report, stdout);
}

} // namespace skintern
