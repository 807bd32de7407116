// lora.h — a linear layer with an optional low-rank adapter (LoRA, Hu et al. 2021, equation 3).
//
//   y = x W^T + b + low B^T,  low = s x A^T          s = alpha / r
//   x (N,IN)   W (OUT,IN)   b (OUT)   A (R,IN)   B (OUT,R)   low (N,R)
//
// A layer with its adapter is one sum, [x, low] [W, B]^T, and layers that read the same x (q, k and v; gate and up) are
// computed together: x is read once for all of them.
//
// Full fine-tuning, LoRA and frozen are settings of this one path: a gradient pointer that is null means that nothing
// is computed for that parameter, and r = 0 means that there is no adapter. With LoRA, dW never exists.
// Cost: 2 N IN OUT FLOPs forward and for dx, plus 2 N R (IN + OUT) for the adapter, twice that in its backward.
#pragma once

#include <initializer_list>
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

struct LinearForward {
    const Linear* layer;
    real* out;                  // (N,OUT) =
    real* low;                  // (N,R) = s x A^T, kept for the backward pass; untouched when r = 0
    const real* base = nullptr; // (N,OUT), may be out: what the layer is added to
};

// Layers that read the same input, at most kMaxProducts: out = base + the layer applied to inp.
void linear_forward(Kernels& kernels, std::initializer_list<LinearForward> layers,
                    Matrix inp, // (N,IN), f32 or bf16
                    int64_t N);

struct LinearBackward {
    const Linear* layer;
    real* dlow;       // (N,R) scratch of its own
    Matrix dout;      // (N,OUT), f32 or bf16; f32 where the bias is trained
    const real* low;  // (N,R) of the forward pass
};

using Backwards = std::initializer_list<LinearBackward>;

// The gradient of the input that the layers share (=; null: not wanted), and every dlow.
void linear_backward(Kernels& kernels, Backwards layers,
                     real* dinp, // (N,IN) =, or null
                     int64_t N);

// After it, the gradients of the trained parameters (+=).
void linear_gradients(Kernels& kernels, Backwards layers,
                      Matrix inp, // (N,IN) of the forward pass, f32 or bf16
                      int64_t N);

} // namespace skintern
