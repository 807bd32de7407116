// commands.h — the subcommands beside reproduce, and what all of them share.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <string>

#include "distributed/comm.h"
#include "kernels.h"
#include "method/curriculum.h"
#include "method/train.h"
#include "model/transformer.h"

namespace skintern {

// Options that every subcommand has.
struct Common {
    KernelOptions kernels;
    std::string dtype = "f32";
    uint64_t seed = 1;
    std::string config; // read before parsing, see config_arguments()
};

void add_common(CLI::App* sub, Common* common);
// data/ beside the program, or in the working folder.
std::string data_folder();
std::unique_ptr<Kernels> open_kernels(const Common& common);

struct ModelOptions : Common {
    std::string model, adapter;
};

void add_model_options(CLI::App* sub, ModelOptions* o);
// --kv-cache, for what generates.
void add_kv_cache(CLI::App* sub, WeightType* type);
// The model with its adapter where one is named, without gradients unless `train` says which.
std::unique_ptr<Transformer> open_model(Kernels& kernels, const ModelOptions& o, Train train = Train::nothing);

// Checks of numbers; what is not finite passes none.
CLI::Validator above_zero(double most = HUGE_VAL);
CLI::Validator not_negative();
CLI::Validator share(); // 0 to 1
CLI::Validator a_seed(); // as a log can hold it

// How anything is fine-tuned.
struct TrainingSettings {
    double* epochs;
    int64_t* cutoff_len;
    CurriculumConfig* curriculum;
    LoraConfig* lora;
    TrainConfig* train;
};
void add_training_options(CLI::App* sub, const TrainingSettings& settings);

// The settings of a TOML file as command-line arguments: name = value becomes --name=value.
std::vector<std::string> config_arguments(const std::string& path);

// The sections [arm.NAME] of a configuration file, in order, as options of an arm.
struct ConfigSection {
    std::string name;
    std::vector<std::string> arguments;
};
std::vector<ConfigSection> config_sections(const std::string& path);

void add_data_commands(CLI::App& app);  // data, tokenizer, tokenize, inspect
void add_merge_command(CLI::App& app);  // merge
void add_compress_command(CLI::App& app); // compress
void add_model_commands(CLI::App& app, Comm& comm); // train (by all of `comm`), pretrain, generate, logits, trace, flops
void add_bench_commands(CLI::App& app); // bench, check
void add_eval_commands(CLI::App& app);  // eval, score

} // namespace skintern
