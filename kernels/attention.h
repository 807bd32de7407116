// attention.h — what the three files of attention on the CPU share. They compute
//
//   s_ij = q_i.k_j / sqrt(HS),  p_ij = exp(s_ij - lse_i),  out_i = sum_{j<=i} p_ij v_j
//
//   attention_forward_cpu.cpp   many rows in tiles, and the ops attention_forward and attention_cached
//   attention_cached_cpu.cpp    few rows over many keys: decoding
//   attention_backward_cpu.cpp  attention_backward
//
// A tile is the scores of kQueries queries and at most kKeys keys. It lies with the keys as its rows and the queries as
// its columns, one query in each lane of a vector: the largest score of a query, the sum of its exponentials and its mask
// are then those of a lane, and no vector is ever summed or searched across its lanes.
#pragma once

#include "cpu.h"
#include "tiles.h"

namespace skintern::SKINTERN_ISA {

constexpr int64_t kQueries = 2 * kLanes;
constexpr int64_t kKeys = 128;

// New rows over keys, for attention_forward (all keys are of the new rows) and attention_cached alike.
struct Attention {
    float* out; // (N,NH,HS)
    float* lse; // (N,NH), or nullptr
    const float* q;
    Matrix k; // of one type with v: f32, or bf16 in a cache
    Matrix v;
    Sequences seq;
    const int32_t* slot;   // (S), or nullptr: the keys of sequence s are rows start[s] .. of k
    const int32_t* length; // (S), or nullptr: as many keys as rows
    int64_t capacity;
    int64_t NH, NKV, HS;
};

inline int64_t rows_of(const Attention& a, int64_t s) {
    return a.seq.start[s + 1] - a.seq.start[s];
}

inline int64_t keys_of(const Attention& a, int64_t s) {
    return a.length != nullptr ? a.length[s] : rows_of(a, s);
}

// Offset in k and v of key 0 of sequence s in key/value head kv; its other keys follow NKV*HS apart.
inline int64_t first_key(const Attention& a, int64_t s, int64_t kv) {
    const int64_t row = a.slot != nullptr ? a.slot[s] * a.capacity : a.seq.start[s];
    return (row * a.NKV + kv) * a.HS;
}

// The numbers of a matrix from `offset` on: T is float, or uint16_t where its type is bf16.
template <class T>
inline const T* numbers_at(const Matrix& matrix, int64_t offset) {
    return static_cast<const T*>(matrix.data) + offset;
}

// One tile of rows (keys) as a left operand of the turned matrix, so that a sum runs over the keys.
template <class E, class T>
inline void pack_turned(typename E::Word* packed, // (width,kKeys/kPair) =
                        typename E::Word* right,  // (kKeys/kPair,kQueries), scratch
                        const T* rows,            // (keys,HS), stride apart
                        int64_t stride, int64_t keys, int64_t HS, int64_t width) {
    constexpr int64_t kWords = kKeys / E::kPair;
    for (int64_t d = 0; d < width; d += kQueries) {
        const int64_t columns = min_of(kQueries, width - d);
        pack_right<E>(right, rows + d, stride, keys, kKeys, HS - d, columns, 1.0f);
        transpose_words(packed + d * kWords, right, kWords, columns, kWords, columns);
    }
}

// ---- few rows, in attention_cached_cpu.cpp ---------------------------------------------------------------------------

// Floats of scratch that attend_row needs for a row of so many keys.
int64_t row_floats(int64_t keys, int64_t NH);

// One new row (row i of sequence s) in the query heads h0 .. h1-1.
void attend_row(const Attention& a, float* scratch, int64_t s, int64_t i, int64_t h0, int64_t h1);

} // namespace skintern::SKINTERN_ISA
