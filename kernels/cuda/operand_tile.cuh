// operand_tile.cuh — a tile of an operand in shared memory as BF16, how it gets there, and its product on tensor cores.
//
// A tile of an operand is lines of 16-byte chunks. ldmatrix reads eight chunks of the same place in eight lines, and cp.async
// writes neighbouring chunks of a line; so that both meet different banks, chunk c of line l lies at place c ^ f(l).
// An operand along K (a line is a row m, or a column n) is read as it is, one across K (a line is a k) is read transposed:
// the fragments of mma.m16n8k16 are the same, and no operand is ever transposed in memory.
#pragma once

#include "products.cuh"
#include "ptx.cuh"

namespace skintern {

constexpr int kTileThreads = 128, kTileWarps = kTileThreads / kWarpLanes; // of a block that works on such tiles
constexpr int kChunk = 8;                                                // numbers of 16 bytes

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
    static constexpr int kOwn = kLines * kLineChunks / kTileThreads; // chunks of a thread
    static_assert(kOwn * kTileThreads == kLines * kLineChunks);

    uint4 chunks[kLines * kLineChunks];

    // Eight chunks are all 32 banks: lines that are shorter share them with the next ones. f repeats after eight lines.
    __device__ uint4* at(int line, int chunk) {
        constexpr int kSpread = kLineChunks < 8 ? kLineChunks : 8;
        return chunks + line * kLineChunks + (chunk ^ (line / (8 / kSpread) % kSpread));
    }

    // Chunk j of this thread; neighbouring threads have neighbouring chunks, and f is the same for all of a thread.
    static constexpr int kStride = kTileThreads / kLineChunks; // lines from chunk j to the next
    static_assert(kStride % 8 == 0 && kTileThreads % kLineChunks == 0);
    static __device__ int own_line(int j) { return static_cast<int>(threadIdx.x) / kLineChunks + j * kStride; }
    static __device__ int own_chunk() { return static_cast<int>(threadIdx.x) % kLineChunks; }
    __device__ uint4* own(int j) { return at(own_line(0), own_chunk()) + j * kTileThreads; }

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

} // namespace skintern
