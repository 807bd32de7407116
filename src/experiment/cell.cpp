// cell.cpp — see cell.h. Read from the end: run_cell() is the order of things.
#include "experiment/cell.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "report/run_log.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

uint64_t own_or(uint64_t own, uint64_t of_cell) { return own > 0 ? own : of_cell; }

PromptSettings prompt_settings(const Shared& shared, const ArmConfig& arm, uint64_t seed) {
    PromptSettings settings;
    settings.templates = shared.templates;
    settings.bos = shared.bos;
    settings.cutoff_len = arm.cutoff_len;
    settings.shots_from = arm.curriculum.shots_from;
    settings.nearest_shots = arm.curriculum.shots;
    settings.seed = own_or(arm.examples_seed, seed);
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

std::string answers_path(const std::string& folder, const std::string& asked) {
    return folder + "/eval/" + asked + ".jsonl";
}

void ask(Transformer& model, const Shared& shared, const ArmConfig& arm, const std::vector<Record>& train,
         const PromptSettings& settings, const std::string& folder, const std::vector<std::string>& asked) {
    make_folder(folder + "/eval");
    for (const std::string& name : asked) {
        const std::string path = answers_path(folder, name);
        if (file_exists(path)) {
            continue;
        }
        const std::vector<Record>& questions = questions_of(shared.splits, name);
        if (questions.empty()) {
            write_eval(path, {}); // --tasks may leave a split without questions
            continue;
        }
        std::vector<EvalRow> rows = evaluate_method(evaluated_method(arm, name), model, *shared.bpe, questions, settings, train,
                                                    eval_config(shared, arm.name + " on " + name));
        for (EvalRow& row : rows) {
            row.split = name;
        }
        write_eval(path, rows);
    }
}

std::vector<Record> first_of_each_family(const std::vector<Record>& records, int64_t count) {
    std::map<std::string, int64_t> taken;
    std::vector<Record> rows;
    for (const Record& record : records) {
        if (taken[record.task_name]++ < count) {
            rows.push_back(record);
        }
    }
    return rows;
}

// Accuracy on the first test rows of each family, with and without the knowledge in the prompt, after `stage`.
void add_to_curve(Transformer& model, const Shared& shared, const PromptSettings& settings, const std::string& path,
                  int64_t stage, int64_t step) {
    const std::vector<Record> rows = first_of_each_family(shared.splits.at("test"), shared.curve_rows);
    if (rows.empty()) {
        return;
    }
    std::string kept; // rows of earlier stages; a killed run may have written this one already
    if (file_exists(path)) {
        for (const std::string& line : read_lines(path)) {
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
            model, *shared.bpe, rows, evaluation_prompts(method, rows, settings, {}), eval_config(shared, ""));
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
    Meter(const Shared& shared, const std::string& path, int64_t updates) : path_(path) {
        if (shared.meter_readings == 0) {
            return;
        }
        every_ = std::max<int64_t>(1, updates / shared.meter_readings);
        for (const Record& record : first_of_each_family(shared.splits.at("validation"), kRows)) {
            for (const Knowledge kind : {Knowledge::none, Knowledge::summary}) {
                const std::string prompt = make_prompt(shared.templates, record, full_context(record, kind));
                (kind == Knowledge::none ? question_ : knowledge_)
                    .push_back(make_sample(*shared.bpe, shared.bos, prompt, record.response));
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
    static constexpr int64_t kRows = 4; // a family
    std::string path_;
    int64_t every_ = 1;
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
        evaluate(model, *shared.bpe, fresh, evaluation_prompts(method_by_name("base+knowledge"), fresh, settings, {}),
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
            return make_sample(*shared.bpe, settings.bos, prompt, record.response, settings.chat);
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

// The updates after which this arm has read as many tokens, or cost as many FLOPs, as the cell in `matched` did. All stages
// have the same number of updates.
int64_t matched_updates(const ModelConfig& config, const std::vector<StageRows>& stages, const ArmConfig& arm,
                        const std::string& matched) {
    CHECK(method_by_name(arm.method).own == Own::nothing,
          "%s: what its model writes itself is not known before training, so it cannot match what another arm costs", arm.name.c_str());
    const bool flops = !arm.match_flops.empty();
    const double wanted = logged_sum(matched, flops ? "flops" : "tokens");
    double of_row = 0; // mean over stages and rows
    for (const StageRows& stage : stages) {
        double sum = 0;
        for (const Row& row : stage.rows) {
            for (const Sample& sample : row) {
                sum += static_cast<double>(flops ? sample_flops(config, arm.lora, sample)
                                                 : static_cast<int64_t>(sample.ids.size()));
            }
        }
        of_row += sum / static_cast<double>(stage.rows.size() * stages.size());
    }
    return std::max<int64_t>(std::ssize(stages), std::llround(wanted / (of_row * static_cast<double>(arm.train.batch_size))));
}

void train_cell(Transformer& model, const Shared& shared, const ArmConfig& arm, const std::vector<Record>& rows,
                const PromptSettings& settings, uint64_t seed, const std::string& folder, const std::string& matched) {
    const Method& method = method_by_name(arm.method);
    const std::vector<Stage> stages = method_stages(method, arm.curriculum);
    const int64_t n_stages = static_cast<int64_t>(stages.size());
    std::vector<RankedText> ranked;
    if (method.in_training == Knowledge::summary) {
        model.use_adapter(false);
        Probe probe;
        if (arm.compressor == "probe") {
            const std::vector<LabelledText> labelled = label_summaries(shared.splits.at("train"), shared.world);
            probe = train_probe(model, *shared.bpe, shared.bos, labelled, false);
        }
        ranked = rank_texts(arm.compressor, {model, *shared.bpe, shared.bos, &probe, settings.seed},
                            texts_to_shorten(method, rows, shared.templates));
        model.use_adapter(true);
    }
    // The rows of all stages are made first: what does not fit is then known whole, also when a run is resumed.
    std::vector<StageRows> rows_of_stage;
    int64_t left_out = 0, knowledge_cut = 0, shots_cut = 0;
    for (const Stage& stage : stages) {
        rows_of_stage.push_back(make_stage_rows(method, stage, rows, ranked, *shared.bpe, settings));
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

    const int64_t updates = matched.empty() ? total_updates(arm, static_cast<int64_t>(rows.size()))
                                            : matched_updates(model.config(), rows_of_stage, arm, matched);
    const Meter meter(shared, folder + "/meter.jsonl", updates);
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
            for (Row& row : make_stage_rows(method, stages.back(), own, {}, *shared.bpe, settings).rows) {
                stage_rows.push_back(std::move(row));
            }
        } else if (method.own == Own::all) {
            model.use_adapter(false);
            const std::vector<Record> own = own_responses(model, shared, settings, folder + "/own.jsonl");
            model.use_adapter(true);
            stage_rows = distilled_rows(own, stage_rows, shared, settings);
        }
        Order order(static_cast<int64_t>(stage_rows.size()), own_or(arm.order_seed, seed) + static_cast<uint64_t>(t), true);
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

std::vector<std::string> asked_of(const ArmConfig& arm, const std::vector<std::string>& sets) {
    std::vector<std::string> asked(std::begin(kSplits), std::end(kSplits));
    asked.insert(asked.end(), sets.begin(), sets.end());
    if (method_by_name(arm.method).trained) {
        asked.push_back(kWithKnowledge);
    }
    return asked;
}

Method evaluated_method(const ArmConfig& arm, const std::string& asked) {
    if (asked == kWithKnowledge) {
        return method_by_name("base+knowledge");
    }
    Method method = method_by_name(arm.method);
    if (arm.keep_knowledge && method.in_training != Knowledge::none) {
        method.in_evaluation = method.in_training;
    }
    return method;
}

const std::vector<Record>& questions_of(const Splits& splits, const std::string& asked) {
    return splits.at(asked == kWithKnowledge ? "test" : asked);
}

bool is_answered(const std::string& folder, const std::vector<std::string>& asked) {
    return std::all_of(asked.begin(), asked.end(),
                       [&](const std::string& name) { return file_exists(answers_path(folder, name)); });
}

void run_cell(const Shared& of_run, const ArmConfig& arm, uint64_t seed, const std::string& folder,
              const std::vector<std::string>& asked, const std::string& matched) {
    Shared shared = of_run;
    if (!arm.model.empty()) {
        shared.base_folder = arm.model;
        shared.bpe = std::make_shared<Bpe>(Bpe::load(arm.model));
        shared.bos = shared.bpe->bos();
    }
    const Method& method = method_by_name(arm.method);
    const PromptSettings settings = prompt_settings(shared, arm, seed);
    const std::vector<Record> rows =
        vary(training_rows(arm, shared.splits.at("train")), arm.variant, shared.world, shared.data_seed, settings.seed);
    LoraConfig lora = arm.lora;
    if (!method.trained) {
        lora.r = 0;
    }
    const auto model =
        load_model(*shared.kernels, shared.base_folder, method.trained ? Train::adapter : Train::nothing, lora);
    if (method.trained) {
        Rng rng(own_or(arm.adapter_seed, seed), "adapter");
        model->init_adapter(rng);
        train_cell(*model, shared, arm, rows, settings, seed, folder, matched);
    }
    ask(*model, shared, arm, rows, settings, folder, asked);
}

} // namespace skintern
