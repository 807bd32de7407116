// tiles.h — what matmul and attention share: copying pieces of matrices into panels, and products of small tiles.
//
// A panel holds a few columns (or rows, turned) of a matrix with the other index running slowest, so that a product in
// registers reads it from beginning to end. Panels are padded with zeros to whole vectors.
#pragma once

#include "simd.h"

namespace skintern::SKINTERN_ISA {

// ---- packing ---------------------------------------------------------------------------------------------------------

// packed[k,i] = inp[k,i], with zeros for i >= columns.
inline void pack_straight(float* packed,    // (K,width) =
                          const float* inp, // (K,columns), rows ld apart
                          int64_t ld, int64_t K, int64_t columns, int64_t width) {
    for (int64_t k = 0; k < K; k++, packed += width, inp += ld) {
        int64_t i = 0;
        for (; i + kLanes <= columns; i += kLanes) {
            store(packed + i, load(inp + i));
        }
        for (; i + 4 <= columns; i += 4) {
            store4(packed + i, load4(inp + i));
        }
        for (; i < columns; i++) {
            packed[i] = inp[i];
        }
        for (; i < width; i++) {
            packed[i] = 0.0f;
        }
    }
}

// Four rows of four turned into columns.
inline void transpose_4x4(float* out, const float* inp, int64_t ld_out, int64_t ld_inp) {
    const vec4 r0 = load4(inp);
    const vec4 r1 = load4(inp + ld_inp);
    const vec4 r2 = load4(inp + 2 * ld_inp);
    const vec4 r3 = load4(inp + 3 * ld_inp);
    const vec4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const vec4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const vec4 high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const vec4 high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    store4(out, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
    store4(out + ld_out, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
    store4(out + 2 * ld_out, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
    store4(out + 3 * ld_out, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// packed[k,i] = inp[i,k], with zeros for i >= rows.
inline void pack_transposed(float* packed,    // (K,width) =
                            const float* inp, // (rows,K), rows ld apart
                            int64_t ld, int64_t K, int64_t rows, int64_t width) {
    int64_t i = 0;
    while (rows >= 4 && i < rows) {
        i = min_of(i, rows - 4); // the last four overlap the four before them
        int64_t k = 0;
        for (; k + 4 <= K; k += 4) {
            transpose_4x4(packed + k * width + i, inp + i * ld + k, width, ld);
        }
        for (; k < K; k++) {
            for (int64_t j = i; j < i + 4; j++) {
                packed[k * width + j] = inp[j * ld + k];
            }
        }
        i += 4;
    }
    for (; i < width; i++) {
        for (int64_t k = 0; k < K; k++) {
            packed[k * width + i] = i < rows ? inp[i * ld + k] : 0.0f;
        }
    }
}

// ---- products of tiles -----------------------------------------------------------------------------------------------

constexpr int kTileRows = kLanes == 16 ? 8 : 4; // rows of a product in registers, by 2 vectors of columns

// kTileRows rows and NV vectors of columns of out = or += a b. Element (i,k) of a is a[i * ROW + k * STEP].
template <int NV, int ROW, int STEP>
inline void multiply_tile(float* out, const float* a, const float* b, int64_t ld_out, int64_t ld_b, int64_t K,
                          bool add) {
    vec sum[kTileRows][NV] = {};
    for (int64_t k = 0; k < K; k++) {
        vec b_k[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            b_k[v] = load(b + k * ld_b + v * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < kTileRows; i++) {
            const vec a_ik = broadcast(a[i * ROW + k * STEP]);
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sum[i][v] = fma(a_ik, b_k[v], sum[i][v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            float* element = out + i * ld_out + v * kLanes;
            store(element, add ? load(element) + sum[i][v] : sum[i][v]);
        }
    }
}

// out = or += a b for tiles in scratch: rows are computed in groups of kTileRows, columns is a multiple of kLanes.
template <int ROW, int STEP>
inline void multiply(float* out,     // (rows,columns), rows ld_out apart
                     const float* a, // (rows,K), strides ROW and STEP
                     const float* b, // (K,columns), rows ld_b apart
                     int64_t ld_out, int64_t ld_b, int64_t rows, int64_t columns, int64_t K, bool add) {
    for (int64_t c = 0; c < columns; c += 2 * kLanes) {
        for (int64_t i = 0; i < rows; i += kTileRows) {
            if (columns - c > kLanes) {
                multiply_tile<2, ROW, STEP>(out + i * ld_out + c, a + i * ROW, b + c, ld_out, ld_b, K, add);
            } else {
                multiply_tile<1, ROW, STEP>(out + i * ld_out + c, a + i * ROW, b + c, ld_out, ld_b, K, add);
            }
        }
    }
}

} // namespace skintern::SKINTERN_ISA
