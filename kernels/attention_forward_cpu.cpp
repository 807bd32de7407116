// attention_forward_cpu.cpp — causal attention on the CPU: tiles of scores, and never a T x T matrix.
//
// Forward (online softmax: Milakov & Gimelshein 2018; in tiles: Dao et al. 2022). A task is kQueries rows of one head.
// It walks over tiles of kKeys keys, and for each query keeps the largest score so far m, the sum l of exp(s - m) and the
// output o so far. When a tile raises m, l and o shrink by exp(m_old - m_new). At the end out = o / l, lse = m + log l.
//
// Everything lies turned (see attention.h): the scores are s^T = k q^T, the output is o^T = v^T p^T. The tiles of k and
// of v^T are the left operands of these products (see tiles.h), packed once for all query heads that read them.
//
// Key tiles behind the diagonal are skipped, the one on it ends with the last key that a query of the task sees, and what
// single queries do not see there is masked. Sums run over the keys in order inside one task: results do not depend on the
// number of threads. Few new rows (decoding) are not worth packing for: see attention_cached_cpu.cpp.
//
// The keys and values of a cache of BF16 are widened while they are packed.
//
// With dtype bf16 q / sqrt(HS), k, v and p are rounded to BF16 as operands of the products; l sums what p was before.
//
// Cost: 2 NH HS T^2/2 multiply-adds. Scratch: the packed keys and values, and 2 HS + kKeys vectors of queries a thread.
#include <cmath>

#include "attention.h"

namespace skintern::SKINTERN_ISA {

namespace {

// Multiply-adds below which waking the other threads costs more.
constexpr int64_t kParallelWork = 32 * 1024;
constexpr int64_t kTasksPerThread = 4; // at least, so that the last of them does not keep the others waiting

// ---- one tile ----------------------------------------------------------------------------------------------------------

// What the online softmax knows of kQueries queries.
struct Softmax {
    float largest[kQueries]; // the largest score so far
    float sum[kQueries];     // of exp(score - largest)
};

// Lanes that see key j of a tile, of which lane 0 sees the first `seen` and each other lane one more than the lane before.
inline ivec sees(int64_t j, int64_t seen) {
    return kLaneNumber > static_cast<int32_t>(j - seen) - ivec{};
}

// Scores become words of p = exp(score - largest) in their own place; o, sum and largest follow, or start in the first
// tile. Query 0 sees the first `seen` keys of the tile, each other one more than the query before it. What a query does
// not see gets p = 0 by a mask; a score of -infinity would do as well, but exp is slow where its result is too small.
template <class E>
void softmax_tile(float* tile, // (keys,kQueries) scores in, (keys/kPair,kQueries) words out
                  float* o,    // (width,kQueries)
                  Softmax& softmax, bool is_first, int64_t keys, int64_t queries, int64_t seen,
                  int64_t width) {
    for (int64_t v = 0; v < queries; v += kLanes) {
        float* score = tile + v;
        const int64_t seen_v = seen + v;
        const int64_t all =
            max_of(0, min_of(keys, seen_v)); // keys that every lane sees, and those that any does
        const int64_t any = max_of(0, min_of(keys, round_up(seen_v + kLanes - 1, E::kPair)));
        vec max[4];
        for (vec& m : max) {
            m = is_first ? broadcast(-INFINITY) : load(softmax.largest + v);
        }
        int64_t j = 0;
        for (; j + 4 <= all; j += 4) {
            for (int i = 0; i < 4; i++) {
                max[i] = max_of(load(score + (j + i) * kQueries), max[i]);
            }
        }
        for (; j < any; j++) {
            max[0] = sees(j, seen_v) ? max_of(load(score + j * kQueries), max[0]) : max[0];
        }
        const vec largest = max_of(max_of(max[0], max[1]), max_of(max[2], max[3]));
        vec sum = {};
        if (!is_first) {
            const vec shrink = exp(load(softmax.largest + v) - largest);
            for (int64_t d = 0; d < width; d++) {
                store(o + d * kQueries + v, load(o + d * kQueries + v) * shrink);
            }
            sum = load(softmax.sum + v) * shrink;
        }
        typename E::Word* word = reinterpret_cast<typename E::Word*>(score);
        for (j = 0; j < any; j += E::kPair, word += kQueries) {
            vec p[E::kPair];
            for (int i = 0; i < E::kPair; i++) {
                p[i] = exp(load(score + (j + i) * kQueries) - largest);
                if (j + i >= all) {
                    p[i] = sees(j + i, seen_v) ? p[i] : vec{};
                }
                sum += p[i];
            }
            E::store_rows(word, p);
        }
        for (; j < keys; j += E::kPair, word += kQueries) { // what a later lane sees
            const vec nothing[E::kPair] = {};
            E::store_rows(word, nothing);
        }
        store(softmax.largest + v, largest);
        store(softmax.sum + v, sum);
    }
}

// ---- one task ----------------------------------------------------------------------------------------------------------

// The packed keys and values of a sequence in one key/value head, in tiles of kKeys keys.
template <class E>
struct PackedHead {
    typename E::Word* k; // left: (tiles,kKeys,width/kPair)
    typename E::Word* v; // left, turned: (tiles,width,kKeys/kPair)
};

// Scratch of one task.
template <class E>
struct ForwardScratch {
    float* rows;         // (kQueries,width): q or out as rows. Few rows have all of the scratch to themselves
    typename E::Word* q; // right, turned: (width/kPair,kQueries), times 1/sqrt(HS)
    float* tile;         // (kKeys,kQueries)
    float* o;            // (width,kQueries)
};

int64_t forward_floats(int64_t width) {
    return kQueries * (3 * width + kKeys);
}

template <class E>
ForwardScratch<E> forward_scratch(float* base, int64_t width) {
    typedef typename E::Word Word;
    float* q = base + kQueries * width;
    float* tile = q + kQueries * width;
    return {base, reinterpret_cast<Word*>(q), tile, tile + kQueries * kKeys};
}

// Rows i0 .. i0+kQueries-1 (or to the last) of sequence s in head h, with its keys and values packed.
template <class E>
void attend_block(const Attention& a, const ForwardScratch<E>& f, const PackedHead<E>& head, int64_t s,
                  int64_t h, int64_t i0) {
    const int64_t width = padded_to_words<E>(a.HS);
    const int64_t rows = min_of(kQueries, rows_of(a, s) - i0);
    const int64_t queries = round_up(rows, kLanes * E::kPair);
    const int64_t first = keys_of(a, s) - rows_of(a, s) + i0; // position of row i0: it sees keys 0 .. first
    const int64_t row0 = (a.seq.start[s] + i0) * a.NH + h;
    typename E::Word* q = reinterpret_cast<typename E::Word*>(f.rows);
    pack_left<E>(q, a.q + row0 * a.HS, a.NH * a.HS, rows, queries, a.HS, width,
                 1.0f / std::sqrt(static_cast<float>(a.HS)));
    transpose_words(f.q, q, kQueries, width / E::kPair, queries, width / E::kPair);
    Softmax softmax;
    for (int64_t j = 0; j < first + rows; j += kKeys) {
        const int64_t keys = min_of(kKeys, padded<E>(first + rows - j));
        multiply<E>(f.tile, head.k + j * width / E::kPair, f.q, kQueries, width / E::kPair, kQueries, keys,
                    queries, padded<E>(a.HS) / E::kPair, false);
        softmax_tile<E>(f.tile, f.o, softmax, j == 0, keys, queries, first + 1 - j, width);
        multiply<E>(f.o, head.v + j * width / E::kPair, reinterpret_cast<const typename E::Word*>(f.tile),
                    kQueries, kKeys / E::kPair, kQueries, width, queries, keys / E::kPair, j > 0);
    }
    for (int64_t v = 0; v < queries; v += kLanes) {
        const vec inverse = 1.0f / load(softmax.sum + v);
        for (int64_t d = 0; d < width; d++) {
            store(f.o + d * kQueries + v, load(f.o + d * kQueries + v) * inverse);
        }
    }
    transpose_words(f.rows, f.o, width, kQueries, width, queries);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = row0 + i * a.NH;
        for (int64_t c = 0; c < a.HS; c += kLanes) {
            store_upto(a.out + row * a.HS + c, load(f.rows + i * width + c), a.HS - c);
        }
        if (a.lse != nullptr) {
            a.lse[row] = softmax.largest[i] + std::log(softmax.sum[i]);
        }
    }
}

// ---- all tasks ---------------------------------------------------------------------------------------------------------

// Scratch belongs to threads alone, so that what one packs is still in its caches when it reads it. Where there are fewer
// heads than threads need to share the work, a head of many rows is several tasks, which pack its keys each for itself; and
// the heads of a sequence of few rows are one task where there are sequences enough.
struct ForwardPlan {
    int64_t width;         // HS rounded up to whole vectors of words
    int64_t packed_keys;   // of the longest sequence that is packed, rounded up to whole tiles
    int64_t thread_floats; // what a thread needs
    int64_t parts;         // tasks of a key/value head of many rows
    int64_t heads;         // key/value heads of one task of few rows
    bool is_parallel;      // enough work to wake the other threads for
};

bool is_packed(const Attention& a, int64_t s) {
    return rows_of(a, s) > kFewRows;
}

ForwardPlan plan_forward(const Attention& a, int64_t width, int threads) {
    int64_t packed_keys = 0, few_keys = 0, scores = 0;
    for (int64_t s = 0; s < a.seq.count; s++) {
        scores += rows_of(a, s) * keys_of(a, s) * a.NH;
        int64_t& most = is_packed(a, s) ? packed_keys : few_keys;
        most = max_of(most, keys_of(a, s));
    }
    packed_keys = round_up(packed_keys, kKeys);
    const int64_t floats =
        max_of(row_floats(few_keys, a.NH), forward_floats(width) + 2 * packed_keys * width);
    const int64_t sequences = max_of(a.seq.count, 1);
    return {width,
            packed_keys,
            round_up(floats, kLanes),
            ceil_div(kTasksPerThread * threads, sequences * a.NKV),
            ceil_div(a.NKV, min_of(a.NKV, ceil_div(2 * threads, sequences))),
            scores * a.HS > kParallelWork};
}

template <class E, class T>
void pack_head(const Attention& a, const PackedHead<E>& head,
               typename E::Word* right, // (kKeys/kPair,kQueries), scratch
               int64_t s, int64_t kv) {
    const int64_t width = padded_to_words<E>(a.HS);
    const int64_t words = width / E::kPair;
    const int64_t stride = a.NKV * a.HS;
    for (int64_t j = 0; j < keys_of(a, s); j += kKeys) {
        const int64_t keys = min_of(kKeys, keys_of(a, s) - j);
        const int64_t first = first_key(a, s, kv) + j * stride;
        pack_left<E>(head.k + j * words, numbers_at<T>(a.k, first), stride, keys, padded<E>(keys), a.HS, width, 1.0f);
        pack_turned<E>(head.v + j * words, right, numbers_at<T>(a.v, first), stride, keys, a.HS, width);
    }
}

// Part `part` of a sequence of many rows in one key/value head and the query heads that read it: every parts-th block.
template <class E>
void attend_part(const Attention& a, const ForwardPlan& plan, float* scratch, int64_t s, int64_t kv,
                 int64_t part) {
    const int64_t group = a.NH / a.NKV;
    const int64_t first = part * kQueries;
    if (first >= rows_of(a, s)) {
        return;
    }
    const ForwardScratch<E> f = forward_scratch<E>(scratch, plan.width);
    typename E::Word* k = reinterpret_cast<typename E::Word*>(scratch + forward_floats(plan.width));
    const PackedHead<E> head = {k, k + plan.packed_keys * plan.width};
    const auto pack = a.k.type == WeightType::bf16 ? pack_head<E, uint16_t> : pack_head<E, float>;
    pack(a, head, reinterpret_cast<typename E::Word*>(f.tile), s, kv);
    for (int64_t i = first; i < rows_of(a, s); i += plan.parts * kQueries) {
        for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
            attend_block<E>(a, f, head, s, h, i);
        }
    }
}

template <class E>
void attend(const Attention& a, const ForwardPlan& plan, float* scratch, Team& team) {
    const int64_t group = a.NH / a.NKV;
    const int64_t row_tasks = ceil_div(a.NKV, plan.heads), packed_tasks = a.NKV * plan.parts; // of a sequence
    const int64_t most = max_of(row_tasks, packed_tasks);
    team.share(a.seq.count * most, plan.is_parallel, [&](Tasks& tasks) {
        [[maybe_unused]] const TileRegisters registers;
        float* mine = scratch + tasks.thread() * plan.thread_floats;
        for (int64_t task; tasks.take(task);) {
            const int64_t s = task / most, part = task % most;
            if (is_packed(a, s) && part < packed_tasks) {
                attend_part<E>(a, plan, mine, s, part / plan.parts, part % plan.parts);
            }
            const int64_t kv = part * plan.heads;
            for (int64_t i = 0; !is_packed(a, s) && part < row_tasks && i < rows_of(a, s); i++) {
                attend_row(a, mine, s, i, kv * group, min_of(a.NKV, kv + plan.heads) * group);
            }
        }
    });
}

} // namespace

void CpuKernels::attention_forward(float* out,     // (N,NH,HS) =
                                   float* lse,     // (N,NH) =
                                   const float* q, // (N,NH,HS)
                                   const float* k, // (N,NKV,HS)
                                   const float* v, // (N,NKV,HS)
                                   Sequences seq, int64_t NH, int64_t NKV, int64_t HS) {
    const Attention a = {out, lse, q, k, v, seq, nullptr, nullptr, 0, NH, NKV, HS};
    const ForwardPlan plan =
        plan_forward(a, bf16_ ? padded_to_words<Bf16>(HS) : padded_to_words<F32>(HS), threads_);
    float* own = scratch(threads_ * plan.thread_floats);
    if (bf16_) {
        attend<Bf16>(a, plan, own, team_);
    } else {
        attend<F32>(a, plan, own, team_);
    }
}

void CpuKernels::attention_cached(float* out,            // (N,NH,HS) =
                                  const float* q,        // (N,NH,HS)
                                  Matrix k_cache,        // (slots,capacity,NKV,HS)
                                  Matrix v_cache,        // (slots,capacity,NKV,HS)
                                  const int32_t* slot,   // (S)
                                  const int32_t* length, // (S)
                                  Sequences seq, int64_t capacity, int64_t NH, int64_t NKV, int64_t HS) {
    const Attention a = {out, nullptr, q, k_cache, v_cache, seq, slot, length, capacity, NH, NKV, HS};
    const ForwardPlan plan =
        plan_forward(a, bf16_ ? padded_to_words<Bf16>(HS) : padded_to_words<F32>(HS), threads_);
    float* own = scratch(threads_ * plan.thread_floats);
    if (bf16_) {
        attend<Bf16>(a, plan, own, team_);
    } else {
        attend<F32>(a, plan, own, team_);
    }
}

} // namespace skintern::SKINTERN_ISA
