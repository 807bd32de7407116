// dequantize.h — the numbers of a weight in any of its types, as floats.
//
// The plain types are cut (BF16) or rebiased (F16) floats. The quantised types are GGML's: a block holds integers q and the
// scales they share. With d, m (F16) of a block of 32:
//
//   Q8_0  d q                      q  8 bits, signed                        34 bytes
//   Q4_0  d (q - 8)                q  4 bits                                18
//   Q4_1  d q + m                  q  4 bits                                20
//   Q5_0  d (q - 16)               q  4 bits and one more in a word         22
//   Q5_1  d q + m                  q  likewise                              24
//
// and with d, e (F16) of a block of 256, whose parts (32 numbers, Q6_K: 16) have integer scales s, t of their own:
//
//   Q4_K  d s q - e t              q  4 bits,  s, t  6 bits                 144 bytes
//   Q5_K  d s q - e t              q  5 bits,  s, t  6 bits                 176
//   Q6_K  d s (q - 32)             q  6 bits,  s  8 bits, signed            210
//
// A product of a scale and an integer fits the 24 bits of a float, so there is one rounding at most (of the final sum),
// and every compiler and instruction set gives the same bits. Cost: a few operations a number. No alignment is asked of
// a block.
//
// Everything here is inline: kernels/reference.cpp and src/ take it as it is; the files that are compiled once an
// instruction set take it into the namespace of theirs (see simd.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "weight_type.h"

#ifdef SKINTERN_ISA
namespace skintern::SKINTERN_ISA {
#else
namespace skintern {
#endif

// What a CUDA kernel calls too.
#ifdef __CUDACC__
#define SKINTERN_DEVICE __host__ __device__
#else
#define SKINTERN_DEVICE
#endif

// Numbers that are decoded at a time. A block of 256 is eight such parts.
constexpr int64_t kDecodedPart = 32;

// ---- 16-bit floats ---------------------------------------------------------------------------------------------------

SKINTERN_DEVICE inline uint16_t load_u16(const uint8_t* p) {
    uint16_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
}

SKINTERN_DEVICE inline float bits_to_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// BF16 is the upper half of a float.
SKINTERN_DEVICE inline float bf16_to_float(uint16_t bits) { return bits_to_float(static_cast<uint32_t>(bits) << 16); }

// The nearest BF16, the even one of two; subnormal numbers become 0, as in the instructions that multiply BF16.
SKINTERN_DEVICE inline float round_to_bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000) == 0) {
        return bits_to_float(bits & 0x80000000);
    }
    if ((bits & 0x7fffffff) > 0x7f800000) { // NaN stays NaN
        return bits_to_float(bits | 0x00400000);
    }
    return bits_to_float((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

// The upper half of that is all of it.
SKINTERN_DEVICE inline uint16_t rounded_bf16_bits(float value) {
    const float rounded = round_to_bf16(value);
    uint32_t bits;
    std::memcpy(&bits, &rounded, sizeof bits);
    return static_cast<uint16_t>(bits >> 16);
}

// F16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Put in the place of a float's exponent and mantissa they are 2^112
// too small, subnormal numbers included; infinity and NaN need all ones in the wider exponent.
SKINTERN_DEVICE inline float f16_to_float(uint16_t bits) {
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const float finite = bits_to_float(magnitude) * 0x1p112f;
    uint32_t finite_bits;
    std::memcpy(&finite_bits, &finite, sizeof finite_bits);
    return bits_to_float(sign | ((bits & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000 : finite_bits));
}

// ---- blocks of 32 ------------------------------------------------------------------------------------------------------

// Number i stands in the low half of byte i, number i + 16 in the high half.
SKINTERN_DEVICE inline void decode_nibbles(float* __restrict out, const uint8_t* __restrict bytes, float d, float add) {
    for (int i = 0; i < 16; i++) {
        out[i] = d * static_cast<float>(bytes[i] & 15) + add;
        out[i + 16] = d * static_cast<float>(bytes[i] >> 4) + add;
    }
}

// Likewise, with a fifth bit of number i as bit i of `high`.
SKINTERN_DEVICE inline void decode_five_bits(float* __restrict out, const uint8_t* __restrict bytes, const uint8_t* high_bytes, float d,
                             float add) {
    uint32_t high;
    std::memcpy(&high, high_bytes, sizeof high);
    for (int i = 0; i < 16; i++) {
        out[i] = d * static_cast<float>((bytes[i] & 15) | ((high >> i & 1) << 4)) + add;
        out[i + 16] = d * static_cast<float>((bytes[i] >> 4) | ((high >> (i + 16) & 1) << 4)) + add;
    }
}

SKINTERN_DEVICE inline void decode_q8_0(float* __restrict out, const uint8_t* __restrict block) {
    const float d = f16_to_float(load_u16(block));
    for (int i = 0; i < 32; i++) {
        out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
    }
}

// ---- blocks of 256 -----------------------------------------------------------------------------------------------------

struct PartScales {
    int scale; // s
    int low;   // t
};

// Eight pairs of 6 bits in 12 bytes: the first four scales, then the first four t, in the lower six bits of a byte each;
// the last four have their lower four bits in the last four bytes and the upper two on top of the others.
SKINTERN_DEVICE inline PartScales part_scales(const uint8_t* packed, int64_t part) {
    if (part < 4) {
        return {packed[part] & 63, packed[part + 4] & 63};
    }
    return {(packed[part + 4] & 15) | (packed[part - 4] >> 6) << 4, (packed[part + 4] >> 4) | (packed[part] >> 6) << 4};
}

// Part p: the low (p even) or high (p odd) halves of 32 bytes. d, e | 12 bytes of scales | 128 bytes
SKINTERN_DEVICE inline void decode_q4_k(float* __restrict out, const uint8_t* __restrict block, int64_t part) {
    const PartScales scales = part_scales(block + 4, part);
    const float d = f16_to_float(load_u16(block)) * static_cast<float>(scales.scale);
    const float low = f16_to_float(load_u16(block + 2)) * static_cast<float>(scales.low);
    const uint8_t* bytes = block + 16 + part / 2 * 32;
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; i++) {
        out[i] = d * static_cast<float>(bytes[i] >> shift & 15) - low;
    }
}

// Likewise, with a fifth bit of number i of part p as bit p of byte i. d, e | 12 bytes of scales | 32 | 128 bytes
SKINTERN_DEVICE inline void decode_q5_k(float* __restrict out, const uint8_t* __restrict block, int64_t part) {
    const PartScales scales = part_scales(block + 4, part);
    const float d = f16_to_float(load_u16(block)) * static_cast<float>(scales.scale);
    const float low = f16_to_float(load_u16(block + 2)) * static_cast<float>(scales.low);
    const uint8_t* high = block + 16;
    const uint8_t* bytes = block + 48 + part / 2 * 32;
    const int shift = part % 2 * 4;
    for (int i = 0; i < 32; i++) {
        out[i] = d * static_cast<float>((bytes[i] >> shift & 15) | (high[i] >> part & 1) << 4) - low;
    }
}

// Four parts share 64 bytes of low halves and 32 bytes of pairs of high bits. 128 bytes | 64 | 16 scales | d
SKINTERN_DEVICE inline void decode_q6_k(float* __restrict out, const uint8_t* __restrict block, int64_t part) {
    const int64_t half = part / 4, quarter = part % 4;
    const uint8_t* bytes = block + half * 64 + quarter % 2 * 32;
    const uint8_t* high = block + 128 + half * 32;
    const int shift = static_cast<int>(quarter / 2 * 4), high_shift = static_cast<int>(quarter * 2);
    const float d = f16_to_float(load_u16(block + 208));
    for (int j = 0; j < 2; j++) {
        const float scale = d * static_cast<float>(static_cast<int8_t>(block[192 + part * 2 + j]));
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            const int q = (bytes[i] >> shift & 15) | (high[i] >> high_shift & 3) << 4;
            out[i] = scale * static_cast<float>(q - 32);
        }
    }
}

// ---- any type ----------------------------------------------------------------------------------------------------------

// Part `part` of a quantised block.
SKINTERN_DEVICE inline void decode_part_of_block(float* out, // (32) =
                                                 WeightType type, const uint8_t* block, int64_t part) {
    switch (type) {
    case WeightType::q8_0: decode_q8_0(out, block); break;
    case WeightType::q4_0: {
        const float d = f16_to_float(load_u16(block));
        decode_nibbles(out, block + 2, d, -8.0f * d);
        break;
    }
    case WeightType::q4_1: {
        decode_nibbles(out, block + 4, f16_to_float(load_u16(block)), f16_to_float(load_u16(block + 2)));
        break;
    }
    case WeightType::q5_0: {
        const float d = f16_to_float(load_u16(block));
        decode_five_bits(out, block + 6, block + 2, d, -16.0f * d);
        break;
    }
    case WeightType::q5_1: {
        decode_five_bits(out, block + 8, block + 4, f16_to_float(load_u16(block)), f16_to_float(load_u16(block + 2)));
        break;
    }
    case WeightType::q4_k: decode_q4_k(out, block, part); break;
    case WeightType::q5_k: decode_q5_k(out, block, part); break;
    case WeightType::q6_k: decode_q6_k(out, block, part); break;
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16: break; // no blocks: see dequantize()
    }
}

// Part `part` of a row of quantised blocks.
inline void decode_part(float* out, // (32) =
                        WeightType type, const uint8_t* row, int64_t part) {
    const WeightFormat& format = weight_format(type);
    const int64_t parts = format.elements / kDecodedPart; // of a block
    decode_part_of_block(out, type, row + part / parts * format.bytes, part % parts);
}

// Numbers first .. first+count-1 of a row. For F32 the row is of float, not of real.
inline void dequantize(float* __restrict out, // (count) =
                       WeightType type, const void* row, int64_t first, int64_t count) {
    const uint8_t* bytes = static_cast<const uint8_t*>(row);
    switch (type) {
    case WeightType::f32:
        std::memcpy(out, bytes + 4 * first, static_cast<size_t>(4 * count));
        return;
    case WeightType::f16:
        for (int64_t i = 0; i < count; i++) {
            out[i] = f16_to_float(load_u16(bytes + 2 * (first + i)));
        }
        return;
    case WeightType::bf16:
        for (int64_t i = 0; i < count; i++) {
            out[i] = bf16_to_float(load_u16(bytes + 2 * (first + i)));
        }
        return;
    default: break;
    }
    const int64_t end = first + count;
    for (int64_t at = first; at < end;) {
        const int64_t part = at / kDecodedPart, begin = part * kDecodedPart;
        if (at == begin && end - at >= kDecodedPart) {
            decode_part(out + (at - first), type, bytes, part);
            at += kDecodedPart;
        } else { // the row or the range begins or ends inside a part
            float numbers[kDecodedPart];
            decode_part(numbers, type, bytes, part);
            const int64_t stop = end < begin + kDecodedPart ? end : begin + kDecodedPart;
            std::memcpy(out + (at - first), numbers + (at - begin), static_cast<size_t>(4 * (stop - at)));
            at = stop;
        }
    }
}

} // namespace skintern or its instruction set's
