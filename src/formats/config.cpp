// config.cpp — config.json of a model: read, checked, written.
//
// config.json is spelt in two ways. transformers 5 writes `rope_parameters` with rope_theta and rope_type inside; older
// files, most of what is published, have `rope_theta` and `rope_scaling` at the top. Both are read. The older one is
// written, because every version of transformers loads it. A field that a file leaves out has the value transformers
// gives it for that architecture; sizes without such a value are required.
//
// A file may ask for something that is not computed here (another activation, a sliding window). Then it is refused by
// name: a model that runs but computes something else is the worst outcome. Not read: dropout rates, which matter in
// training only, and the training's own settings decide about them.
#include "formats/config.h"

#include <limits>

#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// What is computed here, with the defaults of transformers where they differ.
struct Architecture {
    const char* name;
    const char* model_type;
    int64_t max_positions;  // max_position_embeddings
    int64_t head_size;      // head_dim, 0: hidden_size / num_attention_heads
    int64_t sliding_window; // of a file without the field, 0: none
    int32_t bos, eos;       // bos_token_id, eos_token_id, -1: none
    bool qkv_bias;          // always there, whatever attention_bias says
    bool attention_bias;    // the field counts: q, k, v and o
    bool mlp_bias;          // the field counts: gate, up and down
    bool qk_norm;
};

const Architecture kArchitectures[] = {
    {"LlamaForCausalLM", "llama", 2048, 0, 0, 1, 2, false, true, true, false},
    {"MistralForCausalLM", "mistral", 131072, 0, 4096, 1, 2, false, false, false, false},
    {"Qwen2ForCausalLM", "qwen2", 32768, 0, 0, -1, -1, true, false, false, false},
    {"Qwen3ForCausalLM", "qwen3", 32768, 128, 0, -1, -1, false, true, false, true},
};

// Upper bounds of what is computed. They keep every product of two sizes, and heads * head_size, far from overflow.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxSize = int64_t{1} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 24;

const Architecture& find_architecture(const std::string& name, const char* field, const std::string& where) {
    std::string known;
    for (const Architecture& architecture : kArchitectures) {
        if (name == architecture.name) {
            return architecture;
        }
        known += (known.empty() ? "" : ", ") + std::string(architecture.name);
    }
    CHECK(false, "%s: %s is %s, computed here are %s", where.c_str(), field, shown(name).c_str(),
          known.c_str());
}

// ---- reading config.json -----------------------------------------------------------------------------------------

const Architecture& read_architecture(const json& root, const std::string& path) {
    const json& list = need_field(root, "architectures", path);
    CHECK(list.is_array() && list.size() == 1, "%s: architectures must be a list of one name", path.c_str());
    const Architecture& architecture =
        find_architecture(as_string(list[0], "architectures[0]", path), "architectures[0]", path);
    const std::string found = string_or(root, "model_type", architecture.model_type, path);
    CHECK(found == architecture.model_type, "%s: model_type is %s, which does not go with %s", path.c_str(),
          shown(found).c_str(), architecture.name);
    return architecture;
}

// Refuses what would change the result and is not computed.
void refuse_what_is_not_computed(const json& root, const std::string& path) {
    const std::string activation = string_or(root, "hidden_act", "silu", path);
    CHECK(activation == "silu", "%s: hidden_act is %s, only silu is computed", path.c_str(),
          shown(activation).c_str());
    CHECK(!bool_or(root, "use_sliding_window", false, path),
          "%s: use_sliding_window is true, which is not computed", path.c_str());
    CHECK(find_field(root, "quantization_config") == nullptr,
          "%s: quantization_config is there, but quantised safetensors are not read", path.c_str());
    CHECK(number_or(root, "partial_rotary_factor", 1, path) == 1,
          "%s: partial_rotary_factor is not 1, which is not computed", path.c_str());
    if (const json* kinds = find_field(root, "layer_types")) {
        CHECK(kinds->is_array(), "%s: layer_types is %s, expected an array", path.c_str(),
              kinds->type_name());
        for (const json& kind : *kinds) {
            const std::string& name = as_string(kind, "an entry of layer_types", path);
            CHECK(name == "full_attention", "%s: layer_types has %s, only full_attention is computed",
                  path.c_str(), shown(name).c_str());
        }
    }
}

// Mistral has a window wherever `sliding_window` is not null, and one of 4096 in a file without the field. Query i sees
// keys i - window + 1 .. i: a window of max_position_embeddings or more hides nothing. The other architectures have one
// only with use_sliding_window.
void refuse_sliding_window(const json& root, const Architecture& architecture, int64_t max_positions,
                           const std::string& path) {
    if (architecture.sliding_window == 0 ||
        (root.contains("sliding_window") && root["sliding_window"].is_null())) {
        return;
    }
    const int64_t window = int_or(root, "sliding_window", architecture.sliding_window, path);
    CHECK(window >= max_positions,
          "%s: sliding_window is %lld%s, below max_position_embeddings %lld, which is not computed",
          path.c_str(), static_cast<long long>(window),
          root.contains("sliding_window") ? "" : " (the field is missing)",
          static_cast<long long>(max_positions));
}

void read_biases_and_norms(ModelConfig& config, const json& root, const Architecture& architecture,
                           const std::string& path) {
    const bool attention_bias = bool_or(root, "attention_bias", false, path);
    // Qwen2 has biases on q, k and v, and none on o, whatever this field says.
    CHECK(architecture.attention_bias || architecture.qkv_bias || !attention_bias,
          "%s: attention_bias is true, which %s does not have", path.c_str(), architecture.name);
    config.qkv_bias = architecture.qkv_bias || attention_bias;
    config.o_bias = architecture.attention_bias && attention_bias;
    config.mlp_bias = bool_or(root, "mlp_bias", false, path);
    CHECK(architecture.mlp_bias || !config.mlp_bias, "%s: mlp_bias is true, which %s does not have",
          path.c_str(), architecture.name);
    config.qk_norm = architecture.qk_norm;
}

int64_t read_head_size(const ModelConfig& config, const json& root, const Architecture& architecture,
                       const std::string& path) {
    if (architecture.head_size > 0) { // null is not allowed where transformers has a number
        return root.contains("head_dim") ? need_int(root, "head_dim", path) : architecture.head_size;
    }
    if (find_field(root, "head_dim") != nullptr) {
        return need_int(root, "head_dim", path);
    }
    CHECK(config.heads > 0 && config.channels % config.heads == 0,
          "%s: there is no head_dim, and hidden_size %lld is no multiple of num_attention_heads %lld",
          path.c_str(), static_cast<long long>(config.channels), static_cast<long long>(config.heads));
    return config.channels / config.heads;
}

void read_rope(ModelConfig& config, const json& root, const std::string& path) {
    const json* parameters = find_field(root, "rope_parameters");
    const json* scaling = find_field(root, "rope_scaling");
    CHECK(parameters == nullptr || scaling == nullptr,
          "%s: rope_parameters and rope_scaling are both there, expected one of them", path.c_str());
    config.rope_theta = number_or(root, "rope_theta", 10000, path);
    const char* field = parameters != nullptr ? "rope_parameters" : "rope_scaling";
    const json* rope = parameters != nullptr ? parameters : scaling;
    if (rope == nullptr) {
        return;
    }
    as_object(*rope, field, path);
    const std::string where = path + ": " + field;
    config.rope_theta = number_or(*rope, "rope_theta", config.rope_theta, where);
    ModelConfig::RopeScaling& out = config.rope_scaling;
    // The oldest files say `type`. A rope_scaling that says neither would be silently without effect.
    const char* type_field = find_field(*rope, "rope_type") != nullptr ? "rope_type" : "type";
    out.type = parameters != nullptr ? string_or(*rope, type_field, "default", where)
                                     : as_string(need_field(*rope, type_field, where), type_field, where);
    CHECK(number_or(*rope, "partial_rotary_factor", 1, where) == 1,
          "%s: partial_rotary_factor is not 1, which is not computed", where.c_str());
    if (out.type == "linear" || out.type == "llama3") {
        out.factor = need_number(*rope, "factor", where);
    }
    if (out.type == "llama3") {
        out.low_freq_factor = need_number(*rope, "low_freq_factor", where);
        out.high_freq_factor = need_number(*rope, "high_freq_factor", where);
        out.original_max_positions = need_int(*rope, "original_max_position_embeddings", where);
    }
}

// bos_token_id, eos_token_id: an id, a list of ids of which the first counts, or null for none.
int32_t read_token_id(const json& root, const char* field, int32_t missing, const std::string& path) {
    if (!root.contains(field)) {
        return missing;
    }
    const json* value = find_field(root, field);
    if (value == nullptr) {
        return -1;
    }
    if (value->is_array()) {
        CHECK(!value->empty(), "%s: %s is an empty list", path.c_str(), field);
        value = &value->front();
    }
    const int64_t id = as_int(*value, field, path);
    CHECK(id >= 0 && id < kMaxVocab, "%s: %s is %lld, which is no token id", path.c_str(), field,
          static_cast<long long>(id));
    return static_cast<int32_t>(id);
}

} // namespace

ModelConfig read_model_config(const std::string& path) {
    const json root = parse_json_object(read_file(path), path);
    const Architecture& architecture = read_architecture(root, path);
    ModelConfig config;
    config.architecture = architecture.name;
    refuse_what_is_not_computed(root, path);
    config.layers = need_int(root, "num_hidden_layers", path);
    config.channels = need_int(root, "hidden_size", path);
    config.heads = need_int(root, "num_attention_heads", path);
    // Before grouped queries Llama had no such field. The others always had, and transformers' own defaults, 8 and 32,
    // are no guess to be made here; null says as many as heads.
    const bool old_llama = config.architecture == "LlamaForCausalLM" || root.contains("num_key_value_heads");
    config.kv_heads = old_llama ? int_or(root, "num_key_value_heads", config.heads, path)
                                : need_int(root, "num_key_value_heads", path);
    config.ffn = need_int(root, "intermediate_size", path);
    config.vocab = need_int(root, "vocab_size", path);
    config.max_positions = int_or(root, "max_position_embeddings", architecture.max_positions, path);
    config.head_size = read_head_size(config, root, architecture, path);
    config.norm_eps = number_or(root, "rms_norm_eps", 1e-6, path);
    read_rope(config, root, path);
    read_biases_and_norms(config, root, architecture, path);
    refuse_sliding_window(root, architecture, config.max_positions, path);
    config.tied = bool_or(root, "tie_word_embeddings", false, path);
    config.bos = read_token_id(root, "bos_token_id", architecture.bos, path);
    config.eos = read_token_id(root, "eos_token_id", architecture.eos, path);
    validate(config, path);
    return config;
}

// ---- validation --------------------------------------------------------------------------------------------------

namespace {

void check_size(const std::string& where, const char* field, int64_t value, int64_t largest) {
    CHECK(value >= 1 && value <= largest, "%s: %s is %lld, must be between 1 and %lld", where.c_str(), field,
          static_cast<long long>(value), static_cast<long long>(largest));
}

// The model computes in F32. NaN is refused too.
void check_positive(const std::string& where, const char* field, double value) {
    CHECK(value >= std::numeric_limits<float>::min() && value <= std::numeric_limits<float>::max(),
          "%s: %s is %g, must be a positive number that F32 has", where.c_str(), field, value);
}

void check_rope(const ModelConfig& config, const std::string& where) {
    check_positive(where, "rope_theta", config.rope_theta);
    const ModelConfig::RopeScaling& rope = config.rope_scaling;
    CHECK(rope.type == "default" || rope.type == "linear" || rope.type == "llama3",
          "%s: rope_type is %s, computed are default, linear and llama3", where.c_str(),
          shown(rope.type).c_str());
    if (rope.type == "default") {
        return;
    }
    check_positive(where, "rope factor", rope.factor);
    if (rope.type == "llama3") {
        check_positive(where, "low_freq_factor", rope.low_freq_factor);
        check_positive(where, "high_freq_factor", rope.high_freq_factor);
        // Their difference is divided by.
        CHECK(rope.high_freq_factor > rope.low_freq_factor,
              "%s: high_freq_factor is %g, must be above low_freq_factor %g", where.c_str(),
              rope.high_freq_factor, rope.low_freq_factor);
        check_size(where, "original_max_position_embeddings", rope.original_max_positions, kMaxPositions);
    }
}

} // namespace

void validate(const ModelConfig& config, const std::string& where) {
    const Architecture& architecture = find_architecture(config.architecture, "architecture", where);
    CHECK(config.qkv_bias || !architecture.qkv_bias, "%s: %s without biases on q, k and v does not exist",
          where.c_str(), architecture.name);
    CHECK(config.qk_norm == architecture.qk_norm, "%s: %s %s q and k norms does not exist", where.c_str(),
          architecture.name, config.qk_norm ? "with" : "without");
    check_size(where, "num_hidden_layers", config.layers, kMaxLayers);
    check_size(where, "hidden_size", config.channels, kMaxSize);
    check_size(where, "num_attention_heads", config.heads, kMaxSize);
    check_size(where, "num_key_value_heads", config.kv_heads, kMaxSize);
    check_size(where, "head_dim", config.head_size, kMaxSize);
    check_size(where, "num_attention_heads * head_dim", config.heads * config.head_size, kMaxSize);
    check_size(where, "intermediate_size", config.ffn, kMaxSize);
    check_size(where, "vocab_size", config.vocab, kMaxVocab);
    check_size(where, "max_position_embeddings", config.max_positions, kMaxPositions);
    CHECK(config.heads % config.kv_heads == 0,
          "%s: num_attention_heads is %lld, no multiple of num_key_value_heads %lld", where.c_str(),
          static_cast<long long>(config.heads), static_cast<long long>(config.kv_heads));
    CHECK(config.head_size % 2 == 0, "%s: head_dim is %lld, must be even (rope turns pairs)", where.c_str(),
          static_cast<long long>(config.head_size));
    check_positive(where, "rms_norm_eps", config.norm_eps);
    check_rope(config, where);
    CHECK(config.bos >= -1 && config.bos < config.vocab,
          "%s: bos_token_id is %d, must be below vocab_size %lld", where.c_str(), config.bos,
          static_cast<long long>(config.vocab));
    CHECK(config.eos >= -1 && config.eos < config.vocab,
          "%s: eos_token_id is %d, must be below vocab_size %lld", where.c_str(), config.eos,
          static_cast<long long>(config.vocab));
}

// ---- writing config.json -----------------------------------------------------------------------------------------

namespace {

// A GGUF file may hold a model that no config.json describes, as Llama with biases on q, k and v alone.
void check_spelling(const ModelConfig& config, const Architecture& architecture, const std::string& path) {
    const bool attention = architecture.attention_bias
                               ? config.qkv_bias == config.o_bias
                               : config.qkv_bias == architecture.qkv_bias && !config.o_bias;
    CHECK(attention && (architecture.mlp_bias || !config.mlp_bias),
          "%s: %s with biases on%s%s%s has no spelling in config.json", path.c_str(), architecture.name,
          config.qkv_bias ? " q, k, v" : "", config.o_bias ? " o" : "",
          config.mlp_bias ? " gate, up, down" : "");
}

ordered_json rope_scaling_json(const ModelConfig::RopeScaling& rope) {
    if (rope.type == "default") {
        return nullptr;
    }
    ordered_json scaling = {{"rope_type", rope.type}, {"factor", rope.factor}};
    if (rope.type == "llama3") {
        scaling["low_freq_factor"] = rope.low_freq_factor;
        scaling["high_freq_factor"] = rope.high_freq_factor;
        scaling["original_max_position_embeddings"] = rope.original_max_positions;
    }
    return scaling;
}

} // namespace

void write_model_config(const std::string& path, const ModelConfig& config, const std::string& dtype) {
    validate(config, path);
    const Architecture& architecture = find_architecture(config.architecture, "architecture", path);
    check_spelling(config, architecture, path);
    const auto id_or_null = [](int32_t id) { return id >= 0 ? json(id) : json(nullptr); };
    ordered_json root;
    root["architectures"] = ordered_json::array({architecture.name});
    root["model_type"] = architecture.model_type;
    root["attention_dropout"] = 0.0;
    root["bos_token_id"] = id_or_null(config.bos);
    root["eos_token_id"] = id_or_null(config.eos);
    root["head_dim"] = config.head_size;
    root["hidden_act"] = "silu";
    root["hidden_size"] = config.channels;
    root["intermediate_size"] = config.ffn;
    root["max_position_embeddings"] = config.max_positions;
    root["num_attention_heads"] = config.heads;
    root["num_hidden_layers"] = config.layers;
    root["num_key_value_heads"] = config.kv_heads;
    root["rms_norm_eps"] = config.norm_eps;
    root["rope_scaling"] = rope_scaling_json(config.rope_scaling);
    root["rope_theta"] = config.rope_theta;
    root["tie_word_embeddings"] = config.tied;
    root["torch_dtype"] = dtype;
    root["use_cache"] = true;
    root["vocab_size"] = config.vocab;
    if (architecture.attention_bias) {
        root["attention_bias"] = config.qkv_bias;
    }
    if (architecture.mlp_bias) {
        root["mlp_bias"] = config.mlp_bias;
    }
    if (architecture.sliding_window > 0) {
        root["sliding_window"] = nullptr; // without the field there would be one
    } else if (config.architecture != "LlamaForCausalLM") {
        root["use_sliding_window"] = false;
    }
    write_file(path, dump_json(root, path, 2) + "\n");
}

} // namespace skintern
