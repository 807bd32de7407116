// presets.cpp — see presets.h.
#include "experiment/presets.h"

#include "support/check.h"

namespace skintern {

namespace {

// A base model of our own and two cores for ten minutes.
ReproduceConfig tiny_preset(const std::string& data_folder) {
    ReproduceConfig config;
    config.base_folder = data_folder + "/base";
    config.base = tiny_base_config();
    // Of the nineteen families, those that a model of this size learns something of in ten minutes; --tasks takes others.
    config.data.tasks = {"boolean_expressions", "web_of_lies", "navigate", "logical_deduction",
                         "tracking_shuffled_objects", "object_counting", "date_understanding", "penguins_in_a_table",
                         "temporal_sequences", "reasoning_about_colored_objects", "world_facts", "world_prices",
                         "world_distances", "world_kinship", "world_calendar", "world_units"};
    config.data.train = 64;
    config.data.test = 16;
    config.arm.train.adamw.lr = 5e-3;
    config.arm.train.batch_size = 8;
    config.arm.train.save_steps = 100;
    config.arm.epochs = 5;
    config.max_new_tokens = 400; // the longest response of the tests has 384
    config.curve_rows = 4;
    return config;
}

// A real model of 135 million parameters, all families.
ReproduceConfig smollm2_preset() {
    ReproduceConfig config;
    config.out = "out/smollm2";
    config.base_folder = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
    config.notice = "preset smollm2: every update is of a model of 135 million parameters, so this takes hours on two "
                    "cores; stop it at any time, --resume continues";
    config.data.train = 64;
    config.data.validation = 1;
    config.data.test = 16;
    config.arm.train.adamw.lr = 5e-4;
    config.arm.train.batch_size = 8;
    config.arm.train.micro_tokens = 2048;
    config.arm.train.save_steps = 20;
    config.arm.epochs = 4;
    config.max_new_tokens = 256;
    config.curve_rows = 1;
    config.meter_readings = 6;
    return config;
}

} // namespace

ReproduceConfig preset_by_name(const std::string& name, const std::string& data_folder) {
    CHECK(name == "tiny" || name == "smollm2", "--preset is \"%s\": there are tiny and smollm2", name.c_str());
    ReproduceConfig config = name == "tiny" ? tiny_preset(data_folder) : smollm2_preset();
    config.preset = name;
    config.templates = data_folder + "/templates/default.json";
    return config;
}

} // namespace skintern
