// What a dry run says before anything is done: memory against what a model allocates, work against a count by hand, the
// shapes of the published models against their published sizes.
#include "test.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "experiment/plan_work.h"
#include "kernels.h"
#include "measure/measure_step.h"
#include "model/adamw.h"
#include "model/footprint.h"
#include "model/generate.h"
#include "model/transformer.h"
#include "observed.h"
#include "test_support.h"

using namespace skintern;

namespace {

// Knows how many bytes are allocated.
class CountedKernels : public ObservedKernels {
public:
    explicit CountedKernels(Kernels& inner) : ObservedKernels(inner, [](const ObservedOp&) {}) {}
    void* alloc(size_t bytes) override {
        void* ptr = ObservedKernels::alloc(bytes);
        size_of_[ptr] = bytes;
        return ptr;
    }
    void free(void* ptr) override {
        size_of_.erase(ptr);
        ObservedKernels::free(ptr);
    }
    double bytes() const {
        double sum = 0;
        for (const auto& [ptr, bytes] : size_of_) {
            sum += static_cast<double>(bytes);
        }
        return sum;
    }
    // Whether one piece has this size.
    bool has(double bytes) const {
        return std::any_of(size_of_.begin(), size_of_.end(),
                           [&](const auto& piece) { return static_cast<double>(piece.second) == bytes; });
    }

private:
    std::map<void*, size_t> size_of_;
};

ModelConfig medium_model(bool qwen3) {
    ModelConfig c;
    c.architecture = qwen3 ? "Qwen3ForCausalLM" : "Qwen2ForCausalLM";
    c.layers = 5;
    c.channels = 48;
    c.heads = 6;
    c.kv_heads = 2;
    c.head_size = 16;
    c.ffn = 112;
    c.vocab = 300;
    c.max_positions = 512;
    c.qkv_bias = !qwen3;
    c.qk_norm = qwen3;
    return c;
}

Batch batch_of(int64_t sequences, int64_t length, int64_t prompt) {
    Batch batch;
    for (int64_t s = 0; s < sequences; s++) {
        Sample sample;
        sample.ids.assign(static_cast<size_t>(length), static_cast<int32_t>(s + 1));
        sample.prompt_tokens = prompt;
        add_sample(batch, sample);
    }
    return batch;
}

// Ids, positions and offsets of a batch, the table of positions, and what aligns tensors are not in the formulas.
constexpr double kTolerance = 0.005;

Row row_of(std::vector<std::pair<int64_t, int64_t>> prompt_and_length) {
    Row row;
    for (const auto& [prompt, length] : prompt_and_length) {
        Sample sample;
        sample.ids.assign(static_cast<size_t>(length), 7);
        sample.prompt_tokens = prompt;
        sample.task = std::ssize(row);
        row.push_back(sample);
    }
    return row;
}

} // namespace

TEST_CASE("the memory of training by formula is what a model allocates, with kept activations and without",
          "[plan]") {
    const auto inner = make_kernels({});
    LoraConfig lora;
    lora.r = 40;
    for (const bool qwen3 : {false, true}) {
        for (const bool recompute : {false, true}) {
            CountedKernels kernels(*inner);
            const ModelConfig config = medium_model(qwen3);
            Transformer model(kernels, config, Train::adapter, lora);
            model.recompute(recompute);
            Adamw adamw({}, model.adapter(), model.grads());
            const double before = weight_bytes(config, WeightType::f32);
            const Batch batch = batch_of(6, 90, 40);
            model.forward_backward(batch, 1);
            const PassSize pass = {batch.tokens(), std::ssize(batch.rows)};
            REQUIRE(pass.rows == 540);
            REQUIRE(pass.scored == 300);
            const double predicted = before + total_bytes(training_memory(config, lora, pass, recompute));
            INFO("predicted " << predicted << ", allocated " << kernels.bytes());
            REQUIRE(std::abs(predicted - kernels.bytes()) <= kTolerance * kernels.bytes());
        }
    }
}

TEST_CASE("each part of the memory that stays is what the model's tensors take", "[plan]") {
    const auto kernels = make_kernels({});
    LoraConfig lora;
    lora.r = 8;
    lora.target_modules = {"q_proj", "down_proj"};
    lora.rank_pattern = {{"down_proj", 3}};
    for (const bool qwen3 : {false, true}) {
        const ModelConfig config = medium_model(qwen3);
        Transformer model(*kernels, config, Train::adapter, lora);
        int64_t weights = 0, adapter = 0;
        for (const Tensor& t : model.weights().tensors()) {
            weights += t.numel;
        }
        for (const Tensor& t : model.adapter().tensors()) {
            adapter += t.numel;
        }
        REQUIRE(parameters_of(config) == weights);
        REQUIRE(adapter_parameters(config, lora) == adapter);
    }
    // 2 bytes a number of a matrix, 4 of a norm or a bias.
    ModelConfig config = medium_model(false);
    const int64_t vectors = 48 + 5 * (2 * 48 + 96 + 2 * 32);
    REQUIRE(weight_bytes(config, WeightType::bf16) ==
            static_cast<double>(2 * (parameters_of(config) - vectors) + 4 * vectors));
}

TEST_CASE("the cache and the packed weights by formula are pieces that generation allocates", "[plan]") {
    const auto inner = make_kernels({});
    CountedKernels kernels(*inner);
    ModelConfig config = medium_model(false);
    LoraConfig none;
    none.r = 0;
    Transformer model(kernels, config, Train::nothing, none);
    GenerateConfig generation;
    generation.max_new_tokens = 7;
    generation.batch_size = 3;
    generation.cache_type = WeightType::bf16;
    generate(model, {{1, 2, 3}, std::vector<int32_t>(20, 4), {5}, {6, 7}}, generation);
    const std::vector<MemoryPart> parts =
        generation_memory(kernels, config, WeightType::f32, 3, 27, WeightType::bf16);
    REQUIRE(parts[0].bytes == 2 * 5 * 3 * 27 * (2 * 16) * 2);
    for (const MemoryPart& part : parts) {
        INFO(part.name);
        REQUIRE((part.bytes == 0 || kernels.has(part.bytes)));
    }
    // Of a model that is too large for it nothing is packed.
    config.layers = 1000;
    config.ffn = config.channels = 100000;
    REQUIRE(generation_memory(kernels, config, WeightType::f32, 1, 1, WeightType::f32)[1].bytes == 0);
}

TEST_CASE("the shapes of published models have their published numbers of parameters", "[plan]") {
    // As the models' pages on Hugging Face count the tensors of model.safetensors.
    const std::pair<const char*, int64_t> published[] = {
        {"tinyllama-1.1b", 1100048384}, {"qwen2-0.5b", 494032768},  {"qwen2-1.5b", 1543714304},
        {"qwen2-7b", 7615616512},       {"llama-2-7b", 6738415616}, {"llama-3-8b", 8030261248}};
    for (const auto& [name, parameters] : published) {
        INFO(name);
        REQUIRE(parameters_of(read_model_config("data/models/" + std::string(name) + ".json")) == parameters);
    }
    // Rank 32 on seven layers of 22 blocks: 32 * ((2 * (2048 + 2048) + 2 * (2048 + 256) + 3 * (2048 + 5632)).
    LoraConfig lora;
    lora.r = 32;
    REQUIRE(adapter_parameters(read_model_config("data/models/tinyllama-1.1b.json"), lora) ==
            22 * 32 * 35840);
}

TEST_CASE("the work of a stage is that of the rows it draws, in micro-batches as training makes them",
          "[plan]") {
    StageRows rows;
    rows.rows = {row_of({{2, 4}}), row_of({{2, 6}}), row_of({{5, 10}})};
    rows.left_out = 1;
    TrainConfig train;
    train.batch_size = 3;
    train.micro_tokens = 10;
    const StageWork work = work_of_stage({1, 0, 0}, rows, 5, train, 3);
    REQUIRE(work.prompt.mean() == 3);
    REQUIRE(work.prompt.largest == 5);
    REQUIRE(work.target.largest == 5);
    REQUIRE(work.once.tokens == 20);
    REQUIRE(work.once.squares == 16 + 36 + 100);
    REQUIRE(work.once.labelled == 2 + 4 + 5);
    REQUIRE(work.passes == 5); // three rows an update
    REQUIRE(work.tokens() == 100);
    REQUIRE(work.rows.left_out == 1);
    REQUIRE(work.largest.rows == 10);
    REQUIRE((work.largest.scored == 5 || work.largest.scored == 6)); // the last alone, or the others together

    train.micro_tokens = 100;
    REQUIRE(work_of_stage({1, 0, 0}, rows, 5, train, 3).largest.rows == 20);
    REQUIRE(work_of_stage({1, 0, 0}, rows, 5, train, 3).largest.scored == 11);
}

TEST_CASE("the two questions of a row are counted apart and packed apart", "[plan]") {
    StageRows rows;
    rows.rows = {row_of({{2, 7}, {3, 4}}), row_of({{2, 9}, {3, 5}})};
    TrainConfig train;
    train.batch_size = 2;
    const StageWork work = work_of_stage({1, 0, 0}, rows, 1, train, 1);
    REQUIRE(work.target.mean() == 6);
    REQUIRE(work.second.mean() == 1.5);
    REQUIRE(work.once.tokens == 25);
    REQUIRE(work.largest.rows == 16);
}

TEST_CASE("the tokens that are planned for an arm are those that its training draws", "[plan]") {
    const World world(1);
    DataConfig data;
    data.tasks = {"navigate", "world_facts", "web_of_lies"};
    data.train = 12;
    const std::vector<Record> records = make_splits(data, world).at("train");
    const Bpe bpe = Bpe::load("data/base");
    PromptSettings settings;
    settings.templates = read_templates("data/templates/default.json");
    ArmConfig arm;
    arm.epochs = 4;
    arm.train.batch_size = 4;
    for (const char* name : {"std-cot", "skintern", "cascod"}) {
        arm.method = name;
        const Method& method = method_by_name(name);
        const std::vector<StageWork> stages = work_of_arm(arm, records, bpe, settings);
        REQUIRE(std::ssize(stages) == (method.curriculum() ? 4 : 1));
        const StageWork& last = stages.back();
        // Without knowledge and examples left the rows do not depend on a ranking.
        const StageRows rows = make_stage_rows(method, last.stage, records,
                                               std::vector<RankedText>(records.size()), bpe, settings);
        double tokens = 0, drawn = 0;
        for (const Row& row : rows.rows) {
            for (const Sample& sample : row) {
                tokens += static_cast<double>(sample.ids.size());
            }
        }
        for (const StageWork& work : stages) {
            drawn += static_cast<double>(work.updates * arm.train.batch_size);
        }
        INFO(name);
        REQUIRE(last.tokens() == Approx(tokens * 4 / static_cast<double>(stages.size())));
        REQUIRE(drawn == 4.0 * static_cast<double>(records.size()));
    }
}

TEST_CASE(
    "a machine is measured on the widths of a model whose special tokens lie beyond the small vocabulary",
    "[plan]") {
    const auto kernels = make_kernels({});
    ModelConfig config = medium_model(false);
    config.vocab = 5000;
    config.bos = config.eos = 4999;
    LoraConfig lora;
    lora.r = 4;
    const Machine machine = measure_machine(*kernels, config, lora, {40, 40 * 40, 10}, 0);
    REQUIRE(machine.flops > 1e6);
    REQUIRE(machine.bandwidth > 1e6);
}

TEST_CASE("answers cost what their questions cost alone", "[plan]") {
    const ModelConfig config = medium_model(false);
    EvalWork work;
    work.add(config, 30, 10);
    work.add(config, 50, 20);
    REQUIRE(work.prompt.mean() == 40);
    REQUIRE(work.answer.sum == 30);
    const auto cost = [&](int64_t prompt, int64_t answer) {
        return static_cast<double>(question_flops(config, prompt, answer).total());
    };
    REQUIRE(work.flops == cost(30, 10) + cost(50, 20));
    REQUIRE(work.decode_flops == work.flops - cost(30, 1) - cost(50, 1));
}

TEST_CASE("the project's tokenizer has more tokens for a text than those of real models, by less than half",
          "[plan]") {
    // What a dry run without the model's own tokenizer is off by.
    const Bpe own = Bpe::load("data/base");
    DataConfig data;
    data.train = 4;
    const std::map<std::string, std::vector<Record>> splits = make_splits(data, World(1));
    std::string text;
    for (const Record& record : splits.at("train")) {
        text += record.summary + "\n" + record.instruction + "\n" + record.response + "\n";
    }
    const double ours = static_cast<double>(own.encode(text).size());
    for (const char* name : {"llama-spm", "llama-bpe", "qwen2"}) {
        const std::string path = shared_or_skip("tokenizers/ggml-vocab-" + std::string(name) + ".gguf");
        if (!path.empty()) {
            const double theirs = static_cast<double>(Bpe::load(path).encode(text).size());
            INFO(name << ": " << theirs << " tokens, ours " << ours);
            REQUIRE(ours / theirs > 1);
            REQUIRE(ours / theirs < 1.5);
        }
    }
}
