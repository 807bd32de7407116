// tiles.h — what matmul and attention share: copying pieces of matrices into panels, and products of small tiles.
//
// A panel holds a few columns (or rows, turned) of a matrix with the other index running slowest, so that a product in
// registers reads it from beginning to end. Panels are padded with zeros to whole vectors.
#pragma once

#include "simd.h"

namespace skintern::SKINTERN_ISA {

// ---- packing ---------------------------------------------------------------------------------------------------------

// packed[k,i] = inp[k,i], with zeros for i >= columns.
inline void pack_straight(float* packed,    // (K,width) =
                          const float* inp, // (K,columns), rows ld apart
                          int64_t ld, int64_t K, int64_t columns, int64_t width) {
    for (int64_t k = 0; k < K; k++, packed += width, inp += ld) {
        int64_t i = 0;
        for (; i + kLanes <= columns; i += kLanes) {
            store(packed + i, load(inp + i));
        }
        for (; i + 4 <= columns; i += 4) {
            store4(packed + i, load4(inp + i));
        }
        for (; i < columns; i++) {
            packed[i] = inp[i];
        }
        for (; i < width; i++) {
            packed[i] = 0.0f;
        }
    }
}

// Four rows of four turned into columns.
inline void transpose_4x4(float* out, const float* inp, int64_t ld_out, int64_t ld_inp) {
    const vec4 r0 = load4(inp);
    const vec4 r1 = load4(inp + ld_inp);
    const vec4 r2 = load4(inp + 2 * ld_inp);
    const vec4 r3 = load4(inp + 3 * ld_inp);
    const vec4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const vec4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const vec4 high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const vec4 high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    store4(out, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
    store4(out + ld_out, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
    store4(out + 2 * ld_out, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
    store4(out + 3 * ld_out, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// kLanes rows of four turned into four rows of kLanes. A vector is taken as kLanes/4 quads: vector r gets rows r, r+4,
// r+8 ... as its quads, so that what is left is one 4x4 turn in every quad at once.
inline void transpose_lanes(float* out, const float* inp, int64_t ld_out, int64_t ld_inp) {
#if defined(__AVX512F__)
    vec r[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const float* row = inp + i * ld_inp;
        const vec4 a = load4(row);
        const vec4 b = load4(row + 4 * ld_inp);
        const vec4 c = load4(row + 8 * ld_inp);
        const vec4 d = load4(row + 12 * ld_inp);
        const vec8 ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
        const vec8 cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
        r[i] = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    }
    const __m512d low01 = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(0xffff, (__m512)r[0], (__m512)r[1]));
    const __m512d low23 = _mm512_castps_pd(_mm512_maskz_unpacklo_ps(0xffff, (__m512)r[2], (__m512)r[3]));
    const __m512d high01 = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(0xffff, (__m512)r[0], (__m512)r[1]));
    const __m512d high23 = _mm512_castps_pd(_mm512_maskz_unpackhi_ps(0xffff, (__m512)r[2], (__m512)r[3]));
    store(out, (vec)_mm512_maskz_unpacklo_pd(0xff, low01, low23));
    store(out + ld_out, (vec)_mm512_maskz_unpackhi_pd(0xff, low01, low23));
    store(out + 2 * ld_out, (vec)_mm512_maskz_unpacklo_pd(0xff, high01, high23));
    store(out + 3 * ld_out, (vec)_mm512_maskz_unpackhi_pd(0xff, high01, high23));
#else
    for (int i = 0; i < kLanes; i += 4) {
        transpose_4x4(out + i, inp + i * ld_inp, ld_out, ld_inp);
    }
#endif
}

// packed[k,i] = inp[i,k], with zeros for i >= rows.
inline void pack_transposed(float* packed,    // (K,width) =
                            const float* inp, // (rows,K), rows ld apart
                            int64_t ld, int64_t K, int64_t rows, int64_t width) {
    const int64_t whole = K / 4 * 4; // columns that are turned four at a time
    int64_t i = 0;
    for (; i + kLanes <= rows; i += kLanes) {
        for (int64_t k = 0; k < whole; k += 4) {
            transpose_lanes(packed + k * width + i, inp + i * ld + k, width, ld);
        }
    }
    while (rows >= 4 && i < rows) {
        i = min_of(i, rows - 4); // the last four overlap the four before them
        for (int64_t k = 0; k < whole; k += 4) {
            transpose_4x4(packed + k * width + i, inp + i * ld + k, width, ld);
        }
        i += 4;
    }
    // What is left: a row or three, the columns behind `whole`, and zeros.
    for (int64_t j = 0; j < width; j++) {
        for (int64_t k = j < i ? whole : 0; k < K; k++) {
            packed[k * width + j] = j < rows ? inp[j * ld + k] : 0.0f;
        }
    }
}

// ---- operands of products ---------------------------------------------------------------------------------------------
//
// The products of attention are of operands that lie in scratch as words of 32 bits: a word is one F32, or two BF16 that
// are neighbours in the direction k that the sum runs in. With that, one loop multiplies both types:
//
//   out(M,N) += a(M,K) b(K,N):   sum[m,n] += a[m,word] * b[word,n]      for every word of k
//
//   a is "left":  (M,words), a row of it is a row of the matrix:  the words of a row of 4 are  01 23
//   b is "right": (words,N), a column of words each:              row 0 holds 0 and 1 of every column, row 1 holds 2 and 3
//
// A left operand whose words are turned, as if it were a matrix of words, is a right operand of the turned matrix and the
// other way round: transpose_words makes either from the other. A type of operand (the E below) is:
//
//   Word               float, or uint32_t
//   kPair              numbers of a word: 1 or 2
//   kBlock             sizes of operands are padded with zeros to multiples of it
//   store_row(w, x)    kPair vectors x of one row become the words of a left operand
//   store_rows(w, x)   one vector x of each of kPair rows become the words of a right operand

struct F32 {
    typedef float Word;
    static constexpr int64_t kPair = 1;
    static constexpr int64_t kBlock = 1;
    static void store_row(Word* w, const vec* x) { store(w, x[0]); }
    static void store_rows(Word* w, const vec* x) { store(w, x[0]); }
    static vec multiply_add(Word a, vec b, vec sum) { return fma(broadcast(a), b, sum); }
};

#if defined(__AVX512BF16__)

// Pairs of BF16, which the processor multiplies and sums in F32: lane by lane, or 16 x 16 x 32 at a time where it has AMX.
struct Bf16 {
    typedef uint32_t Word;
    static constexpr int64_t kPair = 2;
#if defined(__AMX_BF16__)
    static constexpr int64_t kBlock = 32;
#else
    static constexpr int64_t kBlock = 2;
#endif
    static __m512i converted(const vec* x) { // x[0], then x[1]
        return (__m512i)_mm512_cvtne2ps_pbh((__m512)x[1], (__m512)x[0]);
    }
    static void store_row(Word* w, const vec* x) {
        _mm512_storeu_si512(w, converted(x));
    }
    static void store_rows(Word* w, const vec* x) {
        typedef int16_t halves __attribute__((vector_size(64)));
        const halves h = (halves)converted(x);
        _mm512_storeu_si512(w, (__m512i)__builtin_shufflevector(h, h, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                                                21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11,
                                                                27, 12, 28, 13, 29, 14, 30, 15, 31));
    }
    static vec multiply_add(Word a, vec b, vec sum) {
        return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)),
                                     (__m512bh)b);
    }
};

#else

// Without such instructions: F32 whose values are those of BF16, rounded to nearest, ties to even. NaN stays NaN.
struct Bf16 : F32 {
    static vec rounded(vec x) {
        typedef uint32_t uvec __attribute__((vector_size(kLanes * 4)));
        const uvec bits = (uvec)x;
        const uvec nearest = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        return x == x ? (vec)nearest : x;
    }
    static void store_row(Word* w, const vec* x) { store(w, rounded(x[0])); }
    static void store_rows(Word* w, const vec* x) { store(w, rounded(x[0])); }
};

#endif

// Numbers that `n` of them are padded to: whole vectors of words.
template <class E>
constexpr int64_t padded_to_words(int64_t n) {
    return round_up(n, kLanes * E::kPair);
}

// n rounded up to what operands are padded to.
template <class E>
constexpr int64_t padded(int64_t n) {
    return round_up(n, E::kBlock);
}

// (rows,columns) as a left operand of `all_rows` rows, zero where there is nothing. T is float, or uint16_t: BF16.
template <class E, class T>
inline void
pack_left(typename E::Word* packed, // (all_rows,width/kPair) =, width a multiple of kLanes * kPair
          const T* inp,             // (rows,columns), rows ld apart
          int64_t ld, int64_t rows, int64_t all_rows, int64_t columns, int64_t width, float factor) {
    for (int64_t i = 0; i < all_rows; i++) {
        for (int64_t c = 0; c < width; c += kLanes * E::kPair, packed += kLanes) {
            vec x[E::kPair] = {};
            for (int64_t v = 0; v < E::kPair && i < rows; v++) {
                const int64_t left = columns - c - v * kLanes;
                x[v] = left > 0 ? load_upto(inp + i * ld + c + v * kLanes, left) * factor : vec{};
            }
            E::store_row(packed, x);
        }
    }
}

// (rows,columns) as a right operand: the sum runs over the rows, of which there are `all_rows`.
template <class E, class T>
inline void pack_right(typename E::Word* packed, // (all_rows/kPair,width) =, width a multiple of kLanes
                       const T* inp,             // (rows,columns), rows ld apart
                       int64_t ld, int64_t rows, int64_t all_rows, int64_t columns, int64_t width,
                       float factor) {
    for (int64_t i = 0; i < all_rows; i += E::kPair) {
        for (int64_t c = 0; c < width; c += kLanes, packed += kLanes) {
            vec x[E::kPair] = {};
            for (int64_t r = 0; r < E::kPair && i + r < rows && c < columns; r++) {
                x[r] = load_upto(inp + (i + r) * ld + c, columns - c) * factor;
            }
            E::store_rows(packed, x);
        }
    }
}

// out[c,r] = inp[r,c] for words of either type. rows is a multiple of kLanes, columns of 4.
template <class Word>
inline void transpose_words(Word* out, const Word* inp, int64_t ld_out, int64_t ld_inp, int64_t rows,
                            int64_t columns) {
    for (int64_t r = 0; r < rows; r += kLanes) {
        for (int64_t c = 0; c < columns; c += 4) {
            transpose_lanes(reinterpret_cast<float*>(out) + c * ld_out + r,
                            reinterpret_cast<const float*>(inp) + r * ld_inp + c, ld_out, ld_inp);
        }
    }
}

// ---- products of tiles -----------------------------------------------------------------------------------------------

// Registers: kTileRows * 2 sums, 2 of b, 1 of a, out of 32 (AVX-512) or 16 (the others).
constexpr int kTileRows = kLanes == 16 ? 8 : kLanes == 8 ? 6 : 4;

// MR rows and NV vectors of columns of out = or += a b. Never inlined: where the caller needs registers, its sums would be
// kept in memory.
template <class E, int MR, int NV>
[[gnu::noinline]] void multiply_tile(float* out, const typename E::Word* a, const typename E::Word* b,
                                     int64_t ld_out, int64_t ld_a, int64_t ld_b, int64_t words, bool add) {
    vec sum[MR][NV] = {};
    if (add) {
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sum[i][v] = load(out + i * ld_out + v * kLanes);
            }
        }
    }
    for (int64_t k = 0; k < words; k++) {
        vec b_k[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            b_k[v] = load(reinterpret_cast<const float*>(b) + k * ld_b + v * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < MR; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sum[i][v] = E::multiply_add(a[i * ld_a + k], b_k[v], sum[i][v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            store(out + i * ld_out + v * kLanes, sum[i][v]);
        }
    }
}

// The tile of `rows` rows, at most MR.
template <class E, int NV, int MR = kTileRows>
inline void multiply_rows(int64_t rows, float* out, const typename E::Word* a, const typename E::Word* b,
                          int64_t ld_out, int64_t ld_a, int64_t ld_b, int64_t words, bool add) {
    if constexpr (MR > 1) {
        if (rows < MR) {
            multiply_rows<E, NV, MR - 1>(rows, out, a, b, ld_out, ld_a, ld_b, words, add);
            return;
        }
    }
    multiply_tile<E, MR, NV>(out, a, b, ld_out, ld_a, ld_b, words, add);
}

#if defined(__AMX_BF16__)

// The compiler does not see what the instructions of tiles read: all that was stored before must be in memory.
inline void tile_fence() { __asm__ volatile("" ::: "memory"); }

// The eight tile registers, each of 16 rows of 64 bytes, belong to the thread that loads this configuration and until it
// releases them.
class TileRegisters {
public:
    TileRegisters() {
        struct {
            uint8_t palette = 1, start_row = 0, reserved[14] = {};
            uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } config;
        tile_fence();
        _tile_loadconfig(&config);
    }
    ~TileRegisters() { _tile_release(); }
    TileRegisters(const TileRegisters&) = delete;
};

// Blocks of 32 rows and 32 columns: sums in registers 0 .. 3, a in 4 and 5, b in 6 and 7.
inline void multiply_in_registers(float* out, const uint32_t* a, const uint32_t* b, int64_t ld_out,
                                  int64_t ld_a, int64_t ld_b, int64_t rows, int64_t columns, int64_t words,
                                  bool add) {
    tile_fence();
    for (int64_t c = 0; c < columns; c += 32) {
        for (int64_t i = 0; i < rows; i += 32) {
            float* upper = out + i * ld_out + c;
            float* lower = upper + 16 * ld_out;
            if (add) {
                _tile_loadd(0, upper, ld_out * 4);
                _tile_loadd(1, upper + 16, ld_out * 4);
                _tile_loadd(2, lower, ld_out * 4);
                _tile_loadd(3, lower + 16, ld_out * 4);
            } else {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            }
            for (int64_t k = 0; k < words; k += 16) {
                _tile_loadd(4, a + i * ld_a + k, ld_a * 4);
                _tile_loadd(6, b + k * ld_b + c, ld_b * 4);
                _tile_loadd(7, b + k * ld_b + c + 16, ld_b * 4);
                _tile_loadd(5, a + (i + 16) * ld_a + k, ld_a * 4);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
            _tile_stored(0, upper, ld_out * 4);
            _tile_stored(1, upper + 16, ld_out * 4);
            _tile_stored(2, lower, ld_out * 4);
            _tile_stored(3, lower + 16, ld_out * 4);
        }
    }
    asm volatile("" ::: "memory");
}

#else

struct TileRegisters { // there are none
    TileRegisters() {}
};

#endif

// out = or += a b for operands in scratch. columns is a multiple of kLanes, and all sizes are of E::kBlock (in numbers).
template <class E>
inline void multiply(float* out,                // (rows,columns), rows ld_out apart
                     const typename E::Word* a, // left:  (rows,words), rows ld_a apart
                     const typename E::Word* b, // right: (words,columns), rows ld_b apart
                     int64_t ld_out, int64_t ld_a, int64_t ld_b, int64_t rows, int64_t columns, int64_t words,
                     bool add) {
#if defined(__AMX_BF16__)
    if constexpr (E::kBlock == 32) {
        multiply_in_registers(out, a, b, ld_out, ld_a, ld_b, rows, columns, words, add);
        return;
    }
#endif
    for (int64_t c = 0; c < columns; c += 2 * kLanes) {
        for (int64_t i = 0; i < rows; i += kTileRows) {
            float* out_i = out + i * ld_out + c;
            if (columns - c > kLanes) {
                multiply_rows<E, 2>(rows - i, out_i, a + i * ld_a, b + c, ld_out, ld_a, ld_b, words, add);
            } else {
                multiply_rows<E, 1>(rows - i, out_i, a + i * ld_a, b + c, ld_out, ld_a, ld_b, words, add);
            }
        }
    }
}

} // namespace skintern::SKINTERN_ISA
