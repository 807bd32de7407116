// lanes.h — quantised weights as decoding reads them: the rows of a group lie side by side, one in each lane.
//
// Where they lie in a file, a row's numbers fill a vector, and every block costs the spreading of its scale over the lanes,
// loads across cache lines, and at the end a sum over lanes. Here a vector of scales serves a block of each row of the
// group, a number of a is the same for all lanes, and memory is read from beginning to end.
//
// A group is kLanes rows. Of each block of 32 numbers it holds
//   words of 32 bits, a vector of them at a time: lane r holds numbers of row r. Of four bits: byte j of word w is number
//   8w + j below and 8w + 4 + j above. Of eight bits: byte j of word w is number 4w + j.
//   and, behind the words of all blocks, kLanes scales, for Q4_1 then kLanes offsets, in half precision as in the file
// Missing rows of the last group are zeros.
//
// Per block of each row, AVX-512: 32 x (shift, look up, multiply-add) for kLanes rows, or with activations of 8 bits 8 dot
// products of four integers.
#pragma once

#include "decode.h"
#include "dot_q8.h"
#include "simd.h"

namespace skintern::SKINTERN_ISA {

constexpr int64_t kLaneBlock = 32;

constexpr bool has_lanes(WeightType type) { return has_q8_dot(type); }
constexpr int64_t lane_scales(WeightType type) { return type == WeightType::q4_1 ? 2 : 1; }
constexpr int64_t lane_words(WeightType type) { return type == WeightType::q8_0 ? 8 : 4; }

// Bytes of one block of a group.
constexpr int64_t lane_word_bytes(WeightType type) { return 4 * kLanes * lane_words(type); }
constexpr int64_t lane_scale_bytes(WeightType type) { return 2 * kLanes * lane_scales(type); }

inline int64_t lane_group_bytes(WeightType type, int64_t K) {
    return round_up(K / kLaneBlock * (lane_word_bytes(type) + lane_scale_bytes(type)), 64); // no vector crosses a cache line
}

// Rows n .. n+kLanes-1 of b (N,K).
inline void pack_lanes(uint8_t* packed, Matrix b, int64_t N, int64_t K, int64_t n) {
    const int64_t words = lane_words(b.type), file_scales = 2 * lane_scales(b.type);
    const int64_t block_bytes = weight_format(b.type).bytes;
    __builtin_memset(packed, 0, static_cast<size_t>(lane_group_bytes(b.type, K)));
    uint8_t* scales = packed + K / kLaneBlock * lane_word_bytes(b.type);
    for (int64_t k = 0; k < K / kLaneBlock; k++, packed += lane_word_bytes(b.type), scales += lane_scale_bytes(b.type)) {
        for (int64_t r = 0; r < kLanes && n + r < N; r++) {
            const uint8_t* block = static_cast<const uint8_t*>(b.data) + (n + r) * row_bytes(b.type, K) + k * block_bytes;
            for (int64_t s = 0; s < lane_scales(b.type); s++) {
                __builtin_memcpy(scales + 2 * (s * kLanes + r), block + 2 * s, 2);
            }
            const uint8_t* in = block + file_scales;
            for (int64_t w = 0; w < words; w++) {
                uint8_t* out = packed + 4 * (w * kLanes + r);
                for (int64_t j = 0; j < 4; j++) {
                    if (words == 8) {
                        out[j] = in[4 * w + j];
                    } else { // of a file's byte i, number i is below and number i + 16 above
                        const int64_t low = 8 * w + j, high = low + 4;
                        out[j] = static_cast<uint8_t>((in[low % 16] >> (low / 16 * 4) & 15) |
                                                      (in[high % 16] >> (high / 16 * 4) & 15) << 4);
                    }
                }
            }
        }
    }
}

// kLanes numbers in half precision.
inline vec load_halves(const uint8_t* p) {
#if defined(__AVX2__)
    return widen_f16(p);
#else
    vec v;
    for (int i = 0; i < kLanes; i++) {
        v[i] = f16_to_float(load_u16(p + 2 * i));
    }
    return v;
#endif
}

// The place in a block of number i of word w: see above.
template <WeightType TYPE>
constexpr int64_t lane_number(int64_t w, int64_t i) {
    return TYPE == WeightType::q8_0 ? 4 * w + i : 8 * w + i / 2 + i % 2 * 4;
}

// Number i of a word in every lane: of Q4_0 less 8, of Q8_0 with its sign.
template <WeightType TYPE>
inline vec lane_value(ivec word, int i) {
    if constexpr (TYPE == WeightType::q8_0) {
        return __builtin_convertvector((word << (24 - 8 * i)) >> 24, vec);
    } else {
        constexpr int32_t kZero = TYPE == WeightType::q4_0 ? 8 : 0;
#if defined(__AVX512F__)
        constexpr vec kValues = {0 - kZero, 1 - kZero, 2 - kZero,  3 - kZero,  4 - kZero,  5 - kZero,  6 - kZero,  7 - kZero,
                                 8 - kZero, 9 - kZero, 10 - kZero, 11 - kZero, 12 - kZero, 13 - kZero, 14 - kZero, 15 - kZero};
        return (vec)_mm512_maskz_permutexvar_ps(0xffff, (__m512i)(word >> (4 * i)), (__m512)kValues); // looks at four bits
#else
        return __builtin_convertvector(((word >> (4 * i)) & 15) - kZero, vec);
#endif
    }
}

// out (K/32) = the sums of the blocks of a row.
inline void sum_blocks(float* out, const float* a, int64_t K) {
    for (int64_t k = 0; k < K; k += kLaneBlock) {
        vec sum = {};
        for (int64_t i = 0; i < kLaneBlock; i += kLanes) {
            sum += load(a + k + i);
        }
        out[k / kLaneBlock] = sum_lanes(sum);
    }
}

// sum[m] += rows m of a times a group, one row in each lane. `block_sums` of Q4_1: the sum of each block of a, (ROWS,K/32).
template <WeightType TYPE, int ROWS>
inline void add_lanes(vec (&sum)[ROWS], const uint8_t* words, const float* a, const float* block_sums, int64_t K) {
    constexpr int64_t kWords = lane_words(TYPE), kOf = 32 / kWords;
    constexpr int kChains = ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1; // sums that do not wait for each other
    const uint8_t* scales = words + K / kLaneBlock * lane_word_bytes(TYPE);
    for (int64_t k = 0; k < K / kLaneBlock; k++, words += lane_word_bytes(TYPE), scales += lane_scale_bytes(TYPE)) {
        vec part[ROWS][kChains] = {};
#pragma GCC unroll 8
        for (int w = 0; w < kWords; w++) {
            ivec word;
            __builtin_memcpy(&word, words + w * 4 * kLanes, sizeof word);
            __builtin_prefetch(words + w * 4 * kLanes + 8192);
#pragma GCC unroll 8
            for (int i = 0; i < kOf; i++) {
                const vec value = lane_value<TYPE>(word, i);
#pragma GCC unroll 4
                for (int m = 0; m < ROWS; m++) {
                    const float x = a[m * K + k * kLaneBlock + lane_number<TYPE>(w, i)];
                    part[m][i % kChains] = fma(broadcast(x), value, part[m][i % kChains]);
                }
            }
        }
        const vec scale = load_halves(scales);
#pragma GCC unroll 4
        for (int m = 0; m < ROWS; m++) {
#pragma GCC unroll 4
            for (int c = 1; c < kChains; c++) {
                part[m][0] += part[m][c];
            }
            sum[m] = fma(scale, part[m][0], sum[m]);
            if constexpr (TYPE == WeightType::q4_1) {
                sum[m] = fma(load_halves(scales + 2 * kLanes), broadcast(block_sums[m * (K / kLaneBlock) + k]), sum[m]);
            }
        }
    }
}

// sum[lane] += four unsigned bytes of x times four signed ones of y, which are the same for all lanes.
inline ivec dot_bytes(ivec sum, ivec x, int32_t y) {
#if defined(__AVX512VNNI__)
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, _mm512_set1_epi32(y));
#elif defined(__AVX2__) // pairs of 16 bits: bytes 0 and 2, then 1 and 3
    const ivec even = x & 0x00ff00ff, odd = x >> 8 & 0x00ff00ff;
    const int32_t y_even = (y << 24 >> 24 & 0xffff) | (y << 8 >> 24) << 16;
    const int32_t y_odd = (y << 16 >> 24 & 0xffff) | (y >> 24) << 16;
#if defined(__AVX512BW__)
    return sum + (ivec)_mm512_madd_epi16((__m512i)even, _mm512_set1_epi32(y_even)) +
           (ivec)_mm512_madd_epi16((__m512i)odd, _mm512_set1_epi32(y_odd));
#else
    return sum + (ivec)_mm256_madd_epi16((__m256i)even, _mm256_set1_epi32(y_even)) +
           (ivec)_mm256_madd_epi16((__m256i)odd, _mm256_set1_epi32(y_odd));
#endif
#else
    for (int j = 0; j < 4; j++) {
        sum += (x >> (8 * j) & 255) * static_cast<int32_t>(static_cast<int8_t>(y >> (8 * j)));
    }
    return sum;
#endif
}

// Likewise with rows of a in 8 bits, as quantise_row() leaves them.
template <WeightType TYPE, int ROWS>
inline void add_lanes_q8(vec (&sum)[ROWS], const uint8_t* words, const float* a, int64_t row_floats, int64_t K) {
    constexpr int64_t kWords = lane_words(TYPE);
    const uint8_t* scales = words + K / kLaneBlock * lane_word_bytes(TYPE);
    for (int64_t k = 0; k < K / kLaneBlock; k++, words += lane_word_bytes(TYPE), scales += lane_scale_bytes(TYPE)) {
        const float* pair = a + k / 2 * kPairFloats;
        ivec dots[ROWS] = {};
#pragma GCC unroll 8
        for (int w = 0; w < kWords; w++) {
            ivec word;
            __builtin_memcpy(&word, words + w * 4 * kLanes, sizeof word);
            __builtin_prefetch(words + w * 4 * kLanes + 8192);
#pragma GCC unroll 4
            for (int m = 0; m < ROWS; m++) {
                const char* q = reinterpret_cast<const char*>(pair + m * row_floats) + 32 * (k % 2);
                int32_t x[2];
                if constexpr (TYPE == WeightType::q8_0) {
                    __builtin_memcpy(x, q + 4 * w, 4);
                    dots[m] = dot_bytes(dots[m], word ^ static_cast<int32_t>(0x80808080), x[0]);
                } else {
                    __builtin_memcpy(x, q + 8 * w, 8);
                    dots[m] = dot_bytes(dots[m], word & 0x0f0f0f0f, x[0]);
                    dots[m] = dot_bytes(dots[m], word >> 4 & 0x0f0f0f0f, x[1]);
                }
            }
        }
        const vec scale = load_halves(scales);
        const vec offset = TYPE == WeightType::q4_1   ? load_halves(scales + 2 * kLanes)
                           : TYPE == WeightType::q4_0 ? scale * -8.0f
                                                      : scale * -128.0f;
#pragma GCC unroll 4
        for (int m = 0; m < ROWS; m++) {
            const float* d = pair + m * row_floats + 16 + 8 * (k % 2); // and 16 further d times the sum of q
            const vec products = __builtin_convertvector(dots[m], vec);
            sum[m] = fma(products, scale * d[0], fma(offset, broadcast(d[16]), sum[m]));
        }
    }
}

} // namespace skintern::SKINTERN_ISA
