// inspect.cpp — see inspect.h.
#include "commands/inspect.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "formats/lora_config.h"
#include "formats/model_file.h"
#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

constexpr size_t kWidestName = 64; // of a column; longer ones stand out

int64_t elements_of(const StoredTensor& tensor) {
    return *count_elements(tensor.shape, 1);
}

// ---- parts of the text ---------------------------------------------------------------------------------------------

std::string describe_tensors(const std::vector<StoredTensor>& tensors) {
    size_t width = 0;
    for (const StoredTensor& tensor : tensors) {
        width = std::max(width, std::min(kWidestName, shown(tensor.name).size()));
    }
    std::string out = "\ntensors\n";
    for (const StoredTensor& tensor : tensors) {
        out += format("  %-*s  %-5s  %-14s  %zu bytes\n", static_cast<int>(width), shown(tensor.name).c_str(),
                      weight_format(tensor.type).name, shape_text(tensor.shape).c_str(), tensor.bytes);
    }
    return out;
}

std::string describe_totals(const std::vector<StoredTensor>& tensors) {
    struct Total {
        size_t tensors = 0;
        int64_t elements = 0;
        size_t bytes = 0;
        void add(int64_t more_elements, size_t more_bytes) {
            ++tensors;
            elements += more_elements;
            bytes += more_bytes;
        }
    };
    Total by_type[kWeightTypes];
    Total all;
    for (const StoredTensor& tensor : tensors) {
        by_type[static_cast<size_t>(tensor.type)].add(elements_of(tensor), tensor.bytes);
        all.add(elements_of(tensor), tensor.bytes);
    }
    const auto line = [](const char* name, const Total& total) {
        return format("  %-5s  %zu tensors, %lld elements, %zu bytes\n", name, total.tensors,
                      static_cast<long long>(total.elements), total.bytes);
    };
    std::string out = "\ntotals\n";
    for (size_t i = 0; i < static_cast<size_t>(kWeightTypes); ++i) {
        if (by_type[i].tensors > 0) {
            out += line(kWeightFormats[i].name, by_type[i]);
        }
    }
    return out + line("all", all);
}

std::string describe_keys(const GgufFile& file) {
    size_t width = 0;
    for (const std::string& key : file.keys()) {
        width = std::max(width, std::min(kWidestName, shown(key).size()));
    }
    std::string out = "\nmetadata\n";
    for (const std::string& key : file.keys()) {
        out += format("  %-*s  %s\n", static_cast<int>(width), shown(key).c_str(),
                      file.shown_value(key).c_str());
    }
    return out;
}

std::string describe_model(const ModelFile& model) {
    const ModelConfig& c = model.config;
    int64_t parameters = 0;
    for (const StoredTensor& tensor : model.tensors) {
        parameters += elements_of(tensor);
    }
    const auto number = [](const char* name, int64_t value) {
        return format("  %-26s  %lld\n", name, static_cast<long long>(value));
    };
    const auto token = [&](const char* name, int32_t id) {
        return id >= 0 ? number(name, id) : format("  %-26s  none\n", name);
    };
    const std::string biases = std::string(c.qkv_bias ? " q k v" : "") + (c.o_bias ? " o" : "") +
                               (c.mlp_bias ? " gate up down" : "");
    std::string out = "\nmodel\n" + format("  %-26s  %s\n", "architecture", c.architecture.c_str());
    out += number("layers", c.layers) + number("hidden size", c.channels) + number("heads", c.heads);
    out += number("key/value heads", c.kv_heads) + number("head size", c.head_size);
    out += number("feed-forward size", c.ffn) + number("vocabulary", c.vocab) +
           number("positions", c.max_positions);
    out += format("  %-26s  %g\n", "norm eps", c.norm_eps);
    out += format("  %-26s  theta %g, %s", "rope", c.rope_theta, c.rope_scaling.type.c_str());
    out += c.rope_scaling.type == "default" ? "\n" : format(" by %g\n", c.rope_scaling.factor);
    out += format("  %-26s %s\n", "biases", biases.empty() ? " none" : biases.c_str());
    out += format("  %-26s  %s\n", "q and k norms", c.qk_norm ? "yes" : "no");
    out += format("  %-26s  %s\n", "output", c.tied ? "tied to the embedding" : "a matrix of its own");
    out += token("BOS", c.bos) + token("EOS", c.eos) + number("parameters", parameters);
    return out;
}

// `open` makes the ModelFile. That it cannot be made is a finding here and no failure, so the sentence is part of the text.
template <typename Open>
std::string describe_model_of(Open open) {
    try {
        return describe_model(open());
    } catch (const Error& error) {
        return std::string("\nmodel\n  none that is computed here: ") + error.what() + "\n";
    }
}

// ---- kinds of path -------------------------------------------------------------------------------------------------

std::string inspect_gguf(const std::string& path) {
    const GgufFile file = GgufFile::open(path);
    return format("%s: GGUF, %zu keys, %zu tensors\n", path.c_str(), file.keys().size(),
                  file.tensors().size()) +
           describe_keys(file) + describe_tensors(file.tensors()) + describe_totals(file.tensors()) +
           describe_model_of([&] { return gguf_model(file); });
}

std::string inspect_adapter(const std::string& folder) {
    const LoraConfig lora = read_lora_config(folder + "/adapter_config.json");
    const std::vector<StoredTensor> tensors = map_safetensors(folder + "/adapter_model.safetensors");
    std::string out = format("%s: LoRA adapter, %zu tensors\n\nsettings\n", folder.c_str(), tensors.size());
    out += format("  r               %lld\n  alpha           %g\n  target modules ",
                  static_cast<long long>(lora.r), lora.alpha);
    for (const std::string& name : lora.target_modules) {
        out += " " + name;
    }
    return out + "\n" + describe_tensors(tensors) + describe_totals(tensors);
}

std::string inspect_safetensors(const std::string& path) {
    const bool folder = std::filesystem::is_directory(path);
    const std::vector<StoredTensor> tensors = map_safetensors(path);
    const std::filesystem::path beside =
        folder ? std::filesystem::path(path) : std::filesystem::path(path).parent_path();
    std::string out = format("%s: %s, %zu tensors\n", path.c_str(),
                             folder ? "Hugging Face folder" : "safetensors", tensors.size());
    out += describe_tensors(tensors) + describe_totals(tensors);
    if (folder || file_exists((beside / "config.json").string())) {
        out += describe_model_of([&] { return open_model_file(path); });
    }
    return out;
}

} // namespace

std::string inspect(const std::string& path) {
    if (path.ends_with(".gguf")) {
        return inspect_gguf(path);
    }
    return file_exists(path + "/adapter_config.json") ? inspect_adapter(path) : inspect_safetensors(path);
}

} // namespace skintern
