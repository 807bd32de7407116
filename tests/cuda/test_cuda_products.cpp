// test_cuda_products.cpp — the numbered steps of the CUDA backend's matrix products. Everything else is tests/test_kernels.cpp with
// SKINTERN_TEST_DEVICE=cuda.
#include <algorithm>

#include "cuda/cuda.h"
#include "cuda_tests.h"
#include "dequantize.h"
#include "kernel_backends.h"

using namespace skintern;
using namespace skintern::kernel_tests;

TEST_CASE("every step towards the matmul of CUDA agrees with the reference", "[kernels][cuda]") {
    if (!on_cuda("the steps towards the matmul of CUDA")) {
        return;
    }
    struct Shape {
        int64_t M, N, K;
    };
    const std::vector<Shape> shapes = {{0, 5, 3},    {5, 0, 3},    {3, 5, 0},      {1, 1, 1},     {1, 33, 5},   {3, 5, 17},
                                       {5, 3, 33},   {17, 1, 3},   {33, 17, 70},   {64, 64, 64},  {70, 100, 65}, {65, 33, 200},
                                       {9, 130, 31}, {130, 9, 32}, {129, 140, 96}, {64, 128, 264},
                                       {8, 33, 65},  {7, 5, 300}};
    for (const Shape& s : shapes) {
        Rng rng(3, "steps of CUDA");
        Vector a = random_vector(rng, s.M * s.K), b = random_vector(rng, s.N * s.K);
        std::vector<uint16_t> a_halves(a.size()), b_halves(b.size()); // rounded once, so that both types hold the same numbers
        std::transform(a.begin(), a.end(), a_halves.begin(), rounded_bf16_bits);
        std::transform(b.begin(), b.end(), b_halves.begin(), rounded_bf16_bits);
        std::transform(a.begin(), a.end(), a.begin(), round_to_bf16);
        std::transform(b.begin(), b.end(), b.begin(), round_to_bf16);
        const Vector a_abs = absolute(a), b_abs = absolute(b);
        Vector want(static_cast<size_t>(s.M * s.N)), magnitude(want.size());
        reference().matmul(Layout::nt, want.data(), a.data(), b.data(), s.M, s.N, s.K, 1, false);
        reference().matmul(Layout::nt, magnitude.data(), a_abs.data(), b_abs.data(), s.M, s.N, s.K, 1, false);
        const Vector tolerance = scaled((double(s.K) + 3.0) * kU, magnitude);
        const auto run = [&](const CudaMatmulStep& step) {
            Kernels& cuda = *(step.bf16 ? bf16_backends() : backends())[0].one;
            Reals out(cuda, nans(s.M * s.N)), a_(cuda, a), b_(cuda, b);
            Buffer<uint16_t> a16(cuda, a_halves), b16(cuda, b_halves);
            const Matrix left = step.bf16 ? Matrix(a16.data(), WeightType::bf16) : Matrix(a_.data());
            const Matrix right = step.bf16 ? Matrix(b16.data(), WeightType::bf16) : Matrix(b_.data());
            step.run(cuda, out.data(), left, right, s.M, s.N, s.K);
            return out.read();
        };
        for (int i = 0; i < kCudaMatmulStepCount; i++) {
            const CudaMatmulStep& step = kCudaMatmulSteps[i];
            if (step.few && s.M > kFewRows) {
                continue;
            }
            INFO(format("step %s, M %d, N %d, K %d", step.name, int(s.M), int(s.N), int(s.K)));
            REQUIRE(mismatch(run(step), want, tolerance) == "");
            const AlignedTensors now;
            REQUIRE(mismatch(run(step), want, tolerance) == "");
        }
    }
}
