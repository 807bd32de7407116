// half.h — floats rounded to the two 16-bit types, to nearest, ties to even. The way back is in kernels/dequantize.h.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace skintern {

// BF16 is the upper half of a float. A NaN stays a NaN: adding the rounding term to its mantissa could make it infinite.
inline uint16_t float_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if (std::isnan(value)) {
        return static_cast<uint16_t>((bits >> 16) | 0x40);
    }
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// F16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. What is 65520 or more becomes infinite.
inline uint16_t float_to_f16(float value) {
    const uint32_t sign = (std::bit_cast<uint32_t>(value) >> 16) & 0x8000;
    const float magnitude = std::fabs(value);
    uint32_t bits = std::bit_cast<uint32_t>(magnitude);
    if (std::isnan(value)) {
        bits = 0x7e00;
    } else if (magnitude >= 65520.0f) {
        bits = 0x7c00;
    } else if (magnitude < 0x1p-14f) {
        // Below the smallest normal number F16 counts in steps of 2^-24, as a float between 1/2 and 1 does.
        bits = std::bit_cast<uint32_t>(magnitude + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    } else {
        bits = (bits - (112u << 23) + 0xfff + ((bits >> 13) & 1)) >> 13; // 112: the difference of the biases
    }
    return static_cast<uint16_t>(sign | bits);
}

} // namespace skintern
