// lora.cpp — see lora.h for the equations.
#include "lora.h"

namespace skintern {

void linear_forward(Kernels& kernels, const Linear& layer, real* out, real* low, const real* inp, int64_t N,
                    bool accumulate) {
    // y = x W^T
    kernels.matmul(Layout::nt, out, inp, layer.weight, N, layer.out, layer.in, 1, accumulate);
    if (layer.bias != nullptr) {
        kernels.bias_forward(out, layer.bias, N, layer.out); // y += b
    }
    if (layer.r > 0) {
        kernels.matmul(Layout::nt, low, inp, layer.lora_a, N, layer.r, layer.in, 1, false);         // low = x A^T
        kernels.matmul(Layout::nt, out, low, layer.lora_b, N, layer.out, layer.r, layer.scale, true); // y += s low B^T
    }
}

void linear_backward(Kernels& kernels, const Linear& layer, real* dinp, real* dlow, const real* dout,
                     const real* inp, const real* low, int64_t N, bool accumulate) {
    if (dinp != nullptr) {
        // forward: y = x W^T        backward: dx = dy W
        kernels.matmul(Layout::nn, dinp, dout, layer.weight, N, layer.in, layer.out, 1, accumulate);
    }
    if (layer.dweight != nullptr) {
        // forward: y = x W^T        backward: dW += dy^T x
        kernels.matmul(Layout::tn, layer.dweight, dout, inp, layer.out, layer.in, N, 1, true);
    }
    if (layer.dbias != nullptr) {
        kernels.bias_backward(layer.dbias, dout, N, layer.out);
    }
    if (layer.r > 0) {
        // forward: y += s low B^T   backward: dlow = s dy B, dB += s dy^T low
        kernels.matmul(Layout::nn, dlow, dout, layer.lora_b, N, layer.r, layer.out, layer.scale, false);
        if (layer.dlora_b != nullptr) {
            kernels.matmul(Layout::tn, layer.dlora_b, dout, low, layer.out, layer.r, N, layer.scale, true);
        }
        // forward: low = x A^T      backward: dx += dlow A, dA += dlow^T x
        if (dinp != nullptr) {
            kernels.matmul(Layout::nn, dinp, dlow, layer.lora_a, N, layer.in, layer.r, 1, true);
        }
        if (layer.dlora_a != nullptr) {
            kernels.matmul(Layout::tn, layer.dlora_a, dlow, inp, layer.r, layer.in, N, 1, true);
        }
    }
}

} // namespace skintern
