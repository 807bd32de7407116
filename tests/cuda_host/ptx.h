// ptx.h — what kernels/cuda/ptx.cuh says in PTX, said in C++: the instructions of a whole warp with the fragment layouts of
// the PTX manual (section 9.7, warp-level matrix instructions; asynchronous copy).
#pragma once

#include "cuda_bf16.h"

namespace skintern {

inline uint32_t bf16_pair(float low, float high) {
    const auto half = [](float value) -> uint32_t {
        const bool subnormal = (__float_as_uint(value) & 0x7f800000u) == 0;
        return subnormal ? __float_as_uint(value) >> 16 & 0x8000u : __float2bfloat16_rn(value).bits;
    };
    return half(low) | half(high) << 16;
}

namespace ptx_host {

struct Mma {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
};

inline float half_of(uint32_t pair, int which) { return __uint_as_float((which == 0 ? pair << 16 : pair & 0xffff0000u)); }

// Fragments of m16n8k16 (PTX: "Matrix Fragments for mma.m16n8k16"): with g = lane / 4 and t = lane % 4
//   a[r] holds row g + 8 (r % 2), columns 2t + 8 (r / 2) and the next
//   b[r] holds rows 2t + 8 r and the next, column g
//   d[r] holds row g + 8 (r / 2), column 2t + r % 2
inline void mma(void* const* operands, unsigned mask) {
    if (mask != 0xffffffffu) {
        cuda_host::fail("mma takes all 32 lanes of a warp, here only those of mask %08x", mask);
    }
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const Mma& own = *static_cast<const Mma*>(operands[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int r = 0; r < 4; r++) {
            for (int i = 0; i < 2; i++) {
                a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + i] = half_of(own.a[r], i);
            }
        }
        for (int r = 0; r < 2; r++) {
            for (int i = 0; i < 2; i++) {
                b[2 * t + 8 * r + i][g] = half_of(own.b[r], i);
            }
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        const Mma& own = *static_cast<const Mma*>(operands[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int r = 0; r < 4; r++) {
            float sum = own.d[r];
            for (int k = 0; k < 16; k++) {
                sum += a[g + 8 * (r / 2)][k] * b[k][2 * t + r % 2];
            }
            own.d[r] = sum;
        }
    }
}

struct Ldmatrix {
    uint32_t* out;
    const void* row; // of eight 16-bit numbers, 16 bytes aligned
    int matrices;
    bool transposed;
};

// Lane 8 i + r gives the address of row r of matrix i; lane l receives of matrix i the numbers 2 (l % 4) and the next of row
// l / 4, or with .trans those of column l / 4.
inline void ldmatrix(void* const* operands, unsigned mask) {
    if (mask != 0xffffffffu) {
        cuda_host::fail("ldmatrix takes all 32 lanes of a warp, here only those of mask %08x", mask);
    }
    const int matrices = static_cast<const Ldmatrix*>(operands[0])->matrices;
    for (int i = 0; i < matrices; i++) {
        uint16_t m[8][8];
        for (int r = 0; r < 8; r++) {
            std::memcpy(m[r], static_cast<const Ldmatrix*>(operands[8 * i + r])->row, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            const Ldmatrix& own = *static_cast<const Ldmatrix*>(operands[lane]);
            const int g = lane / 4, t = lane % 4;
            own.out[i] = own.transposed ? m[2 * t][g] | static_cast<uint32_t>(m[2 * t + 1][g]) << 16
                                        : m[g][2 * t] | static_cast<uint32_t>(m[g][2 * t + 1]) << 16;
        }
    }
}

} // namespace ptx_host

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                         std::source_location where = std::source_location::current()) {
    ptx_host::Mma own = {d, a, b};
    cuda_host::together(0xffffffffu, &own, ptx_host::mma, "mma", where);
}

inline float exp2_approx(float x) { return std::exp2(x); }

inline void ldmatrix_x4(uint32_t (&out)[4], const void* row, std::source_location where = std::source_location::current()) {
    ptx_host::Ldmatrix own = {out, row, 4, false};
    cuda_host::together(0xffffffffu, &own, ptx_host::ldmatrix, "ldmatrix", where);
}
inline void ldmatrix_x4_transposed(uint32_t (&out)[4], const void* row,
                                   std::source_location where = std::source_location::current()) {
    ptx_host::Ldmatrix own = {out, row, 4, true};
    cuda_host::together(0xffffffffu, &own, ptx_host::ldmatrix, "ldmatrix", where);
}
inline void ldmatrix_x2(uint32_t (&out)[2], const void* row, std::source_location where = std::source_location::current()) {
    ptx_host::Ldmatrix own = {out, row, 2, false};
    cuda_host::together(0xffffffffu, &own, ptx_host::ldmatrix, "ldmatrix", where);
}
inline void ldmatrix_x2_transposed(uint32_t (&out)[2], const void* row,
                                   std::source_location where = std::source_location::current()) {
    ptx_host::Ldmatrix own = {out, row, 2, true};
    cuda_host::together(0xffffffffu, &own, ptx_host::ldmatrix, "ldmatrix", where);
}

// The copy is made when it is waited for (runner.cpp): until then nobody may read it.
inline void cp_async_16(void* shared, const void* global, bool valid = true) { cuda_host::copy_later(shared, global, valid ? 16 : 0, 16); }
inline void cp_async_commit() { cuda_host::commit_copies(); }
template <int kPending>
inline void cp_async_wait() { cuda_host::wait_copies(kPending); }

} // namespace skintern
