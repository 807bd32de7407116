// matmul_steps_cpu.cpp — from the textbook's product to that of matmul_cpu.cpp, one idea a step.
//
//   out(M,N) = a(M,K) b(N,K)^T        floats, one thread
//
// Every step is correct at every shape. `make bench` checks and times them (docs/kernels.md has the figures); no model runs
// through them. Steps 4 and 5 need scratch for a copy of b; making it is part of their time.
//
// Where time goes: a multiply-add has to wait for its operands. Steps 2 and 3 give the processor more of them to do at
// once and fewer loads for each, step 4 lets a load be useful for more columns, step 5 lets it come from a cache near by.
#include "cpu.h"
#include "micro_kernel.h"

namespace skintern::SKINTERN_ISA {

namespace {

// ---- 1, 2: one element at a time ---------------------------------------------------------------------------------------

// 1. The definition. Each addition waits some cycles for the one before it: the order of a sum of floats is not the
// compiler's to change.
void textbook(float* out, const float* a, const float* b, float*, int64_t M, int64_t N, int64_t K) {
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < K; k++) {
                sum += a[m * K + k] * b[n * K + k];
            }
            out[m * N + n] = sum;
        }
    }
}

// 2. kLanes sums side by side, added up at the end: kLanes multiply-adds in the time of one.
void vectors_along_k(float* out, const float* a, const float* b, float*, int64_t M, int64_t N, int64_t K) {
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            out[m * N + n] = dot(a + m * K, b + n * K, K);
        }
    }
}

// ---- 3: a tile at a time -----------------------------------------------------------------------------------------------

constexpr int kDotRows = kLanes == 16 ? 4 : 2; // sums fill half of the registers
constexpr int kDotColumns = 4;

// sum[i][j] += a_i[k] b_j[k] for kLanes numbers k, or the `left` that there are.
inline void multiply_add_rows(vec (&sum)[kDotRows][kDotColumns], const float* const (&a)[kDotRows],
                              const float* const (&b)[kDotColumns], int64_t k, int64_t left) {
    vec b_k[kDotColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kDotColumns; j++) {
        b_k[j] = load_upto(b[j] + k, left);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kDotRows; i++) {
        const vec a_k = load_upto(a[i] + k, left);
#pragma GCC unroll 4
        for (int j = 0; j < kDotColumns; j++) {
            sum[i][j] = fma(a_k, b_k[j], sum[i][j]);
        }
    }
}

// 3. A tile of sums in registers. They do not wait for each other, so the multiply-add units are never idle for want of
// work, and a vector that is loaded is used for a whole row or column of the tile: 8 loads for 16 multiply-adds, not 32.
void tiles_along_k(float* out, const float* a, const float* b, float*, int64_t M, int64_t N, int64_t K) {
    for (int64_t m = 0; m < M; m += kDotRows) {
        for (int64_t n = 0; n < N; n += kDotColumns) {
            const float* a_i[kDotRows]; // a tile at the edge computes its last row and column more than once
            const float* b_j[kDotColumns];
            for (int i = 0; i < kDotRows; i++) {
                a_i[i] = a + min_of(m + i, M - 1) * K;
            }
            for (int j = 0; j < kDotColumns; j++) {
                b_j[j] = b + min_of(n + j, N - 1) * K;
            }
            vec sum[kDotRows][kDotColumns] = {};
            int64_t k = 0;
            for (; k + kLanes <= K; k += kLanes) {
                multiply_add_rows(sum, a_i, b_j, k, kLanes);
            }
            if (k < K) {
                multiply_add_rows(sum, a_i, b_j, k, K - k);
            }
            for (int i = 0; i < min_of(kDotRows, M - m); i++) {
                for (int j = 0; j < min_of(kDotColumns, N - n); j++) {
                    out[(m + i) * N + n + j] = sum_lanes(sum[i][j]);
                }
            }
        }
    }
}

// ---- 4, 5: b in panels -------------------------------------------------------------------------------------------------

// Columns n .. of out, whose panel of b is (K,width).
struct Columns {
    int64_t n, count, width;
    const float* panel;
};

Columns columns_at(const float* packed, int64_t n, int64_t N, int64_t K) {
    const int64_t count = min_of(N - n, kPanelColumns);
    return {n, count, count > kLanes ? kPanelColumns : kLanes, packed + n * K};
}

static_assert(kPanelColumns - 1 <= kMatmulStepPadding, "the last panel does not fit into scratch");

void pack_panels(float* packed, const float* b, int64_t N, int64_t K) {
    for (int64_t n = 0; n < N; n += kPanelColumns) {
        const Columns c = columns_at(packed, n, N, K);
        pack_transposed(packed + n * K, b + n * K, K, K, c.count, c.width);
    }
}

// Numbers k0 .. k0+count-1 of K, of the rows m .. of one tile of out, at most kPanelRows: added to it but for the first.
void multiply_tile_of_out(float* out, const float* a, const Columns& c, int64_t m, int64_t rows, int64_t N,
                          int64_t K, int64_t k0, int64_t count) {
    float* out_m = out + m * N + c.n;
    const Piece piece = {a + m * K + k0, c.panel + k0 * c.width, count, K};
    micro_kernel<Words::floats>({out_m, k0 > 0 ? out_m : nullptr, N, rows, c.count, 1.0f}, &piece, 1);
}

// 4. Lanes along N. A number of a is now the same in all lanes of a multiply-add: nothing is left to add up at the end, and
// the tile can be larger (12 x 32 with AVX-512: micro_kernel.h). For that b is copied to panels, (K,32) each, which are read from beginning
// to end. The copy costs N K, the product M N K.
void panels(float* out, const float* a, const float* b, float* packed, int64_t M, int64_t N, int64_t K) {
    constexpr int64_t kRows = kPanelRows<Words::floats>;
    pack_panels(packed, b, N, K);
    for (int64_t m = 0; m < M; m += kRows) {
        for (int64_t n = 0; n < N; n += kPanelColumns) {
            multiply_tile_of_out(out, a, columns_at(packed, n, N, K), m, min_of(kRows, M - m), N, K, 0, K);
        }
    }
}

// 5. Blocks. Step 4 goes through all of b for every 12 rows of a, which is more than the caches near the processor hold.
// Now the panel is the outer loop: it comes once for a block of rows, and both stay in the second-level cache while every
// row meets every column. A longer K is cut, so that this is true of any K.
void blocks(float* out, const float* a, const float* b, float* packed, int64_t M, int64_t N, int64_t K) {
    constexpr int64_t kRows = kPanelRows<Words::floats>, kBlockRows = 16 * kRows, kBlockK = 640;
    pack_panels(packed, b, N, K);
    for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += kBlockK) {
        for (int64_t m0 = 0; m0 < M; m0 += kBlockRows) {
            const int64_t end = min_of(m0 + kBlockRows, M);
            for (int64_t n = 0; n < N; n += kPanelColumns) {
                const Columns c = columns_at(packed, n, N, K);
                for (int64_t m = m0; m < end; m += kRows) {
                    multiply_tile_of_out(out, a, c, m, min_of(kRows, end - m), N, K, k0,
                                         min_of(kBlockK, K - k0));
                }
            }
        }
    }
}

} // namespace

const MatmulStep kMatmulSteps[kMatmulStepCount] = {
    {"1 textbook loops", textbook},          {"2 vectors along K", vectors_along_k},
    {"3 tiles in registers", tiles_along_k}, {"4 b in panels", panels},
    {"5 blocks for caches", blocks},
};

} // namespace skintern::SKINTERN_ISA
