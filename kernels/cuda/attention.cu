// attention.cu — causal attention over packed sequences, its backward, and attention over a key/value cache.
//
// Step 1: a warp a row and head, one key at a time, and a softmax that is rescaled as its maximum grows (Milakov &
// Gimelshein 2018). Lane l holds channels l, l + 32, ... of q and of the sum; head sizes go to 128.
#include "cuda.cuh"

namespace skintern {

constexpr int kMaxChannels = 8;      // of a lane: head sizes up to 256
constexpr int kAttentionThreads = 128; // four warps

// The sequence that row n belongs to.
__device__ __forceinline__ int64_t sequence_of(const int64_t* start, int64_t count, int64_t n) {
    int64_t low = 0, high = count; // start[low] <= n < start[high]
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (start[middle] <= n) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// out = softmax(q k^T / sqrt(HS)) v over `keys` keys, `stride` numbers apart; returns logsumexp of the scores. One warp.
template <class T>
__device__ __forceinline__ float attend(float* out, const float* q, const T* k, const T* v, int64_t keys, int64_t stride,
                                        int64_t HS, float scale) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    float q_c[kMaxChannels], sum_c[kMaxChannels];
    for (int i = 0; i < kMaxChannels; i++) {
        const int c = lane + i * kWarpLanes;
        q_c[i] = c < HS ? q[c] : 0.0f;
        sum_c[i] = 0;
    }
    float top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        float score = 0;
        for (int i = 0; i < kMaxChannels; i++) {
            const int c = lane + i * kWarpLanes;
            score += c < HS ? q_c[i] * get(k, j * stride + c) : 0.0f;
        }
        score = warp_reduce(score, Sum()) * scale;
        const float higher = Max()(top, score);
        const float shrink = expf(top - higher), p = expf(score - higher);
        top = higher;
        sum = sum * shrink + p;
        for (int i = 0; i < kMaxChannels; i++) {
            const int c = lane + i * kWarpLanes;
            sum_c[i] = sum_c[i] * shrink + (c < HS ? p * get(v, j * stride + c) : 0.0f);
        }
    }
    for (int i = 0; i < kMaxChannels; i++) {
        const int c = lane + i * kWarpLanes;
        if (c < HS) {
            out[c] = sum_c[i] / sum;
        }
    }
    return top + logf(sum);
}

__global__ void attention_forward_kernel(float* out, float* lse, const float* q, const float* k, const float* v,
                                         const int64_t* start, int64_t count, int64_t NH, int64_t NKV, int64_t HS,
                                         float scale) {
    const int64_t rows = start[count] * NH;
    for (int64_t i = grid_first() / kWarpLanes; i < rows; i += grid_stride() / kWarpLanes) {
        const int64_t n = i / NH, h = i % NH;
        const int64_t first = start[sequence_of(start, count, n)];
        const int64_t kv_at = (first * NKV + h / (NH / NKV)) * HS;
        const float lse_nh = attend(out + i * HS, q + i * HS, k + kv_at, v + kv_at, n - first + 1, NKV * HS, HS, scale);
        if (threadIdx.x % kWarpLanes == 0) {
            lse[i] = lse_nh;
        }
    }
}

void CudaKernels::attention_forward(float* out, float* lse, const float* q, const float* k, const float* v, Sequences seq,
                                    int64_t NH, int64_t NKV, int64_t HS) {
    CHECK(HS <= kMaxChannels * kWarpLanes, "--device cuda: heads of %lld channels; there are kernels for up to %d",
          static_cast<long long>(HS), kMaxChannels * kWarpLanes);
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    launch("attention_forward", attention_forward_kernel, grid_of(seq.count * seq.max_length * NH * kWarpLanes, kAttentionThreads),
           stream_, out, lse, q, k, v, seq.start, seq.count, NH, NKV, HS, 1.0f / std::sqrt(static_cast<float>(HS)));
}

// A warp a row and head. forward: p_ij = exp(q_i.k_j scale - lse_i); dscore_ij = p_ij (dout_i.v_j - dout_i.out_i)
//   dq_i = scale sum_j dscore_ij k_j
__global__ void attention_dq_kernel(float* dq, const float* dout, const float* q, const float* k, const float* v,
                                    const float* out, const float* lse, const int64_t* start, int64_t count, int64_t NH,
                                    int64_t NKV, int64_t HS, float scale) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int64_t rows = start[count] * NH;
    for (int64_t i = grid_first() / kWarpLanes; i < rows; i += grid_stride() / kWarpLanes) {
        const int64_t n = i / NH, h = i % NH, first = start[sequence_of(start, count, n)];
        float delta = 0, sum[kMaxChannels] = {};
        for (int64_t c = lane; c < HS; c += kWarpLanes) {
            delta += dout[i * HS + c] * out[i * HS + c];
        }
        delta = warp_reduce(delta, Sum());
        for (int64_t j = first; j <= n; j++) {
            const int64_t kv_at = (j * NKV + h / (NH / NKV)) * HS;
            float score = 0, dp = 0;
            for (int64_t c = lane; c < HS; c += kWarpLanes) {
                score += q[i * HS + c] * k[kv_at + c];
                dp += dout[i * HS + c] * v[kv_at + c];
            }
            const float p = expf(warp_reduce(score, Sum()) * scale - lse[i]);
            const float dscore = p * (warp_reduce(dp, Sum()) - delta) * scale;
            for (int x = 0; x < kMaxChannels; x++) {
                const int64_t c = lane + x * kWarpLanes;
                sum[x] += c < HS ? dscore * k[kv_at + c] : 0.0f;
            }
        }
        for (int x = 0; x < kMaxChannels; x++) {
            const int64_t c = lane + x * kWarpLanes;
            if (c < HS) {
                dq[i * HS + c] = sum[x];
            }
        }
    }
}

// A warp a key and key/value head: what it gives to all later rows of all query heads that read it, in order.
//   dv_j = sum_i p_ij dout_i      dk_j = scale sum_i dscore_ij q_i
__global__ void attention_dkv_kernel(float* dk, float* dv, const float* dout, const float* q, const float* k, const float* v,
                                     const float* out, const float* lse, const int64_t* start, int64_t count, int64_t NH,
                                     int64_t NKV, int64_t HS, float scale) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int64_t keys = start[count] * NKV, group = NH / NKV;
    for (int64_t j = grid_first() / kWarpLanes; j < keys; j += grid_stride() / kWarpLanes) {
        const int64_t key = j / NKV, end = start[sequence_of(start, count, key) + 1];
        float dk_sum[kMaxChannels] = {}, dv_sum[kMaxChannels] = {};
        for (int64_t n = key; n < end; n++) {
            for (int64_t h = j % NKV * group; h < (j % NKV + 1) * group; h++) {
                const int64_t i = n * NH + h;
                float score = 0, dp = 0, delta = 0;
                for (int64_t c = lane; c < HS; c += kWarpLanes) {
                    score += q[i * HS + c] * k[j * HS + c];
                    dp += dout[i * HS + c] * v[j * HS + c];
                    delta += dout[i * HS + c] * out[i * HS + c];
                }
                const float p = expf(warp_reduce(score, Sum()) * scale - lse[i]);
                const float dscore = p * (warp_reduce(dp, Sum()) - warp_reduce(delta, Sum())) * scale;
                for (int x = 0; x < kMaxChannels; x++) {
                    const int64_t c = lane + x * kWarpLanes;
                    dk_sum[x] += c < HS ? dscore * q[i * HS + c] : 0.0f;
                    dv_sum[x] += c < HS ? p * dout[i * HS + c] : 0.0f;
                }
            }
        }
        for (int x = 0; x < kMaxChannels; x++) {
            const int64_t c = lane + x * kWarpLanes;
            if (c < HS) {
                dk[j * HS + c] = dk_sum[x];
                dv[j * HS + c] = dv_sum[x];
            }
        }
    }
}

void CudaKernels::attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                                     const float* v, const float* out, const float* lse, Sequences seq, int64_t NH,
                                     int64_t NKV, int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    const float scale = 1.0f / std::sqrt(static_cast<float>(HS));
    const int64_t rows = seq.count * seq.max_length; // at least
    launch("attention_dq", attention_dq_kernel, grid_of(rows * NH * kWarpLanes, kAttentionThreads), stream_, dq, dout, q, k, v,
           out, lse, seq.start, seq.count, NH, NKV, HS, scale);
    launch("attention_dkv", attention_dkv_kernel, grid_of(rows * NKV * kWarpLanes, kAttentionThreads), stream_, dk, dv, dout,
           q, k, v, out, lse, seq.start, seq.count, NH, NKV, HS, scale);
}

// A warp a new row and head.
template <class T>
__global__ void attention_cached_kernel(float* out, const float* q, const T* k_cache, const T* v_cache, const int32_t* slot,
                                        const int32_t* length, const int64_t* start, int64_t count, int64_t capacity,
                                        int64_t NH, int64_t NKV, int64_t HS, float scale) {
    const int64_t rows = start[count] * NH;
    for (int64_t i = grid_first() / kWarpLanes; i < rows; i += grid_stride() / kWarpLanes) {
        const int64_t n = i / NH, h = i % NH, s = sequence_of(start, count, n);
        const int64_t keys = length[s] - (start[s + 1] - start[s]) + (n - start[s]) + 1;
        const int64_t at = (slot[s] * capacity * NKV + h / (NH / NKV)) * HS;
        attend(out + i * HS, q + i * HS, k_cache + at, v_cache + at, keys, NKV * HS, HS, scale);
    }
}

void CudaKernels::attention_cached(float* out, const float* q, Matrix k_cache, Matrix v_cache, const int32_t* slot,
                                   const int32_t* length, Sequences seq, int64_t capacity, int64_t NH, int64_t NKV,
                                   int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    with_type(k_cache, [&](auto* k) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(k)>>;
        launch("attention_cached", attention_cached_kernel<T>,
               grid_of(seq.count * seq.max_length * NH * kWarpLanes, kAttentionThreads), stream_, out, q, k,
               static_cast<const T*>(v_cache.data), slot, length, seq.start, seq.count, capacity, NH, NKV, HS,
               1.0f / std::sqrt(static_cast<float>(HS)));
    });
}

} // namespace skintern
