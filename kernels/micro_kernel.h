// micro_kernel.h — the innermost product: a panel of a times a panel of b, in registers.
//
//   vectors   kPanelRows rows by two vectors of columns of out stay in registers while k runs. A step loads two vectors
//             of b and broadcasts a word of each row of a: enough reuse that the multiply-add units, not the loads, are the
//             limit. A word is multiplied by a fused multiply-add, or, where it holds two BF16, by the instruction that
//             multiplies both and adds them (AVX-512 BF16).
//   tiles     32 rows by 32 columns of out stay in four tile registers of AMX, 16 x 16 floats each. A step loads two tiles
//             of a and two of b, each of 16 words (32 numbers) of K, for four products of tiles: 32768 multiply-adds.
//
// K comes in pieces that lie apart, such as those of x and those of its low-rank image: one sum, never stored between.
#pragma once

#include "panels.h"

namespace skintern::SKINTERN_ISA {

constexpr int kMaxPieces = 8;

struct Piece {
    const float* a; // (rows,lda), or (words,rows)
    const float* b; // a panel
    int64_t words;  // padded
    int64_t lda;    // 0: a is (words,rows), which tiles never take
};

// A part of out: rows x columns, no more than a panel of each.  out = base + alpha * sum
struct OutTile {
    float* out;
    const float* base; // nullptr: zeros
    int64_t ld;
    int64_t rows, columns;
    float alpha;
};

// ---- vectors ---------------------------------------------------------------------------------------------------------

template <Words W>
inline vec broadcast_word(const float* word) {
    if constexpr (W == Words::pairs) {
        int32_t bits;
        __builtin_memcpy(&bits, word, sizeof bits);
        return (vec)(bits - ivec{});
    } else {
        return broadcast(*word);
    }
}

template <Words W>
inline vec multiply_add(vec a, vec b, vec sum) {
#if defined(__AVX512BF16__)
    if constexpr (W == Words::pairs) {
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
    }
#endif
    return fma(a, b, sum);
}

// sum += one word of MR rows times one of NV vectors of columns. Row i is at a[i / 3][i % 3 * stride]: few enough
// pointers for the registers.
template <Words W, int MR, int NV>
inline void multiply_word(vec (&sum)[MR][NV], const float* const (&a)[(MR + 2) / 3], int64_t stride, const float* b) {
    vec b_w[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) {
        b_w[v] = load(b + v * kLanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
        const vec a_iw = broadcast_word<W>(a[i / 3] + i % 3 * stride);
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            sum[i][v] = multiply_add<W>(a_iw, b_w[v], sum[i][v]);
        }
    }
}

template <Words W, int MR, int NV>
void multiply_vectors(const OutTile& tile, const Piece* pieces, int64_t count) {
    for (int i = 0; i < MR; i++) { // it is wanted at the end, and may be far away
        for (int v = 0; v < NV; v++) {
            __builtin_prefetch(tile.out + i * tile.ld + v * kLanes, 1);
        }
    }
    vec sum[MR][NV] = {};
    for (int64_t p = 0; p < count; p++) {
        const int64_t lda = pieces[p].lda;
        const float* a[(MR + 2) / 3];
#pragma GCC unroll 4
        for (int g = 0; g < (MR + 2) / 3; g++) {
            a[g] = pieces[p].a + 3 * g * (lda == 0 ? 1 : lda);
        }
        const float* b = pieces[p].b; // (words,NV*kLanes)
        const float* end = b + pieces[p].words * NV * kLanes;
        if (lda == 0) { // (words,MR)
            for (; b < end; b += NV * kLanes) {
                multiply_word<W, MR, NV>(sum, a, 1, b);
#pragma GCC unroll 4
                for (int g = 0; g < (MR + 2) / 3; g++) {
                    a[g] += MR;
                }
            }
        } else { // (MR,words)
            for (; b < end; b += NV * kLanes) {
                multiply_word<W, MR, NV>(sum, a, lda, b);
#pragma GCC unroll 4
                for (int g = 0; g < (MR + 2) / 3; g++) {
                    a[g]++;
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            const int64_t at = i * tile.ld + v * kLanes, left = tile.columns - v * kLanes;
            if (left > 0) {
                const vec old = tile.base != nullptr ? load_upto(tile.base + at, left) : vec{};
                store_upto(tile.out + at, fma(broadcast(tile.alpha), sum[i][v], old), left);
            }
        }
    }
}

// The last panel of a may be lower than the others.
template <Words W, int NV, int MR = kPanelRows<Words::floats>>
void multiply_rows(const OutTile& tile, const Piece* pieces, int64_t count) {
    if constexpr (MR > 1) {
        if (tile.rows < MR) {
            multiply_rows<W, NV, MR - 1>(tile, pieces, count);
            return;
        }
    }
    multiply_vectors<W, MR, NV>(tile, pieces, count);
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

#if defined(__AMX_BF16__)

constexpr int64_t kTileWords = 16; // words in a row of a tile, rows in a tile, and columns of its product

// Sums in tiles 0 (rows 0-15, columns 0-15), 1 (columns 16-31), 2 and 3 (rows 16-31); a in 4 and 5, b in 6 and 7.
template <int MT, int NT>
void multiply_tiles(float* out, // (MT*16,NT*16) =, rows ld apart
                    int64_t ld,
                    const float* base, // likewise, or nullptr
                    const Piece* pieces, int64_t count) {
    const int64_t out_stride = ld * 4;
    for (int64_t i = 0; i < MT * 16; i++) { // it is wanted at the end, and may be far away
        for (int64_t j = 0; j < NT * 16; j += 16) {
            __builtin_prefetch(out + i * ld + j, 1);
        }
    }
    tile_fence();
    if (base != nullptr) {
        _tile_loadd(0, base, out_stride);
        if constexpr (NT == 2) { _tile_loadd(1, base + 16, out_stride); }
        if constexpr (MT == 2) { _tile_loadd(2, base + 16 * ld, out_stride); }
        if constexpr (MT == 2 && NT == 2) { _tile_loadd(3, base + 16 * ld + 16, out_stride); }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t p = 0; p < count; p++) {
        const float* a = pieces[p].a; // (MT*16,words)
        const float* b = pieces[p].b; // (words,NT*16)
        const int64_t words = pieces[p].words, lda = pieces[p].lda;
        const int64_t a_stride = lda * 4, b_stride = NT * 64;
        for (int64_t w = 0; w < words; w += kTileWords, a += kTileWords, b += kTileWords * NT * 16) {
            _tile_loadd(6, b, b_stride);
            _tile_loadd(4, a, a_stride);
            _tile_dpbf16ps(0, 4, 6);
            if constexpr (NT == 2) {
                _tile_loadd(7, b + 16, b_stride);
                _tile_dpbf16ps(1, 4, 7);
            }
            if constexpr (MT == 2) {
                _tile_loadd(5, a + 16 * lda, a_stride);
                _tile_dpbf16ps(2, 5, 6);
            }
            if constexpr (MT == 2 && NT == 2) { _tile_dpbf16ps(3, 5, 7); }
        }
    }
    _tile_stored(0, out, out_stride);
    if constexpr (NT == 2) { _tile_stored(1, out + 16, out_stride); }
    if constexpr (MT == 2) { _tile_stored(2, out + 16 * ld, out_stride); }
    if constexpr (MT == 2 && NT == 2) { _tile_stored(3, out + 16 * ld + 16, out_stride); }
}

template <int MT, int NT>
void multiply_whole_or_edge(const OutTile& tile, const Piece* pieces, int64_t count) {
    if (tile.rows == MT * 16 && tile.columns == NT * 16 && tile.alpha == 1.0f) {
        multiply_tiles<MT, NT>(tile.out, tile.ld, tile.base, pieces, count);
        return;
    }
    alignas(64) float sum[MT * 16 * NT * 16];
    multiply_tiles<MT, NT>(sum, NT * 16, nullptr, pieces, count);
    for (int64_t i = 0; i < tile.rows; i++) {
        for (int64_t j = 0; j < tile.columns; j += kLanes) {
            const int64_t at = i * tile.ld + j, left = tile.columns - j;
            const vec old = tile.base != nullptr ? load_upto(tile.base + at, left) : vec{};
            store_upto(tile.out + at, fma(broadcast(tile.alpha), load(sum + i * NT * 16 + j), old), left);
        }
    }
}

#endif

// ---- either ------------------------------------------------------------------------------------------------------------

template <Words W>
void micro_kernel(const OutTile& tile, const Piece* pieces, int64_t count) {
    const bool narrow = tile.columns <= kLanes; // then the panel of b is one vector wide
#if defined(__AMX_BF16__)
    if constexpr (kTiled<W>) {
        const bool low = tile.rows <= 16;
        const auto multiply = low ? (narrow ? multiply_whole_or_edge<1, 1> : multiply_whole_or_edge<1, 2>)
                                  : (narrow ? multiply_whole_or_edge<2, 1> : multiply_whole_or_edge<2, 2>);
        multiply(tile, pieces, count);
        return;
    }
#endif
    narrow ? multiply_rows<W, 1>(tile, pieces, count) : multiply_rows<W, 2>(tile, pieces, count);
}

} // namespace skintern::SKINTERN_ISA
