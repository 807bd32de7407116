// The float model: packed rows, threads, backends, the first optimizer steps, generation, FLOPs.
#include "test_support.h"

#include <cmath>
#include <set>

#include "kernels.h"
#include "model/adamw.h"
#include "model/flops.h"
#include "model/generate.h"
#include "model/transformer.h"
#include "observed.h"

using namespace skintern;

namespace {

ModelConfig small_model() {
    ModelConfig c;
    c.layers = 2;
    c.channels = 40;
    c.heads = 3;
    c.kv_heads = 1;
    c.head_size = 16;
    c.ffn = 56;
    c.vocab = 67;
    c.max_positions = 128;
    return c;
}

LoraConfig small_lora() {
    LoraConfig lora;
    lora.r = 4;
    lora.alpha = 8;
    return lora;
}

std::unique_ptr<Transformer> make_model(Kernels& kernels, Train train) {
    auto model = std::make_unique<Transformer>(kernels, small_model(), train, small_lora());
    Rng rng(11);
    model->init_weights(rng);
    // Larger than an initialisation, so that logits differ clearly.
    for (const Tensor& t : model->weights().tensors()) {
        std::vector<real> host = download(kernels, t.data, t.numel);
        for (real& x : host) {
            x *= t.name.find("norm") == std::string::npos ? 6.0f : 1.0f;
        }
        kernels.upload(t.data, host.data(), host.size() * sizeof(real));
    }
    model->init_adapter(rng);
    return model;
}

std::vector<int32_t> random_ids(Rng& rng, int64_t n) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < n; i++) {
        ids.push_back(static_cast<int32_t>(rng.below(67)));
    }
    return ids;
}

// Every row but the last predicts the next token.
Batch scored(const std::vector<std::vector<int32_t>>& sequences) {
    Batch batch;
    for (const std::vector<int32_t>& ids : sequences) {
        for (size_t t = 0; t + 1 < ids.size(); t++) {
            batch.rows.push_back(static_cast<int32_t>(batch.tokens() + static_cast<int64_t>(t)));
            batch.targets.push_back(ids[t + 1]);
        }
        batch.add_sequence(ids);
    }
    return batch;
}

double sum(const std::vector<real>& values) {
    double total = 0;
    for (const real v : values) {
        total += static_cast<double>(v);
    }
    return total;
}

double largest_difference(const std::vector<real>& a, const std::vector<real>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (size_t i = 0; i < a.size(); i++) {
        const double d = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        REQUIRE(d == d); // a NaN is a failure
        most = std::max(most, d);
    }
    return most;
}

// float32 sums of about 60 terms of size one, through two layers: well under 1e-3 of a logit.
constexpr double kLogitTolerance = 1e-3;

} // namespace

TEST_CASE("packed sequences have the losses they have alone, and the loss of a and b adds up", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    Rng rng(1);
    const std::vector<int32_t> a = random_ids(rng, 17), b = random_ids(rng, 5), c = random_ids(rng, 33);
    const double packed = sum(model->losses(scored({a, b, c})));
    const double alone =
        sum(model->losses(scored({a}))) + sum(model->losses(scored({b}))) + sum(model->losses(scored({c})));
    REQUIRE(std::fabs(packed - alone) <= 1e-5 * alone);
}

TEST_CASE("one thread and two give the same bits, forward and backward", "[model]") {
    Rng rng(2);
    const Batch batch = scored({random_ids(rng, 70), random_ids(rng, 31), random_ids(rng, 1)});
    std::vector<std::vector<real>> gradients;
    std::vector<double> losses;
    for (const int threads : {1, 2}) {
        KernelOptions options;
        options.threads = threads;
        const auto kernels = make_kernels(options);
        const auto model = make_model(*kernels, Train::adapter);
        model->grads().zero();
        losses.push_back(model->forward_backward(batch, 0.01));
        gradients.push_back(download(*kernels, model->grads().data(), model->grads().numel()));
    }
    REQUIRE(losses[0] == losses[1]);
    REQUIRE(gradients[0] == gradients[1]);
}

TEST_CASE("computing activations again gives the same gradients, to the last bit, and a trace no name twice", "[model]") {
    Rng rng(3);
    const Batch batch = scored({random_ids(rng, 40), random_ids(rng, 9)});
    std::vector<std::vector<real>> gradients;
    std::vector<std::vector<std::string>> names(2);
    for (const bool again : {false, true}) {
        const auto kernels = make_kernels({});
        const auto model = make_model(*kernels, Train::adapter);
        model->recompute(again);
        model->set_trace([&](const std::string& name, const real*, const std::vector<int64_t>&) {
            names[again].push_back(name);
        });
        model->grads().zero();
        model->forward_backward(batch, 0.01);
        gradients.push_back(download(*kernels, model->grads().data(), model->grads().numel()));
    }
    REQUIRE(gradients[0] == gradients[1]);
    REQUIRE(names[0] == names[1]);
}

// Who listens to a trace is told F32, so that operands are not kept in BF16 then; their products round them anyway.
TEST_CASE("operands kept in BF16 give the losses and gradients of operands kept in F32, to the last bit", "[model]") {
    Rng rng(5);
    const Batch batch = scored({random_ids(rng, 40), random_ids(rng, 9)});
    for (const Train train : {Train::adapter, Train::everything}) {
        for (const std::string isa : {"portable", "auto"}) {
            KernelOptions options;
            options.isa = isa;
            options.dtype = "bf16";
            std::vector<std::vector<real>> gradients;
            std::vector<double> losses;
            for (const bool trace : {false, true}) {
                const auto kernels = make_kernels(options);
                const auto model = make_model(*kernels, train);
                if (trace) {
                    model->set_trace([](const std::string&, const real*, const std::vector<int64_t>&) {});
                }
                losses.push_back(model->forward_backward(batch, 0.01));
                gradients.push_back(download(*kernels, model->grads().data(), model->grads().numel()));
            }
            INFO(isa);
            REQUIRE(losses[0] == losses[1]);
            REQUIRE(gradients[0] == gradients[1]);
        }
    }
}

TEST_CASE("the fast kernels agree with the reference on logits and gradients", "[model]") {
    Rng rng(3);
    const Batch batch = scored({random_ids(rng, 40), random_ids(rng, 9)});
    KernelOptions options;
    options.device = "reference";
    const auto reference = make_kernels(options);
    const auto cpu = make_kernels({});
    const auto expected = make_model(*reference, Train::everything);
    const auto got = make_model(*cpu, Train::everything);
    REQUIRE(largest_difference(expected->logits(batch), got->logits(batch)) <= kLogitTolerance);
    expected->grads().zero();
    got->grads().zero();
    expected->forward_backward(batch, 1.0 / 47);
    got->forward_backward(batch, 1.0 / 47);
    for (const Tensor& t : expected->grads().tensors()) {
        const std::vector<real> a = download(*reference, t.data, t.numel);
        const std::vector<real> b = download(*cpu, got->grads().at(t.name).data, t.numel);
        double difference = 0, size = 0;
        for (size_t i = 0; i < a.size(); i++) {
            difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
            size += std::pow(static_cast<double>(a[i]), 2);
        }
        INFO(t.name);
        REQUIRE(std::sqrt(difference) <= 1e-4 * std::sqrt(size) + 1e-9);
    }
}

TEST_CASE("after the first update every B has moved, after the second every A has a gradient", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::adapter);
    Adamw adamw({}, model->adapter(), model->grads());
    Rng rng(4);
    const Batch batch = scored({random_ids(rng, 30)});
    const auto zero = [&](const Tensor& t) {
        for (const real x : download(*kernels, t.data, t.numel)) {
            if (x != 0) {
                return false;
            }
        }
        return true;
    };
    for (int step = 1; step <= 2; step++) {
        model->grads().zero();
        model->forward_backward(batch, 1.0 / 29);
        for (const Tensor& t : model->grads().tensors()) {
            const bool is_a = t.name.ends_with("lora_A.weight");
            INFO(t.name << " in step " << step);
            REQUIRE(zero(t) == (is_a && step == 1)); // B = 0 hides A from the loss once
        }
        adamw.update(1e-2);
        for (const Tensor& t : model->adapter().tensors()) {
            INFO(t.name << " after step " << step);
            REQUIRE(!zero(t));
        }
    }
}

TEST_CASE("without its adapter a model is its base, and with it again what it was", "[model]") {
    const auto kernels = make_kernels({});
    const auto base = make_model(*kernels, Train::nothing); // B is zero: the base
    const auto model = make_model(*kernels, Train::adapter);
    Rng rng(12);
    for (const Tensor& t : model->adapter().tensors()) {
        std::vector<real> host(static_cast<size_t>(t.numel));
        for (real& x : host) {
            x = 0.1f * static_cast<real>(rng.normal());
        }
        kernels->upload(t.data, host.data(), host.size() * sizeof(real));
    }
    const Batch batch = scored({random_ids(rng, 20), random_ids(rng, 3)});
    const std::vector<real> adapted = model->logits(batch);
    REQUIRE(largest_difference(adapted, base->logits(batch)) > 0.1);
    model->use_adapter(false);
    base->use_adapter(false); // the same products: the same bits
    REQUIRE(model->logits(batch) == base->logits(batch));
    model->use_adapter(true);
    REQUIRE(model->logits(batch) == adapted);
}

// More scored rows than are taken at a time, so that each part needs its own teacher.
TEST_CASE("a teacher that is sure of a token gives the loss and gradients of that token", "[model]") {
    for (const char* device : {"reference", "cpu"}) {
        INFO(device);
        KernelOptions options;
        options.device = device;
        const auto kernels = make_kernels(options);
        const auto model = make_model(*kernels, Train::everything);
        Rng rng(13);
        Batch batch = scored({random_ids(rng, 101), random_ids(rng, 101), random_ids(rng, 101)});
        const int64_t V = model->config().vocab;
        const auto gradients = [&] {
            model->grads().zero();
            const double loss = model->forward_backward(batch, 1.0 / 300);
            return std::pair(loss, download(*kernels, model->grads().data(), model->grads().numel()));
        };
        const auto [expected_loss, expected] = gradients();
        batch.soft_targets.assign(batch.rows.size() * static_cast<size_t>(V), 0);
        for (size_t m = 0; m < batch.rows.size(); m++) {
            batch.soft_targets[m * static_cast<size_t>(V) + static_cast<size_t>(batch.targets[m])] = 1000;
        }
        batch.targets = std::vector<int32_t>(batch.rows.size(), 0); // do not count
        const auto [loss, got] = gradients();
        REQUIRE(loss == Approx(expected_loss).epsilon(1e-6));
        REQUIRE(sum(model->losses(batch)) == Approx(loss).epsilon(1e-6));
        double size = 0;
        for (const real g : expected) {
            size = std::max(size, std::fabs(static_cast<double>(g)));
        }
        REQUIRE(largest_difference(got, expected) <= 1e-5 * size); // sums of some hundred roundings
    }
}

TEST_CASE("greedy tokens are the same alone, in a batch, and without a cache", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    Rng rng(5);
    std::vector<std::vector<int32_t>> prompts;
    for (const int64_t n : {1, 3, 17, 33, 5, 2, 8}) {
        prompts.push_back(random_ids(rng, n));
    }
    GenerateConfig config;
    config.max_new_tokens = 20;
    config.batch_size = 3; // slots are left and taken again
    config.eos = 7;
    const std::vector<Generation> together = generate(*model, prompts, config);
    for (size_t i = 0; i < prompts.size(); i++) {
        const Generation alone = generate(*model, {prompts[i]}, config)[0];
        REQUIRE(alone.ids == together[i].ids);
        REQUIRE(alone.finished == together[i].finished);
        std::vector<int32_t> ids = prompts[i];
        for (size_t g = 0; g < alone.ids.size(); g++) {
            Batch batch;
            batch.add_sequence(ids);
            batch.rows = {static_cast<int32_t>(ids.size()) - 1};
            const std::vector<real> logits = model->logits(batch);
            ids.push_back(
                static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
        }
        REQUIRE(std::vector<int32_t>(ids.begin() + static_cast<int64_t>(prompts[i].size()), ids.end()) == alone.ids);
    }
}

TEST_CASE("prompts that begin alike give the same tokens with and without a shared beginning", "[model]") {
    Rng rng(8);
    // Two tasks, each with an instruction of its own; prompts that are equal, that begin another, and of one token.
    std::vector<std::vector<int32_t>> prompts;
    for (int task = 0; task < 2; task++) {
        const std::vector<int32_t> instruction = random_ids(rng, 24);
        for (const int64_t n : {5, 1, 9, 0, 3, 0}) {
            prompts.push_back(instruction);
            const std::vector<int32_t> question = random_ids(rng, n);
            prompts.back().insert(prompts.back().end(), question.begin(), question.end());
        }
        prompts.push_back({instruction[0]});
    }
    for (const char* device : {"reference", "cpu"}) {
        KernelOptions options;
        options.device = device;
        const auto inner = make_kernels(options);
        int64_t flops = 0;
        ObservedKernels kernels(*inner, [&](const ObservedOp& op) { flops += op.flops; });
        const auto model = make_model(kernels, Train::nothing);
        GenerateConfig config;
        config.max_new_tokens = 12;
        config.batch_size = 4;
        config.eos = 7;
        config.share_prefixes = false;
        flops = 0;
        const std::vector<Generation> apart = generate(*model, prompts, config);
        const int64_t flops_apart = flops;
        config.share_prefixes = true;
        flops = 0;
        const std::vector<Generation> shared = generate(*model, prompts, config);
        INFO(device);
        for (size_t i = 0; i < prompts.size(); i++) {
            INFO("prompt " << i);
            REQUIRE(shared[i].ids == apart[i].ids);
            REQUIRE(shared[i].steps == apart[i].steps);
        }
        // Ten of the twelve long prompts need not compute their 24 tokens of instruction again.
        const int64_t instruction = question_flops(small_model(), 24, 0).linear;
        REQUIRE(flops_apart - flops >= 10 * instruction);
    }
}

TEST_CASE("a cache that may take little runs fewer sequences at a time, with the same tokens", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    Rng rng(9);
    std::vector<std::vector<int32_t>> prompts;
    for (int i = 0; i < 6; i++) {
        prompts.push_back(random_ids(rng, 10));
    }
    GenerateConfig config;
    config.max_new_tokens = 6;
    const std::vector<Generation> all = generate(*model, prompts, config);
    // A position has a key and a value of one head of 16 in 2 layers; a sequence 16 positions.
    config.cache_bytes = 2 * 16 * (2 * 2 * 16 * static_cast<int64_t>(sizeof(real)));
    std::vector<int64_t> order;
    int64_t longest_ahead = 0; // prompts that end before an earlier one: never more than run beside it
    config.done = [&](int64_t prompt, const Generation&) {
        order.push_back(prompt);
        longest_ahead = std::max(longest_ahead, prompt - static_cast<int64_t>(order.size()) + 1);
    };
    const auto narrow_model = make_model(*kernels, Train::nothing);
    const std::vector<Generation> narrow = generate(*narrow_model, prompts, config);
    REQUIRE(order.size() == prompts.size());
    REQUIRE(longest_ahead <= 1); // two at a time
    config.cache_bytes = 1;      // one at a time, however little there is
    order.clear();
    const std::vector<Generation> single = generate(*narrow_model, prompts, config);
    REQUIRE(order == std::vector<int64_t>{0, 1, 2, 3, 4, 5});
    for (size_t i = 0; i < prompts.size(); i++) {
        REQUIRE(narrow[i].ids == all[i].ids);
        REQUIRE(single[i].ids == all[i].ids);
    }
}

TEST_CASE("a cache of BF16 gives the tokens of the reference with one, with and without shared beginnings", "[model]") {
    Rng rng(16);
    const std::vector<int32_t> instruction = random_ids(rng, 24);
    std::vector<std::vector<int32_t>> prompts;
    for (const int64_t n : {5, 1, 9, 30, 3}) {
        prompts.push_back(instruction);
        const std::vector<int32_t> question = random_ids(rng, n);
        prompts.back().insert(prompts.back().end(), question.begin(), question.end());
    }
    std::vector<Generation> expected;
    for (const char* device : {"reference", "cpu"}) {
        KernelOptions options;
        options.device = device;
        const auto kernels = make_kernels(options);
        const auto model = make_model(*kernels, Train::nothing);
        for (const bool share : {false, true}) {
            INFO(device << (share ? ", shared" : ""));
            GenerateConfig config;
            config.max_new_tokens = 12;
            config.batch_size = 3;
            config.cache_type = WeightType::bf16;
            config.share_prefixes = share;
            const std::vector<Generation> got = generate(*model, prompts, config);
            expected = expected.empty() ? got : expected;
            for (size_t i = 0; i < prompts.size(); i++) {
                REQUIRE(got[i].ids == expected[i].ids);
            }
        }
    }
}

TEST_CASE("a cache of BF16 runs twice as many sequences in the same memory", "[model]") {
    const auto inner = make_kernels({});
    int64_t passes = 0;
    ObservedKernels kernels(*inner, [&](const ObservedOp& op) { passes += std::string(op.name) == "argmax_rows"; });
    const auto model = make_model(kernels, Train::nothing);
    Rng rng(9);
    std::vector<std::vector<int32_t>> prompts;
    for (int i = 0; i < 8; i++) {
        prompts.push_back(random_ids(rng, 10));
    }
    GenerateConfig config;
    config.max_new_tokens = 6;
    config.cache_bytes = 2 * 16 * (2 * 2 * 16 * static_cast<int64_t>(sizeof(float))); // two sequences in F32, see above
    for (const WeightType type : {WeightType::f32, WeightType::bf16}) {
        config.cache_type = type;
        passes = 0;
        generate(*model, prompts, config);
        REQUIRE(passes == (type == WeightType::f32 ? 4 * 6 : 2 * 6));
    }
}

TEST_CASE("one model generates with a cache of F32, of BF16 and of F32 again", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    Rng rng(17);
    const std::vector<int32_t> prompt = random_ids(rng, 20);
    std::vector<std::vector<real>> attention; // of the first layer, whose q, k and v are the same in all three
    model->set_trace([&](const std::string& name, const real* data, const std::vector<int64_t>& shape) {
        if (name == "layers.0.attention") {
            attention.push_back(download(*kernels, data, shape[0] * shape[1] * shape[2]));
        }
    });
    for (const WeightType type : {WeightType::f32, WeightType::bf16, WeightType::f32}) {
        GenerateConfig config;
        config.max_new_tokens = 1;
        config.cache_type = type;
        generate(*model, {prompt}, config);
    }
    double largest = 0, difference = 0;
    for (size_t i = 0; i < attention[0].size(); i++) {
        largest = std::max(largest, std::fabs(static_cast<double>(attention[0][i])));
        difference = std::max(difference, std::fabs(static_cast<double>(attention[0][i] - attention[1][i])));
    }
    REQUIRE(difference > 0);
    REQUIRE(difference < 0.1 * largest); // scores of some tens are off by 2^-9 of themselves, p by exp of that
    REQUIRE(attention[2] == attention[0]);
    REQUIRE_THROWS_WITH(model->start_cache(1, 1, WeightType::q8_0), "a cache of Q8_0: it can be of F32 or BF16");
}

TEST_CASE("an answer ends where the model's positions end, whatever stands beside it", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    GenerateConfig config;
    config.max_new_tokens = 9;
    config.max_positions = 8;
    const std::vector<Generation> out = generate(*model, {{1, 2, 3}, {1, 2, 3, 4, 5, 6, 7}}, config);
    REQUIRE(out[0].steps == 5);
    REQUIRE(out[1].steps == 1);
    REQUIRE_THROWS(generate(*model, {{1, 2, 3, 4, 5, 6, 7, 8}}, config));
}

TEST_CASE("a stop condition and the limit both end a sequence", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    GenerateConfig config;
    config.max_new_tokens = 9;
    const Generation limited = generate(*model, {{1, 2, 3}}, config)[0];
    REQUIRE(limited.steps == 9);
    REQUIRE(!limited.finished);
    config.stop = [](const std::vector<int32_t>& ids) { return ids.size() == 4; };
    const Generation stopped = generate(*model, {{1, 2, 3}}, config)[0];
    REQUIRE(stopped.ids.size() == 4);
    REQUIRE(stopped.finished);
    REQUIRE_THROWS(generate(*model, {{}}, config));
}

TEST_CASE("FLOPs by formula equal those counted op by op, in a pass and in generation", "[flops]") {
    const auto inner = make_kernels({});
    int64_t counted = 0;
    ObservedKernels kernels(*inner, [&](const ObservedOp& op) { counted += op.flops; });
    LoraConfig none;
    none.r = 0;
    Transformer model(kernels, small_model(), Train::nothing, none);
    Rng rng(6);
    model.init_weights(rng);
    for (const int64_t tokens : {1, 5, 17, 33}) {
        Batch batch;
        batch.add_sequence(random_ids(rng, tokens));
        for (int32_t t = 0; t < tokens; t++) {
            batch.rows.push_back(t);
        }
        counted = 0;
        model.logits(batch);
        REQUIRE(counted == question_flops(small_model(), tokens, 0).total());
        REQUIRE(counted == question_flops(small_model(), tokens, 1).total());
    }
    // Generation computes the output layer for the last prompt position only; a framework does for all.
    const int64_t P = 13, G = 9;
    GenerateConfig config;
    config.max_new_tokens = G;
    counted = 0;
    generate(model, {random_ids(rng, P)}, config);
    const int64_t saved = 2 * (P - 1) * small_model().channels * small_model().vocab;
    REQUIRE(counted == question_flops(small_model(), P, G).total() - saved);
}

TEST_CASE("FLOPs of training by formula equal those counted op by op, with kept activations and without", "[flops]") {
    const auto inner = make_kernels({});
    int64_t counted = 0;
    ObservedKernels kernels(*inner, [&](const ObservedOp& op) { counted += op.flops; });
    LoraConfig some = small_lora();
    some.target_modules = {"q_proj", "up_proj", "down_proj"};
    some.rank_pattern = {{"up_proj", 3}};
    some.layers_to_transform = {1};
    for (const LoraConfig& lora : {small_lora(), some}) {
        for (const bool recompute : {false, true}) {
            Transformer model(kernels, small_model(), Train::adapter, lora);
            model.recompute(recompute);
            Rng rng(7);
            model.init_weights(rng);
            model.init_adapter(rng);
            Batch batch = scored({random_ids(rng, 5), random_ids(rng, 17)});
            batch.rows.resize(9);
            batch.targets.resize(9);
            counted = 0;
            model.forward_backward(batch, 1);
            REQUIRE(counted == training_flops(small_model(), lora, {22, 5 * 5 + 17 * 17, 9}, recompute).total());
        }
    }
}

TEST_CASE("a trace names every activation and gradient in order", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::adapter);
    std::vector<std::string> names;
    model->set_trace([&](const std::string& name, const real*, const std::vector<int64_t>&) {
        names.push_back(name);
    });
    model->grads().zero();
    model->forward_backward(scored({{1, 2, 3}}), 1);
    REQUIRE(names.front() == "embed");
    const std::set<std::string> all(names.begin(), names.end());
    for (const char* name : {"layers.0.q", "layers.1.attention", "logits", "layers.0.dq", "layers.1.dact"}) {
        REQUIRE(all.count(name) == 1);
    }
}

TEST_CASE("a batch that does not fit the model is refused in one sentence", "[model]") {
    const auto kernels = make_kernels({});
    const auto model = make_model(*kernels, Train::nothing);
    Batch batch;
    batch.add_sequence({1, 67});
    REQUIRE_THROWS_WITH(model->losses(batch), "token id 67 is not in the vocabulary of 67");
    Batch one_row;
    one_row.add_sequence({1});
    one_row.rows = {0};
    REQUIRE_THROWS_WITH(model->losses(one_row), "1 rows are scored against 0 targets");
    one_row.soft_targets.resize(66);
    REQUIRE_THROWS_WITH(model->losses(one_row),
                        "1 rows of a vocabulary of 67 are scored against 66 logits of a teacher");
    Batch too_long;
    too_long.add_sequence(std::vector<int32_t>(129, 1));
    REQUIRE_THROWS_WITH(model->losses(too_long),
                        Contains("129 tokens is longer than the 128 positions of the model"));
}
