// measure.cpp — see measure.h.
#include "measure/measure.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "method/batch.h"
#include "model/adamw.h"
#include "model/checkpoint.h"
#include "model/footprint.h"
#include "model/generate.h"
#include "model/trace.h"
#include "observed.h"
#include "pretraining/base_model.h"
#include "support/check.h"

namespace skintern {

using Clock = std::chrono::steady_clock;

namespace {

constexpr int kRuns = 7;

std::unique_ptr<Transformer> open(Kernels& kernels, const std::string& folder, Train train, int64_t r) {
    LoraConfig lora;
    lora.r = r;
    if (!folder.empty()) {
        return load_model(kernels, folder, train, lora);
    }
    auto model = std::make_unique<Transformer>(kernels, tiny_base_config().model, train, lora);
    Rng rng(1);
    model->init_weights(rng);
    model->init_adapter(rng);
    return model;
}

std::vector<int32_t> random_ids(Rng& rng, int64_t n, int64_t vocab) {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) {
        id = static_cast<int32_t>(rng.below(vocab));
    }
    return ids;
}

void print_rate(const std::string& work, const std::string& dtype, const std::string& what, double tokens,
                const std::vector<double>& seconds, bool json) {
    Measured measured = {work, dtype, what, "tokens/s", {}};
    for (const double s : seconds) {
        measured.values.push_back(tokens / s);
    }
    print_measured(measured, json);
}

// Time, operations and bytes of each op.
class Profile {
public:
    void add(const ObservedOp& op) {
        Sum& sum = sums_[op.name];
        sum.seconds += op.seconds;
        sum.flops += static_cast<double>(op.flops);
        sum.bytes += static_cast<double>(op.bytes);
    }

    // Share of each op in the time of the run, largest first, and how far it is from its roof: the time that its
    // operations take in registers, or its bytes from memory, whichever is longer. Of attention in training the causal half
    // is needed; what lies in a cache may be faster than memory.
    void print(const KernelOptions& options) const {
        const Roofs roofs = measure_roofs(options);
        const double peak = options.dtype == "bf16" ? roofs.bf16 : roofs.f32, bandwidth = roofs.bandwidth;
        double total = 0;
        std::vector<std::pair<double, std::string>> rows;
        for (const auto& [name, sum] : sums_) {
            total += sum.seconds;
            rows.emplace_back(sum.seconds, name);
        }
        std::sort(rows.rbegin(), rows.rend());
        std::printf("\nroofs: %.0f GFLOP/s, %.1f GB/s\n%-20s %7s %9s %9s %9s\n", peak / 1e9, bandwidth / 1e9, "op", "share",
                    "GFLOP/s", "GB/s", "of roof");
        for (const auto& [s, name] : rows) {
            const Sum& sum = sums_.at(name);
            const double flops = name.starts_with("attention_") && sum.bytes == 0 ? sum.flops / 2 : sum.flops;
            const double needed = std::max(flops / peak, sum.bytes / bandwidth);
            const auto rate = [&](double amount) { return amount > 0 ? format("%.1f", amount / s / 1e9) : "-"; };
            std::printf("%-20s %6.1f%% %9s %9s %8.0f%%\n", name.c_str(), 100 * s / total, rate(flops).c_str(),
                        rate(sum.bytes).c_str(), 100 * needed / s);
        }
        std::printf("\n");
    }

private:
    struct Sum {
        double seconds = 0, flops = 0, bytes = 0;
    };
    std::map<std::string, Sum> sums_;
};

void measure_train(Kernels& kernels, const std::string& folder, const MeasureConfig& config, bool json) {
    Profile profile;
    ObservedKernels observed(kernels, [&](const ObservedOp& op) { profile.add(op); });
    observed.listen(false);
    const auto model = open(observed, folder, Train::adapter, config.lora_r);
    model->recompute(config.recompute);
    Adamw adamw({}, model->adapter(), model->grads());
    const int64_t sequences = config.batch_size > 0 ? config.batch_size : 4;
    const int64_t labelled =
        std::max<int64_t>(1, static_cast<int64_t>(config.labelled * static_cast<double>(config.seq_len)));
    Rng rng(2);
    Batch batch;
    for (int64_t s = 0; s < sequences; s++) {
        Sample sample;
        sample.ids = random_ids(rng, config.seq_len, model->config().vocab);
        sample.prompt_tokens = std::max<int64_t>(1, config.seq_len - labelled);
        add_sample(batch, sample);
    }
    const auto step = [&] {
        model->grads().zero();
        model->forward_backward(batch, 1.0 / static_cast<double>(batch.rows.size()));
        adamw.update(1e-4);
    };
    const std::vector<double> runs = time_runs(step, kRuns);
    print_rate("train", config.options.dtype,
               format("LoRA r %lld, %lld x %lld tokens, %.0f %% labelled", static_cast<long long>(config.lora_r),
                      static_cast<long long>(sequences), static_cast<long long>(config.seq_len),
                      100 * config.labelled),
               static_cast<double>(batch.tokens()), runs, json);
    if (!json) {
        observed.listen(true);
        step();
        step();
        step();
        profile.print(config.options);
        const double weights = model->stored().empty() ? weight_bytes(model->config(), WeightType::f32) : weight_bytes(model->stored());
        const PassSize pass = {batch.tokens(), static_cast<int64_t>(batch.rows.size())};
        const double bytes = kProgramBytes + weights +
                             total_bytes(training_memory(model->config(), model->lora(), pass, config.recompute));
        std::printf("memory by formula: %.2f GiB\n", bytes / (1024.0 * 1024.0 * 1024.0));
    }
}

const char* cache_words(const MeasureConfig& config) {
    return config.cache_type == WeightType::bf16 ? ", BF16 cache" : "";
}

void measure_prefill(Kernels& kernels, const std::string& folder, const MeasureConfig& config, bool json) {
    Profile profile;
    ObservedKernels observed(kernels, [&](const ObservedOp& op) { profile.add(op); });
    observed.listen(false);
    const auto model = open(observed, folder, Train::nothing, 0);
    Rng rng(3);
    std::vector<std::vector<int32_t>> prompts;
    for (int64_t s = 0; s < std::max<int64_t>(1, config.batch_size); s++) {
        prompts.push_back(random_ids(rng, config.seq_len, model->config().vocab));
    }
    GenerateConfig generation;
    generation.max_new_tokens = 1;
    generation.batch_size = static_cast<int64_t>(prompts.size());
    generation.cache_bytes = INT64_MAX; // all at a time, as asked
    generation.cache_type = config.cache_type;
    const std::vector<double> runs = time_runs([&] { generate(*model, prompts, generation); }, kRuns);
    print_rate("prefill", config.options.dtype,
               format("%zu x %lld tokens%s", prompts.size(), static_cast<long long>(config.seq_len), cache_words(config)),
               static_cast<double>(prompts.size()) * static_cast<double>(config.seq_len), runs, json);
    if (!json) {
        observed.listen(true);
        generate(*model, prompts, generation);
        profile.print(config.options);
    }
}

// Decoding alone: the time of G new tokens less the time of one.
void measure_decode(Kernels& kernels, const std::string& folder, const MeasureConfig& config, bool json) {
    Profile profile;
    ObservedKernels observed(kernels, [&](const ObservedOp& op) { profile.add(op); });
    observed.listen(false);
    const auto model = open(observed, folder, Train::nothing, 0);
    std::vector<int64_t> batches = {1, 16, 64};
    if (config.batch_size > 0) {
        batches = {config.batch_size};
    }
    const int64_t prompt_length = std::max<int64_t>(1, config.seq_len / 8);
    for (const int64_t sequences : batches) {
        Rng rng(4);
        std::vector<std::vector<int32_t>> prompts;
        for (int64_t s = 0; s < sequences; s++) {
            prompts.push_back(random_ids(rng, prompt_length, model->config().vocab));
        }
        GenerateConfig generation;
        generation.batch_size = sequences;
        generation.cache_bytes = INT64_MAX; // all at a time, as asked
        generation.cache_type = config.cache_type;
        generation.max_new_tokens = 1;
        const double prefill = time_runs([&] { generate(*model, prompts, generation); }, kRuns).front();
        generation.max_new_tokens = config.new_tokens + 1;
        std::vector<double> runs = time_runs([&] { generate(*model, prompts, generation); }, kRuns);
        for (double& s : runs) {
            s = std::max(1e-9, s - prefill);
        }
        print_rate("decode", config.options.dtype,
                   format("%lld sequences, %lld new tokens after %lld%s", static_cast<long long>(sequences),
                          static_cast<long long>(config.new_tokens), static_cast<long long>(prompt_length),
                          cache_words(config)),
                   static_cast<double>(sequences * config.new_tokens), runs, json);
        if (!json && sequences == batches.back()) { // its prompt is in it too
            observed.listen(true);
            generate(*model, prompts, generation);
            profile.print(config.options);
        }
    }
}

} // namespace

void measure(Kernels& kernels, const std::string& work, const std::string& folder, const MeasureConfig& config,
             bool json) {
    if (work == "train") {
        measure_train(kernels, folder, config, json);
    } else if (work == "prefill") {
        measure_prefill(kernels, folder, config, json);
    } else {
        measure_decode(kernels, folder, config, json);
    }
}

// ---- for measurements in other files ----------------------------------------------------------------------------

std::vector<double> time_runs(const std::function<void()>& run, int runs) {
    run();
    std::vector<double> seconds;
    for (int i = 0; i < runs; i++) {
        const auto begin = Clock::now();
        run();
        seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
}

void print_measured(const Measured& measured, bool json) {
    const double best = measured.values.front();
    const double median = measured.values[measured.values.size() / 2];
    const auto [least, most] = std::minmax(best, measured.values.back());
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    const int64_t peak = static_cast<int64_t>(usage.ru_maxrss) * 1024;
    if (json) {
        const nlohmann::ordered_json row = {{"work", measured.work}, {"dtype", measured.dtype},
                                            {"what", measured.what}, {"value", median},
                                            {"unit", measured.unit}, {"min", least},
                                            {"max", most},           {"peak_rss_bytes", peak}};
        std::printf("%s\n", row.dump().c_str());
    } else {
        const char* unit = measured.unit.c_str();
        const int digits = median < 1000 ? 2 : 0;
        std::printf("%-8s %-44s %9.*f %s median, %9.*f best, %5.2f GiB peak\n", measured.work.c_str(),
                    measured.what.c_str(), digits, median, unit, digits, best,
                    static_cast<double>(peak) / (1024.0 * 1024.0 * 1024.0));
    }
}

// ---- check -------------------------------------------------------------------------------------------------------

namespace {

NamedTrace trace_step(Kernels& kernels) {
    ModelConfig config = tiny_base_config().model;
    config.layers = 2;
    config.kv_heads = 1;
    LoraConfig lora;
    Transformer model(kernels, config, Train::adapter, lora);
    Rng rng(5);
    model.init_weights(rng);
    model.init_adapter(rng);
    Batch batch;
    for (const int64_t length : {33, 1, 70}) {
        Sample sample;
        sample.ids = random_ids(rng, length, config.vocab);
        sample.prompt_tokens = 1;
        add_sample(batch, sample);
    }
    return trace_pass(model, batch, true);
}

} // namespace

void check_against_reference(Kernels& kernels, bool bf16) {
    // In BF16 the reference rounds what matmul multiplies but not what attention does.
    const auto reference = make_reference_kernels(bf16);
    const std::vector<TraceDistance> distances = compare_traces(trace_step(*reference), trace_step(kernels));
    const TraceDistance* first = first_difference(distances, trace_tolerance(bf16));
    CHECK(first == nullptr, "%s: the first tensor that differs from the reference is %s, by %g of its size",
          kernels.name().c_str(), first->name.c_str(), first->distance);
    double worst = 0;
    for (const TraceDistance& d : distances) {
        worst = std::max(worst, d.distance);
    }
    std::printf("%s: %zu tensors of a training step agree with the reference, largest difference %.1e\n",
                kernels.name().c_str(), distances.size(), worst);
}

} // namespace skintern
