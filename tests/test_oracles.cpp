// Tiny models of Hugging Face transformers and PEFT: logits, loss, gradients, ten LoRA-AdamW steps, greedy output.
//
// They come as files in ../shared/oracles (SKINTERN_SHARED names another folder); without them these tests skip by name.
// The tolerances are those of the files' README: rounding in float32, measured there against float64.
#include "test.h"

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "formats/npy.h"
#include "method/batch.h"
#include "model/adamw.h"
#include "model/checkpoint.h"
#include "model/flops.h"
#include "model/generate.h"
#include "model/weights.h"
#include "support/files.h"

using namespace skintern;

namespace {

const char* const kCases[] = {"llama-gqa", "llama-tied-headdim", "llama3-rope", "qwen2", "qwen3"};

std::string oracle_folder() {
    const char* shared = std::getenv("SKINTERN_SHARED");
    return std::string(shared != nullptr ? shared : "../shared") + "/oracles/";
}

// The folders that are there; says which are not.
std::vector<std::string> cases() {
    std::vector<std::string> found;
    for (const char* name : kCases) {
        if (file_exists(oracle_folder() + name + "/logits.npy")) {
            found.push_back(oracle_folder() + name + "/");
        } else {
            std::cout << "skipped: oracle " << name << " is not in " << oracle_folder() << "\n";
        }
    }
    return found;
}

// SKINTERN_TEST_DEVICE=cuda tests that one alone: a GPU, or in build/cuda_host/unit the same kernels run on the CPU.
std::vector<std::string> devices() {
    const char* device = std::getenv("SKINTERN_TEST_DEVICE");
    return device != nullptr ? std::vector<std::string>{device} : std::vector<std::string>{"reference", "cpu"};
}

std::unique_ptr<Kernels> open(const std::string& device) {
    KernelOptions options;
    options.device = device;
    return make_kernels(options);
}

std::unique_ptr<Transformer> load(Kernels& kernels, const std::string& folder, Train train, bool adapter) {
    LoraConfig lora;
    lora.r = 0;
    if (adapter) {
        lora = read_lora_config(folder + "adapter_init/adapter_config.json");
    }
    auto model = load_model(kernels, folder + "model", train, lora);
    if (adapter) {
        load_adapter(folder + "adapter_init", *model);
    }
    return model;
}

std::vector<int32_t> to_ids(const HostTensor& tensor, int64_t row) {
    const int64_t T = tensor.shape[1];
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < T; t++) {
        ids.push_back(static_cast<int32_t>(tensor.data[static_cast<size_t>(row * T + t)]));
    }
    return ids;
}

// ids with -100 where there is no label: logits at t are scored against label t + 1.
void add_labelled(Batch& batch, const std::vector<int32_t>& ids, const std::vector<int32_t>& labels) {
    for (size_t t = 0; t + 1 < ids.size(); t++) {
        if (labels[t + 1] != -100) {
            batch.rows.push_back(static_cast<int32_t>(batch.tokens() + static_cast<int64_t>(t)));
            batch.targets.push_back(labels[t + 1]);
        }
    }
    batch.add_sequence(ids);
}

Batch oracle_batch(const std::string& folder) {
    const HostTensor ids = read_npy(folder + "input_ids.npy"), labels = read_npy(folder + "labels.npy");
    Batch batch;
    for (int64_t b = 0; b < ids.shape[0]; b++) {
        add_labelled(batch, to_ids(ids, b), to_ids(labels, b));
    }
    return batch;
}

Batch all_rows(Batch batch) {
    batch.rows.clear();
    batch.targets.clear();
    for (int32_t n = 0; n < batch.tokens(); n++) {
        batch.rows.push_back(n);
    }
    return batch;
}

void require_close_logits(const std::vector<real>& got, const HostTensor& expected) {
    REQUIRE(got.size() == expected.data.size());
    double largest = 0, difference = 0;
    for (size_t i = 0; i < got.size(); i++) {
        largest = std::fmax(largest, std::fabs(static_cast<double>(expected.data[i])));
        const double d = std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected.data[i]));
        REQUIRE(d == d);
        difference = std::fmax(difference, d);
    }
    REQUIRE(difference <= 2e-4 * largest);
}

double relative_distance(const std::vector<float>& got, const std::vector<float>& expected) {
    REQUIRE(got.size() == expected.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < got.size(); i++) {
        difference += std::pow(static_cast<double>(got[i]) - static_cast<double>(expected[i]), 2);
        size += std::pow(static_cast<double>(expected[i]), 2);
    }
    return std::sqrt(difference / size);
}

void require_close_tensors(const HostTensors& got, const HostTensors& expected, double limit) {
    for (const auto& [name, tensor] : expected) {
        INFO(name);
        REQUIRE(got.count(name) == 1);
        REQUIRE(relative_distance(got.at(name).data, tensor.data) <= limit);
    }
}

double mean_loss(Transformer& model, const Batch& batch) {
    double total = 0;
    for (const real loss : model.losses(batch)) {
        total += static_cast<double>(loss);
    }
    return total / static_cast<double>(batch.rows.size());
}

} // namespace

TEST_CASE("logits and loss equal those of transformers, with and without an adapter", "[oracle]") {
    for (const std::string& folder : cases()) {
        for (const std::string& device : devices()) {
            INFO(folder << " on " << device);
            const auto kernels = open(device);
            const Batch batch = oracle_batch(folder);
            const auto base = load(*kernels, folder, Train::nothing, false);
            require_close_logits(base->logits(all_rows(batch)), read_npy(folder + "logits.npy"));
            REQUIRE(mean_loss(*base, batch) ==
                    Approx(static_cast<double>(read_npy(folder + "loss.npy").data[0])).epsilon(1e-5));
            const auto adapted = load(*kernels, folder, Train::nothing, true);
            require_close_logits(adapted->logits(all_rows(batch)), read_npy(folder + "adapter_logits.npy"));
            REQUIRE(mean_loss(*adapted, batch) ==
                    Approx(static_cast<double>(read_npy(folder + "adapter_loss.npy").data[0])).epsilon(1e-5));
            adapted->use_adapter(false);
            require_close_logits(adapted->logits(all_rows(batch)), read_npy(folder + "logits.npy"));
        }
    }
}

TEST_CASE("logits from a GGUF file are those of its weights, computed as they lie", "[oracle]") {
    const std::pair<const char*, const char*> files[] = {{"gguf/model-f32.gguf", "logits.npy"},
                                                         {"gguf/model-q8_0.gguf", "gguf/q8_0_logits.npy"}};
    LoraConfig no_adapter;
    no_adapter.r = 0;
    for (const std::string& folder : cases()) {
        for (const auto& [file, logits] : files) {
            if (!file_exists(folder + file)) {
                continue; // not every case has both
            }
            for (const std::string& device : devices()) {
                INFO(folder << file << " on " << device);
                const auto kernels = open(device);
                const auto model = load_model(*kernels, folder + file, Train::nothing, no_adapter);
                require_close_logits(model->logits(all_rows(oracle_batch(folder))), read_npy(folder + logits));
            }
        }
    }
}

TEST_CASE("gradients of all parameters and of an adapter equal those of PyTorch", "[oracle]") {
    for (const std::string& folder : cases()) {
        for (const std::string& device : devices()) {
            INFO(folder << " on " << device);
            const auto kernels = open(device);
            const Batch batch = oracle_batch(folder);
            const double scale = 1.0 / static_cast<double>(batch.rows.size());
            for (const bool adapter : {false, true}) {
                const auto model = load(*kernels, folder, adapter ? Train::adapter : Train::everything, adapter);
                model->grads().zero();
                model->forward_backward(batch, scale);
                require_close_tensors(
                    download_tensors(model->grads()),
                    read_safetensors(folder + (adapter ? "adapter_grads.safetensors" : "grads.safetensors")), 1e-4);
            }
        }
    }
}

namespace {

struct Steps {
    std::vector<double> losses, norms, rates;
};

Steps ten_steps(Transformer& model, const std::string& folder, const Batch& batch) {
    const nlohmann::json json = nlohmann::json::parse(read_file(folder + "train/config.json"));
    AdamwConfig config;
    config.lr = json["lr"];
    config.warmup_ratio = json["warmup_ratio"];
    config.weight_decay = json["weight_decay"];
    config.max_grad_norm = json["max_grad_norm"];
    Adamw adamw(config, model.adapter(), model.grads());
    Steps steps;
    for (int64_t k = 0; k < 10; k++) {
        const double targets = static_cast<double>(batch.rows.size());
        model.grads().zero();
        steps.losses.push_back(model.forward_backward(batch, 1.0 / targets) / targets);
        steps.rates.push_back(learning_rate(config, k, 10));
        steps.norms.push_back(adamw.update(steps.rates.back()));
    }
    return steps;
}

template <class Expected>
void require_steps(const Steps& got, const Expected& losses, const Expected& norms, const Expected& rates) {
    for (size_t k = 0; k < 10; k++) {
        INFO("step " << k + 1);
        REQUIRE(got.losses[k] == Approx(static_cast<double>(losses[k])).epsilon(1e-3));
        REQUIRE(got.norms[k] == Approx(static_cast<double>(norms[k])).epsilon(2e-3));
        REQUIRE(got.rates[k] == Approx(static_cast<double>(rates[k])).epsilon(1e-6).margin(1e-12));
    }
}

} // namespace

TEST_CASE("ten LoRA-AdamW steps equal those of PEFT", "[oracle]") {
    for (const std::string& folder : cases()) {
        for (const std::string& device : devices()) {
            INFO(folder << " on " << device);
            const auto kernels = open(device);
            const auto model = load(*kernels, folder, Train::adapter, true);
            const Steps steps = ten_steps(*model, folder, oracle_batch(folder));
            require_steps(steps, read_npy(folder + "train/losses.npy").data,
                          read_npy(folder + "train/grad_norms.npy").data, read_npy(folder + "train/lrs.npy").data);
            require_close_tensors(download_tensors(model->adapter()),
                                  read_safetensors(folder + "train/adapter_model.safetensors"), 1e-2);
        }
    }
}

TEST_CASE("sequences of different lengths, packed, equal the padded batch of PyTorch", "[oracle]") {
    for (const std::string& folder : cases()) {
        const nlohmann::json ragged = nlohmann::json::parse(read_file(folder + "ragged.json"));
        for (const std::string& device : devices()) {
            INFO(folder << " on " << device);
            const auto kernels = open(device);
            Batch batch;
            for (const auto& sequence : ragged["sequences"]) {
                add_labelled(batch, sequence["ids"], sequence["labels"]);
            }
            const auto base = load(*kernels, folder, Train::nothing, false);
            REQUIRE(mean_loss(*base, batch) == Approx(ragged["loss"].get<double>()).epsilon(1e-5));
            size_t i = 0;
            for (const auto& sequence : ragged["sequences"]) {
                Batch alone;
                alone.add_sequence(sequence["ids"]);
                require_close_logits(base->logits(all_rows(alone)),
                                     read_npy(folder + "ragged_logits_" + std::to_string(i++) + ".npy"));
            }
            const auto model = load(*kernels, folder, Train::adapter, true);
            REQUIRE(mean_loss(*model, batch) == Approx(ragged["adapter_loss"].get<double>()).epsilon(1e-5));
            const nlohmann::json& train = ragged["train"];
            const Steps steps = ten_steps(*model, folder, batch);
            require_steps(steps, train["losses"].get<std::vector<double>>(), train["grad_norms"].get<std::vector<double>>(),
                          train["lrs"].get<std::vector<double>>());
        }
    }
}

TEST_CASE("greedy output equals that of transformers, token for token", "[oracle]") {
    for (const std::string& folder : cases()) {
        for (const std::string& device : devices()) {
            INFO(folder << " on " << device);
            const nlohmann::json greedy = nlohmann::json::parse(read_file(folder + "greedy.json"));
            const auto kernels = open(device);
            for (const bool adapter : {false, true}) {
                const auto model = load(*kernels, folder, Train::nothing, adapter);
                GenerateConfig config;
                config.max_new_tokens = 24;
                const auto out = generate(*model, {greedy["prompt"].get<std::vector<int32_t>>()}, config);
                const nlohmann::json& expected = greedy[adapter ? "adapter" : "base"]["ids"];
                REQUIRE(out[0].ids == expected.get<std::vector<int32_t>>());
            }
        }
    }
}

TEST_CASE("FLOPs equal those that PyTorch counts", "[oracle]") {
    for (const std::string& folder : cases()) {
        INFO(folder);
        const nlohmann::json flops = nlohmann::json::parse(read_file(folder + "flops.json"));
        const ModelConfig config = read_model_config(folder + "model/config.json");
        for (const auto& [tokens, expected] : flops["prompt_tokens"].items()) {
            const Flops got = question_flops(config, std::stoll(tokens), 0);
            REQUIRE(got.total() == expected["flops"].get<int64_t>());
            REQUIRE(got.linear + got.output == expected["linear"].get<int64_t>());
            REQUIRE(got.output == expected["lm_head"].get<int64_t>());
        }
    }
}
