// reference.cpp — every op of kernels.h as the textbook writes it. Read it first: the others must agree.
//
// Each op is its equation as plain loops, one thread, in the order of kernels.h. Sums run in double and are
// rounded to `real` once (but for scatter_add_rows, which adds row by row), so this file is the oracle that the
// fast CPU ops and CUDA are tested against. Its backward passes are tested by central differences, with the whole
// file compiled for real = double.
//
//   matmul         out = x w^T,  dx = dout w,  dw = dout^T x                the three layouts nt, nn, tn
//   rmsnorm        out = w x r,  r = 1/sqrt(mean x^2 + eps)
//                  dx += r (w dout - xr mean(w dout xr)),  dw += dout xr                  with xr = x r
//   rope           (a, b) -> (a cos - b sin, b cos + a sin)                        inverse: sin -> -sin
//   swiglu         out = silu(g) u,  silu(x) = x sigma(x),  silu'(x) = sigma(x) (1 + x (1 - sigma(x)))
//   attention      s_ij = q_i.k_j / sqrt(HS),  p_ij = exp(s_ij - lse_i),  o_i = sum_j p_ij v_j
//                  dv_j = sum_i p_ij do_i,  dp_ij = do_i.v_j,  ds_ij = p_ij (dp_ij - do_i.o_i)
//                  dq_i = sum_j ds_ij k_j / sqrt(HS),  dk_j = sum_i ds_ij q_i / sqrt(HS)
//   cross entropy  loss = logsumexp(x) - x_target,  dx_v = softmax(x)_v - [v == target]
//   kl divergence  loss = sum_v p_v (log p_v - log q_v),  dx = q - p,  p and q the softmax of the teacher and of x
//   adamw          m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
//                  p = p (1 - lr wd) - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
//
// Cost: matmul M N K multiply-adds; attention NH T^2 HS / 2 for each of its products (a T x T matrix is never
// kept: the backward pass makes p again from lse); everything else a few passes over its operands.
//
// What it does not do: block for caches, share work between threads, check the values of rows and targets.
#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "dequantize.h"
#include "support/check.h"

namespace skintern {

namespace {

// ---- helpers ----------------------------------------------------------------------------------------------

double dot(const real* a, // (n)
           const real* b, // (n)
           int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += double(a[i]) * double(b[i]);
    }
    return sum;
}

// log sum_i exp(x[i]). Subtracting the largest x first changes nothing but keeps exp from overflowing.
template <typename T>
double logsumexp(const T* x, // (n), n >= 1
                 int64_t n) {
    const double largest = *std::max_element(x, x + n);
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += std::exp(double(x[i]) - largest);
    }
    return largest + std::log(sum);
}

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

// Attention of one query over the first `n` keys of one head: out = sum_j softmax_j(q.k[j] / sqrt(HS)) v[j].
// Keys and values of consecutive positions lie `stride` elements apart. Returns the logsumexp of the scores.
double attend(real* out,     // (HS) =
              const real* q, // (HS)
              const real* k, // (n,HS), rows `stride` apart
              const real* v, // (n,HS), rows `stride` apart
              int64_t n, int64_t stride, int64_t HS) {
    const double scale = 1.0 / std::sqrt(double(HS));
    std::vector<double> score(n);
    for (int64_t j = 0; j < n; j++) {
        score[j] = dot(q, k + j * stride, HS) * scale;
    }
    const double lse = logsumexp(score.data(), n);
    std::vector<double> sum(HS, 0.0);
    for (int64_t j = 0; j < n; j++) {
        const double p = std::exp(score[j] - lse); // the softmax: exp(score) / sum exp(score)
        for (int64_t c = 0; c < HS; c++) {
            sum[c] += p * double(v[j * stride + c]);
        }
    }
    std::copy(sum.begin(), sum.end(), out);
    return lse;
}

// The numbers of a matrix: its own memory when they are real numbers already, else a decoded copy.
struct Numbers {
    Numbers(Matrix matrix, int64_t rows, int64_t columns) : data(matrix.numbers()) {
        if (matrix.type != WeightType::f32) {
            decoded.resize(rows * columns);
            std::vector<float> row(columns);
            for (int64_t r = 0; r < rows; r++) {
                const char* bytes = static_cast<const char*>(matrix.data) + r * row_bytes(matrix.type, columns);
                dequantize(row.data(), matrix.type, bytes, 0, columns);
                std::copy(row.begin(), row.end(), decoded.begin() + r * columns);
            }
            data = decoded.data();
        }
    }
    Numbers(const Numbers&) = delete;

    std::vector<real> decoded;
    const real* data; // (rows,columns)
};

// out[i] = value
void put(MatrixOut out, int64_t i, double value) {
    if (out.type == WeightType::bf16) {
        static_cast<uint16_t*>(out.data)[i] = rounded_bf16_bits(float(value));
    } else {
        static_cast<real*>(out.data)[i] = real(value);
    }
}

// The rows of a matrix from `row` on.
Matrix from_row(Matrix matrix, int64_t row, int64_t columns) {
    return {static_cast<const char*>(matrix.data) + row * row_bytes(matrix.type, columns), matrix.type};
}

// The operands of dtype bf16.
std::vector<real> rounded(const real* x, // (n)
                          int64_t n) {
    std::vector<real> out(n);
    std::transform(x, x + n, out.begin(), [](real value) { return real(round_to_bf16(float(value))); });
    return out;
}

// out += a b
void add_product(Layout layout,
                 double* out,   // (M,N) +=
                 Matrix left,   // (M,K), or (K,M) for tn, f32 or bf16
                 Matrix weight, // (N,K) for nt, else (K,N), of any type
                 int64_t M, int64_t N, int64_t K, bool round) {
    const Numbers numbers(weight, layout == Layout::nt ? N : K, layout == Layout::nt ? K : N);
    const Numbers left_numbers(left, layout == Layout::tn ? K : M, layout == Layout::tn ? M : K);
    const real *a = left_numbers.data, *b = numbers.data;
    std::vector<real> rounded_a, rounded_b;
    if (round) {
        rounded_a = rounded(a, M * K);
        rounded_b = rounded(b, K * N);
        a = rounded_a.data();
        b = rounded_b.data();
    }
    for (int64_t m = 0; m < M; m++) {
        double* row = out + m * N;
        if (layout == Layout::nt) {
            for (int64_t n = 0; n < N; n++) {
                row[n] += dot(a + m * K, b + n * K, K);
            }
        } else {
            for (int64_t k = 0; k < K; k++) {
                const double a_mk = layout == Layout::tn ? a[k * M + m] : a[m * K + k];
                for (int64_t n = 0; n < N; n++) {
                    row[n] += a_mk * double(b[k * N + n]);
                }
            }
        }
    }
}

// ---- the ops, in the order of kernels.h -------------------------------------------------------------------

class ReferenceKernels final : public Kernels {
public:
    explicit ReferenceKernels(bool bf16) : bf16_(bf16) {}

    std::string name() const override { return bf16_ ? "reference (BF16, 1 thread)" : "reference (1 thread)"; }

    // ---- memory -------------------------------------------------------------------------------------------

    void* alloc(size_t bytes) override {
        constexpr size_t kAlignment = 64;
        CHECK(bytes <= std::numeric_limits<size_t>::max() - kAlignment, "cannot allocate %zu bytes", bytes);
        // aligned_alloc wants a multiple of the alignment; no bytes still get an address of their own.
        const size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
        void* ptr = std::aligned_alloc(kAlignment, rounded);
        CHECK(ptr != nullptr, "not enough memory for %zu bytes", bytes);
        std::memset(ptr, 0, rounded);
        return ptr;
    }

    void free(void* ptr) override { std::free(ptr); }

    void upload(void* dst, const void* host_src, size_t bytes) override { copy(dst, host_src, bytes); }
    void download(void* host_dst, const void* src, size_t bytes) override { copy(host_dst, src, bytes); }

    void copy(void* dst, const void* src, size_t bytes) override {
        if (bytes > 0) { // memcpy may not see a null pointer, even for no bytes
            std::memcpy(dst, src, bytes);
        }
    }

    void zero(void* dst, size_t bytes) override {
        if (bytes > 0) {
            std::memset(dst, 0, bytes);
        }
    }

    Matrix map(Matrix host, int64_t, int64_t, bool) override { return host; }
    void unmap(Matrix) override {}

    // ---- matrix products ----------------------------------------------------------------------------------

    WeightType operand_type() const override { return bf16_ ? WeightType::bf16 : WeightType::f32; }

    // One row of out at a time. With b transposed an element is the dot product of two contiguous rows;
    // otherwise the row of out is the sum of the rows of b, each times one element of a. Either way b is read
    // along its rows.
    void products(Layout layout, const Product* list, int64_t count, int64_t M) override {
        for (int64_t p = 0; p < count; p++) {
            const Product& product = list[p];
            const int64_t N = product.N;
            std::vector<double> sum(M * N, 0.0); // (M,N)
            for (int64_t t = 0; t < product.term_count; t++) {
                const Term& term = product.terms[t];
                const bool round = bf16_ && !(layout == Layout::nt && M <= kFewRows);
                add_product(layout, sum.data(), term.a, term.b, M, N, term.K, round);
            }
            for (int64_t i = 0; i < M * N; i++) {
                const double base = product.base == nullptr ? 0.0 : product.base[i];
                product.out[i] = real(base + double(product.alpha) * sum[i]);
            }
        }
    }

    size_t packed_bytes(Rows, Matrix, int64_t, int64_t) const override { return 0; }
    void pack(Rows, void*, Matrix, int64_t, int64_t) override {}

    void bias_forward(real* out,        // (N,C) +=
                      const real* bias, // (C)
                      int64_t N, int64_t C) override {
        for (int64_t n = 0; n < N; n++) {
            for (int64_t c = 0; c < C; c++) {
                out[n * C + c] += bias[c];
            }
        }
    }

    // forward: out[n,c] += bias[c], so every row of dout reaches the one bias
    void bias_backward(real* dbias,      // (C) +=
                       const real* dout, // (N,C)
                       int64_t N, int64_t C) override {
        std::vector<double> sum(dbias, dbias + C);
        for (int64_t n = 0; n < N; n++) {
            for (int64_t c = 0; c < C; c++) {
                sum[c] += double(dout[n * C + c]);
            }
        }
        std::copy(sum.begin(), sum.end(), dbias);
    }

    // ---- moving rows --------------------------------------------------------------------------------------

    void gather_rows(real* out,           // (M,C) =
                     Matrix table,        // (any,C) of any type
                     const int32_t* rows, // (M)
                     int64_t M, int64_t C) override {
        for (int64_t m = 0; m < M; m++) {
            const Numbers row(from_row(table, rows[m], C), 1, C);
            std::copy(row.data, row.data + C, out + m * C);
        }
    }

    void scatter_rows(void* table,         // (any,C) =, rows not named stay as they are
                      WeightType type,     // of the table: f32 or bf16
                      const real* inp,     // (M,C)
                      const int32_t* rows, // (M)
                      int64_t M, int64_t C) override {
        for (int64_t m = 0; m < M; m++) {
            for (int64_t c = 0; c < C; c++) {
                put({table, type}, rows[m] * C + c, double(inp[m * C + c]));
            }
        }
    }

    // forward (gather_rows): out[m] = table[rows[m]], so a row that was read twice gets two gradients
    void scatter_add_rows(real* table,         // (any,C) +=
                          const real* inp,     // (M,C)
                          const int32_t* rows, // (M)
                          int64_t M, int64_t C) override {
        for (int64_t m = 0; m < M; m++) {
            for (int64_t c = 0; c < C; c++) {
                table[rows[m] * C + c] += inp[m * C + c];
            }
        }
    }

    // ---- normalisation, rotation, activation --------------------------------------------------------------

    void rmsnorm_forward(MatrixOut out,      // (N,C) =
                         real* rstd,         // (N) =
                         const real* inp,    // (N,C)
                         const real* weight, // (C)
                         int64_t N, int64_t C, real eps) override {
        for (int64_t n = 0; n < N; n++) {
            const real* inp_n = inp + n * C;
            const double mean_square = dot(inp_n, inp_n, C) / double(C);
            rstd[n] = real(1.0 / std::sqrt(mean_square + double(eps)));
            for (int64_t c = 0; c < C; c++) {
                put(out, n * C + c, double(weight[c]) * double(inp_n[c]) * double(rstd[n]));
            }
        }
    }

    // forward: out[n,c] = weight[c] * norm[n,c]  with  norm[n,c] = inp[n,c] * rstd[n]
    // rstd depends on every channel of its row, d rstd / d inp[c] = -rstd^3 inp[c] / C: hence the mean below
    void rmsnorm_backward(real* dinp,         // (N,C) +=
                          real* dweight,      // (C) +=, or nullptr when the weight is frozen
                          MatrixOut out,      // (N,C) =, or nullptr
                          const real* dout,   // (N,C)
                          const real* inp,    // (N,C)
                          const real* weight, // (C)
                          const real* rstd,   // (N)
                          int64_t N, int64_t C) override {
        std::vector<double> dweight_sum(C, 0.0);
        for (int64_t n = 0; n < N; n++) {
            const real* dout_n = dout + n * C;
            const real* inp_n = inp + n * C;
            const double rstd_n = rstd[n];
            double mean = 0.0; // of dnorm * norm over the channels
            for (int64_t c = 0; c < C; c++) {
                const double dnorm = double(weight[c]) * double(dout_n[c]);
                mean += dnorm * double(inp_n[c]) * rstd_n / double(C);
            }
            for (int64_t c = 0; c < C; c++) {
                const double norm = double(inp_n[c]) * rstd_n;
                const double dnorm = double(weight[c]) * double(dout_n[c]);
                dinp[n * C + c] = real(double(dinp[n * C + c]) + rstd_n * (dnorm - norm * mean));
                dweight_sum[c] += double(dout_n[c]) * norm;
                if (out.data != nullptr) {
                    put(out, n * C + c, double(weight[c]) * norm);
                }
            }
        }
        if (dweight != nullptr) {
            for (int64_t c = 0; c < C; c++) {
                dweight[c] = real(double(dweight[c]) + dweight_sum[c]);
            }
        }
    }

    // A rotation is undone by the opposite angle, and its gradient is turned back the same way: R^-1 = R^T.
    void rope(real* x,                  // (N,NH,HS) in place
              const real* cos_sin,      // (P,HS): HS/2 cosines, then HS/2 sines, of each position
              const int32_t* positions, // (N), each < P
              int64_t N, int64_t NH, int64_t HS, bool inverse) override {
        const int64_t half = HS / 2;
        for (int64_t n = 0; n < N; n++) {
            const real* cos_p = cos_sin + positions[n] * HS;
            const real* sin_p = cos_p + half;
            for (int64_t h = 0; h < NH; h++) {
                real* x_nh = x + (n * NH + h) * HS;
                for (int64_t i = 0; i < half; i++) {
                    const double a = x_nh[i];
                    const double b = x_nh[i + half];
                    const double cos = cos_p[i];
                    const double sin = inverse ? -sin_p[i] : sin_p[i];
                    x_nh[i] = real(a * cos - b * sin);
                    x_nh[i + half] = real(b * cos + a * sin);
                }
            }
        }
    }

    void swiglu_forward(MatrixOut out,    // (n) =
                        const real* gate, // (n)
                        const real* up,   // (n)
                        int64_t n) override {
        for (int64_t i = 0; i < n; i++) {
            const double g = gate[i];
            put(out, i, g * sigmoid(g) * double(up[i]));
        }
    }

    // forward: out = silu(gate) * up,  silu(x) = x * sigmoid(x)
    void swiglu_backward(MatrixOut dgate,  // (n) =, f32 may be the memory of gate
                         MatrixOut dup,    // (n) =, f32 may be the memory of up
                         MatrixOut out,    // (n) =, or nullptr
                         const real* dout, // (n)
                         const real* gate, // (n)
                         const real* up,   // (n)
                         int64_t n) override {
        for (int64_t i = 0; i < n; i++) {
            const double g = gate[i]; // both are read before either may be overwritten
            const double u = up[i];
            const double sigma = sigmoid(g);
            const double dsilu = sigma * (1.0 + g * (1.0 - sigma));
            put(dgate, i, double(dout[i]) * u * dsilu);
            put(dup, i, double(dout[i]) * g * sigma);
            if (out.data != nullptr) {
                put(out, i, g * sigma * u);
            }
        }
    }

    // ---- attention ----------------------------------------------------------------------------------------

    void attention_forward(real* out,     // (N,NH,HS) =
                           real* lse,     // (N,NH) =
                           const real* q, // (N,NH,HS)
                           const real* k, // (N,NKV,HS)
                           const real* v, // (N,NKV,HS)
                           Sequences seq, int64_t NH, int64_t NKV, int64_t HS) override {
        for (int64_t s = 0; s < seq.count; s++) {
            const int64_t first = seq.start[s];
            for (int64_t i = first; i < seq.start[s + 1]; i++) {
                for (int64_t h = 0; h < NH; h++) {
                    const int64_t at = (i * NH + h) * HS;
                    const int64_t kv_at = (first * NKV + h / (NH / NKV)) * HS; // key 0 of the sequence
                    lse[i * NH + h] =
                        real(attend(out + at, q + at, k + kv_at, v + kv_at, i - first + 1, NKV * HS, HS));
                }
            }
        }
    }

    // forward: score_ij = q_i.k_j * scale,  p_ij = exp(score_ij - lse_i),  out_i = sum_{j<=i} p_ij v_j
    // dp_ij = dout_i.v_j, and the softmax turns it into dscore_ij = p_ij (dp_ij - sum_l p_il dp_il). That sum
    // is dout_i.out_i, so lse and out are all that has to be kept of the forward pass.
    void attention_backward(real* dq,         // (N,NH,HS) =
                            real* dk,         // (N,NKV,HS) =
                            real* dv,         // (N,NKV,HS) =
                            const real* dout, // (N,NH,HS)
                            const real* q,    // (N,NH,HS)
                            const real* k,    // (N,NKV,HS)
                            const real* v,    // (N,NKV,HS)
                            const real* out,  // (N,NH,HS) of the forward pass
                            const real* lse,  // (N,NH) of the forward pass
                            Sequences seq, int64_t NH, int64_t NKV, int64_t HS) override {
        const double scale = 1.0 / std::sqrt(double(HS));
        const int64_t N = seq.start[seq.count];
        std::vector<double> dq_i(HS);
        std::vector<double> dk_sum(N * NKV * HS, 0.0); // a key is read by later rows and by NH/NKV heads
        std::vector<double> dv_sum(N * NKV * HS, 0.0);
        for (int64_t s = 0; s < seq.count; s++) {
            for (int64_t i = seq.start[s]; i < seq.start[s + 1]; i++) {
                for (int64_t h = 0; h < NH; h++) {
                    const int64_t at = (i * NH + h) * HS;
                    const double dout_out = dot(dout + at, out + at, HS);
                    std::fill(dq_i.begin(), dq_i.end(), 0.0);
                    for (int64_t j = seq.start[s]; j <= i; j++) {
                        const int64_t kv_at = (j * NKV + h / (NH / NKV)) * HS;
                        const double score = dot(q + at, k + kv_at, HS) * scale;
                        const double p = std::exp(score - double(lse[i * NH + h]));
                        const double dp = dot(dout + at, v + kv_at, HS);
                        const double dscore = p * (dp - dout_out);
                        for (int64_t c = 0; c < HS; c++) {
                            dq_i[c] += dscore * scale * double(k[kv_at + c]);
                            dk_sum[kv_at + c] += dscore * scale * double(q[at + c]);
                            dv_sum[kv_at + c] += p * double(dout[at + c]);
                        }
                    }
                    std::copy(dq_i.begin(), dq_i.end(), dq + at);
                }
            }
        }
        std::copy(dk_sum.begin(), dk_sum.end(), dk);
        std::copy(dv_sum.begin(), dv_sum.end(), dv);
    }

    void attention_cached(real* out,             // (N,NH,HS) =
                          const real* q,         // (N,NH,HS)
                          Matrix k_cache,        // (slots,capacity,NKV,HS)
                          Matrix v_cache,        // (slots,capacity,NKV,HS)
                          const int32_t* slot,   // (S)
                          const int32_t* length, // (S) positions in the cache, the new rows included
                          Sequences seq, int64_t capacity, int64_t NH, int64_t NKV, int64_t HS) override {
        for (int64_t s = 0; s < seq.count; s++) {
            const int64_t n_s = seq.start[s + 1] - seq.start[s];
            const Numbers k(from_row(k_cache, slot[s] * capacity, NKV * HS), length[s], NKV * HS);
            const Numbers v(from_row(v_cache, slot[s] * capacity, NKV * HS), length[s], NKV * HS);
            for (int64_t i = 0; i < n_s; i++) {
                const int64_t keys = length[s] - n_s + i + 1; // new row i sees keys 0 .. length - n_s + i
                for (int64_t h = 0; h < NH; h++) {
                    const int64_t at = ((seq.start[s] + i) * NH + h) * HS;
                    const int64_t kv_at = h / (NH / NKV) * HS;
                    attend(out + at, q + at, k.data + kv_at, v.data + kv_at, keys, NKV * HS, HS);
                }
            }
        }
    }

    // ---- loss and optimisation ----------------------------------------------------------------------------

    void cross_entropy(real* loss,            // (M) =
                       real* logits,          // (M,V) in, and its gradient out
                       const int32_t* target, // (M), each < V
                       int64_t M, int64_t V, real scale) override {
        for (int64_t m = 0; m < M; m++) {
            real* logits_m = logits + m * V;
            const double lse = logsumexp(logits_m, V);
            loss[m] = real(lse - double(logits_m[target[m]]));
            if (scale != 0) {
                for (int64_t v = 0; v < V; v++) {
                    const double softmax = std::exp(double(logits_m[v]) - lse);
                    const double label = v == target[m] ? 1.0 : 0.0;
                    logits_m[v] = real((softmax - label) * double(scale));
                }
            }
        }
    }

    // forward: loss = sum_v p_v (log p_v - log q_v). The p are constants and sum to 1, so d loss / d logits_v is that of
    // -sum_u p_u log q_u: q_v - p_v, the cross-entropy's with p in place of the one label.
    void kl_divergence(real* loss,         // (M) =
                       real* logits,       // (M,V) in, and its gradient out
                       const real* target, // (M,V) logits too
                       int64_t M, int64_t V, real scale) override {
        for (int64_t m = 0; m < M; m++) {
            real* logits_m = logits + m * V;
            const real* target_m = target + m * V;
            const double lse = logsumexp(logits_m, V);
            const double target_lse = logsumexp(target_m, V);
            double sum = 0.0;
            for (int64_t v = 0; v < V; v++) {
                const double log_q = double(logits_m[v]) - lse;
                const double log_p = double(target_m[v]) - target_lse;
                const double p = std::exp(log_p);
                if (p != 0.0) { // 0 log 0 is 0, also where a logarithm is minus infinity
                    sum += p * (log_p - log_q);
                }
                if (scale != 0) {
                    logits_m[v] = real((std::exp(log_q) - p) * double(scale));
                }
            }
            loss[m] = real(sum);
        }
    }

    void argmax_rows(int32_t* out,       // (M) =
                     const real* logits, // (M,V)
                     int64_t M, int64_t V) override {
        for (int64_t m = 0; m < M; m++) {
            const real* logits_m = logits + m * V;
            out[m] = -1;
            for (int64_t v = 0; v < V; v++) {
                if (out[m] < 0 ? !std::isnan(logits_m[v]) : logits_m[v] > logits_m[out[m]]) {
                    out[m] = int32_t(v);
                }
            }
        }
    }

    double sum_squares(const real* x, int64_t n) override { return dot(x, x, n); }

    void adamw(real* param,      // (n) in place
               real* m,          // (n) in place
               real* v,          // (n) in place
               const real* grad, // (n)
               int64_t n, const AdamwStep& step) override {
        const double beta1 = step.beta1;
        const double beta2 = step.beta2;
        // m and v start at zero, so after t steps they are too small by these factors.
        const double correction1 = 1.0 - std::pow(beta1, double(step.step));
        const double correction2 = 1.0 - std::pow(beta2, double(step.step));
        for (int64_t i = 0; i < n; i++) {
            const double g = double(grad[i]) * double(step.grad_scale);
            const double m_i = beta1 * double(m[i]) + (1.0 - beta1) * g;
            const double v_i = beta2 * double(v[i]) + (1.0 - beta2) * g * g;
            const double update = (m_i / correction1) / (std::sqrt(v_i / correction2) + double(step.eps));
            const double decayed = double(param[i]) * (1.0 - double(step.lr) * double(step.weight_decay));
            param[i] = real(decayed - double(step.lr) * update);
            m[i] = real(m_i);
            v[i] = real(v_i);
        }
    }

private:
    const bool bf16_;
};

} // namespace

std::unique_ptr<Kernels> make_reference_kernels(bool bf16) {
    return std::make_unique<ReferenceKernels>(bf16);
}

} // namespace skintern
