// attention_cached.cu — attention of new rows over a key/value cache, for generation.
//
// Few new rows of a sequence (decoding): a key is read for 4 HS operations with each query, so attention is as fast as keys and
// values arrive from memory, and they should arrive once. A block takes the keys of one key/value head for all rows and query
// heads that read it. A lane has eight channels (16 bytes of a BF16 cache), so L = HS / 8 lanes a key and a warp 32 / L keys
// at once, and two or four times as many on their way; each group of lanes keeps its own largest score, sum and output, and
// these are put together at the end. Everything is F32: rounding would save nothing.
//
// Where there are fewer sequences and key/value heads than the processor has room for blocks, the keys of each are split
// (Flash-Decoding: Dao et al. 2023): each part leaves its largest score m, sum l and output o, and a second kernel adds the
// parts in order: with M = max m,  out = sum o exp(m - M) / sum l exp(m - M). The number of parts comes from what the host
// knows, and so does every grid, never from lengths in device memory: a recorded step stays right as sequences grow.
//
// Many new rows (a prompt): tiles, see attention_forward.cu.
//
// Cost: 2 NH HS multiply-adds a key, 2 NKV HS numbers read. Scratch: HS + 2 floats a part, row and query head.
#include <algorithm>

#include "attention.cuh"

namespace skintern {

constexpr int kDecodeWarps = kAttentionThreads / kWarpLanes;
constexpr int64_t kLeastKeysOfPart = 128; // of the capacity; fewer are not worth a second kernel
constexpr int64_t kBlocksOfProcessor = 4; // that are wanted

template <class T>
struct DecodeView {
    AttentionView<T> a;
    float* parts; // see attend_few_rows()
    int splits;
};

constexpr int kLaneNumbers = 8;

// The numbers of a lane as they lie in memory. They are widened where they are used: as floats they would fill the registers.
template <class T>
struct LanePiece {
    uint32_t words[kLaneNumbers * sizeof(T) / 4];

    // Numbers c .. c+7 of row r, or zeros.
    __device__ __forceinline__ void load(const MemoryRows<T>& m, int r, int c) {
        const bool inside = r < m.rows && c < m.HS;
        const T* at = m.data + static_cast<int64_t>(r) * m.stride + c;
#pragma unroll
        for (int w = 0; w < static_cast<int>(sizeof words / 4); w += 4) {
            uint4 four = make_uint4(0, 0, 0, 0);
            if (inside && m.aligned && c + w * 4 / static_cast<int>(sizeof(T)) < m.HS) {
                four = *reinterpret_cast<const uint4*>(at + w * 4 / sizeof(T));
            }
            words[w] = four.x;
            words[w + 1] = four.y;
            words[w + 2] = four.z;
            words[w + 3] = four.w;
        }
        if (inside && !m.aligned) {
#pragma unroll
            for (int e = 0; e < kLaneNumbers; e++) {
                put_number(e, c + e < m.HS ? at[e] : T{});
            }
        }
    }
    __device__ __forceinline__ float number(int e) const {
        if constexpr (sizeof(T) == 4) {
            return __uint_as_float(words[e]);
        } else {
            return __uint_as_float(e % 2 == 0 ? words[e / 2] << 16 : words[e / 2] & 0xffff0000u);
        }
    }

private:
    __device__ __forceinline__ void put_number(int e, T number) {
        if constexpr (sizeof(T) == 4) {
            words[e] = __float_as_uint(number);
        } else {
            words[e / 2] = e % 2 == 0 ? number : words[e / 2] | static_cast<uint32_t>(number) << 16;
        }
    }
};

// What is known of a query: o is this lane's part of the output.
template <int kNumbers>
struct Partial {
    float o[kNumbers], largest, sum;
};

// Adds what another has found; -infinity where nothing was.
template <int kNumbers>
__device__ __forceinline__ void add_partial(Partial<kNumbers>& to, const Partial<kNumbers>& other) {
    const float higher = Max()(to.largest, other.largest);
    if (higher == -INFINITY) {
        return;
    }
    const float mine = expf(to.largest - higher), its = expf(other.largest - higher);
    to.largest = higher;
    to.sum = to.sum * mine + other.sum * its;
#pragma unroll
    for (int c = 0; c < kNumbers; c++) {
        to.o[c] = to.o[c] * mine + other.o[c] * its;
    }
}

// The partials of all groups of lanes of a warp, in the first of them: group 0 with 1, 2 with 3, then 0 with 2 and so on.
template <int kLanes, int kNumbers>
__device__ __forceinline__ void add_groups(Partial<kNumbers>& p) {
#pragma unroll
    for (int lanes = kLanes; lanes < kWarpLanes; lanes *= 2) {
        Partial<kNumbers> other;
        other.largest = __shfl_down_sync(0xffffffffu, p.largest, lanes);
        other.sum = __shfl_down_sync(0xffffffffu, p.sum, lanes);
#pragma unroll
        for (int c = 0; c < kNumbers; c++) {
            other.o[c] = __shfl_down_sync(0xffffffffu, p.o[c], lanes);
        }
        add_partial(p, other);
    }
}

// One warp: what the warps of a block have found for row i of sequence s in query head h, in order; the next warp's is `apart`
// numbers further. To out, or where keys are split to the parts.
template <int kWidth, class T>
__device__ __forceinline__ void store_query(const DecodeView<T>& d, int s, int i, int h, int part, const float* found,
                                            int apart) {
    const Batch& b = d.a.batch;
    float* to = d.parts == nullptr
                    ? d.a.out + ((b.start[s] + i) * b.NH + h) * b.HS
                    : d.parts + (((static_cast<int64_t>(s) * kFewRows + i) * b.NH + h) * d.splits + part) * (b.HS + 2);
    for (int c = lane_of_warp(); c < b.HS; c += kWarpLanes) {
        Partial<1> all = {{0}, -INFINITY, 0};
        for (int w = 0; w < kDecodeWarps; w++) {
            const float* of_warp = found + w * apart;
            add_partial(all, Partial<1>{{of_warp[c]}, of_warp[kWidth], of_warp[kWidth + 1]});
        }
        to[c] = d.parts == nullptr ? all.o[0] / all.sum : all.o[0];
        if (d.parts != nullptr && c == 0) {
            to[b.HS] = all.largest;
            to[b.HS + 1] = all.sum;
        }
    }
}

template <int kWidth, int kQueries>
struct DecodeShared {
    float of_warp[kDecodeWarps][kQueries][kWidth + 2]; // o, m, l
};
static_assert(sizeof(DecodeShared<kMaxHeadSize, 8>) == 16640); // as promised

// Keys of a group of lanes that are on their way at once, and blocks of a processor: what the registers have room for.
__host__ __device__ constexpr int keys_ahead(int queries) {
    return queries <= 4 ? 4 : 2;
}
constexpr int decode_blocks(int queries) {
    return queries == 1 ? 4 : queries <= 4 ? 3 : 2;
}

// kTogether scores q.k, of keys that are `apart` from each other, the first of them j; of those that are not seen -infinity.
template <int kLanes, int kTogether, class T>
__device__ __forceinline__ void lane_scores(float (&score)[kTogether], const float (&q)[kLaneNumbers],
                                            const LanePiece<T> (&k)[kTogether], int j, int apart, int seen) {
#pragma unroll
    for (int u = 0; u < kTogether; u++) {
        score[u] = 0;
#pragma unroll
        for (int e = 0; e < kLaneNumbers; e++) {
            score[u] += q[e] * k[u].number(e);
        }
#pragma unroll
        for (int bits = kLanes / 2; bits > 0; bits /= 2) {
            score[u] += __shfl_xor_sync(0xffffffffu, score[u], bits);
        }
        score[u] = j + u * apart < seen ? score[u] : -INFINITY;
    }
}

// Adds kTogether keys with these scores: the maximum, the sum and the output shrink once for all of them.
template <int kTogether, class T>
__device__ __forceinline__ void add_keys(Partial<kLaneNumbers>& p, const float (&score)[kTogether],
                                         const LanePiece<T> (&v)[kTogether]) {
    float higher = p.largest;
#pragma unroll
    for (int u = 0; u < kTogether; u++) {
        higher = Max()(higher, score[u]);
    }
    if (higher == -INFINITY) { // nothing seen yet
        return;
    }
    const float shrink = expf(p.largest - higher);
    p.largest = higher;
    p.sum *= shrink;
#pragma unroll
    for (int e = 0; e < kLaneNumbers; e++) {
        p.o[e] *= shrink;
    }
#pragma unroll
    for (int u = 0; u < kTogether; u++) {
        const float p_u = expf(score[u] - higher);
        p.sum += p_u;
#pragma unroll
        for (int e = 0; e < kLaneNumbers; e++) {
            p.o[e] += p_u * v[u].number(e);
        }
    }
}

// resident: attention_decode_kernel 128 threads, 2 blocks, 16640 bytes shared
template <class T, int kWidth, int kQueries>
__global__ void __launch_bounds__(kAttentionThreads, decode_blocks(kQueries)) attention_decode_kernel(DecodeView<T> d) {
    constexpr int kAhead = keys_ahead(kQueries), kLanes = kWidth / kLaneNumbers, kGroups = kAttentionThreads / kLanes;
    auto& of_warp = shared_memory<DecodeShared<kWidth, kQueries>>().of_warp;
    const AttentionView<T>& a = d.a;
    const Batch& b = a.batch;
    const int part = blockIdx.x % d.splits, kv = blockIdx.x / d.splits % b.NKV, s = blockIdx.x / d.splits / b.NKV;
    const int64_t row = b.start[s];
    const int rows = static_cast<int>(min(b.start[s + 1] - row, b.most_rows + 1));
    if (rows == 0 || rows > b.most_rows) {
        return;
    }
    const int HS = static_cast<int>(b.HS), group = static_cast<int>(b.NH / b.NKV), keys = a.length[s];
    const int of_part = (keys + d.splits - 1) / d.splits, first = part * of_part, end = min(keys, first + of_part);
    const int64_t at = (a.slot[s] * a.capacity * b.NKV + kv) * b.HS;
    const MemoryRows<T> k = memory_rows(a.k + at, b.NKV * b.HS, end, b.HS), v = memory_rows(a.v + at, b.NKV * b.HS, end, b.HS);
    const int own_group = static_cast<int>(threadIdx.x) / kLanes, c = static_cast<int>(threadIdx.x) % kLanes * kLaneNumbers;

    // Query x is row x / group in query head kv * group + x % group.
    for (int x0 = 0; x0 < rows * group; x0 += kQueries) {
        float q[kQueries][kLaneNumbers];
        Partial<kLaneNumbers> p[kQueries];
        int seen[kQueries]; // keys that the query sees
#pragma unroll
        for (int x = 0; x < kQueries; x++) {
            const int i = min(x0 + x, rows * group - 1); // behind the last one, the last one again: it is not stored
            const float* q_i = a.q + ((row + i / group) * b.NH + kv * group + i % group) * b.HS;
            seen[x] = min(end, keys - rows + i / group + 1);
            p[x].largest = -INFINITY;
            p[x].sum = 0;
#pragma unroll
            for (int e = 0; e < kLaneNumbers; e++) {
                q[x][e] = c + e < HS ? q_i[c + e] * b.scale : 0.0f;
                p[x].o[e] = 0;
            }
        }
        for (int j = first + own_group; j - own_group < end; j += kGroups * kAhead) { // all lanes take every turn
            LanePiece<T> k_j[kAhead], v_j[kAhead];
#pragma unroll
            for (int u = 0; u < kAhead; u++) {
                k_j[u].load(k, j + u * kGroups, c);
            }
#pragma unroll
            for (int u = 0; u < kAhead; u++) {
                v_j[u].load(v, j + u * kGroups, c);
            }
#pragma unroll
            for (int x = 0; x < kQueries; x++) {
                float score[kAhead];
                lane_scores<kLanes>(score, q[x], k_j, j, kGroups, seen[x]);
                add_keys(p[x], score, v_j);
            }
        }
        __syncthreads(); // what the queries before left has been read
#pragma unroll
        for (int x = 0; x < kQueries; x++) {
            add_groups<kLanes>(p[x]);
            float* to = of_warp[warp_of_block()][x];
            if (lane_of_warp() < kLanes) {
#pragma unroll
                for (int e = 0; e < kLaneNumbers; e++) {
                    to[c + e] = p[x].o[e];
                }
            }
            if (lane_of_warp() == 0) { // every lane of a group has them
                to[kWidth] = p[x].largest;
                to[kWidth + 1] = p[x].sum;
            }
        }
        __syncthreads();
        for (int x = warp_of_block(); x < kQueries && x0 + x < rows * group; x += kDecodeWarps) { // a warp a query
            store_query<kWidth>(d, s, (x0 + x) / group, kv * group + (x0 + x) % group, part, &of_warp[0][x][0],
                                kQueries * (kWidth + 2));
        }
    }
}

// A warp a row and query head: the parts in order.
// resident: attention_combine_kernel 128 threads, 8 blocks, 0 bytes shared
__global__ void __launch_bounds__(kAttentionThreads, 8)
    attention_combine_kernel(float* out, const float* parts, Batch b, int splits, int longest) {
    const int64_t queries = b.count * longest * b.NH;
    for (int64_t i = grid_first() / kWarpLanes; i < queries; i += grid_stride() / kWarpLanes) {
        const int64_t s = i / b.NH / longest, r = i / b.NH % longest, h = i % b.NH;
        const int64_t rows = b.start[s + 1] - b.start[s];
        if (r >= rows || rows > b.most_rows) {
            continue;
        }
        const float* from = parts + ((s * kFewRows + r) * b.NH + h) * splits * (b.HS + 2);
        for (int64_t e = lane_of_warp(); e < b.HS; e += kWarpLanes) {
            Partial<1> all = {{0}, -INFINITY, 0};
            for (int part = 0; part < splits; part++) {
                const float* p = from + part * (b.HS + 2);
                add_partial(all, Partial<1>{{p[e]}, p[b.HS], p[b.HS + 1]});
            }
            out[((b.start[s] + r) * b.NH + h) * b.HS + e] = all.o[0] / all.sum;
        }
    }
}

// ---- the op -------------------------------------------------------------------------------------------------------------

template <class T>
void attend_few_rows(const AttentionView<T>& view, int64_t longest, int64_t splits, float* parts, cudaStream_t stream) {
    const DecodeView<T> d = {view, parts, static_cast<int>(splits)};
    const Batch& b = view.batch;
    const int64_t queries = longest * (b.NH / b.NKV); // at most, of one block
    const auto with_both = [&](auto width, auto together) {
        constexpr int kWidth = decltype(width)::value, kQueries = decltype(together)::value;
        const Grid grid = {dim3(static_cast<unsigned>(b.count * b.NKV * d.splits)), kAttentionThreads,
                           sizeof(DecodeShared<kWidth, kQueries>)};
        launch("attention_decode", attention_decode_kernel<T, kWidth, kQueries>, grid, stream, d);
    };
    const auto with_queries = [&](auto width) {
        if (queries == 1) {
            with_both(width, std::integral_constant<int, 1>());
        } else if (queries <= 4) {
            with_both(width, std::integral_constant<int, 4>());
        } else {
            with_both(width, std::integral_constant<int, 8>());
        }
    };
    CHECK(b.HS <= kMaxHeadSize, "--device cuda: heads of %lld channels; there are attention kernels for up to %d",
          static_cast<long long>(b.HS), kMaxHeadSize);
    if (b.HS <= 32) { // lanes come in powers of two
        with_queries(std::integral_constant<int, 32>());
    } else if (b.HS <= 64) {
        with_queries(std::integral_constant<int, 64>());
    } else {
        with_queries(std::integral_constant<int, 128>());
    }
    if (d.parts != nullptr) {
        launch("attention_combine", attention_combine_kernel, grid_of(b.count * longest * b.NH * kWarpLanes, kAttentionThreads),
               stream, d.a.out, d.parts, b, d.splits, static_cast<int>(longest));
    }
}
template void attend_few_rows(const AttentionView<float>&, int64_t, int64_t, float*, cudaStream_t);
template void attend_few_rows(const AttentionView<uint16_t>&, int64_t, int64_t, float*, cudaStream_t);

void CudaKernels::attention_cached(float* out, const float* q, Matrix k_cache, Matrix v_cache, const int32_t* slot,
                                   const int32_t* length, Sequences seq, int64_t capacity, int64_t NH, int64_t NKV,
                                   int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    const int64_t heads = seq.count * NKV, few = std::min(seq.max_length, kFewRows);
    const int64_t splits =
        std::clamp(ceil_div(kBlocksOfProcessor * processors_, heads), int64_t{1}, ceil_div(capacity, kLeastKeysOfPart));
    float* parts = splits == 1 ? nullptr : scratch(seq.count * kFewRows * NH * splits * (HS + 2));
    with_type(k_cache, [&](auto* k) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(k)>>;
        const auto view = [&](int64_t least_rows, int64_t most_rows) {
            return AttentionView<T>{batch_of(seq, NH, NKV, HS, least_rows, most_rows),
                                    out,
                                    nullptr,
                                    q,
                                    k,
                                    static_cast<const T*>(v_cache.data),
                                    slot,
                                    length,
                                    capacity};
        };
        attend_few_rows(view(1, kFewRows), few, splits, parts, stream_);
        if (seq.max_length > kFewRows) {
            attend_in_tiles(view(kFewRows + 1, kAnyRows), seq.max_length, bf16_, stream_);
        }
    });
}

} // namespace skintern
