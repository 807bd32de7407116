// lora_config.cpp — see lora_config.h.
//
// A file may ask for something that is not computed here, as DoRA. Then it is refused by the field's name. Not read:
// lora_dropout, which matters in training only. PEFT takes a single text in target_modules or exclude_modules, and every
// key of rank_pattern and alpha_pattern, as a regular expression. Names are computed here, expressions are not.
#include "formats/lora_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <type_traits>

#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kMaxRank = int64_t{1} << 20; // the widest layer that is computed
constexpr int64_t kMaxLayer = 1023;

bool stands_for(const std::string& name, const std::string& module) {
    return module == name || module.ends_with("." + name);
}

// The value of the key that stands for the module. validate() sees to it that no two do.
template <class T>
T pattern_or(const std::map<std::string, T>& pattern, const std::string& module, T otherwise) {
    for (const auto& [name, value] : pattern) {
        if (stands_for(name, module)) {
            return value;
        }
    }
    return otherwise;
}

} // namespace

// ---- which layers, and how strongly ------------------------------------------------------------------------------

const std::vector<std::string>& linear_modules() {
    static const std::vector<std::string> names = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                   "gate_proj", "up_proj", "down_proj"};
    return names;
}

bool LoraConfig::applies_to(const std::string& module, int64_t layer) const {
    const auto stands = [&module](const std::string& name) { return stands_for(name, module); };
    if (std::any_of(exclude_modules.begin(), exclude_modules.end(), stands)) {
        return false;
    }
    if (std::count(target_modules.begin(), target_modules.end(), module) > 0) {
        return true; // whatever the layer, as in PEFT
    }
    return std::any_of(target_modules.begin(), target_modules.end(), stands) &&
           (layers_to_transform.empty() ||
            std::count(layers_to_transform.begin(), layers_to_transform.end(), layer) > 0);
}

int64_t LoraConfig::rank_of(const std::string& module) const {
    return pattern_or(rank_pattern, module, r);
}

double LoraConfig::scale_of(const std::string& module) const {
    const double rank = static_cast<double>(rank_of(module));
    return pattern_or(alpha_pattern, module, alpha) / (use_rslora ? std::sqrt(rank) : rank);
}

int64_t LoraConfig::largest_rank() const {
    int64_t largest = r;
    for (const auto& [name, rank] : rank_pattern) {
        largest = std::max(largest, rank);
    }
    return largest;
}

// ---- validation --------------------------------------------------------------------------------------------------

namespace {

void check_rank(const std::string& where, const std::string& field, int64_t r) {
    CHECK(r >= 1 && r <= kMaxRank, "%s: %s is %lld, must be between 1 and %lld", where.c_str(), field.c_str(),
          static_cast<long long>(r), static_cast<long long>(kMaxRank));
}

void check_alpha(const std::string& where, const std::string& field, double alpha) {
    CHECK(alpha >= std::numeric_limits<float>::min() && alpha <= std::numeric_limits<float>::max(),
          "%s: %s is %g, must be a positive number that F32 has", where.c_str(), field.c_str(), alpha);
}

// A letter of a regular expression in a name would mean something else to PEFT.
void check_name(const std::string& where, const char* field, const std::string& name) {
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '.';
    });
    CHECK(plain, "%s: %s has \"%s\", expected the name of a module", where.c_str(), field,
          shown(name).c_str());
}

void check_targets(const LoraConfig& config, const std::string& where) {
    CHECK(!config.target_modules.empty(), "%s: target_modules is empty", where.c_str());
    for (const std::string& name : config.target_modules) {
        const std::string last = name.substr(name.rfind('.') + 1); // npos + 1 is 0
        CHECK(std::count(linear_modules().begin(), linear_modules().end(), last) > 0,
              "%s: target_modules has %s, which is no linear layer of the decoder", where.c_str(),
              shown(name).c_str());
        check_name(where, "target_modules", name);
        CHECK(std::count(config.target_modules.begin(), config.target_modules.end(), name) == 1,
              "%s: target_modules has %s twice", where.c_str(), name.c_str());
    }
}

// PEFT takes the first key that matches, and the order of keys in a JSON object is no order to rely on.
template <class T>
void check_pattern(const std::string& where, const char* field, const std::map<std::string, T>& pattern) {
    for (const auto& [name, value] : pattern) {
        check_name(where, field, name);
        for (const auto& [other, ignored] : pattern) {
            CHECK(&other == &name || !stands_for(other, name),
                  "%s: %s has %s and %s, which stand for the same module", where.c_str(), field, name.c_str(),
                  other.c_str());
        }
    }
}

} // namespace

void validate(const LoraConfig& config, const std::string& where) {
    check_rank(where, "r", config.r);
    check_alpha(where, "lora_alpha", config.alpha);
    check_targets(config, where);
    for (const std::string& name : config.exclude_modules) {
        check_name(where, "exclude_modules", name);
    }
    for (const int64_t layer : config.layers_to_transform) {
        CHECK(layer >= 0 && layer <= kMaxLayer,
              "%s: layers_to_transform has %lld, must be between 0 and %lld", where.c_str(),
              static_cast<long long>(layer), static_cast<long long>(kMaxLayer));
    }
    check_pattern(where, "rank_pattern", config.rank_pattern);
    for (const auto& [name, rank] : config.rank_pattern) {
        check_rank(where, "rank_pattern of " + name, rank);
    }
    check_pattern(where, "alpha_pattern", config.alpha_pattern);
    for (const auto& [name, alpha] : config.alpha_pattern) {
        check_alpha(where, "alpha_pattern of " + name, alpha);
    }
}

// ---- reading -----------------------------------------------------------------------------------------------------

namespace {

// Fields of PEFT that change what an adapter computes, or where it sits, in ways not computed here. Each must be absent,
// null, false, or empty.
const char* const kAdapterFieldsUnset[] = {"use_dora",
                                           "modules_to_save",
                                           "fan_in_fan_out",
                                           "lora_bias",
                                           "use_qalora",
                                           "use_bdlora",
                                           "layer_replication",
                                           "target_parameters",
                                           "arrow_config",
                                           "kasa_config",
                                           "megatron_config",
                                           "trainable_token_indices",
                                           "alora_invocation_tokens",
                                           "velora_config",
                                           "monteclora_config"};

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

// A list of names; a text is a pattern.
std::vector<std::string> read_names(const json& list, const char* field, const std::string& path) {
    CHECK(!list.is_string(), "%s: %s is a pattern, \"%s\", expected a list of names", path.c_str(), field,
          shown(list.get_ref<const std::string&>()).c_str());
    CHECK(list.is_array(), "%s: %s is %s, expected a list of names", path.c_str(), field, list.type_name());
    std::vector<std::string> names;
    for (const json& entry : list) {
        names.push_back(as_string(entry, std::string("an entry of ") + field, path));
    }
    return names;
}

// In the order of the layers, whatever the order in the file; longer names stay at the end.
std::vector<std::string> read_target_modules(const json& root, const std::string& path) {
    const json& value = need_field(root, "target_modules", path);
    const std::vector<std::string>& known = linear_modules();
    if (value.is_string()) {
        std::string text = value.get<std::string>();
        std::transform(text.begin(), text.end(), text.begin(),
                       [](unsigned char c) { return std::tolower(c); });
        if (text == "all-linear") {
            return known;
        }
    }
    std::vector<std::string> names = read_names(value, "target_modules", path);
    std::stable_sort(names.begin(), names.end(), [&known](const std::string& a, const std::string& b) {
        return std::find(known.begin(), known.end(), a) < std::find(known.begin(), known.end(), b);
    });
    return names;
}

// An index or a list of them. Which numbers are layers is asked of layers_pattern: here they follow "layers".
std::vector<int64_t> read_layers(const json& root, const std::string& path) {
    const json* pattern = find_field(root, "layers_pattern");
    const bool usual = pattern == nullptr || is_unset(*pattern) || *pattern == "" || *pattern == "layers" ||
                       *pattern == json::array({"layers"});
    CHECK(usual, "%s: layers_pattern is %s, computed is \"layers\"", path.c_str(),
          shown(pattern->dump()).c_str());
    const json* layers = find_field(root, "layers_to_transform");
    std::vector<int64_t> indices;
    if (layers != nullptr && layers->is_array()) {
        for (const json& index : *layers) {
            indices.push_back(as_int(index, "an entry of layers_to_transform", path));
        }
    } else if (layers != nullptr) {
        indices.push_back(as_int(*layers, "layers_to_transform", path));
    }
    CHECK(indices.empty() || !root["target_modules"].is_string(),
          "%s: layers_to_transform with target_modules \"all-linear\" is not computed (PEFT refuses it)",
          path.c_str());
    return indices;
}

template <class T>
std::map<std::string, T> read_pattern(const json& root, const char* field, const std::string& path) {
    std::map<std::string, T> pattern;
    if (const json* object = find_field(root, field)) {
        for (const auto& [name, value] : as_object(*object, field, path).items()) {
            const std::string what = std::string(field) + " of " + shown(name);
            if constexpr (std::is_same_v<T, int64_t>) {
                pattern[name] = as_int(value, what, path);
            } else {
                pattern[name] = as_number(value, what, path);
            }
        }
    }
    return pattern;
}

} // namespace

LoraConfig read_lora_config(const std::string& path) {
    const json root = parse_json_object(read_file(path), path);
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
    config.use_rslora = bool_or(root, "use_rslora", false, path);
    config.target_modules = read_target_modules(root, path);
    if (const json* names = find_field(root, "exclude_modules")) {
        config.exclude_modules = read_names(*names, "exclude_modules", path);
    }
    config.layers_to_transform = read_layers(root, path);
    config.rank_pattern = read_pattern<int64_t>(root, "rank_pattern", path);
    config.alpha_pattern = read_pattern<double>(root, "alpha_pattern", path);
    validate(config, path);
    return config;
}

// ---- writing -----------------------------------------------------------------------------------------------------

namespace {

// PEFT's alpha is an integer; it takes others too, but writes 32 and not 32.0.
ordered_json alpha_json(double alpha) {
    const bool whole = alpha == std::floor(alpha) && alpha < 1e15;
    return whole ? ordered_json(static_cast<int64_t>(alpha)) : ordered_json(alpha);
}

template <class List>
ordered_json list_or_null(const List& list) {
    return list.empty() ? ordered_json(nullptr) : ordered_json(list);
}

} // namespace

void write_lora_config(const std::string& path, const LoraConfig& config, const std::string& base_model) {
    validate(config, path);
    std::vector<std::string> modules = config.target_modules;
    std::sort(modules.begin(), modules.end());
    ordered_json root;
    root["peft_type"] = "LORA";
    root["task_type"] = "CAUSAL_LM";
    root["base_model_name_or_path"] = base_model;
    root["r"] = config.r;
    root["lora_alpha"] = alpha_json(config.alpha);
    root["lora_dropout"] = 0.0;
    root["target_modules"] = modules;
    root["exclude_modules"] = list_or_null(config.exclude_modules);
    root["bias"] = "none";
    root["fan_in_fan_out"] = false;
    root["use_rslora"] = config.use_rslora;
    root["use_dora"] = false;
    root["inference_mode"] = true;
    root["init_lora_weights"] = true;
    root["modules_to_save"] = nullptr;
    root["rank_pattern"] = config.rank_pattern;
    root["alpha_pattern"] = ordered_json::object();
    for (const auto& [name, alpha] : config.alpha_pattern) {
        root["alpha_pattern"][name] = alpha_json(alpha);
    }
    root["layers_pattern"] =
        config.layers_to_transform.empty() ? ordered_json(nullptr) : ordered_json("layers");
    root["layers_to_transform"] = list_or_null(config.layers_to_transform);
    root["revision"] = nullptr;
    write_file(path, dump_json(root, path, 2) + "\n");
}

} // namespace skintern
