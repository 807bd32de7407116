// attention.cuh — what the .cu files of attention share: who computes what, tiles of rows on their way to shared memory, and
// products of tiles, in F32 by register tiles and in BF16 by tensor cores.
//
//   attention_forward.cu    attention_forward, and the tiles of attention_cached: many new rows
//   attention_cached.cu     attention_cached: few new rows over many keys, split over the keys
//   attention_backward.cu   attention_backward
//   attention_steps.cu, attention_backward_steps.cu, attention_cached_steps.cu
//                           how they came about, in numbered versions
//
// Only two products of tiles are needed, both ways. With queries as the rows of the scores: s = q k^T and dp = dout v^T are
// rows times rows (`*_rows_by_rows`), out = p v and dq = ds k rows times columns (`*_by_columns`). With keys as the rows:
// s^T = k q^T, dp^T = v dout^T; dv = p^T dout, dk = ds^T q. What one warp makes of a row of scores, the same warp reads.
#pragma once

#include "cuda.cuh"
#include "ptx.cuh"

namespace skintern {

constexpr int kAttentionThreads = 128; // of every block here
constexpr int kMaxHeadSize = 128;
constexpr float kLog2e = 1.44269504f;

// ---- work ---------------------------------------------------------------------------------------------------------------

// A batch of packed sequences. A launch is for those that have least_rows .. most_rows rows; the others are another launch's.
struct Batch {
    const int64_t* start; // (S+1)
    int64_t count;        // S
    int64_t least_rows, most_rows;
    int64_t NH, NKV, HS;
    float scale; // 1 / sqrt(HS)
};

inline Batch batch_of(Sequences seq, int64_t NH, int64_t NKV, int64_t HS, int64_t least_rows, int64_t most_rows) {
    return {seq.start, seq.count, least_rows, most_rows, NH, NKV, HS, 1.0f / std::sqrt(static_cast<float>(HS))};
}

// Attention of new rows over keys that lie in packed rows (slot null) or in a cache.
template <class T>
struct AttentionView {
    Batch batch;
    float* out;            // (N,NH,HS) =
    float* lse;            // (N,NH) =, or nullptr
    const float* q;        // (N,NH,HS)
    const T* k;            // (N,NKV,HS), or (slots,capacity,NKV,HS)
    const T* v;            // likewise
    const int32_t* slot;   // (S), or nullptr: the keys of sequence s are rows start[s] .. of k
    const int32_t* length; // (S) keys of a sequence, or nullptr: as many as rows
    int64_t capacity;
};

// Some rows of one sequence in one head.
struct RowTile {
    int s, head;
    int64_t row;  // the first of them, in the packed batch
    int from;     // the same in its sequence
    int rows;     // how many
    int sequence; // rows of the sequence
};

// Blocks are numbered tile by tile, then sequence, then head: blocks that run together read the same keys. Causal rows have
// unequal work; the tiles with most of it come first, so that no long one is left over at the end. False: nothing to do.
template <int kRows>
__device__ __forceinline__ bool take_tile(RowTile& t, const Batch& batch, int64_t heads, bool last_first) {
    const int64_t of_tile = batch.count * heads;
    const int64_t tiles = gridDim.x / of_tile;
    const int64_t index = blockIdx.x / of_tile;
    t.s = static_cast<int>(blockIdx.x % of_tile / heads);
    t.head = static_cast<int>(blockIdx.x % heads);
    const int64_t first = batch.start[t.s], rows = batch.start[t.s + 1] - first;
    const int64_t from = (last_first ? tiles - 1 - index : index) * kRows;
    if (rows < batch.least_rows || rows > batch.most_rows || from >= rows) {
        return false;
    }
    t.row = first + from;
    t.from = static_cast<int>(from);
    t.sequence = static_cast<int>(rows);
    t.rows = static_cast<int>(min(rows - from, static_cast<int64_t>(kRows)));
    return true;
}

// The grid of take_tile.
inline Grid tile_grid(int64_t rows, int tile_rows, int64_t sequences, int64_t heads, size_t shared_bytes) {
    const int64_t blocks = ceil_div(rows, tile_rows) * sequences * heads;
    CHECK(blocks < int64_t{1} << 31,
          "--device cuda: attention of %lld sequences of up to %lld rows is more than one grid holds",
          static_cast<long long>(sequences), static_cast<long long>(rows));
    return {dim3(static_cast<unsigned>(blocks)), kAttentionThreads, shared_bytes};
}

// Calls `body(width)` with the head size rounded up to one of those that there are kernels for.
template <class Body>
void with_width(int64_t HS, const Body& body) {
    CHECK(HS <= kMaxHeadSize, "--device cuda: heads of %lld channels; there are attention kernels for up to %d",
          static_cast<long long>(HS), kMaxHeadSize);
    if (HS <= 32) {
        body(std::integral_constant<int, 32>());
    } else if (HS <= 64) {
        body(std::integral_constant<int, 64>());
    } else if (HS <= 96) {
        body(std::integral_constant<int, 96>());
    } else {
        body(std::integral_constant<int, 128>());
    }
}

// The sequence that row n belongs to.
__device__ __forceinline__ int64_t sequence_of(const Batch& b, int64_t n) {
    int64_t low = 0, high = b.count; // start[low] <= n < start[high]
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        (b.start[middle] <= n ? low : high) = middle;
    }
    return low;
}

// Rows > kFewRows of a launch in BF16, rows <= kFewRows of one in F32 beside it.
constexpr int64_t kAnyRows = int64_t{1} << 40;

// ---- rows in memory -----------------------------------------------------------------------------------------------------

// `rows` rows of HS numbers, `stride` apart. A tile has zeros behind its last row and last channel.
template <class T>
struct MemoryRows {
    const T* data;
    int stride, rows, HS;
    bool aligned; // every row begins at a multiple of 16 bytes and is whole pieces of 16 bytes long
};

template <class T>
__device__ __forceinline__ MemoryRows<T> memory_rows(const T* data, int64_t stride, int rows, int64_t HS) {
    constexpr int64_t kPiece = 16 / sizeof(T);
    return {data, static_cast<int>(stride), rows, static_cast<int>(HS),
            reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % kPiece == 0 && HS % kPiece == 0};
}

// Numbers c .. c+3 of row r, or zeros. In rows that are `kAligned` HS is a multiple of four.
template <bool kAligned>
__device__ __forceinline__ float4 load_four(const MemoryRows<float>& m, int r, int c) {
    float4 x = make_float4(0, 0, 0, 0);
    if (r < m.rows && c < m.HS) {
        const float* at = m.data + r * m.stride + c;
        if constexpr (kAligned) {
            x = *reinterpret_cast<const float4*>(at);
        } else {
            x.x = at[0];
            x.y = c + 1 < m.HS ? at[1] : 0.0f;
            x.z = c + 2 < m.HS ? at[2] : 0.0f;
            x.w = c + 3 < m.HS ? at[3] : 0.0f;
        }
    }
    return x;
}
template <bool kAligned>
__device__ __forceinline__ float4 load_four(const MemoryRows<uint16_t>& m, int r, int c) {
    float4 x = make_float4(0, 0, 0, 0);
    if (r < m.rows && c < m.HS) {
        const uint16_t* at = m.data + r * m.stride + c;
        if constexpr (kAligned) {
            const uint2 pairs = *reinterpret_cast<const uint2*>(at);
            x = make_float4(__uint_as_float(pairs.x << 16), __uint_as_float(pairs.x & 0xffff0000u),
                            __uint_as_float(pairs.y << 16), __uint_as_float(pairs.y & 0xffff0000u));
        } else {
            x.x = bf16_value(at[0]);
            x.y = c + 1 < m.HS ? bf16_value(at[1]) : 0.0f;
            x.z = c + 2 < m.HS ? bf16_value(at[2]) : 0.0f;
            x.w = c + 3 < m.HS ? bf16_value(at[3]) : 0.0f;
        }
    }
    return x;
}

// This thread's pieces `from` .. of kPiece numbers of a tile, as fours: piece i of thread x is number x + i kAttentionThreads.
template <bool kAligned, int kWidth, int kPiece, class T, int kParts>
__device__ __forceinline__ void load_parts_as(float4 (&part)[kParts][kPiece / 4], const MemoryRows<T>& m, int from) {
#pragma unroll
    for (int i = 0; i < kParts; i++) {
        const int at = static_cast<int>(threadIdx.x) + (from + i) * kAttentionThreads;
#pragma unroll
        for (int x = 0; x < kPiece / 4; x++) {
            part[i][x] = load_four<kAligned>(m, at / (kWidth / kPiece), at % (kWidth / kPiece) * kPiece + 4 * x);
        }
    }
}
template <int kWidth, int kPiece, class T, int kParts>
__device__ __forceinline__ void load_parts(float4 (&part)[kParts][kPiece / 4], const MemoryRows<T>& m, int from = 0) {
    if (m.aligned) {
        load_parts_as<true, kWidth, kPiece>(part, m, from);
    } else {
        load_parts_as<false, kWidth, kPiece>(part, m, from);
    }
}

// ---- tiles in F32 -------------------------------------------------------------------------------------------------------

// A tile lies row by row with four numbers between rows: eight rows that are read at the same column are in different banks.
__host__ __device__ constexpr int f32_stride(int width) {
    return width + 4;
}

// A tile on its way from memory to shared memory: start() asks for it, finish() stores what has come. What is computed in
// between hides the way.
template <class T, int kRows, int kWidth>
struct F32Load {
    static constexpr int kParts = kRows * kWidth / 4 / kAttentionThreads;
    static_assert(kParts * 4 * kAttentionThreads == kRows * kWidth);
    float4 part[kParts][1];

    __device__ __forceinline__ void start(const MemoryRows<T>& m) { load_parts<kWidth, 4>(part, m); }
    __device__ __forceinline__ void finish(float* tile) const {
#pragma unroll
        for (int i = 0; i < kParts; i++) {
            const int at = static_cast<int>(threadIdx.x) + i * kAttentionThreads;
            *reinterpret_cast<float4*>(tile + at / (kWidth / 4) * f32_stride(kWidth) + at % (kWidth / 4) * 4) = part[i][0];
        }
    }
};

// The threads of a block as 8 x 16. Thread (y,x) has rows y + 8 i and, of scores, columns x + 16 j: a row is the sixteen
// threads of half a warp.
constexpr int kThreadRows = 8, kThreadColumns = 16;
__device__ __forceinline__ int thread_row() {
    return static_cast<int>(threadIdx.x) / kThreadColumns;
}
__device__ __forceinline__ int thread_column() {
    return static_cast<int>(threadIdx.x) % kThreadColumns;
}

// sum[i][j] += a[row i] . b[row j], the channels in order.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void f32_rows_by_rows(float (&sum)[kM][kN], const float* a, const float* b) {
    constexpr int kStride = f32_stride(kWidth);
    a += thread_row() * kStride;
    b += thread_column() * kStride;
#pragma unroll 2
    for (int c = 0; c < kWidth; c += 4) {
        float4 b_c[kN];
#pragma unroll
        for (int j = 0; j < kN; j++) {
            b_c[j] = *reinterpret_cast<const float4*>(b + j * kThreadColumns * kStride + c);
        }
#pragma unroll
        for (int i = 0; i < kM; i++) {
            const float4 a_c = *reinterpret_cast<const float4*>(a + i * kThreadRows * kStride + c);
#pragma unroll
            for (int j = 0; j < kN; j++) {
                sum[i][j] += a_c.x * b_c[j].x;
                sum[i][j] += a_c.y * b_c[j].y;
                sum[i][j] += a_c.z * b_c[j].z;
                sum[i][j] += a_c.w * b_c[j].w;
            }
        }
    }
}

// Column x of those that a thread has of a row of kWidth channels: 4 (or 2) neighbours, then the next 64 (or 32).
template <int kWidth>
__device__ __forceinline__ int f32_channel(int x) {
    constexpr int kTogether = kWidth % 64 == 0 ? 4 : 2;
    return x / kTogether * (kTogether * kThreadColumns) + thread_column() * kTogether + x % kTogether;
}

// sum[i][x] += sum_j p[row i][j] b[j][channel x], j = 0 .. kKeys-1 in order. p has rows of f32_stride(kKeys).
template <int kWidth, int kKeys, int kM>
__device__ __forceinline__ void f32_by_columns(float (&sum)[kM][kWidth / kThreadColumns], const float* p, const float* b) {
    constexpr int kStride = f32_stride(kWidth), kN = kWidth / kThreadColumns, kTogether = kWidth % 64 == 0 ? 4 : 2;
    p += thread_row() * f32_stride(kKeys);
#pragma unroll 1
    for (int j = 0; j < kKeys; j += 4) {
        float p_j[kM][4];
#pragma unroll
        for (int i = 0; i < kM; i++) {
            const float4 four = *reinterpret_cast<const float4*>(p + i * kThreadRows * f32_stride(kKeys) + j);
            p_j[i][0] = four.x;
            p_j[i][1] = four.y;
            p_j[i][2] = four.z;
            p_j[i][3] = four.w;
        }
#pragma unroll
        for (int u = 0; u < 4; u++) {
            float b_u[kN];
#pragma unroll
            for (int x = 0; x < kN; x += kTogether) {
                const float* at = b + (j + u) * kStride + f32_channel<kWidth>(x);
                if constexpr (kTogether == 4) {
                    const float4 four = *reinterpret_cast<const float4*>(at);
                    b_u[x] = four.x;
                    b_u[x + 1] = four.y;
                    b_u[x + 2] = four.z;
                    b_u[x + 3] = four.w;
                } else {
                    const float2 two = *reinterpret_cast<const float2*>(at);
                    b_u[x] = two.x;
                    b_u[x + 1] = two.y;
                }
            }
#pragma unroll
            for (int i = 0; i < kM; i++) {
#pragma unroll
                for (int x = 0; x < kN; x++) {
                    sum[i][x] += p_j[i][u] * b_u[x];
                }
            }
        }
    }
}

// The values of the sixteen threads of a row combined, for each of them.
template <class Combine>
__device__ __forceinline__ float row_reduce(float value, Combine combine) {
    for (int bits = kThreadColumns / 2; bits > 0; bits /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, bits));
    }
    return value;
}

// Rows y + 8 i of a tile to memory, times `factor`.
template <int kWidth, int kM>
__device__ __forceinline__ void f32_store(float* out, // row 0 of the tile, rows `stride` apart
                                          const float (&sum)[kM][kWidth / kThreadColumns], int64_t stride, int rows, int64_t HS,
                                          float factor) {
#pragma unroll
    for (int i = 0; i < kM; i++) {
        const int r = thread_row() + i * kThreadRows;
#pragma unroll
        for (int x = 0; x < kWidth / kThreadColumns; x++) {
            const int c = f32_channel<kWidth>(x);
            if (r < rows && c < HS) {
                out[r * stride + c] = sum[i][x] * factor;
            }
        }
    }
}

// ---- tiles in BF16 ------------------------------------------------------------------------------------------------------

// Two numbers, rounded to nearest even, as one word. (Unlike bf16_pair() it keeps subnormal numbers, which no sum of F32 that is
// worth anything would notice, and needs no register besides: with it heads of 96 numbers spill on sm_90.)
__device__ __forceinline__ uint32_t rounded_pair(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

// Where the eight numbers 8 piece .. of a row lie in a tile. ldmatrix reads eight rows at the same piece; they lie in
// different banks because the piece is mixed with the number of the row. (Rows of 32 or 96 numbers: two rows that follow
// each other are in different halves of the banks already.)
template <int kWidth>
__device__ __forceinline__ int bf16_at(int row, int piece) {
    return row * kWidth + (kWidth % 64 == 0 ? piece ^ (row & 7) : piece ^ (row >> 1 & 3)) * 8;
}

// The same for piece + `pieces` from `at` for piece, which is 0 or 1; `pieces` is even. One instruction where it is constant,
// instead of a register for each of them.
template <int kWidth>
__device__ __forceinline__ int bf16_further(int at, int pieces) {
    constexpr int kMixed = kWidth % 64 == 0 ? 8 : 4;
    return (at ^ pieces % kMixed * 8) + pieces / kMixed * kMixed * 8;
}

// A tile on its way, as F32Load. F32 passes through registers and is rounded there; BF16 goes to shared memory at once, so
// `tile` has to be free when start() is called.
template <class T, int kRows, int kWidth>
struct Bf16Load;

template <int kRows, int kWidth>
struct Bf16Load<float, kRows, kWidth> {
    static constexpr int kParts = kRows * kWidth / 8 / kAttentionThreads;
    static_assert(kParts * 8 * kAttentionThreads == kRows * kWidth);
    static constexpr int kAhead =
        kWidth <= 96 ? kParts : kParts / 2; // more has no room in registers: the rest waits for finish()
    float4 part[kAhead][2];

    __device__ __forceinline__ void start(uint16_t*, const MemoryRows<float>& m) { load_parts<kWidth, 8>(part, m); }
    __device__ __forceinline__ void finish(uint16_t* tile, const MemoryRows<float>& m) {
        store(tile, 0);
#pragma unroll 1
        for (int from = kAhead; from < kParts; from += kAhead) {
            load_parts<kWidth, 8>(part, m, from);
            store(tile, from);
        }
    }

private:
    __device__ __forceinline__ void store(uint16_t* tile, int from) const {
#pragma unroll
        for (int i = 0; i < kAhead; i++) {
            const int at = static_cast<int>(threadIdx.x) + (from + i) * kAttentionThreads;
            const float4 low = part[i][0], high = part[i][1];
            *reinterpret_cast<uint4*>(tile + bf16_at<kWidth>(at / (kWidth / 8), at % (kWidth / 8))) = make_uint4(
                rounded_pair(low.x, low.y), rounded_pair(low.z, low.w), rounded_pair(high.x, high.y), rounded_pair(high.z, high.w));
        }
    }
};

template <int kRows, int kWidth>
struct Bf16Load<uint16_t, kRows, kWidth> {
    __device__ __forceinline__ void start(uint16_t* tile, const MemoryRows<uint16_t>& m) {
        for (int at = static_cast<int>(threadIdx.x); at < kRows * kWidth / 8; at += kAttentionThreads) {
            const int r = at / (kWidth / 8), c = at % (kWidth / 8) * 8;
            uint16_t* to = tile + bf16_at<kWidth>(r, c / 8);
            const bool inside = r < m.rows && c < m.HS;
            if (m.aligned) {
                cp_async_16(to, inside ? m.data + r * m.stride + c : m.data, inside);
            } else {
                for (int i = 0; i < 8; i++) {
                    to[i] = inside && c + i < m.HS ? m.data[r * m.stride + c + i] : uint16_t{0};
                }
            }
        }
        cp_async_commit();
    }
    __device__ __forceinline__ void finish(uint16_t*, const MemoryRows<uint16_t>&) const { cp_async_wait<0>(); }
};

template <int kRows, int kWidth>
__device__ __forceinline__ void load_now(uint16_t* tile, const MemoryRows<float>& m) {
    Bf16Load<float, kRows, kWidth> load;
    load.start(tile, m);
    load.finish(tile, m);
}

__device__ __forceinline__ int lane_of_warp() {
    return static_cast<int>(threadIdx.x) % kWarpLanes;
}
__device__ __forceinline__ int warp_of_block() {
    return static_cast<int>(threadIdx.x) / kWarpLanes;
}

// One warp: sum (16 kM, 8 kN) += a b^T, a the rows a_row .. of a tile, b a tile of 8 kN rows. A thread has of sum[m][n] the
// rows 16 m + g + 8 (r / 2), g = lane / 4, and columns 8 n + 2 (lane % 4) + r % 2.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void mma_rows_by_rows(float (&sum)[kM][kN][4], const uint16_t* a, int a_row, const uint16_t* b) {
    const int lane = lane_of_warp();
    const int a_at = bf16_at<kWidth>(a_row + lane % 16, lane / 16);
    const int b_at = bf16_at<kWidth>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll 2 // more would load so far ahead that registers run out
    for (int c = 0; c < kWidth / 8; c += 2) {
        uint32_t a_c[kM][4];
#pragma unroll
        for (int m = 0; m < kM; m++) {
            ldmatrix_x4(a_c[m], a + bf16_further<kWidth>(a_at, c) + 16 * m * kWidth);
        }
#pragma unroll
        for (int n = 0; n < kN; n += 2) {
            uint32_t b_c[4];
            ldmatrix_x4(b_c, b + bf16_further<kWidth>(b_at, c) + 8 * n * kWidth);
            const uint32_t left[2] = {b_c[0], b_c[1]}, right[2] = {b_c[2], b_c[3]};
#pragma unroll
            for (int m = 0; m < kM; m++) {
                mma_m16n8k16(sum[m][n], a_c[m], left);
                mma_m16n8k16(sum[m][n + 1], a_c[m], right);
            }
        }
    }
}

// One warp: scores (as q k^T left them) become p = exp2((s - largest) scale_log2), and o, l and largest follow. Query r of the
// warp sees the keys below unseen + r of this tile. A row is four threads.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void online_softmax(float (&s)[kM][kN][4], float (&o)[kM][kWidth / 8][4], float (&largest)[kM][2],
                                               float (&l)[kM][2], float scale_log2, int unseen) {
    const int g = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
    const bool masked = unseen < 8 * kN;
#pragma unroll
    for (int m = 0; m < kM; m++) {
#pragma unroll
        for (int i = 0; i < 2; i++) { // rows g and g + 8
            float higher = largest[m][i];
#pragma unroll
            for (int n = 0; n < kN; n++) {
#pragma unroll
                for (int e = 2 * i; e < 2 * i + 2; e++) {
                    if (masked && 8 * n + column + e % 2 >= unseen + 16 * m + g + 8 * i) {
                        s[m][n][e] = -INFINITY;
                    }
                    higher = Max()(higher, s[m][n][e]);
                }
            }
            higher = Max()(higher, __shfl_xor_sync(0xffffffffu, higher, 1));
            higher = Max()(higher, __shfl_xor_sync(0xffffffffu, higher, 2));
            const float shrink =
                exp2_approx((largest[m][i] - higher) * scale_log2); // every query sees key 0: `higher` is a number
            largest[m][i] = higher;
            l[m][i] *= shrink;
#pragma unroll
            for (int n = 0; n < kWidth / 8; n++) {
                o[m][n][2 * i] *= shrink;
                o[m][n][2 * i + 1] *= shrink;
            }
#pragma unroll
            for (int n = 0; n < kN; n++) {
#pragma unroll
                for (int e = 2 * i; e < 2 * i + 2; e++) {
                    s[m][n][e] = exp2_approx((s[m][n][e] - higher) * scale_log2);
                    l[m][i] += s[m][n][e];
                }
            }
        }
    }
}

// Scores in the registers of their product as the left operand of the next, rounded: words[m][j] is for keys 16 j .. 16 j+15.
template <int kM, int kN>
__device__ __forceinline__ void to_operand(uint32_t (&words)[kM][kN / 2][4], const float (&p)[kM][kN][4]) {
#pragma unroll
    for (int m = 0; m < kM; m++) {
#pragma unroll
        for (int j = 0; j < kN / 2; j++) {
            words[m][j][0] = rounded_pair(p[m][2 * j][0], p[m][2 * j][1]);
            words[m][j][1] = rounded_pair(p[m][2 * j][2], p[m][2 * j][3]);
            words[m][j][2] = rounded_pair(p[m][2 * j + 1][0], p[m][2 * j + 1][1]);
            words[m][j][3] = rounded_pair(p[m][2 * j + 1][2], p[m][2 * j + 1][3]);
        }
    }
}

// One warp: sum (16 kM, kWidth) += p b, b a tile of 16 kJ rows.
template <int kWidth, int kM, int kJ>
__device__ __forceinline__ void mma_by_columns(float (&sum)[kM][kWidth / 8][4], const uint32_t (&p)[kM][kJ][4],
                                               const uint16_t* b) {
    const int at = bf16_at<kWidth>(lane_of_warp() % 16, lane_of_warp() / 16);
#pragma unroll
    for (int j = 0; j < kJ; j++) {
#pragma unroll
        for (int n = 0; n < kWidth / 8; n += 2) {
            uint32_t b_j[4];
            ldmatrix_x4_transposed(b_j, b + bf16_further<kWidth>(at, n) + 16 * j * kWidth);
            const uint32_t left[2] = {b_j[0], b_j[1]}, right[2] = {b_j[2], b_j[3]};
#pragma unroll
            for (int m = 0; m < kM; m++) {
                mma_m16n8k16(sum[m][n], p[m][j], left);
                mma_m16n8k16(sum[m][n + 1], p[m][j], right);
            }
        }
    }
}

// The rows of a warp to memory: row 16 m + g + 8 i times factor[m][i]. `out` is where row 0 of the warp belongs.
template <int kWidth, int kM>
__device__ __forceinline__ void mma_store(float* out, const float (&sum)[kM][kWidth / 8][4], const float (&factor)[kM][2],
                                          int64_t stride, int rows, int64_t HS) {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
#pragma unroll
    for (int m = 0; m < kM; m++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = 16 * m + g + 8 * i;
            if (row >= rows) {
                continue;
            }
            float* at = out + row * stride;
#pragma unroll
            for (int n = 0; n < kWidth / 8; n++) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int c = 8 * n + 2 * t + e;
                    if (c < HS) {
                        at[c] = sum[m][n][2 * i + e] * factor[m][i];
                    }
                }
            }
        }
    }
}

// ---- attention_forward.cu -----------------------------------------------------------------------------------------------

// Attention in tiles: sequences of least .. most rows of the view's batch, the longest of `longest` rows, in F32 or in BF16.
template <class T>
void attend_in_tiles(const AttentionView<T>& view, int64_t longest, bool bf16, cudaStream_t stream);

// ---- attention_cached.cu ------------------------------------------------------------------------------------------------

// Sequences of up to kFewRows rows, the longest of `longest`, over a cache whose keys are split into `splits` parts.
template <class T>
void attend_few_rows(const AttentionView<T>& view, int64_t longest, int64_t splits,
                     float* parts, // (S,kFewRows,NH,splits,HS+2): o, m, l; or nullptr where there is one part
                     cudaStream_t stream);

// ---- attention_backward.cu ----------------------------------------------------------------------------------------------

struct BackwardView {
    Batch batch;
    float* dq;         // (N,NH,HS) =
    float* dk;         // (N,NKV,HS) =
    float* dv;         // (N,NKV,HS) =
    const float* dout; // (N,NH,HS)
    const float* q;    // (N,NH,HS)
    const float* k;    // (N,NKV,HS)
    const float* v;    // (N,NKV,HS)
    const float* lse;  // (N,NH)
    const float* D;    // (N,NH)

    // What attention_dkv_bf16 leaves for attention_dq_product, of the sequences and heads of one launch.
    int64_t heads, kv_heads; // of the launch: the first so many of NH and NKV
    uint32_t* ds;            // (S,heads,ds_blocks,4,32): see ds_block(), or nullptr: it is not kept
    int64_t ds_blocks;       // of a sequence and head
    uint16_t* k_rounded;     // (S,kv_heads,k_rows,width): the tiles of keys as they lie in shared memory
    int64_t k_rows;          // of a sequence and head: a multiple of every tile
};

// p and ds of a query and key from s = q.k and dp = dout.v. The first query sees one key: its p is 1 whatever the score, and
// sends no gradient through it.
__device__ __forceinline__ void f32_probability(float& p, float& ds, float s, float dp, float scale, float lse, float D,
                                                int query, int key) {
    p = key <= query ? expf(s * scale - lse) : 0.0f;
    ds = query == 0 ? 0.0f : p * (dp - D);
}

// Two walks, seven products: sequences of least .. most rows of the view's batch, the longest of `longest` rows, in F32 or BF16.
void backward_in_walks(const BackwardView& view, int64_t longest, bool bf16, cudaStream_t stream);

} // namespace skintern
