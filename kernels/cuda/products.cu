// products.cu — Kernels::products: out = base + alpha * (a_0 b_0 + a_1 b_1 + ...), and which kernel makes it.
//
// Products of a call that do not wait for each other are one launch: q, k and v, or the low ranks of their adapters. A product
// that reads the out of an earlier one comes a launch later.
//
// An element of out is summed in the same order whatever M is, and whatever stands beside it in the call: the tile may be
// chosen as it suits the whole launch because every one goes through K in the same order, but for the narrow ones, which N
// alone chooses, and for slices of K, which only tn has and which the sizes of the product alone decide.
#include <algorithm>
#include <limits>

#include "decode.cuh"
#include "products.cuh"
#include "ptx.cuh"

namespace skintern {

namespace {

// ---- weights of other types ----------------------------------------------------------------------------------------------

// A thread decodes eight numbers of a row.
// resident: decode_kernel 256 threads, 6 blocks, 0 bytes shared
template <class T, WeightType kType, bool kAligned>
__global__ void __launch_bounds__(256, 6) decode_kernel(T* out, const void* b, int64_t rows, int K) {
    const int64_t eights = ceil_div(K, kEight);
    for (int64_t i = grid_first(); i < rows * eights; i += grid_stride()) {
        const int64_t n = i / eights;
        const int k = static_cast<int>(i % eights) * kEight;
        float numbers[kEight];
        eight_of_weight<kType, kAligned>(numbers, b, static_cast<int>(n), k, K);
        T* to = out + n * K + k;
        if (kAligned && sizeof(T) == sizeof(float)) {
            reinterpret_cast<float4*>(to)[0] = make_float4(numbers[0], numbers[1], numbers[2], numbers[3]);
            reinterpret_cast<float4*>(to)[1] = make_float4(numbers[4], numbers[5], numbers[6], numbers[7]);
        } else if (kAligned) {
            *reinterpret_cast<uint4*>(to) = make_uint4(bf16_pair(numbers[0], numbers[1]), bf16_pair(numbers[2], numbers[3]),
                                                       bf16_pair(numbers[4], numbers[5]), bf16_pair(numbers[6], numbers[7]));
        } else {
#pragma unroll
            for (int c = 0; c < kEight; c++) {
                if (k + c < K) {
                    put(to, c, numbers[c]);
                }
            }
        }
    }
}

bool is_stored(WeightType type) { return type != WeightType::f32 && type != WeightType::bf16; }

// The numbers of a weight, as F32 or BF16 at the start of scratch, or 256 bytes further.
void decode(MatrixOut to, Matrix b, int64_t rows, int K, cudaStream_t stream) {
    const bool aligned = has_aligned_eights(b, K);
    with_type(to, [&](auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        const auto run = [&](auto whole, auto parts) {
            launch("decode", aligned ? whole : parts, grid_of(rows * ceil_div(K, kEight)), stream, out, b.data, rows, K);
        };
        switch (b.type) {
        case WeightType::f32: break;
#define SKINTERN_CASE(TYPE) \
    case WeightType::TYPE: run(decode_kernel<T, WeightType::TYPE, true>, decode_kernel<T, WeightType::TYPE, false>); break;
            SKINTERN_EACH_STORED_TYPE(SKINTERN_CASE)
#undef SKINTERN_CASE
        }
    });
}

// ---- slices of K ---------------------------------------------------------------------------------------------------------

// out = base + alpha * (the sums of slice 0, 1, ...), a thread an element.
// resident: sum_slices_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 4) sum_slices_kernel(const __grid_constant__ ProductBatch batch) {
    const ProductArgs& product = batch.list[blockIdx.y];
    const int64_t count = static_cast<int64_t>(product.M) * product.N;
    if (product.slices == 1) {
        return;
    }
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        float sum = product.partial[i];
        for (int s = 1; s < product.slices; s++) {
            sum += product.partial[s * count + i];
        }
        const int64_t at = i / product.N * product.stride_m + i % product.N * product.stride_n;
        product.out[at] = (product.base == nullptr ? 0.0f : product.base[at]) + product.alpha * sum;
    }
}

// Slices that give every processor two blocks, none of them shorter than what a block needs to be worth its sums.
int slices_of(const ProductArgs& product, const TileKernels& tiles, int processors) {
    constexpr int64_t kLeastSlice = 256;
    int64_t K = 0;
    for (int t = 0; t < product.term_count; t++) {
        K += product.terms[t].K;
    }
    const int64_t blocks = ceil_div(product.M, tiles.rows) * ceil_div(product.N, tiles.columns);
    return static_cast<int>(std::clamp<int64_t>(2 * processors / std::max<int64_t>(blocks, 1), 1, std::max<int64_t>(K / kLeastSlice, 1)));
}

// ---- arguments -------------------------------------------------------------------------------------------------------------

int to_int(int64_t size) {
    CHECK(size >= 0 && size <= std::numeric_limits<int>::max() - 1024, "a matrix of %lld rows or columns is too large for CUDA kernels",
          static_cast<long long>(size));
    return static_cast<int>(size);
}

bool has_vectors(Matrix matrix, int64_t columns) {
    return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && row_bytes(matrix.type, columns) % 16 == 0;
}

ProductArgs arguments_of(Layout layout, const Product& product, int64_t M) {
    ProductArgs args = {};
    args.out = product.out;
    args.base = product.base;
    args.M = to_int(M);
    args.N = to_int(product.N);
    args.stride_m = product.N;
    args.stride_n = 1;
    args.alpha = product.alpha;
    args.term_count = static_cast<int>(product.term_count);
    args.slices = 1;
    for (int64_t t = 0; t < product.term_count; t++) {
        const Term& term = product.terms[t];
        args.terms[t] = {term.a.data, term.b.data, to_int(term.K), term.a.type, term.b.type,
                         has_vectors(term.a, layout == Layout::tn ? M : term.K),
                         !is_stored(term.b.type) && has_vectors(term.b, layout == Layout::nt ? term.K : product.N)};
    }
    return args;
}

// The same product with a and b in each other's place, out written transposed: for tn with few m.
void turn(ProductArgs& args) {
    std::swap(args.M, args.N);
    std::swap(args.stride_m, args.stride_n);
    for (int t = 0; t < args.term_count; t++) {
        std::swap(args.terms[t].a, args.terms[t].b);
        std::swap(args.terms[t].a_type, args.terms[t].b_type);
        std::swap(args.terms[t].a_vectors, args.terms[t].b_vectors);
    }
}

constexpr int kNarrow = 32; // columns that a narrow tile has at most

// Whether `product` reads what `earlier` writes.
bool reads(const Product& product, const Product& earlier, int64_t M) {
    const auto begin = reinterpret_cast<uintptr_t>(earlier.out), end = begin + static_cast<size_t>(M * earlier.N) * sizeof(float);
    return std::any_of(product.terms, product.terms + product.term_count, [&](const Term& term) {
        const auto a = reinterpret_cast<uintptr_t>(term.a.data);
        return a >= begin && a < end;
    });
}

// Tiles of all products of a batch that are wide or in the middle.
int64_t blocks_of(const ProductBatch& batch, const TileKernels& tiles) {
    int64_t blocks = 0;
    for (int p = 0; p < batch.count; p++) {
        blocks += ceil_div(batch.list[p].M, tiles.rows) * ceil_div(batch.list[p].N, tiles.columns) * batch.list[p].slices;
    }
    return blocks;
}

} // namespace

// ---- products ------------------------------------------------------------------------------------------------------------

void CudaKernels::products(Layout layout, const Product* list, int64_t count, int64_t M) {
    CHECK(count <= kMaxProducts, "%lld products in a call, %lld are the most", static_cast<long long>(count),
          static_cast<long long>(kMaxProducts));
    int launches[kMaxProducts] = {}; // by product: the launch in which it can be made
    for (int64_t p = 0; p < count; p++) {
        for (int64_t earlier = 0; earlier < p; earlier++) {
            if (reads(list[p], list[earlier], M)) {
                launches[p] = std::max(launches[p], launches[earlier] + 1);
            }
        }
    }
    for (int turn_of = 0; turn_of < count; turn_of++) {
        const Product* ready[kMaxProducts] = {};
        int ready_count = 0;
        for (int64_t p = 0; p < count; p++) {
            if (launches[p] == turn_of && list[p].N > 0) {
                ready[ready_count++] = &list[p];
            }
        }
        if (ready_count > 0 && M > 0) {
            if (layout == Layout::nt && M <= kFewRows) {
                products_of_few_rows(ready, ready_count, M);
            } else {
                products_of_tiles(layout, ready, ready_count, M);
            }
        }
    }
}

void CudaKernels::products_of_few_rows(const Product* const* list, int count, int64_t M) {
    ProductBatch batch = {};
    for (int p = 0; p < count; p++) {
        batch.list[batch.count++] = arguments_of(Layout::nt, *list[p], M);
    }
    launch_few_rows(batch, processors_, stream_);
}

void CudaKernels::products_of_tiles(Layout layout, const Product* const* list, int count, int64_t M) {
    // Weights of other types are decoded first, each to a place of its own in scratch.
    const WeightType decoded = operand_type();
    const auto bytes_of = [&](int64_t numbers) { return ceil_div(row_bytes(decoded, numbers), 256) * 256; };
    int64_t bytes = 0;
    for (int p = 0; p < count; p++) {
        for (int64_t t = 0; t < list[p]->term_count; t++) {
            bytes += is_stored(list[p]->terms[t].b.type) ? bytes_of(list[p]->N * list[p]->terms[t].K) : 0;
        }
    }
    char* at = bytes > 0 ? reinterpret_cast<char*>(scratch(bytes / static_cast<int64_t>(sizeof(float)))) : nullptr;

    ProductBatch batches[static_cast<int>(Tiles::count)] = {};
    for (int p = 0; p < count; p++) {
        Product product = *list[p];
        for (int64_t t = 0; t < product.term_count; t++) {
            Matrix& b = product.terms[t].b;
            if (is_stored(b.type)) {
                const int64_t K = product.terms[t].K;
                const MatrixOut to(at, decoded);
                decode(to, b, layout == Layout::nt ? product.N : K, to_int(layout == Layout::nt ? K : product.N), stream_);
                at += bytes_of(product.N * K);
                b = to;
            }
        }
        ProductArgs args = arguments_of(layout, product, M);
        if (layout == Layout::tn && args.M <= kNarrow && args.M < args.N) {
            turn(args);
        }
        const bool large = args.M >= 96 && args.N >= 96; // smaller ones would leave most of a wide tile empty
        const Tiles tiles = args.N <= 16 ? Tiles::narrow16 : args.N <= kNarrow ? Tiles::narrow32 : large ? Tiles::wide : Tiles::middle;
        ProductBatch& batch = batches[static_cast<int>(tiles)];
        batch.list[batch.count++] = args;
    }
    for (int tiles = 0; tiles < static_cast<int>(Tiles::count); tiles++) {
        if (batches[tiles].count > 0) {
            products_of_batch(layout, batches[tiles], static_cast<Tiles>(tiles));
        }
    }
}

void CudaKernels::products_of_batch(Layout layout, ProductBatch& batch, Tiles tiles) {
    const auto kernels_of = [&](Tiles of) -> const TileKernels& { return bf16_ ? bf16_tiles(of) : f32_tiles(of); };
    // Wide tiles that leave processors without one are slower than four times as many in the middle. tn is cut along K instead.
    if (tiles == Tiles::wide && layout != Layout::tn && blocks_of(batch, kernels_of(tiles)) < processors_) {
        tiles = Tiles::middle;
    }
    const TileKernels& kernels = kernels_of(tiles);
    int64_t partial = 0, most = 0;
    for (int p = 0; p < batch.count && layout == Layout::tn; p++) {
        ProductArgs& args = batch.list[p];
        args.slices = slices_of(args, kernels, processors_);
        const int64_t numbers = static_cast<int64_t>(args.M) * args.N;
        if (args.slices > 1) {
            partial += numbers * args.slices;
            most = std::max(most, numbers);
        }
    }
    float* sums = partial > 0 ? scratch(partial, 1) : nullptr;
    unsigned blocks = 0;
    for (int p = 0; p < batch.count; p++) {
        ProductArgs& args = batch.list[p];
        args.first_block = blocks;
        blocks += static_cast<unsigned>(ceil_div(args.M, kernels.rows) * ceil_div(args.N, kernels.columns) * args.slices);
        if (args.slices > 1) {
            args.partial = sums;
            sums += static_cast<int64_t>(args.M) * args.N * args.slices;
        }
    }
    launch(kernels.name, kernels.by_layout[static_cast<int>(layout)], {dim3(blocks), kernels.threads, kernels.shared_bytes}, stream_,
           batch);
    if (partial > 0) {
        Grid grid = grid_of(most);
        grid.blocks.y = static_cast<unsigned>(batch.count);
        launch("sum_slices", sum_slices_kernel, grid, stream_, batch);
    }
}

} // namespace skintern
