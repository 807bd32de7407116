// model_folders.h — folders of tiny random models and adapters, for the tests of what is loaded, saved and merged.
#pragma once

#include <string>

#include "model/checkpoint.h"
#include "test_support.h"

namespace skintern {

inline ModelConfig tiny_config() {
    ModelConfig c;
    c.layers = 2;
    c.channels = 16;
    c.heads = 3;
    c.kv_heads = 1;
    c.head_size = 6;
    c.ffn = 20;
    c.vocab = 31;
    c.max_positions = 64;
    return c;
}

// Adds noise to every number, so that norms are not all 1, biases not 0 and B not 0.
inline void shake(Arena& arena, uint64_t seed) {
    Rng rng(seed, "shake");
    for (const Tensor& t : arena.tensors()) {
        std::vector<real> host = download(arena.kernels(), t.data, t.numel);
        for (real& x : host) {
            x += static_cast<real>(0.1 * rng.normal());
        }
        arena.kernels().upload(t.data, host.data(), host.size() * sizeof(real));
    }
}

// A model folder with random weights.
inline void make_model(const std::string& folder, const ModelConfig& config, uint64_t seed,
                       const std::string& dtype = "F32") {
    const auto kernels = make_kernels({});
    LoraConfig none;
    none.r = 0;
    Transformer model(*kernels, config, Train::everything, none);
    Rng rng(seed);
    model.init_weights(rng);
    shake(model.weights(), seed);
    save_model(folder, model, dtype);
}

// An adapter of the model in `base`, as a run would leave it.
inline void make_adapter(const std::string& folder, const std::string& base, const LoraConfig& lora) {
    const auto kernels = make_kernels({});
    const auto model = load_model(*kernels, base, Train::adapter, lora);
    Rng rng(7);
    model->init_adapter(rng);
    shake(model->adapter(), 7);
    save_adapter(folder, *model, lora, base);
}

} // namespace skintern
