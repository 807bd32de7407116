// test_cuda_attention.cpp — what only the CUDA backend has of attention: its numbered steps, and a limit of its own.
// Everything else is tests/test_attention.cpp with SKINTERN_TEST_DEVICE=cuda.
#include "attention_cases.h"
#include "cuda/cuda.h"
#include "cuda_tests.h"
#include "dequantize.h"
#include "kernel_backends.h"
#include "test_support.h"

using namespace skintern;
using namespace skintern::kernel_tests;

namespace {

// {dq, dk, dv} of a step, from out and lse of the reference.
Outputs run_backward_step(Kernels& cuda, int step, const AttentionCase& c, const AttentionInput& x, const Outputs& forward,
                          int64_t ds_bytes = kDsBytes) {
    Packed packed(cuda, c.lengths);
    Reals q(cuda, x.q), k(cuda, x.k), v(cuda, x.v), dout(cuda, x.dout), out(cuda, forward[0]), lse(cuda, forward[1]);
    Reals dq(cuda, nans(x.q.size())), dk(cuda, nans(x.k.size())), dv(cuda, nans(x.v.size()));
    run_cuda_attention_backward_step(cuda, step, dq.data(), dk.data(), dv.data(), dout.data(), q.data(), k.data(), v.data(),
                                     out.data(), lse.data(), packed.seq, c.NH, c.NKV, c.HS, ds_bytes);
    return {dq.read(), dk.read(), dv.read()};
}

// As in test_attention.cpp: how far {dq, dk, dv} may be off in F32, and of operands rounded to BF16.
Outputs backward_tolerance(const AttentionCase& c, const AttentionInput& x, const Outputs& expected, bool rounds) {
    Outputs tolerance = backward_magnitudes(c, x, expected[0], expected[1]);
    const double d = 2.0 * probability_roundings(c) + 2.0 * double(c.HS) + double(c.longest()) * double(c.NH / c.NKV + 1) + 16.0;
    const Outputs bound = rounding_bounds(c, x, expected[1], 0x1.0p-8);
    for (size_t o = 0; o < tolerance.size(); o++) {
        tolerance[o] = rounds ? scaled(1.001, bound[2 + o]) : scaled(d * kU, tolerance[o]);
        for (real& t : tolerance[o]) {
            t += real(rounds ? 16.0 * kU : 0.0);
        }
    }
    return tolerance;
}

} // namespace

TEST_CASE("every step towards the CUDA attention agrees with the reference", "[kernels][cuda]") {
    if (!on_cuda("every step towards the CUDA attention agrees with the reference")) {
        return;
    }
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

TEST_CASE("every step towards the CUDA attention's backward pass agrees with the reference", "[kernels][cuda]") {
    if (!on_cuda("every step towards the CUDA attention's backward pass agrees with the reference")) {
        return;
    }
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(false);
    for (const AttentionCase& c : kAttentionCases) {
        const AttentionInput x(c, Rng(7, "attention"));
        const Outputs expected = run_attention(reference(), c, x);
        const Outputs tolerance[] = {backward_tolerance(c, x, expected, false), backward_tolerance(c, x, expected, true)};
        for (int step = 1; step <= kCudaAttentionBackwardStepCount; step++) {
            INFO(c.text() << ", step " << kCudaAttentionBackwardSteps[step - 1].name);
            const Outputs got = run_backward_step(*cuda, step, c, x, expected);
            for (size_t o = 0; o < got.size(); o++) {
                INFO("output " << o);
                REQUIRE(mismatch(got[o], expected[2 + o], tolerance[kCudaAttentionBackwardSteps[step - 1].rounds][o]) == "");
            }
        }
    }
}

TEST_CASE("CUDA attention's backward pass has the same bits in however many launches ds has room for", "[kernels][cuda]") {
    if (!on_cuda("CUDA attention's backward pass has the same bits in however many launches ds has room for")) {
        return;
    }
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(true);
    const AttentionCase cases[] = {{{150, 3, 0, 64, 129, 33}, 6, 2, 20}, {{65, 1, 130}, 6, 3, 72}, {{33, 257}, 2, 1, 64}};
    for (const AttentionCase& c : cases) {
        const AttentionInput x(c, Rng(15, "launches"));
        const Outputs expected = run_attention(reference(), c, x), tolerance = backward_tolerance(c, x, expected, true);
        const int64_t blocks = (c.longest() + 15) / 16, head = 512 * c.NH / c.NKV * blocks * (blocks + 1) / 2;
        // What is not written must not be read: it is NaN, left by a call in which every sequence is as long as the longest.
        const AttentionCase longer = {std::vector<int64_t>(c.lengths.size(), c.longest()), c.NH, c.NKV, c.HS};
        AttentionInput nothing(longer, Rng(16, "nothing"));
        nothing.q = nans(nothing.q.size());
        run_backward_step(*cuda, 4, longer, nothing, {nothing.q, nans(longer.rows() * c.NH)});
        Outputs first;
        for (const int step : {4, 5}) {
            // Seven products; a head at a time; the heads of a sequence, the last launch with fewer; all at once.
            for (const int64_t bytes : {head - 1, head, 2 * head, 3 * head, 7 * head, kDsBytes}) {
                INFO(c.text() << ", step " << step << ", " << bytes << " bytes of ds");
                const Outputs got = run_backward_step(*cuda, step, c, x, expected, bytes);
                for (size_t o = 0; o < got.size(); o++) {
                    INFO("output " << o);
                    REQUIRE(mismatch(got[o], expected[2 + o], tolerance[o]) == "");
                }
                if (bytes >= head) {
                    first = first.empty() ? got : first;
                    REQUIRE(same_bits(got, first));
                    const AlignedTensors aligned;
                    REQUIRE(same_bits(run_backward_step(*cuda, step, c, x, expected, bytes), first));
                }
            }
        }
    }
}

TEST_CASE("every step towards the CUDA attention over a cache agrees with the reference", "[kernels][cuda]") {
    if (!on_cuda("every step towards the CUDA attention over a cache agrees with the reference")) {
        return;
    }
    // 1 to 8 new rows over 1 to 300 keys, caches of either type in slots of any order.
    constexpr int64_t kCapacity = 300;
    const std::vector<int64_t> rows = {1, 3, 0, 8};
    const std::vector<int32_t> length = {kCapacity, 3, 0, 131}, slot = {3, 0, 2, 1};
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(false);
    for (const AttentionCase& c : {AttentionCase{{kCapacity}, 1, 1, 1}, AttentionCase{{kCapacity}, 9, 3, 64},
                                   AttentionCase{{kCapacity}, 5, 1, 33}, AttentionCase{{kCapacity}, 2, 2, 128}}) {
        Rng rng(18, "cached steps");
        const Vector q = random_vector(rng, 12 * c.NH * c.HS);
        Vector keys = random_vector(rng, 4 * kCapacity * c.NKV * c.HS), values = random_vector(rng, keys.size());
        std::vector<uint16_t> k16(keys.size()), v16(keys.size());
        for (const WeightType type : {WeightType::f32, WeightType::bf16}) {
            if (type == WeightType::bf16) { // the reference reads what they have been rounded to
                std::transform(keys.begin(), keys.end(), k16.begin(), rounded_bf16_bits);
                std::transform(values.begin(), values.end(), v16.begin(), rounded_bf16_bits);
                std::transform(keys.begin(), keys.end(), keys.begin(), round_to_bf16);
                std::transform(values.begin(), values.end(), values.begin(), round_to_bf16);
            }
            const auto run = [&](Kernels& kernels, int step) {
                Packed packed(kernels, rows);
                Reals q_(kernels, q), k_(kernels, keys), v_(kernels, values), out(kernels, nans(q.size()));
                Buffer<uint16_t> k_halves(kernels, k16), v_halves(kernels, v16);
                Ints slot_(kernels, slot), length_(kernels, length);
                const bool halves = step > 0 && type == WeightType::bf16;
                const Matrix k = halves ? Matrix{k_halves.data(), type} : Matrix(k_.data());
                const Matrix v = halves ? Matrix{v_halves.data(), type} : Matrix(v_.data());
                if (step == 0) {
                    kernels.attention_cached(out.data(), q_.data(), k, v, slot_.data(), length_.data(), packed.seq, kCapacity,
                                             c.NH, c.NKV, c.HS);
                } else {
                    run_cuda_attention_cached_step(kernels, step, out.data(), q_.data(), k, v, slot_.data(), length_.data(),
                                                   packed.seq, kCapacity, c.NH, c.NKV, c.HS);
                }
                return out.read();
            };
            const Vector expected = run(reference(), 0);
            for (int step = 1; step <= kCudaAttentionCachedStepCount; step++) {
                INFO(c.text() << ", " << weight_format(type).name << ", step " << kCudaAttentionCachedSteps[step - 1].name);
                REQUIRE(mismatch(run(*cuda, step), expected,
                                 {real((probability_roundings(c) + double(kCapacity)) * kU)}) == "");
            }
        }
    }
}

TEST_CASE("CUDA attention says which heads are too large for it", "[kernels][cuda]") {
    if (!on_cuda("CUDA attention says which heads are too large for it")) {
        return;
    }
    const std::unique_ptr<Kernels> cuda = make_cuda_kernels(false);
    const AttentionCase c = {{3}, 1, 1, 129};
    const AttentionInput x(c, Rng(7, "attention"));
    REQUIRE_THROWS_WITH(run_attention(*cuda, c, x), Contains("heads of 129 channels"));
}
