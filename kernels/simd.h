// simd.h — one vector of floats, in the width of the instruction set this file is compiled for.
//
// `vec` holds kLanes floats: 16 with AVX-512, 8 with AVX2, 4 otherwise (SSE2, NEON). It is a vector type of GCC and
// Clang, so + - * / and comparisons are plain operators and the same source serves every instruction set; intrinsics
// appear only where the language has no operator (masked tails, square root).
//
// The *_cpu.cpp files that include this are compiled once per instruction set. Everything lives in a namespace named
// after it (SKINTERN_ISA), so that the linker can never take the AVX-512 copy of an inline function for the portable
// one. For the same reason these files use no templates of the standard library.
#pragma once

#ifndef SKINTERN_ISA
#error "simd.h is for files compiled once per instruction set: give -DSKINTERN_ISA=portable, avx2, ..."
#endif

#include <cmath>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace skintern::SKINTERN_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t ivec __attribute__((vector_size(kLanes * 4)));
typedef float vec4 __attribute__((vector_size(16)));

#if defined(__AVX512F__)
constexpr ivec kLaneNumber = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif defined(__AVX2__)
constexpr ivec kLaneNumber = {0, 1, 2, 3, 4, 5, 6, 7};
#else
constexpr ivec kLaneNumber = {0, 1, 2, 3};
#endif

// ---- scalars -------------------------------------------------------------------------------------------------------

inline int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}
inline int64_t max_of(int64_t a, int64_t b) {
    return a > b ? a : b;
}
inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
inline int64_t round_up(int64_t a, int64_t b) {
    return ceil_div(a, b) * b;
}

// ---- memory --------------------------------------------------------------------------------------------------------

// No alignment is asked of p. memcpy of a constant size compiles to one unaligned move.
inline vec load(const float* p) {
    vec v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

inline void store(float* p, vec v) {
    __builtin_memcpy(p, &v, sizeof v);
}

inline vec4 load4(const float* p) {
    vec4 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

inline void store4(float* p, vec4 v) {
    __builtin_memcpy(p, &v, sizeof v);
}

inline vec broadcast(float x) {
    return x - vec{};
} // x - 0 is x for every x, -0 and NaN included

#if defined(__AVX512F__)

// The first n lanes from memory, 0 <= n <= kLanes, the others 0. Nothing behind p[n-1] is touched.
inline vec load_tail(const float* p, int64_t n) {
    return (vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}

inline void store_tail(float* p, vec v, int64_t n) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
}

inline vec square_root(vec v) {
    return (vec)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);
}

// a > b ? a : b and a < b ? a : b, so b where one of them is NaN.
inline vec max_of(vec a, vec b) {
    return (vec)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
inline vec min_of(vec a, vec b) {
    return (vec)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
}

#elif defined(__AVX2__)

inline __m256i tail_mask(int64_t n) {
    return (__m256i)(kLaneNumber < static_cast<int32_t>(n) - ivec{});
}

inline vec load_tail(const float* p, int64_t n) {
    return (vec)_mm256_maskload_ps(p, tail_mask(n));
}

inline void store_tail(float* p, vec v, int64_t n) {
    _mm256_maskstore_ps(p, tail_mask(n), (__m256)v);
}

inline vec square_root(vec v) {
    return (vec)_mm256_sqrt_ps((__m256)v);
}

inline vec max_of(vec a, vec b) {
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}
inline vec min_of(vec a, vec b) {
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
}

#else

inline vec load_tail(const float* p, int64_t n) {
    vec v = {};
    for (int64_t i = 0; i < n; i++) {
        v[i] = p[i];
    }
    return v;
}

inline void store_tail(float* p, vec v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        p[i] = v[i];
    }
}

inline vec square_root(vec v) {
#if defined(__x86_64__)
    return (vec)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
    return (vec)vsqrtq_f32((float32x4_t)v);
#else
    for (int i = 0; i < kLanes; i++) {
        v[i] = std::sqrt(v[i]);
    }
    return v;
#endif
}

inline vec max_of(vec a, vec b) {
    return a > b ? a : b;
}
inline vec min_of(vec a, vec b) {
    return a < b ? a : b;
}

#endif

// kLanes BF16, each the upper half of a float. (Of a conversion between vector types GCC makes four instructions.)
inline vec widen_bf16(const void* p) {
#if defined(__AVX512F__)
    return (vec)((ivec)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(p))) << 16);
#elif defined(__AVX2__)
    return (vec)((ivec)_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))) << 16);
#else
    typedef uint16_t halves __attribute__((vector_size(kLanes * 2)));
    halves h;
    __builtin_memcpy(&h, p, sizeof h);
    return (vec)(__builtin_convertvector(h, ivec) << 16);
#endif
}

// What lies in memory as uint16_t is BF16 and is widened as it is loaded, which is exact.
inline vec load(const uint16_t* p) {
    return widen_bf16(p);
}

inline vec load_tail(const uint16_t* p, int64_t n) {
#if defined(__AVX512F__)
    const __m256i first = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p);
    return widen_bf16(&first);
#else
    uint16_t first[kLanes] = {};
    for (int64_t i = 0; i < n; i++) {
        first[i] = p[i];
    }
    return widen_bf16(first);
#endif
}

// `left` elements remain at p: a whole vector of them, or as many as there are. Loops over a row read
//     for (int64_t c = 0; c < C; c += kLanes) { ... load_upto(x + c, C - c) ... }
template <class T> // float, or uint16_t
inline vec load_upto(const T* p, int64_t left) {
    return left >= kLanes ? load(p) : load_tail(p, left);
}

inline void store_upto(float* p, vec v, int64_t left) {
    if (left >= kLanes) {
        store(p, v);
    } else {
        store_tail(p, v, left);
    }
}

// The nearest BF16 as a float, as round_to_bf16() has it.
inline vec round_bf16(vec x) {
    const ivec bits = (ivec)x;
    const ivec magnitude = bits & 0x7fffffff;
    ivec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & static_cast<int32_t>(0xffff0000);
    rounded = magnitude < 0x00800000 ? bits & static_cast<int32_t>(0x80000000) : rounded;
    rounded = magnitude > 0x7f800000 ? (bits | 0x00400000) & static_cast<int32_t>(0xffff0000) : rounded;
    return (vec)rounded;
}

inline void store_upto(uint16_t* p, vec v, int64_t left) {
#if defined(__AVX512BF16__)
    const __mmask16 mask = left >= kLanes ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    _mm256_mask_storeu_epi16(p, mask, (__m256i)_mm512_cvtneps_pbh((__m512)v));
#else
    const ivec rounded = (ivec)round_bf16(v);
    for (int64_t i = 0; i < min_of(left, kLanes); i++) {
        p[i] = static_cast<uint16_t>(static_cast<uint32_t>(rounded[i]) >> 16);
    }
#endif
}

// ---- arithmetic ----------------------------------------------------------------------------------------------------

// One rounding where the instruction set has a fused multiply-add (the compiler contracts it), two where not.
inline vec fma(vec a, vec b, vec c) {
    return a * b + c;
}

// Lanes below n keep v, the others become `other`; any n.
inline vec keep_first(vec v, int64_t n, float other) {
    return kLaneNumber < static_cast<int32_t>(min_of(n, kLanes)) - ivec{} ? v : broadcast(other);
}

// Sum of all lanes: halves are added to halves, always in this order.
inline float sum_lanes(vec4 v) {
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return v[0] + v[1];
}

inline float max_lanes(vec4 v) {
    const vec4 w = __builtin_shufflevector(v, v, 2, 3, 0, 1);
    v = v > w ? v : w;
    return v[0] > v[1] ? v[0] : v[1];
}

#if defined(__AVX2__)
typedef float vec8 __attribute__((vector_size(32)));

inline float sum_lanes(vec8 v) {
    return sum_lanes(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}

inline float max_lanes(vec8 v) {
    const vec4 a = __builtin_shufflevector(v, v, 0, 1, 2, 3);
    const vec4 b = __builtin_shufflevector(v, v, 4, 5, 6, 7);
    return max_lanes(a > b ? a : b);
}
#endif

#if defined(__AVX512F__)
inline float sum_lanes(vec v) {
    return sum_lanes(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}

inline float max_lanes(vec v) {
    const vec8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
    const vec8 b = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    return max_lanes(a > b ? a : b);
}
#endif

// {sum_lanes(a), sum_lanes(b), sum_lanes(c), sum_lanes(d)}, to the bit: the same halves are added, of two vectors at once.
inline vec4 sum_lanes_of(vec a, vec b, vec c, vec d) {
#if defined(__AVX512F__)
    const vec ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                   __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    const vec cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                   __builtin_shufflevector(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    vec sum = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
              __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    sum += __builtin_shufflevector(sum, sum, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    sum += __builtin_shufflevector(sum, sum, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return __builtin_shufflevector(sum, sum, 0, 4, 8, 12);
#else
    return vec4{sum_lanes(a), sum_lanes(b), sum_lanes(c), sum_lanes(d)};
#endif
}

// p * 2^n for 1/2 < p < 2, where bits 0..8 of `shifted` hold the integer n modulo 512; correct also where the result is
// denormal or overflows.
inline vec scale_by_power(vec p, [[maybe_unused]] vec n, [[maybe_unused]] vec shifted) {
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)n);
#else
    // Two factors, because n reaches beyond what one float's exponent holds at either end. The shifts extend the sign.
    const ivec exponent = ((ivec)shifted << 23) >> 23;
    const ivec half = exponent >> 1;
    return p * (vec)((half + 127) << 23) * (vec)((exponent - half + 127) << 23);
#endif
}

// exp(x) in each lane: x = n ln2 + r with |r| <= ln2/2, exp(x) = 2^n exp(r), and exp(r) = 1 + r + r^2 g(r) with g a
// polynomial of degree 4, interpolated at Chebyshev nodes (its own error is 0.09 ulp). The error of the whole is below
// 1.1 ulp, and below one unit of the smallest denormal where the result is denormal. exp(-inf) = 0, overflow gives
// +inf, NaN stays NaN.
inline vec exp(vec x) {
    constexpr float kLog2e = 1.44269504f;
    constexpr float kLn2High = 0.693145752f;  // 15 significant bits, so n * kLn2High is exact
    constexpr float kLn2Low = 1.42860682e-6f; // ln2 - kLn2High
    constexpr float kRound = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
    constexpr float kG[] = {0.5f, 0.1666657682f, 0.04166646457f, 0.008363205468f, 0.001393368836f};
    x = max_of(broadcast(-104.0f), x); // less than half the smallest denormal: rounds to 0
    x = min_of(broadcast(89.0f), x);   // more than the largest float
    const vec shifted = fma(x, broadcast(kLog2e), broadcast(kRound));
    const vec n = shifted - kRound;
    const vec r = fma(n, broadcast(-kLn2Low), fma(n, broadcast(-kLn2High), x));
    vec g = fma(broadcast(kG[4]), r, broadcast(kG[3]));
    g = fma(g, r, broadcast(kG[2]));
    g = fma(g, r, broadcast(kG[1]));
    g = fma(g, r, broadcast(kG[0]));
    return scale_by_power(fma(r * r, g, r) + 1.0f, n, shifted);
}

// ---- rows --------------------------------------------------------------------------------------------------------------

inline float dot(const float* a, // (n)
                 const float* b, // (n)
                 int64_t n) {
    vec sum = {};
    for (int64_t i = 0; i < n; i += kLanes) {
        sum = fma(load_upto(a + i, n - i), load_upto(b + i, n - i), sum);
    }
    return sum_lanes(sum);
}

inline void scale_all(float* x, float factor, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) {
        store_upto(x + i, load_upto(x + i, n - i) * factor, n - i);
    }
}

inline void zero_all(float* x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = 0.0f;
    }
}

} // namespace skintern::SKINTERN_ISA
