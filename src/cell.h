// cell.h — one cell of an experiment: an arm with one seed, trained and evaluated in a folder of its own.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lora_config.h"
#include "methods.h"
#include "train.h"
#include "variants.h"

namespace skintern {

// A method and everything that may differ from arm to arm.
struct ArmConfig {
    std::string name;   // of its folder and in the tables
    std::string method = "skintern"; // of kMethods
    LoraConfig lora;
    CurriculumConfig curriculum;
    TrainConfig train;
    double epochs = 12;          // passes over the training rows, all stages together
    double train_share = 1;      // of each family's training rows, from the beginning
    int64_t cutoff_len = 2048;
    std::string compressor = "information";
    Variant variant;             // what is changed about the training rows
    bool keep_knowledge = false; // the knowledge stands in the prompt of the evaluation, too
};

// What all cells of a run share.
struct Shared {
    Kernels* kernels;
    std::string base_folder;
    std::map<std::string, std::vector<Record>> splits;
    World world;
    uint64_t data_seed;
    std::map<std::string, std::string> fact_sentences; // by fact id
    Bpe bpe;
    int32_t bos;
    Templates templates;
    int64_t max_new_tokens, curve_rows, meter_readings; // see ReproduceConfig
    bool resume;
};

// The arm's settings as they stand in cell.json: all that decides the numbers, beside what run.json says.
nlohmann::ordered_json arm_json(const ArmConfig& arm);

// The training rows of an arm, before variants: its share of each family.
std::vector<Record> training_rows(const ArmConfig& arm, const std::vector<Record>& train);

// Updates of an arm: `epochs` passes over `rows` rows.
int64_t total_updates(const ArmConfig& arm, int64_t rows);

// Whether every test split of the cell in `folder` has been answered.
bool is_done(const std::string& folder);

// Trains and evaluates what is missing.
void run_cell(const Shared& shared, const ArmConfig& arm, uint64_t seed, const std::string& folder);

} // namespace skintern
