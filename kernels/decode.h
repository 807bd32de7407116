// decode.h — dequantize.h for whole vectors: the same numbers to the last bit (but for the sign of zero).
//
// 32 numbers of a block (a part) are two groups of 16 small integers with a scale each and something to add:
//   number = scale q + add
// With AVX-512 the 16 numbers that four bits can stand for are computed once a part, and every number is looked up among
// them by a permutation; else the integers are widened and multiplied. Processors that are not x86 take dequantize.h.
#pragma once

#include "dequantize.h"
#include "simd.h"

namespace skintern::SKINTERN_ISA {

constexpr int kPartVectors = kDecodedPart / kLanes;

#if defined(__AVX2__)

// ---- pieces ------------------------------------------------------------------------------------------------------------

inline __m128i load_bytes(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m128i low_nibbles(__m128i bytes) { return _mm_and_si128(bytes, _mm_set1_epi8(15)); }
inline __m128i high_nibbles(__m128i bytes) { return low_nibbles(_mm_srli_epi16(bytes, 4)); }

// 16 where bit i of `bits` is set, for bytes i = 0 .. 15; 0 elsewhere.
inline __m128i fifth_bits(uint32_t bits) {
    const __m128i spread = _mm_shuffle_epi8(_mm_set1_epi16(static_cast<int16_t>(bits)),
                                            _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    const __m128i bit = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(spread, bit), bit), _mm_set1_epi8(16));
}

// A half-precision float, not infinite or NaN, in every lane. Its bits in their places in a float are 2^-112 of it. They go
// through memory: the instructions that convert and spread them take the unit that permutations need, loads do not.
inline vec broadcast_f16(const uint8_t* p) {
    const int32_t bits = static_cast<int32_t>(static_cast<int16_t>(load_u16(p))) << 13;
    const uint32_t in_place = static_cast<uint32_t>(bits) & 0x8fffe000;
    vec spread;
    __asm__("vbroadcastss %1, %0" : "=v"(spread) : "m"(in_place));
    return spread * 0x1p112f;
}

// kLanes half-precision floats.
inline vec widen_f16(const uint8_t* p) {
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#endif
}

// 16 bytes as floats, in one vector or two.
template <bool SIGNED>
inline void widen(vec* out, __m128i bytes) {
#if defined(__AVX512F__)
    const __m512i wide = SIGNED ? _mm512_maskz_cvtepi8_epi32(0xffff, bytes) : _mm512_maskz_cvtepu8_epi32(0xffff, bytes);
    out[0] = (vec)_mm512_maskz_cvtepi32_ps(0xffff, wide);
#else
    for (int half = 0; half < 2; half++, bytes = _mm_srli_si128(bytes, 8)) {
        const __m256i wide = SIGNED ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
        out[half] = (vec)_mm256_cvtepi32_ps(wide);
    }
#endif
}

// scale q + add for the 16 integers of a group.
template <bool SIGNED>
inline void scale_group(vec* out, __m128i q, vec scale, vec add) {
    constexpr int kGroupVectors = 16 / kLanes;
    widen<SIGNED>(out, q);
    for (int v = 0; v < kGroupVectors; v++) {
        out[v] = fma(scale, out[v], add);
    }
}

// A part whose numbers 0 .. 15 and 16 .. 31 are the four bits from `shift` of two groups of bytes.
inline void scale_nibbles(vec (&out)[kPartVectors], __m128i first, __m128i second, bool first_high, bool second_high,
                          vec scale, vec add) {
#if defined(__AVX512F__)
    const vec numbers = fma(scale, (vec)_mm512_maskz_cvtepi32_ps(0xffff, (__m512i)kLaneNumber), add);
    const __m128i groups[2] = {first, second};
    const bool high[2] = {first_high, second_high};
    for (int g = 0; g < 2; g++) { // a permutation looks at the lowest four bits only
        __m512i index = _mm512_maskz_cvtepu8_epi32(0xffff, groups[g]);
        index = high[g] ? _mm512_maskz_srli_epi32(0xffff, index, 4) : index;
        out[g] = (vec)_mm512_maskz_permutexvar_ps(0xffff, index, (__m512)numbers);
    }
#else
    scale_group<false>(out, first_high ? high_nibbles(first) : low_nibbles(first), scale, add);
    scale_group<false>(out + 2, second_high ? high_nibbles(second) : low_nibbles(second), scale, add);
#endif
}

// ---- a part of each type -----------------------------------------------------------------------------------------------

template <WeightType TYPE>
[[gnu::always_inline]] inline void decode_part(vec (&out)[kPartVectors], const uint8_t* row, int64_t part) {
    constexpr WeightFormat kFormat = kWeightFormats[static_cast<int>(TYPE)];
    constexpr int kGroupVectors = 16 / kLanes;
    if constexpr (TYPE == WeightType::bf16 || TYPE == WeightType::f16) {
        for (int v = 0; v < kPartVectors; v++) {
            const uint8_t* halves = row + 2 * (part * kDecodedPart + v * kLanes);
            out[v] = TYPE == WeightType::bf16 ? widen_bf16(halves) : widen_f16(halves);
        }
    } else {
        constexpr int64_t kParts = kFormat.elements / kDecodedPart; // of a block
        const uint8_t* block = row + part / kParts * kFormat.bytes;
        part %= kParts;
        if constexpr (TYPE == WeightType::q8_0) {
            const vec d = broadcast_f16(block);
            scale_group<true>(out, load_bytes(block + 2), d, vec{});
            scale_group<true>(out + kGroupVectors, load_bytes(block + 18), d, vec{});
        } else if constexpr (TYPE == WeightType::q4_0) {
            const vec d = broadcast_f16(block);
            const __m128i bytes = load_bytes(block + 2);
            scale_nibbles(out, bytes, bytes, false, true, d, d * -8.0f);
        } else if constexpr (TYPE == WeightType::q4_1) {
            const __m128i bytes = load_bytes(block + 4);
            scale_nibbles(out, bytes, bytes, false, true, broadcast_f16(block), broadcast_f16(block + 2));
        } else if constexpr (TYPE == WeightType::q5_0 || TYPE == WeightType::q5_1) {
            const vec d = broadcast_f16(block);
            const bool offset = TYPE == WeightType::q5_1;
            const vec add = offset ? broadcast_f16(block + 2) : d * -16.0f;
            const uint8_t* at = block + (offset ? 4 : 2);
            uint32_t high;
            __builtin_memcpy(&high, at, sizeof high);
            const __m128i bytes = load_bytes(at + 4);
            scale_group<false>(out, _mm_or_si128(low_nibbles(bytes), fifth_bits(high)), d, add);
            scale_group<false>(out + kGroupVectors, _mm_or_si128(high_nibbles(bytes), fifth_bits(high >> 16)), d, add);
        } else if constexpr (TYPE == WeightType::q4_k || TYPE == WeightType::q5_k) {
            const PartScales scales = part_scales(block + 4, part);
            const vec d = broadcast_f16(block) * static_cast<float>(scales.scale);
            const vec add = broadcast_f16(block + 2) * -static_cast<float>(scales.low);
            const bool high = part % 2 != 0;
            if constexpr (TYPE == WeightType::q4_k) {
                const uint8_t* bytes = block + 16 + part / 2 * 32;
                scale_nibbles(out, load_bytes(bytes), load_bytes(bytes + 16), high, high, d, add);
            } else {
                const uint8_t* bytes = block + 48 + part / 2 * 32;
                const __m128i bit = _mm_set1_epi8(static_cast<char>(1 << part));
                for (int g = 0; g < 2; g++) {
                    const __m128i lower = load_bytes(bytes + 16 * g), fifth = load_bytes(block + 16 + 16 * g);
                    const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(fifth, bit), bit);
                    const __m128i q = _mm_or_si128(high ? high_nibbles(lower) : low_nibbles(lower),
                                                   _mm_and_si128(set, _mm_set1_epi8(16)));
                    scale_group<false>(out + g * kGroupVectors, q, d, add);
                }
            }
        } else if constexpr (TYPE == WeightType::q6_k) {
            const int64_t half = part / 4, quarter = part % 4;
            const uint8_t* bytes = block + half * 64 + quarter % 2 * 32;
            const uint8_t* high = block + 128 + half * 32;
            const vec d = broadcast_f16(block + 208);
            for (int g = 0; g < 2; g++) {
                const __m128i lower = load_bytes(bytes + 16 * g);
                const __m128i pairs = _mm_srl_epi16(load_bytes(high + 16 * g), _mm_cvtsi64_si128(2 * quarter));
                const __m128i upper = _mm_slli_epi16(_mm_and_si128(pairs, _mm_set1_epi8(3)), 4);
                const __m128i q = _mm_or_si128(quarter >= 2 ? high_nibbles(lower) : low_nibbles(lower), upper);
                const vec scale = d * static_cast<float>(static_cast<int8_t>(block[192 + part * 2 + g]));
                scale_group<true>(out + g * kGroupVectors, _mm_sub_epi8(q, _mm_set1_epi8(32)), scale, vec{});
            }
        }
    }
}

#else

template <WeightType TYPE>
[[gnu::always_inline]] inline void decode_part(vec (&out)[kPartVectors], const uint8_t* row, int64_t part) {
    float numbers[kDecodedPart];
    dequantize(numbers, TYPE, row, part * kDecodedPart, kDecodedPart);
    for (int v = 0; v < kPartVectors; v++) {
        out[v] = load(numbers + v * kLanes);
    }
}

#endif

// ---- stretches ---------------------------------------------------------------------------------------------------------

template <WeightType TYPE>
void decode_whole_parts(float* out, const uint8_t* row, int64_t part, int64_t count) {
    for (int64_t i = 0; i < count; i++, out += kDecodedPart) {
        vec numbers[kPartVectors];
        decode_part<TYPE>(numbers, row, part + i);
        for (int v = 0; v < kPartVectors; v++) {
            store(out + v * kLanes, numbers[v]);
        }
    }
}

// Numbers first .. first+count-1 of a row, as dequantize() has them.
inline void decode(float* out, // (count) =
                   WeightType type, const uint8_t* row, int64_t first, int64_t count) {
    if (first % kDecodedPart == 0 && type != WeightType::f32) {
        const int64_t part = first / kDecodedPart, whole = count / kDecodedPart;
        switch (type) {
        case WeightType::f32: break;
#define SKINTERN_CASE(TYPE) \
    case WeightType::TYPE: decode_whole_parts<WeightType::TYPE>(out, row, part, whole); break;
            SKINTERN_EACH_STORED_TYPE(SKINTERN_CASE)
#undef SKINTERN_CASE
        }
        out += whole * kDecodedPart;
        first += whole * kDecodedPart;
        count -= whole * kDecodedPart;
    }
    dequantize(out, type, row, first, count);
}

} // namespace skintern::SKINTERN_ISA
