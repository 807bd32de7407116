// product_bf16.cu — matrix products of many rows in BF16 on tensor cores, summed in F32.
//
// A block of four warps goes along K in tiles of both operands that lie in shared memory as BF16, three or four of them at a
// time: while one is multiplied, the next ones are on their way. What lies in memory as BF16 is copied straight there
// (cp.async); F32 operands (gradients, adapters), and lines that do not begin at multiples of 16 bytes, pass through
// registers: loaded before a tile is multiplied, rounded and stored after it. Rounding is round_to_bf16() (dequantize.h);
// only subnormal numbers that lie in memory as BF16 are multiplied as they are.
//
// A tile of an operand is lines of 16-byte chunks. ldmatrix reads eight chunks of the same place in eight lines, and cp.async
// writes neighbouring chunks of a line; so that both meet different banks, chunk c of line l lies at place c ^ f(l).
// An operand along K (a line is a row m, or a column n) is read as it is, one across K (a line is a k) is read transposed:
// the fragments of mma.m16n8k16 are the same, and no operand is ever transposed in memory.
//
// Wide tiles (128 x 128, a warp 64 x 64): for 16 numbers of K a warp reads (64 + 64) x 16 x 2 = 4 KB of shared memory, 32 cycles,
// and its 32 mma take 64 cycles of the four tensor cores (A100: 1024 multiply-adds a cycle and processor). From memory a tile
// asks for 2 x 128 x 2 bytes for 2 x 128 x 128 operations: 64 a byte. Narrow tiles (a product with the rank of an adapter) read
// a long operand once for all columns, and are as fast as memory: there the four warps share K, and their sums are added up in
// order at the end.
#include "products.cuh"
#include "ptx.cuh"

namespace skintern {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarpLanes;
constexpr int kChunk = 8; // numbers of 16 bytes

// What a thread carries from memory to shared memory: chunks that are not rounded yet.
template <int kChunks>
struct Carried {
    float4 fours[kChunks][2];
};

// A tile of an operand in shared memory: kRows of m (or n) times kDepth of k, and how it gets there.
template <int kRows, int kDepth, bool kAlongK>
struct OperandTile {
    static constexpr int kLines = kAlongK ? kRows : kDepth;
    static constexpr int kLineChunks = (kAlongK ? kDepth : kRows) / kChunk;
    static constexpr int kOwn = kLines * kLineChunks / kThreads; // chunks of a thread
    static_assert(kOwn * kThreads == kLines * kLineChunks);

    uint4 chunks[kLines * kLineChunks];

    // Eight chunks are all 32 banks: lines that are shorter share them with the next ones. f repeats after eight lines.
    __device__ uint4* at(int line, int chunk) {
        constexpr int kSpread = kLineChunks < 8 ? kLineChunks : 8;
        return chunks + line * kLineChunks + (chunk ^ (line / (8 / kSpread) % kSpread));
    }

    // Chunk j of this thread; neighbouring threads have neighbouring chunks, and f is the same for all of a thread.
    static constexpr int kStride = kThreads / kLineChunks; // lines from chunk j to the next
    static_assert(kStride % 8 == 0 && kThreads % kLineChunks == 0);
    static __device__ int own_line(int j) { return static_cast<int>(threadIdx.x) / kLineChunks + j * kStride; }
    static __device__ int own_chunk() { return static_cast<int>(threadIdx.x) % kLineChunks; }
    __device__ uint4* own(int j) { return at(own_line(0), own_chunk()) + j * kThreads; }

    // The operand from row `row` and number `k` of K on, where it lies in memory as BF16 in whole chunks.
    __device__ void copy(const Operand& from, int row, int k) {
        const uint16_t* numbers = static_cast<const uint16_t*>(from.data);
#pragma unroll
        for (int j = 0; j < kOwn; j++) {
            const int l = (kAlongK ? row : k) + own_line(j), at_l = (kAlongK ? k : row) + own_chunk() * kChunk;
            const bool there = l < from.lines && at_l < from.length;
            cp_async_16(own(j), there ? numbers + static_cast<int64_t>(l) * from.length + at_l : numbers, there);
        }
    }

    // Any other operand, by way of registers: chunks first .. first + kChunks - 1 of each thread.
    template <int kChunks>
    static __device__ void load(Carried<kChunks>& to, int first, const Operand& from, int row, int k) {
#pragma unroll
        for (int j = 0; j < kChunks; j++) {
            const int l = (kAlongK ? row : k) + own_line(first + j), at_l = (kAlongK ? k : row) + own_chunk() * kChunk;
            to.fours[j][0] = four_numbers(from, l, at_l);
            to.fours[j][1] = four_numbers(from, l, at_l + 4);
        }
    }
    template <int kChunks>
    __device__ void store(const Carried<kChunks>& from, int first) {
#pragma unroll
        for (int j = 0; j < kChunks; j++) {
            const float4 low = from.fours[j][0], high = from.fours[j][1];
            *own(first + j) = make_uint4(bf16_pair(low.x, low.y), bf16_pair(low.z, low.w), bf16_pair(high.x, high.y),
                                         bf16_pair(high.z, high.w));
        }
    }
};

__device__ __forceinline__ bool can_be_copied(const Operand& operand) {
    return operand.type == WeightType::bf16 && operand.vectors;
}

// sum[i][j] += the 16 x 8 tiles of a b for numbers 16 step .. 16 step + 15 of K, from row m and column n of the block's tile.
// Fragments: ptx.cuh.
template <int kTilesM, int kTilesN, class A, class B>
__device__ __forceinline__ void multiply_step(float (&sum)[kTilesM][kTilesN][4], A& a, B& b, bool a_along_k, bool b_along_k, int m,
                                              int n, int step) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes, matrix = lane / 8, row = lane % 8;
    uint32_t b_step[kTilesN][2];
#pragma unroll
    for (int j = 0; j < kTilesN; j += 2) {
        uint32_t both[4]; // (n 0-7, k 0-7), (n 0-7, k 8-15), (n 8-15, k 0-7), (n 8-15, k 8-15)
        if (b_along_k) {
            ldmatrix_x4(both, b.at(n + matrix / 2 * 8 + row, 2 * step + matrix % 2) + 8 * j * B::kLineChunks);
        } else {
            ldmatrix_x4_transposed(both, b.at(16 * step + matrix % 2 * 8 + row, n / 8 + j + matrix / 2));
        }
        b_step[j][0] = both[0];
        b_step[j][1] = both[1];
        b_step[j + 1][0] = both[2];
        b_step[j + 1][1] = both[3];
    }
#pragma unroll
    for (int i = 0; i < kTilesM; i++) {
        uint32_t a_step[4]; // (m 0-7, k 0-7), (m 8-15, k 0-7), (m 0-7, k 8-15), (m 8-15, k 8-15)
        if (a_along_k) {
            ldmatrix_x4(a_step, a.at(m + matrix % 2 * 8 + row, 2 * step + matrix / 2) + 16 * i * A::kLineChunks);
        } else {
            ldmatrix_x4_transposed(a_step, a.at(16 * step + matrix / 2 * 8 + row, m / 8 + 2 * i + matrix % 2));
        }
#pragma unroll
        for (int j = 0; j < kTilesN; j++) {
            mma_m16n8k16(sum[i][j], a_step, b_step[j]);
        }
    }
}

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
    constexpr int kSharers = kWarps / kWarpsOfTile, kSteps = kDepth / 16 / kSharers;
    static_assert(kSteps >= 1 && kSteps <= 2 && kSteps * kSharers * 16 == kDepth && kWarpsOfTile * kSharers == kWarps);
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
    } else { // the warps' sums, (kWarps,kRows,kColumns), in the place of the tiles
        static_assert(kWarpRows == kRows && kWarpColumns == kColumns && sizeof(Memory) >= kWarps * kRows * kColumns * 4);
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
        for (int e = static_cast<int>(threadIdx.x); e < kRows * kColumns; e += kThreads) {
            float total = all[e];
#pragma unroll
            for (int w = 1; w < kWarps; w++) {
                total += all[w * kRows * kColumns + e];
            }
            out.write(place.m + e / kColumns, place.n + e % kColumns, total);
        }
    }
}

// ---- the tiles -----------------------------------------------------------------------------------------------------------

// resident: product_bf16_wide_kernel 128 threads, 2 blocks, 65536 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 2) product_bf16_wide_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<128, 128, 32, 64, 64, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_middle_kernel 128 threads, 4 blocks, 32768 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 4) product_bf16_middle_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 64, 32, 32, 32, 4, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_narrow32_kernel 128 threads, 3 blocks, 36864 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 3) product_bf16_narrow32_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 32, 64, 64, 32, 3, kAAlongK, kBAlongK>(batch);
}

// resident: product_bf16_narrow16_kernel 128 threads, 4 blocks, 30720 bytes shared
template <bool kAAlongK, bool kBAlongK>
__global__ void __launch_bounds__(128, 4) product_bf16_narrow16_kernel(const __grid_constant__ ProductBatch batch) {
    multiply_tile<64, 16, 64, 64, 16, 3, kAAlongK, kBAlongK>(batch);
}

} // namespace

const TileKernels& bf16_tiles(Tiles tiles) {
    static const TileKernels all[static_cast<int>(Tiles::count)] = {
        {"product_bf16_wide",
         {product_bf16_wide_kernel<true, true>, product_bf16_wide_kernel<true, false>, product_bf16_wide_kernel<false, false>},
         128, 128, kThreads, sizeof(Stages<128, 128, 32, 4, true, true>)},
        {"product_bf16_middle",
         {product_bf16_middle_kernel<true, true>, product_bf16_middle_kernel<true, false>,
          product_bf16_middle_kernel<false, false>},
         64, 64, kThreads, sizeof(Stages<64, 64, 32, 4, true, true>)},
        {"product_bf16_narrow32",
         {product_bf16_narrow32_kernel<true, true>, product_bf16_narrow32_kernel<true, false>,
          product_bf16_narrow32_kernel<false, false>},
         64, 32, kThreads, sizeof(Stages<64, 32, 64, 3, true, true>)},
        {"product_bf16_narrow16",
         {product_bf16_narrow16_kernel<true, true>, product_bf16_narrow16_kernel<true, false>,
          product_bf16_narrow16_kernel<false, false>},
         64, 16, kThreads, sizeof(Stages<64, 16, 64, 3, true, true>)},
    };
    return all[static_cast<int>(tiles)];
}

} // namespace skintern
