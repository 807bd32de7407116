// product_bf16.cu — matrix products of many rows in BF16 on tensor cores, summed in F32.
//
// A block of four warps goes along K in tiles of both operands that lie in shared memory as BF16, three or four of them at a
// time: while one is multiplied, the next ones are on their way. What lies in memory as BF16 is copied straight there
// (cp.async); F32 operands (gradients, adapters), and lines that do not begin at multiples of 16 bytes, pass through
// registers: loaded before a tile is multiplied, rounded and stored after it. Rounding is round_to_bf16() (dequantize.h);
// only subnormal numbers that lie in memory as BF16 are multiplied as they are.
//
// Wide tiles (128 x 128, a warp 64 x 64): for 16 numbers of K a warp reads (64 + 64) x 16 x 2 = 4 KB of shared memory, 32 cycles,
// and its 32 mma take 64 cycles of the four tensor cores (A100: 1024 multiply-adds a cycle and processor). From memory a tile
// asks for 2 x 128 x 2 bytes for 2 x 128 x 128 operations: 64 a byte. Narrow tiles (a product with the rank of an adapter) read
// a long operand once for all columns, and are as fast as memory: there the four warps share K, and their sums are added up in
// order at the end.
#include "operand_tile.cuh"
#include "products.cuh"

namespace skintern {

namespace {

template <int kRows, int kColumns, int kDepth, int kStages, bool kAAlongK, bool kBAlongK>
struct Stages {
    struct Stage {
        using A = OperandTile<kRows, kDepth, kAAlongK>;
        using B = OperandTile<kColumns, kDepth, kBAlongK>;
        A a;
        B b;
    } stages[kStages];
};

// A block's tile is kRows x kColumns, a warp's kWarpRows x kWarpColumns; what is left of the four warps shares K.
template <int kRows, int kColumns, int kDepth, int kWarpRows, int kWarpColumns, int kStages, bool kAAlongK, bool kBAlongK>
__device__ __forceinline__ void multiply_tile(const ProductBatch& batch) {
    using Memory = Stages<kRows, kColumns, kDepth, kStages, kAAlongK, kBAlongK>;
    constexpr int kAcross = kColumns / kWarpColumns, kWarpsOfTile = kRows / kWarpRows * kAcross;
    constexpr int kSharers = kTileWarps / kWarpsOfTile, kSteps = kDepth / 16 / kSharers;
    static_assert(kSteps >= 1 && kSteps <= 2 && kSteps * kSharers * 16 == kDepth && kWarpsOfTile * kSharers == kTileWarps);
    auto& memory = shared_memory<Memory>();

    const Place place = place_of_block<kRows, kColumns>(batch);
    const ProductArgs& product = batch.list[place.product];
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int warp_m = warp % kWarpsOfTile / kAcross * kWarpRows, warp_n = warp % kAcross * kWarpColumns;
    const int sharer = warp / kWarpsOfTile;
    float sum[kWarpRows / 16][kWarpColumns / 8][4] = {};

    DepthTiles<kDepth> tiles(product, place.slice);
    const int count = tiles.left;
    constexpr int kPartA = Memory::Stage::A::kOwn / kSteps, kPartB = Memory::Stage::B::kOwn / kSteps;
    Carried<kPartA> a_part;
    Carried<kPartB> b_part;

#pragma unroll 1
    for (int s = 0; s < kStages - 1; s++) { // the first tiles
        if (tiles.left > 0) {
            const TermArgs& term = product.terms[tiles.term];
            const Operand a = operand_a<kAAlongK>(product, term), b = operand_b<kBAlongK>(product, term);
            auto& stage = memory.stages[s];
            if (can_be_copied(a)) {
                stage.a.copy(a, place.m, tiles.k);
            }
            if (can_be_copied(b)) {
                stage.b.copy(b, place.n, tiles.k);
            }
#pragma unroll 1
            for (int part = 0; part < kSteps; part++) {
                if (!can_be_copied(a)) {
                    stage.a.load(a_part, part * kPartA, a, place.m, tiles.k);
                    stage.a.store(a_part, part * kPartA);
                }
                if (!can_be_copied(b)) {
                    stage.b.load(b_part, part * kPartB, b, place.n, tiles.k);
                    stage.b.store(b_part, part * kPartB);
                }
            }
            tiles.next(product);
        }
        cp_async_commit();
    }
    int now = 0, ahead = kStages - 1; // the stage that is multiplied, and the one that is filled
#pragma unroll 1
    for (int tile = 0; tile < count; tile++) {
        cp_async_wait<kStages - 2>(); // one group a tile, so that all but the newest kStages-2 have come
        __syncthreads();              // for every thread; and `ahead`, multiplied one tile ago, is free
        const bool more = tiles.left > 0;
        const TermArgs& term = product.terms[more ? tiles.term : 0];
        const Operand a = operand_a<kAAlongK>(product, term), b = operand_b<kBAlongK>(product, term);
        const bool carry_a = more && !can_be_copied(a), carry_b = more && !can_be_copied(b);
        auto& next = memory.stages[ahead];
        auto& stage = memory.stages[now];
        if (more && !carry_a) {
            next.a.copy(a, place.m, tiles.k);
        }
        if (more && !carry_b) {
            next.b.copy(b, place.n, tiles.k);
        }
        cp_async_commit();
        // What is carried of a (often the long operand) is on its way during a step; what is carried of b (an adapter) is
        // waited for: registers for both at the same time there are none.
#pragma unroll 1
        for (int step = 0; step < kSteps; step++) {
            if (carry_a) {
                next.a.load(a_part, step * kPartA, a, place.m, tiles.k);
            }
            multiply_step(sum, stage.a, stage.b, kAAlongK, kBAlongK, warp_m, warp_n, sharer * kSteps + step);
            if (carry_a) {
                next.a.store(a_part, step * kPartA);
            }
            if (carry_b) {
                next.b.load(b_part, step * kPartB, b, place.n, tiles.k);
                next.b.store(b_part, step * kPartB);
            }
        }
        if (more) {
            tiles.next(product);
        }
        now = now + 1 == kStages ? 0 : now + 1;
        ahead = ahead + 1 == kStages ? 0 : ahead + 1;
    }

    const SumsOut out(product, place.slice);
    const int g = lane / 4, t = lane % 4;
    if constexpr (kSharers == 1) {
#pragma unroll
        for (int i = 0; i < kWarpRows / 16; i++) {
#pragma unroll
            for (int j = 0; j < kWarpColumns / 8; j++) {
                const int m = place.m + warp_m + 16 * i + g, n = place.n + warp_n + 8 * j + 2 * t;
                out.write2(m, n, sum[i][j][0], sum[i][j][1]);
                out.write2(m + 8, n, sum[i][j][2], sum[i][j][3]);
            }
        }
    } else { // the warps' sums, (kTileWarps,kRows,kColumns), in the place of the tiles
        static_assert(kWarpRows == kRows && kWarpColumns == kColumns && sizeof(Memory) >= kTileWarps * kRows * kColumns * 4);
        float* all = reinterpret_cast<float*>(&memory);
        cp_async_wait<0>();
        __syncthreads(); // the last tile has been multiplied
#pragma unroll
        for (int i = 0; i < kWarpRows / 16; i++) {
#pragma unroll
            for (int j = 0; j < kWarpColumns / 8; j++) {
                float* own = all + (warp * kRows + 16 * i + g) * kColumns + 8 * j + 2 * t;
                *reinterpret_cast<float2*>(own) = make_float2(sum[i][j][0], sum[i][j][1]);
                *reinterpret_cast<float2*>(own + 8 * kColumns) = make_float2(sum[i][j][2], sum[i][j][3]);
            }
        }
        __syncthreads();
        for (int e = static_cast<int>(threadIdx.x); e < kRows * kColumns; e += kTileThreads) {
            float total = all[e];
#pragma unroll
            for (int w = 1; w < kTileWarps; w++) {
                total += all[w * kRows * kColumns + e];
            }
            out.write(place.m + e / kColumns, place.n + e % kColumns, total);
        }
    }
}

// ---- the tiles -----------------------------------------------------------------------------------------------------------

// resident: product_bf16_wide_kernel 128 threads, 2 blocks, 65536 bytes shared
// uses: product_bf16_wide_kernel mma.sync ldmatrix cp.async
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 2) product_bf16_wide_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<128, 128, 32, 64, 64, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_middle_kernel 128 threads, 4 blocks, 32768 bytes shared
// uses: product_bf16_middle_kernel mma.sync ldmatrix cp.async
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 4) product_bf16_middle_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 64, 32, 32, 32, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_narrow32_kernel 128 threads, 3 blocks, 36864 bytes shared
// uses: product_bf16_narrow32_kernel mma.sync ldmatrix cp.async
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 3) product_bf16_narrow32_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 32, 64, 64, 32, 3, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_narrow16_kernel 128 threads, 4 blocks, 30720 bytes shared
// uses: product_bf16_narrow16_kernel mma.sync ldmatrix cp.async
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 4) product_bf16_narrow16_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 16, 64, 64, 16, 3, kAAlongK, kBAlongK>(batch);
}

} // namespace

const TileKernels& bf16_tiles(Tiles tiles) {
    static const TileKernels all[static_cast<int>(Tiles::count)] = {
        {"product_bf16_wide",
         {product_bf16_wide_kernel<true, true>, product_bf16_wide_kernel<true, false>, product_bf16_wide_kernel<false, false>},
         128, 128, kTileThreads, sizeof(Stages<128, 128, 32, 4, true, true>)},
        {"product_bf16_middle",
         {product_bf16_middle_kernel<true, true>, product_bf16_middle_kernel<true, false>,
          product_bf16_middle_kernel<false, false>},
         64, 64, kTileThreads, sizeof(Stages<64, 64, 32, 4, true, true>)},
        {"product_bf16_narrow32",
         {product_bf16_narrow32_kernel<true, true>, product_bf16_narrow32_kernel<true, false>,
          product_bf16_narrow32_kernel<false, false>},
         64, 32, kTileThreads, sizeof(Stages<64, 32, 64, 3, true, true>)},
        {"product_bf16_narrow16",
         {product_bf16_narrow16_kernel<true, true>, product_bf16_narrow16_kernel<true, false>,
          product_bf16_narrow16_kernel<false, false>},
         64, 16, kTileThreads, sizeof(Stages<64, 16, 64, 3, true, true>)},
    };
    return all[static_cast<int>(tiles)];
}

} // namespace skintern
