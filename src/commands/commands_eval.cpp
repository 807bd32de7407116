// commands_eval.cpp — eval, score: answering questions, and judging answers that are there.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "method/evaluate.h"
#include "method/methods.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/settings_file.h"
#include "tasks/benchmarks.h"
#include "tasks/retrieve.h"
#include "tasks/scores.h"

namespace skintern {

namespace {

struct EvalOptions : ModelOptions {
    std::vector<std::string> data;
    std::string method = "std-cot", out, templates = data_folder() + "/templates/default.json", passages;
    EvalConfig eval;
    int64_t limit = 0, cache_mib = 2048;
    bool resume = false;
};

// What decides a row: an evaluation is only resumed with the same.
nlohmann::ordered_json eval_settings(const EvalOptions& o) {
    nlohmann::ordered_json settings = {{"model", o.model},
                                       {"model_files", fingerprint(o.model)},
                                       {"adapter", o.adapter},
                                       {"adapter_files", fingerprint(o.adapter)},
                                       {"method", o.method},
                                       {"templates", o.templates},
                                       {"templates_file", fingerprint(o.templates)},
                                       {"passages", o.passages},
                                       {"passages_file", fingerprint(o.passages)},
                                       {"chat", o.eval.chat},
                                       {"max_new_tokens", o.eval.max_new_tokens}};
    // Rounding is named where there is some, so that evaluations of before there was a choice are resumed.
    const auto name_rounding = [&](const char* name, const std::string& type) {
        if (type != "f32") {
            settings[name] = type;
        }
    };
    name_rounding("dtype", o.dtype);
    name_rounding("activations", o.kernels.activations);
    name_rounding("kv_cache", o.eval.cache_type == WeightType::f32 ? "f32" : "bf16");
    return settings;
}

void run_eval(EvalOptions& o) {
    const Method& method = method_by_name(o.method);
    const Templates templates = read_templates(o.templates);
    std::vector<Record> records = read_questions(o.data, o.limit);
    if (!o.passages.empty()) {
        retrieve_knowledge(records, Retriever(all_passages(read_records(o.passages))));
    }
    const auto kernels = open_kernels(o);
    const auto model = open_model(*kernels, o);
    const Bpe bpe = Bpe::load(o.model);

    EvalFile file(o.out, eval_settings(o), o.resume);
    const std::vector<Record> rest = file.unanswered(records);
    o.eval.cache_bytes = o.cache_mib << 20;
    o.eval.bos = bpe.bos();
    o.eval.label = o.method;
    o.eval.answered = static_cast<int64_t>(records.size() - rest.size());
    o.eval.on_row = [&](const EvalRow& row) { file.append(row); };
    if (o.resume) {
        say(format("%s: %lld of %zu questions are answered%s", o.out.c_str(), static_cast<long long>(o.eval.answered),
                   records.size(), file.cut() ? "; a row that was cut while it was written is asked again" : ""));
    }
    PromptSettings settings;
    settings.templates = templates;
    settings.bos = bpe.bos();
    CHECK(!method.examples, "--method %s shows examples of training rows, which eval has none of", method.name);
    evaluate_method(method, *model, bpe, rest, settings, {}, o.eval);

    const std::vector<EvalRow>& rows = file.finish(records);
    print_scores(compute_scores(rows), stdout);
    std::printf("%lld of %zu correct (%.1f %%)\n", static_cast<long long>(count_correct(rows)), rows.size(),
                100.0 * static_cast<double>(count_correct(rows)) / static_cast<double>(rows.size()));
}

void add_eval(CLI::App& app) {
    auto o = std::make_shared<EvalOptions>();
    CLI::App* sub = app.add_subcommand("eval", "answer questions and score the answers");
    add_model_options(sub, o.get());
    sub->add_option("--data", o->data, "records or published benchmark files, or folders of them")
        ->required()
        ->delimiter(',')
        ->take_all();
    sub->add_option("--method", o->method, "whose prompt")->capture_default_str();
    sub->add_option("--out", o->out, "JSONL, a row a question")->required();
    sub->add_flag("--resume", o->resume, "keep the answers that --out holds");
    sub->add_option("--templates", o->templates)->capture_default_str();
    sub->add_option("--passages", o->passages, "records whose knowledge is searched for questions that come without any");
    sub->add_flag("--chat", o->eval.chat, "put each prompt between the model's own turn markers");
    sub->add_option("--batch-size", o->eval.batch_size, "questions at a time")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    sub->add_option("--cache-mib", o->cache_mib, "most memory of the key/value cache; fewer questions at a time fit it")
        ->check(CLI::Range(1, 1 << 24))
        ->capture_default_str();
    add_kv_cache(sub, &o->eval.cache_type);
    sub->add_option("--max-new-tokens", o->eval.max_new_tokens)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->add_option("--limit", o->limit, "first rows of each file only; 0: all")
        ->check(CLI::Range(int64_t{0}, INT64_MAX))
        ->capture_default_str();
    sub->callback([o] { run_eval(*o); });
}

void add_score(CLI::App& app) {
    struct Options : Common {
        std::string data;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("score", "judge a file of generations: rows on stdout, a table on stderr");
    add_common(sub, o.get());
    sub->add_option("--data", o->data, "JSONL with task, question, gold and generated, or what eval wrote")->required();
    sub->callback([o] { print_scores(compute_scores(score_file(o->data, stdout)), stderr); });
}

} // namespace

void add_eval_commands(CLI::App& app) {
    add_eval(app);
    add_score(app);
}

} // namespace skintern
