// reproduce.cpp — see reproduce.h. Read from the end: reproduce() is the order of things.
#include "reproduce.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "check.h"
#include "checkpoint.h"
#include "evaluate.h"
#include "files.h"
#include "progress.h"
#include "report.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::string> kTestSplits = {"test", "longer", "unseen", "reworded"};

// What stays the same over all methods and seeds of a run.
struct Shared {
    Kernels* kernels;
    const ReproduceConfig* config;
    std::string base_folder;
    std::map<std::string, std::vector<Record>> splits;
    std::map<std::string, std::string> fact_sentences;
    Bpe bpe;
    int32_t bos;
    Templates templates;
    std::vector<RankedText> ranked; // summaries of the training rows
};

int64_t total_updates(const ReproduceConfig& config, int64_t train_rows) {
    const double rows = config.epochs * static_cast<double>(train_rows);
    return std::max<int64_t>(1, std::llround(rows / static_cast<double>(config.train.batch_size)));
}

std::vector<std::string> method_names(const ReproduceConfig& config) {
    if (!config.methods.empty()) {
        return config.methods;
    }
    std::vector<std::string> names;
    for (const Method& method : kMethods) {
        names.push_back(method.name);
    }
    return names;
}

// ---- the run's folder ----------------------------------------------------------------------------------------------

// Everything that decides the numbers of a run.
Json settings_json(const ReproduceConfig& c, const Kernels& kernels, int64_t train_rows) {
    const int64_t updates = total_updates(c, train_rows);
    Json stages = Json::array();
    for (const Stage& stage : make_curriculum(c.curriculum)) {
        stages.push_back({{"stage", stage.index},
                          {"keep", stage.keep},
                          {"shots", stage.shots},
                          {"updates", updates_of_stage(updates, c.curriculum.stages, stage.index)}});
    }
    Json seeds = Json::array();
    for (int64_t s = 0; s < c.seeds; s++) {
        seeds.push_back(c.seed + static_cast<uint64_t>(s));
    }
    return {{"preset", c.preset},
            {"seeds", seeds},
            {"device", kernels.name()},
            {"methods", method_names(c)},
            {"base", c.from_scratch ? "from scratch" : c.base_folder},
            {"base_updates", c.base.updates},
            {"templates", c.templates},
            {"data", {{"seed", c.data.seed}, {"tasks", c.data.tasks}, {"train", c.data.train},
                      {"validation", c.data.validation}, {"test", c.data.test}}},
            {"lora", {{"r", c.lora.r}, {"alpha", c.lora.alpha}, {"target_modules", c.lora.target_modules}}},
            {"schedule_name", c.curriculum.schedule},
            {"shots_from", c.curriculum.shots_from},
            {"schedule", stages},
            {"train", {{"lr", c.train.adamw.lr}, {"weight_decay", c.train.adamw.weight_decay},
                       {"max_grad_norm", c.train.adamw.max_grad_norm}, {"warmup_ratio", c.train.adamw.warmup_ratio},
                       {"lr_scheduler", c.train.adamw.lr_scheduler}, {"batch_size", c.train.batch_size},
                       {"micro_tokens", c.train.micro_tokens}, {"one_schedule", c.train.one_schedule}}},
            {"epochs", c.epochs},
            {"cutoff_len", c.cutoff_len},
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

// The methods of a resumed run may grow; everything else must be as it was.
void check_same_settings(const std::string& path, const Json& now) {
    const Json before = Json::parse(read_file(path), nullptr, false);
    CHECK(before.is_object(), "%s: damaged, so this run cannot be resumed", path.c_str());
    for (const auto& [key, value] : now.items()) {
        if (key != "methods") {
            CHECK(before.contains(key) && before[key] == value,
                  "%s: the run was started with %s = %s, not %s; resume it with the settings it has, or choose another "
                  "--out",
                  path.c_str(), key.c_str(), before.value(key, Json()).dump().c_str(), value.dump().c_str());
        }
    }
}

// What write_file was writing when an earlier process was killed: "curve.jsonl.1234.tmp".
void remove_leftovers(const std::string& folder) {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
        const std::filesystem::path written = entry.path().stem(); // "curve.jsonl.1234"
        const std::string number = written.extension().string();
        if (entry.is_regular_file() && entry.path().extension() == ".tmp" && number.size() > 1 &&
            number.find_first_not_of("0123456789", 1) == std::string::npos) {
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
        CHECK(file_exists(path) || entry.path().filename().string().starts_with("run.json."),
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
    const std::map<std::string, std::vector<Record>> splits = make_splits(config.data, world);
    prepare_folder(config, kernels, static_cast<int64_t>(splits.at("train").size()));
    write_splits(config, splits);
    std::string base = config.base_folder;
    if (config.from_scratch) {
        base = config.out + "/base";
        make_base_model(kernels, config.base, base, config.resume);
    }
    Bpe bpe = Bpe::load(base);
    const int32_t bos = bpe.bos();
    Shared shared{&kernels, &config, base, splits, {}, std::move(bpe), bos, read_templates(config.templates), {}};
    for (const Fact& fact : world.facts) {
        shared.fact_sentences[fact.id] = fact.sentence;
    }
    std::vector<std::string> summaries;
    for (const Record& record : shared.splits["train"]) {
        summaries.push_back(record.summary);
    }
    LoraConfig no_adapter;
    no_adapter.r = 0;
    const auto model = load_model(kernels, base, Train::nothing, no_adapter);
    shared.ranked = rank_by_information(*model, shared.bpe, shared.bos, summaries);
    return shared;
}

// ---- one method, one seed ------------------------------------------------------------------------------------------

EvalConfig eval_config(const Shared& shared, const std::string& label) {
    EvalConfig config;
    config.max_new_tokens = shared.config->max_new_tokens;
    config.bos = shared.bos;
    config.fact_sentences = shared.fact_sentences;
    config.label = label;
    return config;
}

void evaluate_splits(Transformer& model, const Shared& shared, const Method& method, const std::string& folder) {
    make_folder(folder + "/eval");
    for (const std::string& split : kTestSplits) {
        const std::string path = folder + "/eval/" + split + ".jsonl";
        if (file_exists(path)) {
            continue;
        }
        const auto it = shared.splits.find(split);
        if (it == shared.splits.end() || it->second.empty()) {
            write_eval(path, {}); // --tasks may leave a split without questions
            continue;
        }
        const std::vector<std::string> prompts =
            evaluation_prompts(method.in_evaluation, it->second, shared.templates);
        write_eval(path, evaluate(model, shared.bpe, it->second, prompts,
                                  eval_config(shared, std::string(method.name) + " on " + split)));
    }
}

// Accuracy on the first test rows of each family, with and without the knowledge in the prompt, after `stage`.
void add_to_curve(Transformer& model, const Shared& shared, const std::string& path, int64_t stage, int64_t step) {
    std::map<std::string, int64_t> taken;
    std::vector<Record> rows;
    for (const Record& record : shared.splits.at("test")) {
        if (taken[record.task_name]++ < shared.config->curve_rows) {
            rows.push_back(record);
        }
    }
    std::string kept; // rows of earlier stages; a killed run may have written this one already
    if (file_exists(path)) {
        std::istringstream in(read_file(path));
        for (std::string line; std::getline(in, line);) {
            const Json row = Json::parse(line, nullptr, false);
            CHECK(row.is_object() && row.contains("stage") && row["stage"].is_number_integer(),
                  "%s: damaged; without this file the run continues", path.c_str());
            if (row["stage"] < stage) {
                kept += line + "\n";
            }
        }
    }
    for (const Knowledge knowledge : {Knowledge::none, Knowledge::summary}) {
        const bool with = knowledge == Knowledge::summary;
        const std::vector<EvalRow> answers =
            evaluate(model, shared.bpe, rows, evaluation_prompts(knowledge, rows, shared.templates),
                     eval_config(shared, ""));
        const Json row = {{"stage", stage},
                          {"step", step},
                          {"knowledge", with},
                          {"rows", answers.size()},
                          {"correct", count_correct(answers)}};
        kept += row.dump() + "\n";
    }
    write_file(path, kept);
}

// The internalization meter: how likely the held-out responses are with and without the knowledge.
class Meter {
public:
    Meter(const Shared& shared, const std::string& path, int64_t updates)
        : path_(path), every_(std::max<int64_t>(1, updates / shared.config->meter_readings)) {
        const std::vector<Record>& rows = shared.splits.at("validation");
        for (const Record& record : rows) {
            for (const Knowledge kind : {Knowledge::none, Knowledge::summary}) {
                const std::string prompt = make_prompt(shared.templates, record, full_context(record, kind));
                (kind == Knowledge::none ? question_ : knowledge_)
                    .push_back(make_sample(shared.bpe, shared.bos, prompt, record.response));
            }
        }
    }
    void read(Transformer& model, int64_t step, bool last) const {
        if (question_.empty() || (step % every_ != 0 && !last)) {
            return;
        }
        const Json row = {{"step", step},
                          {"nll_question", mean_nll(model, question_)},
                          {"nll_knowledge", mean_nll(model, knowledge_)}};
        append_line(path_, row.dump());
    }

private:
    std::string path_;
    int64_t every_;
    std::vector<Sample> question_, knowledge_;
};

// Says how long the training of a method will take, once ten updates have shown it. Updates of early stages have longer
// prompts, so what is counted is tokens.
class Estimate {
public:
    // The mean tokens of an update, and how many there are, stage by stage.
    Estimate(std::string method, const std::vector<StageRows>& stages, const std::vector<int64_t>& updates,
             int64_t batch_size)
        : method_(std::move(method)), left_{0} {
        for (size_t t = stages.size(); t-- > 0;) {
            double tokens = 0;
            for (const Sample& sample : stages[t].samples) {
                tokens += static_cast<double>(sample.ids.size());
            }
            tokens *= static_cast<double>(batch_size) / static_cast<double>(stages[t].samples.size());
            for (int64_t u = 0; u < updates[t]; u++) {
                left_.push_back(left_.back() + tokens);
            }
        }
        std::reverse(left_.begin(), left_.end());
    }
    // After each update; `step` counts from the first one of all.
    void after(int64_t step) {
        if (first_ < 0) {
            first_ = step;
            begin_ = Clock::now();
        }
        if (step == first_ + kUpdates) {
            const size_t now = static_cast<size_t>(step);
            const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
            const double left = seconds * left_[now] / (left_[static_cast<size_t>(first_)] - left_[now]);
            if (left > kWorthSaying) {
                say(format("%s: ten updates took %.0f s; the other %zu will take about %.0f minutes, evaluation comes on "
                           "top",
                           method_.c_str(), seconds, left_.size() - 1 - now, left / 60));
            }
        }
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr int64_t kUpdates = 10;
    static constexpr double kWorthSaying = 120; // seconds
    std::string method_;
    std::vector<double> left_; // (updates + 1) tokens that are left after so many updates
    int64_t first_ = -1;
    Clock::time_point begin_;
};

void train_method(Transformer& model, const Shared& shared, const Method& method, uint64_t seed,
                  const std::string& folder) {
    const ReproduceConfig& config = *shared.config;
    const std::vector<Record>& rows = shared.splits.at("train");
    const std::vector<Stage> stages = method_stages(method, config.curriculum);
    const int64_t n_stages = static_cast<int64_t>(stages.size());
    const int64_t updates = total_updates(config, static_cast<int64_t>(rows.size()));
    const Meter meter(shared, folder + "/meter.jsonl", updates);
    PromptSettings settings;
    settings.templates = shared.templates;
    settings.bos = shared.bos;
    settings.cutoff_len = config.cutoff_len;
    settings.shots_from = config.curriculum.shots_from;
    settings.nearest_shots = config.curriculum.shots;
    settings.seed = seed;
    // The rows of all stages are made first: what does not fit is then known whole, also when a run is resumed.
    std::vector<StageRows> rows_of_stage;
    int64_t left_out = 0, knowledge_cut = 0, shots_cut = 0;
    for (const Stage& stage : stages) {
        rows_of_stage.push_back(make_stage_rows(method, stage, rows, shared.ranked, shared.bpe, settings));
        const StageRows& made = rows_of_stage.back();
        CHECK(!made.samples.empty(), "no training row of %s fits --cutoff-len %lld", method.name,
              static_cast<long long>(config.cutoff_len));
        left_out += made.left_out;
        knowledge_cut += made.knowledge_cut;
        shots_cut += made.shots_cut;
    }
    if (left_out > 0) {
        say(format("%s: %lld rows of %lld stages are longer than --cutoff-len %lld without any knowledge and left out",
                   method.name, static_cast<long long>(left_out), static_cast<long long>(n_stages),
                   static_cast<long long>(config.cutoff_len)));
    }
    const Json dropped = {{"left_out", left_out}, {"knowledge_cut", knowledge_cut}, {"shots_cut", shots_cut}};
    write_file(folder + "/dropped.json", dropped.dump(2) + "\n");

    TrainRun run;
    run.folder = folder;
    run.label = method.name;
    run.config = config.train;
    for (const Stage& stage : stages) {
        run.stage_updates.push_back(updates_of_stage(updates, n_stages, stage.index));
    }
    run.rows_of = [&](int64_t t) -> RowSource {
        const std::vector<Sample>& samples = rows_of_stage[static_cast<size_t>(t) - 1].samples;
        Order order(static_cast<int64_t>(samples.size()), seed + static_cast<uint64_t>(t), true);
        return [&samples, order](int64_t k) mutable { return samples[static_cast<size_t>(order(k))]; };
    };
    Estimate estimate(method.name, rows_of_stage, run.stage_updates, config.train.batch_size);
    run.after_step = [&](int64_t step) {
        estimate.after(step);
        meter.read(model, step, step == updates);
    };
    run.after_stage = [&](int64_t t) {
        save_adapter(folder + "/stage-" + std::to_string(t), model, config.lora, shared.base_folder);
        if (method.curriculum) {
            int64_t step = 0;
            for (int64_t s = 0; s < t; s++) {
                step += run.stage_updates[static_cast<size_t>(s)];
            }
            add_to_curve(model, shared, folder + "/curve.jsonl", t, step);
        }
    };
    if (method.curriculum && !file_exists(folder + "/curve.jsonl")) {
        add_to_curve(model, shared, folder + "/curve.jsonl", 0, 0);
    }
    train(model, run, config.resume);
}

void run_method(const Shared& shared, const Method& method, uint64_t seed) {
    const std::string folder =
        shared.config->out + "/seed-" + std::to_string(seed) + "/" + std::string(method.name);
    bool done = true;
    for (const std::string& split : kTestSplits) {
        done = done && file_exists(folder + "/eval/" + split + ".jsonl");
    }
    if (done) {
        return;
    }
    make_folder(folder);
    LoraConfig lora = shared.config->lora;
    if (!method.trained) {
        lora.r = 0;
    }
    const auto model =
        load_model(*shared.kernels, shared.base_folder, method.trained ? Train::adapter : Train::nothing, lora);
    if (method.trained) {
        Rng rng(seed, "adapter");
        model->init_adapter(rng);
        train_method(*model, shared, method, seed, folder);
    }
    evaluate_splits(*model, shared, method, folder);
}

} // namespace

// ---- the whole -----------------------------------------------------------------------------------------------------

void print_plan(const ReproduceConfig& config) {
    const World world(config.data.seed);
    const std::map<std::string, std::vector<Record>> splits = make_splits(config.data, world);
    const int64_t rows = static_cast<int64_t>(splits.at("train").size());
    const int64_t updates = total_updates(config, rows);
    std::printf("preset %s into %s\n\nrows:", config.preset.c_str(), config.out.c_str());
    for (const auto& [name, records] : splits) {
        std::printf(" %s %zu ", name.c_str(), records.size());
    }
    std::printf("\n\n%-16s %5s %10s %8s %8s\n", "method", "stage", "knowledge", "examples", "updates");
    for (const std::string& name : method_names(config)) {
        const Method& method = method_by_name(name);
        const std::vector<Stage> stages = method_stages(method, config.curriculum);
        for (const Stage& stage : stages) {
            if (method.trained) {
                std::printf("%-16s %5lld %9.0f%% %8lld %8lld\n", method.name, static_cast<long long>(stage.index),
                            100 * stage.keep, static_cast<long long>(stage.shots),
                            static_cast<long long>(
                                updates_of_stage(updates, static_cast<int64_t>(stages.size()), stage.index)));
            } else {
                std::printf("%-16s %5s %10s %8s %8s\n", method.name, "-", "-", "-", "0");
            }
        }
    }
}

void reproduce(Kernels& kernels, const ReproduceConfig& config) {
    for (const std::string& name : config.methods) {
        method_by_name(name);
    }
    if (!config.notice.empty()) {
        say(config.notice);
    }
    const Shared shared = prepare(kernels, config);
    for (int64_t s = 0; s < config.seeds; s++) {
        for (const std::string& name : method_names(config)) {
            run_method(shared, method_by_name(name), config.seed + static_cast<uint64_t>(s));
        }
    }
    write_report(config.out);
    print_table(config.out, stdout);
}

} // namespace skintern
