// lora.cpp — see lora.h for the equations.
#include "model/lora.h"

namespace skintern {

void linear_forward(Kernels& kernels, std::initializer_list<LinearForward> layers, Matrix inp, int64_t N) {
    Product list[kMaxProducts];
    int64_t count = 0;
    for (const LinearForward& l : layers) {
        if (l.layer->r > 0) {
            Product& low = list[count++]; // low = s x A^T
            low.out = l.low;
            low.N = l.layer->r;
            low.alpha = l.layer->scale;
            low.add(inp, l.layer->lora_a, l.layer->in);
        }
    }
    for (const LinearForward& l : layers) {
        Product& out = list[count++]; // y = base + x W^T
        out.out = l.out;
        out.base = l.base;
        out.N = l.layer->out;
        out.add(inp, l.layer->weight, l.layer->in);
        if (l.layer->r > 0) {
            out.add(l.low, l.layer->lora_b, l.layer->r); // y += low B^T
        }
    }
    kernels.products(Layout::nt, list, count, N);
    for (const LinearForward& l : layers) {
        if (l.layer->bias != nullptr) {
            kernels.bias_forward(l.out, l.layer->bias, N, l.layer->out); // y += b
        }
    }
}

void linear_backward(Kernels& kernels, Backwards layers, real* dinp, int64_t N) {
    Product list[kMaxProducts], dx;
    int64_t count = 0;
    dx.out = dinp;
    for (const LinearBackward& l : layers) {
        const Linear& layer = *l.layer;
        dx.N = layer.in;
        dx.add(l.dout, layer.weight, layer.out); // forward: y = x W^T       backward: dx = dy W
        if (layer.r > 0) {
            dx.add(l.dlow, layer.lora_a, layer.r); // forward: low = s x A^T   backward: dx += dlow A
        }
    }
    for (const LinearBackward* l = layers.end(); l != layers.begin();) { // dx begins with what the last of them read
        const Linear& layer = *(--l)->layer;
        if (layer.r > 0) {
            Product& dlow = list[count++]; // forward: y += low B^T    backward: dlow = s dy B, s for what it leads to
            dlow.out = l->dlow;
            dlow.N = layer.r;
            dlow.alpha = layer.scale;
            dlow.add(l->dout, layer.lora_b, layer.out);
        }
    }
    if (dinp != nullptr) {
        list[count++] = dx;
    }
    if (count > 0) {
        kernels.products(Layout::nn, list, count, N);
    }
}

void linear_gradients(Kernels& kernels, Backwards layers, Matrix inp, int64_t N) {
    for (const LinearBackward& l : layers) {
        const Linear& layer = *l.layer;
        if (layer.dweight != nullptr) { // dW += dy^T x
            kernels.matmul(Layout::tn, layer.dweight, l.dout, inp, layer.out, layer.in, N, 1, true);
        }
        if (layer.dbias != nullptr) {
            kernels.bias_backward(layer.dbias, l.dout.numbers(), N, layer.out);
        }
        if (layer.dlora_b != nullptr) { // dB += dy^T low
            kernels.matmul(Layout::tn, layer.dlora_b, l.dout, l.low, layer.out, layer.r, N, 1, true);
        }
    }
    for (const LinearBackward* l = layers.begin(); l != layers.end();) { // dA += dlow^T x, those of one rank together
        const int64_t r = l->layer->r;
        Product list[kMaxProducts];
        int64_t count = 0;
        for (; l != layers.end() && l->layer->r == r; l++) {
            if (l->layer->dlora_a != nullptr) {
                Product& da = list[count++];
                da.out = l->layer->dlora_a;
                da.base = da.out;
                da.N = l->layer->in;
                da.add(l->dlow, inp, N);
            }
        }
        if (count > 0) {
            kernels.products(Layout::tn, list, count, r);
        }
    }
}

} // namespace skintern
