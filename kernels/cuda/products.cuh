// products.cuh — what the kernels of matrix products share: their arguments, where a block stands, and how its sums leave it.
//
//   products.cu        Kernels::products: what is launched together, and which kernel multiplies it
//   product_f32.cu     many rows, F32
//   product_bf16.cu    many rows, BF16 on tensor cores
//   few_rows.cu        layers of at most kFewRows rows: decoding
//   product_steps.cu   how the first two came about, in numbered versions
//
// A kernel takes a batch of products that do not wait for each other, of one layout, and a block makes one tile of one of
// them:
//
//   out[m,n] = base[m,n] + alpha * sum_t sum_k a_t[m,k] b_t[k,n]
//
// The sum runs through the terms t in order, and through k in order, in registers: x W^T + low B^T is one product of a longer
// K, and out is written once. A product whose K is cut into slices (tn: the rows of a batch are many, out is small) leaves
// the sums of each slice in scratch; sum_slices_kernel (products.cu) adds them up in order.
#pragma once

#include "cuda.cuh"

namespace skintern {

// Matrices as the layout says. `vectors`: every row begins at a multiple of 16 bytes, so that 16 bytes may be read at once.
struct TermArgs {
    const void* a;
    const void* b;
    int K;
    WeightType a_type, b_type; // f32 or bf16, b in few_rows.cu of any type
    bool a_vectors, b_vectors;
};

struct ProductArgs {
    float* out;
    const float* base; // or null
    int M, N; // sizes are ints here, and what is addressed by them is not: registers are scarce
    int64_t stride_m, stride_n; // of out and base. N, 1; or 1, M when a and b of tn have changed places
    float alpha;
    int term_count;
    TermArgs terms[kMaxTerms];
    float* partial; // (slices,M,N) when there are several
    int slices;
    unsigned first_block; // of this product in the grid
};

struct ProductBatch {
    ProductArgs list[kMaxProducts];
    int count;
};
static_assert(sizeof(ProductBatch) <= 4096, "the parameters of a kernel are 4 KB at most");

// The kernels that one tile size has for the three layouts, and its size.
struct TileKernels {
    const char* name;
    void (*by_layout[3])(ProductBatch);
    int64_t rows, columns;
    int threads;
    size_t shared_bytes;
};

// By what shape they are for. The narrow ones have 32 and 16 columns.
enum class Tiles : int { wide, middle, narrow32, narrow16, count };

const TileKernels& f32_tiles(Tiles tiles);
const TileKernels& bf16_tiles(Tiles tiles);
void launch_few_rows(ProductBatch& batch, int processors, cudaStream_t stream);

// ---- inside a kernel ---------------------------------------------------------------------------------------------------

// The product, slice and tile of this block. Blocks that run at the same time take bands of eight rows of tiles: their a and b
// are met again soon, in the second-level cache.
struct Place {
    int product, slice;
    int m, n; // first row and column of the tile
};

template <int kRows, int kColumns>
__device__ __forceinline__ Place place_of_block(const ProductBatch& batch) {
    constexpr int kBand = 8;
    Place place = {0, 0, 0, 0};
    while (place.product + 1 < batch.count && blockIdx.x >= batch.list[place.product + 1].first_block) {
        place.product++;
    }
    const ProductArgs& product = batch.list[place.product];
    const int tiles_m = (product.M + kRows - 1) / kRows, tiles_n = (product.N + kColumns - 1) / kColumns;
    const int block = static_cast<int>(blockIdx.x - product.first_block), tile = block % (tiles_m * tiles_n);
    place.slice = block / (tiles_m * tiles_n);
    const int band = tile / (kBand * tiles_n), in_band = tile % (kBand * tiles_n);
    const int height = min(kBand, tiles_m - band * kBand);
    place.m = (band * kBand + in_band % height) * kRows;
    place.n = in_band / height * kColumns;
    return place;
}

// The tiles of kDepth numbers of K that a block goes through: those of all terms, one after the other, or of a slice of them.
template <int kDepth>
struct DepthTiles {
    __device__ DepthTiles(const ProductArgs& product, int slice) {
        int all = 0;
        for (int t = 0; t < product.term_count; t++) {
            all += tiles_of(product.terms[t]);
        }
        int first = static_cast<int>(static_cast<int64_t>(all) * slice / product.slices);
        left = static_cast<int>(static_cast<int64_t>(all) * (slice + 1) / product.slices) - first;
        while (left > 0 && first >= tiles_of(product.terms[term])) {
            first -= tiles_of(product.terms[term]);
            term++;
        }
        k = first * kDepth;
    }
    __device__ void next(const ProductArgs& product) {
        left--;
        k += kDepth;
        while (left > 0 && k >= product.terms[term].K) { // a term may be empty
            k = 0;
            term++;
        }
    }

    int left; // tiles
    int term = 0;
    int k; // first number of the tile

private:
    static __device__ int tiles_of(const TermArgs& term) { return (term.K + kDepth - 1) / kDepth; }
};

// Where the sums of a block go: to out, or to the scratch of its slice.
struct SumsOut {
    __device__ SumsOut(const ProductArgs& product, int slice)
        : out(product.out), base(product.base), M(product.M), N(product.N), stride_m(product.stride_m), stride_n(product.stride_n),
          alpha(product.alpha) {
        if (product.slices > 1) {
            out = product.partial + static_cast<int64_t>(slice) * M * N;
            base = nullptr;
            stride_m = N;
            stride_n = 1;
            alpha = 1;
        }
        vectors = stride_n == 1 && N % 4 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0 &&
                  reinterpret_cast<uintptr_t>(base) % 16 == 0;
    }

    __device__ void write(int m, int n, float sum) const {
        if (m < M && n < N) {
            const int64_t at = m * stride_m + n * stride_n;
            out[at] = base == nullptr ? alpha * sum : base[at] + alpha * sum;
        }
    }
    // Columns n and the next: n is even.
    __device__ void write2(int m, int n, float first, float second) const {
        if (!vectors) {
            write(m, n, first);
            write(m, n + 1, second);
        } else if (m < M && n < N) {
            const int64_t at = m * stride_m + n;
            const float2 before = base == nullptr ? make_float2(0, 0) : *reinterpret_cast<const float2*>(base + at);
            *reinterpret_cast<float2*>(out + at) = make_float2(before.x + alpha * first, before.y + alpha * second);
        }
    }
    // Columns n .. n+3: n is a multiple of four.
    __device__ void write4(int m, int n, float4 sum) const {
        if (!vectors) {
            write(m, n, sum.x);
            write(m, n + 1, sum.y);
            write(m, n + 2, sum.z);
            write(m, n + 3, sum.w);
        } else if (m < M && n < N) {
            const int64_t at = m * stride_m + n;
            const float4 before = base == nullptr ? make_float4(0, 0, 0, 0) : *reinterpret_cast<const float4*>(base + at);
            *reinterpret_cast<float4*>(out + at) = make_float4(before.x + alpha * sum.x, before.y + alpha * sum.y,
                                                               before.z + alpha * sum.z, before.w + alpha * sum.w);
        }
    }

    float* out;
    const float* base;
    int M, N;
    int64_t stride_m, stride_n;
    float alpha;
    bool vectors;
};

// An operand of one term, as the tile loaders see it: `lines` of `length` numbers each. Along K a line is a row of the tile
// (m or n), else a line is one k.
struct Operand {
    const void* data;
    int lines, length;
    WeightType type;
    bool vectors;
};

template <bool kAlongK>
__device__ __forceinline__ Operand operand_a(const ProductArgs& product, const TermArgs& term) {
    return {term.a, kAlongK ? product.M : term.K, kAlongK ? term.K : product.M, term.a_type, term.a_vectors};
}
template <bool kAlongK>
__device__ __forceinline__ Operand operand_b(const ProductArgs& product, const TermArgs& term) {
    return {term.b, kAlongK ? product.N : term.K, kAlongK ? term.K : product.N, term.b_type, term.b_vectors};
}

// Four numbers from `at` of a line on, in F32; zeros from the end of the line on, and in lines that are not there.
__device__ __forceinline__ float4 four_numbers(const Operand& from, int line, int at) {
    const int count = line < from.lines ? from.length - at : 0;
    const int64_t first = static_cast<int64_t>(line) * from.length + at;
    float4 four = make_float4(0, 0, 0, 0);
    if (count <= 0) {
        return four;
    }
    if (from.type == WeightType::f32) {
        const float* numbers = static_cast<const float*>(from.data) + first;
        if (from.vectors) { // lines are multiples of four
            return *reinterpret_cast<const float4*>(numbers);
        }
        four.x = numbers[0];
        four.y = count > 1 ? numbers[1] : 0.0f;
        four.z = count > 2 ? numbers[2] : 0.0f;
        four.w = count > 3 ? numbers[3] : 0.0f;
    } else {
        const uint16_t* numbers = static_cast<const uint16_t*>(from.data) + first;
        if (from.vectors) {
            const uint2 pairs = *reinterpret_cast<const uint2*>(numbers);
            return make_float4(bf16_value(static_cast<uint16_t>(pairs.x)), bf16_value(static_cast<uint16_t>(pairs.x >> 16)),
                               bf16_value(static_cast<uint16_t>(pairs.y)), bf16_value(static_cast<uint16_t>(pairs.y >> 16)));
        }
        four.x = bf16_value(numbers[0]);
        four.y = count > 1 ? bf16_value(numbers[1]) : 0.0f;
        four.z = count > 2 ? bf16_value(numbers[2]) : 0.0f;
        four.w = count > 3 ? bf16_value(numbers[3]) : 0.0f;
    }
    return four;
}

} // namespace skintern
