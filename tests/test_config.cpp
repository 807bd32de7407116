// config.json and adapter_config.json: both spellings are read, what is not computed is refused by name.
#include "test.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "config.h"
#include "files.h"
#include "test_support.h"

using namespace skintern;
using nlohmann::json;

namespace {

json llama() {
    return {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"hidden_size", 64},
            {"intermediate_size", 176},
            {"num_attention_heads", 4},
            {"num_hidden_layers", 2},
            {"num_key_value_heads", 2},
            {"vocab_size", 320},
            {"max_position_embeddings", 256},
            {"rms_norm_eps", 1e-5},
            {"hidden_act", "silu"},
            {"eos_token_id", 2},
            {"bos_token_id", 1}};
}

json qwen2() {
    json root = llama();
    root["architectures"] = json::array({"Qwen2ForCausalLM"});
    root["model_type"] = "qwen2";
    return root;
}

// Reads a config; the sentence of the error without the folder's name, or "".
class Reader {
public:
    std::string operator()(const json& root) { return text(root.dump()); }
    std::string text(const std::string& bytes) {
        const std::string path = folder / "config.json";
        put_file(path, bytes);
        const std::string message = error_of([&] { config = read_model_config(path); });
        REQUIRE((message.empty() || message.starts_with(path + ": ")));
        return message.empty() ? "" : message.substr(folder.path().size() + 1);
    }
    // A Llama config with one field changed.
    std::string with(const std::string& field, const json& value) {
        json root = llama();
        root[field] = value;
        return (*this)(root);
    }
    std::string without(const std::string& field) {
        json root = llama();
        root.erase(field);
        return (*this)(root);
    }
    const TempFolder folder;
    ModelConfig config;
};

void require_equal(const ModelConfig& a, const ModelConfig& b) {
    REQUIRE(a.architecture == b.architecture);
    REQUIRE(a.layers == b.layers);
    REQUIRE(a.channels == b.channels);
    REQUIRE(a.heads == b.heads);
    REQUIRE(a.kv_heads == b.kv_heads);
    REQUIRE(a.head_size == b.head_size);
    REQUIRE(a.ffn == b.ffn);
    REQUIRE(a.vocab == b.vocab);
    REQUIRE(a.max_positions == b.max_positions);
    REQUIRE(a.norm_eps == b.norm_eps);
    REQUIRE(a.rope_theta == b.rope_theta);
    REQUIRE(a.rope_scaling.type == b.rope_scaling.type);
    REQUIRE(a.rope_scaling.factor == b.rope_scaling.factor);
    REQUIRE(a.rope_scaling.low_freq_factor == b.rope_scaling.low_freq_factor);
    REQUIRE(a.rope_scaling.high_freq_factor == b.rope_scaling.high_freq_factor);
    REQUIRE(a.rope_scaling.original_max_positions == b.rope_scaling.original_max_positions);
    REQUIRE(a.qkv_bias == b.qkv_bias);
    REQUIRE(a.tied == b.tied);
    REQUIRE(a.bos == b.bos);
    REQUIRE(a.eos == b.eos);
}

} // namespace

// ---- config.json
// ---------------------------------------------------------------------------------------------------

TEST_CASE("a config of each architecture is read field by field", "[config]") {
    Reader read;
    REQUIRE(read(llama()) == "");
    REQUIRE(read.config.architecture == "LlamaForCausalLM");
    REQUIRE(read.config.layers == 2);
    REQUIRE(read.config.channels == 64);
    REQUIRE(read.config.heads == 4);
    REQUIRE(read.config.kv_heads == 2);
    REQUIRE(read.config.head_size == 16);
    REQUIRE(read.config.ffn == 176);
    REQUIRE(read.config.vocab == 320);
    REQUIRE(read.config.max_positions == 256);
    REQUIRE(read.config.norm_eps == 1e-5);
    REQUIRE(read.config.bos == 1);
    REQUIRE(read.config.eos == 2);
    REQUIRE_FALSE(read.config.qkv_bias);
    REQUIRE_FALSE(read.config.tied);
    REQUIRE(read(qwen2()) == "");
    REQUIRE(read.config.architecture == "Qwen2ForCausalLM");
    REQUIRE(read.config.qkv_bias);
    REQUIRE(read.text("\xef\xbb\xbf" + llama().dump(4)) == ""); // a byte order mark and line breaks
}

TEST_CASE("rope is read from both spellings", "[config]") {
    Reader read;
    const auto rope = [&read](json more) {
        json root = llama();
        root.update(more);
        return read(root);
    };
    REQUIRE(rope(json::object()) == "");
    REQUIRE(read.config.rope_theta == 10000);
    REQUIRE(rope({{"rope_theta", 500000}, {"rope_scaling", nullptr}}) == "");
    REQUIRE(read.config.rope_theta == 500000);
    REQUIRE(rope({{"rope_parameters", {{"rope_theta", 1e6}, {"rope_type", "default"}}}}) == "");
    REQUIRE(read.config.rope_theta == 1e6);
    REQUIRE(read.config.rope_scaling.type == "default");
    REQUIRE(rope({{"rope_theta", 7.0}, {"rope_scaling", {{"type", "linear"}, {"factor", 2.5}}}}) ==
            ""); // the oldest
    REQUIRE(read.config.rope_theta == 7);
    REQUIRE(read.config.rope_scaling.type == "linear");
    REQUIRE(read.config.rope_scaling.factor == 2.5);
    const json llama3 = {{"rope_type", "llama3"},  {"factor", 8.0},
                         {"low_freq_factor", 1.5}, {"high_freq_factor", 4.5},
                         {"rope_theta", 500000.0}, {"original_max_position_embeddings", 32}};
    for (const char* spelling : {"rope_scaling", "rope_parameters"}) {
        REQUIRE(rope({{spelling, llama3}}) == "");
        REQUIRE(read.config.rope_theta == 500000);
        REQUIRE(read.config.rope_scaling.type == "llama3");
        REQUIRE(read.config.rope_scaling.factor == 8);
        REQUIRE(read.config.rope_scaling.low_freq_factor == 1.5);
        REQUIRE(read.config.rope_scaling.high_freq_factor == 4.5);
        REQUIRE(read.config.rope_scaling.original_max_positions == 32);
        for (const char* field :
             {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
            json part = llama3;
            part.erase(field);
            REQUIRE_THAT(rope({{spelling, part}}),
                         Contains(std::string(spelling) + ": the field " + field + " is missing"));
        }
    }
    REQUIRE_THAT(rope({{"rope_scaling", {{"factor", 2}}}}),
                 Contains("rope_scaling: the field type is missing"));
    REQUIRE_THAT(rope({{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}}), Contains("rope_type is yarn"));
    REQUIRE_THAT(rope({{"rope_parameters", {{"rope_type", "dynamic"}}}}), Contains("rope_type is dynamic"));
    REQUIRE_THAT(rope({{"rope_scaling", llama3}, {"rope_parameters", llama3}}), Contains("are both there"));
    REQUIRE_THAT(rope({{"rope_scaling", 2}}), Contains("rope_scaling is number, expected an object"));
    REQUIRE_THAT(rope({{"rope_theta", 0}}), Contains("rope_theta is 0, must be a positive number"));
    REQUIRE_THAT(rope({{"rope_theta", "1e4"}}), Contains("rope_theta is string, expected a number"));
    REQUIRE_THAT(rope({{"rope_scaling", {{"type", "linear"}, {"factor", 0}}}}), Contains("rope factor is 0"));
    json flat = llama3;
    flat["low_freq_factor"] = 4.5;
    REQUIRE_THAT(rope({{"rope_scaling", flat}}), Contains("high_freq_factor is 4.5, must be above"));
    flat = llama3;
    flat["partial_rotary_factor"] = 0.5;
    REQUIRE_THAT(rope({{"rope_parameters", flat}}), Contains("partial_rotary_factor is not 1"));
}

TEST_CASE("fields that older files leave out have the value transformers gives them", "[config]") {
    Reader read;
    REQUIRE(read.without("num_key_value_heads") == "");
    REQUIRE(read.config.kv_heads == 4);
    REQUIRE(read.with("num_key_value_heads", nullptr) == "");
    REQUIRE(read.config.kv_heads == 4);
    REQUIRE(read.with("head_dim", nullptr) == "");
    REQUIRE(read.config.head_size == 16);
    REQUIRE(read.with("head_dim", 24) == ""); // not hidden_size / heads
    REQUIRE(read.config.head_size == 24);
    REQUIRE(read.without("rms_norm_eps") == "");
    REQUIRE(read.config.norm_eps == 1e-6);
    REQUIRE(read.without("max_position_embeddings") == "");
    REQUIRE(read.config.max_positions == 2048);
    REQUIRE(read.without("model_type") == "");
    REQUIRE(read.with("tie_word_embeddings", true) == "");
    REQUIRE(read.config.tied);
    REQUIRE(read.with("hidden_size", 66) ==
            "config.json: there is no head_dim, and hidden_size 66 is no multiple of num_attention_heads 4");
    json root = qwen2();
    root.erase("num_key_value_heads");
    REQUIRE(read(root) == "config.json: the field num_key_value_heads is missing");
    for (const char* field : {"architectures", "hidden_size", "intermediate_size", "num_attention_heads",
                              "num_hidden_layers", "vocab_size"}) {
        REQUIRE(read.without(field) == std::string("config.json: the field ") + field + " is missing");
    }
}

TEST_CASE("the end of sequence may be an id, a list or null", "[config]") {
    Reader read;
    REQUIRE(read.with("eos_token_id", json::array({7, 8})) == "");
    REQUIRE(read.config.eos == 7);
    REQUIRE(read.with("eos_token_id", nullptr) == "");
    REQUIRE(read.config.eos == -1);
    REQUIRE(read.without("bos_token_id") == "");
    REQUIRE(read.config.bos == 1); // Llama's in transformers; Qwen2 has none
    json root = qwen2();
    root.erase("eos_token_id");
    REQUIRE(read(root) == "");
    REQUIRE(read.config.eos == -1);
    REQUIRE(read.with("eos_token_id", 319) == "");
    REQUIRE_THAT(read.with("eos_token_id", 320),
                 Contains("eos_token_id is 320, must be below vocab_size 320"));
    REQUIRE_THAT(read.with("bos_token_id", 99999),
                 Contains("bos_token_id is 99999, must be below vocab_size 320"));
    REQUIRE_THAT(read.with("eos_token_id", -2), Contains("eos_token_id is -2, which is no token id"));
    REQUIRE_THAT(read.with("eos_token_id", int64_t{1} << 32), Contains("which is no token id"));
    REQUIRE_THAT(read.with("eos_token_id", json::array()), Contains("eos_token_id is an empty list"));
    REQUIRE_THAT(read.with("eos_token_id", json::array({"a"})), Contains("eos_token_id is string"));
    REQUIRE_THAT(read.with("eos_token_id", 2.5), Contains("eos_token_id is 2.5, expected an integer"));
}

TEST_CASE("architectures that are not computed are refused by name", "[config]") {
    Reader read;
    for (const char* name :
         {"Qwen3ForCausalLM", "MistralForCausalLM", "GPT2LMHeadModel", "LlamaForSequenceClassification"}) {
        REQUIRE_THAT(read.with("architectures", json::array({name})),
                     Contains(std::string("architectures[0] is ") + name));
    }
    REQUIRE_THAT(read.with("architectures", "LlamaForCausalLM"), Contains("must be a list of one name"));
    REQUIRE_THAT(read.with("architectures", json::array()), Contains("must be a list of one name"));
    REQUIRE_THAT(read.with("architectures", nullptr), Contains("must be a list of one name"));
    REQUIRE_THAT(read.with("model_type", "mistral"),
                 Contains("model_type is mistral, which does not go with"));
}

TEST_CASE("settings that are not computed are refused by name", "[config]") {
    Reader read;
    const std::vector<std::pair<std::string, json>> refused = {
        {"hidden_act", "gelu"},
        {"mlp_bias", true},
        {"attention_bias", true},
        {"use_sliding_window", true},
        {"quantization_config", {{"bits", 4}}},
        {"partial_rotary_factor", 0.5},
        {"layer_types", {"full_attention", "sliding_attention"}},
    };
    for (const auto& [field, value] : refused) {
        REQUIRE_THAT(read.with(field, value), Contains("config.json: " + field));
    }
    // The same fields where they change nothing.
    json root = llama();
    root.update({{"mlp_bias", false},
                 {"attention_bias", nullptr},
                 {"use_sliding_window", false},
                 {"quantization_config", nullptr},
                 {"sliding_window", 4096},
                 {"layer_types", {"full_attention", "full_attention"}}});
    REQUIRE(read(root) == "");
    root = qwen2();
    root["attention_bias"] = true; // it has these biases anyway
    REQUIRE(read(root) == "");
    REQUIRE_THAT(read.with("mlp_bias", "yes"), Contains("mlp_bias is string, expected true or false"));
    REQUIRE_THAT(read.with("hidden_act", 1), Contains("hidden_act is number, expected a string"));
}

TEST_CASE("sizes that cannot be are refused with field and value", "[config]") {
    Reader read;
    for (const char* field : {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers",
                              "num_key_value_heads", "vocab_size", "max_position_embeddings", "head_dim"}) {
        json root = llama();
        root["head_dim"] = 16;
        for (const int64_t value : {int64_t{0}, int64_t{-4}, int64_t{1} << 40, INT64_MAX}) {
            root[field] = value;
            REQUIRE_THAT(read(root),
                         Contains(std::string(field) + " is " + std::to_string(value) + ", must be"));
        }
        root[field] = UINT64_MAX;
        REQUIRE_THAT(read(root),
                     Contains(std::string(field) + " is 18446744073709551615, which is too large"));
        root[field] = "16";
        REQUIRE_THAT(read(root), Contains(std::string(field) + " is string, expected an integer"));
        root[field] = 16.0;
        REQUIRE_THAT(read(root), Contains(std::string(field) + " is 16.0, expected an integer"));
    }
    REQUIRE_THAT(read.with("num_hidden_layers", 1025),
                 Contains("num_hidden_layers is 1025, must be between 1 and 1024"));
    REQUIRE(read.with("num_hidden_layers", 1024) == "");
    REQUIRE_THAT(read.with("num_key_value_heads", 3),
                 Contains("num_attention_heads is 4, no multiple of num_key_value_heads 3"));
    REQUIRE_THAT(read.with("num_key_value_heads", 8), Contains("no multiple of num_key_value_heads 8"));
    REQUIRE_THAT(read.with("head_dim", 15), Contains("head_dim is 15, must be even"));
    REQUIRE_THAT(read.with("head_dim", 1 << 20), Contains("num_attention_heads * head_dim is 4194304"));
    REQUIRE_THAT(read.with("rms_norm_eps", 0), Contains("rms_norm_eps is 0, must be a positive number"));
    REQUIRE_THAT(read.with("num_attention_heads", 0), Contains("num_attention_heads 0"));
    ModelConfig config;
    REQUIRE(error_of([&] { validate(config, "here"); }) == "");
    config.norm_eps = std::numeric_limits<double>::quiet_NaN();
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), StartsWith("here: rms_norm_eps is nan"));
    config = ModelConfig();
    config.architecture = "Qwen2ForCausalLM";
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), Contains("without biases on q, k and v"));
}

TEST_CASE("a file that is no JSON object is refused", "[config]") {
    Reader read;
    REQUIRE_THAT(read.text(""), Contains("config.json: is empty"));
    REQUIRE_THAT(read.text("[]"), Contains("config.json: is JSON, but array and no object"));
    REQUIRE_THAT(read.text(llama().dump(1).substr(0, 60)),
                 Contains("config.json: is not valid JSON at byte 60 (line"));
    REQUIRE_THAT(read.text(std::string(100'000, '[')), Contains("64 deep"));
    REQUIRE_THAT(read.text("{\"a\":1,\"a\":2}"), Contains("the key \"a\" occurs twice"));
    REQUIRE_THAT(error_of([] { read_model_config("no/config.json"); }),
                 Contains("no/config.json: cannot be opened"));
}

TEST_CASE("a config that is written reads back the same", "[config]") {
    const TempFolder folder;
    const std::string path = folder / "config.json";
    ModelConfig config;
    config.eos = 2;
    config.norm_eps = 1.2345678901234567e-5;
    config.tied = true;
    config.head_size = 40;
    config.kv_heads = 3;
    write_model_config(path, config);
    require_equal(read_model_config(path), config);
    config.rope_scaling = {"llama3", 8, 1.5, 4.5, 32};
    config.rope_theta = 500000;
    write_model_config(path, config);
    require_equal(read_model_config(path), config);
    config.rope_scaling = {};
    config.rope_scaling.type = "linear";
    config.rope_scaling.factor = 2;
    config.architecture = "Qwen2ForCausalLM";
    config.qkv_bias = true;
    write_model_config(path, config);
    require_equal(read_model_config(path), config);
    config.architecture = "LlamaForCausalLM";
    REQUIRE_THAT(error_of([&] { write_model_config(path, config); }),
                 Contains("has no spelling in config.json"));
    config.heads = 0;
    REQUIRE_THAT(error_of([&] { write_model_config(path, config); }), Contains("num_attention_heads is 0"));
}

TEST_CASE("the configs of the shared reference models are read, and qwen3 is refused", "[config]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    const auto read = [&root](const std::string& name) {
        return read_model_config(root + "/" + name + "/model/config.json");
    };
    const ModelConfig gqa = read("llama-gqa");
    REQUIRE(gqa.heads == 4);
    REQUIRE(gqa.kv_heads == 2);
    REQUIRE(gqa.eos == 134);
    REQUIRE_FALSE(gqa.tied);
    ModelConfig bf16 = read("bf16-sharded");
    REQUIRE(bf16.eos == 266);
    bf16.eos = gqa.eos;
    require_equal(bf16, gqa);
    const ModelConfig tied = read("llama-tied-headdim");
    REQUIRE(tied.head_size == 24);
    REQUIRE(tied.channels == 48);
    REQUIRE(tied.norm_eps == 1e-3);
    REQUIRE(tied.tied);
    const ModelConfig llama3 = read("llama3-rope");
    REQUIRE(llama3.head_size == 20); // 40 / 2, not in the file
    REQUIRE(llama3.rope_theta == 500000);
    REQUIRE(llama3.rope_scaling.type == "llama3");
    REQUIRE(llama3.rope_scaling.factor == 8);
    REQUIRE(llama3.rope_scaling.original_max_positions == 32);
    const ModelConfig qwen = read("qwen2");
    REQUIRE(qwen.qkv_bias);
    REQUIRE(qwen.rope_theta == 1e6);
    REQUIRE_THAT(error_of([&] { read("qwen3"); }), Contains("architectures[0] is Qwen3ForCausalLM"));
    const LoraConfig lora = read_lora_config(root + "/llama-gqa/adapter_init/adapter_config.json");
    REQUIRE(lora.r == 4);
    REQUIRE(lora.alpha == 8);
    REQUIRE(lora.target_modules == LoraConfig().target_modules);
}

// ---- adapter_config.json
// -------------------------------------------------------------------------------------------

TEST_CASE("an adapter config that is written has PEFT's fields and reads back the same", "[config]") {
    const TempFolder folder;
    const std::string path = folder / "adapter_config.json";
    LoraConfig config;
    config.r = 8;
    config.alpha = 12.5;
    config.target_modules = {"q_proj", "v_proj", "down_proj"};
    write_lora_config(path, config, "the/base");
    const LoraConfig back = read_lora_config(path);
    REQUIRE(back.r == 8);
    REQUIRE(back.alpha == 12.5);
    REQUIRE(back.target_modules == config.target_modules);
    config.alpha = 16;
    write_lora_config(path, config, "the/base");
    const json root = json::parse(read_file(path));
    REQUIRE(root["peft_type"] == "LORA");
    REQUIRE(root["task_type"] == "CAUSAL_LM");
    REQUIRE(root["base_model_name_or_path"] == "the/base");
    REQUIRE(root["r"] == 8);
    REQUIRE(root["lora_alpha"].dump() == "16");
    REQUIRE(root["lora_dropout"] == 0);
    REQUIRE(root["target_modules"] == json::array({"down_proj", "q_proj", "v_proj"}));
    REQUIRE(root["bias"] == "none");
    REQUIRE(root["inference_mode"] == true);
    config.r = 0;
    REQUIRE_THAT(error_of([&] { write_lora_config(path, config, "base"); }), Contains("r is 0, must be"));
    config = LoraConfig();
    config.target_modules = {"q_proj", "lm_head"};
    REQUIRE_THAT(error_of([&] { write_lora_config(path, config, "base"); }),
                 Contains("target_modules has lm_head"));
}

TEST_CASE("an adapter that is not computed is refused by the name of the field", "[config]") {
    const TempFolder folder;
    const std::string path = folder / "adapter_config.json";
    const json good = {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}, {"target_modules", {"q_proj"}}};
    const auto with = [&](const std::string& field, const json& value) {
        json root = good;
        root[field] = value;
        put_file(path, root.dump());
        return error_of([&] { read_lora_config(path); });
    };
    REQUIRE(with("r", 4) == "");
    const std::vector<std::pair<std::string, json>> refused = {
        {"peft_type", "LOHA"},
        {"task_type", "SEQ_CLS"},
        {"use_dora", true},
        {"use_rslora", true},
        {"bias", "all"},
        {"modules_to_save", {"lm_head"}},
        {"rank_pattern", {{"q_proj", 8}}},
        {"alpha_pattern", {{"q_proj", 8}}},
        {"fan_in_fan_out", true},
        {"lora_bias", true},
        {"layers_to_transform", {0}},
        {"layers_to_transform", 0},
        {"trainable_token_indices", {1}},
        {"init_lora_weights", "pissa"},
        {"r", 0},
        {"r", -1},
        {"r", 4.0},
        {"r", "4"},
        {"r", int64_t{1} << 40},
        {"lora_alpha", 0},
        {"lora_alpha", -8},
        {"lora_alpha", "8"},
        {"target_modules", "q_proj"},
        {"target_modules", ".*_proj"},
        {"target_modules", nullptr},
        {"target_modules", json::array()},
        {"target_modules", {"q_proj", "lm_head"}},
        {"target_modules", {"q_proj", "q_proj"}},
        {"target_modules", {"q_proj", 1}},
    };
    for (const auto& [field, value] : refused) {
        INFO(field << " = " << value.dump());
        REQUIRE_THAT(with(field, value), StartsWith(path + ": ") && Contains(field));
    }
    for (const char* field :
         {"use_dora", "modules_to_save", "rank_pattern", "bias", "task_type", "lora_bias"}) {
        REQUIRE(with(field, nullptr) == "");
    }
    REQUIRE_THAT(with("target_modules", ".*_proj"), Contains("target_modules is a pattern, \".*_proj\""));
    REQUIRE(with("rank_pattern", json::object()) == "");
    REQUIRE(with("init_lora_weights", "gaussian") == "");
    REQUIRE(with("lora_dropout", 0.1) == ""); // of no effect outside its own training
    for (const char* field : {"peft_type", "r", "lora_alpha", "target_modules"}) {
        json root = good;
        root.erase(field);
        put_file(path, root.dump());
        REQUIRE_THAT(error_of([&] { read_lora_config(path); }),
                     Contains(std::string("the field ") + field + " is missing"));
    }
}
