// reproduce.cpp — see reproduce.h. Read from the end: reproduce() is the order of things.
#include "reproduce.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "check.h"
#include "files.h"
#include "progress.h"
#include "report.h"
#include "retrieve.h"
#include "version.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

constexpr char kLockFile[] = "lock";

// ---- the run's folder ----------------------------------------------------------------------------------------------

// Everything that decides the numbers of a run.
Json settings_json(const ReproduceConfig& c, const Kernels& kernels, int64_t train_rows) {
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
            {"seeds", seeds},
            {"device", kernels.name()},
            {"methods", names},
            {"method_of", methods},
            {"arms", arms},
            {"base", c.from_scratch ? "from scratch" : c.base_folder},
            {"base_updates", c.base.updates},
            {"templates", c.templates},
            {"corpus", c.corpus},
            {"data", {{"seed", c.data.seed}, {"tasks", c.data.tasks}, {"train", c.data.train},
                      {"validation", c.data.validation}, {"test", c.data.test}, {"fresh", c.data.fresh}}},
            {"schedule", stages},
            {"arm", arm_json(c.arm)},
            {"max_new_tokens", c.max_new_tokens},
            {"curve_rows", c.curve_rows},
            {"meter_readings", c.meter_readings}};
}

// An earlier run in the same folder is moved aside, never overwritten.
void move_aside(const std::string& folder) {
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

// The arms and seeds of a resumed run may be others, its cells say themselves how they were made; everything else must be
// as it was.
void check_same_settings(const std::string& path, const Json& now) {
    const Json before = Json::parse(read_file(path), nullptr, false);
    CHECK(before.is_object(), "%s: damaged, so this run cannot be resumed", path.c_str());
    for (const auto& [key, value] : now.items()) {
        if (key != "methods" && key != "method_of" && key != "arms" && key != "seeds") {
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

void prepare_folder(const ReproduceConfig& config, const Kernels& kernels, int64_t train_rows) {
    const std::string path = config.out + "/run.json";
    const Json settings = settings_json(config, kernels, train_rows);
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

void write_splits(const ReproduceConfig& config, const std::map<std::string, std::vector<Record>>& splits) {
    const std::string folder = config.out + "/data";
    make_folder(folder);
    for (const auto& [name, records] : splits) {
        const std::string path = folder + "/" + name + ".jsonl";
        if (!file_exists(path)) {
            write_records(path, records);
        }
    }
}

Shared prepare(Kernels& kernels, const ReproduceConfig& config) {
    const World world(config.data.seed);
    std::map<std::string, std::vector<Record>> splits = make_splits(config.data, world);
    prepare_folder(config, kernels, static_cast<int64_t>(splits.at("train").size()));
    write_splits(config, splits);
    std::string base = config.base_folder;
    if (config.from_scratch) {
        base = config.out + "/base";
        make_base_model(kernels, config.base, base, config.resume);
    }
    Bpe bpe = Bpe::load(base);
    const int32_t bos = bpe.bos();
    Shared shared{&kernels, base, std::move(splits), world, config.data.seed, {}, std::move(bpe), bos, read_templates(config.templates),
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

// Processes that share a run prepare it one after the other: the first one trains the base model, if there is one to train.
Shared prepare_alone(Kernels& kernels, const ReproduceConfig& config) {
    if (!config.resume) {
        return prepare(kernels, config);
    }
    make_folder(config.out);
    const FileLock lock(config.out + "/" + kLockFile, true);
    return prepare(kernels, config);
}

// ---- cells ---------------------------------------------------------------------------------------------------------

struct Cell {
    ArmConfig arm;
    uint64_t seed;
    std::string folder;
};

std::vector<Cell> cells_of(const ReproduceConfig& config) {
    std::vector<Cell> cells;
    for (int64_t s = 0; s < config.seeds; s++) {
        const uint64_t seed = config.seed + static_cast<uint64_t>(s);
        for (const ArmConfig& arm : arms_of(config)) {
            cells.push_back({arm, seed, config.out + "/seed-" + std::to_string(seed) + "/" + arm.name});
        }
    }
    return cells;
}

// What a finished cell says of itself; null while it is not finished.
Json finished_cell(const std::string& folder) {
    const Json cell =
        file_exists(folder + "/cell.json") ? Json::parse(read_file(folder + "/cell.json"), nullptr, false) : Json();
    return cell.is_object() && cell.contains("seconds") && cell["seconds"].is_number() ? cell : Json();
}

// cell.json: settings, seed, version of the code, how often it was begun; when it is finished also how long it took.
class CellFile {
public:
    explicit CellFile(const Cell& cell) : path_(cell.folder + "/cell.json") {
        const Json settings = arm_json(cell.arm);
        const Json before = read(cell);
        const int64_t begun = before.is_null() ? 1 : 1 + before.value("begun", int64_t{0});
        json_ = {{"arm", settings}, {"seed", cell.seed}, {"version", code_version()}, {"begun", begun}};
        write_file(path_, json_.dump(2) + "\n");
    }
    // What the file says, or null where there is none. Throws Error when the cell was made with other settings than its arm has
    // now.
    static Json read(const Cell& cell) {
        const std::string path = cell.folder + "/cell.json";
        if (!file_exists(path)) {
            return Json();
        }
        const Json json = Json::parse(read_file(path), nullptr, false);
        CHECK(json.is_object() && json.contains("arm"), "%s: damaged; without its folder the cell is made again", path.c_str());
        const Json settings = arm_json(cell.arm);
        CHECK(json["arm"] == settings, "%s: the cell was made with other settings (%s, not %s); choose another name or --out",
              path.c_str(), json["arm"].dump().c_str(), settings.dump().c_str());
        return json;
    }
    void finish(double seconds) { add("seconds", seconds); }
    void fail(const std::string& reason) { add("failed", reason); }

private:
    void add(const char* key, const Json& value) {
        json_[key] = value;
        write_file(path_, json_.dump(2) + "\n");
    }

    std::string path_;
    Json json_;
};

// How many cells are done, and the time that the others will take at the mean of these.
void say_progress(const std::vector<Cell>& cells) {
    int64_t done = 0;
    double seconds = 0;
    for (const Cell& cell : cells) {
        const Json finished = finished_cell(cell.folder);
        done += !finished.is_null();
        seconds += finished.is_null() ? 0.0 : finished["seconds"].get<double>();
    }
    const int64_t left = std::ssize(cells) - done;
    if (left > 0 && done > 0) {
        say(format("%lld of %zu cells are done; the others take about %.0f minutes of one process",
                   static_cast<long long>(done), cells.size(),
                   seconds / static_cast<double>(done) * static_cast<double>(left) / 60));
    }
}

struct Outcome {
    int64_t elsewhere = 0;                     // cells that other processes are at
    std::map<std::string, std::string> failed; // folder -> "skintern, seed 2: the loss is nan: ..."
};

// Runs a cell unless it is done, has failed here, or another process is at it; whether it ran.
bool run_if_free(const Shared& shared, const Cell& cell, Outcome& outcome) {
    const auto done = [&] { return !finished_cell(cell.folder).is_null() && is_done(cell.folder); };
    if (done() || outcome.failed.contains(cell.folder)) {
        return false;
    }
    make_folder(cell.folder);
    const FileLock lock(cell.folder + "/" + kLockFile, false);
    if (!lock.held()) {
        outcome.elsewhere++;
        return false;
    }
    if (done()) { // by another process, a moment ago
        return false;
    }
    CellFile file(cell);
    const auto begin = std::chrono::steady_clock::now();
    try {
        run_cell(shared, cell.arm, cell.seed, cell.folder);
    } catch (const Error& e) {
        const std::string reason =
            format("%s, seed %lld: %s", cell.arm.name.c_str(), static_cast<long long>(cell.seed), e.what());
        say(reason);
        outcome.failed[cell.folder] = reason;
        file.fail(e.what());
        return false;
    }
    file.finish(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    return true;
}

// Runs cells until none is left that nobody is at. One that fails keeps none of the others from running.
Outcome run_cells(const Shared& shared, const std::vector<Cell>& cells) {
    Outcome outcome;
    for (bool ran = true; ran;) {
        ran = false;
        outcome.elsewhere = 0;
        for (const Cell& cell : cells) {
            if (run_if_free(shared, cell, outcome)) {
                ran = true;
                say_progress(cells);
            }
        }
    }
    return outcome;
}

} // namespace

std::vector<ArmConfig> arms_of(const ReproduceConfig& config) {
    if (!config.arms.empty()) {
        return config.arms;
    }
    std::vector<ArmConfig> arms;
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

// ---- the whole -----------------------------------------------------------------------------------------------------

void reproduce(Kernels& kernels, const ReproduceConfig& config) {
    const std::vector<Cell> cells = cells_of(config); // names methods there are not, before anything is done
    if (!config.notice.empty()) {
        say(config.notice);
    }
    const Shared shared = prepare_alone(kernels, config);
    for (const Cell& cell : cells) { // before anything is trained
        CellFile::read(cell);
    }
    const Outcome outcome = run_cells(shared, cells);
    CHECK(outcome.failed.empty(), "%zu of %zu cells failed, the first: %s", outcome.failed.size(), cells.size(),
          outcome.failed.begin()->second.c_str());
    if (outcome.elsewhere > 0) {
        say(format("%s: %lld cells are in the hands of other processes; the last of them writes the report",
                   config.out.c_str(), static_cast<long long>(outcome.elsewhere)));
        return;
    }
    write_report(config.out);
    print_table(config.out, stdout);
}

} // namespace skintern
