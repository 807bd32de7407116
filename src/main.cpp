// main.cpp — the command line: one function a subcommand, and the only place that catches and exits.
//
// Exit status: 0 done, 1 failed, 2 wrong usage. Results on stdout, progress on stderr. The long options are also the
// names of a --config file (TOML); what the command line says comes after it and wins.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>

#include "commands/commands.h"
#include "experiment/plan.h"
#include "experiment/presets.h"
#include "report/report.h"
#include "support/check.h"

namespace skintern {

namespace {

// ---- reproduce -----------------------------------------------------------------------------------------------------

// What may differ from arm to arm.
void add_arm_options(CLI::App* sub, ArmConfig* config) {
    ArmConfig& arm = *config;
    add_training_options(sub, {&arm.epochs, &arm.cutoff_len, &arm.curriculum, &arm.lora, &arm.train});
    sub->add_option("--knowledge", arm.variant.knowledge, "full, no-summary, no-supplement, placebo or shuffled")
        ->capture_default_str();
    sub->add_option("--rationales", arm.variant.rationales, "stated, or implicit: without the sentences that state facts")
        ->capture_default_str();
    sub->add_option("--wrong", arm.variant.wrong, "share of rows with facts whose response errs about one")
        ->check(share())
        ->capture_default_str();
    sub->add_flag("--keep-knowledge", arm.keep_knowledge, "evaluate with the knowledge of the training prompts");
    sub->add_option("--compressor", arm.compressor, "information, probe, sentences, head or random")->capture_default_str();
    sub->add_option("--train-share", arm.train_share, "of each family's training rows")
        ->check(share())
        ->capture_default_str();
    sub->add_option("--model", arm.model, "a base model of this arm's own");
    auto* tokens = sub->add_option("--match-tokens", arm.match_tokens, "as many training tokens as another arm, or the cell in a folder");
    sub->add_option("--match-flops", arm.match_flops, "likewise as many training FLOPs")->excludes(tokens);
    sub->add_option("--order-seed", arm.order_seed, "of the order of rows; 0: the seed of the run")->check(a_seed());
    sub->add_option("--adapter-seed", arm.adapter_seed, "of the initial adapter")->check(a_seed());
    sub->add_option("--examples-seed", arm.examples_seed, "of the draw of examples, and of variants")->check(a_seed());
}

// What a dry run counts and estimates with.
void add_plan_options(CLI::App* sub, PlanOptions* plan) {
    sub->add_option("--shape", plan->shape, "dry run: a file of data/models with the sizes of a --base that is not there");
    sub->add_option("--tokenizer", plan->tokenizer, "dry run: counts tokens; default: that of --base, or the project's own");
    sub->add_option("--machine-flops", plan->machine_flops, "dry run: FLOP/s that training sustains; default: measured here")
        ->check(above_zero());
    sub->add_option("--machine-bandwidth", plan->machine_bandwidth, "dry run: bytes/s of memory; default: measured with the FLOP/s")
        ->check(above_zero());
    sub->add_flag("--show-prompts", plan->show_prompts, "dry run: the examples of prompts whole");
}

// The arms of an experiment file: its sections [arm.NAME], each starting from what stands above them.
std::vector<ArmConfig> read_arms(const std::string& path, const ArmConfig& common) {
    std::vector<ArmConfig> arms;
    for (const ConfigSection& section : config_sections(path)) {
        ArmConfig arm = common;
        arm.name = section.name;
        arm.method = section.name;
        CLI::App app;
        app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        app.add_option("--method", arm.method);
        add_arm_options(&app, &arm);
        try {
            app.parse(std::vector<std::string>(section.arguments.rbegin(), section.arguments.rend()));
        } catch (const CLI::ParseError& e) {
            CHECK(false, "%s: arm %s: %s", path.c_str(), arm.name.c_str(), e.what());
        }
        arm.own_rate = app.count("--lr") > 0;
        CHECK(!arm.name.empty() && arm.name[0] != '.' && arm.name.find('/') == std::string::npos,
              "%s: \"%s\" cannot be the name of an arm, which names a folder", path.c_str(), arm.name.c_str());
        method_by_name(arm.method);
        arms.push_back(arm);
    }
    return arms;
}

// The other options start from what the preset says, so it has to be known before they are parsed.
void add_reproduce(CLI::App& app, const std::string& preset, const std::string& command) {
    struct Options : Common {
        ReproduceConfig run;
        PlanOptions plan;
        bool dry_run = false;
    };
    auto o = std::make_shared<Options>();
    o->run = preset_by_name(preset, data_folder());
    o->run.command = command;
    ReproduceConfig& run = o->run;
    CLI::App* sub = app.add_subcommand("reproduce", "train and compare all methods (the default)");
    add_common(sub, o.get());
    sub->add_option("--preset", run.preset, "tiny or smollm2")->capture_default_str();
    sub->add_option("--methods", run.methods, "a,b,c; default all")->delimiter(',')->take_all();
    sub->add_option("--seeds", run.seeds, "how many runs")->check(CLI::Range(1, 1000))->capture_default_str();
    sub->add_option("--out", run.out)->capture_default_str();
    sub->add_flag("--resume", run.resume, "continue the run in --out");
    sub->add_flag("--dry-run", o->dry_run, "print what it takes and stop: schedule, tokens, memory, time, prompts");
    add_plan_options(sub, &o->plan);
    sub->add_flag("--from-scratch", run.from_scratch, "train tokenizer and base model too");
    sub->add_option("--base", run.base_folder, "folder of the base model")->capture_default_str();
    sub->add_option("--base-updates", run.base.updates, "updates of pre-training")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    sub->add_option("--templates", run.templates)->capture_default_str();
    sub->add_option("--corpus", run.corpus, "JSONL with \"passage\": what KARD retrieves from; default: the teacher's");
    sub->add_option("--tasks", run.data.tasks, "families; default all")->delimiter(',')->take_all();
    sub->add_option("--train", run.data.train, "training rows a family")->capture_default_str();
    sub->add_option("--validation", run.data.validation, "held-out rows a family")->capture_default_str();
    sub->add_option("--test", run.data.test, "test rows a family and split")->capture_default_str();
    sub->add_option("--fresh", run.data.fresh, "new questions a family, for methods whose model writes responses itself")
        ->check(CLI::Range(0, 1 << 20))
        ->capture_default_str();
    sub->add_option("--sets", run.sets, "published files or folders of them, asked after training")->delimiter(',')->take_all();
    sub->add_option("--set-limit", run.set_limit, "first rows of each of them only; 0: all")->check(CLI::Range(0, 1 << 30));
    sub->add_option("--search-lr", run.search_lr, "rates that every method tries on validation rows before the arms are run")
        ->delimiter(',')
        ->take_all()
        ->check(above_zero());
    sub->add_option("--data-seed", run.data.seed, "of tasks and world")->check(a_seed())->capture_default_str();
    add_arm_options(sub, &run.arm);
    sub->add_option("--max-new-tokens", run.max_new_tokens)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->callback([o] {
        o->run.seed = o->seed;
        o->run.dtype = o->dtype;
        o->run.activations = o->kernels.activations;
        if (!o->config.empty()) {
            o->run.arms = read_arms(o->config, o->run.arm);
            o->run.resume = o->run.resume || !o->run.arms.empty(); // an experiment runs what is missing
            CHECK(o->run.arms.empty() || o->run.methods.empty(), "%s names arms, and --methods others: one of them",
                  o->config.c_str());
        }
        const auto kernels = open_kernels(*o);
        if (o->dry_run) {
            o->plan.data_folder = data_folder();
            o->plan.threads = o->kernels.threads;
            print_plan(*kernels, o->run, o->plan);
        } else {
            reproduce(*kernels, o->run);
        }
    });
}

void add_report(CLI::App& app) {
    struct Options : Common {
        std::vector<std::string> folders;
        std::string markdown;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("report", "tables and report.html again, from the logs of runs");
    add_common(sub, o.get());
    sub->add_option("run", o->folders, "folders of runs")->required();
    sub->add_option("--markdown", o->markdown, "write one page with the tables of all runs to this file, instead of printing them");
    sub->callback([o] {
        std::vector<Report> reports;
        for (const std::string& folder : o->folders) {
            reports.emplace_back(folder);
            write_report(reports.back());
        }
        if (!o->markdown.empty()) {
            write_markdown(reports, o->markdown);
            return;
        }
        for (const Report& report : reports) {
            print_table(report, stdout);
        }
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

// The command line as the record of a run has it: without what says only where, by whom and how fast it runs.
std::string command_of(const std::vector<std::string>& args) {
    const std::set<std::string> left_out = {"--out", "--threads", "--resume"};
    std::string command = "skintern";
    for (size_t i = 0; i < args.size(); i++) {
        const std::string name = option_name(args[i]);
        if (!left_out.contains(name)) {
            command += " " + args[i];
        } else if (name == args[i] && name != "--resume") {
            i++; // its value
        }
    }
    return command;
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
    auto comm = std::make_unique<Comm>();
    try {
        comm = open_comm();
        if (comm->size() > 1 && args[0] != "train") {
            return comm->fail(2, "skintern: " + args[0] + " runs as one process: only train runs as several under mpirun");
        }
        const std::string command = command_of(args);
        add_config_arguments(args);
        add_reproduce(app, value_of(args, "--preset", "tiny"), command);
        add_data_commands(app);
        add_model_commands(app, *comm);
        add_bench_commands(app);
        add_merge_command(app);
        add_compress_command(app);
        add_eval_commands(app);
        add_report(app);
        std::reverse(args.begin(), args.end()); // CLI11 takes them from the back
        app.parse(args);
        return 0;
    } catch (const CLI::CallForHelp& e) {
        return comm->leads() ? app.exit(e) : 0;
    } catch (const CLI::ParseError& e) {
        return comm->fail(2, std::string("skintern: ") + e.what() + " (see skintern --help)");
    } catch (const Error& e) {
        const std::string file = std::filesystem::path(e.file).filename().string();
        return comm->fail(1, format("skintern: %s [%s:%d]", e.what(), file.c_str(), e.line));
    } catch (const std::bad_alloc&) {
        return comm->fail(1, "skintern: not enough memory");
    } catch (const std::exception& e) {
        return comm->fail(1, std::string("skintern: ") + e.what());
    }
}
