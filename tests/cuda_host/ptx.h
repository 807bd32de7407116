// ptx.h — what kernels/cuda/ptx.cuh says in PTX, for the CPU: the same functions, done by instructions.cpp.
#pragma once

#include "cuda_bf16.h"

namespace cuda_host {

void mma(float* d, const uint32_t* a, const uint32_t* b, std::source_location where);
void ldmatrix(uint32_t* out, const void* row, int matrices, bool transposed, std::source_location where);

// `bytes` bytes of global memory and zeros after them, `size` in all: to be there when their group has been waited for.
void cp_async(void* shared, const void* global, int bytes, int size, std::source_location where);
void cp_async_commit();
void cp_async_wait(int pending);

} // namespace cuda_host

namespace skintern {

inline uint32_t bf16_pair(float low, float high) {
    const auto half = [](float value) -> uint32_t {
        const bool subnormal = (__float_as_uint(value) & 0x7f800000u) == 0;
        return subnormal ? __float_as_uint(value) >> 16 & 0x8000u : __float2bfloat16_rn(value).bits;
    };
    return half(low) | half(high) << 16;
}

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                         std::source_location where = std::source_location::current()) {
    cuda_host::mma(d, a, b, where);
}

inline float exp2_approx(float x) { return std::exp2(x); }

inline void ldmatrix_x4(uint32_t (&out)[4], const void* row, std::source_location where = std::source_location::current()) {
    cuda_host::ldmatrix(out, row, 4, false, where);
}
inline void ldmatrix_x4_transposed(uint32_t (&out)[4], const void* row,
                                   std::source_location where = std::source_location::current()) {
    cuda_host::ldmatrix(out, row, 4, true, where);
}
inline void ldmatrix_x2(uint32_t (&out)[2], const void* row, std::source_location where = std::source_location::current()) {
    cuda_host::ldmatrix(out, row, 2, false, where);
}
inline void ldmatrix_x2_transposed(uint32_t (&out)[2], const void* row,
                                   std::source_location where = std::source_location::current()) {
    cuda_host::ldmatrix(out, row, 2, true, where);
}

inline void cp_async_16(void* shared, const void* global, bool valid = true,
                        std::source_location where = std::source_location::current()) {
    cuda_host::cp_async(shared, global, valid ? 16 : 0, 16, where);
}
inline void cp_async_commit() { cuda_host::cp_async_commit(); }
template <int kPending>
inline void cp_async_wait() {
    cuda_host::cp_async_wait(kPending);
}

} // namespace skintern
