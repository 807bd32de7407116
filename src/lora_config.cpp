// lora_config.cpp — adapter_config.json of an adapter: read, checked, written.
//
// A file may ask for something that is not computed here, as DoRA. Then it is refused by the field's name. Not read:
// lora_dropout, which matters in training only.
#include "lora_config.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "files.h"
#include "strict_json.h"

namespace skintern {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kMaxRank = int64_t{1} << 20; // the widest layer that is computed

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
    CHECK(config.r >= 1 && config.r <= kMaxRank, "%s: r is %lld, must be between 1 and %lld", where.c_str(),
          static_cast<long long>(config.r), static_cast<long long>(kMaxRank));
    CHECK(config.alpha > 0 && std::isfinite(config.alpha), "%s: lora_alpha is %g, must be a positive number",
          where.c_str(), config.alpha);
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
