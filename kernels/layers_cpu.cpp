// layers_cpu.cpp — the ops around matmul and attention on the CPU: norm, rotation, activation, loss, optimiser.
//
// Their equations stand in kernels.h, their plainest form in reference.cpp. What is added here:
//   vectors      a row is walked in steps of kLanes, the last step by a masked load (simd.h)
//   threads      rows (or ranges of elements) are shared out when there are enough of them to pay for it
//   fixed order  a sum over rows is cut in chunks whose size is a constant; a chunk is summed by one thread, and the
//                chunks are then added in their order. So no result depends on the number of threads.
//
// All of them move more bytes than they compute, so the aim is one pass over memory for each operand.
#include <cmath>
#include <cstring>

#include "cpu.h"
#include "dequantize.h"
#include "simd.h"

namespace skintern::SKINTERN_ISA {

namespace {

// Elements below which waking the other threads costs more.
constexpr int64_t kParallelElements = 32 * 1024;
constexpr int64_t kRangeElements = 4096; // elements of one task of an elementwise op
constexpr int64_t kChunkRows = 64;       // rows of one partial sum
constexpr int64_t kStripColumns = 64;    // columns of one task where rows must stay in order

void add_row(float* out,       // (C) +=
             const float* inp, // (C)
             int64_t C) {
    for (int64_t c = 0; c < C; c += kLanes) {
        store_upto(out + c, load_upto(out + c, C - c) + load_upto(inp + c, C - c), C - c);
    }
}

// out (C) += the rows of partial (chunks,C), in their order.
void add_chunks(float* out, const float* partial, int64_t chunks, int64_t C) {
    for (int64_t i = 0; i < chunks; i++) {
        add_row(out, partial + i * C, C);
    }
}

// kLanes numbers of out from i on, or the `left` that there are.
void put(MatrixOut out, int64_t i, vec x, int64_t left) {
    if (out.type == WeightType::bf16) {
        store_upto(static_cast<uint16_t*>(out.data) + i, x, left);
    } else {
        store_upto(static_cast<float*>(out.data) + i, x, left);
    }
}

vec sigmoid(vec x) {
    return 1.0f / (1.0f + exp(-x));
}

} // namespace

// ---- bias ----------------------------------------------------------------------------------------------------------

void CpuKernels::bias_forward(float* out,        // (N,C) +=
                              const float* bias, // (C)
                              int64_t N, int64_t C) {
    team_.each(N, N * C > kParallelElements, [&](int64_t n) {
        add_row(out + n * C, bias, C);
    });
}

void CpuKernels::bias_backward(float* dbias,      // (C) +=
                               const float* dout, // (N,C)
                               int64_t N, int64_t C) {
    const int64_t chunks = ceil_div(N, kChunkRows);
    float* partial = scratch(chunks * C); // (chunks,C)
    team_.each(chunks, N * C > kParallelElements, [&](int64_t i) {
        zero_all(partial + i * C, C);
        for (int64_t n = i * kChunkRows; n < min_of(N, (i + 1) * kChunkRows); n++) {
            add_row(partial + i * C, dout + n * C, C);
        }
    });
    add_chunks(dbias, partial, chunks, C);
}

// ---- moving rows -----------------------------------------------------------------------------------------------------

void CpuKernels::gather_rows(float* out,          // (M,C) =
                             Matrix table,        // (any,C) of any type
                             const int32_t* rows, // (M)
                             int64_t M, int64_t C) {
    const char* bytes = static_cast<const char*>(table.data);
    const int64_t row_size = row_bytes(table.type, C);
    team_.each(M, M * C > kParallelElements, [&](int64_t m) {
        dequantize(out + m * C, table.type, bytes + rows[m] * row_size, 0, C);
    });
}

void CpuKernels::scatter_rows(void* table,         // (any,C) =, rows not named stay as they are
                              WeightType type,     // of the table: f32 or bf16
                              const float* inp,    // (M,C)
                              const int32_t* rows, // (M)
                              int64_t M, int64_t C) {
    team_.each(M, M * C > kParallelElements, [&](int64_t m) {
        if (type == WeightType::bf16) {
            uint16_t* row = static_cast<uint16_t*>(table) + rows[m] * C;
            for (int64_t c = 0; c < C; c++) {
                row[c] = rounded_bf16_bits(inp[m * C + c]);
            }
        } else {
            std::memcpy(static_cast<float*>(table) + rows[m] * C, inp + m * C, static_cast<size_t>(C) * sizeof(float));
        }
    });
}

// Two rows of inp may name the same row of table, so a task takes a strip of columns through all rows, in order.
void CpuKernels::scatter_add_rows(float* table,        // (any,C) +=
                                  const float* inp,    // (M,C)
                                  const int32_t* rows, // (M)
                                  int64_t M, int64_t C) {
    team_.each(ceil_div(C, kStripColumns), M * C > kParallelElements, [&](int64_t strip) {
        const int64_t c = strip * kStripColumns;
        const int64_t width = min_of(C - c, kStripColumns);
        for (int64_t m = 0; m < M; m++) {
            add_row(table + rows[m] * C + c, inp + m * C + c, width);
        }
    });
}

// ---- normalisation ---------------------------------------------------------------------------------------------------

void CpuKernels::rmsnorm_forward(MatrixOut out,       // (N,C) =
                                 float* rstd,         // (N) =
                                 const float* inp,    // (N,C)
                                 const float* weight, // (C)
                                 int64_t N, int64_t C, float eps) {
    team_.each(N, N * C > kParallelElements, [&](int64_t n) {
        const float* x = inp + n * C;
        const float r = 1.0f / std::sqrt(dot(x, x, C) / static_cast<float>(C) + eps);
        rstd[n] = r;
        for (int64_t c = 0; c < C; c += kLanes) {
            const vec y = load_upto(weight + c, C - c) * (load_upto(x + c, C - c) * r);
            put(out, n * C + c, y, C - c);
        }
    });
}

namespace {

// out = weight * inp * rstd, so with norm = inp * rstd and dnorm = weight * dout:
//   dinp    += rstd * (dnorm - norm * mean_c(dnorm * norm))     rstd depends on every inp of the row
//   dweight += dout * norm
void rmsnorm_backward_row(float* dinp,         // (C) +=
                          float* dweight,      // (C) +=, or nullptr
                          MatrixOut out,       // from element `at` on (C) =, or nullptr
                          int64_t at,
                          const float* dout,   // (C)
                          const float* inp,    // (C)
                          const float* weight, // (C)
                          float rstd, int64_t C) {
    vec sum = {};
    for (int64_t c = 0; c < C; c += kLanes) {
        const vec dnorm = load_upto(weight + c, C - c) * load_upto(dout + c, C - c);
        sum = fma(dnorm, load_upto(inp + c, C - c) * rstd, sum);
    }
    const float mean = sum_lanes(sum) / static_cast<float>(C);
    for (int64_t c = 0; c < C; c += kLanes) {
        const vec dy = load_upto(dout + c, C - c);
        const vec norm = load_upto(inp + c, C - c) * rstd;
        const vec dx = (load_upto(weight + c, C - c) * dy - norm * mean) * rstd;
        store_upto(dinp + c, load_upto(dinp + c, C - c) + dx, C - c);
        if (dweight != nullptr) {
            store_upto(dweight + c, fma(dy, norm, load_upto(dweight + c, C - c)), C - c);
        }
        if (out.data != nullptr) {
            put(out, at + c, load_upto(weight + c, C - c) * norm, C - c);
        }
    }
}

} // namespace

void CpuKernels::rmsnorm_backward(float* dinp,         // (N,C) +=
                                  float* dweight,      // (C) +=, or nullptr
                                  MatrixOut out,       // (N,C) =, or nullptr
                                  const float* dout,   // (N,C)
                                  const float* inp,    // (N,C)
                                  const float* weight, // (C)
                                  const float* rstd,   // (N)
                                  int64_t N, int64_t C) {
    const int64_t chunks = ceil_div(N, kChunkRows);
    float* partial = dweight != nullptr ? scratch(chunks * C) : nullptr; // (chunks,C)
    team_.each(chunks, N * C > kParallelElements, [&](int64_t i) {
        float* dweight_i = dweight != nullptr ? partial + i * C : nullptr;
        if (dweight != nullptr) {
            zero_all(dweight_i, C);
        }
        for (int64_t n = i * kChunkRows; n < min_of(N, (i + 1) * kChunkRows); n++) {
            rmsnorm_backward_row(dinp + n * C, dweight_i, out, n * C, dout + n * C, inp + n * C, weight, rstd[n], C);
        }
    });
    if (dweight != nullptr) {
        add_chunks(dweight, partial, chunks, C);
    }
}

// ---- rotation and activation -----------------------------------------------------------------------------------------

void CpuKernels::rope(float* x,                 // (N,NH,HS) in place
                      const float* cos_sin,     // (P,HS): HS/2 cosines, then HS/2 sines, of each position
                      const int32_t* positions, // (N)
                      int64_t N, int64_t NH, int64_t HS, bool inverse) {
    const int64_t half = HS / 2;
    const float sign = inverse ? -1.0f : 1.0f; // turning back is turning by the negative angle
    team_.each(N, N * NH * HS > kParallelElements, [&](int64_t n) {
        const float* cosine = cos_sin + positions[n] * HS;
        for (int64_t h = 0; h < NH; h++) {
            float* head = x + (n * NH + h) * HS;
            for (int64_t i = 0; i < half; i += kLanes) {
                const int64_t left = half - i;
                const vec a = load_upto(head + i, left);
                const vec b = load_upto(head + half + i, left);
                const vec c = load_upto(cosine + i, left);
                const vec s = load_upto(cosine + half + i, left) * sign;
                store_upto(head + i, a * c - b * s, left);
                store_upto(head + half + i, b * c + a * s, left);
            }
        }
    });
}

void CpuKernels::swiglu_forward(MatrixOut out,     // (n) =
                                const float* gate, // (n)
                                const float* up,   // (n)
                                int64_t n) {
    team_.each(ceil_div(n, kRangeElements), n > kParallelElements, [&](int64_t range) {
        for (int64_t i = range * kRangeElements; i < min_of(n, (range + 1) * kRangeElements); i += kLanes) {
            const vec g = load_upto(gate + i, n - i);
            put(out, i, g * sigmoid(g) * load_upto(up + i, n - i), n - i);
        }
    });
}

// out = g * s(g) * up with s the sigmoid, and (g s)' = s + g s (1 - s):
//   dgate = dout * up * s * (1 + g * (1 - s))
//   dup   = dout * g * s
void CpuKernels::swiglu_backward(MatrixOut dgate,   // (n) =, f32 may be the memory of gate
                                 MatrixOut dup,     // (n) =, f32 may be the memory of up
                                 MatrixOut out,     // (n) =, or nullptr
                                 const float* dout, // (n)
                                 const float* gate, // (n)
                                 const float* up,   // (n)
                                 int64_t n) {
    team_.each(ceil_div(n, kRangeElements), n > kParallelElements, [&](int64_t range) {
        for (int64_t i = range * kRangeElements; i < min_of(n, (range + 1) * kRangeElements); i += kLanes) {
            const int64_t left = n - i;
            const vec g = load_upto(gate + i, left);
            const vec u = load_upto(up + i, left);
            const vec dy = load_upto(dout + i, left);
            const vec s = sigmoid(g);
            put(dgate, i, dy * u * s * (1.0f + g * (1.0f - s)), left);
            put(dup, i, dy * g * s, left);
            if (out.data != nullptr) {
                put(out, i, g * s * u, left);
            }
        }
    });
}

// ---- loss ------------------------------------------------------------------------------------------------------------

namespace {

// The largest element; NaN loses every comparison and is passed over.
float max_row(const float* x, // (V), V >= 1
              int64_t V) {
    vec largest = broadcast(x[0]);
    for (int64_t v = 0; v < V; v += kLanes) {
        const vec x_v = load_upto(x + v, V - v);
        largest = max_of(V - v < kLanes ? keep_first(x_v, V - v, x[0]) : x_v, largest);
    }
    return max_lanes(largest);
}

// sum_v exp(x[v] - largest), and its terms. Blocks are summed in float and added up in double, so
// that the error does not grow with V.
double sum_exp(float* terms,   // (V) =, or nullptr; may be x itself
               const float* x, // (V)
               float largest, int64_t V) {
    double sum = 0.0;
    for (int64_t v0 = 0; v0 < V; v0 += kRangeElements) {
        const int64_t end = min_of(V, v0 + kRangeElements);
        vec block = {};
        for (int64_t v = v0; v < end; v += kLanes) {
            vec term = exp(load_upto(x + v, end - v) - largest);
            if (end - v < kLanes) {
                term = keep_first(term, end - v, 0.0f);
            }
            if (terms != nullptr) {
                store_upto(terms + v, term, end - v);
            }
            block += term;
        }
        sum += sum_lanes(block);
    }
    return sum;
}

} // namespace

void CpuKernels::cross_entropy(float* loss,           // (M) =
                               float* logits,         // (M,V) in, and its gradient out
                               const int32_t* target, // (M), each < V
                               int64_t M, int64_t V, float scale) {
    team_.each(M, M * V > kParallelElements, [&](int64_t m) {
        float* x = logits + m * V;
        const float largest = max_row(x, V);
        const double below_largest = static_cast<double>(largest) - x[target[m]];
        const double sum = sum_exp(scale != 0.0f ? x : nullptr, x, largest, V);
        loss[m] = static_cast<float>(std::log(sum) + below_largest);
        if (scale != 0.0f) { // dx = (softmax - onehot) * scale
            scale_all(x, static_cast<float>(scale / sum), V);
            x[target[m]] -= scale;
        }
    });
}

namespace {

// One row of kl_divergence. With a = x - max x, A = sum exp(a), and b, B alike of the target:
//   loss = sum_v exp(b_v)/B (b_v - a_v) + log A - log B
//   dx_v = (exp(a_v) - exp(b_v) A/B) scale/A
// Both are exactly 0 where x is the target: what is added cancels term by term, and A/B is 1.
float kl_divergence_row(float* x,            // (V) in, and with scale != 0 its gradient out
                        const float* target, // (V)
                        int64_t V, float scale) {
    const float largest = max_row(x, V), target_largest = max_row(target, V);
    const double sum = sum_exp(nullptr, x, largest, V), target_sum = sum_exp(nullptr, target, target_largest, V);
    const float ratio = static_cast<float>(sum / target_sum), factor = static_cast<float>(scale / sum);
    double weighted = 0.0; // sum_v exp(b_v) (b_v - a_v), in blocks as in sum_exp
    for (int64_t v0 = 0; v0 < V; v0 += kRangeElements) {
        const int64_t end = min_of(V, v0 + kRangeElements);
        vec block = {};
        for (int64_t v = v0; v < end; v += kLanes) {
            const vec a = load_upto(x + v, end - v) - largest;
            const vec b = load_upto(target + v, end - v) - target_largest;
            const vec weight = exp(b);
            const vec term = weight == 0.0f ? vec{} : weight * (b - a); // 0 times infinity would not be 0
            block += end - v < kLanes ? keep_first(term, end - v, 0.0f) : term;
            if (scale != 0.0f) {
                store_upto(x + v, (exp(a) - weight * ratio) * factor, end - v);
            }
        }
        weighted += sum_lanes(block);
    }
    return static_cast<float>(weighted / target_sum + std::log(sum) - std::log(target_sum));
}

} // namespace

void CpuKernels::kl_divergence(float* loss,         // (M) =
                               float* logits,       // (M,V) in, and its gradient out
                               const float* target, // (M,V) logits too
                               int64_t M, int64_t V, float scale) {
    team_.each(M, M * V > kParallelElements, [&](int64_t m) {
        loss[m] = kl_divergence_row(logits + m * V, target + m * V, V, scale);
    });
}

void CpuKernels::argmax_rows(int32_t* out,        // (M) =
                             const float* logits, // (M,V)
                             int64_t M, int64_t V) {
    team_.each(M, M * V > kParallelElements, [&](int64_t m) {
        const float* x = logits + m * V;
        const float largest = max_row(x, V);
        int64_t v = 0;
        while (v < V && !(x[v] == largest)) {
            v++;
        }
        out[m] = static_cast<int32_t>(v < V ? v : -1); // nothing equals NaN
    });
}

// ---- optimisation ----------------------------------------------------------------------------------------------------

// Squares and their sums are taken in double: gradients whose squares leave the range of float are still clipped right.
double CpuKernels::sum_squares(const float* x, int64_t n) {
    constexpr int64_t kChunk = 16 * 1024;
    constexpr int64_t kSums = 16; // independent sums, so that additions need not wait for one another
    const int64_t chunks = ceil_div(n, kChunk);
    double* partial = reinterpret_cast<double*>(scratch(2 * chunks));
    team_.each(chunks, n > kParallelElements, [&](int64_t i) {
        const int64_t end = min_of(n, (i + 1) * kChunk);
        double sums[kSums] = {};
        int64_t j = i * kChunk;
        for (; j + kSums <= end; j += kSums) {
            for (int64_t l = 0; l < kSums; l++) {
                sums[l] += static_cast<double>(x[j + l]) * x[j + l];
            }
        }
        for (int64_t l = 0; j < end; j++, l++) {
            sums[l] += static_cast<double>(x[j]) * x[j];
        }
        partial[i] = 0.0;
        for (int64_t l = 0; l < kSums; l++) {
            partial[i] += sums[l];
        }
    });
    double sum = 0.0;
    for (int64_t i = 0; i < chunks; i++) {
        sum += partial[i];
    }
    return sum;
}

void CpuKernels::adamw(float* param,      // (n) in place
                       float* m,          // (n) in place
                       float* v,          // (n) in place
                       const float* grad, // (n)
                       int64_t n, const AdamwStep& step) {
    // m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t), the division by the first moved into the step size:
    // p = p * (1 - lr*weight_decay) - rate * m / (sqrt(v * unbias) + eps)
    const double t = static_cast<double>(step.step);
    const float rate = static_cast<float>(step.lr / (1.0 - std::pow(static_cast<double>(step.beta1), t)));
    const float unbias = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta2), t)));
    const float keep = static_cast<float>(1.0 - static_cast<double>(step.lr) * step.weight_decay);
    const float beta1 = step.beta1;
    const float beta2 = step.beta2;
    const float eps = step.eps;
    const float grad_scale = step.grad_scale;
    team_.each(ceil_div(n, kRangeElements), n > kParallelElements, [&](int64_t range) {
        for (int64_t i = range * kRangeElements; i < min_of(n, (range + 1) * kRangeElements); i += kLanes) {
            const int64_t left = n - i;
            const vec g = load_upto(grad + i, left) * grad_scale;
            const vec m_i = load_upto(m + i, left) * beta1 + g * (1.0f - beta1);
            const vec v_i = load_upto(v + i, left) * beta2 + g * g * (1.0f - beta2);
            store_upto(m + i, m_i, left);
            store_upto(v + i, v_i, left);
            const vec update = m_i * rate / (square_root(v_i * unbias) + eps);
            store_upto(param + i, load_upto(param + i, left) * keep - update, left);
        }
    });
}

} // namespace skintern::SKINTERN_ISA
