// attention_backward_steps.cu — from the definition of attention's gradients to attention_backward.cu, one idea a step.
//
//   dv_j = sum_i p_ij dout_i          dp_ij = dout_i.v_j          ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j                                  dk_j = scale sum_i ds_ij q_i
//
// Every step is correct at every shape, and tested; no model runs through step 1. docs/kernels.md ("Backward") counts what each
// step reads and multiplies. D comes from attention_delta_kernel in each of them.
#include "attention.cuh"
#include "cuda.h"

namespace skintern {

// ---- 1: a thread a row --------------------------------------------------------------------------------------------------

__device__ __forceinline__ float dot(const float* x, const float* y, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

// y += a x, or y = a x where `first`.
__device__ __forceinline__ void add_scaled(float* y, float a, const float* x, int64_t n, bool first) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = (first ? 0.0f : y[i]) + a * x[i];
    }
}

// p and ds of row `query` of a matrix of query heads and row `key` of one of key/value heads; i and j are their numbers in the
// sequence.
__device__ __forceinline__ void step1_probability(float& p, float& ds, const BackwardView& a, int64_t query, int64_t key,
                                                  int64_t i, int64_t j) {
    const int64_t HS = a.batch.HS;
    f32_probability(p, ds, dot(a.q + query * HS, a.k + key * HS, HS), dot(a.dout + query * HS, a.v + key * HS, HS), a.batch.scale,
                    a.lse[query], a.D[query], static_cast<int>(i), static_cast<int>(j));
}

// 1. The definition: a query walks over its keys, a key over its queries. Sums lie in memory, and everything that is read comes
// in pieces of 4 bytes.
// resident: attention_backward_step1_dq_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 4) attention_backward_step1_dq_kernel(BackwardView a) {
    const Batch& b = a.batch;
    for (int64_t x = grid_first(); x < b.start[b.count] * b.NH; x += grid_stride()) {
        const int64_t n = x / b.NH, kv = x % b.NH / (b.NH / b.NKV), first = b.start[sequence_of(b, n)];
        for (int64_t j = first; j <= n; j++) {
            float p, ds;
            step1_probability(p, ds, a, x, j * b.NKV + kv, n - first, j - first);
            add_scaled(a.dq + x * b.HS, ds * b.scale, a.k + (j * b.NKV + kv) * b.HS, b.HS, j == first);
        }
    }
}

// resident: attention_backward_step1_dkv_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 4) attention_backward_step1_dkv_kernel(BackwardView a) {
    const Batch& b = a.batch;
    const int64_t group = b.NH / b.NKV;
    for (int64_t x = grid_first(); x < b.start[b.count] * b.NKV; x += grid_stride()) {
        const int64_t n = x / b.NKV, s = sequence_of(b, n), first = b.start[s], head = x % b.NKV * group;
        for (int64_t h = head; h < head + group; h++) {
            for (int64_t i = n; i < b.start[s + 1]; i++) {
                const int64_t query = i * b.NH + h;
                const bool begins = h == head && i == n;
                float p, ds;
                step1_probability(p, ds, a, query, x, i - first, n - first);
                add_scaled(a.dv + x * b.HS, p, a.dout + query * b.HS, b.HS, begins);
                add_scaled(a.dk + x * b.HS, ds * b.scale, a.q + query * b.HS, b.HS, begins);
            }
        }
    }
}

// ---- 2 to 5: see attention_backward.cu ----------------------------------------------------------------------------------

const CudaAttentionStep kCudaAttentionBackwardSteps[kCudaAttentionBackwardStepCount] = {
    {"1 a thread a row", false},
    {"2 tiles, two walks", false},      // attention_dkv_f32, attention_dq_f32: the present ones of F32
    {"3 tensor cores", true},           // attention_dkv_bf16, attention_dq_bf16: where ds has no room
    {"4 ds kept, five products", true}, // attention_dkv_bf16 with 16 keys a warp, attention_dq_product
    {"5 32 keys a warp", true},         // the same with 32, heads of up to 64: the present ones of BF16
};

void CudaKernels::attention_backward_step(int step, float* dq, float* dk, float* dv, const float* dout, const float* q,
                                          const float* k, const float* v, const float* out, const float* lse, Sequences seq,
                                          int64_t NH, int64_t NKV, int64_t HS, int64_t ds_bytes) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    const BackwardView view = backward_view(dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS);
    const int64_t rows = seq.count * seq.max_length; // at most
    switch (step) {
    case 1:
        launch("attention_backward_step1_dq", attention_backward_step1_dq_kernel, grid_of(rows * NH), stream_, view);
        launch("attention_backward_step1_dkv", attention_backward_step1_dkv_kernel, grid_of(rows * NKV), stream_, view);
        break;
    case 2:
        backward_in_walks(view, seq.max_length, false, stream_);
        break;
    case 3:
        backward_in_walks(view, seq.max_length, true, stream_);
        break;
    case 4:
    case 5:
        backward_in_five(view, seq.max_length, step == 5, ds_bytes);
        break;
    default:
        CHECK(false, "there is no step %d of attention_backward", step);
    }
}

void run_cuda_attention_backward_step(Kernels& cuda, int step, float* dq, float* dk, float* dv, const float* dout, const float* q,
                                      const float* k, const float* v, const float* out, const float* lse, Sequences seq,
                                      int64_t NH, int64_t NKV, int64_t HS, int64_t ds_bytes) {
    static_cast<CudaKernels&>(cuda).attention_backward_step(step, dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS,
                                                            ds_bytes);
}

} // namespace skintern
