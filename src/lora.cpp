// lora.cpp — see lora.h for the equations.
#include "lora.h"

namespace skintern {

void linear_forward(Kernels& kernels, std::initializer_list<LinearForward> layers, const real* inp, int64_t N) {
    Product lows[kMaxProducts], outs[kMaxProducts];
    int64_t low_count = 0, out_count = 0;
    for (const LinearForward& l : layers) {
        Product& out = outs[out_count++]; // y = base + x W^T
        out.out = l.out;
        out.base = l.base;
        out.N = l.layer->out;
        out.add(inp, l.layer->weight, l.layer->in);
        if (l.layer->r > 0) {
            Product& low = lows[low_count++]; // low = s x A^T
            low.out = l.low;
            low.N = l.layer->r;
            low.alpha = l.layer->scale;
            low.add(inp, l.layer->lora_a, l.layer->in);
            out.add(l.low, l.layer->lora_b, l.layer->r); // y += low B^T
        }
    }
    if (low_count > 0) {
        kernels.products(Layout::nt, lows, low_count, N);
    }
    kernels.products(Layout::nt, outs, out_count, N);
    for (const LinearForward& l : layers) {
        if (l.layer->bias != nullptr) {
            kernels.bias_forward(l.out, l.layer->bias, N, l.layer->out); // y += b
        }
    }
}

void linear_backward(Kernels& kernels, std::initializer_list<LinearBackward> layers, real* dinp, const real* inp,
                     int64_t N) {
    Product dlows[kMaxProducts], dx;
    int64_t dlow_count = 0;
    dx.out = dinp;
    for (const LinearBackward& l : layers) {
        const Linear& layer = *l.layer;
        dx.N = layer.in;
        dx.add(l.dout, layer.weight, layer.out); // forward: y = x W^T        backward: dx = dy W
        if (layer.r > 0) {
            Product& dlow = dlows[dlow_count++]; // forward: y += low B^T     backward: dlow = dy B, times s for what follows
            dlow.out = l.dlow;
            dlow.N = layer.r;
            dlow.alpha = layer.scale;
            dlow.add(l.dout, layer.lora_b, layer.out);
            dx.add(l.dlow, layer.lora_a, layer.r); // forward: low = s x A^T     backward: dx += s dlow A
        }
    }
    if (dlow_count > 0) {
        kernels.products(Layout::nn, dlows, dlow_count, N);
    }
    if (dinp != nullptr) {
        kernels.products(Layout::nn, &dx, 1, N);
    }
    for (const LinearBackward& l : layers) {
        const Linear& layer = *l.layer;
        if (layer.dweight != nullptr) { // dW += dy^T x
            kernels.matmul(Layout::tn, layer.dweight, l.dout, inp, layer.out, layer.in, N, 1, true);
        }
        if (layer.dbias != nullptr) {
            kernels.bias_backward(layer.dbias, l.dout, N, layer.out);
        }
        if (layer.dlora_a != nullptr) { // dB += dy^T low, dA += s dlow^T x
            kernels.matmul(Layout::tn, layer.dlora_b, l.dout, l.low, layer.out, layer.r, N, 1, true);
            kernels.matmul(Layout::tn, layer.dlora_a, l.dlow, inp, layer.r, layer.in, N, 1, true);
        }
    }
}

} // namespace skintern
