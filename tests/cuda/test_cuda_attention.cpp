// test_cuda_attention.cpp — what only the CUDA backend has of attention: its numbered steps, and a limit of its own.
// Everything else is tests/test_attention.cpp with SKINTERN_TEST_DEVICE=cuda.
#include "attention_cases.h"
#include "cuda/cuda.h"
#include "kernel_backends.h"
#include "test_support.h"

using namespace skintern;
using namespace skintern::kernel_tests;

TEST_CASE("every step towards the CUDA attention agrees with the reference", "[kernels][cuda]") {
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(false);
    for (const AttentionCase& c : kAttentionCases) {
        const AttentionInput x(c, Rng(7, "attention"));
        const Outputs expected = run_attention(reference(), c, x);
        const Outputs bound = rounding_bounds(c, x, expected[1], 0x1.0p-8);
        const double p = probability_roundings(c);
        for (int step = 1; step <= kCudaAttentionStepCount; step++) {
            INFO(c.text() << ", step " << kCudaAttentionSteps[step - 1].name);
            Packed packed(*cuda, c.lengths);
            Reals q(*cuda, x.q), k(*cuda, x.k), v(*cuda, x.v), out(*cuda, nans(x.q.size())),
                lse(*cuda, nans(expected[1].size()));
            run_cuda_attention_step(*cuda, step, out.data(), lse.data(), q.data(), k.data(), v.data(), packed.seq, c.NH, c.NKV,
                                    c.HS);
            // As in test_attention.cpp: of F32, and of operands rounded to BF16.
            Vector out_tolerance = {real((p + double(c.longest())) * kU)}, lse_tolerance = {real(p * kU)};
            if (kCudaAttentionSteps[step - 1].rounds) {
                out_tolerance = scaled(1.001, bound[0]);
                lse_tolerance = scaled(1.001, bound[1]);
                for (Vector* tolerance : {&out_tolerance, &lse_tolerance}) {
                    for (real& t : *tolerance) {
                        t += real(16.0 * kU);
                    }
                }
            }
            REQUIRE(mismatch(out.read(), expected[0], out_tolerance) == "");
            REQUIRE(mismatch(lse.read(), expected[1], lse_tolerance) == "");
        }
    }
}

TEST_CASE("CUDA attention says which heads are too large for it", "[kernels][cuda]") {
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(false);
    const AttentionCase c = {{3}, 1, 1, 129};
    const AttentionInput x(c, Rng(7, "attention"));
    REQUIRE_THROWS_WITH(run_attention(*cuda, c, x), Contains("heads of 129 channels"));
}
