// commands_data.cpp — data, tokenizer, tokenize, inspect.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <sstream>

#include "commands/commands.h"
#include "commands/inspect.h"
#include "formats/config.h"
#include "support/check.h"
#include "support/files.h"
#include "support/utf8.h"
#include "tasks/task.h"
#include "tasks/teacher.h"
#include "tokenizer/bpe.h"
#include "tokenizer/chat.h"

namespace skintern {

void add_common(CLI::App* sub, Common* common) {
    sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    sub->add_option("--device", common->kernels.device, "reference, cpu or cuda")->capture_default_str();
    sub->add_option("--isa", common->kernels.isa, "auto, portable, avx2, avx512, avx512bf16 or amx")->capture_default_str();
    sub->add_option("--matmul", common->kernels.matmul, "own or openblas")->capture_default_str();
    sub->add_option("--dtype", common->dtype, "f32 or bf16: what the operands of matrix products are rounded to")->capture_default_str();
    sub->add_option("--activations", common->kernels.activations,
                    "f32, or q8: rounded to 8 bits to decode with weights in Q8_0, Q4_0 or Q4_1")
        ->capture_default_str();
    sub->add_option("--threads", common->kernels.threads, "0: as many as there are; under mpirun a process's share of them")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    sub->add_option("--seed", common->seed)->check(a_seed())->capture_default_str();
    sub->add_option("--config", common->config, "a TOML file with the same names");
}

namespace {

CLI::Validator number(const std::string& wanted, const std::function<bool(double)>& is_wanted) {
    return CLI::Validator(
        [=](std::string& text) {
            double value = 0;
            const bool good = CLI::detail::lexical_cast(text, value) && std::isfinite(value) && is_wanted(value);
            return good ? std::string() : "must be " + wanted + ", found " + text;
        },
        "");
}

} // namespace

CLI::Validator above_zero(double most) {
    return number("a number above 0" + (std::isfinite(most) ? format(" and at most %g", most) : ""),
                  [=](double value) { return value > 0 && value <= most; });
}

CLI::Validator not_negative() {
    return number("a number that is not negative", [](double value) { return value >= 0; });
}

CLI::Validator share() {
    return number("a number from 0 to 1", [](double value) { return value >= 0 && value <= 1; });
}

CLI::Validator a_seed() {
    return number("a whole number from 0 to 2^53", [](double value) { return value >= 0 && value <= 0x1p53 && value == std::floor(value); });
}

std::string data_folder() {
    std::error_code error;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error && std::filesystem::exists(self.parent_path() / "data" / "templates")) {
        return (self.parent_path() / "data").string();
    }
    return "data";
}

std::unique_ptr<Kernels> open_kernels(const Common& common) {
    KernelOptions options = common.kernels;
    options.dtype = common.dtype;
    return make_kernels(options);
}

namespace {

std::vector<CLI::ConfigItem> config_items(const std::string& path) {
    std::istringstream in(read_file(path));
    try {
        return CLI::ConfigTOML().from_config(in);
    } catch (const CLI::Error& e) {
        CHECK(false, "%s: not a valid configuration file (%s)", path.c_str(), e.what());
    }
}

// "arm.NAME" begins an arm of an experiment; other sections have no meaning, what is in them counts as if it stood outside.
bool is_arm(const CLI::ConfigItem& item) { return item.parents.size() == 2 && item.parents[0] == "arm"; }

bool is_section_mark(const CLI::ConfigItem& item) { return item.name == "++" || item.name == "--"; }

// "--name=value"; a flag may be false, where what stands above it says true.
void add_argument(const CLI::ConfigItem& item, std::vector<std::string>& arguments) {
    std::string joined;
    for (const std::string& input : item.inputs) {
        joined += (joined.empty() ? "" : ",") + input;
    }
    arguments.push_back("--" + item.name + "=" + joined);
}

} // namespace

std::vector<std::string> config_arguments(const std::string& path) {
    std::vector<std::string> arguments;
    for (const CLI::ConfigItem& item : config_items(path)) {
        if (!is_section_mark(item) && !is_arm(item)) {
            add_argument(item, arguments);
        }
    }
    return arguments;
}

std::vector<ConfigSection> config_sections(const std::string& path) {
    std::vector<ConfigSection> sections;
    for (const CLI::ConfigItem& item : config_items(path)) {
        if (!is_arm(item) || item.name == "--") {
            continue;
        }
        const std::string& name = item.parents[1];
        if (item.name == "++") {
            for (const ConfigSection& section : sections) {
                CHECK(section.name != name, "%s: arm %s stands there twice", path.c_str(), name.c_str());
            }
        }
        if (sections.empty() || sections.back().name != name) {
            sections.push_back({name, {}});
        }
        if (item.name != "++") {
            add_argument(item, sections.back().arguments);
        }
    }
    return sections;
}

namespace {

void add_data(CLI::App& app) {
    struct Options : Common {
        DataConfig data;
        std::string out;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("data", "generate tasks with their teacher's solutions");
    add_common(sub, o.get());
    sub->add_option("--out", o->out, "folder")->required();
    sub->add_option("--tasks", o->data.tasks, "families; default all")->delimiter(',')->take_all();
    sub->add_option("--train", o->data.train, "rows a family")->capture_default_str();
    sub->add_option("--validation", o->data.validation, "rows a family")->capture_default_str();
    sub->add_option("--test", o->data.test, "rows a family and test split")->capture_default_str();
    sub->callback([o] {
        o->data.seed = o->seed;
        const World world(o->seed);
        const auto splits = make_splits(o->data, world);
        make_folder(o->out);
        for (const auto& [name, records] : splits) {
            write_records(o->out + "/" + name + ".jsonl", records);
            std::printf("%s/%s.jsonl: %zu rows\n", o->out.c_str(), name.c_str(), records.size());
        }
    });
}

void add_tokenizer(CLI::App& app) {
    struct Options : Common {
        std::string file, out;
        BpeTrainConfig bpe;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("tokenizer", "train a byte-level BPE tokenizer");
    add_common(sub, o.get());
    sub->add_option("--train", o->file, "a text file; a line is a document")->required();
    sub->add_option("--vocab-size", o->bpe.vocab_size)->check(CLI::Range(257, 1 << 24))->capture_default_str();
    sub->add_option("--out", o->out, "tokenizer.json")->required();
    sub->callback([o] {
        std::vector<std::string> documents;
        for (const std::string& line : read_lines(o->file)) {
            documents.push_back(line + "\n");
        }
        const Bpe bpe = Bpe::train(documents, o->bpe);
        bpe.save(o->out);
        std::printf("%s: %lld tokens\n", o->out.c_str(), static_cast<long long>(bpe.vocab_size()));
    });
}

void add_tokenize(CLI::App& app) {
    struct Options : Common {
        std::string model, text, file;
        bool lines = false, add_special = false, parse_special = false, chat = false;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("tokenize", "ids of a text, on one line");
    add_common(sub, o.get());
    sub->add_option("--model", o->model, "a folder with tokenizer.json, the file, or a .gguf file")->required();
    CLI::Option* text = sub->add_option("--text", o->text);
    sub->add_option("--file", o->file)->excludes(text);
    sub->add_flag("--lines", o->lines, "a line of the file is an input");
    sub->add_flag("--add-special", o->add_special, "with the tokens that the model's tokenizer puts around a text");
    sub->add_flag("--parse-special", o->parse_special, "special tokens in the text become their ids");
    sub->add_flag("--chat", o->chat, "the text is a user's turn, put between the model's own markers")
        ->excludes("--add-special");
    sub->callback([o] {
        const Bpe bpe = Bpe::load(o->model);
        const auto print = [&](const std::string& text_in) {
            const std::string valid = replace_invalid_utf8(text_in);
            const EncodeOptions options{o->parse_special || o->chat, o->add_special, false};
            std::string line;
            for (const int32_t id : bpe.encode(o->chat ? apply_chat(bpe, valid) : valid, options)) {
                line += (line.empty() ? "" : " ") + std::to_string(id);
            }
            std::printf("%s\n", line.c_str());
        };
        const std::string whole = o->file.empty() ? o->text : read_file(o->file);
        if (!o->lines) {
            print(whole);
            return;
        }
        std::istringstream in(whole);
        for (std::string line; std::getline(in, line);) {
            print(line);
        }
    });
}

void add_inspect(CLI::App& app) {
    struct Options : Common {
        std::string path;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("inspect", "what a file holds: metadata, tensors, types, sizes");
    add_common(sub, o.get());
    sub->add_option("path", o->path, "a model (folder, .safetensors, .gguf) or an adapter folder")->required();
    sub->callback([o] { std::printf("%s", inspect(o->path).c_str()); });
}

} // namespace

void add_data_commands(CLI::App& app) {
    add_data(app);
    add_tokenizer(app);
    add_tokenize(app);
    add_inspect(app);
}

} // namespace skintern
