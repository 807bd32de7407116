// product_f32.cu — matrix products of many rows in F32: a tile of out in the registers of a block.
//
// A block goes along K in tiles of kDepth numbers. The operands of a tile lie in shared memory with k as the outer index,
// whatever their layout in memory, so that a thread reads its 8 numbers of a and 8 of b for one k as vectors of four, and
// makes 64 multiply-adds of them. While one tile is multiplied, the next one is on its way from memory into registers; it is
// stored to the other half of shared memory, and one barrier a tile is enough.
//
// A tile of 128 x 128 makes 2 * 128 * 128 operations of 2 * 128 * 4 bytes from memory for each k: 32 operations a byte. From
// shared memory a warp (2 x 16 threads) takes 2 x 8 numbers of a and 16 x 8 of b for one k, 576 bytes or 5 cycles of its 128
// bytes a cycle; the 64 multiply-adds that follow keep the 16 F32 lanes of a scheduler busy for 128 cycles.
#include "products.cuh"

namespace skintern {

namespace {

constexpr int kDepth = 16;

// (kDepth,kRows) numbers; lines are 4 numbers longer, so that storing them transposed meets fewer banks twice.
template <int kRows>
struct Panel {
    float4 lines[kDepth][kRows / 4 + 1];

    __device__ float* line(int k) { return reinterpret_cast<float*>(lines[k]); }
};

// What a thread of kThreads carries of the next (kDepth,kRows) tile of an operand.
template <int kRows, int kThreads, bool kAlongK>
struct Carried {
    static constexpr int kCount = kRows * kDepth / 4 / kThreads;
    static_assert(kCount * kThreads * 4 == kRows * kDepth);

    // Vector j of this thread: its line in the tile, and its first number there. Neighbouring threads take neighbouring ones.
    static constexpr int kLineFours = (kAlongK ? kDepth : kRows) / 4, kStride = kThreads / kLineFours;
    static_assert(kThreads % kLineFours == 0);
    static __device__ int line(int j) { return static_cast<int>(threadIdx.x) / kLineFours + j * kStride; }
    static __device__ int four() { return static_cast<int>(threadIdx.x) % kLineFours; }

    __device__ void load(const Operand& from, int row, int k) {
#pragma unroll
        for (int j = 0; j < kCount; j++) {
            fours[j] = four_numbers(from, (kAlongK ? row : k) + line(j), (kAlongK ? k : row) + 4 * four());
        }
    }
    __device__ void store(Panel<kRows>& to) const {
#pragma unroll
        for (int j = 0; j < kCount; j++) {
            if (kAlongK) {
                to.line(4 * four())[line(j)] = fours[j].x;
                to.line(4 * four() + 1)[line(j)] = fours[j].y;
                to.line(4 * four() + 2)[line(j)] = fours[j].z;
                to.line(4 * four() + 3)[line(j)] = fours[j].w;
            } else {
                to.lines[line(j)][four()] = fours[j];
            }
        }
    }

    float4 fours[kCount];
};

template <int kRows, int kColumns>
struct Stages {
    struct Stage {
        Panel<kRows> a;
        Panel<kColumns> b;
    } stages[2];
};

// A thread makes kOwnRows x kOwnColumns sums: in groups of four rows, kRows / (kOwnRows / 4) apart, and likewise columns, so
// that neighbouring threads read neighbouring vectors.
template <int kRows, int kColumns, int kOwnRows, int kOwnColumns, bool kAAlongK, bool kBAlongK>
__device__ __forceinline__ void multiply_tile(const ProductBatch& batch) {
    constexpr int kThreadRows = kRows / kOwnRows, kThreadColumns = kColumns / kOwnColumns;
    constexpr int kThreads = kThreadRows * kThreadColumns;
    constexpr int kGroupRows = kThreadRows * 4, kGroupColumns = kThreadColumns * 4; // from a group to the next
    auto& memory = shared_memory<Stages<kRows, kColumns>>();

    const Place place = place_of_block<kRows, kColumns>(batch);
    const ProductArgs& product = batch.list[place.product];
    const int ty = static_cast<int>(threadIdx.x) / kThreadColumns, tx = static_cast<int>(threadIdx.x) % kThreadColumns;
    float sum[kOwnRows][kOwnColumns] = {};

    DepthTiles<kDepth> tiles(product, place.slice);
    Carried<kRows, kThreads, kAAlongK> a;
    Carried<kColumns, kThreads, kBAlongK> b;
    const auto load = [&] {
        const TermArgs& term = product.terms[tiles.term];
        a.load(operand_a<kAAlongK>(product, term), place.m, tiles.k);
        b.load(operand_b<kBAlongK>(product, term), place.n, tiles.k);
        tiles.next(product);
    };
    if (tiles.left > 0) {
        load();
        a.store(memory.stages[0].a);
        b.store(memory.stages[0].b);
        __syncthreads();
#pragma unroll 1
        for (int stage = 0;; stage ^= 1) {
            const bool more = tiles.left > 0;
            if (more) {
                load();
            }
            auto& now = memory.stages[stage];
#pragma unroll
            for (int k = 0; k < kDepth; k++) {
                float4 a_k[kOwnRows / 4], b_k[kOwnColumns / 4];
#pragma unroll
                for (int g = 0; g < kOwnRows / 4; g++) {
                    a_k[g] = now.a.lines[k][g * kThreadRows + ty];
                }
#pragma unroll
                for (int g = 0; g < kOwnColumns / 4; g++) {
                    b_k[g] = now.b.lines[k][g * kThreadColumns + tx];
                }
#pragma unroll
                for (int i = 0; i < kOwnRows; i++) {
                    const float4 four = a_k[i / 4];
                    const float a_i = i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
#pragma unroll
                    for (int g = 0; g < kOwnColumns / 4; g++) {
                        sum[i][4 * g] += a_i * b_k[g].x;
                        sum[i][4 * g + 1] += a_i * b_k[g].y;
                        sum[i][4 * g + 2] += a_i * b_k[g].z;
                        sum[i][4 * g + 3] += a_i * b_k[g].w;
                    }
                }
            }
            if (!more) {
                break;
            }
            a.store(memory.stages[stage ^ 1].a); // read last before the barrier that ended the tile before this one
            b.store(memory.stages[stage ^ 1].b);
            __syncthreads();
        }
    }

    const SumsOut out(product, place.slice);
#pragma unroll
    for (int i = 0; i < kOwnRows; i++) {
#pragma unroll
        for (int g = 0; g < kOwnColumns / 4; g++) {
            out.write4(place.m + i / 4 * kGroupRows + ty * 4 + i % 4, place.n + g * kGroupColumns + tx * 4,
                       make_float4(sum[i][4 * g], sum[i][4 * g + 1], sum[i][4 * g + 2], sum[i][4 * g + 3]));
        }
    }
}

// ---- the tiles -----------------------------------------------------------------------------------------------------------

// resident: product_f32_wide_kernel 256 threads, 2 blocks, 33792 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(256, 2) product_f32_wide_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<128, 128, 8, 8, kAAlongK, kBAlongK>(batch);
}

// resident: product_f32_middle_kernel 256 threads, 4 blocks, 17408 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(256, 4) product_f32_middle_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 64, 4, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_f32_narrow32_kernel 128 threads, 8 blocks, 13312 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 8) product_f32_narrow32_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 32, 4, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_f32_narrow16_kernel 64 threads, 12 blocks, 11264 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(64, 12) product_f32_narrow16_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 16, 4, 4, kAAlongK, kBAlongK>(batch);
}

} // namespace

const TileKernels& f32_tiles(Tiles tiles) {
    static const TileKernels all[static_cast<int>(Tiles::count)] = {
        {"product_f32_wide",
         {product_f32_wide_kernel<true, true>, product_f32_wide_kernel<true, false>, product_f32_wide_kernel<false, false>},
         128, 128, 256, sizeof(Stages<128, 128>)},
        {"product_f32_middle",
         {product_f32_middle_kernel<true, true>, product_f32_middle_kernel<true, false>, product_f32_middle_kernel<false, false>},
         64, 64, 256, sizeof(Stages<64, 64>)},
        {"product_f32_narrow32",
         {product_f32_narrow32_kernel<true, true>, product_f32_narrow32_kernel<true, false>,
          product_f32_narrow32_kernel<false, false>},
         64, 32, 128, sizeof(Stages<64, 32>)},
        {"product_f32_narrow16",
         {product_f32_narrow16_kernel<true, true>, product_f32_narrow16_kernel<true, false>,
          product_f32_narrow16_kernel<false, false>},
         64, 16, 64, sizeof(Stages<64, 16>)},
    };
    return all[static_cast<int>(tiles)];
}

} // namespace skintern
