// main.cpp — the command line: one function a subcommand, and the only place that catches and exits.
//
// Exit status: 0 done, 1 failed, 2 wrong usage. Results on stdout, progress on stderr. The long options are also the
// names of a --config file (TOML); what the command line says comes after it and wins.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>

#include "check.h"
#include "commands.h"
#include "presets.h"
#include "report.h"

namespace skintern {

namespace {

// ---- reproduce -----------------------------------------------------------------------------------------------------

// The other options start from what the preset says, so it has to be known before they are parsed.
void add_reproduce(CLI::App& app, const std::string& preset) {
    struct Options : Common {
        ReproduceConfig run;
        bool dry_run = false;
    };
    auto o = std::make_shared<Options>();
    o->run = preset_by_name(preset, data_folder());
    ReproduceConfig& run = o->run;
    CLI::App* sub = app.add_subcommand("reproduce", "train and compare all methods (the default)");
    add_common(sub, o.get());
    sub->add_option("--preset", run.preset, "tiny or smollm2")->capture_default_str();
    sub->add_option("--methods", run.methods, "a,b,c; default all")->delimiter(',')->take_all();
    sub->add_option("--seeds", run.seeds, "how many runs")->check(CLI::Range(1, 1000))->capture_default_str();
    sub->add_option("--out", run.out)->capture_default_str();
    sub->add_flag("--resume", run.resume, "continue the run in --out");
    sub->add_flag("--dry-run", o->dry_run, "print the schedule and stop");
    sub->add_flag("--from-scratch", run.from_scratch, "train tokenizer and base model too");
    sub->add_option("--base", run.base_folder, "folder of the base model")->capture_default_str();
    sub->add_option("--base-updates", run.base.updates, "updates of pre-training")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    sub->add_option("--templates", run.templates)->capture_default_str();
    sub->add_option("--tasks", run.data.tasks, "families; default all")->delimiter(',')->take_all();
    sub->add_option("--train", run.data.train, "training rows a family")->capture_default_str();
    sub->add_option("--validation", run.data.validation, "held-out rows a family")->capture_default_str();
    sub->add_option("--test", run.data.test, "test rows a family and split")->capture_default_str();
    sub->add_option("--data-seed", run.data.seed, "of tasks and world")->capture_default_str();
    sub->add_option("--epochs", run.epochs)->capture_default_str();
    sub->add_option("--stages", run.curriculum.stages)->capture_default_str();
    sub->add_option("--schedule", run.curriculum.schedule, "linear, exp, inverse-exp, step or none")
        ->capture_default_str();
    sub->add_option("--shots", run.curriculum.shots, "examples at the first stage")->capture_default_str();
    sub->add_option("--shots-from", run.curriculum.shots_from, "block (one draw for all rows of a family) or similar")
        ->capture_default_str();
    sub->add_flag("--one-schedule", run.train.one_schedule, "one learning-rate schedule over all stages");
    sub->add_option("--lora-r", run.lora.r)->check(CLI::Range(1, 4096))->capture_default_str();
    sub->add_option("--lora-alpha", run.lora.alpha)->capture_default_str();
    sub->add_option("--lr", run.train.adamw.lr)->capture_default_str();
    sub->add_option("--batch-size", run.train.batch_size)->check(CLI::Range(1, 65536))->capture_default_str();
    sub->add_option("--warmup-ratio", run.train.adamw.warmup_ratio)->check(CLI::Range(0.0, 1.0))->capture_default_str();
    sub->add_option("--lr-scheduler", run.train.adamw.lr_scheduler, "cosine, linear or constant")
        ->capture_default_str();
    sub->add_option("--weight-decay", run.train.adamw.weight_decay)->capture_default_str();
    sub->add_option("--max-grad-norm", run.train.adamw.max_grad_norm)->capture_default_str();
    sub->add_option("--cutoff-len", run.cutoff_len)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->add_option("--max-new-tokens", run.max_new_tokens)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->add_option("--save-steps", run.train.save_steps)->check(CLI::Range(1, 1 << 30))->capture_default_str();
    sub->callback([o] {
        o->run.seed = o->seed;
        if (o->dry_run) {
            print_plan(o->run);
        } else {
            const auto kernels = open_kernels(*o);
            reproduce(*kernels, o->run);
        }
    });
}

void add_report(CLI::App& app) {
    struct Options : Common {
        std::string folder;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("report", "tables and report.html again, from the logs of a run");
    add_common(sub, o.get());
    sub->add_option("run", o->folder, "folder of a run")->required();
    sub->callback([o] {
        write_report(o->folder);
        print_table(o->folder, stdout);
    });
}

// "--lr=1" -> "--lr"
std::string option_name(const std::string& argument) { return argument.substr(0, argument.find('=')); }

// The value of an option as it stands on the command line, the last one if it is there twice.
std::string value_of(const std::vector<std::string>& args, const std::string& option, const std::string& missing) {
    std::string value = missing;
    for (size_t i = 0; i < args.size(); i++) {
        if (args[i] == option && i + 1 < args.size()) {
            value = args[i + 1];
        } else if (args[i].starts_with(option + "=")) {
            value = args[i].substr(option.size() + 1);
        }
    }
    return value;
}

// Puts what the --config file says behind the subcommand, without the options that the command line gives itself.
void add_config_arguments(std::vector<std::string>& args) {
    std::set<std::string> given;
    for (size_t i = 1; i < args.size(); i++) {
        given.insert(option_name(args[i]));
    }
    const std::string path = value_of(args, "--config", "");
    if (path.empty()) {
        return;
    }
    std::vector<std::string> from_file;
    for (const std::string& argument : config_arguments(path)) {
        if (!given.contains(option_name(argument))) {
            from_file.push_back(argument);
        }
    }
    args.insert(args.begin() + 1, from_file.begin(), from_file.end());
}

} // namespace

} // namespace skintern

int main(int argc, char** argv) {
    using namespace skintern;
    CLI::App app("skintern: SKIntern (arXiv 2409.13183) from scratch");
    app.require_subcommand(1);
    // Options without a subcommand are those of reproduce.
    std::vector<std::string> args(argv + 1, argv + argc);
    const bool help = !args.empty() && (args[0] == "--help" || args[0] == "-h");
    if (args.empty() || (args[0].starts_with("-") && !help)) {
        args.insert(args.begin(), "reproduce");
    }
    try {
        add_config_arguments(args);
        add_reproduce(app, value_of(args, "--preset", "tiny"));
        add_data_commands(app);
        add_model_commands(app);
        add_bench_commands(app);
        add_merge_command(app);
        add_compress_command(app);
        add_eval_commands(app);
        add_report(app);
        std::reverse(args.begin(), args.end()); // CLI11 takes them from the back
        app.parse(args);
        return 0;
    } catch (const CLI::CallForHelp& e) {
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        std::cerr << "skintern: " << e.what() << " (see skintern --help)\n";
        return 2;
    } catch (const Error& e) {
        const std::string file = std::filesystem::path(e.file).filename().string();
        std::cerr << "skintern: " << e.what() << " [" << file << ":" << e.line << "]\n";
        return 1;
    } catch (const std::bad_alloc&) {
        std::cerr << "skintern: not enough memory\n";
        return 1;
    } catch (const std::exception& e) {
        std::cerr << "skintern: " << e.what() << "\n";
        return 1;
    }
}
