// commands_bench.cpp — bench and check: how fast this build is on this machine, and whether it is right.
#include <CLI/CLI.hpp>
#include <memory>

#include "commands/commands.h"
#include "measure/measure.h"
#include "measure/measure_bpe.h"
#include "measure/measure_ops.h"
#include "support/check.h"

namespace skintern {

namespace {

void add_bench(CLI::App& app) {
    struct Options : Common {
        std::string work, model, file;
        MeasureConfig measure;
        OpConfig op;
        std::vector<int64_t> shape;
        bool json = false;
    };
    auto o = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("bench", "tokens/s of a model, GFLOP/s of an op, MB/s of bpe, the machine's roofs");
    add_common(sub, o.get());
    sub->add_option("work", o->work, "train, prefill, decode; matmul, attention; bpe; roof")
        ->required()
        ->check(CLI::IsMember({"train", "prefill", "decode", "matmul", "attention", "bpe", "roof"}));
    sub->add_option("--model", o->model,
                    "default: the tiny preset's shape with random weights; bpe: the tokenizer it trains");
    sub->add_option("--file", o->file, "bpe: the text; default: 20 MB of pre-training documents");
    sub->add_option("--batch-size", o->measure.batch_size, "sequences; decode without it: 1, 16 and 64")
        ->check(CLI::Range(1, 4096));
    sub->add_option("--seq-len", o->measure.seq_len)->check(CLI::Range(2, 1 << 20))->capture_default_str();
    sub->add_option("--new-tokens", o->measure.new_tokens)->check(CLI::Range(1, 1 << 20))->capture_default_str();
    sub->add_option("--labelled", o->measure.labelled, "share of tokens with a loss")
        ->check(share())
        ->capture_default_str();
    sub->add_option("--lora-r", o->measure.lora_r)->check(CLI::Range(1, 4096))->capture_default_str();
    sub->add_option("--shape", o->shape, "matmul: M,N,K of out(M,N) = a(M,K) b(N,K)^T; default 512,1536,576")
        ->delimiter(',')
        ->check(CLI::Range(1, 1 << 20));
    sub->add_option_function<std::string>(
           "--operands", [o](const std::string& name) { o->op.operands = name == "bf16" ? WeightType::bf16 : WeightType::f32; },
           "matmul: f32, or bf16: the type in which a and b lie in memory")
        ->check(CLI::IsMember({"f32", "bf16"}))
        ->default_str("f32");
    sub->add_option("--save", o->op.save, "matmul: a .safetensors file for a, b and out");
    for (const auto& [name, size] : {std::pair("--heads", &o->op.heads), {"--kv-heads", &o->op.kv_heads},
                                     {"--head-size", &o->op.head_size}}) {
        sub->add_option(name, *size, "attention")->check(CLI::Range(1, 4096))->capture_default_str();
    }
    add_kv_cache(sub, &o->measure.cache_type);
    sub->add_flag("--recompute", o->measure.recompute, "train: keep only the inputs of layers");
    sub->add_flag("--json", o->json);
    sub->callback([o] {
        if (o->work == "bpe") {
            measure_bpe(o->model, o->file, o->json);
            return;
        }
        CHECK(o->file.empty(), "--file is for bench bpe; %s makes its own tokens", o->work.c_str());
        CHECK(o->work == "prefill" || o->work == "decode" || o->measure.cache_type == WeightType::f32,
              "--kv-cache is for bench prefill and decode; %s has no cache", o->work.c_str());
        const auto kernels = open_kernels(*o);
        o->measure.options = o->kernels;
        o->measure.options.dtype = o->dtype;
        if (o->work == "roof") {
            measure_roof(o->kernels, o->json);
        } else if (o->work == "matmul" || o->work == "attention") {
            if (!o->shape.empty()) {
                CHECK(o->shape.size() == 3, "--shape is M,N,K: three sizes");
                o->op.M = o->shape[0], o->op.N = o->shape[1], o->op.K = o->shape[2];
            }
            o->op.seq_len = o->measure.seq_len;
            o->op.sequences = o->measure.batch_size > 0 ? o->measure.batch_size : 4;
            measure_op(*kernels, o->work, o->dtype, o->op, o->json);
        } else {
            measure(*kernels, o->work, o->model, o->measure, o->json);
        }
    });
}

void add_check(CLI::App& app) {
    auto o = std::make_shared<Common>();
    CLI::App* sub = app.add_subcommand("check", "this build on this machine against the reference kernels");
    add_common(sub, o.get());
    sub->callback([o] {
        const auto kernels = open_kernels(*o);
        check_against_reference(*kernels, o->dtype == "bf16");
    });
}

} // namespace

void add_bench_commands(CLI::App& app) {
    add_bench(app);
    add_check(app);
}

} // namespace skintern
