// commands_merge.cpp — merge: an adapter into the weights it sits on.
#include <cstdio>

#include "commands/commands.h"
#include "model/merge.h"

namespace skintern {

namespace {

struct MergeOptions : Common {
    std::string model, adapter, out;
};

void run_merge(const MergeOptions& o) {
    // --dtype is that of the weights that are written; what is computed is F32.
    std::string dtype = o.dtype == "f32" ? "F32" : o.dtype == "bf16" ? "BF16" : "F16";
    Common common = o;
    common.dtype = "f32";
    const auto kernels = open_kernels(common);
    const MergeReport report = merge(*kernels, o.model, o.adapter, o.out, dtype);
    std::printf("%s: %lld layers merged, weights written as %s, %lld files taken along\n", o.out.c_str(),
                static_cast<long long>(report.layers), dtype.c_str(), static_cast<long long>(report.files));
    std::printf("largest-logit-difference %.3g\nlargest-logit %.6g\nrelative-difference %.3g\n",
                report.largest_difference, report.largest_logit,
                report.largest_logit > 0 ? report.largest_difference / report.largest_logit : 0.0);
}

} // namespace

void add_merge_command(CLI::App& app) {
    auto o = std::make_shared<MergeOptions>();
    CLI::App* sub = app.add_subcommand("merge", "add an adapter to its base model: a Hugging Face folder");
    add_common(sub, o.get());
    sub->get_option("--dtype")->description("of the weights that are written: f32, bf16 or f16");
    sub->get_option("--dtype")->check(CLI::IsMember({"f32", "bf16", "f16"}));
    sub->add_option("--model", o->model, "a Hugging Face folder, or a file with unquantised weights")
        ->required();
    sub->add_option("--adapter", o->adapter, "a PEFT adapter folder")->required();
    sub->add_option("--out", o->out, "a new folder")->required();
    sub->callback([o] { run_merge(*o); });
}

} // namespace skintern
