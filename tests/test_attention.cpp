// test_attention.cpp — attention of every fast backend against the textbook loops, and what must hold of it by itself.
// Tolerances: kernel_backends.h.
#include <algorithm>
#include <array>

#include "attention_cases.h"
#include "dequantize.h"
#include "kernel_backends.h"

using namespace skintern;
using namespace skintern::kernel_tests;

namespace {

// for_each_backend, and those of dtype bf16.
void for_each_dtype(const std::function<void(Kernels&)>& test) {
    for_each_backend(test);
    for (const Backend& backend : bf16_backends()) {
        INFO(backend.label);
        test(*backend.two);
    }
}

} // namespace

TEST_CASE("attention agrees with the reference, forward and backward", "[kernels]") {
    for (const AttentionCase& c : kAttentionCases) {
        INFO(c.text());
        const AttentionInput x(c, Rng(7, "attention"));
        const Outputs expected = run_attention(reference(), c, x);
        const double p = probability_roundings(c);
        const double T = double(c.longest());
        // out is a mean of values up to 1, a sum of T terms. A gradient has the roundings of p, those of out
        // inside dout.out, two sums over HS and one over T rows of each of the heads that share a key.
        const double d = 2.0 * p + 2.0 * double(c.HS) + T * double(c.NH / c.NKV + 1) + 16.0;
        const Outputs magnitude = backward_magnitudes(c, x, expected[0], expected[1]);
        require_like_reference([&](Kernels& kernels) { return run_attention(kernels, c, x); },
                               {{real((p + T) * kU)},
                                {real(p * kU)},
                                scaled(d * kU, magnitude[0]),
                                scaled(d * kU, magnitude[1]),
                                scaled(d * kU, magnitude[2])});
    }
}

TEST_CASE("attention of dtype bf16 is off by no more than its rounded operands, and always the same bits", "[kernels]") {
    // What F32 adds is below 1/1000 of that: 2^-24 with sums of a few hundred terms, against 2^-8.
    for (const AttentionCase& c : kAttentionCases) {
        INFO(c.text());
        const AttentionInput x(c, Rng(7, "attention"));
        const Outputs expected = run_attention(reference(), c, x);
        const Outputs bound = rounding_bounds(c, x, expected[1], 0x1.0p-8);
        for (const Backend& backend : bf16_backends()) {
            INFO(backend.label);
            const Outputs got = run_attention(*backend.one, c, x);
            for (size_t o = 0; o < expected.size(); o++) {
                INFO("output " << o);
                Vector tolerance = scaled(1.001, bound[o]);
                for (real& t : tolerance) {
                    t += real(16.0 * kU); // where nothing is rounded
                }
                REQUIRE(mismatch(got[o], expected[o], tolerance) == "");
            }
            REQUIRE(same_bits(run_attention(*backend.one, c, x), got)); // again
            REQUIRE(same_bits(run_attention(*backend.two, c, x), got)); // by two threads
        }
    }
}

TEST_CASE("dtype bf16 rounds the operands of attention, but not those of few rows", "[kernels]") {
    // All scores are 0 and all values 257, which lies between 256 and 258 and is rounded to the even one.
    for (const int64_t rows : {kFewRows, kFewRows + 1}) {
        const AttentionCase c = {{rows}, 1, 1, 1};
        AttentionInput x(c, Rng(14, "rounding"));
        std::fill(x.k.begin(), x.k.end(), real(0));
        std::fill(x.v.begin(), x.v.end(), real(257));
        for (const Backend& backend : bf16_backends()) {
            INFO(backend.label);
            const Vector out = run_attention(*backend.one, c, x)[0];
            REQUIRE(mismatch(out, Vector(rows, rows > kFewRows ? 256 : 257), {1e-4f}) == "");
        }
    }
}

TEST_CASE("packed attention is each sequence by itself, bit for bit", "[kernels]") {
    for (const AttentionCase& c : kAttentionCases) {
        INFO(c.text());
        const AttentionInput x(c, Rng(8, "packed"));
        const std::vector<int64_t> start = Packed::offsets(c.lengths);
        for_each_dtype([&](Kernels& kernels) {
            const Outputs packed = run_attention(kernels, c, x);
            const std::vector<int64_t> width = {c.NH * c.HS, c.NH, c.NH * c.HS, c.NKV * c.HS, c.NKV * c.HS};
            for (size_t s = 0; s < c.lengths.size(); s++) {
                const AttentionCase alone = {{c.lengths[s]}, c.NH, c.NKV, c.HS};
                const Outputs single = run_attention(kernels, alone, x.rows(c, start[s], start[s + 1]));
                for (size_t o = 0; o < width.size(); o++) {
                    INFO("sequence " << s << ", output " << o);
                    REQUIRE(
                        same_bits(single[o], slice(packed[o], start[s] * width[o], start[s + 1] * width[o])));
                }
            }
        });
    }
}

TEST_CASE("attention is causal: later rows and other sequences change no bit of a row", "[kernels]") {
    const AttentionCase c = {{70, 5}, 4, 2, 16};
    const AttentionInput x(c, Rng(9, "causal"));
    for (const int64_t seen : {1, 3, 17, 33, 64, 69}) {
        AttentionInput changed = x;
        for (size_t i = seen * c.NKV * c.HS; i < x.k.size(); i++) {
            changed.k[i] = 30 - x.k[i];
            changed.v[i] = 1000 + x.v[i];
        }
        for_each_dtype([&](Kernels& kernels) {
            const Vector before = run_attention(kernels, c, x)[0];
            const Vector after = run_attention(kernels, c, changed)[0];
            const int64_t n = seen * c.NH * c.HS;
            REQUIRE(same_bits(slice(before, 0, n), slice(after, 0, n)));
            REQUIRE(!same_bits(slice(before, n, n + c.NH * c.HS), slice(after, n, n + c.NH * c.HS)));
        });
    }
}

// ---- key/value cache --------------------------------------------------------------------------------------

namespace {

constexpr int64_t kSlots = 3, kCapacity = 181;

// attention_cached of two sequences that are fed in pieces, in the order of the rows of `c`.
Vector run_cached(Kernels& kernels, const AttentionCase& c, const AttentionInput& x, WeightType type) {
    const std::vector<int32_t> slot = {2, 0}; // slot 1 is never used
    const std::vector<std::vector<int64_t>> pieces = {{7, 3}, {1, 5}, {0, 1}, {1, 1}, {168, 0}, {1, 1}};
    const std::vector<int64_t> start = Packed::offsets(c.lengths);
    // What is not in the cache yet must not be read: it is NaN, which takes 0xffff in either type.
    const int64_t bytes = row_bytes(type, kSlots * kCapacity * c.NKV * c.HS);
    const std::vector<uint32_t> nothing(static_cast<size_t>(bytes + 3) / 4, 0xffffffff); // aligned as floats are
    Buffer<uint32_t> k_cache(kernels, nothing), v_cache(kernels, nothing);
    Ints slot_(kernels, slot);
    std::vector<int32_t> length = {0, 0};
    Outputs out(2); // of each sequence
    for (const std::vector<int64_t>& n : pieces) {
        Vector q, k, v;
        std::vector<int32_t> rows;
        for (size_t s = 0; s < 2; s++) {
            const AttentionInput piece = x.rows(c, start[s] + length[s], start[s] + length[s] + n[s]);
            q.insert(q.end(), piece.q.begin(), piece.q.end());
            k.insert(k.end(), piece.k.begin(), piece.k.end());
            v.insert(v.end(), piece.v.begin(), piece.v.end());
            for (int64_t i = 0; i < n[s]; i++) {
                rows.push_back(int32_t(slot[s] * kCapacity + length[s]++));
            }
        }
        Reals q_(kernels, q), k_(kernels, k), v_(kernels, v), out_(kernels, nans(q.size()));
        Ints rows_(kernels, rows), length_(kernels, length);
        Packed packed(kernels, n);
        kernels.scatter_rows(k_cache.data(), type, k_.data(), rows_.data(), rows.size(), c.NKV * c.HS);
        kernels.scatter_rows(v_cache.data(), type, v_.data(), rows_.data(), rows.size(), c.NKV * c.HS);
        kernels.attention_cached(out_.data(), q_.data(), {k_cache.data(), type}, {v_cache.data(), type}, slot_.data(),
                                 length_.data(), packed.seq, kCapacity, c.NH, c.NKV, c.HS);
        const Vector got = out_.read();
        out[0].insert(out[0].end(), got.begin(), got.begin() + n[0] * c.NH * c.HS);
        out[1].insert(out[1].end(), got.begin() + n[0] * c.NH * c.HS, got.end());
    }
    out[0].insert(out[0].end(), out[1].begin(), out[1].end());
    return out[0];
}

} // namespace

TEST_CASE("attention_cached over a prefix fed in pieces is attention_forward", "[kernels]") {
    // With a cache of BF16 it is that of rounded keys and values: literally the same numbers, so the tolerance of F32.
    for (const auto& [NH, NKV, HS] : std::vector<std::array<int64_t, 3>>{
             {1, 1, 1}, {3, 1, 5}, {4, 2, 3}, {5, 1, 17}, {5, 5, 32}, {6, 2, 64}}) {
        const AttentionCase c = {{178, 11}, NH, NKV, HS};
        const AttentionInput x(c, Rng(10, "cached"));
        const real tolerance = real((probability_roundings(c) + double(c.longest())) * kU);
        for (const WeightType type : {WeightType::f32, WeightType::bf16}) {
            INFO(c.text() << ", cache " << weight_format(type).name);
            const Op op = [&](Kernels& kernels) -> Outputs { return {run_cached(kernels, c, x, type)}; };
            AttentionInput seen = x;
            for (Vector* numbers : {&seen.k, &seen.v}) {
                for (real& number : *numbers) {
                    number = type == WeightType::bf16 ? round_to_bf16(number) : number;
                }
            }
            require_like_reference(op, {{tolerance}});
            for_each_backend([&](Kernels& kernels) {
                REQUIRE(mismatch(op(kernels)[0], run_attention(kernels, c, seen)[0], {2 * tolerance}) == "");
            });
        }
    }
}

TEST_CASE("attention_cached of dtype bf16 rounds nothing of a cache of BF16 again", "[kernels]") {
    // The packed keys and values are the same words, whether they are rounded on the way into the cache or out of it.
    const AttentionCase c = {{178, 11}, 6, 2, 21};
    const AttentionInput x(c, Rng(15, "rounded once"));
    AttentionInput rounded = x;
    for (Vector* numbers : {&rounded.k, &rounded.v}) {
        std::transform(numbers->begin(), numbers->end(), numbers->begin(), round_to_bf16);
    }
    for (const Backend& backend : bf16_backends()) {
        INFO(backend.label);
        const Vector got = run_cached(*backend.one, c, x, WeightType::bf16);
        REQUIRE(same_bits(got, run_cached(*backend.one, c, rounded, WeightType::f32)));
        REQUIRE(same_bits(got, run_cached(*backend.two, c, x, WeightType::bf16)));
    }
}

TEST_CASE("attention_cached of few rows over a long cache agrees with the reference", "[kernels]") {
    // Sequences of 1 to 3 new rows over 3 to 900 keys, one slot after the other.
    constexpr int64_t kLong = 900;
    const std::vector<int64_t> rows = {1, 3, 0, 2};
    const std::vector<int32_t> length = {kLong, 3, 0, 257}, slot = {1, 0, 2, 3};
    for (const auto& [NH, NKV, HS] :
         std::vector<std::array<int64_t, 3>>{{1, 1, 8}, {9, 3, 64}, {5, 1, 128}, {2, 2, 33}}) {
        const AttentionCase c = {{kLong}, NH, NKV, HS};
        INFO(c.text());
        Rng rng(16, "long cache");
        const Vector q = random_vector(rng, 6 * NH * HS), keys = random_vector(rng, 4 * kLong * NKV * HS);
        const Vector values = random_vector(rng, 4 * kLong * NKV * HS);
        const Op op = [&](Kernels& kernels) -> Outputs {
            Packed packed(kernels, rows);
            Reals q_(kernels, q), k_(kernels, keys), v_(kernels, values), out(kernels, nans(q.size()));
            Ints slot_(kernels, slot), length_(kernels, length);
            kernels.attention_cached(out.data(), q_.data(), k_.data(), v_.data(), slot_.data(),
                                     length_.data(), packed.seq, kLong, NH, NKV, HS);
            return {out.read()};
        };
        require_like_reference(op, {{real((probability_roundings(c) + double(kLong)) * kU)}});
    }
}

TEST_CASE("attention of aligned tensors is that of others, bit for bit", "[kernels]") {
    // Buffers lie on an odd element: here they are copied to where memory begins, as a model has them. Of heads of 6 the first
    // begins at a multiple of 16 bytes in every row, and yet is not whole pieces of 16 bytes long.
    for (const AttentionCase& c : {AttentionCase{{70, 5, 20}, 4, 2, 64}, AttentionCase{{33, 9}, 3, 1, 128},
                                   AttentionCase{{40}, 2, 1, 36}, AttentionCase{{12, 9}, 4, 4, 6}}) {
        INFO(c.text());
        const AttentionInput x(c, Rng(17, "aligned"));
        for_each_dtype([&](Kernels& kernels) {
            const Outputs expected = run_attention(kernels, c, x);
            Packed packed(kernels, c.lengths);
            std::vector<real*> memory;
            const auto aligned = [&](const Vector& values) {
                memory.push_back(static_cast<real*>(kernels.alloc(values.size() * sizeof(real))));
                kernels.upload(memory.back(), values.data(), values.size() * sizeof(real));
                return memory.back();
            };
            real *q = aligned(x.q), *k = aligned(x.k), *v = aligned(x.v), *dout = aligned(x.dout);
            std::vector<real*> outputs;
            for (const Vector& o : expected) {
                outputs.push_back(aligned(nans(o.size())));
            }
            kernels.attention_forward(outputs[0], outputs[1], q, k, v, packed.seq, c.NH, c.NKV, c.HS);
            kernels.attention_backward(outputs[2], outputs[3], outputs[4], dout, q, k, v, outputs[0],
                                       outputs[1], packed.seq, c.NH, c.NKV, c.HS);
            for (size_t o = 0; o < expected.size(); o++) {
                INFO("output " << o);
                Vector got(expected[o].size());
                kernels.download(got.data(), outputs[o], got.size() * sizeof(real));
                REQUIRE(same_bits(got, expected[o]));
            }
            // A cache with the same keys, of either type: all rows at once, and the last one alone.
            for (const WeightType type : {WeightType::f32, WeightType::bf16}) {
                std::vector<uint16_t> k16(x.k.size()), v16(x.v.size());
                std::transform(x.k.begin(), x.k.end(), k16.begin(), rounded_bf16_bits);
                std::transform(x.v.begin(), x.v.end(), v16.begin(), rounded_bf16_bits);
                const bool wide = type == WeightType::f32;
                const size_t bytes = x.k.size() * (wide ? sizeof(real) : sizeof(uint16_t));
                void *k_at = aligned(nans(x.k.size())), *v_at = aligned(nans(x.v.size()));
                kernels.upload(k_at, wide ? static_cast<const void*>(x.k.data()) : k16.data(), bytes);
                kernels.upload(v_at, wide ? static_cast<const void*>(x.v.data()) : v16.data(), bytes);
                Buffer<uint16_t> k_odd(kernels, k16), v_odd(kernels, v16);
                Reals k_odd32(kernels, x.k), v_odd32(kernels, x.v), q_odd(kernels, x.q);
                for (const int64_t n : {c.lengths[0], int64_t{1}}) {
                    Packed rows(kernels, {n});
                    Ints slot(kernels, {0}), length(kernels, {int32_t(c.lengths[0])});
                    Reals odd(kernels, nans(n * c.NH * c.HS));
                    real* even = aligned(nans(n * c.NH * c.HS));
                    kernels.attention_cached(
                        odd.data(), q_odd.data(), wide ? Matrix(k_odd32.data()) : Matrix{k_odd.data(), type},
                        wide ? Matrix(v_odd32.data()) : Matrix{v_odd.data(), type}, slot.data(),
                        length.data(), rows.seq, c.lengths[0], c.NH, c.NKV, c.HS);
                    kernels.attention_cached(even, q, {k_at, type}, {v_at, type}, slot.data(), length.data(),
                                             rows.seq, c.lengths[0], c.NH, c.NKV, c.HS);
                    Vector got(n * c.NH * c.HS);
                    kernels.download(got.data(), even, got.size() * sizeof(real));
                    REQUIRE(same_bits(got, odd.read()));
                }
            }
            for (real* p : memory) {
                kernels.free(p);
            }
        });
    }
}

TEST_CASE("attention stays finite and right where scores are +-10000", "[kernels]") {
    // q.k / sqrt(4) = 0.5 * 4 * (+-100) * (+-50) = +-10000, exact in float; the sign is that of q_i times
    // that of k_j.
    const AttentionCase c = {{33, 3}, 3, 1, 4};
    AttentionInput x(c, Rng(11, "extreme"));
    Rng rng(12, "signs");
    for (size_t at = 0; at < x.q.size(); at += 4) {
        std::fill_n(x.q.begin() + at, 4, rng.chance(0.5) ? 100 : -100);
    }
    for (size_t at = 0; at < x.k.size(); at += 4) {
        std::fill_n(x.k.begin() + at, 4, rng.chance(0.5) ? 50 : -50);
    }
    const Outputs expected = run_attention(reference(), c, x);
    // Scores are exact, so out is a mean of at most 33 values. lse is near 10000, where a float is off by up
    // to 10000 u: that is the relative error of p in the backward pass.
    const double d = 10000.0 + 33.0 * 3.0 + 16.0;
    const Outputs magnitude = backward_magnitudes(c, x, expected[0], expected[1]);
    require_like_reference([&](Kernels& kernels) { return run_attention(kernels, c, x); },
                           {{real(64.0 * kU)},
                            {real(2.0 * 10000.0 * kU)},
                            scaled(4.0 * d * kU, magnitude[0]),
                            scaled(4.0 * d * kU, magnitude[1]),
                            scaled(4.0 * d * kU, magnitude[2])});
}

TEST_CASE("attention gives the weights 3/4 and 1/4 to scores log 3 and 0", "[kernels]") {
    // HS = 1, so a score is q k. Two query heads share the keys (1, 0, 0) and the values (4, 8, 12).
    // Head 0: row 1 has q = log 3: (3*4 + 1*8)/4 = 5.   Row 2 has q = log 2: (2*4 + 8 + 12)/4 = 7.
    // Head 1: q = 0 everywhere: means of 4; 4, 8; 4, 8, 12.
    // The second sequence has one row and returns its value.
    for_each_dtype([](Kernels& kernels) {
        Reals q(kernels, {5, 0, std::log(3.0f), 0, std::log(2.0f), 0, 1, 2}), k(kernels, {1, 0, 0, 7});
        Reals v(kernels, {4, 8, 12, 9}), out(kernels, nans(8)), lse(kernels, nans(8));
        Packed packed(kernels, {3, 1});
        kernels.attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), packed.seq, 2, 1, 1);
        REQUIRE(mismatch(out.read(), {4, 4, 5, 6, 7, 8, 9, 9}, {1e-5f}) == "");
        const real log2 = std::log(2.0f), log3 = std::log(3.0f), log4 = std::log(4.0f);
        REQUIRE(mismatch(lse.read(), {5, 0, log4, log2, log4, log3, 7, 14}, {1e-5f}) == "");
    });
}

TEST_CASE("a query that sees one key sends no gradient through its score", "[kernels]") {
    // Its probability is 1 whatever the score, so dq and dk are 0 to the bit.
    const AttentionCase c = {{1, 1, 1}, 6, 2, 21};
    const AttentionInput x(c, Rng(13, "one key"));
    for_each_dtype([&](Kernels& kernels) {
        const Outputs got = run_attention(kernels, c, x);
        REQUIRE(got[2] == Vector(got[2].size(), 0));
        REQUIRE(got[3] == Vector(got[3].size(), 0));
    });
    // Nor does the first of many.
    const AttentionCase longer = {{9, 33, 70}, 6, 2, 21};
    const AttentionInput y(longer, Rng(13, "first of many"));
    for_each_dtype([&](Kernels& kernels) {
        const Vector dq = run_attention(kernels, longer, y)[2];
        for (const size_t row : {0, 9, 42}) {
            const auto begin = dq.begin() + static_cast<std::ptrdiff_t>(row * 6 * 21);
            REQUIRE(std::all_of(begin, begin + 6 * 21, [](real slope) { return slope == 0; }));
        }
    });
}
