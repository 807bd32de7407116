// model_file.cpp — see model_file.h.
//
//   path                                config from            tensors from
//   folder                              config.json in it      model.safetensors, or the shards of the index
//   x.safetensors                       config.json beside it  the file
//   x.gguf                              its metadata           the file (gguf_model.cpp)
//
// The configuration says which tensors there have to be; a file with one more or one less is refused, but for two that
// change nothing: the frequencies of rope (`inv_freq`) that old files store, and an output matrix equal to the embedding
// it is tied to.
#include "formats/model_file.h"

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

// ---- what a model has ----------------------------------------------------------------------------------------------

namespace {

// Adds the tensors of one linear layer.
void add_linear(std::vector<ModelTensor>& out, const std::string& name, const std::string& gguf_name,
                int64_t rows, int64_t columns, bool bias) {
    out.push_back({name + ".weight", gguf_name + ".weight", {rows, columns}});
    if (bias) {
        out.push_back({name + ".bias", gguf_name + ".bias", {rows}});
    }
}

} // namespace

std::vector<ModelTensor> model_tensors(const ModelConfig& config) {
    const int64_t C = config.channels, F = config.ffn, V = config.vocab;
    const int64_t QC = config.heads * config.head_size, KC = config.kv_heads * config.head_size;
    std::vector<ModelTensor> out;
    out.push_back({"model.embed_tokens.weight", "token_embd.weight", {V, C}});
    for (int64_t l = 0; l < config.layers; ++l) {
        const std::string layer = "model.layers." + std::to_string(l) + ".";
        const std::string block = "blk." + std::to_string(l) + ".";
        out.push_back({layer + "input_layernorm.weight", block + "attn_norm.weight", {C}});
        add_linear(out, layer + "self_attn.q_proj", block + "attn_q", QC, C, config.qkv_bias);
        add_linear(out, layer + "self_attn.k_proj", block + "attn_k", KC, C, config.qkv_bias);
        add_linear(out, layer + "self_attn.v_proj", block + "attn_v", KC, C, config.qkv_bias);
        add_linear(out, layer + "self_attn.o_proj", block + "attn_output", C, QC, config.o_bias);
        if (config.qk_norm) {
            out.push_back(
                {layer + "self_attn.q_norm.weight", block + "attn_q_norm.weight", {config.head_size}});
            out.push_back(
                {layer + "self_attn.k_norm.weight", block + "attn_k_norm.weight", {config.head_size}});
        }
        out.push_back({layer + "post_attention_layernorm.weight", block + "ffn_norm.weight", {C}});
        add_linear(out, layer + "mlp.gate_proj", block + "ffn_gate", F, C, config.mlp_bias);
        add_linear(out, layer + "mlp.up_proj", block + "ffn_up", F, C, config.mlp_bias);
        add_linear(out, layer + "mlp.down_proj", block + "ffn_down", C, F, config.mlp_bias);
    }
    out.push_back({"model.norm.weight", "output_norm.weight", {C}});
    if (!config.tied) {
        out.push_back({"lm_head.weight", "output.weight", {V, C}});
    }
    return out;
}

void check_layers(const ModelConfig& config, size_t tensors, const std::string& where) {
    CHECK(static_cast<uint64_t>(config.layers) <= tensors,
          "%s: has %zu tensors, too few for a model of %lld layers", where.c_str(), tensors,
          static_cast<long long>(config.layers));
}

// ---- what a file has -----------------------------------------------------------------------------------------------

int64_t count_parameters(const ModelConfig& config) {
    int64_t sum = 0;
    for (const ModelTensor& tensor : model_tensors(config)) {
        sum += std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
    }
    return sum;
}

std::vector<StoredTensor> match_tensors(std::vector<StoredTensor> found,
                                        const std::vector<ModelTensor>& expected,
                                        std::string ModelTensor::*name, const std::string& where) {
    std::map<std::string, StoredTensor> by_name;
    for (StoredTensor& tensor : found) {
        const std::string key = tensor.name;
        by_name.emplace(key, std::move(tensor));
    }
    std::vector<StoredTensor> out;
    for (const ModelTensor& want : expected) {
        const std::string& file_name = want.*name;
        const auto it = by_name.find(file_name);
        CHECK(it != by_name.end(), "%s: tensor %s is missing", where.c_str(), file_name.c_str());
        StoredTensor& tensor = it->second;
        CHECK(tensor.shape == want.shape, "%s: tensor %s has shape %s, the configuration asks for %s",
              where.c_str(), file_name.c_str(), shape_text(tensor.shape).c_str(),
              shape_text(want.shape).c_str());
        CHECK(tensor.shape.size() > 1 || weight_format(tensor.type).elements == 1,
              "%s: tensor %s is a vector in %s, only matrices may be quantised", where.c_str(), file_name.c_str(),
              weight_format(tensor.type).name);
        tensor.name = want.name;
        out.push_back(std::move(tensor));
        by_name.erase(it);
    }
    CHECK(by_name.empty(), "%s: tensor %s is not part of this model", where.c_str(),
          shown(by_name.begin()->first).c_str());
    return out;
}

namespace {

bool same_numbers(const StoredTensor& a, const StoredTensor& b) {
    return a.type == b.type && a.shape == b.shape &&
           (a.bytes == 0 || std::memcmp(a.data, b.data, a.bytes) == 0);
}

const StoredTensor* find(const std::vector<StoredTensor>& tensors, const std::string& name) {
    for (const StoredTensor& tensor : tensors) {
        if (tensor.name == name) {
            return &tensor;
        }
    }
    return nullptr;
}

// Takes out what is stored beside the parameters and follows from them.
void drop_redundant(std::vector<StoredTensor>& tensors, const ModelConfig& config, const std::string& where) {
    const StoredTensor* head = find(tensors, "lm_head.weight");
    const StoredTensor* embedding = find(tensors, "model.embed_tokens.weight");
    const bool tied_head = config.tied && head != nullptr && embedding != nullptr;
    CHECK(!tied_head || same_numbers(*head, *embedding),
          "%s: tensor lm_head.weight differs from model.embed_tokens.weight, but tie_word_embeddings is true",
          where.c_str());
    std::erase_if(tensors, [tied_head](const StoredTensor& tensor) {
        return tensor.name.ends_with(".self_attn.rotary_emb.inv_freq") ||
               (tied_head && tensor.name == "lm_head.weight");
    });
}

} // namespace

ModelFile make_model_file(const ModelConfig& config, std::vector<StoredTensor> tensors,
                          const std::string& where) {
    check_layers(config, tensors.size(), where);
    drop_redundant(tensors, config, where);
    return {config, match_tensors(std::move(tensors), model_tensors(config), &ModelTensor::name, where), where};
}

ModelFile open_model_file(const std::string& path) {
    namespace fs = std::filesystem;
    if (fs::is_directory(path)) {
        const ModelConfig config = read_model_config(path + "/config.json");
        const std::string single = path + "/model.safetensors";
        return make_model_file(config, map_safetensors(path), file_exists(single) ? single : single + ".index.json");
    }
    if (path.ends_with(".gguf")) {
        return gguf_model(GgufFile::open(path));
    }
    CHECK(path.ends_with(".safetensors"),
          "%s: is no model: expected a folder, a .safetensors or a .gguf file%s", path.c_str(),
          fs::exists(path) ? "" : " (and nothing of this name is there)");
    const std::string folder = fs::path(path).parent_path().string();
    const ModelConfig config = read_model_config(folder.empty() ? "config.json" : folder + "/config.json");
    return make_model_file(config, map_safetensors(path), path);
}

} // namespace skintern
