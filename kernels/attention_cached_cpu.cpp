// attention_cached_cpu.cpp — attention of few new rows over many keys: decoding.
//
// One row reads every key and value once and does four operations with each number of them, so it is as fast as they
// arrive from memory. Nothing is packed: keys and values are taken as they lie in the cache, in the order in which they
// lie, and the scores of a row are all kept until its softmax. It is F32 whatever the dtype: rounding would save nothing.
//
// Cost: 2 NH HS multiply-adds a key and 2 NKV HS floats read. Scratch: NH (keys + 1) floats a thread.
#include <cmath>

#include "attention.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kTurnKeys = 8; // keys after which the next head takes its turn there

// score[j] = q.k[j] * scale
void score_keys(float* score, const float* q, const float* k, int64_t n, int64_t stride, int64_t HS,
                float scale) {
    constexpr int kGroup = 4; // dot products at a time, to keep the multiply-add units busy
    for (int64_t j = 0; j < n; j += kGroup) {
        const float* key[kGroup]; // behind the last key, the last key again: its score is not stored
        vec sum[kGroup] = {};
        for (int g = 0; g < kGroup; g++) {
            key[g] = k + min_of(j + g, n - 1) * stride;
        }
        for (int64_t i = 0; i < HS; i += kLanes) {
            const vec q_i = load_upto(q + i, HS - i);
            for (int g = 0; g < kGroup; g++) {
                sum[g] = fma(q_i, load_upto(key[g] + i, HS - i), sum[g]);
            }
        }
        for (int g = 0; g < kGroup && j + g < n; g++) {
            score[j + g] = sum_lanes(sum[g]) * scale;
        }
    }
}

// Scores become exp(score - largest); returns their sum and the largest score.
float softmax_scores(float* score, int64_t n, float& largest) {
    vec max = broadcast(score[0]);
    for (int64_t j = 0; j < n; j += kLanes) {
        max = max_of(keep_first(load_upto(score + j, n - j), n - j, score[0]), max);
    }
    largest = max_lanes(max);
    vec sum = {};
    for (int64_t j = 0; j < n; j += kLanes) {
        const vec p = keep_first(exp(load_upto(score + j, n - j) - largest), n - j, 0.0f);
        store_upto(score + j, p, n - j);
        sum += p;
    }
    return sum_lanes(sum);
}

// out (columns <= NV vectors) += sum_j p[j] v[j]
template <int NV>
void add_weighted(float* out, const float* p, const float* v, int64_t n, int64_t stride, int64_t columns) {
    constexpr int kSums = 4; // independent sums, so that additions need not wait for one another
    vec sum[kSums][NV] = {};
    for (int64_t j = 0; j < n; j += kSums) {
        for (int g = 0; g < kSums && j + g < n; g++) {
            for (int c = 0; c < NV; c++) {
                const vec v_j = load_upto(v + (j + g) * stride + c * kLanes, columns - c * kLanes);
                sum[g][c] = fma(broadcast(p[j + g]), v_j, sum[g][c]);
            }
        }
    }
    for (int c = 0; c < NV; c++) {
        const int64_t left = columns - c * kLanes;
        const vec total = (sum[0][c] + sum[1][c]) + (sum[2][c] + sum[3][c]);
        store_upto(out + c * kLanes, load_upto(out + c * kLanes, left) + total, left);
    }
}

} // namespace

int64_t row_floats(int64_t keys, int64_t NH) {
    return NH * (keys + 1);
}

// The heads take turns after a few keys, so that
// memory is read in the order in which it lies: decoding is as fast as keys and values arrive.
void attend_row(const Attention& a, float* scratch, int64_t s, int64_t i, int64_t h0, int64_t h1) {
    const int64_t group = a.NH / a.NKV;
    const int64_t stride = a.NKV * a.HS;
    const int64_t keys = keys_of(a, s) - rows_of(a, s) + i + 1;
    const int64_t row = (a.seq.start[s] + i) * a.NH;
    const float scale = 1.0f / std::sqrt(static_cast<float>(a.HS));
    float* sum = scratch + (h1 - h0) * keys;
    for (int64_t j = 0; j < keys; j += kTurnKeys) {
        for (int64_t h = h0; h < h1; h++) {
            score_keys(scratch + (h - h0) * keys + j, a.q + (row + h) * a.HS,
                       a.k + first_key(a, s, h / group) + j * stride, min_of(keys - j, kTurnKeys), stride,
                       a.HS, scale);
        }
    }
    zero_all(a.out + (row + h0) * a.HS, (h1 - h0) * a.HS);
    for (int64_t h = h0; h < h1; h++) {
        float largest;
        sum[h - h0] = softmax_scores(scratch + (h - h0) * keys, keys, largest);
        if (a.lse != nullptr) {
            a.lse[row + h] = largest + std::log(sum[h - h0]);
        }
    }
    for (int64_t j = 0; j < keys; j += kTurnKeys) {
        for (int64_t h = h0; h < h1; h++) {
            const float* p = scratch + (h - h0) * keys + j;
            const float* v = a.v + first_key(a, s, h / group) + j * stride;
            float* out = a.out + (row + h) * a.HS;
            for (int64_t c = 0; c < a.HS; c += 2 * kLanes) {
                if (a.HS - c > kLanes) {
                    add_weighted<2>(out + c, p, v + c, min_of(keys - j, kTurnKeys), stride, a.HS - c);
                } else {
                    add_weighted<1>(out + c, p, v + c, min_of(keys - j, kTurnKeys), stride, a.HS - c);
                }
            }
        }
    }
    for (int64_t h = h0; h < h1; h++) {
        scale_all(a.out + (row + h) * a.HS, 1.0f / sum[h - h0], a.HS);
    }
}

} // namespace skintern::SKINTERN_ISA
