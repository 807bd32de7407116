// gguf_model.cpp — see gguf_model.h.
//
// Sizes are metadata under the name of the architecture ("llama.block_count"); which biases there are, and whether the
// output is tied to the embedding, is told by the tensors alone. A key of the architecture that is not known here is
// refused: it could change what the model computes.
//
// **Rows of q and k in `llama` files.** Rope turns pairs of numbers in a head of HS. Hugging Face pairs i with i + HS/2;
// ggml, for this architecture, pairs 2i with 2i+1, and the converter has moved the rows accordingly: row 2i + j of a head
// in the file is row i + j HS/2 of the model, j = 0 or 1. This is undone here, by whole rows in the file's type, into a
// buffer (the only weights that are copied). Files of qwen2 and qwen3 are not permuted.
//
// **Llama 3.1's rope scaling** is not in the metadata: the file has the factor f_i / f'_i of each frequency as a tensor,
// rope_freqs.weight. The parameters that are the same in all published models are tried, and taken if they give just
// these factors; otherwise the file is refused.
#include "formats/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "formats/rope.h"
#include "support/check.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

struct GgufArchitecture {
    const char* gguf_name;
    const char* name; // of Hugging Face
    bool permuted;
    bool qk_norm;
};

constexpr GgufArchitecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", true, false},
    {"qwen2", "Qwen2ForCausalLM", false, false},
    {"qwen3", "Qwen3ForCausalLM", false, true},
};

// Keys behind the architecture's name that are read, or checked, below.
const char* const kKnownKeys[] = {
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count", // without experts of no meaning
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear", // what rope.scaling.factor was called at first
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout", // of the file that was converted
    "vocab_size",
};

// ---- configuration -------------------------------------------------------------------------------------------------

const GgufArchitecture& read_architecture(const GgufFile& file) {
    const std::string name(file.text("general.architecture"));
    for (const GgufArchitecture& architecture : kArchitectures) {
        if (name == architecture.gguf_name) {
            return architecture;
        }
    }
    CHECK(false, "%s: general.architecture is %s, computed here are llama, qwen2 and qwen3",
          file.path().c_str(), shown(name).c_str());
}

// The keys of one architecture.
class Keys {
public:
    Keys(const GgufFile& file, const char* architecture)
        : file_(file), prefix_(std::string(architecture) + ".") {}

    std::string name(const char* key) const { return prefix_ + key; }
    bool has(const char* key) const { return file_.has(name(key)); }
    int64_t integer(const char* key) const { return file_.integer(name(key)); }
    int64_t integer_or(const char* key, int64_t missing) const { return has(key) ? integer(key) : missing; }
    double number_or(const char* key, double missing) const {
        return has(key) ? file_.number(name(key)) : missing;
    }

    // Refuses a key whose value is not the only one that is computed.
    void require(const char* key, int64_t value, const char* why) const {
        CHECK(integer_or(key, value) == value, "%s: %s is %lld, expected %lld: %s", file_.path().c_str(),
              name(key).c_str(), static_cast<long long>(integer(key)), static_cast<long long>(value), why);
    }
    void refuse_unknown() const {
        for (const std::string& key : file_.keys()) {
            const bool known = std::any_of(std::begin(kKnownKeys), std::end(kKnownKeys),
                                           [&](const char* name_of) { return key == name(name_of); });
            CHECK(!key.starts_with(prefix_) || known,
                  "%s: the key %s is not known here, and may ask for something that "
                  "is not computed",
                  file_.path().c_str(), shown(key).c_str());
        }
    }

private:
    const GgufFile& file_;
    std::string prefix_;
};

const StoredTensor* find_tensor(const GgufFile& file, const std::string& name) {
    const auto it = std::find_if(file.tensors().begin(), file.tensors().end(),
                                 [&](const StoredTensor& tensor) { return tensor.name == name; });
    return it != file.tensors().end() ? &*it : nullptr;
}

int32_t token_id(const GgufFile& file, const std::string& key) {
    const int64_t id = file.has(key) ? file.integer(key) : -1;
    CHECK(id >= -1 && id <= INT32_MAX, "%s: %s is %lld, which is no token id", file.path().c_str(),
          key.c_str(), static_cast<long long>(id));
    return static_cast<int32_t>(id);
}

void read_head_sizes(ModelConfig& config, const GgufFile& file, const Keys& keys) {
    config.heads = keys.integer("attention.head_count");
    config.kv_heads = keys.integer_or("attention.head_count_kv", config.heads);
    if (keys.has("attention.key_length")) {
        config.head_size = keys.integer("attention.key_length");
    } else {
        CHECK(config.heads > 0 && config.channels % config.heads == 0,
              "%s: there is no %s, and embedding_length %lld is no multiple of attention.head_count %lld",
              file.path().c_str(), keys.name("attention.key_length").c_str(),
              static_cast<long long>(config.channels), static_cast<long long>(config.heads));
        config.head_size = config.channels / config.heads;
    }
    keys.require("attention.value_length", config.head_size, "keys and values have the same size here");
    keys.require("rope.dimension_count", config.head_size, "rope turns whole heads here");
}

void read_rope(ModelConfig& config, const GgufFile& file, const Keys& keys) {
    config.rope_theta = keys.number_or("rope.freq_base", 10000);
    const double factor = keys.number_or("rope.scaling.factor", keys.number_or("rope.scale_linear", 0));
    // With a factor alone llama.cpp takes the scaling for linear; 0 means none.
    std::string type = "linear";
    if (keys.has("rope.scaling.type")) {
        type = file.text(keys.name("rope.scaling.type"));
    }
    CHECK(type == "linear" || type == "none", "%s: %s is %s, computed here are none and linear",
          file.path().c_str(), keys.name("rope.scaling.type").c_str(), shown(type).c_str());
    if (type == "linear" && factor != 0 && factor != 1) {
        config.rope_scaling.type = type;
        config.rope_scaling.factor = factor;
    }
}

// Finds the Llama 3 scaling whose factors stand in rope_freqs.weight.
void read_rope_factors(ModelConfig& config, const GgufFile& file, const Keys& keys) {
    const StoredTensor* tensor = find_tensor(file, "rope_freqs.weight");
    if (tensor == nullptr) {
        return;
    }
    const std::string where = file.path() + ": tensor rope_freqs.weight";
    CHECK(tensor->type == WeightType::f32 && tensor->shape == std::vector<int64_t>{config.head_size / 2},
          "%s: is %s of shape %s, expected F32 of shape [%lld]", where.c_str(),
          weight_format(tensor->type).name, shape_text(tensor->shape).c_str(),
          static_cast<long long>(config.head_size / 2));
    CHECK(config.rope_scaling.type == "default", "%s: is there beside %s", where.c_str(),
          keys.name("rope.scaling.factor").c_str());
    const std::vector<float> factors = to_floats(*tensor);
    ModelConfig scaled = config;
    scaled.rope_scaling.type = "llama3";
    scaled.rope_scaling.factor = *std::max_element(factors.begin(), factors.end());
    scaled.rope_scaling.low_freq_factor = 1;
    scaled.rope_scaling.high_freq_factor = 4;
    scaled.rope_scaling.original_max_positions =
        keys.integer_or("rope.scaling.original_context_length", 8192);
    validate(scaled, where);
    for (size_t i = 0; i < factors.size(); ++i) {
        const auto pair = static_cast<int64_t>(i);
        const double expected = rope_frequency(config, pair) / rope_frequency(scaled, pair);
        // The converter computes in float32: up to some 32 units of 6e-8. Other parameters differ by far more.
        CHECK(std::abs(static_cast<double>(factors[i]) - expected) <= 1e-4 * expected,
              "%s: element %zu is %g, but Llama 3's scaling by %g of an original context of %lld gives %g; "
              "another "
              "scaling is not computed",
              where.c_str(), i, static_cast<double>(factors[i]), scaled.rope_scaling.factor,
              static_cast<long long>(scaled.rope_scaling.original_max_positions), expected);
    }
    config = scaled;
}

ModelConfig read_config(const GgufFile& file, const GgufArchitecture& architecture) {
    const std::string& path = file.path();
    const Keys keys(file, architecture.gguf_name);
    keys.refuse_unknown();
    CHECK(!file.has("split.count") || file.integer("split.count") <= 1,
          "%s: is one of %lld parts of a model (split.count), which are not put together here", path.c_str(),
          static_cast<long long>(file.integer("split.count")));
    ModelConfig config;
    config.architecture = architecture.name;
    config.layers = keys.integer("block_count");
    config.channels = keys.integer("embedding_length");
    config.ffn = keys.integer("feed_forward_length");
    config.max_positions = keys.integer("context_length");
    config.norm_eps = file.number(keys.name("attention.layer_norm_rms_epsilon"));
    read_head_sizes(config, file, keys);
    keys.require("expert_count", 0, "a mixture of experts is not computed");
    CHECK(!keys.has("attention.causal") || file.flag(keys.name("attention.causal")),
          "%s: %s is false, only causal attention is computed", path.c_str(),
          keys.name("attention.causal").c_str());
    const int64_t window = keys.integer_or("attention.sliding_window", 0);
    CHECK(window == 0 || window >= config.max_positions,
          "%s: %s is %lld, below the context of %lld, which is not "
          "computed",
          path.c_str(), keys.name("attention.sliding_window").c_str(), static_cast<long long>(window),
          static_cast<long long>(config.max_positions));

    const StoredTensor* embedding = find_tensor(file, "token_embd.weight");
    CHECK(embedding != nullptr && embedding->shape.size() == 2, "%s: tensor token_embd.weight is %s",
          path.c_str(), embedding == nullptr ? "missing" : "no matrix");
    config.vocab = embedding->shape[0];
    keys.require("vocab_size", config.vocab, "the rows of token_embd.weight");
    config.qkv_bias = find_tensor(file, "blk.0.attn_q.bias") != nullptr;
    config.o_bias = find_tensor(file, "blk.0.attn_output.bias") != nullptr;
    config.mlp_bias = find_tensor(file, "blk.0.ffn_gate.bias") != nullptr;
    config.qk_norm = architecture.qk_norm;
    config.tied = find_tensor(file, "output.weight") == nullptr;
    config.bos = token_id(file, "tokenizer.ggml.bos_token_id");
    config.eos = token_id(file, "tokenizer.ggml.eos_token_id");
    read_rope(config, file, keys);
    validate(config, path);
    read_rope_factors(config, file, keys);
    return config;
}

// ---- tensors -------------------------------------------------------------------------------------------------------

// Row i + j HS/2 of a head = row 2i + j of that head in the file. `tensor`: (heads*HS,IN), or (heads*HS) for a bias.
void unpermute_rows(StoredTensor& tensor, int64_t heads) {
    const int64_t rows = tensor.shape[0];
    const int64_t head_size = rows / heads;
    const size_t row_size = tensor.bytes / static_cast<size_t>(rows);
    const auto buffer = std::make_shared<std::vector<char>>(tensor.bytes);
    const char* in = static_cast<const char*>(tensor.data);
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t head = row / head_size, in_head = row % head_size;
        const int64_t i = in_head % (head_size / 2), j = in_head / (head_size / 2);
        const int64_t from = head * head_size + 2 * i + j;
        std::memcpy(buffer->data() + static_cast<size_t>(row) * row_size,
                    in + static_cast<size_t>(from) * row_size, row_size);
    }
    tensor.data = buffer->data();
    tensor.owner = buffer;
}

} // namespace

ModelFile gguf_model(const GgufFile& file) {
    const GgufArchitecture& architecture = read_architecture(file);
    ModelFile model;
    model.path = file.path();
    model.config = read_config(file, architecture);
    check_layers(model.config, file.tensors().size(), file.path());
    std::vector<StoredTensor> tensors = file.tensors();
    std::erase_if(tensors, [](const StoredTensor& tensor) { return tensor.name == "rope_freqs.weight"; });
    model.tensors =
        match_tensors(std::move(tensors), model_tensors(model.config), &ModelTensor::gguf_name, file.path());
    if (architecture.permuted) {
        for (StoredTensor& tensor : model.tensors) {
            if (tensor.name.find(".q_proj.") != std::string::npos) {
                unpermute_rows(tensor, model.config.heads);
            } else if (tensor.name.find(".k_proj.") != std::string::npos) {
                unpermute_rows(tensor, model.config.kv_heads);
            }
        }
    }
    return model;
}

} // namespace skintern
