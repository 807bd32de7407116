// cell.h — one cell of an experiment: an arm with one seed, trained and evaluated in a folder of its own.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "experiment/arm.h"
#include "method/methods.h"

namespace skintern {

using Splits = std::map<std::string, std::vector<Record>>; // by name

// What all cells of a run share.
struct Shared {
    Kernels* kernels;
    std::string base_folder;
    Splits splits;
    std::vector<std::string> sets; // splits that are published files, asked after training as they are
    World world;
    uint64_t data_seed;
    std::map<std::string, std::string> fact_sentences; // by fact id
    std::shared_ptr<const Bpe> bpe;
    int32_t bos;
    Templates templates;
    int64_t max_new_tokens, curve_rows, meter_readings; // see ReproduceConfig
    bool resume;
};

// What is asked of a finished cell, each in eval/<name>.jsonl: the test splits, the sets, and of what was trained kWithKnowledge:
// what training has left of the ability to use it.
std::vector<std::string> asked_of(const ArmConfig& arm, const std::vector<std::string>& sets);

// The method that makes the prompts of `asked`.
Method evaluated_method(const ArmConfig& arm, const std::string& asked);

// The questions of `asked`.
const std::vector<Record>& questions_of(const Splits& splits, const std::string& asked);

// Whether all of `asked` has been answered in `folder`.
bool is_answered(const std::string& folder, const std::vector<std::string>& asked);

// Trains and evaluates what is missing. `matched`: the folder of the cell that match_tokens or match_flops mean.
void run_cell(const Shared& shared, const ArmConfig& arm, uint64_t seed, const std::string& folder,
              const std::vector<std::string>& asked, const std::string& matched);

} // namespace skintern
