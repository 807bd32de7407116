// ptx.cuh — the instructions that C++ has no name for (PTX ISA, "Warp-Level Matrix Instructions", "Asynchronous copy"). The
// kernels call these functions; what they say in PTX is said in C++ in tests/cuda_host/ptx.h, for the CPU.
#pragma once

#ifdef SKINTERN_CUDA_HOST
#include "ptx.h"
#else

#include <cuda_bf16.h>

namespace skintern {

// Two numbers rounded to BF16 as round_to_bf16() (dequantize.h) does it, `low` in the lower half. cvt keeps subnormal numbers;
// multiplying by one with .ftz makes them 0 first.
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
    uint32_t pair;
    asm("{.reg .f32 l, h; mul.ftz.f32 l, %1, 0f3F800000; mul.ftz.f32 h, %2, 0f3F800000; cvt.rn.bf16x2.f32 %0, h, l;}"
        : "=r"(pair)
        : "f"(low), "f"(high));
    return pair;
}

// d(16,8) += a(16,16) b(16,8): BF16 operands, F32 sums. With g = lane / 4 and t = lane % 4 a lane holds
//   a[r]  row g + 8 (r % 2), columns 2t + 8 (r / 2) and the next
//   b[r]  rows 2t + 8 r and the next, column g
//   d[r]  row g + 8 (r / 2), column 2t + r % 2
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 2^x, off by at most 2 ulp (2^-22); results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Four (or two) matrices of 8 x 8 numbers of 16 bits from shared memory. Lane 8 i + r gives the address of row r of matrix i
// (16 bytes, aligned); out[i] of a lane are the numbers 2 (lane % 4) and the next of row lane / 4 of matrix i. Transposed: of
// column lane / 4.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&out)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_transposed(uint32_t (&out)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(out[0]), "=r"(out[1])
                 : "r"(shared_address(row))
                 : "memory");
}

// 16 bytes from global to shared memory without passing through registers, both aligned; zeros where not `valid` (then
// nothing is read). What was issued since the last commit is a group; cp_async_wait<n> waits for all groups of this thread
// but the last n, and other threads see the bytes after the next barrier.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

} // namespace skintern

#endif
