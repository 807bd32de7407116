// plan.cpp — see plan.h. Read from the end: print_plan() is the order of things.
#include "experiment/plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "experiment/plan_work.h"
#include "experiment/search.h"
#include "formats/model_file.h"
#include "measure/measure_step.h"
#include "report/run_log.h"
#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"
#include "tasks/retrieve.h"

namespace skintern {

namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr int64_t kOtherRows = 4096; // of passes that rank texts, read prompts, or evaluate the meter, about
constexpr double kSavedCopies = 6;   // adapter and moments, as tensors and once more as the bytes of the file
constexpr int64_t kShownCharacters = 400; // of an example, at each of its ends

// ---- what is planned with ----------------------------------------------------------------------------------------------

struct PlannedModel {
    ModelConfig config;
    WeightType type = WeightType::f32; // of the matrices
    double weights = 0;                // bytes
    std::string source;
};

WeightType type_of_name(const std::string& name, const std::string& path) {
    const std::pair<const char*, WeightType> types[] = {
        {"float32", WeightType::f32}, {"float16", WeightType::f16}, {"bfloat16", WeightType::bf16}};
    for (const auto& [known, type] : types) {
        if (name == known) {
            return type;
        }
    }
    CHECK(false, "%s: torch_dtype is %s, expected float32, float16 or bfloat16", path.c_str(),
          shown(name).c_str());
}

PlannedModel model_of_file(const std::string& path) {
    const ModelFile file = open_model_file(path);
    PlannedModel model = {file.config, WeightType::f32, weight_bytes(file.tensors), path};
    for (const StoredTensor& tensor : file.tensors) {
        model.type = tensor.shape.size() == 2 ? tensor.type : model.type;
    }
    return model;
}

// The base model's sizes, where they are known.
std::optional<PlannedModel> planned_model(const ReproduceConfig& config, const PlanOptions& options) {
    if (config.from_scratch) {
        return PlannedModel{config.base.model, WeightType::bf16,
                            weight_bytes(config.base.model, WeightType::bf16), "made first"};
    }
    if (std::filesystem::exists(config.base_folder)) {
        return model_of_file(config.base_folder);
    }
    if (options.shape.empty()) {
        return std::nullopt;
    }
    const std::string path = options.data_folder + "/models/" + options.shape + ".json";
    CHECK(file_exists(path), "--shape is \"%s\": there is no %s", options.shape.c_str(), path.c_str());
    const ModelConfig sizes = read_model_config(path);
    const WeightType type = type_of_name(
        string_or(parse_json_object(read_file(path), path), "torch_dtype", "float32", path), path);
    return PlannedModel{sizes, type, weight_bytes(sizes, type), path};
}

Bpe planned_tokenizer(const ReproduceConfig& config, const PlanOptions& options) {
    const bool own = !config.from_scratch && std::filesystem::exists(config.base_folder);
    if (!options.tokenizer.empty() || own) {
        return Bpe::load(options.tokenizer.empty() ? config.base_folder : options.tokenizer);
    }
    std::printf("Tokens are counted with the project's own tokenizer, which is not that of %s: the model's "
                "own (--tokenizer) counts otherwise.\n",
                config.base_folder.c_str());
    return Bpe::load(options.data_folder + "/base");
}

PromptSettings prompt_settings(const ReproduceConfig& config, const ArmConfig& arm, const Bpe& bpe) {
    PromptSettings settings;
    settings.templates = read_templates(config.templates);
    settings.bos = bpe.bos();
    settings.cutoff_len = arm.cutoff_len;
    settings.shots_from = arm.curriculum.shots_from;
    settings.nearest_shots = arm.curriculum.shots;
    settings.seed = config.seed;
    return settings;
}

// ---- the schedule ------------------------------------------------------------------------------------------------------

void print_schedule(const ReproduceConfig& config, const Splits& splits) {
    std::printf("preset %s into %s\n\nrows:", config.preset.c_str(), config.out.c_str());
    for (const auto& [name, records] : splits) {
        std::printf(" %s %zu ", name.c_str(), records.size());
    }
    std::printf("\n\n%-16s %5s %10s %8s %8s\n", "method", "stage", "knowledge", "examples", "updates");
    for (const ArmConfig& arm : arms_of(config)) {
        const Method& method = method_by_name(arm.method);
        const int64_t updates = total_updates(arm, std::ssize(training_rows(arm, splits.at("train"))));
        const std::vector<Stage> stages = method_stages(method, arm.curriculum);
        for (const Stage& stage : stages) {
            if (method.trained) {
                std::printf("%-16s %5lld %9.0f%% %8lld %8lld\n", arm.name.c_str(),
                            static_cast<long long>(stage.index), 100 * stage.keep,
                            static_cast<long long>(stage.shots),
                            static_cast<long long>(
                                updates_of_stage(updates, static_cast<int64_t>(stages.size()), stage.index)));
            } else {
                std::printf("%-16s %5s %10s %8s %8s\n", arm.name.c_str(), "-", "-", "-", "0");
            }
        }
    }
    for (const ArmConfig& arm : arms_of(config)) {
        if (!arm.match_tokens.empty() || !arm.match_flops.empty()) {
            std::printf("%s: in truth as many updates as cost what %s%s does\n", arm.name.c_str(), arm.match_tokens.c_str(),
                        arm.match_flops.c_str());
        }
        if (!arm.model.empty()) {
            std::printf("%s: costs are told for the model of the run, not for %s\n", arm.name.c_str(), arm.model.c_str());
        }
    }
}

// ---- training and evaluation of the arms -----------------------------------------------------------------------------------

struct Example {
    std::string title, prompt, target;
};

// What is left of an arm once its rows are gone.
struct PlannedArm {
    ArmConfig arm;
    bool trained = false;
    std::vector<StageWork> stages; // without their rows
    EvalWork answers;
    int64_t largest_split = 0; // questions
    int64_t meter_tokens = 0;  // of the rows that the meter evaluates, with their knowledge
    int64_t ranked_tokens = 0; // of the texts that a compressor ranks
    std::vector<Example> examples;
};

Example example_of(const StageWork& work, size_t row, const Bpe& bpe) {
    const Sample& sample = work.rows.rows[row].front();
    const auto target = sample.ids.begin() + sample.prompt_tokens;
    return {format("stage %lld", static_cast<long long>(work.stage.index)),
            bpe.decode({sample.ids.begin(), target}), bpe.decode({target, sample.ids.end()})};
}

// The first row of the first stage and of the last; of one stage its first row and one from its middle.
std::vector<Example> examples_of(const std::vector<StageWork>& stages, const Bpe& bpe) {
    const StageWork& last = stages.back();
    if (stages.front().rows.rows.empty() || last.rows.rows.empty()) {
        return {};
    }
    return {example_of(stages.front(), 0, bpe),
            example_of(last, stages.size() > 1 ? 0 : last.rows.rows.size() / 2, bpe)};
}

// Tokens of an answer, where it is as long as what the arm learned to say in its last stage, or as the teacher's response.
int64_t expected_tokens(const Spread& target, int64_t limit) {
    return std::clamp<int64_t>(std::llround(target.mean()), 1, limit);
}

EvalWork answers_of(const PlannedArm& planned, const std::vector<std::string>& asked, const ReproduceConfig& config,
                    const ModelConfig& sizes, const Splits& splits, const std::vector<Record>& train,
                    const PromptSettings& settings, const Bpe& bpe) {
    const Tasks& tasks = method_by_name(planned.arm.method).tasks;
    Spread first, second;
    if (planned.trained) {
        first = planned.stages.back().target;
        second = planned.stages.back().second;
    } else {
        for (const Record& record : train) {
            first.add(std::ssize(bpe.encode(record.response)));
        }
    }
    const bool asks_second =
        tasks.second.weight > 0 && tasks.evaluated == tasks.second.ask;
    const int64_t expected = expected_tokens(asks_second ? second : first, config.max_new_tokens);
    EvalWork answers;
    for (const std::string& name : asked) {
        const Method method = evaluated_method(planned.arm, name);
        for (const std::string& prompt : evaluation_prompts(method, questions_of(splits, name), settings, train)) {
            const int64_t tokens = std::ssize(make_question(bpe, settings.bos, prompt).ids);
            answers.add(sizes, tokens, expected);
            if (method.tasks.cascade()) { // the rationale stands in the second prompt
                answers.add(sizes, tokens + expected, expected_tokens(second, config.max_new_tokens));
            }
        }
    }
    return answers;
}

PlannedArm plan_arm(const ArmConfig& arm, const std::vector<std::string>& asked, const ReproduceConfig& config,
                    const ModelConfig& sizes, const Splits& splits, const World& world, const Bpe& bpe) {
    const Method& method = method_by_name(arm.method);
    PlannedArm planned = {arm, method.trained, {}, {}, 0, 0, 0, {}};
    const PromptSettings settings = prompt_settings(config, arm, bpe);
    const std::vector<Record> train =
        vary(training_rows(arm, splits.at("train")), arm.variant, world, config.data.seed, config.seed);
    if (planned.trained) {
        planned.stages = work_of_arm(arm, train, bpe, settings);
        planned.examples = examples_of(planned.stages, bpe);
        for (StageWork& work : planned.stages) {
            work.rows.rows.clear();
        }
    }
    for (const Record& record : splits.at("validation")) {
        const std::string prompt =
            make_prompt(settings.templates, record, full_context(record, Knowledge::summary));
        planned.meter_tokens += std::ssize(make_sample(bpe, settings.bos, prompt, record.response).ids);
    }
    if (method.in_training == Knowledge::summary) {
        for (const std::string& text : texts_to_shorten(method, train, settings.templates)) {
            planned.ranked_tokens += std::ssize(bpe.encode(text));
        }
    }
    for (const std::string& name : asked) {
        planned.largest_split = std::max(planned.largest_split, std::ssize(questions_of(splits, name)));
    }
    planned.answers = answers_of(planned, asked, config, sizes, splits, train, settings, bpe);
    return planned;
}

// Of the rows of all stages, weighted by their tokens.
TrainingWork typical_sequence(const std::vector<PlannedArm>& arms) {
    double tokens = 1, squares = 256, labelled = 0.25; // without training
    for (const PlannedArm& planned : arms) {
        for (const StageWork& work : planned.stages) {
            tokens += work.tokens();
            squares += work.passes * static_cast<double>(work.once.squares);
            labelled += work.passes * static_cast<double>(work.once.labelled);
        }
    }
    const int64_t length = std::max<int64_t>(2, std::llround(squares / tokens));
    return {
        length, length * length,
        std::clamp<int64_t>(std::llround(labelled / tokens * static_cast<double>(length)), 1, length - 1)};
}

Machine planned_machine(Kernels& kernels, const PlannedModel& model, const std::vector<PlannedArm>& arms,
                        const ReproduceConfig& config, const PlanOptions& options) {
    if (options.machine_flops > 0) {
        std::printf("\nTime: at %.4g GFLOP/s that training sustains, as given: a peak times the utilisation "
                    "that is assumed. Nothing was measured.\n",
                    options.machine_flops / 1e9);
        return {options.machine_flops, options.machine_bandwidth};
    }
    const TrainingWork sequence = typical_sequence(arms);
    Machine machine = measure_machine(kernels, model.config, config.arm.lora, sequence, options.threads);
    machine.bandwidth = options.machine_bandwidth > 0 ? options.machine_bandwidth : machine.bandwidth;
    std::printf("\nTime: at %.4g GFLOP/s, which layers of these widths sustain here in training on sequences "
                "of %lld tokens (%s), and %.4g GB/s of memory.\n",
                machine.flops / 1e9, static_cast<long long>(sequence.tokens), kernels.name().c_str(),
                machine.bandwidth / 1e9);
    return machine;
}

double training_flops_of(const PlannedArm& planned, const StageWork& work, const ModelConfig& sizes) {
    const Flops once = training_flops(sizes, planned.arm.lora, work.once, planned.arm.train.recompute);
    return work.passes * static_cast<double>(once.total());
}

void print_training(const std::vector<PlannedArm>& arms, const ModelConfig& sizes, const Machine& machine) {
    std::printf("\nTraining; tokens of prompts and of what a row asks first: mean and most; cut: rows whose "
                "knowledge was "
                "shortened further\n"
                "%-16s %5s %6s %5s %5s %11s %10s %8s %9s %9s %8s\n",
                "arm", "stage", "rows", "left", "cut", "prompt", "target", "updates", "Mtokens", "PFLOPs",
                "hours");
    for (const PlannedArm& planned : arms) {
        double tokens = 0, flops = 0;
        for (const StageWork& work : planned.stages) {
            const double of_stage = training_flops_of(planned, work, sizes);
            tokens += work.tokens();
            flops += of_stage;
            std::printf("%-16s %5lld %6lld %5lld %5lld %6.0f %4lld %5.0f %4lld %8lld %9.2f %9.4g %8.4g\n",
                        planned.arm.name.c_str(), static_cast<long long>(work.stage.index),
                        static_cast<long long>(work.target.count), // one of each row
                        static_cast<long long>(work.rows.left_out),
                        static_cast<long long>(work.rows.knowledge_cut), work.prompt.mean(),
                        static_cast<long long>(work.prompt.largest), work.target.mean(),
                        static_cast<long long>(work.target.largest), static_cast<long long>(work.updates),
                        work.tokens() / 1e6, of_stage / 1e15, of_stage / machine.flops / 3600);
        }
        if (planned.stages.size() > 1) {
            std::printf("%-16s %5s %53s %9.2f %9.4g %8.4g\n", planned.arm.name.c_str(), "all", "",
                        tokens / 1e6, flops / 1e15, flops / machine.flops / 3600);
        }
    }
}

int64_t capacity_of(const EvalWork& answers, const ReproduceConfig& config, const ModelConfig& sizes) {
    return std::min(answers.prompt.largest + config.max_new_tokens, sizes.max_positions);
}

// Sequences that are answered at a time, of the largest split.
int64_t slots_of(const ReproduceConfig& config, const ModelConfig& sizes, const PlannedArm& planned) {
    const EvalConfig evaluation;
    const int64_t position =
        2 * sizes.layers * row_bytes(evaluation.cache_type, sizes.kv_heads * sizes.head_size);
    const int64_t fit = evaluation.cache_bytes /
                        (position * std::max<int64_t>(1, capacity_of(planned.answers, config, sizes)));
    return std::max<int64_t>(1, std::min({fit, evaluation.batch_size, planned.largest_split}));
}

double answer_seconds(const EvalWork& answers, int64_t slots, const PlannedModel& model,
                      const Machine& machine) {
    const double steps =
        static_cast<double>(answers.answer.sum - answers.answer.count) / static_cast<double>(slots);
    const double reading = machine.bandwidth > 0 ? steps * model.weights / machine.bandwidth : 0.0;
    return (answers.flops - answers.decode_flops) / machine.flops +
           std::max(answers.decode_flops / machine.flops, reading);
}

void print_evaluation(const std::vector<PlannedArm>& arms, const ReproduceConfig& config,
                      const PlannedModel& model, const Machine& machine) {
    std::printf(
        "\nEvaluation: test splits, sets, and of what is trained the test questions again with the knowledge; each prompt as if "
        "alone; an answer has as many tokens as a target on average%s\n"
        "%-16s %9s %11s %10s %9s %9s %8s\n",
        machine.bandwidth > 0 ? "" : "; the time is at least so long: the bandwidth of memory is not counted",
        "arm", "prompts", "tokens", "new tokens", "at a time", "PFLOPs", "hours");
    for (const PlannedArm& planned : arms) {
        const EvalWork& answers = planned.answers;
        const int64_t slots = slots_of(config, model.config, planned);
        std::printf("%-16s %9lld %6.0f %4lld %10.0f %9lld %9.4g %8.4g\n", planned.arm.name.c_str(),
                    static_cast<long long>(answers.prompt.count), answers.prompt.mean(),
                    static_cast<long long>(answers.prompt.largest), answers.answer.mean(),
                    static_cast<long long>(slots), answers.flops / 1e15,
                    answer_seconds(answers, slots, model, machine) / 3600);
    }
}

struct Cost {
    double flops = 0, seconds = 0;
};

// Training and evaluation of all arms, each once.
Cost cost_of(const std::vector<PlannedArm>& arms, const ReproduceConfig& config, const PlannedModel& model, const Machine& machine) {
    Cost cost;
    for (const PlannedArm& planned : arms) {
        for (const StageWork& work : planned.stages) {
            const double flops = training_flops_of(planned, work, model.config);
            cost.flops += flops;
            cost.seconds += flops / machine.flops;
        }
        cost.flops += planned.answers.flops;
        cost.seconds += answer_seconds(planned.answers, slots_of(config, model.config, planned), model, machine);
    }
    return cost;
}

void print_total(const std::vector<PlannedArm>& arms, const std::vector<PlannedArm>& searched, const ReproduceConfig& config,
                 const PlannedModel& model, const Machine& machine) {
    const auto print = [&](const std::string& what, const std::vector<PlannedArm>& planned, int64_t times) {
        const Cost once = cost_of(planned, config, model, machine);
        const double n = static_cast<double>(times);
        std::printf("%s: %.4g PFLOPs, %.4g hours of one process\n", what.c_str(), n * once.flops / 1e15, n * once.seconds / 3600);
    };
    std::printf("\n");
    print(format("In all, arms by seeds %zu x %lld", arms.size(), static_cast<long long>(config.seeds)), arms, config.seeds);
    if (!searched.empty()) {
        print(format("The search for a rate before them, methods by rates %zu x %zu", searched.size(), config.search_lr.size()),
              searched, std::ssize(config.search_lr));
    }
}

// ---- memory ----------------------------------------------------------------------------------------------------------------

PassSize largest_pass(const PlannedArm& planned) {
    PassSize largest;
    for (const StageWork& work : planned.stages) {
        largest.rows = std::max(largest.rows, work.largest.rows);
        largest.scored = std::max(largest.scored, work.largest.scored);
    }
    return largest;
}

void print_parts(const std::vector<MemoryPart>& parts) {
    for (const MemoryPart& part : parts) {
        std::printf("  %-34s %9.3f GiB\n", part.name.c_str(), part.bytes / kGiB);
    }
}

std::vector<MemoryPart> memory_of_training(const PlannedArm& planned, const PlannedModel& model,
                                           PassSize pass, bool recompute) {
    std::vector<MemoryPart> parts = training_memory(model.config, planned.arm.lora, pass, recompute);
    parts.insert(parts.begin(), {{"program", kProgramBytes},
                                 {"weights, " + std::string(weight_format(model.type).name), model.weights}});
    const int64_t adapter = adapter_parameters(model.config, planned.arm.lora);
    parts.push_back({"state while it is saved", kSavedCopies * static_cast<double>(adapter) * sizeof(real)});
    return parts;
}

// The arm whose training takes most, or null.
const PlannedArm* largest_arm(const std::vector<PlannedArm>& arms, const PlannedModel& model) {
    const PlannedArm* largest = nullptr;
    double most = 0;
    for (const PlannedArm& planned : arms) {
        const double bytes = total_bytes(
            memory_of_training(planned, model, largest_pass(planned), planned.arm.train.recompute));
        if (planned.trained && bytes > most) {
            largest = &planned;
            most = bytes;
        }
    }
    return largest;
}

void print_memory(const Kernels& kernels, const std::vector<PlannedArm>& arms, const ReproduceConfig& config,
                  const PlannedModel& model) {
    const PlannedArm* arm = largest_arm(arms, model);
    if (arm == nullptr) {
        return;
    }
    const bool recompute = arm->arm.train.recompute;
    const PassSize pass = largest_pass(*arm);
    const std::vector<MemoryPart> parts = memory_of_training(*arm, model, pass, recompute);
    std::printf("\nMemory of training, where it is most: %s, %lld rows in a pass, %lld of them scored\n",
                arm->arm.name.c_str(), static_cast<long long>(pass.rows),
                static_cast<long long>(pass.scored));
    print_parts(parts);
    print_parts({{"training", total_bytes(parts)},
                 {recompute ? "without --recompute" : "with --recompute",
                  total_bytes(memory_of_training(*arm, model, pass, !recompute))}});

    const int64_t capacity = capacity_of(arm->answers, config, model.config);
    const int64_t slots = slots_of(config, model.config, *arm);
    // A cell evaluates in the process that trained: its other passes share the buffers of training and may have more rows.
    const int64_t prompts = static_cast<int64_t>(arm->answers.prompt.mean() * static_cast<double>(slots));
    const PassSize of_cell = {
        std::max({pass.rows, std::min(kOtherRows, prompts), std::min(kOtherRows, arm->meter_tokens),
                  std::min(kOtherRows, arm->ranked_tokens)}),
        std::max(pass.scored, std::min(kOtherRows, arm->ranked_tokens))};
    double ids = 0;
    for (const StageWork& work : arm->stages) {
        ids += static_cast<double>(work.once.tokens * static_cast<int64_t>(sizeof(int32_t)));
    }
    std::vector<MemoryPart> more =
        generation_memory(kernels, model.config, model.type, slots, capacity, EvalConfig().cache_type);
    more.push_back({"token ids of all rows", ids});
    more.push_back({format("buffers of %lld rows instead", static_cast<long long>(of_cell.rows)),
                    total_bytes(memory_of_training(*arm, model, of_cell, recompute)) - total_bytes(parts)});
    std::printf("Evaluation in the same process adds, %lld sequences of up to %lld tokens at a time\n",
                static_cast<long long>(slots), static_cast<long long>(capacity));
    print_parts(more);
    print_parts({{"training and evaluation", total_bytes(parts) + total_bytes(more)}});
}

// ---- prompts ---------------------------------------------------------------------------------------------------------------

// Its two ends, cut where a character of UTF-8 begins.
std::string shortened(const std::string& text, int64_t ends) {
    const int64_t size = std::ssize(text);
    if (size <= 2 * ends + 40) {
        return text;
    }
    const auto begins = [&](int64_t at) {
        while ((static_cast<unsigned char>(text[static_cast<size_t>(at)]) & 0xc0) == 0x80) {
            at--;
        }
        return static_cast<size_t>(at);
    };
    const size_t head = begins(ends), tail = begins(size - ends);
    return text.substr(0, head) + format(" [... %zu bytes ...] ", tail - head) + text.substr(tail);
}

void print_prompts(const std::vector<PlannedArm>& arms, bool whole) {
    std::set<std::string> told;
    for (const PlannedArm& planned : arms) {
        if (!told.insert(planned.arm.method).second) {
            continue;
        }
        for (const Example& example : planned.examples) {
            std::printf("\n---- %s, %s: prompt\n%s\n---- target\n%s\n", planned.arm.name.c_str(),
                        example.title.c_str(),
                        (whole ? example.prompt : shortened(example.prompt, kShownCharacters)).c_str(),
                        (whole ? example.target : shortened(example.target, kShownCharacters)).c_str());
        }
    }
}

} // namespace

// ---- the whole ---------------------------------------------------------------------------------------------------------------

void print_plan(Kernels& kernels, const ReproduceConfig& config, const PlanOptions& options) {
    const World world(config.data.seed);
    Splits splits = make_splits(config.data, world);
    print_schedule(config, splits);
    const std::vector<std::string> sets = add_sets(config, splits);
    const std::optional<PlannedModel> model = planned_model(config, options);
    if (!model.has_value()) {
        std::printf("\nThere is no base model in %s, and no --shape says its sizes: tokens, memory and time "
                    "are not estimated.\n",
                    config.base_folder.c_str());
        return;
    }
    std::printf("\nModel: %s, %lld parameters, %lld in the adapter.\n", model->source.c_str(),
                static_cast<long long>(parameters_of(model->config)),
                static_cast<long long>(adapter_parameters(model->config, config.arm.lora)));
    const Bpe bpe = planned_tokenizer(config, options);
    std::printf("Knowledge is shortened from its end, to the number of words that the compressor would "
                "leave: ranking needs the model.\n");
    const Retriever retriever(config.corpus.empty() ? knowledge_corpus(world, splits.at("train"))
                                                    : read_corpus(config.corpus));
    for (auto& [name, records] : splits) {
        retrieve(records, retriever);
    }
    std::vector<PlannedArm> arms, searched;
    for (const ArmConfig& arm : arms_of(config)) {
        arms.push_back(plan_arm(arm, asked_of(arm, sets), config, model->config, splits, world, bpe));
    }
    for (const ArmConfig& arm : config.search_lr.empty() ? std::vector<ArmConfig>{} : searched_arms(config.arm, arms_of(config))) {
        searched.push_back(plan_arm(arm, {"validation"}, config, model->config, splits, world, bpe));
    }
    const Machine machine = planned_machine(kernels, *model, arms, config, options);
    print_training(arms, model->config, machine);
    print_memory(kernels, arms, config, *model);
    print_evaluation(arms, config, *model, machine);
    print_total(arms, searched, config, *model, machine);
    print_prompts(arms, options.show_prompts);
}

} // namespace skintern
