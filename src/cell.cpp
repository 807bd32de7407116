// cell.cpp — see cell.h. Read from the end: run_cell() is the order of things.
#include "cell.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "check.h"
#include "checkpoint.h"
#include "files.h"
#include "progress.h"
#include "run_log.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

PromptSettings prompt_settings(const Shared& shared, const ArmConfig& arm, uint64_t seed) {
    PromptSettings settings;
    settings.templates = shared.templates;
    settings.bos = shared.bos;
    settings.cutoff_len = arm.cutoff_len;
    settings.shots_from = arm.curriculum.shots_from;
    settings.nearest_shots = arm.curriculum.shots;
    settings.seed = seed;
    return settings;
}

// ---- evaluation ------------------------------------------------------------------------------------------------------

EvalConfig eval_config(const Shared& shared, const std::string& label) {
    EvalConfig config;
    config.max_new_tokens = shared.max_new_tokens;
    config.bos = shared.bos;
    config.fact_sentences = shared.fact_sentences;
    config.label = label;
    return config;
}

// The method whose prompts the evaluation has.
Method evaluated_method(const ArmConfig& arm) {
    Method method = method_by_name(arm.method);
    method.in_evaluation = arm.keep_knowledge ? method.in_training : method.in_evaluation;
    return method;
}

void evaluate_splits(Transformer& model, const Shared& shared, const ArmConfig& arm, const std::vector<Record>& train,
                     const PromptSettings& settings, const std::string& folder) {
    make_folder(folder + "/eval");
    for (const char* split : kSplits) {
        const std::string path = folder + "/eval/" + split + ".jsonl";
        if (file_exists(path)) {
            continue;
        }
        const auto it = shared.splits.find(split);
        if (it == shared.splits.end() || it->second.empty()) {
            write_eval(path, {}); // --tasks may leave a split without questions
            continue;
        }
        write_eval(path, evaluate_method(evaluated_method(arm), model, shared.bpe, it->second, settings, train,
                                         eval_config(shared, arm.name + " on " + split)));
    }
}

// Accuracy on the first test rows of each family, with and without the knowledge in the prompt, after `stage`.
void add_to_curve(Transformer& model, const Shared& shared, const PromptSettings& settings, const std::string& path,
                  int64_t stage, int64_t step) {
    std::map<std::string, int64_t> taken;
    std::vector<Record> rows;
    for (const Record& record : shared.splits.at("test")) {
        if (taken[record.task_name]++ < shared.curve_rows) {
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
    for (const char* prompts_of : {"base", "base+knowledge"}) {
        const Method& method = method_by_name(prompts_of);
        const bool with = method.in_evaluation == Knowledge::summary;
        const std::vector<EvalRow> answers = evaluate(
            model, shared.bpe, rows, evaluation_prompts(method, rows, settings, {}), eval_config(shared, ""));
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
        : path_(path), every_(std::max<int64_t>(1, updates / shared.meter_readings)) {
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

// ---- training --------------------------------------------------------------------------------------------------------

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
            for (const Row& row : stages[t].rows) {
                for (const Sample& sample : row) {
                    tokens += static_cast<double>(sample.ids.size());
                }
            }
            tokens *= static_cast<double>(batch_size) / static_cast<double>(stages[t].rows.size());
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

// Fresh questions with what the model as it is now writes to them, the knowledge in its prompt. A response that did not end
// or gives no answer is left out; whether the answer is right is not looked at. Written to `path`, from where a resumed run
// reads them.
std::vector<Record> own_responses(Transformer& model, const Shared& shared, const PromptSettings& settings,
                                  const std::string& path) {
    if (file_exists(path)) {
        return read_records(path);
    }
    const std::vector<Record>& fresh = shared.splits.at("fresh");
    CHECK(!fresh.empty(), "this method's model writes to fresh questions, and --fresh asks for none");
    const std::vector<EvalRow> rows =
        evaluate(model, shared.bpe, fresh, evaluation_prompts(method_by_name("base+knowledge"), fresh, settings, {}),
                 eval_config(shared, "responses of the model itself"));
    std::vector<Record> own;
    for (size_t i = 0; i < fresh.size(); i++) {
        if (rows[i].readable && rows[i].new_tokens < shared.max_new_tokens) {
            own.push_back(fresh[i]);
            own.back().response = trimmed(rows[i].generated);
            const size_t mark = own.back().response.rfind(kMark);
            own.back().output = trimmed(own.back().response.substr(mark == std::string::npos ? 0 : mark + std::strlen(kMark)));
        }
    }
    CHECK(!own.empty(), "the model answered none of %zu fresh questions", fresh.size());
    write_records(path, own);
    say(format("%zu of %zu responses of the model itself ended and gave an answer", own.size(), fresh.size()));
    return own;
}

// Of context distillation: responses of the base model, to be learned from its logits behind the prompt with knowledge, and
// a third as many of the teacher's rows, evenly spread.
std::vector<Row> distilled_rows(const std::vector<Record>& own, const std::vector<Row>& taught, const Shared& shared,
                                const PromptSettings& settings) {
    std::vector<Row> rows;
    for (const Record& record : own) {
        const auto sample_of = [&](Knowledge kind) {
            const std::string prompt = make_prompt(settings.templates, record, full_context(record, kind));
            return make_sample(shared.bpe, settings.bos, prompt, record.response, settings.chat);
        };
        Sample sample = sample_of(Knowledge::none);
        const Sample asked = sample_of(Knowledge::summary);
        sample.teacher_ids = asked.ids;
        sample.teacher_prompt_tokens = asked.prompt_tokens;
        if (static_cast<int64_t>(asked.ids.size()) <= settings.cutoff_len) {
            rows.push_back({std::move(sample)});
        }
    }
    const size_t wanted = std::min(taught.size(), std::max<size_t>(1, rows.size() / 3));
    for (size_t i = 0; i < wanted; i++) {
        rows.push_back(taught[i * taught.size() / wanted]);
    }
    return rows;
}

void train_cell(Transformer& model, const Shared& shared, const ArmConfig& arm, const std::vector<Record>& rows,
                const PromptSettings& settings, const std::string& folder) {
    const Method& method = method_by_name(arm.method);
    const uint64_t seed = settings.seed;
    const std::vector<Stage> stages = method_stages(method, arm.curriculum);
    const int64_t n_stages = static_cast<int64_t>(stages.size());
    const int64_t updates = total_updates(arm, static_cast<int64_t>(rows.size()));
    const Meter meter(shared, folder + "/meter.jsonl", updates);
    std::vector<RankedText> ranked;
    if (method.in_training == Knowledge::summary) {
        model.use_adapter(false);
        Probe probe;
        if (arm.compressor == "probe") {
            const std::vector<LabelledText> labelled = label_summaries(shared.splits.at("train"), shared.world);
            probe = train_probe(model, shared.bpe, shared.bos, labelled, false);
        }
        ranked = rank_texts(arm.compressor, {model, shared.bpe, shared.bos, &probe, seed},
                            texts_to_shorten(method, rows, shared.templates));
        model.use_adapter(true);
    }
    // The rows of all stages are made first: what does not fit is then known whole, also when a run is resumed.
    std::vector<StageRows> rows_of_stage;
    int64_t left_out = 0, knowledge_cut = 0, shots_cut = 0;
    for (const Stage& stage : stages) {
        rows_of_stage.push_back(make_stage_rows(method, stage, rows, ranked, shared.bpe, settings));
        const StageRows& made = rows_of_stage.back();
        CHECK(!made.rows.empty(), "no training row of %s fits --cutoff-len %lld", arm.name.c_str(),
              static_cast<long long>(arm.cutoff_len));
        left_out += made.left_out;
        knowledge_cut += made.knowledge_cut;
        shots_cut += made.shots_cut;
    }
    if (left_out > 0) {
        say(format("%s: %lld rows of %lld stages are longer than --cutoff-len %lld without any knowledge and left out",
                   arm.name.c_str(), static_cast<long long>(left_out), static_cast<long long>(n_stages),
                   static_cast<long long>(arm.cutoff_len)));
    }
    const Json dropped = {{"left_out", left_out}, {"knowledge_cut", knowledge_cut}, {"shots_cut", shots_cut}};
    write_file(folder + "/dropped.json", dropped.dump(2) + "\n");

    TrainRun run;
    run.folder = folder;
    run.label = arm.name;
    run.config = arm.train;
    for (const Stage& stage : stages) {
        run.stage_updates.push_back(updates_of_stage(updates, n_stages, stage.index));
    }
    run.rows_of = [&](int64_t t) -> RowSource {
        std::vector<Row>& stage_rows = rows_of_stage[static_cast<size_t>(t) - 1].rows;
        if (method.own == Own::last_stage && t == n_stages) {
            CHECK(stages.back().keep == 0 && stages.back().shots == 0,
                  "%s: the last stage has knowledge or examples left; --schedule %s does not go with own responses",
                  arm.name.c_str(), arm.curriculum.schedule.c_str());
            const std::vector<Record> own = own_responses(model, shared, settings, folder + "/own.jsonl");
            for (Row& row : make_stage_rows(method, stages.back(), own, {}, shared.bpe, settings).rows) {
                stage_rows.push_back(std::move(row));
            }
        } else if (method.own == Own::all) {
            model.use_adapter(false);
            const std::vector<Record> own = own_responses(model, shared, settings, folder + "/own.jsonl");
            model.use_adapter(true);
            stage_rows = distilled_rows(own, stage_rows, shared, settings);
        }
        Order order(static_cast<int64_t>(stage_rows.size()), seed + static_cast<uint64_t>(t), true);
        return [&stage_rows, order](int64_t k) mutable { return stage_rows[static_cast<size_t>(order(k))]; };
    };
    Estimate estimate(arm.name, rows_of_stage, run.stage_updates, arm.train.batch_size);
    run.after_step = [&](int64_t step) {
        estimate.after(step);
        meter.read(model, step, step == updates);
    };
    run.after_stage = [&](int64_t t) {
        save_adapter(folder + "/stage-" + std::to_string(t), model, arm.lora, shared.base_folder);
        if (method.curriculum()) {
            int64_t step = 0;
            for (int64_t s = 0; s < t; s++) {
                step += run.stage_updates[static_cast<size_t>(s)];
            }
            add_to_curve(model, shared, settings, folder + "/curve.jsonl", t, step);
        }
    };
    if (method.curriculum() && !file_exists(folder + "/curve.jsonl")) {
        add_to_curve(model, shared, settings, folder + "/curve.jsonl", 0, 0);
    }
    train(model, run, shared.resume);
}

} // namespace

// ---- the cell --------------------------------------------------------------------------------------------------------

Json arm_json(const ArmConfig& arm) {
    Json stages = Json::array();
    for (const Stage& stage : method_stages(method_by_name(arm.method), arm.curriculum)) {
        stages.push_back({{"stage", stage.index}, {"keep", stage.keep}, {"shots", stage.shots}});
    }
    return {{"method", arm.method},
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

bool is_done(const std::string& folder) {
    return std::all_of(std::begin(kSplits), std::end(kSplits),
                       [&](const char* split) { return file_exists(folder + "/eval/" + split + ".jsonl"); });
}

void run_cell(const Shared& shared, const ArmConfig& arm, uint64_t seed, const std::string& folder) {
    const Method& method = method_by_name(arm.method);
    const std::vector<Record> rows =
        vary(training_rows(arm, shared.splits.at("train")), arm.variant, shared.world, shared.data_seed, seed);
    const PromptSettings settings = prompt_settings(shared, arm, seed);
    LoraConfig lora = arm.lora;
    if (!method.trained) {
        lora.r = 0;
    }
    const auto model =
        load_model(*shared.kernels, shared.base_folder, method.trained ? Train::adapter : Train::nothing, lora);
    if (method.trained) {
        Rng rng(seed, "adapter");
        model->init_adapter(rng);
        train_cell(*model, shared, arm, rows, settings, folder);
    }
    evaluate_splits(*model, shared, arm, rows, settings, folder);
}

} // namespace skintern
