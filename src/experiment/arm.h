// arm.h — what an experiment compares: a method with its settings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "experiment/variants.h"
#include "formats/lora_config.h"
#include "method/curriculum.h"
#include "method/train.h"

namespace skintern {

// A method and everything that may differ from arm to arm.
struct ArmConfig {
    std::string name;   // of its folder and in the tables
    std::string method = "skintern"; // of kMethods
    LoraConfig lora;
    CurriculumConfig curriculum;
    TrainConfig train;
    bool own_rate = false;       // a search (search.h) leaves its learning rate alone
    double epochs = 12;          // passes over the training rows, all stages together
    double train_share = 1;      // of each family's training rows, from the beginning
    int64_t cutoff_len = 2048;
    std::string compressor = "information";
    Variant variant;             // what is changed about the training rows
    bool keep_knowledge = false; // the knowledge stands in the prompt of the evaluation, too
    std::string model;           // the base model of this arm alone; empty: that of the run
    int64_t params = 0;          // its parameters
    // As many training tokens or FLOPs as another cell, in place of `epochs`: an arm of the same experiment, which is then
    // made first, or the folder of a cell. At most one of them.
    std::string match_tokens, match_flops;
    // What else is random, apart: 0 for the seed of the cell.
    uint64_t order_seed = 0, adapter_seed = 0, examples_seed = 0;
};

// The arm's settings as they stand in cell.json: all that decides the numbers, beside what run.json says.
nlohmann::ordered_json arm_json(const ArmConfig& arm);

// The training rows of an arm, before variants: its share of each family.
std::vector<Record> training_rows(const ArmConfig& arm, const std::vector<Record>& train);

// Updates of an arm: `epochs` passes over `rows` rows.
int64_t total_updates(const ArmConfig& arm, int64_t rows);

} // namespace skintern
