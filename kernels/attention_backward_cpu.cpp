// attention_backward_cpu.cpp — the backward pass of causal attention on the CPU.
//
// Dao et al. 2022, algorithm 4. lse is known, so p is one exp away. With D_i = dout_i.out_i:
//   dv_j = sum_i p_ij dout_i          dp_ij = dout_i.v_j          ds_ij = p_ij (dp_ij - D_i)
//   dq_i = sum_j ds_ij k_j / sqrt(HS)                             dk_j = sum_i ds_ij q_i / sqrt(HS)
//
// A task is one query head of one sequence. It goes over blocks of kBlockQueries queries, and for each over tiles of kKeys
// keys; a tile of scores is made kQueries queries at a time, with the keys as its rows (see attention.h):
//
//   s^T = k q^T   dp^T = v dout^T   ->  p^T, ds^T   ->   dq^T += k^T ds^T             for each kQueries queries
//                                                        dv += p^T dout,  dk += ds^T q    for the whole block
//
// Key/value heads that several query heads read get the sum over these in a last round, in order. Every sum is in the
// order of keys or queries inside one task: results do not depend on the number of threads.
//
// With dtype bf16 the operands q / sqrt(HS), k, v, dout, p and ds are rounded to BF16; the softmax and D are F32.
//
// Cost: 5 NH HS T^2/2 multiply-adds. Scratch: 3 (N,NKV,HS) of packed keys and values, 2 (N,NH,HS) of dk and dv, and in
// each thread 5 HS + 4 kKeys rows of kBlockQueries.
#include <cmath>

#include "attention.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kBlockQueries = 128;

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
    int64_t width; // HS rounded up to whole vectors of words

    int64_t rows(int64_t s) const { return seq.start[s + 1] - seq.start[s]; }
    int64_t group() const { return NH / NKV; }

    // In scratch a sequence has its rows rounded up to whole tiles. (s,head) of so many heads starts at this row of them.
    int64_t first_row(int64_t s, int64_t head, int64_t heads) const {
        return (seq.start[s] + s * kKeys) * heads + head * round_up(rows(s), kKeys);
    }
    int64_t scratch_rows(int64_t heads) const { return first_row(seq.count, 0, heads); }
};

// ---- scratch -----------------------------------------------------------------------------------------------------------

// Keys and values of one sequence in one key/value head.
template <class E>
struct BackwardKeys {
    typename E::Word* k;        // left: (keys,width/kPair)
    typename E::Word* v;        // left: (keys,width/kPair)
    typename E::Word* k_turned; // left, turned: (tiles,width,kKeys/kPair)
};

template <class E>
BackwardKeys<E> backward_keys(const Backward& b, float* scratch, int64_t s, int64_t kv) {
    const int64_t floats = round_up(b.rows(s), kKeys) * b.width;
    typename E::Word* k = reinterpret_cast<typename E::Word*>(scratch) + 3 * b.first_row(s, kv, b.NKV) * b.width;
    return {k, k + floats, k + 2 * floats};
}

// Scratch of a thread: a block of queries of one head.
template <class E>
struct BackwardBlock {
    typename E::Word* q;           // right, turned: (width/kPair,kBlockQueries), times 1/sqrt(HS)
    typename E::Word* dout;        // right, turned: (width/kPair,kBlockQueries)
    typename E::Word* q_rows;      // right: (kBlockQueries/kPair,width), times 1/sqrt(HS)
    typename E::Word* dout_rows;   // right: (kBlockQueries/kPair,width)
    typename E::Word* p;           // left: (kKeys,kBlockQueries/kPair)
    typename E::Word* ds;          // left: (kKeys,kBlockQueries/kPair)
    float* dq;                     // (width,kBlockQueries)
    float* s;                      // (kKeys,kQueries)
    float* dp;                     // (kKeys,kQueries), and ds in its place: right (kKeys/kPair,kQueries)
    float* rows;                   // (kQueries,width) of q, dout or dq
    float* lse;                    // (kBlockQueries)
    float* D;                      // (kBlockQueries)
};

int64_t block_floats(int64_t width) {
    return kBlockQueries * (5 * width + 2 * kKeys + 2) + kQueries * (2 * kKeys + width);
}

template <class E>
BackwardBlock<E> backward_block(float* base, int64_t width) {
    typedef typename E::Word Word;
    const int64_t floats = kBlockQueries * width;
    BackwardBlock<E> f;
    f.q = reinterpret_cast<Word*>(base);
    f.dout = f.q + floats;
    f.q_rows = f.dout + floats;
    f.dout_rows = f.q_rows + floats;
    f.p = f.dout_rows + floats;
    f.ds = f.p + kBlockQueries * kKeys;
    f.dq = base + 4 * floats + 2 * kBlockQueries * kKeys;
    f.s = f.dq + floats;
    f.dp = f.s + kQueries * kKeys;
    f.rows = f.dp + kQueries * kKeys;
    f.lse = f.rows + kQueries * width;
    f.D = f.lse + kBlockQueries;
    return f;
}

// ---- one tile ----------------------------------------------------------------------------------------------------------

// p = exp(s - lse), ds = p (dp - D) of a tile of kQueries queries, as words. Query 0 sees the first `seen` keys, each other
// one more than the query before it.
template <class E>
void softmax_tile_backward(typename E::Word* p,  // left: (keys,queries/kPair) =, rows kBlockQueries/kPair apart
                           typename E::Word* ds, // likewise
                           float* dp,            // (keys,kQueries) in, ds as (keys/kPair,kQueries) words out
                           const float* score,   // (keys,kQueries)
                           const float* lse,     // (queries)
                           const float* D,       // (queries)
                           int64_t keys, int64_t queries, int64_t seen) {
    constexpr int64_t kStep = kLanes * E::kPair;
    for (int64_t i = 0; i < queries; i += kStep) {
        const int64_t all = seen + i; // keys that every query of these sees
        typename E::Word* word = reinterpret_cast<typename E::Word*>(dp) + i;
        for (int64_t j = 0; j < keys; j += E::kPair, word += kQueries) {
            vec by_key[E::kPair][E::kPair]; // ds of kPair keys, and the same by vectors of queries
            vec by_query[E::kPair][E::kPair];
            for (int64_t r = 0; r < E::kPair; r++) {
                vec p_r[E::kPair];
                for (int64_t v = 0; v < E::kPair; v++) {
                    const int64_t at = (j + r) * kQueries + i + v * kLanes;
                    vec p_rv = exp(load(score + at) - load(lse + i + v * kLanes));
                    if (j + r >= all) { // behind the diagonal
                        const ivec unseen = kLaneNumber <= static_cast<int32_t>(j + r - all - v * kLanes) - ivec{};
                        p_rv = unseen ? vec{} : p_rv;
                    }
                    p_r[v] = p_rv;
                    by_key[r][v] = by_query[v][r] = p_rv * (load(dp + at) - load(D + i + v * kLanes));
                }
                const int64_t at = (j + r) * (kBlockQueries / E::kPair) + i / E::kPair;
                E::store_row(p + at, p_r);
                E::store_row(ds + at, by_key[r]);
            }
            for (int64_t v = 0; v < E::kPair; v++) {
                E::store_rows(word + v * kLanes, by_query[v]);
            }
        }
    }
}

// ---- one block of queries ------------------------------------------------------------------------------------------------

// Packs rows i0 .. of sequence s in head h, `rows` of them, and zeroes dq.
template <class E>
void load_block(const Backward& b, const BackwardBlock<E>& f, int64_t s, int64_t h, int64_t i0, int64_t rows) {
    const int64_t stride = b.NH * b.HS;
    const int64_t words = b.width / E::kPair;
    const int64_t first = ((b.seq.start[s] + i0) * b.NH + h) * b.HS;
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.HS));
    typename E::Word* left = reinterpret_cast<typename E::Word*>(f.rows);
    for (int64_t c = 0; c < rows; c += kQueries) {
        const int64_t count = min_of(kQueries, rows - c);
        const int64_t queries = round_up(count, kLanes * E::kPair);
        pack_left<E>(left, b.q + first + c * stride, stride, count, queries, b.HS, b.width, scale);
        transpose_words(f.q + c, left, kBlockQueries, words, queries, words);
        pack_left<E>(left, b.dout + first + c * stride, stride, count, queries, b.HS, b.width, 1.0f);
        if (i0 + c == 0) {
            zero_all(f.rows, words); // row 0: see below
        }
        transpose_words(f.dout + c, left, kBlockQueries, words, queries, words);
    }
    const int64_t all_rows = padded<E>(rows);
    pack_right<E>(f.q_rows, b.q + first, stride, rows, all_rows, b.HS, b.width, scale);
    pack_right<E>(f.dout_rows, b.dout + first, stride, rows, all_rows, b.HS, b.width, 1.0f);
    zero_all(f.dq, b.width * kBlockQueries);
    for (int64_t i = 0; i < kBlockQueries; i++) {
        f.lse[i] = i < rows ? b.lse[(b.seq.start[s] + i0 + i) * b.NH + h] : 0.0f;
        f.D[i] = i < rows ? dot(b.dout + first + i * stride, b.out + first + i * stride, b.HS) : 0.0f;
    }
    if (i0 == 0) {
        // Row 0 sees one key, whose p is 1 whatever its score: ds is 0. dp - D is that only but for rounding, which AdamW
        // would turn into a step where all else is 0. So dp and D of row 0 are made of a dout of 0.
        f.D[0] = 0.0f;
    }
}

template <class E>
void store_block(const Backward& b, const BackwardBlock<E>& f, int64_t s, int64_t h, int64_t i0, int64_t rows) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.HS));
    float* dq = b.dq + ((b.seq.start[s] + i0) * b.NH + h) * b.HS;
    for (int64_t i = 0; i < rows; i++, dq += b.NH * b.HS) {
        if (i % kQueries == 0) {
            transpose_words(f.rows, f.dq + i, b.width, kBlockQueries, b.width, kQueries);
        }
        for (int64_t d = 0; d < b.HS; d += kLanes) {
            store_upto(dq + d, load(f.rows + i % kQueries * b.width + d) * scale, b.HS - d);
        }
    }
}

// Rows i0 .. of sequence s in head h: dq =, dk and dv (in scratch) +=
template <class E>
void backward_rows(const Backward& b, const BackwardBlock<E>& f, const BackwardKeys<E>& packed,
                   float* dk, // (keys,width)
                   float* dv, // (keys,width)
                   int64_t s, int64_t h, int64_t i0) {
    const int64_t width = b.width;
    const int64_t words = width / E::kPair;
    constexpr int64_t kBlockWords = kBlockQueries / E::kPair;
    const int64_t rows = min_of(kBlockQueries, b.rows(s) - i0);
    load_block(b, f, s, h, i0, rows);
    for (int64_t j = 0; j < i0 + rows; j += kKeys) {
        const int64_t keys = min_of(kKeys, padded<E>(i0 + rows - j));
        for (int64_t c = 0; c < rows; c += kQueries) {
            const int64_t queries = round_up(min_of(kQueries, rows - c), kLanes * E::kPair);
            const int64_t seen = i0 + c + 1 - j; // keys of the tile that the first query sees
            const int64_t some = min_of(keys, seen - 1 + kQueries);
            if (some > 0) {
                multiply<E>(f.s, packed.k + j * words, f.q + c, kQueries, words, kBlockQueries, some, queries,
                            padded<E>(b.HS) / E::kPair, false);
                multiply<E>(f.dp, packed.v + j * words, f.dout + c, kQueries, words, kBlockQueries, some, queries,
                            padded<E>(b.HS) / E::kPair, false);
                softmax_tile_backward<E>(f.p + c / E::kPair, f.ds + c / E::kPair, f.dp, f.s, f.lse + c, f.D + c, some,
                                         queries, seen);
                multiply<E>(f.dq + c, packed.k_turned + j * words, reinterpret_cast<typename E::Word*>(f.dp),
                            kBlockQueries, kKeys / E::kPair, kQueries, width, queries, some / E::kPair, true);
            }
        }
        for (int64_t r = 0; r < keys; r += kQueries) { // keys j+r .. are seen from query i on
            const int64_t i = max_of(0, j + r - i0);
            const int64_t left = (r * kBlockQueries + i) / E::kPair;
            const int64_t right = i / E::kPair * width;
            const int64_t terms = (padded<E>(rows) - i) / E::kPair;
            multiply<E>(dv + (j + r) * width, f.p + left, f.dout_rows + right, width, kBlockWords, width,
                        min_of(kQueries, keys - r), width, terms, true);
            multiply<E>(dk + (j + r) * width, f.ds + left, f.q_rows + right, width, kBlockWords, width,
                        min_of(kQueries, keys - r), width, terms, true);
        }
    }
    store_block(b, f, s, h, i0, rows);
}

// ---- the three rounds ----------------------------------------------------------------------------------------------------

template <class E>
void pack_keys(const Backward& b, const BackwardKeys<E>& packed,
               typename E::Word* right, // (kKeys/kPair,kQueries), scratch
               int64_t s, int64_t kv) {
    const int64_t words = b.width / E::kPair;
    const int64_t stride = b.NKV * b.HS;
    for (int64_t j = 0; j < b.rows(s); j += kKeys) {
        const int64_t keys = min_of(kKeys, b.rows(s) - j);
        const int64_t first = ((b.seq.start[s] + j) * b.NKV + kv) * b.HS;
        pack_left<E>(packed.k + j * words, b.k + first, stride, keys, padded<E>(keys), b.HS, b.width, 1.0f);
        pack_left<E>(packed.v + j * words, b.v + first, stride, keys, padded<E>(keys), b.HS, b.width, 1.0f);
        pack_turned<E>(packed.k_turned + j * words, right, b.k + first, stride, keys, b.HS, b.width);
    }
}

// out[j] = sum_h partial[h,j] over the query heads that read key/value head kv of sequence s.
void add_heads(const Backward& b, float* out, const float* partial, int64_t s, int64_t kv) {
    for (int64_t j = 0; j < b.rows(s); j++) {
        float* out_j = out + ((b.seq.start[s] + j) * b.NKV + kv) * b.HS;
        for (int64_t d = 0; d < b.HS; d += kLanes) {
            vec sum = {};
            for (int64_t h = kv * b.group(); h < (kv + 1) * b.group(); h++) {
                sum += load(partial + (b.first_row(s, h, b.NH) + j) * b.width + d);
            }
            store_upto(out_j + d, sum, b.HS - d);
        }
    }
}

int64_t backward_floats(const Backward& b, int threads) {
    return (3 * b.scratch_rows(b.NKV) + 2 * b.scratch_rows(b.NH)) * b.width + threads * block_floats(b.width);
}

template <class E>
void backward(const Backward& b, float* scratch, [[maybe_unused]] int threads) {
    float* dk = scratch + 3 * b.scratch_rows(b.NKV) * b.width;
    float* dv = dk + b.scratch_rows(b.NH) * b.width;
    float* own = dv + b.scratch_rows(b.NH) * b.width;
#pragma omp parallel num_threads(threads)
    {
        [[maybe_unused]] const TileRegisters registers;
        const BackwardBlock<E> f = backward_block<E>(own + thread_index() * block_floats(b.width), b.width);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t s = 0; s < b.seq.count; s++) {
            for (int64_t kv = 0; kv < b.NKV; kv++) {
                pack_keys<E>(b, backward_keys<E>(b, scratch, s, kv), f.p, s, kv);
            }
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t s = 0; s < b.seq.count; s++) {
            for (int64_t h = 0; h < b.NH; h++) {
                const BackwardKeys<E> packed = backward_keys<E>(b, scratch, s, h / b.group());
                const int64_t first = b.first_row(s, h, b.NH) * b.width;
                zero_all(dk + first, padded<E>(b.rows(s)) * b.width);
                zero_all(dv + first, padded<E>(b.rows(s)) * b.width);
                for (int64_t i = 0; i < b.rows(s); i += kBlockQueries) {
                    backward_rows<E>(b, f, packed, dk + first, dv + first, s, h, i);
                }
            }
        }
#pragma omp for collapse(2) schedule(static)
        for (int64_t s = 0; s < b.seq.count; s++) {
            for (int64_t kv = 0; kv < b.NKV; kv++) {
                add_heads(b, b.dk, dk, s, kv);
                add_heads(b, b.dv, dv, s, kv);
            }
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
    const int64_t width = bf16_ ? padded_to_words<Bf16>(HS) : padded_to_words<F32>(HS);
    const Backward b = {dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS, width};
    float* own = scratch(backward_floats(b, threads_));
    if (bf16_) {
        backward<Bf16>(b, own, threads_);
    } else {
        backward<F32>(b, own, threads_);
    }
}

} // namespace skintern::SKINTERN_ISA
