// The whole model against central differences, in double (this file is compiled with real = double).
//
// f is the loss of a small batch of packed sequences; every trained parameter tensor is probed at several elements.
#include "test.h"

#include <cmath>

#include "kernels.h"
#include "model/transformer.h"

using namespace skintern;

namespace {

constexpr double kEps = 1e-6;
constexpr double kRtol = 1e-3;
constexpr double kAtol = 1e-5;

// Two layers; NH*HS = 18 is not C = 10, and two query heads share a key/value head or three do.
ModelConfig small_model(bool tied, bool bias) {
    ModelConfig c;
    c.layers = 2;
    c.channels = 10;
    c.heads = 3;
    c.kv_heads = 1;
    c.head_size = 6;
    c.ffn = 7;
    c.vocab = 13;
    c.max_positions = 32;
    c.tied = tied;
    c.qkv_bias = bias;
    return c;
}

LoraConfig small_lora(int64_t r) {
    LoraConfig lora;
    lora.r = r;
    lora.alpha = 5;
    return lora;
}

void randomise(Arena& arena, Rng& rng, double scale) {
    for (const Tensor& t : arena.tensors()) {
        std::vector<real> host(static_cast<size_t>(t.numel));
        const bool norm = t.name.find("norm") != std::string::npos;
        for (real& x : host) {
            x = (norm ? 1.0 : 0.0) + scale * rng.normal();
        }
        arena.kernels().upload(t.data, host.data(), host.size() * sizeof(real));
    }
}

// Sequences of 1, 5 and 3 tokens; some rows are scored.
Batch small_batch() {
    Batch batch;
    batch.add_sequence({4});
    batch.add_sequence({1, 7, 7, 12, 3});
    batch.add_sequence({9, 0, 2});
    batch.rows = {1, 3, 4, 7};
    batch.targets = {7, 3, 11, 2};
    return batch;
}

void check_gradients(Transformer& model, const Batch& batch) {
    model.grads().zero();
    model.forward_backward(batch, 1.0);
    Kernels& kernels = model.kernels();
    Rng rng(5);
    int64_t probed = 0;
    for (const Tensor& t : model.trained().tensors()) {
        const std::vector<real> grad = download(kernels, model.grads().at(t.name).data, t.numel);
        for (int64_t probe = 0; probe < 6; probe++) {
            const size_t i = static_cast<size_t>(rng.below(t.numel));
            real saved = 0;
            kernels.download(&saved, t.data + i, sizeof(real));
            const auto loss_at = [&](double value) {
                const real v = static_cast<real>(value);
                kernels.upload(t.data + i, &v, sizeof(real));
                double sum = 0;
                for (const real loss : model.losses(batch)) {
                    sum += loss;
                }
                return sum;
            };
            const double numeric = (loss_at(saved + kEps) - loss_at(saved - kEps)) / (2 * kEps);
            loss_at(saved);
            INFO(t.name << " element " << i << ": " << grad[i] << " against " << numeric);
            REQUIRE(std::fabs(grad[i] - numeric) <= kAtol + kRtol * std::fabs(numeric));
            probed++;
        }
    }
    REQUIRE(probed == 6 * static_cast<int64_t>(model.trained().tensors().size()));
}

} // namespace

TEST_CASE("the gradients of a full two-layer model match central differences", "[model]") {
    for (const bool tied : {false, true}) {
        for (const bool bias : {false, true}) {
            const auto kernels = make_reference_kernels();
            Transformer model(*kernels, small_model(tied, bias), Train::everything, small_lora(0));
            Rng rng(1);
            randomise(model.weights(), rng, 0.4);
            check_gradients(model, small_batch());
        }
    }
}

TEST_CASE("the gradients of a model with normed q and k match central differences", "[model]") {
    for (const bool bias : {false, true}) {
        ModelConfig config = small_model(true, bias);
        config.architecture = "Qwen3ForCausalLM";
        config.qk_norm = true;
        config.o_bias = bias;
        for (const Train train : {Train::everything, Train::adapter}) {
            const auto kernels = make_reference_kernels();
            Transformer model(*kernels, config, train, small_lora(train == Train::adapter ? 2 : 0));
            Rng rng(6);
            randomise(model.weights(), rng, 0.4);
            randomise(model.adapter(), rng, 0.4);
            check_gradients(model, small_batch());
        }
    }
}

TEST_CASE("the gradients of a model with every bias match central differences", "[model]") {
    ModelConfig config = small_model(false, true);
    config.o_bias = config.mlp_bias = true;
    for (const Train train : {Train::everything, Train::adapter}) {
        const auto kernels = make_reference_kernels();
        Transformer model(*kernels, config, train, small_lora(train == Train::adapter ? 3 : 0));
        REQUIRE(model.weights().find("model.layers.1.mlp.down_proj.bias") != nullptr);
        REQUIRE(model.weights().find("model.layers.1.self_attn.o_proj.bias") != nullptr);
        Rng rng(7);
        randomise(model.weights(), rng, 0.4);
        randomise(model.adapter(), rng, 0.4);
        check_gradients(model, small_batch());
    }
}

TEST_CASE("the gradients of a LoRA adapter match central differences", "[model]") {
    for (const bool tied : {false, true}) {
        const auto kernels = make_reference_kernels();
        Transformer model(*kernels, small_model(tied, true), Train::adapter, small_lora(2));
        Rng rng(2);
        randomise(model.weights(), rng, 0.4);
        randomise(model.adapter(), rng, 0.4);
        check_gradients(model, small_batch());
    }
}

// Context distillation: the model without its adapter has read more before each sequence, and is the teacher of the model
// with it, row by row.
TEST_CASE("the gradients of the divergence from a teacher's logits match central differences", "[model]") {
    Batch with_context;
    with_context.add_sequence({6, 5, 4});
    with_context.add_sequence({8, 1, 7, 7, 12, 3});
    with_context.add_sequence({2, 2, 10, 9, 0, 2});
    with_context.rows = {4, 6, 7, 13}; // the tokens that small_batch() scores: 1, 7, 12, 0
    for (const Train train : {Train::adapter, Train::everything}) {
        const auto kernels = make_reference_kernels();
        Transformer model(*kernels, small_model(false, true), train, small_lora(train == Train::adapter ? 2 : 0));
        Rng rng(9);
        randomise(model.weights(), rng, 0.4);
        randomise(model.adapter(), rng, 0.4);
        Batch batch = small_batch();
        batch.targets = {}; // a teacher is enough
        model.use_adapter(false);
        batch.soft_targets = model.logits(with_context);
        model.use_adapter(true);
        check_gradients(model, batch);

        // Without more context, its own teacher: nothing to learn.
        batch.soft_targets = model.logits(batch);
        model.grads().zero();
        REQUIRE(std::fabs(model.forward_backward(batch, 1.0)) <= 1e-12);
        for (const real g : download(*kernels, model.grads().data(), model.grads().numel())) {
            REQUIRE(std::fabs(g) <= 1e-12);
        }
    }
}

TEST_CASE("an adapter on some of the linear layers has gradients for those alone", "[model]") {
    const auto kernels = make_reference_kernels();
    LoraConfig lora = small_lora(3);
    lora.target_modules = {"v_proj", "down_proj"};
    Transformer model(*kernels, small_model(false, false), Train::adapter, lora);
    REQUIRE(model.adapter().tensors().size() == 8); // 2 layers x 2 modules x A and B
    Rng rng(3);
    randomise(model.weights(), rng, 0.4);
    randomise(model.adapter(), rng, 0.4);
    check_gradients(model, small_batch());
}

TEST_CASE("layers of different ranks, left out and rank-stabilised, have their gradients", "[model]") {
    const auto kernels = make_reference_kernels();
    LoraConfig lora = small_lora(3);
    lora.use_rslora = true;
    lora.exclude_modules = {"layers.0.mlp.up_proj"};
    lora.target_modules = {"q_proj", "up_proj", "model.layers.0.self_attn.o_proj"};
    lora.rank_pattern = {{"layers.1.self_attn.q_proj", 5}, {"layers.1.mlp.up_proj", 1}};
    lora.alpha_pattern = {{"up_proj", 0.7}};
    Transformer model(*kernels, small_model(true, true), Train::adapter, lora);
    REQUIRE(model.adapter().tensors().size() == 8); // q of both layers, up of the second, o of the first
    REQUIRE(model.adapter().at("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight").shape[0] == 5);
    Rng rng(8);
    randomise(model.weights(), rng, 0.4);
    randomise(model.adapter(), rng, 0.4);
    check_gradients(model, small_batch());
}

TEST_CASE("an adapter for layers that the model does not have is refused", "[model]") {
    const auto kernels = make_reference_kernels();
    const auto refusal = [&](LoraConfig lora) {
        try {
            Transformer model(*kernels, small_model(true, true), Train::adapter, lora);
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    LoraConfig lora = small_lora(2);
    REQUIRE(refusal(lora).empty());
    lora.target_modules = {"q_proj", "model.layers.2.mlp.up_proj"};
    REQUIRE(refusal(lora) == "adapter: target_modules has model.layers.2.mlp.up_proj, which is no layer of this model");
    lora.target_modules = {"q_proj"};
    lora.layers_to_transform = {1, 2};
    REQUIRE(refusal(lora) == "adapter: layers_to_transform has 2, the model has 2 layers");
    lora.layers_to_transform = {};
    lora.exclude_modules = {"self_attn.q_proj"};
    REQUIRE(refusal(lora) == "adapter: exclude_modules leaves no layer of target_modules");
}

TEST_CASE("two micro-batches of unequal length add up to the one batch", "[model]") {
    const auto kernels = make_reference_kernels();
    Transformer model(*kernels, small_model(true, false), Train::adapter, small_lora(2));
    Rng rng(4);
    randomise(model.weights(), rng, 0.4);
    randomise(model.adapter(), rng, 0.4);

    Batch first, second, both;
    first.add_sequence({1, 2, 3, 4, 5, 6});
    first.rows = {1, 2, 3, 4};
    first.targets = {3, 4, 5, 6};
    second.add_sequence({7, 8});
    second.rows = {0};
    second.targets = {8};
    both.add_sequence({1, 2, 3, 4, 5, 6});
    both.add_sequence({7, 8});
    both.rows = {1, 2, 3, 4, 6};
    both.targets = {3, 4, 5, 6, 8};

    const double scale = 1.0 / 5.0; // the labelled tokens of the whole update
    model.grads().zero();
    const double loss_both = model.forward_backward(both, scale);
    const std::vector<real> expected = download(*kernels, model.grads().data(), model.grads().numel());
    model.grads().zero();
    const double loss_parts = model.forward_backward(first, scale) + model.forward_backward(second, scale);
    const std::vector<real> got = download(*kernels, model.grads().data(), model.grads().numel());
    REQUIRE(loss_parts == Approx(loss_both).epsilon(1e-12));
    for (size_t i = 0; i < got.size(); i++) {
        REQUIRE(std::fabs(got[i] - expected[i]) <= 1e-12 + 1e-12 * std::fabs(expected[i]));
    }
}
