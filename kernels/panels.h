// panels.h — how the operands of a product lie in panels: what they are made of, and how they are packed.
//
// A panel holds a few rows of a, or a few columns of b, as words of 32 bits. A word is
//
//   floats    one number
//   rounded   one number, rounded to BF16: dtype bf16 where the processor does not multiply BF16
//   pairs     two numbers in BF16, of k (low half) and k+1: dtype bf16 where it does
//
// so that one step of the micro-kernel is a word of a times a word of b, whatever is in them. b lies with the word running
// slowest: (words,width). a lies as it does in memory, (rows,words), but where its rows are columns there (tn) and the
// vector units multiply: (words,rows). Words are carried about as floats and never computed with.
#pragma once

#include "decode.h"
#include "simd.h"
#include "tiles.h"

namespace skintern::SKINTERN_ISA {

enum class Words : int { floats, rounded, pairs };

#if defined(__AMX_BF16__)
constexpr bool kHasTiles = true;
#else
constexpr bool kHasTiles = false;
#endif
#if defined(__AVX512BF16__)
constexpr Words kBf16Words = Words::pairs;
#else
constexpr Words kBf16Words = Words::rounded;
#endif

template <Words W>
constexpr bool kTiled = kHasTiles && W == Words::pairs;
template <Words W>
constexpr int64_t kPerWord = W == Words::pairs ? 2 : 1;
// Pieces of K are padded with zeros to so many words: a tile multiplies 16 at a time.
template <Words W>
constexpr int64_t kGranule = kTiled<W> ? 16 : 1;

constexpr int64_t kPanelColumns = 2 * kLanes; // of b
// Rows of a: they and two vectors of columns fill the registers, or two tiles by two.
template <Words W>
constexpr int kPanelRows = kTiled<W> ? 32 : kLanes == 16 ? 12 : kLanes == 8 ? 6 : 4;

template <Words W>
constexpr int64_t words_of(int64_t numbers) {
    return ceil_div(numbers, kPerWord<W>);
}
template <Words W>
constexpr int64_t padded_words(int64_t words) {
    return round_up(words, kGranule<W>);
}

// ---- words -----------------------------------------------------------------------------------------------------------

#if defined(__AVX512BF16__)
// Words of 2 * kLanes numbers that lie one after the other.
inline vec pair_neighbours(vec first, vec second) {
    return (vec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

// Words of kLanes numbers at k and those at k+1.
inline vec pair_rows(vec even, vec odd) {
    alignas(64) static constexpr uint16_t kInterleave[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vec)_mm512_permutexvar_epi16(_mm512_load_si512(kInterleave),
                                         (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even));
}

// The same of numbers that are BF16 already: the upper halves of lanes.
inline vec pair_widened_rows(vec even, vec odd) {
    typedef uint32_t uvec __attribute__((vector_size(kLanes * 4)));
    return (vec)((uvec)even >> 16 | (uvec)odd);
}
#else
inline vec pair_neighbours(vec first, vec) { return first; } // never called: there are no pairs
inline vec pair_widened_rows(vec even, vec) { return even; }
inline vec pair_rows(vec even, vec) { return even; }
#endif

inline const uint16_t* bf16_of(Matrix matrix) { return static_cast<const uint16_t*>(matrix.data); }

// The words of `numbers` numbers in a row.
template <Words W>
void make_words(float* words, const float* inp, int64_t numbers) {
    for (int64_t i = 0; i < numbers; i += kPerWord<W> * kLanes) {
        const int64_t left = numbers - i;
        if constexpr (W == Words::pairs) {
            const vec second = left > kLanes ? load_upto(inp + i + kLanes, left - kLanes) : vec{};
            store_upto(words + i / 2, pair_neighbours(load_upto(inp + i, left), second), ceil_div(left, 2));
        } else {
            const vec x = load_upto(inp + i, left);
            store_upto(words + i, W == Words::rounded ? round_bf16(x) : x, left);
        }
    }
}

// ---- packing ---------------------------------------------------------------------------------------------------------

// packed[w,i] = word w of row i, with zeros for i >= rows. For a row-major a, and for b in nt.
template <Words W>
void pack_rows_turned(float* packed,    // (words,width) =
                      const float* inp, // (rows,K), rows ld apart
                      int64_t ld, int64_t K, int64_t rows, int64_t width) {
    if constexpr (W == Words::floats) {
        pack_transposed(packed, inp, ld, K, rows, width);
    } else {
        constexpr int64_t kStretch = 64; // words at a time
        alignas(64) float words[kPanelColumns * kStretch];
        for (int64_t k = 0; k < K; k += kStretch * kPerWord<W>) {
            const int64_t numbers = min_of(K - k, kStretch * kPerWord<W>);
            for (int64_t i = 0; i < rows; i++) {
                make_words<W>(words + i * kStretch, inp + i * ld + k, numbers);
            }
            pack_transposed(packed + k / kPerWord<W> * width, words, kStretch, words_of<W>(numbers), rows, width);
        }
    }
}

// packed[w,i] = word w of column i, with zeros for i >= columns. For b in nn and tn, and for a in tn. T is float, or
// uint16_t: BF16, for words of pairs.
template <Words W, class T>
void pack_columns_straight(float* packed, // (words,width) =
                           const T* inp,  // (K,columns), rows ld apart
                           int64_t ld, int64_t K, int64_t columns, int64_t width) {
    if constexpr (W == Words::floats) {
        pack_straight(packed, inp, ld, K, columns, width);
    } else {
        for (int64_t k = 0; k < K; k += kPerWord<W>, packed += width) {
            const T* even = inp + k * ld;
            const T* odd = even + (k + 1 < K ? ld : 0); // of the last word of an odd K: replaced by zeros below
            __builtin_prefetch(even + 16 * ld); // a column of lines: nothing else asks for them ahead
            __builtin_prefetch(even + 17 * ld);
            for (int64_t i = 0; i < width; i += kLanes) {
                const int64_t left = max_of(columns - i, 0);
                const vec x = load_upto(even + i, left);
                if constexpr (W == Words::pairs) {
                    const vec y = k + 1 < K ? load_upto(odd + i, left) : vec{};
                    store_upto(packed + i, sizeof(T) == 2 ? pair_widened_rows(x, y) : pair_rows(x, y), width - i);
                } else {
                    store_upto(packed + i, round_bf16(x), width - i);
                }
            }
        }
    }
}

// Numbers k0 .. k0+K-1 of rows (nt) or of columns (nn, tn) n0 .. n0+columns-1 of b, as a panel.
template <Words W>
void pack_b(float* packed, // (padded words,width) =
            Layout layout, Matrix b, int64_t row_length, int64_t n0, int64_t columns, int64_t width, int64_t k0,
            int64_t K) {
    const int64_t row_size = row_bytes(b.type, row_length);
    const uint8_t* bytes = static_cast<const uint8_t*>(b.data);
    constexpr int64_t kStretch = 128; // numbers of a row decoded at a time (nt), or rows
    alignas(64) float numbers[kPanelColumns * kStretch];
    if (layout == Layout::nt && b.type == WeightType::f32) {
        pack_rows_turned<W>(packed, b.numbers() + n0 * row_length + k0, row_length, K, columns, width);
    } else if (b.type == WeightType::f32) {
        pack_columns_straight<W>(packed, b.numbers() + k0 * row_length + n0, row_length, K, columns, width);
    } else if (W == Words::pairs && layout != Layout::nt && b.type == WeightType::bf16) {
        pack_columns_straight<Words::pairs>(packed, bf16_of(b) + k0 * row_length + n0, row_length, K, columns, width);
    } else {
        for (int64_t k = 0; k < K; k += kStretch) {
            const int64_t count = min_of(K - k, kStretch);
            float* out = packed + k / kPerWord<W> * width;
            if (layout == Layout::nt) {
                for (int64_t j = 0; j < columns; j++) {
                    decode(numbers + j * kStretch, b.type, bytes + (n0 + j) * row_size, k0 + k, count);
                }
                pack_rows_turned<W>(out, numbers, kStretch, count, columns, width);
            } else {
                for (int64_t j = 0; j < count; j++) {
                    decode(numbers + j * kPanelColumns, b.type, bytes + (k0 + k + j) * row_size, n0, columns);
                }
                pack_columns_straight<W>(out, numbers, kPanelColumns, count, columns, width);
            }
        }
    }
    const int64_t words = words_of<W>(K);
    zero_all(packed + words * width, (padded_words<W>(words) - words) * width);
}

// A panel of rows for tiles from columns (tn).
template <Words W, class T>
void pack_a_turned(float* packed, // (rows,width) =
                   const T* a,    // (K,rows), rows lda apart
                   int64_t lda, int64_t rows, int64_t K, int64_t width) {
    constexpr int64_t kStretch = 16; // words at a time
    alignas(64) float turned[kStretch * kPanelRows<W>];
    const int64_t words = words_of<W>(K);
    for (int64_t w = 0; w < words; w += kStretch) {
        const int64_t count = min_of(words - w, kStretch);
        pack_columns_straight<W>(turned, a + 2 * w * lda, lda, min_of(K - 2 * w, 2 * kStretch), rows, kPanelRows<W>);
        zero_all(turned + count * kPanelRows<W>, (kStretch - count) * kPanelRows<W>);
        for (int64_t i = 0; i < rows; i += 4) { // rows beyond the last are scratch: their sums are not stored
            for (int64_t j = 0; j < kStretch; j += 4) {
                transpose_4x4(packed + i * width + w + j, turned + j * kPanelRows<W> + i, width, kPanelRows<W>);
            }
        }
    }
}

// Numbers k0 .. k0+K-1 of rows m0 .. m0+rows-1 of a, (M,lda) or in tn (K,lda): rows of words as they lie in memory,
// (rows,padded words), but from columns (tn) and for the vector units a panel, (words,rows).
template <Words W>
void pack_a(float* packed, Layout layout, Matrix a, int64_t lda, int64_t m0, int64_t rows, int64_t k0, int64_t K) {
    const int64_t words = words_of<W>(K), width = padded_words<W>(words);
    const bool is_bf16 = a.type == WeightType::bf16;
    if (layout != Layout::tn) {
        for (int64_t i = 0; i < rows; i++) {
            float* row = packed + i * width;
            const int64_t at = (m0 + i) * lda + k0;
            if (!is_bf16) {
                make_words<W>(row, a.numbers() + at, K);
                zero_all(row + words, width - words);
            } else if (W == Words::pairs) {
                zero_all(row + K / 2, width - K / 2); // the second half of the last word of an odd K, too
                __builtin_memcpy(row, bf16_of(a) + at, static_cast<size_t>(K) * sizeof(uint16_t));
            } else {
                decode(row, a.type, reinterpret_cast<const uint8_t*>(bf16_of(a) + at), 0, K);
            }
        }
    } else if constexpr (kTiled<W>) {
        const int64_t at = k0 * lda + m0;
        is_bf16 ? pack_a_turned<W>(packed, bf16_of(a) + at, lda, rows, K, width)
                : pack_a_turned<W>(packed, a.numbers() + at, lda, rows, K, width);
    } else {
        pack_b<W>(packed, layout, a, lda, m0, rows, rows, k0, K);
    }
}

} // namespace skintern::SKINTERN_ISA
