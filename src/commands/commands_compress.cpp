// commands_compress.cpp — compress: knowledge shortened as the curriculum would, and the compressors compared.
#include <cstdio>

#include "commands/commands.h"
#include "experiment/compare_compressors.h"
#include "experiment/presets.h"
#include "method/compress.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/utf8.h"

namespace skintern {

namespace {

struct CompressOptions : ModelOptions {
    std::string text, file, question, compressor = "probe", probe, save_probe;
    double keep = 0.5;
    bool table = false;
    DataConfig data; // of the generated tasks that a probe learns from and the table is measured on
};

Probe get_probe(const CompressOptions& o, const RankContext& context) {
    if (!o.probe.empty()) {
        const Probe probe = load_probe(o.probe);
        CHECK(probe.reads_question == !o.question.empty(), "%s: this probe %s, but --question is %s", o.probe.c_str(),
              probe.reads_question ? "reads a question before the text" : "reads no question",
              o.question.empty() ? "not given" : "given");
        return probe;
    }
    const World world(o.seed);
    const std::vector<Record> train = make_splits(o.data, world).at("train");
    say(format("no --probe: one is trained on the teacher's labels of %zu generated tasks", train.size()));
    return train_probe(context.model, context.bpe, context.bos, label_summaries(train, world), !o.question.empty());
}

void print_table(const CompressOptions& o, const RankContext& context) {
    const World world(o.seed);
    const auto splits = make_splits(o.data, world);
    for (const char* split : {"validation", "test", "unseen"}) {
        const std::vector<Record>& rows = splits.at(split);
        std::printf("%s: %zu summaries; the probes learned from %zu of the training rows\n", split, rows.size(),
                    splits.at("train").size());
        std::printf("%s\n", compressor_table(compare_compressors(context, world, splits.at("train"), rows)).c_str());
    }
}

void run_compress(CompressOptions o) {
    check_compressor(o.compressor);
    CHECK(o.table || o.text.empty() != o.file.empty(), "compress needs --text or --file");
    CHECK(o.save_probe.empty() || o.compressor == "probe", "--save-probe is of --compressor probe, not %s",
          o.compressor.c_str());
    o.data.seed = o.seed;
    o.model = o.model.empty() ? data_folder() + "/base" : o.model;
    const auto kernels = open_kernels(o);
    const auto model = open_model(*kernels, o);
    const Bpe bpe = Bpe::load(o.model);
    RankContext context{*model, bpe, bpe.bos(), nullptr, o.seed};
    if (o.table) {
        print_table(o, context);
        return;
    }
    Probe probe;
    if (o.compressor == "probe") {
        probe = get_probe(o, context);
        context.probe = &probe;
        if (!o.save_probe.empty()) {
            save_probe(o.save_probe, probe);
        }
    }
    const std::string text = replace_invalid_utf8(o.file.empty() ? o.text : read_file(o.file));
    std::printf("%s\n", shorten(rank_texts(o.compressor, context, {text}, {o.question})[0], o.keep).c_str());
}

} // namespace

void add_compress_command(CLI::App& app) {
    auto o = std::make_shared<CompressOptions>();
    o->data = preset_by_name("tiny", data_folder()).data;
    o->data.train = 24; // a probe from all 64 is no better (docs/experiments.md), and generating them takes longest
    CLI::App* sub = app.add_subcommand("compress", "shorten knowledge to a share of its words");
    add_common(sub, o.get());
    sub->add_option("--model", o->model, "a model folder or file; default the base model of this project");
    CLI::Option* text = sub->add_option("--text", o->text);
    sub->add_option("--file", o->file)->excludes(text);
    sub->add_option("--keep", o->keep, "share of the words")->check(share())->capture_default_str();
    sub->add_option("--compressor", o->compressor, "probe, information, sentences, random or head")
        ->capture_default_str();
    sub->add_option("--probe", o->probe, "a file of --save-probe; default one is trained, in seconds");
    sub->add_option("--save-probe", o->save_probe, "write the probe here");
    sub->add_option("--question", o->question, "the probe reads it before the text");
    sub->add_flag("--table", o->table, "instead: how the compressors compare on generated tasks");
    sub->add_option("--tasks", o->data.tasks, "generated families; default those of the preset tiny")
        ->delimiter(',')
        ->take_all();
    sub->add_option("--train", o->data.train, "generated rows a family to learn from")->capture_default_str();
    sub->callback([o] { run_compress(*o); });
}

} // namespace skintern
