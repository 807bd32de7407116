// dot_q8.h — dot products of quantised weights and activations that are rounded to 8 bits, as integers.
//
// A row of activations is cut in blocks of 32:  x ~ d q,  d = max |x| / 127,  q = x / d rounded to nearest. With a block of
// the weight as d_w q_w + m_w, q_w unsigned (see dequantize.h; Q8_0 is d (q + 128) - 128 d, Q4_0 is d q - 8 d):
//
//   sum of the block = d d_w sum q q_w + m_w d sum q
//
// The sum of q q_w is exact. Only for `activations q8`: everything else computes with activations as they are.
#pragma once

#include "decode.h"
#include "simd.h"

namespace skintern::SKINTERN_ISA {

constexpr bool has_q8_dot(WeightType type) {
    return type == WeightType::q8_0 || type == WeightType::q4_0 || type == WeightType::q4_1;
}

// Blocks go in pairs. A pair is 64 integers, the d of each in 8 lanes, and d sum q of each in one lane of 8.
constexpr int64_t kPairFloats = 16 + 16 + 16;
constexpr int64_t kPairNumbers = 64;

inline int64_t q8_row_floats(int64_t K) { return ceil_div(K, kPairNumbers) * kPairFloats; }

// K is a multiple of 32; what is missing of the last pair is zeros.
inline void quantise_row(float* out, const float* x, int64_t K) {
    for (int64_t k = 0; k < round_up(K, kPairNumbers); k += 32) {
        float* pair = out + k / kPairNumbers * kPairFloats;
        const int64_t half = k % kPairNumbers / 32;
        int8_t q[32] = {};
        float d = 0.0f;
        int32_t sum = 0;
        if (k < K) {
            float largest = 0.0f;
            for (int i = 0; i < 32; i++) {
                largest = __builtin_fmaxf(largest, __builtin_fabsf(x[k + i]));
            }
            d = largest / 127.0f;
            const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
            for (int i = 0; i < 32; i++) {
                q[i] = static_cast<int8_t>(__builtin_lrintf(x[k + i] * inverse));
                sum += q[i];
            }
        }
        __builtin_memcpy(reinterpret_cast<char*>(pair) + 32 * half, q, 32);
        for (int i = 0; i < 8; i++) {
            pair[16 + 8 * half + i] = d;
            pair[32 + 8 * half + i] = i == 0 ? d * static_cast<float>(sum) : 0.0f;
        }
    }
}

#if defined(__AVX512VNNI__)

// 64 unsigned integers of two blocks.
template <WeightType TYPE>
inline __m512i load_pair(const uint8_t* first, const uint8_t* second) {
    if constexpr (TYPE == WeightType::q8_0) {
        typedef int32_t half __attribute__((vector_size(32)));
        half x, y;
        __builtin_memcpy(&x, first + 2, sizeof x);
        __builtin_memcpy(&y, second + 2, sizeof y);
        const ivec both = __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        return (__m512i)(both ^ static_cast<int32_t>(0x80808080));
    } else {
        constexpr int kAt = TYPE == WeightType::q4_0 ? 2 : 4;
        const __m512i both = _mm512_mask_broadcast_i32x4(_mm512_maskz_broadcast_i32x4(0xffff, load_bytes(first + kAt)),
                                                         0xff00, load_bytes(second + kAt));
        const __m512i shift = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0); // the high half of the bytes: numbers 16 .. 31
        return _mm512_and_si512(_mm512_maskz_srlv_epi64(0xff, both, shift), _mm512_set1_epi8(15));
    }
}

// d of two blocks, and what both have to add: each in 8 lanes.
template <WeightType TYPE>
inline void load_scales(vec& d, vec& m, const uint8_t* first, const uint8_t* second) {
    int32_t scales[2]; // two half-precision floats of each block; of Q8_0 and Q4_0 the first one only
    __builtin_memcpy(&scales[0], first, 4);
    __builtin_memcpy(&scales[1], second, 4);
    const __m128 four = _mm_cvtph_ps(_mm_insert_epi32(_mm_cvtsi32_si128(scales[0]), scales[1], 1));
    const __m512 all = _mm512_zextps128_ps512(four);
    const __m512i d_lanes = _mm512_set_epi32(2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    d = (vec)_mm512_maskz_permutexvar_ps(0xffff, d_lanes, all);
    if constexpr (TYPE == WeightType::q4_1) {
        const __m512i m_lanes = _mm512_set_epi32(3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1);
        m = (vec)_mm512_maskz_permutexvar_ps(0xffff, m_lanes, all);
    } else {
        m = d * (TYPE == WeightType::q4_0 ? -8.0f : -128.0f);
    }
}

// sum[i][j] += the dot product of row i of a and row j of b, in some of the lanes.
template <WeightType TYPE, int ROWS, int COLUMNS>
inline void add_dots_q8(vec (&sum)[ROWS][COLUMNS], const float* a, // ROWS rows, row_floats apart
                        int64_t row_floats,
                        const uint8_t* b, // COLUMNS rows, row_size apart
                        int64_t row_size, int64_t K) {
    constexpr int64_t kBlock = kWeightFormats[static_cast<int>(TYPE)].bytes;
    for (int64_t k = 0; k < K; k += kPairNumbers, a += kPairFloats) {
        const int64_t first = k / 32 * kBlock, next = k + 32 < K ? kBlock : 0;
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            const uint8_t* block = b + j * row_size + first;
            __builtin_prefetch(block + 4096);
            const __m512i q = load_pair<TYPE>(block, block + next);
            vec d, m;
            load_scales<TYPE>(d, m, block, block + next);
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
                const float* pair = a + i * row_floats;
                const __m512i x = _mm512_maskz_loadu_epi32(0xffff, pair);
                const __m512i dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, x);
                const vec products = (vec)_mm512_maskz_cvtepi32_ps(0xffff, dots);
                sum[i][j] = fma(products, d * load(pair + 16), fma(m, load(pair + 32), sum[i][j]));
            }
        }
    }
}

#else

template <WeightType TYPE, int ROWS, int COLUMNS>
inline void add_dots_q8(vec (&sum)[ROWS][COLUMNS], const float* a, int64_t row_floats, const uint8_t* b,
                        int64_t row_size, int64_t K) {
    constexpr int64_t kBlock = kWeightFormats[static_cast<int>(TYPE)].bytes;
    for (int j = 0; j < COLUMNS; j++) {
        for (int64_t k = 0; k < K; k += 32) {
            const uint8_t* block = b + j * row_size + k / 32 * kBlock;
            const float d = f16_to_float(load_u16(block));
            int32_t q[32];
            for (int i = 0; i < 16; i++) {
                const uint8_t* at = block + (TYPE == WeightType::q4_1 ? 4 : 2);
                q[i] = TYPE == WeightType::q8_0 ? at[i] ^ 0x80 : at[i] & 15;
                q[i + 16] = TYPE == WeightType::q8_0 ? at[i + 16] ^ 0x80 : at[i] >> 4;
            }
            const float m = TYPE == WeightType::q4_1   ? f16_to_float(load_u16(block + 2))
                            : TYPE == WeightType::q4_0 ? d * -8.0f
                                                       : d * -128.0f;
            for (int i = 0; i < ROWS; i++) {
                const float* pair = a + i * row_floats + k / kPairNumbers * kPairFloats;
                const int64_t half = k % kPairNumbers / 32;
                const int8_t* x = reinterpret_cast<const int8_t*>(pair) + 32 * half;
                int32_t dots = 0;
                for (int e = 0; e < 32; e++) {
                    dots += q[e] * x[e];
                }
                sum[i][j][0] += static_cast<float>(dots) * (d * pair[16 + 8 * half]) + m * pair[32 + 8 * half];
            }
        }
    }
}

#endif

} // namespace skintern::SKINTERN_ISA
