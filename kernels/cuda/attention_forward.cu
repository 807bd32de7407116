// attention_forward.cu — causal attention over packed sequences, and of many new rows over a key/value cache, in tiles.
//
// A block takes a tile of queries of one head and walks over the tiles of keys that they see (Dao 2023, algorithm 1: queries
// outside, keys inside, so that nobody shares a sum). For each query it keeps the largest score so far, the sum l of
// exp(s - largest) and the output o so far; a tile that raises the maximum shrinks l and o once (Milakov & Gimelshein 2018).
// At the end out = o / l and lse = largest + log l. Tiles behind the diagonal are never read, and only those that the
// diagonal crosses are masked.
//
// A tile of keys takes turns with one of values: while q k^T is multiplied the values are on their way, and during o += p v
// the next keys.
//
// In F32 the scores of a thread are 8 x 2 and its outputs 8 x HS/16, from tiles in shared memory. In BF16 q, k, v and p are
// rounded where they become operands of the tensor cores; scores, softmax, l and o are F32, and l sums what p was before.
//
// Cost: 2 NH HS T^2 multiply-adds of a sequence of T rows without the mask, half of it with; every tile of queries reads the
// keys and values it sees once. Nothing of size T^2 exists.
#include <algorithm>

#include "attention.cuh"

namespace skintern {

// The keys of a tile of queries: where key 0 lies, the position of the tile's first query (it sees keys 0 .. first), and how
// many keys the last one sees.
template <class T>
struct KeysOfTile {
    int64_t at;
    int first, end;

    __device__ __forceinline__ KeysOfTile(const AttentionView<T>& a, const RowTile& t) {
        const Batch& b = a.batch;
        const int64_t row = a.slot != nullptr ? a.slot[t.s] * a.capacity : b.start[t.s];
        at = (row * b.NKV + t.head / (b.NH / b.NKV)) * b.HS;
        first = (a.length != nullptr ? a.length[t.s] - t.sequence : 0) + t.from;
        end = first + t.rows;
    }
    // Keys j .. of k or v, as far as they are seen.
    __device__ __forceinline__ MemoryRows<T> rows(const T* matrix, int j, const Batch& b) const {
        return memory_rows(matrix + at + j * (b.NKV * b.HS), b.NKV * b.HS, end - j, b.HS);
    }
};

// ---- F32 ----------------------------------------------------------------------------------------------------------------

constexpr int kF32Queries = 64, kF32Keys = 32;

template <int kWidth>
struct ForwardF32Shared {
    float q[kF32Queries * f32_stride(kWidth)];
    float k[kF32Keys * f32_stride(kWidth)];
    float v[kF32Keys * f32_stride(kWidth)];
    float p[kF32Queries * f32_stride(kF32Keys)];
};

static_assert(sizeof(ForwardF32Shared<kMaxHeadSize>) == 76800); // as promised

// resident: attention_forward_f32_kernel 128 threads, 2 blocks, 76800 bytes shared
template <class T, int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_forward_f32_kernel(AttentionView<T> a) {
    constexpr int kM = kF32Queries / kThreadRows, kN = kF32Keys / kThreadColumns;
    ForwardF32Shared<kWidth>& shared = shared_memory<ForwardF32Shared<kWidth>>();
    RowTile t;
    if (!take_tile<kF32Queries>(t, a.batch, a.batch.NH, true)) {
        return;
    }
    const int64_t HS = a.batch.HS, q_at = (t.row * a.batch.NH + t.head) * HS, q_stride = a.batch.NH * HS;
    const KeysOfTile<T> keys(a, t);
    F32Load<float, kF32Queries, kWidth> q_load;
    q_load.start(memory_rows(a.q + q_at, q_stride, t.rows, HS));
    F32Load<T, kF32Keys, kWidth> k_load, v_load;
    k_load.start(keys.rows(a.k, 0, a.batch));
    q_load.finish(shared.q);
    k_load.finish(shared.k);
    __syncthreads();

    float o[kM][kWidth / kThreadColumns] = {}, largest[kM], l[kM] = {}; // l: of this thread's columns
#pragma unroll
    for (float& x : largest) {
        x = -INFINITY;
    }
    for (int j = 0; j < keys.end; j += kF32Keys) {
        v_load.start(keys.rows(a.v, j, a.batch));
        float s[kM][kN] = {};
        f32_rows_by_rows<kWidth>(s, shared.q, shared.k);
        v_load.finish(shared.v);
        __syncthreads(); // the values are there, the keys have been read
        k_load.start(keys.rows(a.k, j + kF32Keys, a.batch));
        const bool masked = j + kF32Keys - 1 > keys.first; // the first query does not see the last key
#pragma unroll
        for (int i = 0; i < kM; i++) {
            const int r = thread_row() + i * kThreadRows;
            float higher = largest[i];
#pragma unroll
            for (int n = 0; n < kN; n++) {
                const bool seen = !masked || j + thread_column() + n * kThreadColumns <= keys.first + r;
                s[i][n] = seen ? s[i][n] * a.batch.scale : -INFINITY;
                higher = Max()(higher, s[i][n]);
            }
            higher = row_reduce(higher, Max());
            const float shrink = expf(largest[i] - higher); // every query sees key 0: `higher` is a number
            largest[i] = higher;
            l[i] *= shrink;
#pragma unroll
            for (float& x : o[i]) {
                x *= shrink;
            }
#pragma unroll
            for (int n = 0; n < kN; n++) {
                const float p = expf(s[i][n] - higher);
                l[i] += p;
                shared.p[r * f32_stride(kF32Keys) + thread_column() + n * kThreadColumns] = p;
            }
        }
        __syncwarp(); // a row of p is written and read by one half of a warp
        f32_by_columns<kWidth, kF32Keys>(o, shared.p, shared.v);
        k_load.finish(shared.k);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kM; i++) {
        l[i] = row_reduce(l[i], Sum());
        const int r = thread_row() + i * kThreadRows;
#pragma unroll
        for (float& x : o[i]) {
            x /= l[i];
        }
        if (a.lse != nullptr && r < t.rows && thread_column() == 0) {
            a.lse[(t.row + r) * a.batch.NH + t.head] = largest[i] + logf(l[i]);
        }
    }
    f32_store<kWidth>(a.out + q_at, o, q_stride, t.rows, HS, 1.0f);
}

// ---- BF16 ---------------------------------------------------------------------------------------------------------------

// A warp has 32 queries: a fragment of keys or values that it loads serves two products.
constexpr int kBf16Tiles = 2;
constexpr int kBf16Queries = 4 * 16 * kBf16Tiles;
__host__ __device__ constexpr int bf16_keys(int width) {
    return width <= 64 ? 64 : 32;
} // so that o and s fit the registers

template <int kWidth>
struct ForwardBf16Shared {
    uint16_t q[kBf16Queries * kWidth];
    uint16_t k[bf16_keys(kWidth) * kWidth];
    uint16_t v[bf16_keys(kWidth) * kWidth];
};

static_assert(sizeof(ForwardBf16Shared<kMaxHeadSize>) == 49152);

// resident: attention_forward_bf16_kernel 128 threads, 2 blocks, 49152 bytes shared
template <class T, int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_forward_bf16_kernel(AttentionView<T> a) {
    constexpr int kKeys = bf16_keys(kWidth), kM = kBf16Tiles, kN = kKeys / 8;
    ForwardBf16Shared<kWidth>& shared = shared_memory<ForwardBf16Shared<kWidth>>();
    RowTile t;
    if (!take_tile<kBf16Queries>(t, a.batch, a.batch.NH, true)) {
        return;
    }
    const int64_t HS = a.batch.HS, q_at = (t.row * a.batch.NH + t.head) * HS, q_stride = a.batch.NH * HS;
    const KeysOfTile<T> keys(a, t);
    const int warp_row = warp_of_block() * 16 * kM, g = lane_of_warp() / 4, column = lane_of_warp() % 4 * 2;
    Bf16Load<T, kKeys, kWidth> k_load, v_load;
    k_load.start(shared.k, keys.rows(a.k, 0, a.batch));
    {
        Bf16Load<float, kBf16Queries, kWidth> q_load;
        const MemoryRows<float> q = memory_rows(a.q + q_at, q_stride, t.rows, HS);
        q_load.start(shared.q, q);
        q_load.finish(shared.q, q);
    }
    k_load.finish(shared.k, keys.rows(a.k, 0, a.batch));
    __syncthreads();

    float o[kM][kWidth / 8][4] = {}, largest[kM][2], l[kM][2] = {}; // l: of this thread's columns
#pragma unroll
    for (int m = 0; m < kM; m++) {
        largest[m][0] = largest[m][1] = -INFINITY;
    }
    for (int j = 0; j < keys.end; j += kKeys) {
        // Whether any query of this warp sees any of these keys.
        const bool seen = warp_row < t.rows && j < keys.first + warp_row + 16 * kM;
        v_load.start(shared.v, keys.rows(a.v, j, a.batch));
        float s[kM][kN][4] = {};
        if (seen) {
            mma_rows_by_rows<kWidth>(s, shared.q, warp_row, shared.k);
        }
        v_load.finish(shared.v, keys.rows(a.v, j, a.batch));
        __syncthreads(); // the values are there, the keys have been read
        uint32_t p[kM][kN / 2][4];
        if (seen) {
            const int unseen =
                keys.first + warp_row + 1 - j; // the first key of the tile that the warp's first query does not see
            online_softmax<kWidth>(s, o, largest, l, a.batch.scale * kLog2e, unseen);
            to_operand<kM, kN>(p, s);
        }
        k_load.start(shared.k, keys.rows(a.k, j + kKeys, a.batch));
        if (seen) {
            mma_by_columns<kWidth>(o, p, shared.v);
        }
        k_load.finish(shared.k, keys.rows(a.k, j + kKeys, a.batch));
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < kM; m++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            l[m][i] += __shfl_xor_sync(0xffffffffu, l[m][i], 1);
            l[m][i] += __shfl_xor_sync(0xffffffffu, l[m][i], 2);
            const int r = warp_row + 16 * m + g + 8 * i;
            if (a.lse != nullptr && r < t.rows && column == 0) {
                a.lse[(t.row + r) * a.batch.NH + t.head] = largest[m][i] * a.batch.scale + logf(l[m][i]);
            }
            l[m][i] = 1.0f / l[m][i];
        }
    }
    mma_store<kWidth>(a.out + q_at + warp_row * q_stride, o, l, q_stride, t.rows - warp_row, HS);
}

// ---- the ops ------------------------------------------------------------------------------------------------------------

template <class T>
void attend_in_tiles(const AttentionView<T>& view, int64_t longest, bool bf16, cudaStream_t stream) {
    const Batch& b = view.batch;
    with_width(b.HS, [&](auto width) {
        constexpr int kWidth = decltype(width)::value;
        if (bf16) {
            launch("attention_forward_bf16", attention_forward_bf16_kernel<T, kWidth>,
                   tile_grid(longest, kBf16Queries, b.count, b.NH, sizeof(ForwardBf16Shared<kWidth>)), stream, view);
        } else {
            launch("attention_forward_f32", attention_forward_f32_kernel<T, kWidth>,
                   tile_grid(longest, kF32Queries, b.count, b.NH, sizeof(ForwardF32Shared<kWidth>)), stream, view);
        }
    });
}

template void attend_in_tiles(const AttentionView<float>& view, int64_t longest, bool bf16, cudaStream_t stream);
template void attend_in_tiles(const AttentionView<uint16_t>& view, int64_t longest, bool bf16, cudaStream_t stream);

void CudaKernels::attention_forward(float* out, float* lse, const float* q, const float* k, const float* v, Sequences seq,
                                    int64_t NH, int64_t NKV, int64_t HS) {
    const auto view = [&](int64_t least_rows, int64_t most_rows) {
        return AttentionView<float>{batch_of(seq, NH, NKV, HS, least_rows, most_rows), out, lse, q, k, v, nullptr, nullptr, 0};
    };
    attend_in_tiles(view(1, bf16_ ? kFewRows : kAnyRows), bf16_ ? std::min(seq.max_length, kFewRows) : seq.max_length, false,
                    stream_);
    if (bf16_ && seq.max_length > kFewRows) {
        attend_in_tiles(view(kFewRows + 1, kAnyRows), seq.max_length, true, stream_);
    }
}

} // namespace skintern
