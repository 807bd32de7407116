// cuda.h — the CUDA backend as the rest of the program sees it: a factory, with no header of CUDA behind it.
#pragma once

#include <memory>

#include "kernels.h"

namespace skintern {

// The kernels of this folder on the first GPU that the process sees (CUDA_VISIBLE_DEVICES). Throws Error where there is no
// driver, no GPU, or one of a compute capability below 8.0. `bf16` as dtype of KernelOptions.
std::unique_ptr<Kernels> make_cuda_kernels(bool bf16);

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

} // namespace skintern
