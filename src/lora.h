// lora.h — a linear layer with an optional low-rank adapter (LoRA, Hu et al. 2021, equation 3).
//
//   y = x W^T + b + s (x A^T) B^T        s = alpha / r
//   x (N,IN)   W (OUT,IN)   b (OUT)   A (R,IN)   B (OUT,R)   low = x A^T (N,R)
//
// Full fine-tuning, LoRA and frozen are settings of this one path: a gradient pointer that is null means that nothing
// is computed for that parameter, and r = 0 means that there is no adapter. With LoRA, dW never exists.
// Cost: 2 N IN OUT FLOPs forward and for dx, plus 2 N R (IN + OUT) for the adapter, twice that in its backward.
#pragma once

#include <string>

#include "kernels.h"

namespace skintern {

struct Linear {
    std::string name; // "model.layers.0.self_attn.q_proj"
    int64_t in = 0;
    int64_t out = 0;
    Matrix weight;           // (OUT,IN), of any type when it is frozen
    real* bias = nullptr;    // (OUT), or null
    real* dweight = nullptr; // (OUT,IN), null: frozen
    real* dbias = nullptr;   // (OUT), null: frozen

    int64_t r = 0;
    real scale = 0;
    real* lora_a = nullptr;  // (R,IN)
    real* lora_b = nullptr;  // (OUT,R)
    real* dlora_a = nullptr; // (R,IN), null: frozen
    real* dlora_b = nullptr; // (OUT,R), null: frozen
};

// out = (or +=, with accumulate) the layer applied to inp; low = inp A^T is kept for the backward pass.
void linear_forward(Kernels& kernels, const Linear& layer,
                    real* out,       // (N,OUT) = or +=
                    real* low,       // (N,R) =, untouched when r = 0
                    const real* inp, // (N,IN)
                    int64_t N, bool accumulate);

// Gradients of the trained parameters (+=) and of the input (= or +=; null: not wanted).
void linear_backward(Kernels& kernels, const Linear& layer,
                     real* dinp,       // (N,IN) = or +=, or null
                     real* dlow,       // (N,R) scratch
                     const real* dout, // (N,OUT)
                     const real* inp,  // (N,IN) of the forward pass
                     const real* low,  // (N,R) of the forward pass
                     int64_t N, bool accumulate);

} // namespace skintern
