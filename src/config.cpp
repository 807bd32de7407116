// config.cpp — config.json of a model and adapter_config.json of an adapter: read, checked, written.
//
// config.json is spelt in two ways. transformers 5 writes `rope_parameters` with rope_theta and rope_type
// inside; older files, most of what is published, have `rope_theta` and `rope_scaling` at the top. Both are
// read. The older one is written, because every version of transformers loads it. A field that a file leaves
// out has the value transformers gives it for that architecture; sizes without such a value are required.
//
// A file may ask for something that is not computed here (another activation, a sliding window, an adapter
// with DoRA). Then it is refused by name: a model that runs but computes something else is the worst outcome.
// Not read: dropout rates, which matter in training only, and the training's own settings decide about them.
#include "config.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "files.h"
#include "strict_json.h"

namespace skintern {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const char* const kLlama = "LlamaForCausalLM";
const char* const kQwen2 = "Qwen2ForCausalLM";

// Upper bounds of what is computed. They keep every product of two sizes, and heads * head_size, far from
// overflow.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxSize = int64_t{1} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 24;

json read_object(const std::string& path) {
    json root = parse_json(read_file(path), path);
    CHECK(root.is_object(), "%s: is JSON, but %s and no object", path.c_str(), root.type_name());
    return root;
}

// The value of a field, or `missing` where the file leaves it out or says null.
int64_t int_or(const json& root, const char* field, int64_t missing, const std::string& path) {
    const json* value = find_field(root, field);
    return value != nullptr ? as_int(*value, field, path) : missing;
}

double number_or(const json& root, const char* field, double missing, const std::string& path) {
    const json* value = find_field(root, field);
    return value != nullptr ? as_number(*value, field, path) : missing;
}

bool bool_or(const json& root, const char* field, bool missing, const std::string& path) {
    const json* value = find_field(root, field);
    return value != nullptr ? as_bool(*value, field, path) : missing;
}

std::string string_or(const json& root, const char* field, const char* missing, const std::string& path) {
    const json* value = find_field(root, field);
    return value != nullptr ? as_string(*value, field, path) : missing;
}

int64_t need_int(const json& root, const char* field, const std::string& path) {
    return as_int(need_field(root, field, path), field, path);
}

double need_number(const json& root, const char* field, const std::string& path) {
    return as_number(need_field(root, field, path), field, path);
}

// ---- reading config.json
// -------------------------------------------------------------------------------------------

std::string read_architecture(const json& root, const std::string& path) {
    const json& list = need_field(root, "architectures", path);
    CHECK(list.is_array() && list.size() == 1, "%s: architectures must be a list of one name", path.c_str());
    const std::string name = as_string(list[0], "architectures[0]", path);
    CHECK(name == kLlama || name == kQwen2, "%s: architectures[0] is %s, computed here are %s and %s",
          path.c_str(), shown(name).c_str(), kLlama, kQwen2);
    const std::string type = name == kLlama ? "llama" : "qwen2";
    const std::string found = string_or(root, "model_type", type.c_str(), path);
    CHECK(found == type, "%s: model_type is %s, which does not go with %s", path.c_str(),
          shown(found).c_str(), name.c_str());
    return name;
}

// Refuses what would change the result and is not computed.
void refuse_what_is_not_computed(const json& root, const std::string& architecture, const std::string& path) {
    const std::string activation = string_or(root, "hidden_act", "silu", path);
    CHECK(activation == "silu", "%s: hidden_act is %s, only silu is computed", path.c_str(),
          shown(activation).c_str());
    CHECK(!bool_or(root, "mlp_bias", false, path), "%s: mlp_bias is true, which is not computed",
          path.c_str());
    // Qwen2 has biases on q, k and v whatever this field says; Llama would have one on o_proj as well.
    CHECK(architecture == kQwen2 || !bool_or(root, "attention_bias", false, path),
          "%s: attention_bias is true, which is not computed for %s (o_proj would have a bias)", path.c_str(),
          kLlama);
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
    const json root = read_object(path);
    ModelConfig config;
    config.architecture = read_architecture(root, path);
    const bool qwen2 = config.architecture == kQwen2;
    refuse_what_is_not_computed(root, config.architecture, path);
    config.layers = need_int(root, "num_hidden_layers", path);
    config.channels = need_int(root, "hidden_size", path);
    config.heads = need_int(root, "num_attention_heads", path);
    // Before grouped queries Llama had no such field. Qwen2 always had, and transformers' own default of 32
    // is no guess to be made here.
    config.kv_heads = qwen2 ? need_int(root, "num_key_value_heads", path)
                            : int_or(root, "num_key_value_heads", config.heads, path);
    config.ffn = need_int(root, "intermediate_size", path);
    config.vocab = need_int(root, "vocab_size", path);
    config.max_positions = int_or(root, "max_position_embeddings", qwen2 ? 32768 : 2048, path);
    if (find_field(root, "head_dim") != nullptr) {
        config.head_size = need_int(root, "head_dim", path);
    } else {
        CHECK(config.heads > 0 && config.channels % config.heads == 0,
              "%s: there is no head_dim, and hidden_size %lld is no multiple of num_attention_heads %lld",
              path.c_str(), static_cast<long long>(config.channels), static_cast<long long>(config.heads));
        config.head_size = config.channels / config.heads;
    }
    config.norm_eps = number_or(root, "rms_norm_eps", 1e-6, path);
    read_rope(config, root, path);
    config.qkv_bias = qwen2;
    config.tied = bool_or(root, "tie_word_embeddings", false, path);
    config.bos = read_token_id(root, "bos_token_id", qwen2 ? -1 : 1, path);
    config.eos = read_token_id(root, "eos_token_id", qwen2 ? -1 : 2, path);
    validate(config, path);
    return config;
}

// ---- validation
// ----------------------------------------------------------------------------------------------------

namespace {

void check_size(const std::string& where, const char* field, int64_t value, int64_t largest) {
    CHECK(value >= 1 && value <= largest, "%s: %s is %lld, must be between 1 and %lld", where.c_str(), field,
          static_cast<long long>(value), static_cast<long long>(largest));
}

// NaN is refused too.
void check_positive(const std::string& where, const char* field, double value) {
    CHECK(value > 0 && std::isfinite(value), "%s: %s is %g, must be a positive number", where.c_str(), field,
          value);
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
    CHECK(config.architecture == kLlama || config.architecture == kQwen2,
          "%s: architecture is %s, computed here are %s and %s", where.c_str(),
          shown(config.architecture).c_str(), kLlama, kQwen2);
    CHECK(config.architecture == kLlama || config.qkv_bias,
          "%s: %s without biases on q, k and v does not exist", where.c_str(), kQwen2);
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

// ---- writing config.json
// -------------------------------------------------------------------------------------------

void write_model_config(const std::string& path, const ModelConfig& config) {
    validate(config, path);
    const bool qwen2 = config.architecture == kQwen2;
    CHECK(qwen2 || !config.qkv_bias, "%s: %s with biases on q, k and v has no spelling in config.json",
          path.c_str(), kLlama);
    const auto id_or_null = [](int32_t id) { return id >= 0 ? json(id) : json(nullptr); };
    const ModelConfig::RopeScaling& rope = config.rope_scaling;
    ordered_json scaling = nullptr;
    if (rope.type != "default") {
        scaling = {{"rope_type", rope.type}, {"factor", rope.factor}};
    }
    if (rope.type == "llama3") {
        scaling["low_freq_factor"] = rope.low_freq_factor;
        scaling["high_freq_factor"] = rope.high_freq_factor;
        scaling["original_max_position_embeddings"] = rope.original_max_positions;
    }
    ordered_json root;
    root["architectures"] = ordered_json::array({config.architecture});
    root["model_type"] = qwen2 ? "qwen2" : "llama";
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
    root["rope_scaling"] = scaling;
    root["rope_theta"] = config.rope_theta;
    root["tie_word_embeddings"] = config.tied;
    root["torch_dtype"] = "float32";
    root["use_cache"] = true;
    root["vocab_size"] = config.vocab;
    if (qwen2) {
        root["use_sliding_window"] = false;
    } else {
        root["attention_bias"] = false;
        root["mlp_bias"] = false;
    }
    write_file(path, dump_json(root, path, 2) + "\n");
}

// ---- adapter_config.json
// -------------------------------------------------------------------------------------------

namespace {

// Fields of PEFT that change what an adapter computes, or where it sits, in ways not computed here. Each must
// be absent, null, false, or empty.
const char* const kAdapterFieldsUnset[] = {"use_dora",
                                           "use_rslora",
                                           "modules_to_save",
                                           "rank_pattern",
                                           "alpha_pattern",
                                           "fan_in_fan_out",
                                           "lora_bias",
                                           "use_qalora",
                                           "use_bdlora",
                                           "layers_to_transform",
                                           "layers_pattern",
                                           "layer_replication",
                                           "exclude_modules",
                                           "target_parameters",
                                           "trainable_token_indices",
                                           "alora_invocation_tokens",
                                           "arrow_config",
                                           "kasa_config",
                                           "megatron_config",
                                           "monteclora_config",
                                           "velora_config"};

bool is_unset(const json& value) {
    return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
           (value.is_structured() && value.empty());
}

// How A and B were drawn does not matter once they are trained, except where the drawing changed the base
// weights.
void check_initialisation(const json& root, const std::string& path) {
    const json* value = find_field(root, "init_lora_weights");
    if (value == nullptr || value->is_boolean()) {
        return;
    }
    const std::string& kind = as_string(*value, "init_lora_weights", path);
    CHECK(kind == "gaussian" || kind == "eva" || kind == "orthogonal",
          "%s: init_lora_weights is %s, which changes the base weights and is not computed", path.c_str(),
          shown(kind).c_str());
}

// In the order of LoraConfig's default, whatever the order in the file; names that are not known stay at the
// end.
std::vector<std::string> read_target_modules(const json& root, const std::string& path) {
    const json& list = need_field(root, "target_modules", path);
    CHECK(!list.is_string(), "%s: target_modules is a pattern, \"%s\", expected a list of names",
          path.c_str(), shown(list.get_ref<const std::string&>()).c_str());
    CHECK(list.is_array(), "%s: target_modules is %s, expected a list of names", path.c_str(),
          list.type_name());
    std::vector<std::string> names;
    for (const json& entry : list) {
        names.push_back(as_string(entry, "an entry of target_modules", path));
    }
    const std::vector<std::string> known = LoraConfig().target_modules;
    std::stable_sort(names.begin(), names.end(), [&known](const std::string& a, const std::string& b) {
        return std::find(known.begin(), known.end(), a) < std::find(known.begin(), known.end(), b);
    });
    return names;
}

void validate(const LoraConfig& config, const std::string& where) {
    check_size(where, "r", config.r, kMaxSize);
    check_positive(where, "lora_alpha", config.alpha);
    CHECK(!config.target_modules.empty(), "%s: target_modules is empty", where.c_str());
    const std::vector<std::string> known = LoraConfig().target_modules;
    for (const std::string& name : config.target_modules) {
        CHECK(std::find(known.begin(), known.end(), name) != known.end(),
              "%s: target_modules has %s, which is no linear layer of the decoder", where.c_str(),
              shown(name).c_str());
        CHECK(std::count(config.target_modules.begin(), config.target_modules.end(), name) == 1,
              "%s: target_modules has %s twice", where.c_str(), name.c_str());
    }
}

} // namespace

LoraConfig read_lora_config(const std::string& path) {
    const json root = read_object(path);
    const std::string type = as_string(need_field(root, "peft_type", path), "peft_type", path);
    CHECK(type == "LORA", "%s: peft_type is %s, only LORA is computed", path.c_str(), shown(type).c_str());
    const std::string task = string_or(root, "task_type", "CAUSAL_LM", path);
    CHECK(task == "CAUSAL_LM", "%s: task_type is %s, only CAUSAL_LM is computed", path.c_str(),
          shown(task).c_str());
    const std::string bias = string_or(root, "bias", "none", path);
    CHECK(bias == "none", "%s: bias is %s, only none is computed", path.c_str(), shown(bias).c_str());
    for (const char* field : kAdapterFieldsUnset) {
        const json* value = find_field(root, field);
        CHECK(value == nullptr || is_unset(*value), "%s: %s is %s, which is not computed", path.c_str(),
              field, shown(value->dump()).c_str());
    }
    check_initialisation(root, path);
    LoraConfig config;
    config.r = need_int(root, "r", path);
    config.alpha = need_number(root, "lora_alpha", path);
    config.target_modules = read_target_modules(root, path);
    validate(config, path);
    return config;
}

void write_lora_config(const std::string& path, const LoraConfig& config, const std::string& base_model) {
    validate(config, path);
    std::vector<std::string> modules = config.target_modules;
    std::sort(modules.begin(), modules.end());
    ordered_json root;
    root["peft_type"] = "LORA";
    root["task_type"] = "CAUSAL_LM";
    root["base_model_name_or_path"] = base_model;
    root["r"] = config.r;
    // PEFT's alpha is an integer; it takes others too, but writes 32 and not 32.0.
    const bool whole = config.alpha == std::floor(config.alpha) && config.alpha < 1e15;
    root["lora_alpha"] =
        whole ? ordered_json(static_cast<int64_t>(config.alpha)) : ordered_json(config.alpha);
    root["lora_dropout"] = 0.0;
    root["target_modules"] = modules;
    root["bias"] = "none";
    root["fan_in_fan_out"] = false;
    root["use_rslora"] = false;
    root["use_dora"] = false;
    root["inference_mode"] = true;
    root["init_lora_weights"] = true;
    root["modules_to_save"] = nullptr;
    root["rank_pattern"] = ordered_json::object();
    root["alpha_pattern"] = ordered_json::object();
    root["layers_pattern"] = nullptr;
    root["layers_to_transform"] = nullptr;
    root["revision"] = nullptr;
    write_file(path, dump_json(root, path, 2) + "\n");
}

} // namespace skintern
