// attention_cpu.cpp — causal attention on the CPU: tiles of scores, and never a T x T matrix.
//
//   s_ij = q_i.k_j / sqrt(HS),  p_ij = exp(s_ij - lse_i),  out_i = sum_{j<=i} p_ij v_j
//
// Forward (online softmax: Milakov & Gimelshein 2018; in tiles: Dao et al. 2022). A task is kQueries rows of one head.
// It walks over tiles of kKeys keys, and for each row keeps the largest score so far m, the sum l of exp(s - m) and the
// output o so far. When a tile raises m, l and o shrink by exp(m_old - m_new). At the end out = o / l, lse = m + log l.
//
// Backward (Dao et al. 2022, algorithm 4). lse is known, so p is one exp away. With D_i = dout_i.out_i:
//   dv_j = sum_i p_ij dout_i          dp_ij = dout_i.v_j          ds_ij = p_ij (dp_ij - D_i)
//   dq_i = sum_j ds_ij k_j / sqrt(HS)                             dk_j = sum_i ds_ij q_i / sqrt(HS)
// A task is one key/value head of one sequence, with all query heads that read it: it alone adds to its dk and dv.
//
// All products are of small tiles, computed in registers by multiply(). For that, keys are packed once into tiles
// whose columns are the keys, and rows are padded with zeros to whole vectors. Few new rows (decoding) are not
// worth packing for: they take the keys as they lie in the cache (attend_row).
//
// Key tiles behind the diagonal are skipped; the tile on it is cut to whole vectors and masked. Sums run over keys
// or queries in order inside one task: results do not depend on the number of threads.
//
// Cost: 2 NH HS T^2/2 multiply-adds forward, 5 NH HS T^2/2 backward. Scratch: the packed keys and values, and in the
// backward pass about 5 max_length * HS floats a thread. The backward pass keeps S * NKV threads busy at most.
#include <cmath>

#include "cpu.h"
#include "simd.h"
#include "tiles.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kQueries = 32;
constexpr int64_t kKeys = 64;
constexpr int64_t kFewRows = 8;  // sequences of fewer rows are not packed for
constexpr int64_t kTurnKeys = 8; // keys after which the next head takes its turn there
// Multiply-adds below which waking the other threads costs more.
constexpr int64_t kParallelWork = 256 * 1024;

// ---- packing ---------------------------------------------------------------------------------------------------------

// Packs `count` rows of one head, `stride` apart, as tiles of kKeys columns: (tiles,HS,kKeys), zeros behind the last.
void pack_columns(float* packed, const float* rows, int64_t stride, int64_t count, int64_t HS) {
    for (int64_t j = 0; j < count; j += kKeys) {
        pack_transposed(packed + j * HS, rows + j * stride, stride, HS, min_of(count - j, kKeys), kKeys);
    }
}

// Packs `count` rows of one head as (padded,width), with zeros behind the last row and beyond HS.
void pack_rows(float* packed, const float* rows, int64_t stride, int64_t count, int64_t padded, int64_t HS,
               int64_t width) {
    pack_straight(packed, rows, stride, count, HS, width);
    zero_all(packed + count * width, (padded - count) * width);
}

// ---- forward: what is computed ---------------------------------------------------------------------------------------

// New rows over keys, for attention_forward (all keys are of the new rows) and attention_cached alike.
struct Attention {
    float* out; // (N,NH,HS)
    float* lse; // (N,NH), or nullptr
    const float* q;
    const float* k;
    const float* v;
    Sequences seq;
    const int32_t* slot;   // (S), or nullptr: the keys of sequence s are rows start[s] .. of k
    const int32_t* length; // (S), or nullptr: as many keys as rows
    int64_t capacity;
    int64_t NH, NKV, HS;
};

int64_t rows_of(const Attention& a, int64_t s) {
    return a.seq.start[s + 1] - a.seq.start[s];
}

int64_t keys_of(const Attention& a, int64_t s) {
    return a.length != nullptr ? a.length[s] : rows_of(a, s);
}

// Offset in k and v of key 0 of sequence s in key/value head kv; its other keys follow NKV*HS apart.
int64_t first_key(const Attention& a, int64_t s, int64_t kv) {
    const int64_t row = a.slot != nullptr ? a.slot[s] * a.capacity : a.seq.start[s];
    return (row * a.NKV + kv) * a.HS;
}

// ---- forward: few rows -----------------------------------------------------------------------------------------------

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

// Scratch of attend_few: the scores of all heads, then the sum of each.
int64_t few_floats(int64_t keys, int64_t NH) {
    return NH * (keys + 1);
}

// One new row (row i of sequence s) in the query heads h0 .. h1-1. The heads take turns after a few keys, so that
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

// ---- forward: many rows ----------------------------------------------------------------------------------------------

// Scratch of one task: kQueries rows of one head.
struct ForwardScratch {
    float* q;       // (HS,kQueries), times 1/sqrt(HS)
    float* p;       // (kQueries,kKeys) scores, then probabilities
    float* o;       // (kQueries,width)
    float* largest; // (kQueries)
    float* sum;     // (kQueries,kLanes): the sum of a row is that of its lanes, taken at the end
};

int64_t forward_floats(int64_t HS, int64_t width) {
    return kQueries * (HS + kKeys + width + kLanes + 1);
}

ForwardScratch forward_scratch(float* base, int64_t HS, int64_t width) {
    float* p = base + kQueries * HS;
    float* o = p + kQueries * kKeys;
    float* sum = o + kQueries * width;
    return {base, p, o, sum + kQueries * kLanes, sum};
}

// One row of a tile: scores become exp(score - largest), of which the first `visible` count; o, sum and largest follow.
void softmax_row(float* p,   // (keys)
                 float* o,   // (width)
                 float* sum, // (kLanes)
                 float& largest, int64_t keys, int64_t visible, int64_t width) {
    vec max = broadcast(largest);
    for (int64_t j = 0; j < keys; j += kLanes) {
        if (j + kLanes > visible) { // behind the diagonal
            store(p + j, keep_first(load(p + j), visible - j, -INFINITY));
        }
        max = max_of(load(p + j), max);
    }
    const float new_largest = max_lanes(max);
    vec sums = load(sum);
    if (new_largest > largest) {
        const vec shrink = exp(broadcast(largest - new_largest));
        for (int64_t c = 0; c < width; c += kLanes) {
            store(o + c, load(o + c) * shrink);
        }
        sums *= shrink;
        largest = new_largest;
    }
    for (int64_t j = 0; j < keys; j += kLanes) {
        const vec p_j = exp(load(p + j) - new_largest);
        store(p + j, p_j);
        sums += p_j;
    }
    store(sum, sums);
}

// Rows i0 .. i0+kQueries-1 (or to the last) of sequence s in head h, with its keys and values packed.
void attend_block(const Attention& a, const ForwardScratch& f,
                  const float* packed_k, // (tiles,HS,kKeys)
                  const float* packed_v, // (tiles,kKeys,width)
                  int64_t s, int64_t h, int64_t i0, int64_t width) {
    const int64_t rows = min_of(kQueries, rows_of(a, s) - i0);
    const int64_t padded_rows = round_up(rows, kTileRows);
    const int64_t first = keys_of(a, s) - rows_of(a, s) + i0; // position of row i0: it sees keys 0 .. first
    const int64_t row0 = (a.seq.start[s] + i0) * a.NH + h;
    pack_transposed(f.q, a.q + row0 * a.HS, a.NH * a.HS, a.HS, rows, kQueries);
    scale_all(f.q, 1.0f / std::sqrt(static_cast<float>(a.HS)), a.HS * kQueries);
    zero_all(f.o, kQueries * width);
    zero_all(f.sum, kQueries * kLanes);
    for (int64_t i = 0; i < rows; i++) {
        f.largest[i] = -INFINITY;
    }
    for (int64_t j = 0; j < first + rows; j += kKeys) {
        const int64_t keys = min_of(kKeys, round_up(first + rows - j, kLanes));
        multiply<1, kQueries>(f.p, f.q, packed_k + j * a.HS, kKeys, kKeys, padded_rows, keys, a.HS, false);
        for (int64_t i = 0; i < rows; i++) {
            softmax_row(f.p + i * kKeys, f.o + i * width, f.sum + i * kLanes, f.largest[i], keys,
                        first + i + 1 - j, width);
        }
        multiply<kKeys, 1>(f.o, f.p, packed_v + j * width, width, width, padded_rows, width, keys, true);
    }
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = row0 + i * a.NH;
        const float sum = sum_lanes(load(f.sum + i * kLanes));
        for (int64_t c = 0; c < a.HS; c += kLanes) {
            store_upto(a.out + row * a.HS + c, load(f.o + i * width + c) / sum, a.HS - c);
        }
        if (a.lse != nullptr) {
            a.lse[row] = f.largest[i] + std::log(sum);
        }
    }
}

// How scratch is divided, in floats: the packed keys and values of all sequences of many rows, then a part for each
// thread. A sequence of few rows is a task, or several of a few heads each, when there are more threads than sequences.
struct ForwardPlan {
    int64_t width;         // HS rounded up to whole vectors
    int64_t packed_keys;   // of all sequences that are packed, each rounded up to whole tiles
    int64_t index_floats;  // for the offset of each sequence among them
    int64_t thread_floats; // what attend_row or attend_block needs
    int64_t heads;         // key/value heads of one task of few rows
    bool is_parallel;      // enough work to wake the other threads for

    int64_t floats(const Attention& a, int threads) const {
        return index_floats + packed_keys * a.NKV * (a.HS + width) + threads * thread_floats;
    }
};

bool is_packed(const Attention& a, int64_t s) {
    return rows_of(a, s) >= kFewRows;
}

ForwardPlan plan_forward(const Attention& a, int threads) {
    const int64_t width = round_up(a.HS, kLanes);
    int64_t packed_keys = 0;
    int64_t most_keys = 0; // of a sequence of few rows
    int64_t scores = 0;
    for (int64_t s = 0; s < a.seq.count; s++) {
        scores += rows_of(a, s) * keys_of(a, s) * a.NH;
        if (is_packed(a, s)) {
            packed_keys += round_up(keys_of(a, s), kKeys);
        } else {
            most_keys = max_of(most_keys, keys_of(a, s));
        }
    }
    const int64_t thread_floats = max_of(few_floats(most_keys, a.NH), forward_floats(a.HS, width));
    const int64_t parts = min_of(a.NKV, ceil_div(2 * threads, max_of(a.seq.count, 1)));
    return {width,
            packed_keys,
            round_up(2 * a.seq.count, kLanes),
            round_up(thread_floats, kLanes),
            ceil_div(a.NKV, parts),
            scores * a.HS > kParallelWork};
}

// The packed keys and values of sequence s in one key/value head.
struct PackedHead {
    float* k; // (tiles,HS,kKeys)
    float* v; // (tiles,kKeys,width)
};

PackedHead packed_head(const Attention& a, const ForwardPlan& plan, float* scratch, int64_t s, int64_t kv) {
    const int64_t* first = reinterpret_cast<const int64_t*>(scratch);
    const int64_t at = first[s] * a.NKV + round_up(keys_of(a, s), kKeys) * kv;
    float* k = scratch + plan.index_floats;
    return {k + at * a.HS, k + plan.packed_keys * a.NKV * a.HS + at * plan.width};
}

void pack_head(const Attention& a, const ForwardPlan& plan, const PackedHead& head, int64_t s, int64_t kv) {
    const int64_t keys = keys_of(a, s);
    const int64_t stride = a.NKV * a.HS;
    pack_columns(head.k, a.k + first_key(a, s, kv), stride, keys, a.HS);
    pack_rows(head.v, a.v + first_key(a, s, kv), stride, keys, round_up(keys, kKeys), a.HS, plan.width);
}

// In a first round sequences of few rows are done and the others packed; in a second one these are done.
void attend(const Attention& a, const ForwardPlan& plan, float* scratch, [[maybe_unused]] int threads) {
    int64_t* first = reinterpret_cast<int64_t*>(scratch); // (S) packed keys before those of sequence s
    for (int64_t s = 0, keys = 0; s < a.seq.count; s++) {
        first[s] = keys;
        keys += is_packed(a, s) ? round_up(keys_of(a, s), kKeys) : 0;
    }
    const int64_t group = a.NH / a.NKV;
    const int64_t blocks = plan.packed_keys > 0 ? ceil_div(a.seq.max_length, kQueries) : 0;
#pragma omp parallel num_threads(threads) if (plan.is_parallel)
    {
        float* mine = scratch + plan.floats(a, thread_index());
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t s = 0; s < a.seq.count; s++) {
            for (int64_t kv = 0; kv < a.NKV; kv += plan.heads) {
                const int64_t kv_end = min_of(a.NKV, kv + plan.heads);
                for (int64_t i = 0; !is_packed(a, s) && i < rows_of(a, s); i++) {
                    attend_row(a, mine, s, i, kv * group, kv_end * group);
                }
                for (int64_t head = kv; is_packed(a, s) && head < kv_end; head++) {
                    pack_head(a, plan, packed_head(a, plan, scratch, s, head), s, head);
                }
            }
        }
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t s = 0; s < a.seq.count; s++) {
            for (int64_t h = 0; h < a.NH; h++) {
                for (int64_t block = 0; block < blocks; block++) {
                    if (is_packed(a, s) && block * kQueries < rows_of(a, s)) {
                        const PackedHead head = packed_head(a, plan, scratch, s, h / group);
                        attend_block(a, forward_scratch(mine, a.HS, plan.width), head.k, head.v, s, h,
                                     block * kQueries, plan.width);
                    }
                }
            }
        }
    }
}

} // namespace

void CpuKernels::attention_forward(float* out,     // (N,NH,HS) =
                                   float* lse,     // (N,NH) =
                                   const float* q, // (N,NH,HS)
                                   const float* k, // (N,NKV,HS)
                                   const float* v, // (N,NKV,HS)
                                   Sequences seq, int64_t NH, int64_t NKV, int64_t HS) {
    const Attention a = {out, lse, q, k, v, seq, nullptr, nullptr, 0, NH, NKV, HS};
    const ForwardPlan plan = plan_forward(a, threads_);
    attend(a, plan, scratch(plan.floats(a, threads_)), threads_);
}

void CpuKernels::attention_cached(float* out,            // (N,NH,HS) =
                                  const float* q,        // (N,NH,HS)
                                  const float* k_cache,  // (slots,capacity,NKV,HS)
                                  const float* v_cache,  // (slots,capacity,NKV,HS)
                                  const int32_t* slot,   // (S)
                                  const int32_t* length, // (S)
                                  Sequences seq, int64_t capacity, int64_t NH, int64_t NKV, int64_t HS) {
    const Attention a = {out, nullptr, q, k_cache, v_cache, seq, slot, length, capacity, NH, NKV, HS};
    const ForwardPlan plan = plan_forward(a, threads_);
    attend(a, plan, scratch(plan.floats(a, threads_)), threads_);
}

// ---- backward ----------------------------------------------------------------------------------------------------------

namespace {

struct Backward {
    float* dq; // (N,NH,HS)
    float* dk; // (N,NKV,HS)
    float* dv; // (N,NKV,HS)
    const float* dout;
    const float* q;
    const float* k;
    const float* v;
    const float* out;
    const float* lse; // (N,NH)
    Sequences seq;
    int64_t NH, NKV, HS;
    int64_t width; // HS rounded up to whole vectors
};

// Scratch of one task: one key/value head of one sequence, `keys` = its length rounded up to whole tiles.
struct BackwardScratch {
    float* k_columns;    // (tiles,HS,kKeys)
    float* v_columns;    // (tiles,HS,kKeys)
    float* k;            // (keys,width)
    float* dk;           // (keys,width)
    float* dv;           // (keys,width)
    float* q_columns;    // (HS,kQueries), times 1/sqrt(HS)
    float* dout_columns; // (HS,kQueries)
    float* q;            // (kQueries,width), times 1/sqrt(HS)
    float* dout;         // (kQueries,width)
    float* dq;           // (kQueries,width)
    float* p;            // (kQueries,kKeys)
    float* ds;           // (kQueries,kKeys)
};

int64_t backward_floats(const Backward& b) {
    return round_up(b.seq.max_length, kKeys) * (2 * b.HS + 3 * b.width) +
           kQueries * (2 * b.HS + 3 * b.width + 2 * kKeys);
}

BackwardScratch backward_scratch(const Backward& b, float* base) {
    const int64_t keys = round_up(b.seq.max_length, kKeys);
    BackwardScratch f;
    f.k_columns = base;
    f.v_columns = f.k_columns + keys * b.HS;
    f.k = f.v_columns + keys * b.HS;
    f.dk = f.k + keys * b.width;
    f.dv = f.dk + keys * b.width;
    f.q_columns = f.dv + keys * b.width;
    f.dout_columns = f.q_columns + kQueries * b.HS;
    f.q = f.dout_columns + kQueries * b.HS;
    f.dout = f.q + kQueries * b.width;
    f.dq = f.dout + kQueries * b.width;
    f.p = f.dq + kQueries * b.width;
    f.ds = f.p + kQueries * kKeys;
    return f;
}

// One row of a tile: p holds scores and becomes exp(score - lse), ds holds dp and becomes p * (dp - D).
void softmax_row_backward(float* p,  // (keys)
                          float* ds, // (keys)
                          float lse, float D, int64_t keys, int64_t visible) {
    for (int64_t j = 0; j < keys; j += kLanes) {
        vec p_j = exp(load(p + j) - lse);
        if (j + kLanes > visible) { // behind the diagonal
            p_j = keep_first(p_j, visible - j, 0.0f);
        }
        store(p + j, p_j);
        store(ds + j, p_j * (load(ds + j) - D));
    }
}

// Rows i0 .. of sequence s in head h: dq =, dk and dv (in scratch) +=
void backward_block(const Backward& b, const BackwardScratch& f, int64_t s, int64_t h, int64_t i0) {
    const int64_t rows = min_of(kQueries, b.seq.start[s + 1] - b.seq.start[s] - i0);
    const int64_t padded_rows = round_up(rows, kTileRows);
    const int64_t row0 = (b.seq.start[s] + i0) * b.NH + h;
    const int64_t stride = b.NH * b.HS;
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.HS));
    const float* q = b.q + row0 * b.HS;
    const float* dout = b.dout + row0 * b.HS;
    pack_transposed(f.q_columns, q, stride, b.HS, rows, kQueries);
    pack_transposed(f.dout_columns, dout, stride, b.HS, rows, kQueries);
    pack_rows(f.q, q, stride, rows, kQueries, b.HS, b.width);
    pack_rows(f.dout, dout, stride, rows, kQueries, b.HS, b.width);
    scale_all(f.q_columns, scale, b.HS * kQueries);
    scale_all(f.q, scale, kQueries * b.width);
    zero_all(f.dq, kQueries * b.width);
    float D[kQueries];
    for (int64_t i = 0; i < rows; i++) {
        D[i] = dot(dout + i * stride, b.out + row0 * b.HS + i * stride, b.HS);
    }
    for (int64_t j = 0; j < i0 + rows; j += kKeys) {
        const int64_t keys = min_of(kKeys, round_up(i0 + rows - j, kLanes));
        multiply<1, kQueries>(f.p, f.q_columns, f.k_columns + j * b.HS, kKeys, kKeys, padded_rows, keys, b.HS,
                              false);
        multiply<1, kQueries>(f.ds, f.dout_columns, f.v_columns + j * b.HS, kKeys, kKeys, padded_rows, keys,
                              b.HS, false);
        for (int64_t i = 0; i < rows; i++) {
            softmax_row_backward(f.p + i * kKeys, f.ds + i * kKeys, b.lse[row0 + i * b.NH], D[i], keys,
                                 i0 + i + 1 - j);
        }
        if (i0 + j == 0) {
            // Row 0 sees one key, whose p is 1 whatever its score: ds is 0. dp - D is that only but for rounding,
            // which AdamW would turn into a step where all else is 0.
            zero_all(f.ds, keys);
        }
        multiply<1, kKeys>(f.dv + j * b.width, f.p, f.dout, b.width, b.width, keys, b.width, rows, true);
        multiply<1, kKeys>(f.dk + j * b.width, f.ds, f.q, b.width, b.width, keys, b.width, rows, true);
        multiply<kKeys, 1>(f.dq, f.ds, f.k + j * b.width, b.width, b.width, padded_rows, b.width, keys, true);
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t c = 0; c < b.HS; c += kLanes) {
            store_upto(b.dq + row0 * b.HS + i * stride + c, load(f.dq + i * b.width + c) * scale, b.HS - c);
        }
    }
}

void backward_head(const Backward& b, const BackwardScratch& f, int64_t s, int64_t kv) {
    const int64_t T = b.seq.start[s + 1] - b.seq.start[s];
    const int64_t keys = round_up(T, kKeys);
    const int64_t first = (b.seq.start[s] * b.NKV + kv) * b.HS;
    const int64_t stride = b.NKV * b.HS;
    const int64_t group = b.NH / b.NKV;
    pack_columns(f.k_columns, b.k + first, stride, T, b.HS);
    pack_columns(f.v_columns, b.v + first, stride, T, b.HS);
    pack_rows(f.k, b.k + first, stride, T, keys, b.HS, b.width);
    zero_all(f.dk, keys * b.width);
    zero_all(f.dv, keys * b.width);
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        for (int64_t i0 = 0; i0 < T; i0 += kQueries) {
            backward_block(b, f, s, h, i0);
        }
    }
    for (int64_t j = 0; j < T; j++) {
        for (int64_t c = 0; c < b.HS; c += kLanes) {
            store_upto(b.dk + first + j * stride + c, load(f.dk + j * b.width + c), b.HS - c);
            store_upto(b.dv + first + j * stride + c, load(f.dv + j * b.width + c), b.HS - c);
        }
    }
}

} // namespace

void CpuKernels::attention_backward(float* dq,         // (N,NH,HS) =
                                    float* dk,         // (N,NKV,HS) =
                                    float* dv,         // (N,NKV,HS) =
                                    const float* dout, // (N,NH,HS)
                                    const float* q,    // (N,NH,HS)
                                    const float* k,    // (N,NKV,HS)
                                    const float* v,    // (N,NKV,HS)
                                    const float* out,  // (N,NH,HS) of the forward pass
                                    const float* lse,  // (N,NH) of the forward pass
                                    Sequences seq, int64_t NH, int64_t NKV, int64_t HS) {
    const Backward b = {dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS, round_up(HS, kLanes)};
    const int64_t thread_floats = round_up(backward_floats(b), kLanes);
    float* own = scratch(threads_ * thread_floats);
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads_)
    for (int64_t s = 0; s < seq.count; s++) {
        for (int64_t kv = 0; kv < NKV; kv++) {
            backward_head(b, backward_scratch(b, own + thread_index() * thread_floats), s, kv);
        }
    }
}

} // namespace skintern::SKINTERN_ISA
