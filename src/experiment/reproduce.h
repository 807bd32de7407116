// reproduce.h — the main job: data, base model, every arm through the same loop, evaluation, report.
//
// An arm is a method with its settings; an arm with a seed is a cell (cell.h). Without an experiment file every method is
// an arm of its own name.
//
// Everything a run makes is a file in its folder, written whole or not at all, and a step whose file is there is not done
// again: a killed run continues with `resume` and ends with the same bits. Several processes may work on one run: each takes
// a cell that nobody is at.
//
//   OUT/run.json                       settings; a run is only resumed with the same ones
//   OUT/data/<split>.jsonl             train, validation, test, longer, unseen, reworded
//   OUT/base/                          the base model, when it is pre-trained here
//   OUT/seed-<n>/<arm>/cell.json, log.jsonl, meter.jsonl, stage-<t>/ (a PEFT adapter), state.safetensors, dropped.json
//   OUT/seed-<n>/<arm>/eval/<split>.jsonl, with-knowledge.jsonl and <set>.jsonl; curve.jsonl for a curriculum
//   OUT/search/<method>/lr-<rate>/     cells of the search for a learning rate; OUT/search.json: what it chose
//   OUT/results.json, OUT/report.html
#pragma once

#include <string>
#include <vector>

#include "experiment/cell.h"
#include "pretraining/base_model.h"
#include "tasks/teacher.h"

namespace skintern {

struct ReproduceConfig {
    std::string preset = "tiny";
    std::string out = "out/tiny";
    std::vector<std::string> methods; // arms of these names, when there are no others; empty: those of kMethods by default
    std::vector<ArmConfig> arms;      // of an experiment file
    ArmConfig arm;                    // what every arm starts from
    int64_t seeds = 1;                // runs with seeds seed, seed + 1, ...: order, adapter, examples
    uint64_t seed = 1;
    bool resume = false;
    bool from_scratch = false;        // pre-train the base model instead of using `base_folder`
    std::string base_folder;          // the base model: a Hugging Face folder, or a .gguf file
    std::string command;              // that asked for the run, for its record
    std::string dtype = "f32", activations = "f32"; // what the kernels round to (KernelOptions), likewise
    std::string notice;               // said before anything is done
    std::string templates;            // a templates file
    std::vector<std::string> sets;    // files or folders of published questions, asked after training
    int64_t set_limit = 0;            // of each file; 0: all
    std::vector<double> search_lr;    // rates that every trained method tries, see search.h; empty: none is sought
    std::string corpus;               // passages for KARD's retriever; empty: those of the teacher, written to OUT/data/corpus.jsonl
    DataConfig data;
    BaseConfig base;
    int64_t max_new_tokens = 320;
    int64_t curve_rows = 6;           // test rows a family after each stage, for the internalization curve
    int64_t meter_readings = 18;      // of the internalization meter, through the training of a method
};

// The arms of a run, in order.
std::vector<ArmConfig> arms_of(const ReproduceConfig& config);

// The published sets of --sets beside the generated splits, which get them; their names, in order. A set is called as its file,
// after its folder too where a generated split has that name: gsm8k/test.jsonl is "gsm8k-test".
std::vector<std::string> add_sets(const ReproduceConfig& config, Splits& splits);

// Runs what is missing, then prints the table on stdout and writes results.json and report.html.
void reproduce(Kernels& kernels, const ReproduceConfig& config);

} // namespace skintern
