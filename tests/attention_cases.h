// attention_cases.h — what the tests of attention share: shapes, inputs, and how far results may be off.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernel_backends.h"

namespace skintern::kernel_tests {

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
inline const std::vector<AttentionCase> kAttentionCases = {
    {{1}, 1, 1, 1},          {{5, 1, 17, 3}, 3, 1, 5}, {{3, 0, 1, 1, 5}, 6, 2, 3},      {{17}, 2, 2, 17},
    {{33, 1, 33}, 5, 5, 33}, {{70}, 9, 3, 64},         {{1, 100, 2, 64, 65}, 4, 2, 16}, {{300, 7}, 3, 1, 32},
    {{40, 9}, 2, 1, 48},     {{9, 67}, 2, 2, 80},      {{130}, 3, 1, 96},               {{72, 8, 10}, 4, 1, 128},
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
inline Outputs run_attention(Kernels& kernels, const AttentionCase& c, const AttentionInput& x) {
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
inline double probability_roundings(const AttentionCase& c) {
    return 4.0 * double(c.HS) * std::sqrt(double(c.HS)) + 2.0 * double(c.longest()) + 32.0;
}

// The sums of attention_backward with every term taken absolute: bounds of the magnitudes of {dq, dk, dv}.
inline Outputs backward_magnitudes(const AttentionCase& c, const AttentionInput& x, const Vector& out,
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

// How far {out, lse, dq, dk, dv} may move when every operand of a product is off by up to a share u of itself, in BF16
// u = 2^-8, and everything else is exact. Both operands move a product by (1+u)^2 - 1 of itself at most, so a score by
//     a_i = ((1+u)^2 - 1) max_j sum_e |q_e k_je| / sqrt(HS)
// and lse, which no score moves by more than itself, as well: that is a factor exp(2 a_i) of p. With u of p and of v:
//     out_i  moves by f_i P_i,  f_i = exp(2 a_i) (1+u)^2 - 1,  P_i = sum_j p_ij |v_j|
//     dv_j   by sum_i f_i p_ij |dout_i|
//     dp - D by f_i M_ij,       M_ij = sum_e |dout_ie| (|v_je| + P_ie), which bounds dp - D itself as well
//     ds_ij  by p_ij M_ij (exp(2 a_i) (1+f_i) - 1), and with u of ds and of k or q by g_i = exp(2 a_i) (1+f_i) (1+u)^2 - 1
inline Outputs rounding_bounds(const AttentionCase& c, const AttentionInput& x, const Vector& lse, double u) {
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

} // namespace skintern::kernel_tests
