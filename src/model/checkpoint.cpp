// checkpoint.cpp — see checkpoint.h.
#include "model/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "formats/fingerprint.h"
#include "model/flops.h"
#include "model/transformer_parts.h"
#include "model/weights.h"
#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

// Tensors of the state file are named by what they are and the parameter they belong to: "adamw_m/<name>".
constexpr const char* kParam = "param/";
constexpr const char* kFirst = "adamw_m/";
constexpr const char* kSecond = "adamw_v/";
constexpr const char* kPosition = "position";

void add_prefixed(HostTensors& out, const std::string& prefix, const Arena& arena) {
    for (auto& [name, tensor] : download_tensors(arena)) {
        out[prefix + name] = std::move(tensor);
    }
}

HostTensors take_prefixed(const HostTensors& all, const std::string& prefix) {
    HostTensors out;
    for (const auto& [name, tensor] : all) {
        if (name.starts_with(prefix)) {
            out[name.substr(prefix.size())] = tensor;
        }
    }
    return out;
}

// A count as three base-2^20 digits: float32 holds each exactly.
void push_count(std::vector<float>& out, int64_t n) {
    out.push_back(static_cast<float>(n >> 40));
    out.push_back(static_cast<float>((n >> 20) & 0xfffff));
    out.push_back(static_cast<float>(n & 0xfffff));
}

int64_t read_count(const std::vector<float>& digits, size_t i) {
    return (static_cast<int64_t>(digits[3 * i]) << 40) + (static_cast<int64_t>(digits[3 * i + 1]) << 20) +
           static_cast<int64_t>(digits[3 * i + 2]);
}

// ---- which model a file belongs to -------------------------------------------------------------------------------

using Metadata = std::map<std::string, std::string>;

constexpr const char* kBaseVectors = "skintern_base_vectors";
constexpr const char* kBaseMatrices = "skintern_base_matrices";
constexpr const char* kAdapterSettings = "skintern_adapter";

// What is put into the metadata of an adapter and of a state. A model that does not come from a file has no mark.
Metadata base_mark(const Transformer& model) {
    const Fingerprint base = fingerprint(model.stored());
    Metadata mark = {{"format", "pt"}};
    if (!base.vectors.empty()) {
        mark[kBaseVectors] = base.vectors;
    }
    if (!base.matrices.empty()) {
        mark[kBaseMatrices] = base.matrices;
    }
    return mark;
}

// A file without a mark, as PEFT writes it, passes.
void check_base_mark(const Metadata& metadata, const Transformer& model, const std::string& path) {
    const auto value = [&metadata](const char* key) {
        const auto it = metadata.find(key);
        return it == metadata.end() ? std::string() : it->second;
    };
    CHECK(may_be_equal({value(kBaseVectors), value(kBaseMatrices)}, fingerprint(model.stored())),
          "%s: was trained on another base model (the weights' fingerprint in its metadata differs)", path.c_str());
}

// What decides about an adapter's result beside its numbers.
std::string settings_text(const LoraConfig& lora) {
    std::string text = format("r %lld, alpha %g%s", static_cast<long long>(lora.r), lora.alpha,
                              lora.use_rslora ? ", rslora" : "");
    for (const auto& [name, rank] : lora.rank_pattern) {
        text += format(", r of %s %lld", name.c_str(), static_cast<long long>(rank));
    }
    for (const auto& [name, alpha] : lora.alpha_pattern) {
        text += format(", alpha of %s %g", name.c_str(), alpha);
    }
    return text; // where it sits is told by the names of its tensors
}

} // namespace

// ---- the state of a run ------------------------------------------------------------------------------------------

void save_state(const std::string& path, Transformer& model, Adamw& adamw, const TrainPosition& position) {
    HostTensors tensors;
    add_prefixed(tensors, kParam, model.trained());
    add_prefixed(tensors, kFirst, adamw.m());
    add_prefixed(tensors, kSecond, adamw.v());
    std::vector<float> digits;
    for (const int64_t n : {position.stage, position.update, position.step, position.tokens, adamw.step()}) {
        push_count(digits, n);
    }
    tensors[kPosition] = {{5, 3}, digits};
    Metadata metadata = base_mark(model);
    if (model.lora().r > 0) {
        metadata[kAdapterSettings] = settings_text(model.lora());
    }
    write_safetensors(path, tensors, "F32", metadata);
}

TrainPosition load_state(const std::string& path, Transformer& model, Adamw& adamw) {
    const HostTensors tensors = read_safetensors(path);
    const auto it = tensors.find(kPosition);
    CHECK(it != tensors.end(), "%s: not a training state (tensor %s is missing)", path.c_str(), kPosition);
    CHECK(it->second.shape == (std::vector<int64_t>{5, 3}),
          "%s: tensor %s has shape %s, this version of the program writes [5,3]: the state is of another version",
          path.c_str(), kPosition, shape_text(it->second.shape).c_str());
    const Metadata metadata = read_metadata(path);
    check_base_mark(metadata, model, path);
    const auto settings = metadata.find(kAdapterSettings);
    CHECK(settings == metadata.end() || settings->second == settings_text(model.lora()),
          "%s: holds an adapter with %s, this run's has %s", path.c_str(), settings->second.c_str(),
          settings_text(model.lora()).c_str());
    const std::vector<float>& digits = it->second.data;
    for (const float d : digits) {
        CHECK(d >= 0 && d < 1048576 && d == std::floor(d), "%s: tensor %s holds %g, which is no count", path.c_str(), kPosition, d);
    }
    CHECK(read_count(digits, 0) >= 1, "%s: tensor %s says stage 0", path.c_str(), kPosition);
    const HostTensors second = take_prefixed(tensors, kSecond);
    for (const auto& [name, tensor] : second) { // a mean of squares, whose root is taken
        CHECK(std::all_of(tensor.data.begin(), tensor.data.end(), [](float v) { return v >= 0; }),
              "%s: tensor %s%s holds a number below 0", path.c_str(), kSecond, name.c_str());
    }
    upload_tensors(model.trained(), take_prefixed(tensors, kParam), path);
    upload_tensors(adamw.m(), take_prefixed(tensors, kFirst), path);
    upload_tensors(adamw.v(), second, path);
    adamw.set_step(read_count(digits, 4));
    return {read_count(digits, 0), read_count(digits, 1), read_count(digits, 2), read_count(digits, 3)};
}

// ---- adapters and models -----------------------------------------------------------------------------------------

void save_adapter(const std::string& folder, Transformer& model, const LoraConfig& lora, const std::string& base) {
    make_folder(folder);
    write_lora_config(folder + "/adapter_config.json", lora, base);
    write_safetensors(folder + "/adapter_model.safetensors", download_tensors(model.adapter()), "F32",
                      base_mark(model));
}

LoraConfig open_adapter(const std::string& folder, const ModelConfig& model) {
    const LoraConfig config = read_lora_config(folder + "/adapter_config.json");
    check_fits(config, model, folder + "/adapter_config.json");
    const std::string path = folder + "/adapter_model.safetensors";
    int64_t largest = 0;
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const StoredTensor& tensor : map_safetensors(path)) {
        shapes[tensor.name] = tensor.shape;
        const std::string suffix = ".lora_A.weight";
        if (tensor.name.ends_with(suffix) && tensor.shape.size() == 2) {
            const int64_t r = config.rank_of(tensor.name.substr(0, tensor.name.size() - suffix.size()));
            CHECK(tensor.shape[0] == r, "%s: tensor %s has shape %s, but adapter_config.json says r %lld", path.c_str(),
                  shown(tensor.name).c_str(), shape_text(tensor.shape).c_str(), static_cast<long long>(r));
            largest = std::max(largest, r);
        }
    }
    CHECK(config.largest_rank() <= largest, "%s: holds no lora_A of rank %lld, which adapter_config.json asks for",
          path.c_str(), static_cast<long long>(config.largest_rank()));
    const auto check_shape = [&](const std::string& name, const std::vector<int64_t>& shape) {
        CHECK(shapes.contains(name), "%s: tensor %s is missing", path.c_str(), name.c_str());
        CHECK(shapes.at(name) == shape, "%s: tensor %s has shape %s, in an adapter of this model it has %s", path.c_str(), name.c_str(),
              shape_text(shapes.at(name)).c_str(), shape_text(shape).c_str());
    };
    for (int64_t l = 0; l < model.layers; l++) {
        for (const LinearShape& layer : linear_shapes(model)) {
            const std::string name = layer_name(l, layer.module);
            if (config.applies_to(name, l)) {
                check_shape("base_model.model." + name + ".lora_A.weight", {config.rank_of(name), layer.in});
                check_shape("base_model.model." + name + ".lora_B.weight", {layer.out, config.rank_of(name)});
            }
        }
    }
    return config;
}

void load_adapter(const std::string& folder, Transformer& model) {
    const std::string path = folder + "/adapter_model.safetensors";
    check_base_mark(read_metadata(path), model, path);
    upload_tensors(model.adapter(), read_safetensors(path), path);
}

void write_model(const std::string& folder, const ModelConfig& config, const HostTensors& weights,
                 const std::string& dtype, const Metadata& more) {
    make_folder(folder);
    Metadata metadata = more;
    metadata["format"] = "pt"; // transformers reads no file without it
    const char* torch_dtype = dtype == "F32" ? "float32" : dtype == "BF16" ? "bfloat16" : "float16";
    write_model_config(folder + "/config.json", config, torch_dtype);
    write_safetensors(folder + "/model.safetensors", weights, dtype, metadata);
}

void save_model(const std::string& folder, Transformer& model, const std::string& dtype) {
    write_model(folder, model.config(), download_tensors(model.weights()), dtype);
}

std::unique_ptr<Transformer> load_model(Kernels& kernels, const std::string& folder, Train train,
                                        const LoraConfig& lora) {
    const ModelFile file = open_model_file(folder);
    auto model = std::make_unique<Transformer>(kernels, file.config, train, lora, &file);
    return model;
}

} // namespace skintern
