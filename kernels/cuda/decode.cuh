// decode.cuh — a weight of any type inside a kernel: eight neighbouring numbers of a row at a time, in registers.
//
// The numbers are those of dequantize.h to the last bit: the same products and the same single rounding. Here a lane takes a
// quarter of 32 numbers, reads its bytes as words, and makes floats of them without the unit that converts integers, which
// takes a sixteenth of a warp's lanes a cycle.
#pragma once

#include "cuda.cuh"
#include "dequantize.h"

namespace skintern {

constexpr int kEight = 8;

// Eight bytes as two words. Blocks begin at even addresses, some at multiples of four, where the weight begins at one.
template <int kAlignment>
__device__ __forceinline__ uint2 eight_bytes(const uint8_t* from) {
    if constexpr (kAlignment == 4) {
        const uint32_t* words = reinterpret_cast<const uint32_t*>(from);
        return make_uint2(words[0], words[1]);
    } else if constexpr (kAlignment == 2) {
        const uint16_t* halves = reinterpret_cast<const uint16_t*>(from);
        return make_uint2(halves[0] | static_cast<uint32_t>(halves[1]) << 16, halves[2] | static_cast<uint32_t>(halves[3]) << 16);
    } else {
        uint32_t words[2] = {};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            words[i / 4] |= static_cast<uint32_t>(from[i]) << (i % 4 * 8);
        }
        return make_uint2(words[0], words[1]);
    }
}

template <int kAlignment>
__device__ __forceinline__ float f16_number(const uint8_t* from) {
    if constexpr (kAlignment == 1) {
        return f16_to_float(static_cast<uint16_t>(from[0] | from[1] << 8));
    } else {
        return f16_to_float(*reinterpret_cast<const uint16_t*>(from));
    }
}

// Four bits of `bits`, from bit `first` on, as the fifth bits of four bytes.
__device__ __forceinline__ uint32_t fifth_bits(uint32_t bits, int first) {
    return ((bits >> first & 15u) * 0x00204081u & 0x01010101u) << 4;
}

// What a type's blocks are aligned to, where the first one is.
constexpr int block_alignment(int64_t bytes_of_block) { return bytes_of_block % 4 == 0 ? 4 : 2; }
template <WeightType kType>
constexpr int kBlockAlignment = block_alignment(kWeightFormats[static_cast<int>(kType)].bytes);

// Numbers 8 eight .. 8 eight + 7 of part `part` of a block, as dequantize.h has them: d (q - zero), or d q + add, rounded once.
// q of a byte each become floats without the conversion unit, which is slow: 2^23 + q has q as its last bits.
template <WeightType kType, int kAlignment>
__device__ __forceinline__ void eight_of_block(float (&out)[kEight], const uint8_t* block, int part, int eight) {
    uint2 q;
    float d = 0, add = 0;
    int zero = 0;
    constexpr bool kAdds = kType != WeightType::q8_0 && kType != WeightType::q6_k;
    if constexpr (kType == WeightType::q8_0) {
        d = f16_number<kAlignment>(block);
        q = eight_bytes<kAlignment>(block + 2 + 8 * eight);
        q.x ^= 0x80808080u; // -128 .. 127 as 0 .. 255
        q.y ^= 0x80808080u;
        zero = 128;
    } else if constexpr (kType == WeightType::q6_k) {
        const int half = part / 4, quarter = part % 4;
        const uint2 low = eight_bytes<kAlignment>(block + half * 64 + quarter % 2 * 32 + 8 * eight);
        const uint2 high = eight_bytes<kAlignment>(block + 128 + half * 32 + 8 * eight);
        const int shift = quarter / 2 * 4, high_shift = quarter * 2;
        q.x = (low.x >> shift & 0x0f0f0f0fu) | (high.x >> high_shift & 0x03030303u) << 4;
        q.y = (low.y >> shift & 0x0f0f0f0fu) | (high.y >> high_shift & 0x03030303u) << 4;
        d = f16_number<kAlignment>(block + 208) * static_cast<float>(static_cast<int8_t>(block[192 + part * 2 + eight / 2]));
        zero = 32;
    } else if constexpr (kType == WeightType::q4_k || kType == WeightType::q5_k) {
        const PartScales scales = part_scales(block + 4, part);
        d = f16_number<kAlignment>(block) * static_cast<float>(scales.scale);
        add = -(f16_number<kAlignment>(block + 2) * static_cast<float>(scales.low));
        constexpr int kBytes = kType == WeightType::q4_k ? 16 : 48; // where the low halves begin
        q = eight_bytes<kAlignment>(block + kBytes + part / 2 * 32 + 8 * eight);
        q.x = q.x >> (part % 2 * 4) & 0x0f0f0f0fu;
        q.y = q.y >> (part % 2 * 4) & 0x0f0f0f0fu;
        if constexpr (kType == WeightType::q5_k) {
            const uint2 high = eight_bytes<kAlignment>(block + 16 + 8 * eight);
            q.x |= (high.x >> part & 0x01010101u) << 4;
            q.y |= (high.y >> part & 0x01010101u) << 4;
        }
    } else {
        constexpr bool kFive = kType == WeightType::q5_0 || kType == WeightType::q5_1;
        constexpr bool kHasAdd = kType == WeightType::q4_1 || kType == WeightType::q5_1;
        constexpr int kHigh = kHasAdd ? 4 : 2, kBytes = kHigh + (kFive ? 4 : 0);
        d = f16_number<kAlignment>(block);
        if constexpr (kHasAdd) {
            add = f16_number<kAlignment>(block + 2);
        } else {
            add = (kFive ? -16.0f : -8.0f) * d;
        }
        q = eight_bytes<kAlignment>(block + kBytes + eight % 2 * 8);
        q.x = q.x >> (eight / 2 * 4) & 0x0f0f0f0fu;
        q.y = q.y >> (eight / 2 * 4) & 0x0f0f0f0fu;
        if constexpr (kFive) {
            const uint32_t high = block[kHigh + eight];
            q.x |= fifth_bits(high, 0);
            q.y |= fifth_bits(high, 4);
        }
    }
#pragma unroll
    for (int i = 0; i < kEight; i++) {
        const uint32_t byte = (i < 4 ? q.x : q.y) >> (i % 4 * 8) & 255u;
        const float number = __uint_as_float(0x4b000000u | byte) - (8388608.0f + static_cast<float>(zero));
        out[i] = kAdds ? d * number + add : d * number;
    }
}

// Eight F32 or BF16 numbers from aligned memory.
__device__ __forceinline__ void read_eight(float (&out)[kEight], const float* from) {
    const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
    out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
    out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
}
__device__ __forceinline__ uint4 eight_halves(const uint16_t* from) { return *reinterpret_cast<const uint4*>(from); }

// Numbers k .. k+7 of row n of the weight b, zeros from K on. kAligned: K is a multiple of eight, and the rows or the blocks
// begin where their vectors may.
template <WeightType kType, bool kAligned>
__device__ __forceinline__ void eight_of_weight(float (&out)[kEight], const void* b, int n, int k, int K) {
    constexpr int64_t kElements = kWeightFormats[static_cast<int>(kType)].elements;
    constexpr int64_t kBytes = kWeightFormats[static_cast<int>(kType)].bytes;
    if constexpr (kElements == 1) {
        const int64_t first = static_cast<int64_t>(n) * K + k;
        const auto number = [](uint16_t bits) { return kType == WeightType::f16 ? f16_to_float(bits) : bf16_value(bits); };
        if constexpr (kAligned && kType == WeightType::f32) {
            read_eight(out, static_cast<const float*>(b) + first);
        } else if constexpr (kAligned) {
            const uint4 pairs = eight_halves(static_cast<const uint16_t*>(b) + first);
            const uint32_t words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                out[2 * i] = number(static_cast<uint16_t>(words[i]));
                out[2 * i + 1] = number(static_cast<uint16_t>(words[i] >> 16));
            }
        } else {
#pragma unroll
            for (int i = 0; i < kEight; i++) {
                if (k + i >= K) {
                    out[i] = 0;
                } else if constexpr (kType == WeightType::f32) {
                    out[i] = static_cast<const float*>(b)[first + i];
                } else {
                    const uint8_t* bytes = static_cast<const uint8_t*>(b) + 2 * (first + i); // anywhere, as blocks
                    out[i] = number(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
                }
            }
        }
    } else {
        const int64_t block = (static_cast<int64_t>(n) * K + k) / kElements;
        const int in_block = k % static_cast<int>(kElements), part = in_block / static_cast<int>(kDecodedPart);
        eight_of_block<kType, kAligned ? kBlockAlignment<kType> : 1>(out, static_cast<const uint8_t*>(b) + block * kBytes, part,
                                                                     in_block % static_cast<int>(kDecodedPart) / kEight);
    }
}

// What eight_of_weight asks for with kAligned.
inline bool has_aligned_eights(Matrix b, int64_t K) {
    const WeightFormat& format = weight_format(b.type);
    const int alignment = format.elements == 1 ? 16 : block_alignment(format.bytes);
    return K % kEight == 0 && reinterpret_cast<uintptr_t>(b.data) % static_cast<uintptr_t>(alignment) == 0;
}

} // namespace skintern
