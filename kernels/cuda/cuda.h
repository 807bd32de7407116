// cuda.h — the CUDA backend as the rest of the program sees it: a factory, the roofs of the device, and the numbered
// steps of its matrix product and of attention, with no header of CUDA behind them.
#pragma once

#include <memory>

#include "kernels.h"

namespace skintern {

// The kernels of this folder on the first GPU that the process sees (CUDA_VISIBLE_DEVICES). Throws Error where there is no
// driver, no GPU, or one of a compute capability below 8.0. `bf16` as dtype of KernelOptions.
std::unique_ptr<Kernels> make_cuda_kernels(bool bf16);

Roofs measure_cuda_roofs();

// A numbered version of out(M,N) = a(M,K) b(N,K)^T on a GPU: product_steps.cu. a and b are of type bf16 where `bf16` says so,
// else f32; `cuda` is of make_cuda_kernels(bf16), and its memory holds all three.
struct CudaMatmulStep {
    const char* name;
    bool bf16;
    void (*run)(Kernels& cuda,
                float* out, // (M,N) =
                Matrix a,   // (M,K)
                Matrix b,   // (N,K)
                int64_t M, int64_t N, int64_t K);
    bool few = false; // for at most kFewRows rows
};
constexpr int kCudaMatmulStepCount = 10;
extern const CudaMatmulStep kCudaMatmulSteps[kCudaMatmulStepCount];

// A numbered version of attention_forward (attention_steps.cu), from the first to the present one; for tests, benchmarks and
// their readers.
struct CudaAttentionStep {
    const char* name;
    bool rounds; // the operands of its products, to BF16
};
constexpr int kCudaAttentionStepCount = 6;
extern const CudaAttentionStep kCudaAttentionSteps[kCudaAttentionStepCount];

// Runs step 1 .. kCudaAttentionStepCount on kernels of make_cuda_kernels. Arguments as attention_forward.
void run_cuda_attention_step(Kernels& cuda, int step, float* out, float* lse, const float* q, const float* k, const float* v,
                             Sequences seq, int64_t NH, int64_t NKV, int64_t HS);

// The same of attention_backward (attention_backward_steps.cu). Steps 4 and 5 keep ds in at most `ds_bytes` of scratch.
constexpr int kCudaAttentionBackwardStepCount = 5;
extern const CudaAttentionStep kCudaAttentionBackwardSteps[kCudaAttentionBackwardStepCount];
constexpr int64_t kDsBytes = int64_t{512} << 20;

void run_cuda_attention_backward_step(Kernels& cuda, int step, float* dq, float* dk, float* dv, const float* dout, const float* q,
                                      const float* k, const float* v, const float* out, const float* lse, Sequences seq,
                                      int64_t NH, int64_t NKV, int64_t HS, int64_t ds_bytes = kDsBytes);

// The same of attention_cached (attention_cached_steps.cu), for up to kFewRows new rows of a sequence.
constexpr int kCudaAttentionCachedStepCount = 3;
extern const CudaAttentionStep kCudaAttentionCachedSteps[kCudaAttentionCachedStepCount];

void run_cuda_attention_cached_step(Kernels& cuda, int step, float* out, const float* q, Matrix k_cache, Matrix v_cache,
                                    const int32_t* slot, const int32_t* length, Sequences seq, int64_t capacity, int64_t NH,
                                    int64_t NKV, int64_t HS);

} // namespace skintern
