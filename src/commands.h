// commands.h — the subcommands beside reproduce, and what all of them share.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "kernels.h"

namespace skintern {

// Options that every subcommand has.
struct Common {
    KernelOptions kernels;
    std::string dtype = "f32";
    uint64_t seed = 1;
    std::string config; // read before parsing, see config_arguments()
};

void add_common(CLI::App* sub, Common* common);
std::unique_ptr<Kernels> open_kernels(const Common& common);

// The settings of a TOML file as command-line arguments: name = value becomes --name=value.
std::vector<std::string> config_arguments(const std::string& path);

void add_data_commands(CLI::App& app);  // data, tokenizer, tokenize, inspect
void add_merge_command(CLI::App& app);  // merge
void add_model_commands(CLI::App& app); // train, eval, generate, logits, trace, flops, bench, check

} // namespace skintern
