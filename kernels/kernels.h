// kernels.h — the only door between the model (src/) and arithmetic (kernels/).
//
// `Kernels` is a few memory operations and some twenty ops. Three implementations answer to it: the textbook loops of
// reference.cpp, the fast CPU ops (cpu.h), and CUDA (cuda/cuda.cuh). The model is written once over this interface and never names a
// backend.
//
// Conventions
// - Row-major, last axis contiguous. A batch is N packed token rows of S sequences laid end to end: no padding.
//   Every op but attention is row-wise; attention takes the offsets of the sequences.
// - Sizes: N token rows, S sequences, C channels, NH query heads, NKV key/value heads (NH % NKV == 0), HS head size
//   (NH*HS need not be C), F feed-forward width, V vocabulary, R adapter rank.
// - `=` overwrites an output, `+=` adds to it; every output says which. Gradients of parameters accumulate (+=),
//   gradients of activations are overwritten (=) unless the comment says otherwise.
// - All pointers but those of upload/download's host side point into memory that this object allocated.
// - An op is correct at every shape, including 1 and including N = 0 (does nothing).
// - Same inputs, same number of threads, same processor: same bits. No op depends on the number of threads, but for
//   matmul of a library (OpenBLAS), which adds in another order with another number of threads.
// - Where a result would be denormal (below 2^-126 in magnitude) it may be 0.
// - A row of a product may have other last bits when it is computed among at most kFewRows rows: fewer rows are summed in
//   another order, which is what makes decoding fast.
// - With dtype bf16 the operands of a product are rounded to BF16 (to nearest, ties to even) and their products are summed
//   in F32: matmul, and q k^T, p v and what leads back through them in attention. Everything else, and layers of at most
//   kFewRows rows (nt; new rows of a sequence in attention), stays F32: there nothing is won by rounding.
// - What is read by such products alone may therefore lie in memory as BF16 (operand_type()), with the same results to
//   the last bit and half the traffic: a Matrix that is read, a MatrixOut that is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "weight_type.h"

namespace skintern {

constexpr int64_t kFewRows = 8;

// S sequences packed end to end: rows start[s] .. start[s+1]-1 belong to sequence s.
struct Sequences {
    const int64_t* start; // (S+1), start[0] = 0, not decreasing
    int64_t count;        // S
    int64_t max_length;   // longest sequence, known to the host
};

// Which operands of a matrix product are read transposed. Named as in BLAS, for row-major matrices.
enum class Layout {
    nt, // out(M,N) = a(M,K) b(N,K)^T    a linear layer forward: b is the weight (OUT,IN)
    nn, // out(M,N) = a(M,K) b(K,N)      the gradient of its input
    tn, // out(M,N) = a(K,M)^T b(K,N)    the gradient of its weight
};

enum class Rows { many, few };

// One term of a sum of products. Matrices are as the layout says, with this K.
struct Term {
    Matrix a; // f32 or bf16
    Matrix b;
    int64_t K;
};

constexpr int64_t kMaxTerms = 6;    // the input of q, k and v has a gradient from each, and from the adapter of each
constexpr int64_t kMaxProducts = 6; // q, k and v, and the adapter of each

struct Product {
    real* out = nullptr;        // (M,N) =
    const real* base = nullptr; // (M,N), may be out itself; null: zeros
    int64_t N = 0;
    real alpha = 1;
    Term terms[kMaxTerms] = {};
    int64_t term_count = 0;

    void add(Matrix a, Matrix b, int64_t K) { terms[term_count++] = {a, b, K}; }
};

// Constants of one AdamW update (Loshchilov & Hutter 2019, algorithm 2). `step` counts from 1.
struct AdamwStep {
    real lr, beta1, beta2, eps, weight_decay;
    real grad_scale; // gradients are multiplied by this first (clipping)
    int64_t step;
};

class Kernels {
public:
    virtual ~Kernels();

    // Backend, instruction set and threads, for people: "cpu (avx2, 2 threads)".
    virtual std::string name() const = 0;

    // ---- memory ------------------------------------------------------------------------------------------------

    // `bytes` bytes of zeroed memory of this backend, 64-byte aligned. Throws Error when there is not enough.
    virtual void* alloc(size_t bytes) = 0;
    virtual void free(void* ptr) = 0;
    virtual void upload(void* dst, const void* host_src, size_t bytes) = 0;
    virtual void download(void* host_dst, const void* src, size_t bytes) = 0; // waits for all ops before it
    virtual void copy(void* dst, const void* src, size_t bytes) = 0; // within the backend, no overlap
    virtual void zero(void* dst, size_t bytes) = 0;

    // A frozen matrix in host memory that nobody writes and that stays until unmap, of a mapped file, as this backend reads it:
    // the CPU where it lies, at any address; a device copies it once. Where products alone read it, a device with dtype bf16
    // keeps F32 and F16 as BF16, and so its products of few rows meet rounded weights, too: half the memory and traffic.
    virtual Matrix map(Matrix host, // (R,C)
                       int64_t R, int64_t C, bool products_alone) = 0;
    virtual void unmap(Matrix mapped) = 0;

    // Does `step`, a series of ops. A device may record them and, when it is given the same key again, do them over without
    // asking `step`, in one launch instead of hundreds: so the key names all that the ops' arguments depend on (but not the
    // contents of memory), and `step` allocates nothing and hands nothing to the host. After a free() nothing is recorded.
    virtual void repeat(const std::string& key, const std::function<void()>& step);

    // ---- matrix products -----------------------------------------------------------------------------------------

    // Each of `count` products, all of the same layout and M, as if one after the other:
    //   out = base + alpha * (a_0 b_0 + a_1 b_1 + ...)
    // One call for what shares an operand: x is read once for q, k and v and their adapters. An `a` may be the out of an
    // earlier product: a layer with its adapter is low = s x A^T, out = [x, low] [W, B]^T. Nothing else overlaps an out.
    // In nt and nn, b may be a weight of any type: its numbers are those of dequantize.h, everything else is as if it were
    // of real numbers, to the last bit.
    // Every a, and b in tn, may be f32 or bf16.
    virtual void products(Layout layout, const Product* list, int64_t count, int64_t M) = 0;

    // bf16 with dtype bf16: the type in which an operand may be kept that products round anyway. Else f32.
    virtual WeightType operand_type() const = 0;

    // One product of one term: out = alpha a b, or with accumulate out += alpha a b.
    void matmul(Layout layout,
                real* out, // (M,N)
                Matrix a,  // (M,K), or (K,M) for tn
                Matrix b,  // (N,K) for nt, else (K,N)
                int64_t M, int64_t N, int64_t K, real alpha, bool accumulate);

    // A frozen weight b(N,K) read in nt may be packed once, as its products of many rows or of few (at most kFewRows) read it:
    // `packed_bytes` is what that takes (0: this backend does not), pack() fills so many bytes of alloc(), and the result
    // stands in Matrix::packed or packed_few. The results of products of many rows are the same to the last bit.
    virtual size_t packed_bytes(Rows rows, Matrix b, int64_t N, int64_t K) const = 0;
    virtual void pack(Rows rows, void* packed, Matrix b, int64_t N, int64_t K) = 0;

    // out[n,c] += bias[c]
    virtual void bias_forward(real* out,        // (N,C) +=
                              const real* bias, // (C)
                              int64_t N, int64_t C) = 0;

    // dbias[c] += sum_n dout[n,c]
    virtual void bias_backward(real* dbias,      // (C) +=
                               const real* dout, // (N,C)
                               int64_t N, int64_t C) = 0;

    // ---- moving rows -----------------------------------------------------------------------------------------------

    // out[m] = table[rows[m]]. The token embedding is this op, and so is picking the labelled rows.
    virtual void gather_rows(real* out,           // (M,C) =
                             Matrix table,        // (any,C) of any type
                             const int32_t* rows, // (M)
                             int64_t M, int64_t C) = 0;

    // table[rows[m]] = inp[m], rounded by round_to_bf16 (dequantize.h) where the type is bf16. rows are all different.
    // Writes the key/value cache.
    virtual void scatter_rows(void* table,         // (any,C) =, rows not named stay as they are
                              WeightType type,     // of the table: f32 or bf16
                              const real* inp,     // (M,C)
                              const int32_t* rows, // (M)
                              int64_t M, int64_t C) = 0;

    // table[rows[m]] += inp[m]. rows may repeat; they are added in the order of m. Backward of gather_rows.
    virtual void scatter_add_rows(real* table,         // (any,C) +=
                                  const real* inp,     // (M,C)
                                  const int32_t* rows, // (M)
                                  int64_t M, int64_t C) = 0;

    // ---- normalisation, rotation, activation ---------------------------------------------------------------------

    // RMSNorm (Zhang & Sennrich 2019): out[n,c] = weight[c] * inp[n,c] * rstd[n],
    // rstd[n] = 1 / sqrt(mean_c inp[n,c]^2 + eps)
    virtual void rmsnorm_forward(MatrixOut out,      // (N,C) =
                                 real* rstd,         // (N) =
                                 const real* inp,    // (N,C)
                                 const real* weight, // (C)
                                 int64_t N, int64_t C, real eps) = 0;

    // dinp adds, because the input of a norm is the residual stream, which has a gradient already. `out` is that of the
    // forward pass once more: what read it has gradients that need it, and keeping it costs more than computing it here.
    virtual void rmsnorm_backward(real* dinp,         // (N,C) +=
                                  real* dweight,      // (C) +=, or nullptr when the weight is frozen
                                  MatrixOut out,      // (N,C) =, or nullptr
                                  const real* dout,   // (N,C)
                                  const real* inp,    // (N,C)
                                  const real* weight, // (C)
                                  const real* rstd,   // (N)
                                  int64_t N, int64_t C) = 0;

    // Rotary position embedding (Su et al. 2021), halves convention: in each head, element i turns with element
    // i + HS/2 by the angle of position p:  (a, b) -> (a cos - b sin, b cos + a sin).
    // `inverse` turns back, which is the backward of the op.
    virtual void rope(real* x,                  // (N,NH,HS) in place
                      const real* cos_sin,      // (P,HS): HS/2 cosines, then HS/2 sines, of each position
                      const int32_t* positions, // (N), each < P
                      int64_t N, int64_t NH, int64_t HS, bool inverse) = 0;

    // SwiGLU (Shazeer 2020): out = silu(gate) * up, silu(x) = x / (1 + exp(-x))
    virtual void swiglu_forward(MatrixOut out,    // (n) =
                                const real* gate, // (n)
                                const real* up,   // (n)
                                int64_t n) = 0;
    virtual void swiglu_backward(MatrixOut dgate,  // (n) =, f32 may be the memory of gate
                                 MatrixOut dup,    // (n) =, f32 may be the memory of up
                                 MatrixOut out,    // (n) =, that of the forward pass once more, or nullptr
                                 const real* dout, // (n)
                                 const real* gate, // (n)
                                 const real* up,   // (n)
                                 int64_t n) = 0;

    // ---- attention -------------------------------------------------------------------------------------------------

    // Causal attention inside each packed sequence; query head h reads key/value head h / (NH/NKV).
    //   out[i,h] = sum_{j<=i} softmax_j(q[i,h].k[j,h'] / sqrt(HS)) v[j,h']
    //   lse[i,h] = log sum_{j<=i} exp(q[i,h].k[j,h'] / sqrt(HS)), all that the backward pass needs of the softmax
    virtual void attention_forward(real* out,     // (N,NH,HS) =
                                   real* lse,     // (N,NH) =
                                   const real* q, // (N,NH,HS)
                                   const real* k, // (N,NKV,HS)
                                   const real* v, // (N,NKV,HS)
                                   Sequences seq, int64_t NH, int64_t NKV, int64_t HS) = 0;

    virtual void attention_backward(real* dq,         // (N,NH,HS) =
                                    real* dk,         // (N,NKV,HS) =
                                    real* dv,         // (N,NKV,HS) =
                                    const real* dout, // (N,NH,HS)
                                    const real* q,    // (N,NH,HS)
                                    const real* k,    // (N,NKV,HS)
                                    const real* v,    // (N,NKV,HS)
                                    const real* out,  // (N,NH,HS) of the forward pass
                                    const real* lse,  // (N,NH) of the forward pass
                                    Sequences seq, int64_t NH, int64_t NKV, int64_t HS) = 0;

    // Attention of new rows over a key/value cache, for generation. The rows of sequence s are the last
    // n_s = start[s+1]-start[s] of the length[s] positions in its slot: row i of them sees keys 0 .. length[s]-n_s+i.
    // Both caches are of one type, f32 or bf16; everything else is as if they held real numbers.
    virtual void attention_cached(real* out,             // (N,NH,HS) =
                                  const real* q,         // (N,NH,HS)
                                  Matrix k_cache,        // (slots,capacity,NKV,HS)
                                  Matrix v_cache,        // (slots,capacity,NKV,HS)
                                  const int32_t* slot,   // (S)
                                  const int32_t* length, // (S) positions in the cache, the new rows included
                                  Sequences seq, int64_t capacity, int64_t NH, int64_t NKV, int64_t HS) = 0;

    // ---- loss and optimisation ---------------------------------------------------------------------------------------

    // Cross-entropy of M rows of logits, fused with its gradient:
    //   loss[m] = logsumexp(logits[m]) - logits[m, target[m]]
    //   logits[m,v] = (softmax(logits[m])[v] - [v == target[m]]) * scale     when scale != 0, else left as they are
    virtual void cross_entropy(real* loss,            // (M) =
                               real* logits,          // (M,V) in, and its gradient out
                               const int32_t* target, // (M), each < V
                               int64_t M, int64_t V, real scale) = 0;

    // Kullback-Leibler divergence of M rows of logits from a teacher's, fused with its gradient. With
    // p = softmax(target[m]) and q = softmax(logits[m]):
    //   loss[m] = sum_v p_v (log p_v - log q_v), where p_v = 0 adds nothing
    //   logits[m,v] = (q_v - p_v) * scale     when scale != 0, else left as they are
    virtual void kl_divergence(real* loss,         // (M) =
                               real* logits,       // (M,V) in, and its gradient out
                               const real* target, // (M,V) logits too
                               int64_t M, int64_t V, real scale) = 0;

    // out[m] = the smallest v with the largest logits[m,v]; -1 for a row of NaN.
    virtual void argmax_rows(int32_t* out,       // (M) =
                             const real* logits, // (M,V)
                             int64_t M, int64_t V) = 0;

    // sum_i x[i]^2 in double, returned to the host. The sum has a fixed order.
    virtual double sum_squares(const real* x, int64_t n) = 0;

    // AdamW with decoupled decay: p *= 1 - lr*weight_decay, then p -= lr * m^ / (sqrt(v^) + eps).
    virtual void adamw(real* param,      // (n) in place
                       real* m,          // (n) in place
                       real* v,          // (n) in place
                       const real* grad, // (n)
                       int64_t n, const AdamwStep& step) = 0;
};

// ---- implementations ---------------------------------------------------------------------------------------------

struct KernelOptions {
    std::string device = "cpu"; // reference | cpu | cuda
    std::string isa = "auto";   // auto | portable | avx2 | avx512 | avx512bf16 | amx: what the fast CPU ops use
    std::string matmul = "own"; // own | openblas: who multiplies matrices on the cpu device
    int threads = 0;            // 0: as many as the process has processors
    std::string dtype = "f32";  // f32 | bf16: the operands of products
    std::string activations = "f32"; // f32 | q8: rounded to 8 bits where few rows meet a weight in Q8_0, Q4_0 or Q4_1
};

// The backend that `options` name. Throws Error for a device, instruction set or library this build or machine lacks.
std::unique_ptr<Kernels> make_kernels(const KernelOptions& options);

// What the machine could do at most, measured in a moment: operations a second of multiply-adds in registers, of floats and
// of BF16, and bytes a second that are read from memory.
struct Roofs {
    double f32, bf16, bandwidth;
};
Roofs measure_roofs(const KernelOptions& options);

// The textbook loops with double accumulators; one thread. With `bf16` matmul rounds as dtype bf16 says; attention, whose
// rounding depends on its tiles, does not.
std::unique_ptr<Kernels> make_reference_kernels(bool bf16 = false);

} // namespace skintern
