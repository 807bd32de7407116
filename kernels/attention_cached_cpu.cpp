// attention_cached_cpu.cpp — attention of few new rows over many keys: decoding.
//
// One row reads every key and value once and does four operations with each number of them, so it is as fast as they
// arrive from memory. Nothing is packed: keys and values are taken as they lie in the cache, in the order in which they
// lie, and the scores of a row are all kept until its softmax. It is F32 whatever the dtype: rounding would save nothing.
// A cache of BF16 is half the bytes; its numbers are widened in registers (T is then uint16_t, else float).
//
// Cost: 2 NH HS multiply-adds a key and 2 NKV HS numbers read. Scratch: NH (keys + 1) floats a thread.
#include <cmath>

#include "attention.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kTurnKeys = 8; // keys after which the next heads take their turn there

// load_upto, and zero where nothing is left.
template <class T>
inline vec load_some(const T* p, int64_t left) {
    return left > 0 ? load_upto(p, left) : vec{};
}

// score[g,j] = q[g].k[j] * scale for G query heads that read the same keys: each key is loaded once.
template <int G, class T>
void score_keys(float* score,   // (G,n), rows ld apart
                const float* q, // (G,HS)
                const T* k,     // (n,HS), rows `stride` apart
                int64_t ld, int64_t n, int64_t stride, int64_t HS, float scale) {
    constexpr int kTogether = 4; // keys, to keep the multiply-add units busy
    for (int64_t j = 0; j < n; j += kTogether) {
        const T* key[kTogether]; // behind the last key, the last key again: its score is not stored
        vec sum[kTogether][G] = {};
        for (int t = 0; t < kTogether; t++) {
            key[t] = k + min_of(j + t, n - 1) * stride;
        }
        for (int64_t i = 0; i < HS; i += kLanes) {
            vec q_i[G];
            for (int g = 0; g < G; g++) {
                q_i[g] = load_upto(q + g * HS + i, HS - i);
            }
            for (int t = 0; t < kTogether; t++) {
                const vec k_i = load_upto(key[t] + i, HS - i);
                for (int g = 0; g < G; g++) {
                    sum[t][g] = fma(q_i[g], k_i, sum[t][g]);
                }
            }
        }
        for (int g = 0; g < G; g++) {
            const vec4 score_g = sum_lanes_of(sum[0][g], sum[1][g], sum[2][g], sum[3][g]) * scale;
            for (int t = 0; t < kTogether && j + t < n; t++) {
                score[g * ld + j + t] = score_g[t];
            }
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

// out[g] += sum_j p[g,j] v[j] for G query heads that read the same values: each value is loaded once.
template <int G, class T>
void add_values(float* out,     // (G,HS)
                const float* p, // (G,n), rows ld apart
                const T* v,     // (n,HS), rows `stride` apart
                int64_t ld, int64_t n, int64_t stride, int64_t HS) {
    constexpr int kVectors = kLanes == 16 ? 4 : 2; // columns in registers: G * kVectors sums
    for (int64_t c = 0; c < HS; c += kVectors * kLanes) {
        vec sum[G][kVectors];
        for (int g = 0; g < G; g++) {
            for (int x = 0; x < kVectors; x++) {
                sum[g][x] = load_some(out + g * HS + c + x * kLanes, HS - c - x * kLanes);
            }
        }
        for (int64_t j = 0; j < n; j++) {
            for (int x = 0; x < kVectors; x++) {
                const vec v_j = load_some(v + j * stride + c + x * kLanes, HS - c - x * kLanes);
                for (int g = 0; g < G; g++) {
                    sum[g][x] = fma(broadcast(p[g * ld + j]), v_j, sum[g][x]);
                }
            }
        }
        for (int g = 0; g < G; g++) {
            for (int x = 0; x < kVectors && HS - c > x * kLanes; x++) {
                store_upto(out + g * HS + c + x * kLanes, sum[g][x], HS - c - x * kLanes);
            }
        }
    }
}

// What attend_row knows of its row.
template <class T>
struct Row {
    const float* q; // (heads,HS) of the query heads of the task
    const T* k;     // keys and values of the first of their key/value heads
    const T* v;
    float* out;   // (heads,HS)
    float* score; // (heads,keys)
    int64_t keys, stride, HS;
    float scale;
};

// Keys j .. of one key/value head (of number kv in the task), for query heads h .. h+G-1 of the task, which read it.
template <int G, class T>
void score_turn(const Row<T>& r, int64_t h, int64_t kv, int64_t j) {
    score_keys<G>(r.score + h * r.keys + j, r.q + h * r.HS, r.k + kv * r.HS + j * r.stride, r.keys,
                  min_of(r.keys - j, kTurnKeys), r.stride, r.HS, r.scale);
}

template <int G, class T>
void value_turn(const Row<T>& r, int64_t h, int64_t kv, int64_t j) {
    add_values<G>(r.out + h * r.HS, r.score + h * r.keys + j, r.v + kv * r.HS + j * r.stride, r.keys,
                  min_of(r.keys - j, kTurnKeys), r.stride, r.HS);
}

template <class T>
using Turn = void (*)(const Row<T>& r, int64_t h, int64_t kv, int64_t j);

// One turn after the other, for all heads of the task; turn[G-1] takes G query heads together.
template <class T>
void take_turns(const Row<T>& r, const Turn<T> (&turn)[3], int64_t heads, int64_t group) {
    for (int64_t j = 0; j < r.keys; j += kTurnKeys) {
        for (int64_t h = 0; h < heads;) {
            const int64_t together = min_of(3, group - h % group);
            turn[together - 1](r, h, h / group, j);
            h += together;
        }
    }
}

// The heads take turns after a few keys, so that memory is read in the order in which it lies: decoding is as fast as keys
// and values arrive.
template <class T>
void attend_row_of(const Attention& a, float* scratch, int64_t s, int64_t i, int64_t h0, int64_t h1) {
    const int64_t group = a.NH / a.NKV;
    const int64_t stride = a.NKV * a.HS;
    const int64_t keys = keys_of(a, s) - rows_of(a, s) + i + 1;
    const int64_t row = (a.seq.start[s] + i) * a.NH;
    const float scale = 1.0f / std::sqrt(static_cast<float>(a.HS));
    const int64_t heads = h1 - h0;
    const int64_t first = first_key(a, s, h0 / group); // the heads of one key lie side by side
    float* out = a.out + (row + h0) * a.HS;
    const Row<T> r = {a.q + (row + h0) * a.HS,
                      numbers_at<T>(a.k, first),
                      numbers_at<T>(a.v, first),
                      out,
                      scratch,
                      keys,
                      stride,
                      a.HS,
                      scale};
    take_turns(r, {score_turn<1, T>, score_turn<2, T>, score_turn<3, T>}, heads, group);
    float* sum = scratch + heads * keys;
    for (int64_t h = 0; h < heads; h++) {
        float largest;
        sum[h] = softmax_scores(scratch + h * keys, keys, largest);
        if (a.lse != nullptr) {
            a.lse[row + h0 + h] = largest + std::log(sum[h]);
        }
    }
    zero_all(out, heads * a.HS);
    take_turns(r, {value_turn<1, T>, value_turn<2, T>, value_turn<3, T>}, heads, group);
    for (int64_t h = 0; h < heads; h++) {
        scale_all(out + h * a.HS, 1.0f / sum[h], a.HS);
    }
}

} // namespace

int64_t row_floats(int64_t keys, int64_t NH) {
    return NH * (keys + 1);
}

void attend_row(const Attention& a, float* scratch, int64_t s, int64_t i, int64_t h0, int64_t h1) {
    if (a.k.type == WeightType::bf16) {
        attend_row_of<uint16_t>(a, scratch, s, i, h0, h1);
    } else {
        attend_row_of<float>(a, scratch, s, i, h0, h1);
    }
}

} // namespace skintern::SKINTERN_ISA
