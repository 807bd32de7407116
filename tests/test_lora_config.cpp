// adapter_config.json: what PEFT writes is read, what is not computed is refused by name.
#include "test.h"

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "formats/lora_config.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;
using nlohmann::json;

TEST_CASE("an adapter config that is written has PEFT's fields and reads back the same", "[lora]") {
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
    REQUIRE_FALSE(back.use_rslora);
    REQUIRE(json::parse(read_file(path))["layers_to_transform"] == nullptr);
    config.use_rslora = true;
    config.exclude_modules = {"layers.1.mlp.down_proj"};
    config.layers_to_transform = {1, 3};
    config.rank_pattern = {{"q_proj", 2}};
    config.alpha_pattern = {{"v_proj", 2.5}, {"q_proj", 3}};
    write_lora_config(path, config, "the/base");
    const LoraConfig more = read_lora_config(path);
    REQUIRE(more.use_rslora);
    REQUIRE(more.exclude_modules == config.exclude_modules);
    REQUIRE(more.layers_to_transform == config.layers_to_transform);
    REQUIRE(more.rank_pattern == config.rank_pattern);
    REQUIRE(more.alpha_pattern == config.alpha_pattern);
    config = back;
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

TEST_CASE("an adapter that is not computed is refused by the name of the field", "[lora]") {
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
        {"bias", "all"},
        {"modules_to_save", {"lm_head"}},
        {"rank_pattern", {{"q_proj", 0}}},
        {"rank_pattern", {{"q_proj", 8.5}}},
        {"rank_pattern", {{"^model.*q_proj", 8}}},
        {"rank_pattern", {{"q_proj", 8}, {"self_attn.q_proj", 4}}},
        {"alpha_pattern", {{"q_proj", 0}}},
        {"alpha_pattern", {{"q_proj|k_proj", 8}}},
        {"alpha_pattern", 8},
        {"exclude_modules", ".*layers.0.*"},
        {"exclude_modules", {"layers.[01].mlp.up_proj"}},
        {"use_rslora", 1},
        {"fan_in_fan_out", true},
        {"lora_bias", true},
        {"layers_to_transform", {-1}},
        {"layers_to_transform", {0.5}},
        {"layers_to_transform", "0"},
        {"layers_pattern", "h"},
        {"layers_pattern", {"layers", "h"}},
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
        {"target_modules", {""}},
        {"target_modules", {".*.q_proj"}},
        {"target_modules", {"mlp"}},
    };
    for (const auto& [field, value] : refused) {
        INFO(field << " = " << value.dump());
        REQUIRE_THAT(with(field, value), StartsWith(path + ": ") && Contains(field));
    }
    for (const char* field :
         {"use_dora", "modules_to_save", "rank_pattern", "bias", "task_type", "lora_bias"}) {
        REQUIRE(with(field, nullptr) == "");
    }
    REQUIRE(with("rank_pattern", {{"q_proj", 8}, {"k_proj", 4}, {"up_q_proj", 4}}) == "");
    REQUIRE(with("layers_pattern", json::array({"layers"})) == "");
    json linear = good;
    linear.update({{"target_modules", "all-linear"}, {"layers_to_transform", {0}}});
    put_file(path, linear.dump());
    REQUIRE_THAT(error_of([&] { read_lora_config(path); }),
                 Contains("layers_to_transform with target_modules"));
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

TEST_CASE("an adapter sits on the layers on which PEFT puts it, with PEFT's rank and scale", "[lora]") {
    const std::string q0 = "model.layers.0.self_attn.q_proj", q1 = "model.layers.1.self_attn.q_proj";
    const std::string up0 = "model.layers.0.mlp.up_proj";
    LoraConfig config;
    config.r = 4;
    config.alpha = 8;
    config.target_modules = {"self_attn.q_proj", up0};
    REQUIRE(config.applies_to(q0, 0));
    REQUIRE(config.applies_to(q1, 1));
    REQUIRE(config.applies_to(up0, 0));
    REQUIRE_FALSE(config.applies_to("model.layers.1.mlp.up_proj", 1));
    REQUIRE_FALSE(config.applies_to("model.layers.0.self_attn.v_proj", 0));
    config.target_modules = {"proj"}; // no part of a name
    REQUIRE_FALSE(config.applies_to(q0, 0));
    config.target_modules = {"q_proj", up0};
    config.layers_to_transform = {1};
    REQUIRE_FALSE(config.applies_to(q0, 0));
    REQUIRE(config.applies_to(q1, 1));
    REQUIRE(config.applies_to(up0, 0)); // named in full: layers_to_transform is not asked
    config.exclude_modules = {"layers.1.self_attn.q_proj"};
    REQUIRE_FALSE(config.applies_to(q1, 1));
    config.exclude_modules = {up0};
    REQUIRE_FALSE(config.applies_to(up0, 0));
    REQUIRE(config.scale_of(q0) == 2); // 8 / 4
    config.use_rslora = true;
    REQUIRE(config.scale_of(q0) == 4); // 8 / sqrt(4)
    config.rank_pattern = {{"layers.0.self_attn.q_proj", 16}};
    config.alpha_pattern = {{"q_proj", 12}};
    REQUIRE(config.rank_of(q0) == 16);
    REQUIRE(config.rank_of(q1) == 4);
    REQUIRE(config.largest_rank() == 16);
    REQUIRE(config.scale_of(q0) == 3);  // 12 / sqrt(16)
    REQUIRE(config.scale_of(q1) == 6);  // 12 / sqrt(4)
    REQUIRE(config.scale_of(up0) == 4); // neither pattern
}

TEST_CASE("all-linear is every linear layer of a block", "[lora]") {
    const TempFolder folder;
    const std::string path = folder / "adapter_config.json";
    for (const char* spelling : {"all-linear", "All-Linear"}) {
        const json root = {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}, {"target_modules", spelling}};
        put_file(path, root.dump());
        REQUIRE(read_lora_config(path).target_modules == linear_modules());
    }
}

TEST_CASE("an adapter config of PEFT is read", "[lora]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    const LoraConfig lora = read_lora_config(root + "/llama-gqa/adapter_init/adapter_config.json");
    REQUIRE(lora.r == 4);
    REQUIRE(lora.alpha == 8);
    REQUIRE(lora.target_modules == LoraConfig().target_modules);
}
