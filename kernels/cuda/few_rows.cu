// few_rows.cu — layers of at most kFewRows rows (nt), in F32: decoding a token.
//
// Every weight is read once and serves all rows: what counts is the memory's bandwidth. A warp makes a few columns of out; its
// lanes share K, eight neighbouring numbers each, 256 a step: a lane asks for 16 bytes of a BF16 weight, and a warp for 512
// that lie side by side, for each of its columns before it uses the first. Blocks of quantised weights are taken apart in
// registers: four lanes share 32 numbers.
//
// The sum of a lane runs through the terms and K in order, and the lanes are added up as warp_reduce does: the same order for
// every type, so that a stored weight gives the very sum that its numbers would.
//
// Bytes on the way: for 80 % of A100's 1555 GB/s at a latency of about 600 ns, 7 KB a processor. Sixteen warps with four
// columns ask for 32 KB of BF16, or 9 KB of Q4_0 (18 bytes for 32 numbers).
#include <algorithm>

#include "decode.cuh"
#include "products.cuh"

namespace skintern {

namespace {

constexpr int kFewThreads = 128, kFewWarps = kFewThreads / kWarpLanes;
constexpr int kStepNumbers = kEight * kWarpLanes;

// ---- the product ---------------------------------------------------------------------------------------------------------

// sum[m][c] += this lane's share of sum_k a[m,k] b[n_c,k], the columns n_c clamped to those that there are.
template <WeightType kType, bool kAligned, int kRows, int kColumns>
__device__ __forceinline__ void add_term(float (&sum)[kRows][kColumns], const TermArgs& term, const int (&n)[kColumns], int M) {
    for (int k = static_cast<int>(threadIdx.x) % kWarpLanes * kEight; k < term.K; k += kStepNumbers) {
        float weights[kColumns][kEight];
#pragma unroll
        for (int c = 0; c < kColumns; c++) {
            eight_of_weight<kType, kAligned>(weights[c], term.b, n[c], k, term.K);
        }
#pragma unroll
        for (int m = 0; m < kRows; m++) {
            const int64_t first = static_cast<int64_t>(min(m, M - 1)) * term.K + k;
            float x[kEight];
            if constexpr (kAligned) {
                read_eight(x, static_cast<const float*>(term.a) + first);
            } else {
#pragma unroll
                for (int i = 0; i < kEight; i++) {
                    x[i] = k + i >= term.K                  ? 0.0f
                           : term.a_type == WeightType::f32 ? static_cast<const float*>(term.a)[first + i]
                                                            : bf16_value(static_cast<const uint16_t*>(term.a)[first + i]);
                }
            }
#pragma unroll
            for (int c = 0; c < kColumns; c++) {
#pragma unroll
                for (int i = 0; i < kEight; i++) {
                    sum[m][c] += x[i] * weights[c][i];
                }
            }
        }
    }
}

template <bool kAligned, int kRows, int kColumns>
__device__ __forceinline__ void add_term_of_type(float (&sum)[kRows][kColumns], const TermArgs& term, const int (&n)[kColumns],
                                                 int M) {
    switch (term.b_type) {
    case WeightType::f32: add_term<WeightType::f32, kAligned>(sum, term, n, M); break;
#define SKINTERN_CASE(TYPE) \
    case WeightType::TYPE: add_term<WeightType::TYPE, kAligned>(sum, term, n, M); break;
        SKINTERN_EACH_STORED_TYPE(SKINTERN_CASE)
#undef SKINTERN_CASE
    }
}

// A warp a group of kColumns columns and at most kRows rows.
template <int kRows, int kColumns>
__device__ __forceinline__ void multiply_few(const ProductBatch& batch) {
    static_assert(kRows * kColumns <= kWarpLanes);
    int p = 0;
    while (p + 1 < batch.count && blockIdx.x >= batch.list[p + 1].first_block) {
        p++;
    }
    const ProductArgs& product = batch.list[p];
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int first = (static_cast<int>(blockIdx.x - product.first_block) * kFewWarps + warp) * kColumns;
    if (first >= product.N) {
        return;
    }
    int n[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; c++) {
        n[c] = min(first + c, product.N - 1);
    }
    float sum[kRows][kColumns] = {};
    for (int t = 0; t < product.term_count; t++) {
        const TermArgs& term = product.terms[t];
        if (term.a_vectors && term.b_vectors) {
            add_term_of_type<true>(sum, term, n, product.M);
        } else {
            add_term_of_type<false>(sum, term, n, product.M);
        }
    }
    float own = 0; // of row lane / kColumns and column lane % kColumns
#pragma unroll
    for (int m = 0; m < kRows; m++) {
#pragma unroll
        for (int c = 0; c < kColumns; c++) {
            const float total = warp_reduce(sum[m][c], Sum());
            own = lane == m * kColumns + c ? total : own;
        }
    }
    if (lane < kRows * kColumns && lane / kColumns < product.M && first + lane % kColumns < product.N) {
        const int64_t at = static_cast<int64_t>(lane / kColumns) * product.N + first + lane % kColumns;
        product.out[at] = product.base == nullptr ? product.alpha * own : product.base[at] + product.alpha * own;
    }
}

// resident: product_one_row_kernel 128 threads, 4 blocks, 0 bytes shared
template <int kColumns>
__global__ void __launch_bounds__(128, 4) product_one_row_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_few<1, kColumns>(batch);
}

// resident: product_two_rows_kernel 128 threads, 4 blocks, 0 bytes shared
template <int kColumns>
__global__ void __launch_bounds__(128, 4) product_two_rows_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_few<2, kColumns>(batch);
}

// resident: product_four_rows_kernel 128 threads, 3 blocks, 0 bytes shared
template <int kColumns>
__global__ void __launch_bounds__(128, 3) product_four_rows_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_few<4, kColumns>(batch);
}

// resident: product_eight_rows_kernel 128 threads, 3 blocks, 0 bytes shared
template <int kColumns>
__global__ void __launch_bounds__(128, 3) product_eight_rows_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_few<8, kColumns>(batch);
}

static_assert(kFewRows == 8, "product_eight_rows_kernel is for the most rows that there are");

// Whether the vectors of `term` may be read: what add_term asks for with kAligned.
bool is_aligned(const TermArgs& term) {
    return term.a_type == WeightType::f32 && reinterpret_cast<uintptr_t>(term.a) % 16 == 0 &&
           has_aligned_eights(Matrix(term.b, term.b_type), term.K);
}

// Columns of a warp where there are enough of them for every processor: as many as registers hold the sums of.
constexpr int kColumnsOfWarp = 4, kColumnsOfEightRows = 2;

} // namespace

// A batch of nt; all products have the same M.
void launch_few_rows(ProductBatch& batch, int processors, cudaStream_t stream) {
    int64_t columns = 0;
    for (int p = 0; p < batch.count; p++) {
        columns += batch.list[p].N;
    }
    const bool enough = columns >= int64_t{4} * kFewWarps * kColumnsOfWarp * processors;
    const int M = batch.list[0].M;
    const int columns_of_warp = !enough ? 1 : M > 4 ? kColumnsOfEightRows : kColumnsOfWarp;
    unsigned blocks = 0;
    for (int p = 0; p < batch.count; p++) {
        ProductArgs& product = batch.list[p];
        product.first_block = blocks;
        blocks += static_cast<unsigned>(ceil_div(product.N, kFewWarps * columns_of_warp));
        for (int t = 0; t < product.term_count; t++) {
            TermArgs& term = product.terms[t];
            term.a_vectors = term.b_vectors = is_aligned(term);
        }
    }
    using Kernel = void (*)(ProductBatch);
    const Kernel one = enough ? product_one_row_kernel<kColumnsOfWarp> : product_one_row_kernel<1>;
    const Kernel two = enough ? product_two_rows_kernel<kColumnsOfWarp> : product_two_rows_kernel<1>;
    const Kernel four = enough ? product_four_rows_kernel<kColumnsOfWarp> : product_four_rows_kernel<1>;
    const Kernel eight = enough ? product_eight_rows_kernel<kColumnsOfEightRows> : product_eight_rows_kernel<1>;
    launch("product_few_rows", M == 1 ? one : M == 2 ? two : M <= 4 ? four : eight, {dim3(blocks), kFewThreads}, stream, batch);
}

} // namespace skintern
