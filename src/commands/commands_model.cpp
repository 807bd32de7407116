// commands_model.cpp — train (by one process or several), generate, logits, trace, flops: one model, one job.
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "commands/commands.h"
#include "formats/model_file.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "method/batch.h"
#include "method/methods.h"
#include "method/train.h"
#include "model/checkpoint.h"
#include "model/flops.h"
#include "model/generate.h"
#include "model/trace.h"
#include "pretraining/base_model.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/settings_file.h"
#include "support/utf8.h"
#include "tasks/benchmarks.h"
#include "tasks/words.h"

namespace skintern {

void add_model_options(CLI::App* sub, ModelOptions* o) {
    add_common(sub, o);
    sub->add_option("--model", o->model, "a Hugging Face folder or a GGUF file")->required();
    sub->add_option("--adapter", o->adapter, "a PEFT adapter folder");
}

void add_kv_cache(CLI::App* sub, WeightType* type) {
    sub->add_option_function<std::string>(
           "--kv-cache",
           [type](const std::string& name) { *type = name == "bf16" ? WeightType::bf16 : WeightType::f32; },
           "f32, or bf16: keys and values are rounded, in half the memory")
        ->check(CLI::IsMember({"f32", "bf16"}))
        ->default_str("f32");
}

std::unique_ptr<Transformer> open_model(Kernels& kernels, const ModelOptions& o, Train train) {
    LoraConfig lora;
    lora.r = 0;
    if (!o.adapter.empty()) {
        lora = open_adapter(o.adapter, open_model_file(o.model).config);
    }
    auto model = load_model(kernels, o.model, train, lora);
    if (!o.adapter.empty()) {
        load_adapter(o.adapter, *model);
    }
    return model;
}

namespace {

std::vector<int32_t> parse_ids(const std::string& text, const char* option) {
    std::string spaced = text;
    std::replace(spaced.begin(), spaced.end(), ',', ' ');
    std::istringstream in(spaced);
    std::vector<int32_t> ids;
    for (std::string word; in >> word;) {
        char* end = nullptr;
        const long long id = std::strtoll(word.c_str(), &end, 10);
        CHECK(*end == '\0' && id >= INT32_MIN && id <= INT32_MAX, "%s holds \"%s\", which is not a token id", option,
              word.c_str());
        ids.push_back(static_cast<int32_t>(id));
    }
    CHECK(!ids.empty(), "%s holds no token id", option);
    return ids;
}

// ---- train ---------------------------------------------------------------------------------------------------------

struct TrainOptions : ModelOptions {
    std::string data, tokens, method = "std-cot", out, adapter_init, templates = data_folder() + "/templates/default.json";
    LoraConfig lora;
    TrainConfig train;
    CurriculumConfig curriculum;
    double epochs = 12, lora_dropout = 0;
    int64_t steps = 0, cutoff_len = 2048;
    bool resume = false, no_shuffle = false, chat = false;
};

// Rows of a --tokens file: {"ids":[...],"labels":[...]}.
// A list of whole numbers of 32 bits; false for anything else.
bool read_ints(const nlohmann::json& list, std::vector<int32_t>* out) {
    if (!list.is_array()) {
        return false;
    }
    for (const nlohmann::json& value : list) {
        const double number = value.is_number_integer() ? value.get<double>() : 0.5; // exact as far as 32 bits go
        if (number != static_cast<double>(static_cast<int32_t>(std::clamp(number, -2147483648.0, 2147483647.0)))) {
            return false;
        }
        out->push_back(value.get<int32_t>());
    }
    return true;
}

std::vector<Sample> read_token_rows(const std::string& path) {
    std::vector<Sample> rows;
    std::istringstream in(read_file(path));
    int64_t number = 0;
    for (std::string line; std::getline(in, line);) {
        number++;
        const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
        Sample sample;
        const bool good = row.is_object() && row.contains("ids") && row.contains("labels") &&
                          read_ints(row["ids"], &sample.ids) && read_ints(row["labels"], &sample.labels);
        CHECK(good, "%s:%lld: not a row {\"ids\":[...],\"labels\":[...]}", path.c_str(), static_cast<long long>(number));
        CHECK(!sample.ids.empty() && sample.ids.size() == sample.labels.size(),
              "%s:%lld: %zu ids have %zu labels", path.c_str(), static_cast<long long>(number), sample.ids.size(),
              sample.labels.size());
        sample.prompt_tokens = 1;
        rows.push_back(sample);
    }
    CHECK(!rows.empty(), "%s: holds no row", path.c_str());
    return rows;
}

// rank_by_information(), of which each process does a share: what another has ranked is added to zeros.
std::vector<RankedText> rank_together(Transformer& model, const Bpe& bpe, const std::vector<std::string>& texts, Comm& comm) {
    const auto is_own = [&](size_t i) { return i % static_cast<size_t>(comm.size()) == static_cast<size_t>(comm.rank()); };
    std::vector<std::string> own;
    for (size_t i = 0; i < texts.size(); i++) {
        if (is_own(i)) {
            own.push_back(texts[i]);
        }
    }
    std::vector<RankedText> own_ranked = rank_by_information(model, bpe, bpe.bos(), own);
    std::vector<RankedText> ranked;
    for (size_t i = 0, next = 0; i < texts.size(); i++) {
        if (is_own(i)) {
            ranked.push_back(std::move(own_ranked[next++]));
        } else {
            ranked.push_back({split_words(texts[i]), {}});
            ranked.back().rank.resize(ranked.back().words.size());
        }
        std::vector<double> ranks(ranked.back().rank.begin(), ranked.back().rank.end());
        comm.all_reduce_sum(ranks.data(), static_cast<int64_t>(ranks.size()));
        ranked.back().rank.assign(ranks.begin(), ranks.end());
    }
    return ranked;
}

// The rows of each stage, from a --tokens file or from records and a method.
std::vector<std::vector<Row>> rows_by_stage(const TrainOptions& o, Transformer& model, Comm& comm) {
    if (!o.tokens.empty()) {
        std::vector<Row> rows;
        for (Sample& sample : read_token_rows(o.tokens)) {
            rows.push_back({std::move(sample)});
        }
        return {rows};
    }
    const Bpe bpe = Bpe::load(o.model);
    const Method& method = method_by_name(o.method);
    CHECK(method.trained, "--method %s is not trained", method.name);
    CHECK(method.own == Own::nothing, "--method %s needs fresh questions, which only reproduce has", method.name);
    const std::vector<Record> records = read_records(o.data);
    check_trainable(records, o.data);
    PromptSettings settings;
    settings.templates = read_templates(o.templates);
    settings.bos = bpe.bos();
    settings.chat = o.chat;
    settings.cutoff_len = o.cutoff_len;
    settings.seed = o.seed;
    settings.shots_from = o.curriculum.shots_from;
    settings.nearest_shots = o.curriculum.shots;
    std::vector<RankedText> ranked;
    if (method.curriculum()) {
        model.use_adapter(false);
        ranked = rank_together(model, bpe, texts_to_shorten(method, records, settings.templates), comm);
        model.use_adapter(true);
    }
    std::vector<std::vector<Row>> stages;
    for (const Stage& stage : method_stages(method, o.curriculum)) {
        const StageRows rows = make_stage_rows(method, stage, records, ranked, bpe, settings);
        if (comm.leads()) {
            say(format("stage %lld: %zu rows, %lld as examples, %lld with less knowledge, %lld with fewer examples, %lld "
                       "too long and left out",
                       static_cast<long long>(stage.index), rows.rows.size(), static_cast<long long>(rows.as_shots),
                       static_cast<long long>(rows.knowledge_cut), static_cast<long long>(rows.shots_cut),
                       static_cast<long long>(rows.left_out)));
        }
        CHECK(!rows.rows.empty(), "no row of %s fits --cutoff-len %lld", o.data.c_str(),
              static_cast<long long>(o.cutoff_len));
        stages.push_back(rows.rows);
    }
    return stages;
}

// What decides the numbers of a training.
nlohmann::ordered_json train_settings(const TrainOptions& o, const LoraConfig& lora) {
    const AdamwConfig& adamw = o.train.adamw;
    // In one stage, at a constant rate, more updates only go on for longer.
    const bool may_grow = adamw.lr_scheduler == "constant" && adamw.warmup_ratio == 0 &&
                          method_stages(method_by_name(o.method), o.curriculum).size() == 1;
    return {{"model", o.model}, {"model_files", fingerprint(o.model)},
            {"data", o.data}, {"data_file", fingerprint(o.data)},
            {"tokens", o.tokens}, {"tokens_file", fingerprint(o.tokens)},
            {"templates", o.templates}, {"templates_file", fingerprint(o.templates)},
            {"adapter_init", o.adapter_init}, {"adapter_init_files", fingerprint(o.adapter_init)},
            {"method", o.method}, {"seed", o.seed}, {"no_shuffle", o.no_shuffle}, {"chat", o.chat},
            {"epochs", may_grow ? 0 : o.epochs}, {"steps", may_grow ? 0 : o.steps}, {"cutoff_len", o.cutoff_len},
            {"stages", o.curriculum.stages}, {"schedule", o.curriculum.schedule},
            {"shots", o.curriculum.shots}, {"shots_from", o.curriculum.shots_from},
            {"lora_r", lora.r}, {"lora_alpha", lora.alpha}, {"use_rslora", lora.use_rslora},
            {"target_modules", lora.target_modules}, {"exclude_modules", lora.exclude_modules},
            {"layers_to_transform", lora.layers_to_transform},
            {"lr", adamw.lr}, {"weight_decay", adamw.weight_decay}, {"max_grad_norm", adamw.max_grad_norm},
            {"warmup_ratio", adamw.warmup_ratio}, {"lr_scheduler", adamw.lr_scheduler},
            {"batch_size", o.train.batch_size}, {"one_schedule", o.train.one_schedule}, {"dtype", o.dtype}};
}

std::string settings_path(const TrainOptions& o) { return o.out + "/settings.json"; }
std::string state_path(const TrainOptions& o) { return o.out + "/state.safetensors"; }

// A training goes on with the settings it has.
void check_resumed(const TrainOptions& o, const LoraConfig& lora) {
    CHECK(file_exists(settings_path(o)), "%s: cannot be resumed without settings.json, which says how it was made", o.out.c_str());
    check_settings(settings_path(o), train_settings(o, lora), "the training");
}

// One that has made its first update forgets what an earlier one left; the state goes first, so that no moment shows it beside other
// settings.
void replace_earlier(const TrainOptions& o, const LoraConfig& lora) {
    std::filesystem::remove(state_path(o));
    write_file(settings_path(o), train_settings(o, lora).dump(2) + "\n");
}

void run_train(TrainOptions o, Comm& processes) {
    CHECK(o.data.empty() != o.tokens.empty(), "train needs either --data or --tokens");
    const auto on_device = open_device_comm(processes, o.kernels.device);
    Comm& comm = on_device ? *on_device : processes;
    o.kernels.threads = o.kernels.threads > 0 ? o.kernels.threads : comm.threads();
    const auto kernels = open_kernels(o);
    if (comm.leads() && comm.size() > 1) {
        say(format("%d processes, the first: %s", comm.size(), kernels->name().c_str()));
    }
    CHECK(o.lora_dropout == 0, "--lora-dropout is %g: this version trains without dropout, which is 0", o.lora_dropout);
    LoraConfig lora = o.lora;
    if (lora.target_modules == std::vector<std::string>{"all-linear"}) {
        lora.target_modules = linear_modules();
    }
    if (!o.adapter_init.empty()) {
        lora = open_adapter(o.adapter_init, open_model_file(o.model).config);
    }
    if (comm.leads() && o.resume && file_exists(state_path(o))) {
        check_resumed(o, lora);
    }
    const auto model = load_model(*kernels, o.model, Train::adapter, lora);
    Rng rng(o.seed, "adapter");
    model->init_adapter(rng);
    if (!o.adapter_init.empty()) {
        load_adapter(o.adapter_init, *model);
    }
    const std::vector<std::vector<Row>> stages = rows_by_stage(o, *model, comm);
    const int64_t n_stages = static_cast<int64_t>(stages.size());
    const double rows = o.epochs * static_cast<double>(stages.back().size());
    const int64_t updates =
        o.steps > 0 ? o.steps
                    : std::max<int64_t>(n_stages, static_cast<int64_t>(rows / static_cast<double>(o.train.batch_size)));
    TrainRun run;
    run.folder = o.out;
    run.label = o.tokens.empty() ? o.method : "train";
    run.config = o.train;
    for (int64_t t = 1; t <= n_stages; t++) {
        run.stage_updates.push_back(updates_of_stage(updates, n_stages, t));
    }
    run.rows_of = [&](int64_t t) -> RowSource {
        const std::vector<Row>& stage_rows = stages[static_cast<size_t>(t) - 1];
        Order order(static_cast<int64_t>(stage_rows.size()), o.seed + static_cast<uint64_t>(t), !o.no_shuffle);
        return [&stage_rows, order](int64_t k) mutable { return stage_rows[static_cast<size_t>(order(k))]; };
    };
    run.after_stage = [&](int64_t t) {
        if (n_stages > 1) {
            save_adapter(o.out + "/stage-" + std::to_string(t), *model, lora, o.model);
        }
    };
    run.after_step = [&](int64_t step) {
        if (step == 1) {
            replace_earlier(o, lora);
        }
    };
    const TrainSummary summary = train(*model, run, o.resume, comm);
    if (!comm.leads()) {
        return;
    }
    save_adapter(o.out, *model, lora, o.model);
    std::printf("%s: %lld updates, %lld tokens\n", o.out.c_str(), static_cast<long long>(summary.updates),
                static_cast<long long>(summary.tokens));
}

}

void add_training_options(CLI::App* sub, const TrainingSettings& o) {
    TrainConfig& train = *o.train;
    AdamwConfig& adamw = train.adamw;
    sub->add_option("--epochs", *o.epochs)->check(above_zero(1e6))->capture_default_str();
    sub->add_option("--stages", o.curriculum->stages)->capture_default_str();
    sub->add_option("--schedule", o.curriculum->schedule, "linear, exp, inverse-exp, step, none, reversed or shuffled")
        ->capture_default_str();
    sub->add_option("--shots", o.curriculum->shots, "examples at the first stage")->capture_default_str();
    sub->add_option("--shots-from", o.curriculum->shots_from, "block (one draw for all rows of a family) or similar")
        ->capture_default_str();
    sub->add_flag("--one-schedule", train.one_schedule, "one learning-rate schedule over all stages");
    sub->add_option("--lora-r", o.lora->r)->check(CLI::Range(1, 4096))->capture_default_str();
    sub->add_option("--lora-alpha", o.lora->alpha)->check(above_zero())->capture_default_str();
    sub->add_option("--lr", adamw.lr)->check(above_zero())->capture_default_str();
    sub->add_option("--batch-size", train.batch_size)->check(CLI::Range(1, 65536))->capture_default_str();
    sub->add_option("--micro-tokens", train.micro_tokens, "tokens of a micro-batch")
        ->check(CLI::Range(1, 1 << 24))
        ->capture_default_str();
    sub->add_flag("--recompute", train.recompute, "keep only the inputs of layers: less memory, a third more work");
    sub->add_option("--warmup-ratio", adamw.warmup_ratio)->check(share())->capture_default_str();
    sub->add_option("--lr-scheduler", adamw.lr_scheduler, "cosine, linear or constant")->capture_default_str();
    sub->add_option("--weight-decay", adamw.weight_decay)->check(not_negative())->capture_default_str();
    sub->add_option("--max-grad-norm", adamw.max_grad_norm, "0: gradients are not clipped")
        ->check(not_negative())
        ->capture_default_str();
    sub->add_option("--cutoff-len", *o.cutoff_len)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->add_option("--save-steps", train.save_steps)->check(CLI::Range(1, 1 << 30))->capture_default_str();
}

namespace {

void add_train(CLI::App& app, Comm& comm) {
    auto o = std::make_shared<TrainOptions>();
    CLI::App* sub = app.add_subcommand("train", "fine-tune an adapter; several processes under mpirun share the work");
    add_model_options(sub, o.get());
    sub->add_option("--data", o->data, "records, JSONL or a JSON list");
    sub->add_option("--tokens", o->tokens, "rows {\"ids\":[...],\"labels\":[...]}");
    sub->add_option("--method", o->method, "std-cot, kard, skintern or another that is trained on the teacher's responses alone")
        ->capture_default_str();
    sub->add_option("--out", o->out, "folder")->required();
    sub->add_option("--adapter-init", o->adapter_init, "begin from this PEFT adapter");
    sub->add_option("--templates", o->templates)->capture_default_str();
    sub->add_flag("--resume", o->resume);
    sub->add_flag("--no-shuffle", o->no_shuffle);
    sub->add_flag("--chat", o->chat, "put each prompt between the model's own turn markers");
    add_training_options(sub, {&o->epochs, &o->cutoff_len, &o->curriculum, &o->lora, &o->train});
    sub->add_option("--lora-dropout", o->lora_dropout, "0: this version trains without dropout")->capture_default_str();
    sub->add_flag("--use-rslora", o->lora.use_rslora, "scale by alpha / sqrt(r)");
    sub->add_option("--target-modules", o->lora.target_modules, "names, or all-linear (the default)")
        ->delimiter(',')
        ->take_all();
    sub->add_option("--exclude-modules", o->lora.exclude_modules, "names")->delimiter(',')->take_all();
    sub->add_option("--layers-to-transform", o->lora.layers_to_transform, "numbers from 0; default all")
        ->delimiter(',')
        ->take_all();
    sub->add_option("--steps", o->steps, "updates; overrides --epochs")->check(CLI::Range(0, 1 << 30))->capture_default_str();
    sub->callback([o, &comm] { run_train(*o, comm); });
}

// ---- generate, logits, trace, flops ------------------------------------------------------------------------------------

void add_pretrain(CLI::App& app) {
    struct Options : Common {
        BaseConfig base = tiny_base_config();
        std::string out;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("pretrain", "train a base model of another size as the tiny one was, with its tokenizer");
    add_common(sub, o.get());
    sub->add_option("--layers", o->base.model.layers)->check(CLI::Range(1, 1024))->capture_default_str();
    sub->add_option("--heads", o->base.model.heads, "of 32 channels each")->check(CLI::Range(1, 1024))->capture_default_str();
    sub->add_option("--lr", o->base.train.adamw.lr)->check(above_zero())->capture_default_str();
    sub->add_option("--updates", o->base.updates)->check(CLI::Range(1, 10000000))->capture_default_str();
    sub->add_option("--echo-updates", o->base.echo_updates)->check(CLI::Range(1, 10000000))->capture_default_str();
    sub->add_option("--tokenizer-documents", o->base.tokenizer_documents)->check(CLI::Range(1, 10000000))->capture_default_str();
    sub->add_option("--out", o->out, "a Hugging Face folder; what is done there is not done again")->required();
    sub->callback([o] {
        ModelConfig& model = o->base.model;
        model.kv_heads = model.heads;
        model.channels = model.heads * model.head_size;
        model.ffn = (model.channels * 27 + 159) / 160 * 16; // 2.7 times as wide, in sixteens
        o->base.seed = o->seed;
        const auto kernels = open_kernels(*o);
        make_base_model(*kernels, o->base, o->out, true);
        std::printf("%s: %lld parameters\n", o->out.c_str(), static_cast<long long>(count_parameters(open_model_file(o->out).config)));
    });
}

void add_generate(CLI::App& app) {
    struct Options : ModelOptions {
        std::string prompt, ids;
        GenerateConfig generate;
        bool print_ids = false, ignore_eos = false, chat = false;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("generate", "continue a prompt greedily");
    add_model_options(sub, o.get());
    CLI::Option* prompt = sub->add_option("--prompt", o->prompt);
    sub->add_option("--ids", o->ids, "token ids in place of a text")->excludes(prompt);
    sub->add_option("--max-new-tokens", o->generate.max_new_tokens)
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    add_kv_cache(sub, &o->generate.cache_type);
    sub->add_flag("--chat", o->chat, "put the prompt between the model's own turn markers")->needs(prompt);
    sub->add_flag("--print-ids", o->print_ids, "print ids, not text; an EOS that ends them too");
    sub->add_flag("--ignore-eos", o->ignore_eos, "do not stop at EOS");
    sub->callback([o] {
        const auto kernels = open_kernels(*o);
        const auto model = open_model(*kernels, *o);
        const bool with_text = o->ids.empty() || !o->print_ids;
        std::unique_ptr<Bpe> bpe;
        if (with_text) {
            bpe = std::make_unique<Bpe>(Bpe::load(o->model));
        }
        const std::string text = replace_invalid_utf8(o->prompt);
        const std::vector<int32_t> ids = o->ids.empty() ? make_question(*bpe, bpe->bos(), text, o->chat).ids
                                                        : parse_ids(o->ids, "--ids");
        o->generate.eos = o->ignore_eos ? -1 : bpe != nullptr ? bpe->eos() : model->config().eos;
        Generation out = generate(*model, {ids}, o->generate)[0];
        if (!o->print_ids) {
            std::printf("%s\n", bpe->decode(out.ids).c_str());
            return;
        }
        if (out.steps > static_cast<int64_t>(out.ids.size())) {
            out.ids.push_back(o->generate.eos); // what the model produced, as transformers' generate() returns it
        }
        std::string line;
        for (const int32_t id : out.ids) {
            line += (line.empty() ? "" : " ") + std::to_string(id);
        }
        std::printf("%s\n", line.c_str());
    });
}

void add_logits(CLI::App& app) {
    struct Options : ModelOptions {
        std::string ids, out;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("logits", "logits of every position, float32 (T,V) as .npy");
    add_model_options(sub, o.get());
    sub->add_option("--ids", o->ids)->required();
    sub->add_option("--out", o->out)->required();
    sub->callback([o] {
        const auto kernels = open_kernels(*o);
        const auto model = open_model(*kernels, *o);
        Batch batch;
        batch.add_sequence(parse_ids(o->ids, "--ids"));
        for (int32_t t = 0; t < batch.tokens(); t++) {
            batch.rows.push_back(t);
        }
        const std::vector<real> logits = model->logits(batch);
        write_npy(o->out, logits.data(), {batch.tokens(), model->config().vocab});
    });
}

struct TraceOptions : ModelOptions {
    std::string ids, labels, out, compare;
    double tolerance = 0;
};

// With an adapter the base is frozen, so the gradients are those of the adapter.
NamedTrace trace_on(const std::string& device, const TraceOptions& o) {
    TraceOptions on = o;
    on.kernels.device = device;
    const auto kernels = open_kernels(on);
    const Train with_gradients = o.adapter.empty() ? Train::everything : Train::adapter;
    const auto model = open_model(*kernels, o, o.labels.empty() ? Train::nothing : with_gradients);
    Sample sample;
    sample.ids = parse_ids(o.ids, "--ids");
    sample.prompt_tokens = 1;
    Batch batch;
    if (o.labels.empty()) {
        batch.add_sequence(sample.ids);
        for (int32_t t = 0; t < batch.tokens(); t++) {
            batch.rows.push_back(t);
        }
    } else {
        sample.labels = parse_ids(o.labels, "--labels");
        CHECK(sample.labels.size() == sample.ids.size(), "--labels holds %zu labels for %zu ids", sample.labels.size(),
              sample.ids.size());
        add_sample(batch, sample);
        CHECK(!batch.rows.empty(), "--labels has no label after the first position");
    }
    return trace_pass(*model, batch, !o.labels.empty());
}

// A line a tensor, in order of computation; an Error that names the first which differs.
void print_comparison(const NamedTrace& expected, const NamedTrace& got, const TraceOptions& o) {
    const std::vector<TraceDistance> distances = compare_traces(expected, got);
    std::printf("%-44s %12s %12s\n", "tensor", "relative", "largest");
    for (const TraceDistance& d : distances) {
        std::printf("%-44s %12.3e %12.3e\n", d.name.c_str(), d.distance, d.largest);
    }
    const double tolerance = o.tolerance > 0 ? o.tolerance : trace_tolerance(o.dtype == "bf16");
    const TraceDistance* first = first_difference(distances, tolerance);
    CHECK(first == nullptr, "%s and %s part at %s: they differ by %.3g of its size, and %.3g is tolerated",
          o.compare.c_str(), o.kernels.device.c_str(), first->name.c_str(), first->distance, tolerance);
    std::printf("%s and %s agree on %zu tensors, within %.3g of the size of each\n", o.compare.c_str(),
                o.kernels.device.c_str(), distances.size(), tolerance);
}

void add_trace(CLI::App& app) {
    auto o = std::make_shared<TraceOptions>();
    CLI::App* sub = app.add_subcommand("trace", "every named activation, with --labels the loss and every gradient");
    add_model_options(sub, o.get());
    sub->add_option("--ids", o->ids)->required();
    sub->add_option("--labels", o->labels, "one an id, -100 where there is none");
    CLI::Option* out = sub->add_option("--out", o->out, "safetensors");
    CLI::Option* compare = sub->add_option("--compare", o->compare, "another device: names the first tensor that differs there");
    sub->add_option("--tolerance", o->tolerance, "of --compare, relative; 0: what rounding explains")
        ->needs(compare)
        ->check(share());
    sub->callback([o, out, compare] {
        if (out->count() + compare->count() == 0) {
            throw CLI::RequiredError("--out or --compare");
        }
        const NamedTrace trace = trace_on(o->kernels.device, *o);
        if (out->count() > 0) {
            write_safetensors(o->out, trace.tensors);
            std::printf("%s: %zu tensors\n", o->out.c_str(), trace.tensors.size());
        }
        if (compare->count() > 0) {
            print_comparison(trace_on(o->compare, *o), trace, *o);
        }
    });
}

void add_flops(CLI::App& app) {
    struct Options : ModelOptions {
        int64_t prompt_tokens = 0, new_tokens = 0;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("flops", "what a question costs");
    add_model_options(sub, o.get());
    sub->add_option("--prompt-tokens", o->prompt_tokens)->required()->check(CLI::Range(0, 1 << 24));
    sub->add_option("--new-tokens", o->new_tokens)->check(CLI::Range(0, 1 << 24))->capture_default_str();
    sub->callback([o] {
        const ModelConfig config = open_model_file(o->model).config;
        const Flops flops = question_flops(config, o->prompt_tokens, o->new_tokens);
        std::printf("flops %lld\nlinear %lld\noutput %lld\nattention %lld\nprompt-linear-macs %lld\n",
                    static_cast<long long>(flops.total()), static_cast<long long>(flops.linear),
                    static_cast<long long>(flops.output), static_cast<long long>(flops.attention),
                    static_cast<long long>(prompt_linear_macs(config, o->prompt_tokens)));
    });
}

} // namespace

void add_model_commands(CLI::App& app, Comm& comm) {
    add_train(app, comm);
    add_pretrain(app);
    add_generate(app);
    add_logits(app);
    add_trace(app);
    add_flops(app);
}

} // namespace skintern
