// attention_backward.cu — the backward pass of causal attention in tiles.
//
// lse is known, so p is one exp away (Dao et al. 2022, algorithm 4). With D_i = dout_i.out_i and scale = 1 / sqrt(HS):
//   dv_j = sum_i p_ij dout_i          dp_ij = dout_i.v_j          ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j                                  dk_j = scale sum_i ds_ij q_i
//
// No two blocks add to one number, so that every sum has one order:
//   attention_delta        D of every row and head
//   attention_dkv          a block has a tile of keys and walks over the queries that see it, of all query heads that read it
//   attention_dq           a block has a tile of queries and walks over the keys that they see; it makes p and dp again
//   attention_dq_product   the same, from the ds that attention_dkv_bf16 has left in memory: dq = scale ds k, and nothing else
//
// F32 takes the first three: seven products, of which two are made twice. BF16 takes attention_dq_product, five products, where
// ds has room: 2 bytes a score, of as many sequences and heads at a time as kDsBytes hold. A block of keys that added its share
// of dq to memory instead would move 4 HS bytes there and back for every query and tile, and those sums would come in any order
// (atomics), wait for each other, or need a buffer for each block. docs/kernels.md, "Backward", counts what each would cost.
//
// In attention_dkv the scores lie turned, a key to a row: s^T = k q^T and dp^T = v dout^T are left operands of dv += p^T dout
// and dk += ds^T q as they come, and no warp waits for another's.
//
// In BF16 q, k, v, dout, p and ds are rounded where they become operands of the tensor cores; the rest is F32.
//
// Cost: 5 (7) NH HS T^2 multiply-adds of a sequence of T rows without the mask, half of it with. Scratch: D, ds and k in BF16.
#include <algorithm>

#include "attention.cuh"
#include "cuda.h"

namespace skintern {

// A warp a row and head: D[i] = sum_c dout[i,c] out[i,c].
// resident: attention_delta_kernel 128 threads, 16 blocks, 0 bytes shared
__global__ void __launch_bounds__(kAttentionThreads, 16)
    attention_delta_kernel(float* D, const float* dout, const float* out, const int64_t* start, int64_t count, int64_t NH,
                           int64_t HS) {
    const int64_t rows = start[count] * NH;
    for (int64_t i = grid_first() / kWarpLanes; i < rows; i += grid_stride() / kWarpLanes) {
        float sum = 0;
        for (int64_t c = lane_of_warp(); c < HS; c += kWarpLanes) {
            sum += dout[i * HS + c] * out[i * HS + c];
        }
        sum = warp_reduce(sum, Sum());
        if (lane_of_warp() == 0) {
            D[i] = sum;
        }
    }
}

// ---- where things lie ---------------------------------------------------------------------------------------------------

// Rows `from` .. of a sequence in one head: those of (N,heads,HS) that begins at `matrix`.
__device__ __forceinline__ MemoryRows<float> rows_of_head(const float* matrix, const Batch& b, const RowTile& t, int from,
                                                          int64_t heads, int64_t head) {
    const int64_t row = t.row - t.from + from;
    return memory_rows(matrix + (row * heads + head) * b.HS, heads * b.HS, t.sequence - from, b.HS);
}

// The walk of a tile of keys over the queries that see it, kQueries at a time, head after head of those that read it. At the
// end it stands behind the last query of the last head, where there is nothing to load.
template <int kQueries>
struct QueryWalk {
    int query, head, last_head;

    // A tile of keys is whole steps of queries: the first query that sees any of them is the first of a step.
    __device__ __forceinline__ QueryWalk(const Batch& b, const RowTile& keys) {
        const int group = static_cast<int>(b.NH / b.NKV);
        query = keys.from;
        head = keys.head * group;
        last_head = head + group - 1;
    }
    __device__ __forceinline__ void advance(const RowTile& keys) {
        query += kQueries;
        if (query >= keys.sequence && head < last_head) {
            query = keys.from;
            head++;
        }
    }
    __device__ __forceinline__ MemoryRows<float> rows(const float* matrix, const Batch& b, const RowTile& t) const {
        return rows_of_head(matrix, b, t, query, b.NH, head);
    }
};

// lse and D of kQueries queries; behind the last one lse is infinite, so that p is 0.
template <int kQueries>
__device__ __forceinline__ void load_row_numbers(float* lse, float* D, const BackwardView& a, const RowTile& t, int from,
                                                 int64_t head) {
    for (int i = static_cast<int>(threadIdx.x); i < kQueries; i += kAttentionThreads) {
        const int64_t at = (t.row - t.from + from + i) * a.batch.NH + head;
        const bool inside = from + i < t.sequence;
        lse[i] = inside ? a.lse[at] : INFINITY;
        D[i] = inside ? a.D[at] : 0.0f;
    }
}

// ---- F32 ----------------------------------------------------------------------------------------------------------------

constexpr int kF32BackwardRows = 32; // queries and keys of a tile alike
constexpr int kF32Scores = f32_stride(kF32BackwardRows);

template <int kWidth>
struct BackwardF32Shared {
    float mine[2][kF32BackwardRows * f32_stride(kWidth)];   // k and v, or q and dout: of the block
    float theirs[2][kF32BackwardRows * f32_stride(kWidth)]; // the others: of a step
    float p[kF32BackwardRows * kF32Scores];
    float ds[kF32BackwardRows * kF32Scores];
    float lse[kF32BackwardRows];
    float D[kF32BackwardRows];
};

static_assert(sizeof(BackwardF32Shared<kMaxHeadSize>) == 77056); // as promised

// resident: attention_dkv_f32_kernel 128 threads, 2 blocks, 77056 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dkv_f32_kernel(BackwardView a) {
    constexpr int kRows = kF32BackwardRows, kM = kRows / kThreadRows, kN = kRows / kThreadColumns;
    BackwardF32Shared<kWidth>& shared = shared_memory<BackwardF32Shared<kWidth>>();
    const Batch& b = a.batch;
    RowTile t; // of keys
    if (!take_tile<kRows>(t, b, b.NKV, false)) {
        return;
    }
    QueryWalk<kRows> next(b, t); // what is on its way
    F32Load<float, kRows, kWidth> load[2];
    load[0].start(rows_of_head(a.k, b, t, t.from, b.NKV, t.head));
    load[1].start(rows_of_head(a.v, b, t, t.from, b.NKV, t.head));
    load[0].finish(shared.mine[0]);
    load[1].finish(shared.mine[1]);
    load[0].start(next.rows(a.q, b, t));
    load[1].start(next.rows(a.dout, b, t));

    float dk[kM][kWidth / kThreadColumns] = {}, dv[kM][kWidth / kThreadColumns] = {};
    while (next.query < t.sequence) {
        const int query = next.query;
        __syncthreads(); // the queries of the step before have been read
        load[0].finish(shared.theirs[0]);
        load[1].finish(shared.theirs[1]);
        load_row_numbers<kRows>(shared.lse, shared.D, a, t, query, next.head);
        __syncthreads();
        next.advance(t);
        load[0].start(next.rows(a.q, b, t));
        load[1].start(next.rows(a.dout, b, t));
        float s[kM][kN] = {}, dp[kM][kN] = {};
        f32_rows_by_rows<kWidth>(s, shared.mine[0], shared.theirs[0]);
        f32_rows_by_rows<kWidth>(dp, shared.mine[1], shared.theirs[1]);
#pragma unroll
        for (int i = 0; i < kM; i++) {
#pragma unroll
            for (int n = 0; n < kN; n++) {
                const int r = thread_row() + i * kThreadRows, c = thread_column() + n * kThreadColumns;
                f32_probability(shared.p[r * kF32Scores + c], shared.ds[r * kF32Scores + c], s[i][n], dp[i][n], b.scale,
                                shared.lse[c], shared.D[c], query + c, t.from + r);
            }
        }
        __syncwarp(); // a row is written and read by one half of a warp
        f32_by_columns<kWidth, kRows>(dv, shared.p, shared.theirs[1]);
        f32_by_columns<kWidth, kRows>(dk, shared.ds, shared.theirs[0]);
    }
    const int64_t at = (t.row * b.NKV + t.head) * b.HS;
    f32_store<kWidth>(a.dk + at, dk, b.NKV * b.HS, t.rows, b.HS, b.scale);
    f32_store<kWidth>(a.dv + at, dv, b.NKV * b.HS, t.rows, b.HS, 1.0f);
}

// resident: attention_dq_f32_kernel 128 threads, 2 blocks, 77056 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dq_f32_kernel(BackwardView a) {
    constexpr int kRows = kF32BackwardRows, kM = kRows / kThreadRows, kN = kRows / kThreadColumns;
    BackwardF32Shared<kWidth>& shared = shared_memory<BackwardF32Shared<kWidth>>();
    const Batch& b = a.batch;
    RowTile t; // of queries
    if (!take_tile<kRows>(t, b, b.NH, true)) {
        return;
    }
    const int64_t kv = t.head / (b.NH / b.NKV);
    F32Load<float, kRows, kWidth> load[2];
    load[0].start(rows_of_head(a.q, b, t, t.from, b.NH, t.head));
    load[1].start(rows_of_head(a.dout, b, t, t.from, b.NH, t.head));
    load[0].finish(shared.mine[0]);
    load[1].finish(shared.mine[1]);
    load_row_numbers<kRows>(shared.lse, shared.D, a, t, t.from, t.head);
    load[0].start(rows_of_head(a.k, b, t, 0, b.NKV, kv));
    load[1].start(rows_of_head(a.v, b, t, 0, b.NKV, kv));

    float dq[kM][kWidth / kThreadColumns] = {};
    for (int j = 0; j < t.from + t.rows; j += kRows) {
        __syncthreads(); // the keys before have been read
        load[0].finish(shared.theirs[0]);
        load[1].finish(shared.theirs[1]);
        __syncthreads();
        load[0].start(rows_of_head(a.k, b, t, j + kRows, b.NKV, kv));
        load[1].start(rows_of_head(a.v, b, t, j + kRows, b.NKV, kv));
        float s[kM][kN] = {}, dp[kM][kN] = {};
        f32_rows_by_rows<kWidth>(s, shared.mine[0], shared.theirs[0]);
        f32_rows_by_rows<kWidth>(dp, shared.mine[1], shared.theirs[1]);
#pragma unroll
        for (int i = 0; i < kM; i++) {
#pragma unroll
            for (int n = 0; n < kN; n++) {
                const int r = thread_row() + i * kThreadRows, c = thread_column() + n * kThreadColumns;
                float p;
                f32_probability(p, shared.ds[r * kF32Scores + c], s[i][n], dp[i][n], b.scale, shared.lse[r], shared.D[r],
                                t.from + r, j + c);
            }
        }
        __syncwarp(); // a row is written and read by one half of a warp
        f32_by_columns<kWidth, kRows>(dq, shared.ds, shared.theirs[0]);
    }
    f32_store<kWidth>(a.dq + (t.row * b.NH + t.head) * b.HS, dq, b.NH * b.HS, t.rows, b.HS, b.scale);
}

// ---- BF16 ---------------------------------------------------------------------------------------------------------------

// Keys (or queries) of a warp are 16 kM: with 32 a fragment of the other side serves two instructions, but dk and dv of 32 keys
// fit into the registers only for heads of up to 64.
constexpr int kWideWidth = 64;
constexpr int64_t kBlocksOfProcessor = 2; // as promised below
__host__ __device__ constexpr int bf16_backward_rows(int m) {
    return 16 * m * kAttentionThreads / kWarpLanes;
}
__host__ __device__ constexpr int bf16_backward_step(int width, int m) {
    return width <= 64 && m == 1 ? 64 : 32;
}

template <int kWidth, int kM>
struct BackwardBf16Shared {
    static constexpr int kRows = bf16_backward_rows(kM), kStep = bf16_backward_step(kWidth, kM);
    uint16_t mine[2][kRows * kWidth];      // k and v, or q and dout: of the block
    uint16_t theirs[2][2][kStep * kWidth]; // the others: of this step and the next, by turns
    float lse[2][64];
    float D[2][64];
};

static_assert(sizeof(BackwardBf16Shared<kMaxHeadSize, 1>) == 66560); // as promised
static_assert(sizeof(BackwardBf16Shared<kWideWidth, 2>) <= 66560);

// p = exp(s scale - lse), and ds = p (dp - D) in place of dp; 0 for the first query, as in f32_probability().
__device__ __forceinline__ void bf16_probability(float& p, float& ds, float s, float dp, float scale, float lse, float D,
                                                 int query, int key) {
    p = key <= query ? exp2_approx((s * scale - lse) * kLog2e) : 0.0f;
    ds = query == 0 ? 0.0f : p * (dp - D);
}

// ds of a sequence and head in memory: blocks of 16 keys and 16 queries, for queries 16 i .. and keys 16 j .. block number
// i (i+1)/2 + j, j <= i. A block is the four words of to_operand() one after another, each of 32 lanes: 8 keys of 8 queries, a
// row of 16 bytes a key, as ldmatrix wants them.
constexpr int kDsBlockWords = 4 * kWarpLanes;

template <class T>
__host__ __device__ constexpr T ds_block(T i, T j) {
    return i * (i + 1) / 2 + j;
}

// ds of the launch's query head `head` in sequence s.
__device__ __forceinline__ uint32_t* ds_of_head(const BackwardView& a, int s, int head) {
    return a.ds + (s * a.heads + head) * a.ds_blocks * kDsBlockWords;
}

// One warp: stores those blocks of ds^T, of keys `key` .. and queries `query` .., that hold a query that sees a key. The others
// are not read.
template <int kM, int kJ>
__device__ __forceinline__ void store_ds(uint32_t* of_head, const uint32_t (&ds)[kM][kJ][4], int key, int query, int sequence) {
#pragma unroll
    for (int m = 0; m < kM; m++) {
#pragma unroll
        for (int x = 0; x < kJ; x++) {
            const int i = query / 16 + x, j = key / 16 + m;
            if (j <= i && 16 * i < sequence) {
                uint32_t* to = of_head + ds_block(i, j) * kDsBlockWords + lane_of_warp();
#pragma unroll
                for (int w = 0; w < 4; w++) {
                    to[w * kWarpLanes] = ds[m][x][w];
                }
            }
        }
    }
}

// resident: attention_dkv_bf16_kernel 128 threads, 2 blocks, 66560 bytes shared
template <int kWidth, int kM>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dkv_bf16_kernel(BackwardView a) {
    using Shared = BackwardBf16Shared<kWidth, kM>;
    constexpr int kRows = Shared::kRows, kStep = Shared::kStep, kN = kStep / 8;
    Shared& shared = shared_memory<Shared>();
    const Batch& b = a.batch;
    RowTile t; // of keys
    if (!take_tile<kRows>(t, b, a.kv_heads, false)) {
        return;
    }
    QueryWalk<kStep> next(b, t);
    const int warp_row = warp_of_block() * 16 * kM, g = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
    load_now<kRows, kWidth>(shared.mine[0], rows_of_head(a.k, b, t, t.from, b.NKV, t.head));
    load_now<kRows, kWidth>(shared.mine[1], rows_of_head(a.v, b, t, t.from, b.NKV, t.head));
    load_now<kStep, kWidth>(shared.theirs[0][0], next.rows(a.q, b, t));
    load_now<kStep, kWidth>(shared.theirs[0][1], next.rows(a.dout, b, t));
    load_row_numbers<kStep>(shared.lse[0], shared.D[0], a, t, next.query, next.head);
    __syncthreads();
    if (a.ds != nullptr) { // k for attention_dq_product
        uint16_t* to = a.k_rounded + ((t.s * a.kv_heads + t.head) * a.k_rows + t.from) * kWidth;
        for (int i = static_cast<int>(threadIdx.x) * 8; i < kRows * kWidth; i += kAttentionThreads * 8) {
            *reinterpret_cast<uint4*>(to + i) = *reinterpret_cast<const uint4*>(shared.mine[0] + i);
        }
    }

    float dk[kM][kWidth / 8][4] = {}, dv[kM][kWidth / 8][4] = {};
    for (int now = 0; next.query < t.sequence; now = 1 - now) {
        const int query = next.query, head = next.head, then = 1 - now;
        // Whether a query of this step sees a key of this warp.
        const bool seen = warp_row < t.rows && query + kStep > t.from + warp_row;
        uint32_t p[kM][kN / 2][4], ds[kM][kN / 2][4];
        if (seen) {
            float s[kM][kN][4] = {}, dp[kM][kN][4] = {};
            mma_rows_by_rows<kWidth>(s, shared.mine[0], warp_row, shared.theirs[now][0]);
            mma_rows_by_rows<kWidth>(dp, shared.mine[1], warp_row, shared.theirs[now][1]);
#pragma unroll
            for (int m = 0; m < kM; m++) {
#pragma unroll
                for (int n = 0; n < kN; n++) {
#pragma unroll
                    for (int r = 0; r < 4; r++) {
                        const int c = 8 * n + column + r % 2, key = t.from + warp_row + 16 * m + g + r / 2 * 8;
                        bf16_probability(s[m][n][r], dp[m][n][r], s[m][n][r], dp[m][n][r], b.scale, shared.lse[now][c],
                                         shared.D[now][c], query + c, key);
                    }
                }
            }
            to_operand<kM, kN>(p, s);
            to_operand<kM, kN>(ds, dp);
        }
        next.advance(t);
        Bf16Load<float, kStep, kWidth> load; // not sooner: beside s and dp it has no room in registers
        load.start(shared.theirs[then][0], next.rows(a.q, b, t));
        load_row_numbers<kStep>(shared.lse[then], shared.D[then], a, t, next.query, next.head);
        if (seen) {
            if (a.ds != nullptr) {
                store_ds(ds_of_head(a, t.s, head), ds, t.from + warp_row, query, t.sequence);
            }
            mma_by_columns<kWidth>(dv, p, shared.theirs[now][1]);
        }
        load.finish(shared.theirs[then][0], next.rows(a.q, b, t));
        load.start(shared.theirs[then][1], next.rows(a.dout, b, t));
        if (seen) {
            mma_by_columns<kWidth>(dk, ds, shared.theirs[now][0]);
        }
        load.finish(shared.theirs[then][1], next.rows(a.dout, b, t));
        __syncthreads();
    }
    const int64_t at = ((t.row + warp_row) * b.NKV + t.head) * b.HS;
    float scale[kM][2], one[kM][2];
#pragma unroll
    for (int m = 0; m < kM; m++) {
        scale[m][0] = scale[m][1] = b.scale;
        one[m][0] = one[m][1] = 1.0f;
    }
    mma_store<kWidth>(a.dk + at, dk, scale, b.NKV * b.HS, t.rows - warp_row, b.HS);
    mma_store<kWidth>(a.dv + at, dv, one, b.NKV * b.HS, t.rows - warp_row, b.HS);
}

// resident: attention_dq_bf16_kernel 128 threads, 2 blocks, 66560 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dq_bf16_kernel(BackwardView a) {
    using Shared = BackwardBf16Shared<kWidth, 1>;
    constexpr int kRows = Shared::kRows, kStep = Shared::kStep, kN = kStep / 8;
    Shared& shared = shared_memory<Shared>();
    const Batch& b = a.batch;
    RowTile t; // of queries
    if (!take_tile<kRows>(t, b, b.NH, true)) {
        return;
    }
    const int64_t kv = t.head / (b.NH / b.NKV);
    const int warp_row = warp_of_block() * 16, g = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
    load_now<kRows, kWidth>(shared.mine[0], rows_of_head(a.q, b, t, t.from, b.NH, t.head));
    load_now<kRows, kWidth>(shared.mine[1], rows_of_head(a.dout, b, t, t.from, b.NH, t.head));
    load_now<kStep, kWidth>(shared.theirs[0][0], rows_of_head(a.k, b, t, 0, b.NKV, kv));
    load_now<kStep, kWidth>(shared.theirs[0][1], rows_of_head(a.v, b, t, 0, b.NKV, kv));
    load_row_numbers<kRows>(shared.lse[0], shared.D[0], a, t, t.from, t.head);
    __syncthreads();

    const float lse[2] = {shared.lse[0][warp_row + g], shared.lse[0][warp_row + g + 8]};
    const float D[2] = {shared.D[0][warp_row + g], shared.D[0][warp_row + g + 8]};
    float dq[1][kWidth / 8][4] = {};
    int now = 0;
    for (int j = 0; j < t.from + t.rows; j += kStep, now = 1 - now) {
        const bool seen = warp_row < t.rows && j < t.from + warp_row + 16; // whether this warp sees any of these keys
        Bf16Load<float, kStep, kWidth> load;
        load.start(shared.theirs[1 - now][0], rows_of_head(a.k, b, t, j + kStep, b.NKV, kv));
        uint32_t ds[1][kN / 2][4];
        if (seen) {
            float s[1][kN][4] = {}, dp[1][kN][4] = {};
            mma_rows_by_rows<kWidth>(s, shared.mine[0], warp_row, shared.theirs[now][0]);
            mma_rows_by_rows<kWidth>(dp, shared.mine[1], warp_row, shared.theirs[now][1]);
#pragma unroll
            for (int n = 0; n < kN; n++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    const int key = j + 8 * n + column + r % 2, row = t.from + warp_row + g + r / 2 * 8;
                    bf16_probability(s[0][n][r], dp[0][n][r], s[0][n][r], dp[0][n][r], b.scale, lse[r / 2], D[r / 2],
                                     row, key);
                }
            }
            to_operand<1, kN>(ds, dp);
        }
        load.finish(shared.theirs[1 - now][0], rows_of_head(a.k, b, t, j + kStep, b.NKV, kv));
        load.start(shared.theirs[1 - now][1], rows_of_head(a.v, b, t, j + kStep, b.NKV, kv));
        if (seen) {
            mma_by_columns<kWidth>(dq, ds, shared.theirs[now][0]);
        }
        load.finish(shared.theirs[1 - now][1], rows_of_head(a.v, b, t, j + kStep, b.NKV, kv));
        __syncthreads();
    }
    const float scale[1][2] = {{b.scale, b.scale}};
    mma_store<kWidth>(a.dq + ((t.row + warp_row) * b.NH + t.head) * b.HS, dq, scale, b.NH * b.HS, t.rows - warp_row, b.HS);
}

// ---- dq from ds ---------------------------------------------------------------------------------------------------------

constexpr int kProductQueries = 128, kProductKeys = 64; // a warp has 32 queries: a fragment of k serves two instructions

template <int kWidth>
struct DqProductShared {
    static constexpr int kWarps = kAttentionThreads / kWarpLanes;
    uint16_t k[2][kProductKeys * kWidth];                        // of this step and the next, by turns
    uint32_t ds[2][kWarps][2][kProductKeys / 16][kDsBlockWords]; // blocks of the queries of each warp
};

static_assert(sizeof(DqProductShared<kMaxHeadSize>) == 65536); // as promised

// Asks for keys `key` .. of the image of k and for this warp's blocks of ds with them: zeros for those that no query sees.
template <int kWidth>
__device__ __forceinline__ void start_step(DqProductShared<kWidth>& shared, int stage, const uint16_t* k, const uint32_t* ds,
                                           int first_block, int key, int sequence) {
    for (int i = static_cast<int>(threadIdx.x) * 8; i < kProductKeys * kWidth; i += kAttentionThreads * 8) {
        cp_async_16(shared.k[stage] + i, k + static_cast<int64_t>(key) * kWidth + i);
    }
    const int lane = lane_of_warp();
#pragma unroll
    for (int m = 0; m < 2; m++) {
#pragma unroll
        for (int x = 0; x < kProductKeys / 16; x++) {
            const int i = first_block + m, j = key / 16 + x;
            const bool seen = j <= i && 16 * i < sequence;
            cp_async_16(shared.ds[stage][warp_of_block()][m][x] + 4 * lane,
                        seen ? ds + ds_block(i, j) * kDsBlockWords + 4 * lane : ds, seen);
        }
    }
    cp_async_commit();
}

// resident: attention_dq_product_kernel 128 threads, 2 blocks, 65536 bytes shared
// uses: attention_dq_product_kernel mma.sync ldmatrix cp.async
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dq_product_kernel(BackwardView a) {
    DqProductShared<kWidth>& shared = shared_memory<DqProductShared<kWidth>>();
    const Batch& b = a.batch;
    RowTile t; // of queries
    if (!take_tile<kProductQueries>(t, b, a.heads, true)) {
        return;
    }
    const uint16_t* k = a.k_rounded + (t.s * a.kv_heads + t.head / (b.NH / b.NKV)) * a.k_rows * kWidth;
    const uint32_t* ds = ds_of_head(a, t.s, t.head);
    const int warp = warp_of_block(), lane = lane_of_warp(), first_block = t.from / 16 + 2 * warp, end = t.from + t.rows;
    // ds lies turned: queries 8 .. 15 of the operand are the matrix after next, keys 8 .. 15 the next one.
    const int row = (lane / 8 % 2 * 2 + lane / 16) * kWarpLanes + lane % 8 * 4;

    start_step(shared, 0, k, ds, first_block, 0, t.sequence);
    float dq[2][kWidth / 8][4] = {};
    int now = 0;
    for (int key = 0; key < end; key += kProductKeys, now = 1 - now) {
        cp_async_wait<0>();
        __syncthreads(); // this step has come, and the one before has been read
        if (key + kProductKeys < end) {
            start_step(shared, 1 - now, k, ds, first_block, key + kProductKeys, t.sequence);
        }
#pragma unroll
        for (int x = 0; x < kProductKeys / 16; x++) {
            if (key / 16 + x <= first_block + 1) { // else no query of this warp sees these keys
                uint32_t ds_x[2][1][4];
                ldmatrix_x4_transposed(ds_x[0][0], shared.ds[now][warp][0][x] + row);
                ldmatrix_x4_transposed(ds_x[1][0], shared.ds[now][warp][1][x] + row);
                mma_by_columns<kWidth>(dq, ds_x, shared.k[now] + 16 * x * kWidth);
            }
        }
    }
    const float scale[2][2] = {{b.scale, b.scale}, {b.scale, b.scale}};
    mma_store<kWidth>(a.dq + ((t.row + 32 * warp) * b.NH + t.head) * b.HS, dq, scale, b.NH * b.HS, t.rows - 32 * warp, b.HS);
}

// ---- the op -------------------------------------------------------------------------------------------------------------

template <int kWidth, int kM>
static void launch_dkv_bf16(const BackwardView& view, int64_t longest, cudaStream_t stream) {
    launch("attention_dkv_bf16", attention_dkv_bf16_kernel<kWidth, kM>,
           tile_grid(longest, bf16_backward_rows(kM), view.batch.count, view.kv_heads, sizeof(BackwardBf16Shared<kWidth, kM>)),
           stream, view);
}

void backward_in_walks(const BackwardView& view, int64_t longest, bool bf16, cudaStream_t stream) {
    const Batch& b = view.batch;
    with_width(b.HS, [&](auto width) {
        constexpr int kWidth = decltype(width)::value;
        if (bf16) {
            launch_dkv_bf16<kWidth, 1>(view, longest, stream);
            launch("attention_dq_bf16", attention_dq_bf16_kernel<kWidth>,
                   tile_grid(longest, bf16_backward_rows(1), b.count, b.NH, sizeof(BackwardBf16Shared<kWidth, 1>)), stream, view);
        } else {
            const size_t shared = sizeof(BackwardF32Shared<kWidth>);
            launch("attention_dkv_f32", attention_dkv_f32_kernel<kWidth>,
                   tile_grid(longest, kF32BackwardRows, b.count, b.NKV, shared), stream, view);
            launch("attention_dq_f32", attention_dq_f32_kernel<kWidth>,
                   tile_grid(longest, kF32BackwardRows, b.count, b.NH, shared), stream, view);
        }
    });
}

// Key/value heads first .. first+count-1 of sequences s .. s+sequences-1.
static BackwardView part_of(const BackwardView& all, int64_t s, int64_t sequences, int64_t first, int64_t count) {
    BackwardView part = all;
    const int64_t HS = all.batch.HS, query_head = first * (all.batch.NH / all.batch.NKV);
    part.batch.start += s;
    part.batch.count = sequences;
    part.heads = count * (all.batch.NH / all.batch.NKV);
    part.kv_heads = count;
    part.dq += query_head * HS;
    part.q += query_head * HS;
    part.dout += query_head * HS;
    part.lse += query_head;
    part.D += query_head;
    part.dk += first * HS;
    part.dv += first * HS;
    part.k += first * HS;
    part.v += first * HS;
    return part;
}

void CudaKernels::backward_in_five(const BackwardView& view, int64_t longest, bool wide, int64_t ds_bytes) {
    const Batch& b = view.batch;
    const int64_t group = b.NH / b.NKV, ds_blocks = ds_block(ceil_div(longest, 16), int64_t{0});
    const int64_t words = group * ds_blocks * kDsBlockWords; // of a key/value head of a sequence
    const int64_t fit = ds_bytes / static_cast<int64_t>(sizeof(uint32_t)) / words;
    if (fit == 0) {
        backward_in_walks(view, longest, true, stream_);
        return;
    }
    // All heads of some sequences, or some heads of one.
    const int64_t heads = std::min(fit, b.NKV), sequences = std::clamp(fit / b.NKV, int64_t{1}, b.count);
    BackwardView whole = view;
    whole.ds_blocks = ds_blocks;
    whole.k_rows = ceil_div(longest, bf16_backward_rows(2)) * bf16_backward_rows(2);
    with_width(b.HS, [&](auto width) {
        constexpr int kWidth = decltype(width)::value;
        whole.ds = reinterpret_cast<uint32_t*>(scratch(sequences * heads * words, 1));
        whole.k_rounded = reinterpret_cast<uint16_t*>(scratch(sequences * heads * whole.k_rows * kWidth / 2, 2));
        for (int64_t s = 0; s < b.count; s += sequences) {
            for (int64_t head = 0; head < b.NKV; head += heads) {
                const BackwardView part =
                    part_of(whole, s, std::min(sequences, b.count - s), head, std::min(heads, b.NKV - head));
                constexpr int kWide = kWidth <= kWideWidth ? 2 : 1;
                (wide ? launch_dkv_bf16<kWidth, kWide> : launch_dkv_bf16<kWidth, 1>)(part, longest, stream_);
                launch("attention_dq_product", attention_dq_product_kernel<kWidth>,
                       tile_grid(longest, kProductQueries, part.batch.count, part.heads, sizeof(DqProductShared<kWidth>)), stream_,
                       part);
            }
        }
    });
}

BackwardView CudaKernels::backward_view(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                                        const float* v, const float* out, const float* lse, Sequences seq, int64_t NH,
                                        int64_t NKV, int64_t HS) {
    const int64_t rows = seq.count * seq.max_length * NH; // at most: the host knows no more
    float* D = scratch(rows);
    launch("attention_delta", attention_delta_kernel, grid_of(rows * kWarpLanes, kAttentionThreads), stream_, D, dout, out,
           seq.start, seq.count, NH, HS);
    return {batch_of(seq, NH, NKV, HS, 1, kAnyRows), dq, dk, dv, dout, q, k, v, lse, D, NH, NKV, nullptr, 0, nullptr, 0};
}

void CudaKernels::attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                                     const float* v, const float* out, const float* lse, Sequences seq, int64_t NH, int64_t NKV,
                                     int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    BackwardView view = backward_view(dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS);
    if (!bf16_) {
        backward_in_walks(view, seq.max_length, false, stream_);
        return;
    }
    view.batch.most_rows = kFewRows;
    backward_in_walks(view, std::min(seq.max_length, kFewRows), false, stream_);
    if (seq.max_length > kFewRows) {
        view.batch.least_rows = kFewRows + 1;
        view.batch.most_rows = kAnyRows;
        // Wide tiles are half as many: only where they still fill the processor. The bits are the same.
        const bool wide = ceil_div(seq.max_length, bf16_backward_rows(2)) * seq.count * NKV >= kBlocksOfProcessor * processors_;
        backward_in_five(view, seq.max_length, wide, kDsBytes);
    }
}

} // namespace skintern
