// test_attention.cpp — attention of every fast backend against the textbook loops, and what must hold of it by itself.
// Tolerances: kernel_backends.h.
#include <array>

#include "dequantize.h"
#include "kernel_backends.h"

using namespace skintern;
using namespace skintern::kernel_tests;

namespace {

struct AttentionCase {
    std::vector<int64_t> lengths;
    int64_t NH, NKV, HS;

    int64_t rows() const { return Packed::offsets(lengths).back(); }
    int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
    std::string text() const {
        return format("N %d, S %d, NH %d, NKV %d, HS %d", int(rows()), int(lengths.size()), int(NH), int(NKV),
                      int(HS));
    }
};

// Sequences of length 0 and 1, one head, grouped heads, head sizes below and above a vector, long enough for
// blocks.
const std::vector<AttentionCase> kAttentionCases = {
    {{1}, 1, 1, 1},          {{5, 1, 17, 3}, 3, 1, 5}, {{3, 0, 1, 1, 5}, 6, 2, 3},      {{17}, 2, 2, 17},
    {{33, 1, 33}, 5, 5, 33}, {{70}, 9, 3, 64},         {{1, 100, 2, 64, 65}, 4, 2, 16}, {{300, 7}, 3, 1, 32},
};

struct AttentionInput {
    AttentionInput(const AttentionCase& c, Rng rng)
        : q(random_vector(rng, c.rows() * c.NH * c.HS)), k(random_vector(rng, c.rows() * c.NKV * c.HS)),
          v(random_vector(rng, c.rows() * c.NKV * c.HS)), dout(random_vector(rng, c.rows() * c.NH * c.HS)) {}

    // The rows from .. to-1, as a batch of their own.
    AttentionInput rows(const AttentionCase& c, int64_t from, int64_t to) const {
        AttentionInput part = *this;
        part.q = slice(q, from * c.NH * c.HS, to * c.NH * c.HS);
        part.k = slice(k, from * c.NKV * c.HS, to * c.NKV * c.HS);
        part.v = slice(v, from * c.NKV * c.HS, to * c.NKV * c.HS);
        part.dout = slice(dout, from * c.NH * c.HS, to * c.NH * c.HS);
        return part;
    }
    Vector q, k, v, dout;
};

// Forward and backward: {out, lse, dq, dk, dv}.
Outputs run_attention(Kernels& kernels, const AttentionCase& c, const AttentionInput& x) {
    Packed packed(kernels, c.lengths);
    Reals q(kernels, x.q), k(kernels, x.k), v(kernels, x.v), dout(kernels, x.dout);
    Reals out(kernels, nans(q.read().size())), lse(kernels, nans(c.rows() * c.NH));
    Reals dq(kernels, out.read()), dk(kernels, nans(x.k.size())), dv(kernels, nans(x.v.size()));
    kernels.attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), packed.seq, c.NH, c.NKV,
                              c.HS);
    kernels.attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), q.data(), k.data(), v.data(),
                               out.data(), lse.data(), packed.seq, c.NH, c.NKV, c.HS);
    return {out.read(), lse.read(), dq.read(), dk.read(), dv.read()};
}

// Roundings in one probability. A score is a sum of HS products of at most 1, divided by sqrt(HS): off by
// HS sqrt(HS) u. exp makes an absolute error of its argument a relative one of its result; a probability has
// that of its score and that of the maximum, above and below the fraction line, and the T terms of the sum
// below it (twice: an online softmax rescales as it goes). exp itself and the quotients are worth 32 more.
double probability_roundings(const AttentionCase& c) {
    return 4.0 * double(c.HS) * std::sqrt(double(c.HS)) + 2.0 * double(c.longest()) + 32.0;
}

// The sums of attention_backward with every term taken absolute: bounds of the magnitudes of {dq, dk, dv}.
Outputs backward_magnitudes(const AttentionCase& c, const AttentionInput& x, const Vector& out,
                            const Vector& lse) {
    const double scale = 1.0 / std::sqrt(double(c.HS));
    const std::vector<int64_t> start = Packed::offsets(c.lengths);
    Outputs d = {Vector(x.q.size()), Vector(x.k.size()), Vector(x.v.size())};
    for (size_t s = 0; s + 1 < start.size(); s++) {
        for (int64_t i = start[s]; i < start[s + 1]; i++) {
            for (int64_t h = 0; h < c.NH; h++) {
                const int64_t q_at = (i * c.NH + h) * c.HS;
                for (int64_t j = start[s]; j <= i; j++) {
                    const int64_t k_at = (j * c.NKV + h / (c.NH / c.NKV)) * c.HS;
                    double score = 0.0, terms = 0.0; // of dp_ij - dout_i.out_i
                    for (int64_t e = 0; e < c.HS; e++) {
                        score += double(x.q[q_at + e]) * double(x.k[k_at + e]) * scale;
                        terms += std::fabs(x.dout[q_at + e]) *
                                 (std::fabs(x.v[k_at + e]) + std::fabs(out[q_at + e]));
                    }
                    const double p = std::exp(score - double(lse[i * c.NH + h]));
                    for (int64_t e = 0; e < c.HS; e++) {
                        d[0][q_at + e] += real(p * terms * scale * std::fabs(x.k[k_at + e]));
                        d[1][k_at + e] += real(p * terms * scale * std::fabs(x.q[q_at + e]));
                        d[2][k_at + e] += real(p * std::fabs(x.dout[q_at + e]));
                    }
                }
            }
        }
    }
    return d;
}

// ---- dtype bf16 -------------------------------------------------------------------------------------------

// for_each_backend, and those of dtype bf16.
void for_each_dtype(const std::function<void(Kernels&)>& test) {
    for_each_backend(test);
    for (const Backend& backend : bf16_backends()) {
        INFO(backend.label);
        test(*backend.two);
    }
}

// How far {out, lse, dq, dk, dv} may move when every operand of a product is off by up to a share u of itself, in BF16
// u = 2^-8, and everything else is exact. Both operands move a product by (1+u)^2 - 1 of itself at most, so a score by
//     a_i = ((1+u)^2 - 1) max_j sum_e |q_e k_je| / sqrt(HS)
// and lse, which no score moves by more than itself, as well: that is a factor exp(2 a_i) of p. With u of p and of v:
//     out_i  moves by f_i P_i,  f_i = exp(2 a_i) (1+u)^2 - 1,  P_i = sum_j p_ij |v_j|
//     dv_j   by sum_i f_i p_ij |dout_i|
//     dp - D by f_i M_ij,       M_ij = sum_e |dout_ie| (|v_je| + P_ie), which bounds dp - D itself as well
//     ds_ij  by p_ij M_ij (exp(2 a_i) (1+f_i) - 1), and with u of ds and of k or q by g_i = exp(2 a_i) (1+f_i) (1+u)^2 - 1
Outputs rounding_bounds(const AttentionCase& c, const AttentionInput& x, const Vector& lse, double u) {
    const double scale = 1.0 / std::sqrt(double(c.HS));
    const double product = (1.0 + u) * (1.0 + u);
    const std::vector<int64_t> start = Packed::offsets(c.lengths);
    Outputs bound = {Vector(x.q.size()), Vector(lse.size()), Vector(x.q.size()), Vector(x.k.size()), Vector(x.v.size())};
    for (size_t s = 0; s + 1 < start.size(); s++) {
        for (int64_t i = start[s]; i < start[s + 1]; i++) {
            for (int64_t h = 0; h < c.NH; h++) {
                const int64_t q_at = (i * c.NH + h) * c.HS;
                const auto k_at = [&](int64_t j) { return (j * c.NKV + h / (c.NH / c.NKV)) * c.HS; };
                std::vector<double> p(i + 1), P(c.HS);
                double a = 0.0;
                for (int64_t j = start[s]; j <= i; j++) {
                    double score = 0.0, terms = 0.0;
                    for (int64_t e = 0; e < c.HS; e++) {
                        const double term = double(x.q[q_at + e]) * double(x.k[k_at(j) + e]) * scale;
                        score += term;
                        terms += std::fabs(term);
                    }
                    a = std::max(a, (product - 1.0) * terms);
                    p[j] = std::exp(score - double(lse[i * c.NH + h]));
                    for (int64_t e = 0; e < c.HS; e++) {
                        P[e] += p[j] * std::fabs(x.v[k_at(j) + e]);
                    }
                }
                const double f = std::exp(2.0 * a) * product - 1.0;
                const double g = std::exp(2.0 * a) * (1.0 + f) * product - 1.0;
                bound[1][i * c.NH + h] = real(a);
                for (int64_t e = 0; e < c.HS; e++) {
                    bound[0][q_at + e] = real(f * P[e]);
                }
                for (int64_t j = start[s]; j <= i; j++) {
                    double M = 0.0;
                    for (int64_t e = 0; e < c.HS; e++) {
                        M += std::fabs(x.dout[q_at + e]) * (std::fabs(x.v[k_at(j) + e]) + P[e]);
                    }
                    for (int64_t e = 0; e < c.HS; e++) {
                        bound[2][q_at + e] += real(g * p[j] * M * scale * std::fabs(x.k[k_at(j) + e]));
                        bound[3][k_at(j) + e] += real(g * p[j] * M * scale * std::fabs(x.q[q_at + e]));
                        bound[4][k_at(j) + e] += real(f * p[j] * std::fabs(x.dout[q_at + e]));
                    }
                }
            }
        }
    }
    return bound;
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
}
