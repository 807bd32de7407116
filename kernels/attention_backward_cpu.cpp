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
    int64_t head_floats() const {
        return round_up(seq.max_length, kKeys) * width + 3 * kLanes;
    } // keys of a head, in scratch
};

// ---- scratch -----------------------------------------------------------------------------------------------------------

// Keys and values of one sequence in one key/value head, and what one query head adds to their gradients.
template <class E>
struct BackwardKeys {
    typename E::Word* k;        // left: (keys,width/kPair)
    typename E::Word* v;        // left: (keys,width/kPair)
    typename E::Word* k_turned; // left, turned: (tiles,width,kKeys/kPair)
    float* dk;                  // (keys,width)
    float* dv;                  // (keys,width)
};

template <class E>
BackwardKeys<E> backward_keys(const Backward& b, float* base) {
    typename E::Word* k = reinterpret_cast<typename E::Word*>(base);
    const int64_t floats = b.head_floats();
    return {k, k + floats, k + 2 * floats, base + 3 * floats, base + 4 * floats};
}

// Scratch of a thread: a block of queries of one head.
template <class E>
struct BackwardBlock {
    typename E::Word* q;         // right, turned: (tiles,width/kPair,kQueries), times 1/sqrt(HS)
    typename E::Word* dout;      // right, turned: (tiles,width/kPair,kQueries)
    typename E::Word* q_rows;    // right: (kBlockQueries/kPair,width), times 1/sqrt(HS)
    typename E::Word* dout_rows; // right: (kBlockQueries/kPair,width)
    typename E::Word* p;         // left: (kKeys,kBlockQueries/kPair)
    typename E::Word* ds;        // left: (kKeys,kBlockQueries/kPair)
    float* dq;                   // (tiles,width,kQueries)
    float* s;                    // (kKeys,kQueries)
    float* dp;                   // (kKeys,kQueries), and ds in its place: right (kKeys/kPair,kQueries)
    float* rows;                 // (kQueries,width) of q, dout or dq
    float* lse;                  // (kBlockQueries)
    float* D;                    // (kBlockQueries)
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
void softmax_tile_backward(
    typename E::Word* p,  // left: (keys,queries/kPair) =, rows kBlockQueries/kPair apart
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
                        const ivec unseen =
                            kLaneNumber <= static_cast<int32_t>(j + r - all - v * kLanes) - ivec{};
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
void load_block(const Backward& b, const BackwardBlock<E>& f, int64_t s, int64_t h, int64_t i0,
                int64_t rows) {
    const int64_t stride = b.NH * b.HS;
    const int64_t words = b.width / E::kPair;
    const int64_t first = ((b.seq.start[s] + i0) * b.NH + h) * b.HS;
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.HS));
    typename E::Word* left = reinterpret_cast<typename E::Word*>(f.rows);
    for (int64_t c = 0; c < rows; c += kQueries) {
        const int64_t count = min_of(kQueries, rows - c);
        const int64_t queries = round_up(count, kLanes * E::kPair);
        pack_left<E>(left, b.q + first + c * stride, stride, count, queries, b.HS, b.width, scale);
        transpose_words(f.q + c * words, left, kQueries, words, queries, words);
        pack_left<E>(left, b.dout + first + c * stride, stride, count, queries, b.HS, b.width, 1.0f);
        if (i0 + c == 0) {
            zero_all(f.rows, words); // row 0: see below
        }
        transpose_words(f.dout + c * words, left, kQueries, words, queries, words);
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
void store_block(const Backward& b, const BackwardBlock<E>& f, int64_t s, int64_t h, int64_t i0,
                 int64_t rows) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(b.HS));
    float* dq = b.dq + ((b.seq.start[s] + i0) * b.NH + h) * b.HS;
    for (int64_t i = 0; i < rows; i++, dq += b.NH * b.HS) {
        if (i % kQueries == 0) {
            transpose_words(f.rows, f.dq + i * b.width, b.width, kQueries, b.width, kQueries);
        }
        for (int64_t d = 0; d < b.HS; d += kLanes) {
            store_upto(dq + d, load(f.rows + i % kQueries * b.width + d) * scale, b.HS - d);
        }
    }
}

// Rows i0 .. of sequence s in head h: dq =, dk and dv (in scratch) +=
template <class E>
void backward_rows(const Backward& b, const BackwardBlock<E>& f, const BackwardKeys<E>& packed, int64_t s,
                   int64_t h, int64_t i0) {
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
                multiply<E>(f.s, packed.k + j * words, f.q + c * words, kQueries, words, kQueries, some,
                            queries, padded<E>(b.HS) / E::kPair, false);
                multiply<E>(f.dp, packed.v + j * words, f.dout + c * words, kQueries, words, kQueries, some,
                            queries, padded<E>(b.HS) / E::kPair, false);
                softmax_tile_backward<E>(f.p + c / E::kPair, f.ds + c / E::kPair, f.dp, f.s, f.lse + c,
                                         f.D + c, some, queries, seen);
                multiply<E>(f.dq + c * width, packed.k_turned + j * words,
                            reinterpret_cast<typename E::Word*>(f.dp), kQueries, kKeys / E::kPair, kQueries,
                            width, queries, some / E::kPair, true);
            }
        }
        // On the diagonal the sums of keys j+r .. begin with the first query that sees one of them.
        const int64_t band = j + keys > i0 ? kQueries : keys;
        for (int64_t r = 0; r < keys; r += band) {
            const int64_t i = max_of(0, j + r - i0);
            const int64_t count = min_of(band, keys - r);
            const int64_t left = (r * kBlockQueries + i) / E::kPair;
            const int64_t right = i / E::kPair * width;
            const int64_t terms = (padded<E>(rows) - i) / E::kPair;
            multiply<E>(packed.dv + (j + r) * width, f.p + left, f.dout_rows + right, width, kBlockWords,
                        width, count, width, terms, true);
            multiply<E>(packed.dk + (j + r) * width, f.ds + left, f.q_rows + right, width, kBlockWords, width,
                        count, width, terms, true);
        }
    }
    store_block(b, f, s, h, i0, rows);
}

// ---- one task ----------------------------------------------------------------------------------------------------

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

// What one query head adds to the gradients of its keys, in scratch.
template <class E>
void backward_head(const Backward& b, const BackwardBlock<E>& f, const BackwardKeys<E>& packed, int64_t s,
                   int64_t h) {
    zero_all(packed.dk, padded<E>(b.rows(s)) * b.width);
    zero_all(packed.dv, padded<E>(b.rows(s)) * b.width);
    for (int64_t i = 0; i < b.rows(s); i += kBlockQueries) {
        backward_rows<E>(b, f, packed, s, h, i);
    }
}

// The part of query head h goes to dk or dv: the first of a group overwrites, the others add.
void add_head(const Backward& b, float* out, const float* part, int64_t s, int64_t h) {
    const bool add = h % b.group() > 0;
    float* out_j = out + (b.seq.start[s] * b.NKV + h / b.group()) * b.HS;
    for (int64_t j = 0; j < b.rows(s); j++, out_j += b.NKV * b.HS) {
        for (int64_t d = 0; d < b.HS; d += kLanes) {
            const vec before = add ? load_upto(out_j + d, b.HS - d) : vec{};
            store_upto(out_j + d, before + load(part + j * b.width + d), b.HS - d);
        }
    }
}

// ---- all tasks ---------------------------------------------------------------------------------------------------------

// A task is one key/value head of one sequence. Where these are too few for the threads, each of the query heads that read
// it is a task, and the sum over them waits until all are done; it is the same sum.
struct BackwardPlan {
    bool is_split;
    int64_t block_floats; // of a thread
    int64_t head_floats;  // of a thread, or of each head when split

    BackwardPlan(const Backward& b, int threads)
        : is_split(b.group() > 1 && b.seq.count * b.NKV < 4 * threads && threads > 1),
          block_floats(round_up(skintern::SKINTERN_ISA::block_floats(b.width), kLanes)),
          head_floats(5 * b.head_floats()) {}

    int64_t floats(const Backward& b, int threads) const {
        return threads * block_floats + (is_split ? b.seq.count * b.NH : threads) * head_floats;
    }
};

template <class E>
void backward(const Backward& b, const BackwardPlan& plan, float* scratch, Team& team) {
    const int64_t task_heads = plan.is_split ? 1 : b.group();
    float* heads = scratch + team.threads() * plan.block_floats;
    const int64_t tasks_of_sequence = b.NH / task_heads;
    team.share(b.seq.count * tasks_of_sequence, true, [&](Tasks& tasks) {
        [[maybe_unused]] const TileRegisters registers;
        const BackwardBlock<E> f = backward_block<E>(scratch + tasks.thread() * plan.block_floats, b.width);
        for (int64_t task; tasks.take(task);) {
            const int64_t s = task / tasks_of_sequence, first = task % tasks_of_sequence * task_heads;
            const int64_t owner = plan.is_split ? task : tasks.thread();
            const BackwardKeys<E> packed = backward_keys<E>(b, heads + owner * plan.head_floats);
            pack_keys<E>(b, packed, f.p, s, first / b.group());
            for (int64_t h = first; h < first + task_heads; h++) {
                backward_head<E>(b, f, packed, s, h);
                if (!plan.is_split) {
                    add_head(b, b.dk, packed.dk, s, h);
                    add_head(b, b.dv, packed.dv, s, h);
                }
            }
        }
    });
    if (plan.is_split) {
        team.each(b.seq.count * b.NKV, true, [&](int64_t task) {
            const int64_t s = task / b.NKV, kv = task % b.NKV;
            for (int64_t h = kv * b.group(); h < (kv + 1) * b.group(); h++) {
                const BackwardKeys<E> part = backward_keys<E>(b, heads + (s * b.NH + h) * plan.head_floats);
                add_head(b, b.dk, part.dk, s, h);
                add_head(b, b.dv, part.dv, s, h);
            }
        });
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
    const BackwardPlan plan(b, threads_);
    float* own = scratch(plan.floats(b, threads_));
    if (bf16_) {
        backward<Bf16>(b, plan, own, team_);
    } else {
        backward<F32>(b, plan, own, team_);
    }
}

} // namespace skintern::SKINTERN_ISA
