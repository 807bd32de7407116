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
        const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + 2)));
        const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + 2));
        return _mm512_xor_si512(_mm512_inserti64x4(low, high, 1), _mm512_set1_epi8(static_cast<char>(0x80)));
    } else {
        constexpr int kAt = TYPE == WeightType::q4_0 ? 2 : 4;
        const __m512i both = _mm512_mask_broadcast_i32x4(_mm512_maskz_broadcast_i32x4(0xffff, load_bytes(first + kAt)),
                                                         0xff00, load_bytes(second + kAt));
        const __m512i shift = _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0); // the high half of the bytes: numbers 16 .. 31
        return _mm512_and_si512(_mm512_maskz_srlv_epi64(0xff, both, shift), _mm512_set1_epi8(15));
    }
}

// The half-precision floats at two places, times 2^-112, in 8 lanes each: see broadcast_f16.
inline vec spread_pair(const uint8_t* first, const uint8_t* second) {
    const uint32_t bits[2] = {
        static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(load_u16(first))) << 13) & 0x8fffe000,
        static_cast<uint32_t>(static_cast<int32_t>(static_cast<int16_t>(load_u16(second))) << 13) & 0x8fffe000};
    vec spread;
    const __mmask16 upper = 0xff00;
    __asm__("vbroadcastss %1, %0\n\tvbroadcastss %2, %0%{%3%}"
            : "=&v"(spread)
            : "m"(bits[0]), "m"(bits[1]), "Yk"(upper));
    return spread;
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
            const vec d = spread_pair(block, block + next) * 0x1p112f;
            const vec m = TYPE == WeightType::q4_1   ? spread_pair(block + 2, block + 2 + next) * 0x1p112f
                          : TYPE == WeightType::q4_0 ? d * -8.0f
                                                     : d * -128.0f;
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
                const float* pair = a + i * row_floats;
                const __m512i x = _mm512_loadu_si512(pair);
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
