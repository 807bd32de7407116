// attention_backward.cu — the backward pass of causal attention in tiles.
//
// lse is known, so p is one exp away (Dao et al. 2022, algorithm 4). With D_i = dout_i.out_i and scale = 1 / sqrt(HS):
//   dv_j = sum_i p_ij dout_i          dp_ij = dout_i.v_j          ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j                                  dk_j = scale sum_i ds_ij q_i
//
// Three kernels, and no two blocks add to one number:
//   attention_delta     D of every row and head
//   attention_dkv       a block has a tile of keys and walks over the queries that see it, of all query heads that read it
//   attention_dq        a block has a tile of queries and walks over the keys that they see
// The last two both make p and dp, seven products in all. Five would do if each block of keys added its share of dq to memory;
// but those sums would come in any order (atomics), or wait for each other. Here every sum has one order.
//
// In attention_dkv the scores lie turned, a key to a row: s^T = k q^T and dp^T = v dout^T are left operands of dv += p^T dout
// and dk += ds^T q as they come, and no warp waits for another's.
//
// In BF16 q, k, v, dout, p and ds are rounded where they become operands of the tensor cores; the rest is F32.
//
// Cost: 7 NH HS T^2 multiply-adds of a sequence of T rows without the mask, half of it with. Scratch: D.
#include <algorithm>

#include "attention.cuh"

namespace skintern {

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
};

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
    int first, query, head, last_head;

    __device__ __forceinline__ QueryWalk(const Batch& b, const RowTile& keys) {
        const int group = static_cast<int>(b.NH / b.NKV);
        first = query = keys.from / kQueries * kQueries;
        head = keys.head * group;
        last_head = head + group - 1;
    }
    __device__ __forceinline__ void advance(int sequence) {
        query += kQueries;
        if (query >= sequence && head < last_head) {
            query = first;
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

// p and ds of a query and key from s = q.k and dp = dout.v. The first query sees one key: its p is 1 whatever the score, and
// sends no gradient through it.
__device__ __forceinline__ void f32_probability(float& p, float& ds, float s, float dp, float scale, float lse, float D,
                                                int query, int key) {
    p = key <= query ? expf(s * scale - lse) : 0.0f;
    ds = query == 0 ? 0.0f : p * (dp - D);
}

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
        next.advance(t.sequence);
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

constexpr int kBf16BackwardRows = 64; // a warp has 16 of them
__host__ __device__ constexpr int bf16_backward_step(int width) {
    return width <= 64 ? 64 : 32;
}

template <int kWidth>
struct BackwardBf16Shared {
    uint16_t mine[2][kBf16BackwardRows * kWidth];               // k and v, or q and dout: of the block
    uint16_t theirs[2][2][bf16_backward_step(kWidth) * kWidth]; // the others: of this step and the next, by turns
    float lse[2][kBf16BackwardRows];
    float D[2][kBf16BackwardRows];
};

static_assert(sizeof(BackwardBf16Shared<kMaxHeadSize>) == 66560); // as promised

// p = exp(s scale - lse), and ds = p (dp - D) in place of dp.
__device__ __forceinline__ void bf16_probability(float& p, float& ds, float s, float dp, float scale, float lse, float D,
                                                 bool seen) {
    p = seen ? exp2_approx((s * scale - lse) * kLog2e) : 0.0f;
    ds = p * (dp - D);
}

// resident: attention_dkv_bf16_kernel 128 threads, 2 blocks, 66560 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dkv_bf16_kernel(BackwardView a) {
    constexpr int kRows = kBf16BackwardRows, kStep = bf16_backward_step(kWidth), kN = kStep / 8;
    BackwardBf16Shared<kWidth>& shared = shared_memory<BackwardBf16Shared<kWidth>>();
    const Batch& b = a.batch;
    RowTile t; // of keys
    if (!take_tile<kRows>(t, b, b.NKV, false)) {
        return;
    }
    QueryWalk<kStep> next(b, t);
    const int warp_row = warp_of_block() * 16, g = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
    load_now<kRows, kWidth>(shared.mine[0], rows_of_head(a.k, b, t, t.from, b.NKV, t.head));
    load_now<kRows, kWidth>(shared.mine[1], rows_of_head(a.v, b, t, t.from, b.NKV, t.head));
    load_now<kStep, kWidth>(shared.theirs[0][0], next.rows(a.q, b, t));
    load_now<kStep, kWidth>(shared.theirs[0][1], next.rows(a.dout, b, t));
    load_row_numbers<kStep>(shared.lse[0], shared.D[0], a, t, next.query, next.head);
    __syncthreads();

    float dk[1][kWidth / 8][4] = {}, dv[1][kWidth / 8][4] = {};
    for (int now = 0; next.query < t.sequence; now = 1 - now) {
        const int query = next.query, then = 1 - now;
        next.advance(t.sequence);
        // Whether a query of this step sees a key of this warp.
        const bool seen = warp_row < t.rows && query + kStep > t.from + warp_row;
        Bf16Load<float, kStep, kWidth> load;
        load.start(shared.theirs[then][0], next.rows(a.q, b, t));
        uint32_t p[1][kN / 2][4], ds[1][kN / 2][4];
        if (seen) {
            float s[1][kN][4] = {}, dp[1][kN][4] = {};
            mma_rows_by_rows<kWidth>(s, shared.mine[0], warp_row, shared.theirs[now][0]);
            mma_rows_by_rows<kWidth>(dp, shared.mine[1], warp_row, shared.theirs[now][1]);
#pragma unroll
            for (int n = 0; n < kN; n++) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    const int c = 8 * n + column + r % 2, key = t.from + warp_row + g + r / 2 * 8;
                    bf16_probability(s[0][n][r], dp[0][n][r], s[0][n][r], dp[0][n][r], b.scale, shared.lse[now][c],
                                     shared.D[now][c], key <= query + c);
                }
            }
            to_operand<1, kN>(p, s);
            to_operand<1, kN>(ds, dp);
        }
        load.finish(shared.theirs[then][0], next.rows(a.q, b, t));
        load.start(shared.theirs[then][1], next.rows(a.dout, b, t));
        load_row_numbers<kStep>(shared.lse[then], shared.D[then], a, t, next.query, next.head);
        if (seen) {
            mma_by_columns<kWidth>(dv, p, shared.theirs[now][1]);
            mma_by_columns<kWidth>(dk, ds, shared.theirs[now][0]);
        }
        load.finish(shared.theirs[then][1], next.rows(a.dout, b, t));
        __syncthreads();
    }
    const int64_t at = ((t.row + warp_row) * b.NKV + t.head) * b.HS;
    const float scale[1][2] = {{b.scale, b.scale}}, one[1][2] = {{1.0f, 1.0f}};
    mma_store<kWidth>(a.dk + at, dk, scale, b.NKV * b.HS, t.rows - warp_row, b.HS);
    mma_store<kWidth>(a.dv + at, dv, one, b.NKV * b.HS, t.rows - warp_row, b.HS);
}

// resident: attention_dq_bf16_kernel 128 threads, 2 blocks, 66560 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_dq_bf16_kernel(BackwardView a) {
    constexpr int kRows = kBf16BackwardRows, kStep = bf16_backward_step(kWidth), kN = kStep / 8;
    BackwardBf16Shared<kWidth>& shared = shared_memory<BackwardBf16Shared<kWidth>>();
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
                                     key <= row);
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

// ---- the op -------------------------------------------------------------------------------------------------------------

// The sequences of least .. most rows, the longest of `longest` rows.
static void backward_in_tiles(const BackwardView& view, int64_t longest, bool bf16, cudaStream_t stream) {
    const Batch& b = view.batch;
    with_width(b.HS, [&](auto width) {
        constexpr int kWidth = decltype(width)::value;
        if (bf16) {
            const size_t shared = sizeof(BackwardBf16Shared<kWidth>);
            launch("attention_dkv_bf16", attention_dkv_bf16_kernel<kWidth>,
                   tile_grid(longest, kBf16BackwardRows, b.count, b.NKV, shared), stream, view);
            launch("attention_dq_bf16", attention_dq_bf16_kernel<kWidth>,
                   tile_grid(longest, kBf16BackwardRows, b.count, b.NH, shared), stream, view);
        } else {
            const size_t shared = sizeof(BackwardF32Shared<kWidth>);
            launch("attention_dkv_f32", attention_dkv_f32_kernel<kWidth>,
                   tile_grid(longest, kF32BackwardRows, b.count, b.NKV, shared), stream, view);
            launch("attention_dq_f32", attention_dq_f32_kernel<kWidth>,
                   tile_grid(longest, kF32BackwardRows, b.count, b.NH, shared), stream, view);
        }
    });
}

void CudaKernels::attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                                     const float* v, const float* out, const float* lse, Sequences seq, int64_t NH, int64_t NKV,
                                     int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    const int64_t rows = seq.count * seq.max_length * NH; // at most: the host knows no more
    float* D = scratch(rows);
    launch("attention_delta", attention_delta_kernel, grid_of(rows * kWarpLanes, kAttentionThreads), stream_, D, dout, out,
           seq.start, seq.count, NH, HS);
    const auto view = [&](int64_t least_rows, int64_t most_rows) {
        return BackwardView{batch_of(seq, NH, NKV, HS, least_rows, most_rows), dq, dk, dv, dout, q, k, v, lse, D};
    };
    backward_in_tiles(view(1, bf16_ ? kFewRows : kAnyRows), bf16_ ? std::min(seq.max_length, kFewRows) : seq.max_length, false,
                      stream_);
    if (bf16_ && seq.max_length > kFewRows) {
        backward_in_tiles(view(kFewRows + 1, kAnyRows), seq.max_length, true, stream_);
    }
}

} // namespace skintern
