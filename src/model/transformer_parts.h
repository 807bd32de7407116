// transformer_parts.h — what a Transformer consists of, for transformer.cpp and transformer_setup.cpp; footprint.cpp knows the
// sizes.
#pragma once

#include <string>
#include <vector>

#include "model/transformer.h"
#include "support/check.h"

namespace skintern {

// Rows of logits that exist at a time: (kLossChunk, V).
inline constexpr int64_t kLossChunk = 256;
// Of memory that packed weights may take beside the weights themselves, for many rows and for few.
inline constexpr size_t kPackedLimit = size_t{4} << 30;

inline std::string layer_name(int64_t l, const char* what) {
    return format("model.layers.%lld.%s", static_cast<long long>(l), what);
}

// One layer's parameters.
struct Transformer::Block {
    Linear q, k, v, o, gate, up, down;
    real* norm1 = nullptr;  // (C) before attention
    real* norm2 = nullptr;  // (C) before the feed-forward
    real* dnorm1 = nullptr; // (C), null: frozen
    real* dnorm2 = nullptr;
    real *q_norm = nullptr, *k_norm = nullptr;   // (HS) of each head, null: not normed
    real *dq_norm = nullptr, *dk_norm = nullptr; // (HS), null: frozen

    std::vector<Linear*> linears() { return {&q, &k, &v, &o, &gate, &up, &down}; }
};

// One layer's activations, kept for its backward pass. What one cheap op makes of them (the norms of x and mid, and
// silu(gate) * up: a third of the memory) is not kept but computed again there.
struct Transformer::Acts {
    real* rstd1 = nullptr; // (N)
    real *q_proj = nullptr, *k_proj = nullptr; // (N,NH*HS), (N,NKV*HS) before the norm; q and k where there is none
    real *rstd_q = nullptr, *rstd_k = nullptr; // (N,NH), (N,NKV)
    real* q = nullptr;     // (N,NH*HS) normed and rotated
    real* k = nullptr;     // (N,NKV*HS) normed and rotated
    real* v = nullptr;     // (N,NKV*HS)
    real* att = nullptr;   // (N,NH*HS)
    real* lse = nullptr;   // (N,NH)
    real* mid = nullptr;   // (N,C) the residual stream after attention
    real* rstd2 = nullptr; // (N)
    real* gate = nullptr;  // (N,F)
    real* up = nullptr;    // (N,F)
    real *low_q = nullptr, *low_k = nullptr, *low_v = nullptr, *low_o = nullptr;           // (N,R) s x A^T of each
    real *low_gate = nullptr, *low_up = nullptr, *low_down = nullptr;                      // adapter
};

// One pass over a batch: its inputs on the device.
struct Transformer::Pass {
    int64_t N = 0;
    int64_t M = 0;
    bool training = false;
    const int32_t* ids = nullptr;        // (N)
    const int32_t* positions = nullptr;  // (N)
    const int32_t* rows = nullptr;       // (M)
    const int32_t* targets = nullptr;    // (M)
    const real* soft_targets = nullptr;  // (M,V) on the host, null: none
    Sequences seq = {};
    const int32_t* slot = nullptr;       // (S), with a cache
    const int32_t* length = nullptr;     // (S), with a cache
    const int32_t* cache_rows = nullptr; // (N) slot * capacity + position, with a cache
};

} // namespace skintern
