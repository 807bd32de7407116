// config.json: both spellings are read, what is not computed is refused by name.
#include "test.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "formats/config.h"
#include "support/files.h"
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

// The same sizes under another architecture.
json as_architecture(const char* name, const char* model_type) {
    json root = llama();
    root["architectures"] = json::array({name});
    root["model_type"] = model_type;
    return root;
}

json qwen2() { return as_architecture("Qwen2ForCausalLM", "qwen2"); }
json qwen3() { return as_architecture("Qwen3ForCausalLM", "qwen3"); }
json mistral() { return as_architecture("MistralForCausalLM", "mistral"); }

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
    REQUIRE(a.o_bias == b.o_bias);
    REQUIRE(a.mlp_bias == b.mlp_bias);
    REQUIRE(a.qk_norm == b.qk_norm);
    REQUIRE(a.tied == b.tied);
    REQUIRE(a.bos == b.bos);
    REQUIRE(a.eos == b.eos);
}

} // namespace

// ---- config.json -------------------------------------------------------------------------------------------------

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
    REQUIRE_FALSE(read.config.qk_norm);
    REQUIRE(read(qwen3()) == "");
    REQUIRE(read.config.architecture == "Qwen3ForCausalLM");
    REQUIRE(read.config.qk_norm);
    REQUIRE_FALSE(read.config.qkv_bias);
    REQUIRE(read(mistral()) == "");
    REQUIRE(read.config.architecture == "MistralForCausalLM");
    REQUIRE_FALSE(read.config.qk_norm);
    REQUIRE_FALSE(read.config.qkv_bias);
    REQUIRE(read.text("\xef\xbb\xbf" + llama().dump(4)) == ""); // a byte order mark and line breaks
}

TEST_CASE("biases are where the architecture has them", "[config]") {
    Reader read;
    const auto biases = [&read](json root, json more) {
        root.update(more);
        REQUIRE(read(root) == "");
        return std::vector<bool>{read.config.qkv_bias, read.config.o_bias, read.config.mlp_bias};
    };
    using Biases = std::vector<bool>;
    REQUIRE(biases(llama(), {{"attention_bias", true}}) == Biases{true, true, false});
    REQUIRE(biases(llama(), {{"mlp_bias", true}}) == Biases{false, false, true});
    REQUIRE(biases(llama(), {{"attention_bias", nullptr}, {"mlp_bias", false}}) == Biases{false, false, false});
    REQUIRE(biases(qwen2(), {{"attention_bias", true}}) == Biases{true, false, false}); // as without the field
    REQUIRE(biases(qwen2(), {{"attention_bias", false}}) == Biases{true, false, false});
    REQUIRE(biases(qwen3(), {{"attention_bias", true}}) == Biases{true, true, false});
    REQUIRE(biases(mistral(), {{"attention_bias", false}}) == Biases{false, false, false});
    for (const json& root : {qwen2(), qwen3(), mistral()}) {
        json with = root;
        with["mlp_bias"] = true;
        REQUIRE(read(with) == "config.json: mlp_bias is true, which " +
                                  root["architectures"][0].get<std::string>() + " does not have");
    }
    json root = mistral();
    root["attention_bias"] = true;
    REQUIRE(read(root) == "config.json: attention_bias is true, which MistralForCausalLM does not have");
    REQUIRE_THAT(read.with("attention_bias", "yes"),
                 Contains("attention_bias is string, expected true or false"));
}

TEST_CASE("Mistral's sliding window is refused where it would hide a key", "[config]") {
    Reader read;
    const auto with = [&read](int64_t positions, const json& window) {
        json root = mistral();
        root["max_position_embeddings"] = positions;
        root["sliding_window"] = window;
        return read(root);
    };
    REQUIRE(with(32768, nullptr) == "");
    REQUIRE(with(4096, 4096) == ""); // the last query sees 4096 keys, all there are
    REQUIRE(with(4097, 4096) == "config.json: sliding_window is 4096, below max_position_embeddings 4097, which is "
                                "not computed");
    REQUIRE_THAT(with(4096, "no"), Contains("sliding_window is string"));
    // transformers takes 4096 where the field is missing.
    json root = mistral();
    root["max_position_embeddings"] = 4097;
    REQUIRE(read(root) == "config.json: sliding_window is 4096 (the field is missing), below "
                          "max_position_embeddings 4097, which is not computed");
    root.erase("max_position_embeddings");
    REQUIRE_THAT(read(root), Contains("below max_position_embeddings 131072"));
    root["sliding_window"] = nullptr;
    REQUIRE(read(root) == "");
    REQUIRE(read.config.max_positions == 131072);
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
    root["num_key_value_heads"] = nullptr;
    REQUIRE(read(root) == "");
    REQUIRE(read.config.kv_heads == 4);
    REQUIRE(read(qwen3()) == "");
    REQUIRE(read.config.head_size == 128); // whatever hidden_size and heads are
    root = qwen3();
    root["head_dim"] = 12;
    REQUIRE(read(root) == "");
    REQUIRE(read.config.head_size == 12);
    root["head_dim"] = nullptr;
    REQUIRE_THAT(read(root), Contains("head_dim is null, expected an integer"));
    root = mistral();
    root.erase("bos_token_id");
    root.erase("eos_token_id");
    REQUIRE(read(root) == "");
    REQUIRE(read.config.head_size == 16);
    REQUIRE(read.config.bos == 1);
    REQUIRE(read.config.eos == 2);
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
    for (const char* name : {"Qwen3MoeForCausalLM", "Gemma2ForCausalLM", "GPT2LMHeadModel",
                             "LlamaForSequenceClassification"}) {
        REQUIRE(read.with("architectures", json::array({name})) ==
                std::string("config.json: architectures[0] is ") + name +
                    ", computed here are LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM");
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
    for (const double value : {1e39, 1e-60}) { // what F32 has not would be infinite or 0 there
        REQUIRE_THAT(read.with("rms_norm_eps", value), Contains("must be a positive number that F32 has"));
    }
    REQUIRE_THAT(read.with("num_attention_heads", 0), Contains("num_attention_heads 0"));
    ModelConfig config;
    REQUIRE(error_of([&] { validate(config, "here"); }) == "");
    config.norm_eps = std::numeric_limits<double>::quiet_NaN();
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), StartsWith("here: rms_norm_eps is nan"));
    config = ModelConfig();
    config.architecture = "Qwen2ForCausalLM";
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), Contains("without biases on q, k and v"));
    config.architecture = "Qwen3ForCausalLM";
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), Contains("without q and k norms does not exist"));
    config.architecture = "LlamaForCausalLM";
    config.qk_norm = true;
    REQUIRE_THAT(error_of([&] { validate(config, "here"); }), Contains("with q and k norms does not exist"));
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
    config.qkv_bias = false;
    config.architecture = "MistralForCausalLM";
    config.max_positions = 32768;
    write_model_config(path, config, "bfloat16");
    require_equal(read_model_config(path), config);
    REQUIRE(json::parse(read_file(path))["model_type"] == "mistral");
    REQUIRE(json::parse(read_file(path))["torch_dtype"] == "bfloat16");
    for (const char* architecture : {"LlamaForCausalLM", "Qwen3ForCausalLM"}) {
        config.architecture = architecture;
        config.qk_norm = config.architecture == "Qwen3ForCausalLM";
        config.mlp_bias = config.architecture == "LlamaForCausalLM";
        for (const bool bias : {false, true}) {
            config.qkv_bias = config.o_bias = bias;
            write_model_config(path, config);
            require_equal(read_model_config(path), config);
        }
    }
}

TEST_CASE("a model that no config.json describes is not written", "[config]") {
    const TempFolder folder;
    const std::string path = folder / "config.json";
    ModelConfig config;
    config.qkv_bias = true;
    REQUIRE(error_of([&] { write_model_config(path, config); }) ==
            path + ": LlamaForCausalLM with biases on q, k, v has no spelling in config.json");
    config.architecture = "Qwen2ForCausalLM";
    config.o_bias = true;
    REQUIRE_THAT(error_of([&] { write_model_config(path, config); }), Contains("with biases on q, k, v o has no"));
    config.o_bias = false;
    config.mlp_bias = true;
    REQUIRE_THAT(error_of([&] { write_model_config(path, config); }), Contains("gate, up, down has no spelling"));
    config = ModelConfig();
    config.heads = 0;
    REQUIRE_THAT(error_of([&] { write_model_config(path, config); }), Contains("num_attention_heads is 0"));
}

TEST_CASE("the configs of the shared reference models are read", "[config]") {
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
    const ModelConfig qwen3 = read("qwen3");
    REQUIRE(qwen3.qk_norm);
    REQUIRE(qwen3.head_size == 12);
    REQUIRE(qwen3.tied);
}
