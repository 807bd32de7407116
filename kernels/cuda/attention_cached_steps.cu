// attention_cached_steps.cu — from the definition of attention over a cache to the kernels of attention_cached.cu, one idea a step.
//
// Every step is correct at every shape, and tested; no model runs through step 1. docs/kernels.md ("Decoding") counts the bytes
// that each reads.
#include "attention.cuh"
#include "cuda.h"

namespace skintern {

// ---- 1: a warp a row and query head -------------------------------------------------------------------------------------

// 1. The definition, a key at a time: lane l has the channels l, l + 32, ..., and largest, sum and output of the row follow
// (Milakov & Gimelshein 2018). Each query head reads the keys for itself, and waits for each.
// resident: attention_cached_step1_kernel 128 threads, 8 blocks, 0 bytes shared
template <class T>
__global__ void __launch_bounds__(kAttentionThreads, 8) attention_cached_step1_kernel(AttentionView<T> a) {
    constexpr int kMine = kMaxHeadSize / kWarpLanes;
    const Batch& b = a.batch;
    for (int64_t i = grid_first() / kWarpLanes; i < b.start[b.count] * b.NH; i += grid_stride() / kWarpLanes) {
        const int64_t n = i / b.NH, s = sequence_of(b, n), keys = a.length[s] - (b.start[s + 1] - n) + 1;
        const int64_t stride = b.NKV * b.HS;
        const int64_t at = a.slot[s] * a.capacity * stride + i % b.NH / (b.NH / b.NKV) * b.HS;
        float o[kMine] = {}, largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < keys; j++) {
            float score = 0;
            for (int64_t c = lane_of_warp(); c < b.HS; c += kWarpLanes) {
                score += a.q[i * b.HS + c] * get(a.k, at + j * stride + c);
            }
            score = warp_reduce(score, Sum()) * b.scale;
            const float higher = Max()(largest, score), shrink = expf(largest - higher), p = expf(score - higher);
            largest = higher;
            sum = sum * shrink + p;
#pragma unroll
            for (int x = 0; x < kMine; x++) {
                const int64_t c = lane_of_warp() + x * kWarpLanes;
                o[x] = o[x] * shrink + (c < b.HS ? p * get(a.v, at + j * stride + c) : 0.0f);
            }
        }
#pragma unroll
        for (int x = 0; x < kMine; x++) {
            const int64_t c = lane_of_warp() + x * kWarpLanes;
            if (c < b.HS) {
                a.out[i * b.HS + c] = o[x] / sum;
            }
        }
    }
}

// ---- 2 and 3: see attention_cached.cu -----------------------------------------------------------------------------------

const CudaAttentionStep kCudaAttentionCachedSteps[kCudaAttentionCachedStepCount] = {
    {"1 a warp a row and query head", false},
    {"2 keys once for all their query heads", false}, // attention_decode, with one part
    {"3 keys split over blocks", false},              // attention_decode and attention_combine: the present ones
};

void run_cuda_attention_cached_step(Kernels& cuda, int step, float* out, const float* q, Matrix k_cache, Matrix v_cache,
                                    const int32_t* slot, const int32_t* length, Sequences seq, int64_t capacity, int64_t NH,
                                    int64_t NKV, int64_t HS) {
    CHECK(seq.max_length <= kFewRows, "the steps of decoding are for up to %lld new rows, not %lld",
          static_cast<long long>(kFewRows), static_cast<long long>(seq.max_length));
    CudaKernels& kernels = static_cast<CudaKernels&>(cuda);
    if (step == 3) {
        kernels.attention_cached(out, q, k_cache, v_cache, slot, length, seq, capacity, NH, NKV, HS);
        return;
    }
    CHECK(step == 1 || step == 2, "there is no step %d of attention_cached", step);
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    with_type(k_cache, [&](auto* k) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(k)>>;
        const T* v = static_cast<const T*>(v_cache.data);
        const AttentionView<T> view = {batch_of(seq, NH, NKV, HS, 1, kFewRows), out, nullptr, q, k, v, slot, length, capacity};
        if (step == 1) {
            CHECK(HS <= kMaxHeadSize, "--device cuda: heads of %lld channels; there are attention kernels for up to %d",
                  static_cast<long long>(HS), kMaxHeadSize);
            const int64_t rows = seq.count * seq.max_length * NH; // at most
            launch("attention_cached_step1", attention_cached_step1_kernel<T>, grid_of(rows * kWarpLanes, kAttentionThreads),
                   kernels.stream(), view);
        } else {
            attend_few_rows(view, seq.max_length, 1, nullptr, kernels.stream());
        }
    });
}

} // namespace skintern
