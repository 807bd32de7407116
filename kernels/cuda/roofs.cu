// roofs.cu — what this GPU could do at most: multiply-adds in registers, and bytes from memory. Everything else is told as a
// share of these.
#include <algorithm>

#include "cuda.cuh"
#include "cuda.h"
#include "ptx.cuh"

namespace skintern {

namespace {

constexpr int kSpinThreads = 256;
constexpr int kChains = 8; // sums that do not wait for each other

} // namespace

// Eight chains of multiply-adds a thread; `sink` is written only where a sum is what no sum is.
// resident: spin_f32_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void __launch_bounds__(kSpinThreads, 4) spin_f32_kernel(float* sink, int rounds, float factor) {
    float sum[kChains];
    for (int i = 0; i < kChains; i++) {
        sum[i] = static_cast<float>(threadIdx.x + static_cast<unsigned>(i));
    }
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < kChains; i++) {
            sum[i] = sum[i] * factor + 1.0f;
        }
    }
    float all = 0;
    for (int i = 0; i < kChains; i++) {
        all += sum[i];
    }
    if (all == -1.0f) {
        sink[0] = all;
    }
}

// Eight chains of m16n8k16 a warp: 4096 operations each.
// resident: spin_bf16_kernel 256 threads, 4 blocks, 0 bytes shared
// uses: spin_bf16_kernel mma.sync
__global__ void __launch_bounds__(kSpinThreads, 4) spin_bf16_kernel(float* sink, int rounds) {
    const uint32_t one = 0x3f803f80u; // two BF16 numbers 1
    const uint32_t a[4] = {one, one, one, one}, b[2] = {one, one};
    float sum[kChains][4] = {};
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < kChains; i++) {
            mma_m16n8k16(sum[i], a, b);
        }
    }
    float all = 0;
    for (int i = 0; i < kChains; i++) {
        all += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
    }
    if (all == -1.0f) {
        sink[0] = all;
    }
}

// resident: read_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 8) read_kernel(float* sink, const float* data, int64_t n) {
    float all = 0;
    for (int64_t i = grid_first() * 4; i + 3 < n; i += grid_stride() * 4) {
        const Numbers<4> x = load<4>(data, i);
        all += x.v[0] + x.v[1] + x.v[2] + x.v[3];
    }
    if (all == -1.0f) {
        sink[0] = all;
    }
}

// The least of several times of `work`, in seconds.
template <class Work>
static double best_seconds(cudaStream_t stream, const Work& work) {
    constexpr int kRuns = 8;
    cudaEvent_t begin, end;
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
    double best = 1e30;
    for (int run = 0; run <= kRuns; run++) {
        CUDA_CHECK(cudaEventRecord(begin, stream));
        work();
        CUDA_CHECK(cudaEventRecord(end, stream));
        CUDA_CHECK(cudaEventSynchronize(end));
        float milliseconds = 0;
        CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
        best = run > 0 ? std::min(best, static_cast<double>(milliseconds) * 1e-3) : best; // the first warms up
    }
    CUDA_CHECK(cudaEventDestroy(begin));
    CUDA_CHECK(cudaEventDestroy(end));
    return std::max(best, 1e-9);
}

Roofs CudaKernels::roofs() {
    constexpr int64_t kBytes = int64_t{1} << 30; // more than the caches hold
    constexpr int kRounds = 20000;
    float* memory = static_cast<float*>(alloc(kBytes));
    const Grid all = {dim3(static_cast<unsigned>(4 * processors_)), kSpinThreads};
    const double threads = static_cast<double>(all.blocks.x) * kSpinThreads;
    const double f32 = best_seconds(stream_, [&] { launch("spin_f32", spin_f32_kernel, all, stream_, memory, kRounds, 0.5f); });
    const double bf16 = best_seconds(stream_, [&] { launch("spin_bf16", spin_bf16_kernel, all, stream_, memory, kRounds); });
    const Grid readers = {dim3(static_cast<unsigned>(8 * processors_)), 256};
    const double read = best_seconds(stream_, [&] {
        launch("read", read_kernel, readers, stream_, memory, memory, kBytes / static_cast<int64_t>(sizeof(float)));
    });
    free(memory);
    return {threads * kRounds * kChains * 2 / f32, threads / kWarpLanes * kRounds * kChains * 4096 / bf16,
            static_cast<double>(kBytes) / read};
}

Roofs measure_cuda_roofs() { return CudaKernels(false).roofs(); }

} // namespace skintern
