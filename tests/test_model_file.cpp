// A model from a folder, a .safetensors file and a .gguf file: the same configuration, the same tensors.
#include "test.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "formats/model_file.h"
#include "formats/safetensors.h"
#include "model/transformer.h"
#include "small_model.h"
#include "test_support.h"

using namespace skintern;

// ---- the table of tensors ------------------------------------------------------------------------------------------

TEST_CASE("the table of a model's tensors is what the transformer has", "[model_file]") {
    const auto kernels = make_kernels({});
    for (const char* name : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
        for (const bool other : {false, true}) {
            ModelConfig config = small_config(name);
            config.tied = other;
            config.qkv_bias = config.qkv_bias || other;
            config.o_bias = config.mlp_bias = other;
            Transformer model(*kernels, config, Train::nothing, {});
            std::map<std::string, std::vector<int64_t>> shapes;
            for (const ModelTensor& tensor : model_tensors(config)) {
                shapes[tensor.name] = tensor.shape;
            }
            REQUIRE(shapes.size() == model_tensors(config).size());
            REQUIRE(shapes.size() == model.weights().tensors().size());
            for (const Tensor& tensor : model.weights().tensors()) {
                REQUIRE(shapes.at(tensor.name) == tensor.shape);
            }
        }
    }
}

// ---- safetensors ---------------------------------------------------------------------------------------------------

namespace {

HostTensors host_tensors(const ModelConfig& config) {
    HostTensors out;
    size_t i = 0;
    for (const ModelTensor& tensor : model_tensors(config)) {
        out[tensor.name] = {tensor.shape, numbers_of(i++, tensor)};
    }
    return out;
}

struct ModelFolder {
    explicit ModelFolder(const ModelConfig& model) : config(model), tensors(host_tensors(model)) { write(); }
    void write() const {
        write_model_config(folder / "config.json", config);
        write_safetensors(folder / "model.safetensors", tensors);
    }
    std::string error() const {
        write();
        return error_of([&] { open_model_file(folder.path()); });
    }
    TempFolder folder;
    ModelConfig config;
    HostTensors tensors;
};

} // namespace

TEST_CASE("a folder and a lone safetensors file give the same model", "[model_file]") {
    const ModelFolder model(small_config("Qwen2ForCausalLM"));
    for (const std::string& path : {model.folder.path(), model.folder / "model.safetensors"}) {
        const ModelFile file = open_model_file(path);
        require_same_config(file.config, model.config);
        REQUIRE(file.tensors.size() == model.tensors.size());
        for (const StoredTensor& tensor : file.tensors) {
            REQUIRE(to_floats(tensor) == model.tensors.at(tensor.name).data);
        }
    }
}

TEST_CASE("a lone safetensors file without a folder in its name finds its config.json", "[model_file]") {
    const ModelFolder model(small_config());
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(model.folder.path());
    const std::string error = error_of([] { open_model_file("model.safetensors"); });
    std::filesystem::current_path(before);
    REQUIRE(error == "");
}

TEST_CASE("tensors of a folder that are missing, unknown or misshapen are named", "[model_file]") {
    ModelFolder model(small_config());
    const HostTensors whole = model.tensors;
    for (const auto& [name, tensor] : whole) {
        model.tensors.erase(name);
        REQUIRE_THAT(model.error(),
                     StartsWith(model.folder / "model.safetensors: tensor " + name + " is missing"));
        model.tensors[name] = {{1, 1, 1}, {0}};
        REQUIRE_THAT(model.error(),
                     Contains("tensor " + name + " has shape [1,1,1], the configuration asks for ["));
        model.tensors = whole;
    }
    model.tensors["model.layers.2.mlp.up_proj.weight"] = {{1}, {0}};
    REQUIRE_THAT(model.error(),
                 Contains("tensor model.layers.2.mlp.up_proj.weight is not part of this model"));
    model.tensors = whole;
    model.config.layers = 1024;
    REQUIRE_THAT(model.error(), Contains("has 20 tensors, too few for a model of 1024 layers"));
}

TEST_CASE("what old folders store beside the parameters is passed over", "[model_file]") {
    ModelFolder model(small_config());
    model.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{2}, {1, 0.1f}};
    model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"];
    REQUIRE(model.error() == "");
    REQUIRE(open_model_file(model.folder.path()).tensors.size() == model_tensors(model.config).size());
    model.tensors["lm_head.weight"].data[5] += 1;
    REQUIRE_THAT(model.error(),
                 Contains("tensor lm_head.weight differs from model.embed_tokens.weight, but"));
}

TEST_CASE("a path that is no model is refused", "[model_file]") {
    const TempFolder folder;
    const auto error = [&](const std::string& name) {
        return error_of([&] { open_model_file(folder / name); });
    };
    REQUIRE_THAT(error("none"),
                 Contains("none: is no model: expected a folder") && Contains("nothing of this name"));
    REQUIRE_THAT(error("none.gguf"), Contains("none.gguf: cannot be opened: No such file"));
    REQUIRE_THAT(error("none.safetensors"), Contains("config.json: cannot be opened: No such file"));
    put_file(folder / "model.bin", "x");
    REQUIRE_THAT(error("model.bin"),
                 Contains("model.bin: is no model: expected a folder, a .safetensors or a .gguf"));
    REQUIRE_THAT(error_of([&] { open_model_file(folder.path()); }),
                 Contains("config.json: cannot be opened"));
    put_file(folder / "empty.gguf", "");
    REQUIRE_THAT(error("empty.gguf"), Contains("empty.gguf: is no GGUF file"));
}

// ---- the shared files ----------------------------------------------------------------------------------------------

TEST_CASE("the shared GGUF files hold the models of their folders", "[model_file]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    size_t compared = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(root)) {
        if (item.path().extension() != ".gguf") {
            continue;
        }
        INFO(item.path().string());
        const ModelFile gguf = open_model_file(item.path().string());
        const ModelFile folder = open_model_file(item.path().parent_path().parent_path().string() + "/model");
        require_same_config(gguf.config, folder.config);
        REQUIRE(gguf.tensors.size() == folder.tensors.size());
        for (size_t i = 0; i < gguf.tensors.size(); ++i) {
            const std::vector<float> a = to_floats(gguf.tensors[i]), b = to_floats(folder.tensors[i]);
            REQUIRE(gguf.tensors[i].name == folder.tensors[i].name);
            REQUIRE(a.size() == b.size());
            // Q8_0 rounds to 1/127 of the largest of a block; half of that is lost at most, and d is rounded to F16.
            float largest = 0, difference = 0;
            for (size_t j = 0; j < a.size(); ++j) {
                largest = std::max(largest, std::abs(b[j]));
                difference = std::max(difference, std::abs(a[j] - b[j]));
            }
            INFO(gguf.tensors[i].name);
            REQUIRE(difference <=
                    (gguf.tensors[i].type == WeightType::q8_0 ? largest * (0.5f / 127 + 0.001f) : 0));
            ++compared;
        }
    }
    REQUIRE(compared > 80);
}

TEST_CASE("every shared model folder opens, and every one of its tensors is finite", "[model_file]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    for (const char* name :
         {"llama-gqa", "llama-tied-headdim", "qwen2", "qwen3", "llama3-rope", "bf16-sharded"}) {
        INFO(name);
        for (const StoredTensor& tensor : open_model_file(root + "/" + name + "/model").tensors) {
            for (const float number : to_floats(tensor)) {
                REQUIRE(std::isfinite(number));
            }
        }
    }
}
