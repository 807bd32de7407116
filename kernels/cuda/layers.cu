// layers.cu — every op that is neither a product nor attention. All of them move memory more than they compute: what is to
// be reached is the memory's bandwidth, so neighbouring threads touch neighbouring numbers, sixteen bytes at a time where
// addresses and sizes allow it, and what is read twice is read from the caches. With 2048 threads of a multiprocessor that
// have 16 bytes under way each, 32 KiB are: the 1.6 to 4.8 TB/s of an A100 to an H200 times 0.7 microseconds, spread over
// 108 or 132 multiprocessors, ask for 10 to 25 KiB.
//
// Row-wise ops give a block to a row. Sums are taken in a fixed order (warp_reduce, block_reduce): the same bits every time.
#include <algorithm>

#include "cuda.cuh"
#include "dequantize.h"

namespace skintern {

constexpr int kRowThreads = 256; // of a block that works on one row, at most

// Blocks of a grid that has one a row.
static dim3 blocks_of(int64_t rows) { return dim3(static_cast<unsigned>(rows)); }

// As many whole warps as a row has work for: the heads of qk_norm are rows of 64 numbers, 16 loads.
static int threads_of(int64_t items) {
    return static_cast<int>(std::min<int64_t>(kRowThreads, std::max<int64_t>(1, ceil_div(items, kWarpLanes)) * kWarpLanes));
}

// ---- bias ------------------------------------------------------------------------------------------------------------

// resident: bias_forward_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void bias_forward_kernel(float* out, const float* bias, int64_t C) {
    const int64_t n = blockIdx.x;
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        out[n * C + c] += bias[c];
    }
}

void CudaKernels::bias_forward(float* out, const float* bias, int64_t N, int64_t C) {
    launch("bias_forward", bias_forward_kernel, {blocks_of(N), threads_of(C)}, stream_, out, bias, C);
}

// sums[c] += sum_n of `term(n, c)`. A block takes 32 neighbouring columns; its eight warps every eighth row each, and then
// they are added in order.
constexpr int kColumnWarps = 8;

template <class Term>
__device__ __forceinline__ void add_column_sums(float* sums, int64_t N, int64_t C, const Term& term) {
    __shared__ double partial[kColumnWarps][kWarpLanes];
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes, warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    const int64_t c = static_cast<int64_t>(blockIdx.x) * kWarpLanes + lane;
    double sum = 0;
    if (c < C) {
        for (int64_t n = warp; n < N; n += kColumnWarps) {
            sum += term(n, c);
        }
    }
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && c < C) {
        for (int w = 1; w < kColumnWarps; w++) {
            sum += partial[w][lane];
        }
        sums[c] = static_cast<float>(static_cast<double>(sums[c]) + sum);
    }
}

static Grid columns_of(int64_t C) { return {blocks_of(ceil_div(C, kWarpLanes)), kColumnWarps * kWarpLanes}; }

// forward: out[n,c] += bias[c]
// resident: bias_backward_kernel 256 threads, 8 blocks, 2048 bytes shared
__global__ void bias_backward_kernel(float* dbias, const float* dout, int64_t N, int64_t C) {
    add_column_sums(dbias, N, C, [&](int64_t n, int64_t c) { return static_cast<double>(dout[n * C + c]); });
}

void CudaKernels::bias_backward(float* dbias, const float* dout, int64_t N, int64_t C) {
    if (N > 0) {
        launch("bias_backward", bias_backward_kernel, columns_of(C), stream_, dbias, dout, N, C);
    }
}

// ---- moving rows -------------------------------------------------------------------------------------------------------

// resident: gather_rows_kernel 256 threads, 8 blocks, 0 bytes shared
template <class T>
__global__ void gather_rows_kernel(float* out, const T* table, const int32_t* rows, int64_t C) {
    const int64_t m = blockIdx.x, row = rows[m];
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        out[m * C + c] = get(table, row * C + c);
    }
}

// resident: gather_f16_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void gather_f16_kernel(float* out, const uint16_t* table, const int32_t* rows, int64_t C) {
    const int64_t m = blockIdx.x, row = rows[m];
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        out[m * C + c] = f16_to_float(table[row * C + c]);
    }
}

// A thread decodes a part of 32 numbers. `parts` of a block, `block_bytes` as the type has them.
// resident: gather_quantised_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void gather_quantised_kernel(float* out, WeightType type, const uint8_t* table, const int32_t* rows, int64_t C,
                                        int64_t parts, int64_t block_bytes) {
    const int64_t row_parts = C / kDecodedPart, m = blockIdx.x;
    const uint8_t* row = table + rows[m] * (row_parts / parts * block_bytes);
    for (int64_t part = threadIdx.x; part < row_parts; part += blockDim.x) {
        float numbers[kDecodedPart];
        decode_part_of_block(numbers, type, row + part / parts * block_bytes, part % parts);
        for (int64_t c = 0; c < kDecodedPart; c++) {
            out[m * C + part * kDecodedPart + c] = numbers[c];
        }
    }
}

void CudaKernels::gather_rows(float* out, Matrix table, const int32_t* rows, int64_t M, int64_t C) {
    const Grid grid = {blocks_of(M), threads_of(C)};
    if (table.type == WeightType::f32 || table.type == WeightType::bf16) {
        with_type(table, [&](auto* numbers) {
            using T = std::remove_const_t<std::remove_pointer_t<decltype(numbers)>>;
            launch("gather_rows", gather_rows_kernel<T>, grid, stream_, out, numbers, rows, C);
        });
    } else if (table.type == WeightType::f16) {
        launch("gather_rows", gather_f16_kernel, grid, stream_, out, static_cast<const uint16_t*>(table.data), rows, C);
    } else {
        const WeightFormat& format = weight_format(table.type);
        launch("gather_rows", gather_quantised_kernel, {blocks_of(M), threads_of(C / kDecodedPart)}, stream_, out, table.type,
               static_cast<const uint8_t*>(table.data), rows, C, format.elements / kDecodedPart, format.bytes);
    }
}

// resident: scatter_rows_kernel 256 threads, 8 blocks, 0 bytes shared
template <class T>
__global__ void scatter_rows_kernel(T* table, const float* inp, const int32_t* rows, int64_t C) {
    const int64_t m = blockIdx.x, row = rows[m];
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        put(table, row * C + c, inp[m * C + c]);
    }
}

void CudaKernels::scatter_rows(void* table, WeightType type, const float* inp, const int32_t* rows, int64_t M, int64_t C) {
    with_type(MatrixOut(table, type), [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        launch("scatter_rows", scatter_rows_kernel<T>, {blocks_of(M), threads_of(C)}, stream_, numbers, inp, rows, C);
    });
}

// A block for each m, which does nothing when its row came before, and else adds all that name the row, in order: no
// atomics, so the same bits every time. Costs a look at M rows each, nothing beside the M x C numbers.
// resident: scatter_add_rows_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void scatter_add_rows_kernel(float* table, const float* inp, const int32_t* rows, int64_t M, int64_t C) {
    const int64_t m = blockIdx.x;
    const int32_t row = rows[m];
    int came_before = 0;
    for (int64_t i = threadIdx.x; i < m; i += blockDim.x) {
        came_before |= rows[i] == row;
    }
    if (__syncthreads_or(came_before)) {
        return;
    }
    for (int64_t i = m; i < M; i++) {
        if (rows[i] == row) {
            for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
                table[row * C + c] += inp[i * C + c];
            }
        }
    }
}

void CudaKernels::scatter_add_rows(float* table, const float* inp, const int32_t* rows, int64_t M, int64_t C) {
    launch("scatter_add_rows", scatter_add_rows_kernel, {blocks_of(M), threads_of(C)}, stream_, table, inp, rows, M, C);
}

// ---- normalisation, rotation, activation -------------------------------------------------------------------------------

// The row is read twice, the second time from the nearest cache: 8 blocks of 16 KiB are less than what an A100 has there.
// resident: rmsnorm_forward_kernel 256 threads, 6 blocks, 128 bytes shared
template <int kWidth, class T>
__global__ void __launch_bounds__(kRowThreads, 6)
    rmsnorm_forward_kernel(T* out, float* rstd, const float* inp, const float* weight, int64_t C, float eps) {
    __shared__ float partial[kWarpLanes];
    const int64_t n = blockIdx.x, step = blockDim.x * kWidth;
    const float* inp_n = inp + n * C;
    float sum = 0;
    for (int64_t c = threadIdx.x * kWidth; c < C; c += step) {
        const Numbers<kWidth> x = load<kWidth>(inp_n, c);
        for (int i = 0; i < kWidth; i++) {
            sum += x.v[i] * x.v[i];
        }
    }
    sum = block_reduce(sum, Sum(), partial);
    const float rstd_n = 1.0f / sqrtf(sum / static_cast<float>(C) + eps);
    if (threadIdx.x == 0) {
        rstd[n] = rstd_n;
    }
    for (int64_t c = threadIdx.x * kWidth; c < C; c += step) {
        Numbers<kWidth> x = load<kWidth>(inp_n, c);
        const Numbers<kWidth> w = load<kWidth>(weight, c);
        for (int i = 0; i < kWidth; i++) {
            x.v[i] = w.v[i] * (x.v[i] * rstd_n);
        }
        store(out, n * C + c, x);
    }
}

void CudaKernels::rmsnorm_forward(MatrixOut out, float* rstd, const float* inp, const float* weight, int64_t N, int64_t C,
                                  float eps) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        with_width(
            C,
            [&](auto width) {
                launch("rmsnorm_forward", rmsnorm_forward_kernel<width.value, T>, {blocks_of(N), threads_of(C / width.value)},
                       stream_, numbers, rstd, inp, weight, C, eps);
            },
            numbers, inp, weight);
    });
}

// forward: out[n,c] = weight[c] * norm[n,c], norm[n,c] = inp[n,c] * rstd[n]
// rstd depends on every channel: dinp = rstd (dnorm - norm * mean_c(dnorm * norm)), dnorm = weight * dout
// resident: rmsnorm_backward_kernel 256 threads, 5 blocks, 128 bytes shared
template <int kWidth, class T>
__global__ void __launch_bounds__(kRowThreads, 5)
    rmsnorm_backward_kernel(float* dinp, T* out, const float* dout, const float* inp, const float* weight, const float* rstd,
                            int64_t C) {
    __shared__ float partial[kWarpLanes];
    const int64_t n = blockIdx.x, step = blockDim.x * kWidth;
    const float rstd_n = rstd[n];
    float sum = 0;
    for (int64_t c = threadIdx.x * kWidth; c < C; c += step) {
        const Numbers<kWidth> x = load<kWidth>(inp, n * C + c), d = load<kWidth>(dout, n * C + c), w = load<kWidth>(weight, c);
        for (int i = 0; i < kWidth; i++) {
            sum += w.v[i] * d.v[i] * (x.v[i] * rstd_n);
        }
    }
    const float mean = block_reduce(sum, Sum(), partial) / static_cast<float>(C);
    for (int64_t c = threadIdx.x * kWidth; c < C; c += step) {
        const Numbers<kWidth> x = load<kWidth>(inp, n * C + c), d = load<kWidth>(dout, n * C + c), w = load<kWidth>(weight, c);
        Numbers<kWidth> dx = load<kWidth>(dinp, n * C + c), again;
        for (int i = 0; i < kWidth; i++) {
            const float norm = x.v[i] * rstd_n;
            dx.v[i] += rstd_n * (w.v[i] * d.v[i] - norm * mean);
            again.v[i] = w.v[i] * norm;
        }
        store(dinp, n * C + c, dx);
        if (out != nullptr) {
            store(out, n * C + c, again);
        }
    }
}

// dweight[c] += sum_n dout[n,c] norm[n,c]
// resident: rmsnorm_dweight_kernel 256 threads, 6 blocks, 2048 bytes shared
__global__ void rmsnorm_dweight_kernel(float* dweight, const float* dout, const float* inp, const float* rstd, int64_t N,
                                       int64_t C) {
    add_column_sums(dweight, N, C, [&](int64_t n, int64_t c) {
        return static_cast<double>(dout[n * C + c]) * static_cast<double>(inp[n * C + c] * rstd[n]);
    });
}

void CudaKernels::rmsnorm_backward(float* dinp, float* dweight, MatrixOut out, const float* dout, const float* inp,
                                   const float* weight, const float* rstd, int64_t N, int64_t C) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        with_width(
            C,
            [&](auto width) {
                launch("rmsnorm_backward", rmsnorm_backward_kernel<width.value, T>,
                       {blocks_of(N), threads_of(C / width.value)}, stream_, dinp, numbers, dout, inp, weight, rstd, C);
            },
            numbers, dinp, dout, inp, weight);
    });
    if (dweight != nullptr && N > 0) {
        launch("rmsnorm_dweight", rmsnorm_dweight_kernel, columns_of(C), stream_, dweight, dout, inp, rstd, N, C);
    }
}

// A block a row, a thread a pair (a, b): (a cos - b sin, b cos + a sin)
// resident: rope_kernel 256 threads, 6 blocks, 0 bytes shared
__global__ void __launch_bounds__(kRowThreads, 6)
    rope_kernel(float* x, const float* cos_sin, const int32_t* positions, int NH, int HS, float sign) {
    const int half = HS / 2;
    const int64_t n = blockIdx.x;
    const float* table = cos_sin + static_cast<int64_t>(positions[n]) * HS;
    float* x_n = x + n * NH * HS;
    for (int i = static_cast<int>(threadIdx.x); i < NH * half; i += static_cast<int>(blockDim.x)) {
        const int head = i / half, pair = i % half;
        const float cos = table[pair], sin = sign * table[pair + half];
        float* x_nh = x_n + head * HS;
        const float a = x_nh[pair], b = x_nh[pair + half];
        x_nh[pair] = a * cos - b * sin;
        x_nh[pair + half] = b * cos + a * sin;
    }
}

void CudaKernels::rope(float* x, const float* cos_sin, const int32_t* positions, int64_t N, int64_t NH, int64_t HS,
                       bool inverse) {
    launch("rope", rope_kernel, {blocks_of(N), threads_of(NH * (HS / 2))}, stream_, x, cos_sin, positions, NH, HS,
           inverse ? -1.0f : 1.0f);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// resident: swiglu_forward_kernel 256 threads, 6 blocks, 0 bytes shared
template <int kWidth, class T>
__global__ void __launch_bounds__(256, 6) swiglu_forward_kernel(T* out, const float* gate, const float* up, int64_t n) {
    for (int64_t i = grid_first() * kWidth; i < n; i += grid_stride() * kWidth) {
        Numbers<kWidth> g = load<kWidth>(gate, i);
        const Numbers<kWidth> u = load<kWidth>(up, i);
        for (int w = 0; w < kWidth; w++) {
            g.v[w] = g.v[w] * sigmoid(g.v[w]) * u.v[w];
        }
        store(out, i, g);
    }
}

void CudaKernels::swiglu_forward(MatrixOut out, const float* gate, const float* up, int64_t n) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        with_width(
            n,
            [&](auto width) {
                launch("swiglu_forward", swiglu_forward_kernel<width.value, T>, grid_of(n / width.value), stream_, numbers, gate,
                       up, n);
            },
            numbers, gate, up);
    });
}

// forward: out = silu(gate) * up. A thread reads its gate and up before it writes what may lie in the same memory.
// resident: swiglu_backward_kernel 256 threads, 5 blocks, 0 bytes shared
template <int kWidth, class G, class U, class T>
__global__ void __launch_bounds__(256, 5)
    swiglu_backward_kernel(G* dgate, U* dup, T* out, const float* dout, const float* gate, const float* up, int64_t n) {
    for (int64_t i = grid_first() * kWidth; i < n; i += grid_stride() * kWidth) {
        const Numbers<kWidth> g = load<kWidth>(gate, i), u = load<kWidth>(up, i), d = load<kWidth>(dout, i);
        Numbers<kWidth> dg, du, again;
        for (int w = 0; w < kWidth; w++) {
            const float sigma = sigmoid(g.v[w]);
            dg.v[w] = d.v[w] * u.v[w] * (sigma * (1.0f + g.v[w] * (1.0f - sigma)));
            du.v[w] = d.v[w] * g.v[w] * sigma;
            again.v[w] = g.v[w] * sigma * u.v[w];
        }
        store(dgate, i, dg);
        store(dup, i, du);
        if (out != nullptr) {
            store(out, i, again);
        }
    }
}

void CudaKernels::swiglu_backward(MatrixOut dgate, MatrixOut dup, MatrixOut out, const float* dout, const float* gate,
                                  const float* up, int64_t n) {
    const auto work = [&](auto* g, auto* u, auto* o) {
        with_width(
            n,
            [&](auto width) {
                launch("swiglu_backward",
                       swiglu_backward_kernel<width.value, std::remove_pointer_t<decltype(g)>,
                                              std::remove_pointer_t<decltype(u)>, std::remove_pointer_t<decltype(o)>>,
                       grid_of(n / width.value), stream_, g, u, o, dout, gate, up, n);
            },
            g, u, o, dout, gate, up);
    };
    with_type(dgate, [&](auto* g) { with_type(dup, [&](auto* u) { with_type(out, [&](auto* o) { work(g, u, o); }); }); });
}

// ---- loss ----------------------------------------------------------------------------------------------------------------

// log softmax(row)[v] = (row[v] - top) - log_sum. Apart, because of logits of 10000 their sum would keep two decimals.
struct LogSoftmax {
    float top, log_sum;
    __device__ __forceinline__ float of(float logit) const { return (logit - top) - log_sum; }
};

// sum_v exp(row[v] - top), top = max_v row[v], of the numbers seen so far (Milakov & Gimelshein 2018).
struct Exponentials {
    float top = -INFINITY, sum = 0;

    __device__ __forceinline__ void add(float x) {
        if (x > top) {
            sum *= expf(top - x);
            top = x;
        }
        sum += x == top ? 1.0f : expf(x - top); // also of a row that is minus infinity so far
    }
};

// Of the block's row, for every thread. The row, too long for any cache, is read once.
template <int kWidth>
__device__ __forceinline__ LogSoftmax block_log_softmax(const float* row, int64_t V, float* partial) {
    Exponentials own;
    for (int64_t v = threadIdx.x * kWidth; v < V; v += blockDim.x * kWidth) {
        const Numbers<kWidth> x = load<kWidth>(row, v);
        for (int i = 0; i < kWidth; i++) {
            own.add(x.v[i]);
        }
    }
    const float top = block_reduce(own.top, Max(), partial);
    const float scaled = own.top == top ? own.sum : own.sum * expf(own.top - top); // 0 of a thread that saw nothing
    return {top, logf(block_reduce(scaled, Sum(), partial))};
}

// resident: cross_entropy_kernel 256 threads, 6 blocks, 128 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kRowThreads, 6)
    cross_entropy_kernel(float* loss, float* logits, const int32_t* target, int64_t V, float scale) {
    __shared__ float partial[kWarpLanes];
    const int64_t m = blockIdx.x;
    float* logits_m = logits + m * V;
    const LogSoftmax q = block_log_softmax<kWidth>(logits_m, V, partial);
    if (threadIdx.x == 0) {
        loss[m] = -q.of(logits_m[target[m]]);
    }
    if (scale == 0) {
        return;
    }
    __syncthreads(); // the target's logit has been read
    for (int64_t v = threadIdx.x * kWidth; v < V; v += blockDim.x * kWidth) {
        Numbers<kWidth> x = load<kWidth>(logits_m, v);
        for (int i = 0; i < kWidth; i++) {
            x.v[i] = (expf(q.of(x.v[i])) - (v + i == target[m] ? 1.0f : 0.0f)) * scale;
        }
        store(logits_m, v, x);
    }
}

void CudaKernels::cross_entropy(float* loss, float* logits, const int32_t* target, int64_t M, int64_t V, float scale) {
    with_width(
        V,
        [&](auto width) {
            launch("cross_entropy", cross_entropy_kernel<width.value>, {blocks_of(M), kRowThreads}, stream_, loss, logits,
                   target, V, scale);
        },
        logits);
}

// forward: loss = sum_v p_v (log p_v - log q_v); d loss / d logits_v = q_v - p_v
// resident: kl_divergence_kernel 256 threads, 6 blocks, 128 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kRowThreads, 6)
    kl_divergence_kernel(float* loss, float* logits, const float* target, int64_t V, float scale) {
    __shared__ float partial[kWarpLanes];
    const int64_t m = blockIdx.x;
    float* logits_m = logits + m * V;
    const float* target_m = target + m * V;
    const LogSoftmax q = block_log_softmax<kWidth>(logits_m, V, partial), p = block_log_softmax<kWidth>(target_m, V, partial);
    float sum = 0;
    for (int64_t v = threadIdx.x * kWidth; v < V; v += blockDim.x * kWidth) {
        Numbers<kWidth> x = load<kWidth>(logits_m, v);
        const Numbers<kWidth> t = load<kWidth>(target_m, v);
        for (int i = 0; i < kWidth; i++) {
            const float log_q = q.of(x.v[i]), log_p = p.of(t.v[i]);
            const float p_v = expf(log_p);
            if (p_v != 0) { // 0 log 0 is 0, also where a logarithm is minus infinity
                sum += p_v * (log_p - log_q);
            }
            x.v[i] = (expf(log_q) - p_v) * scale;
        }
        if (scale != 0) {
            store(logits_m, v, x);
        }
    }
    sum = block_reduce(sum, Sum(), partial);
    if (threadIdx.x == 0) {
        loss[m] = sum;
    }
}

void CudaKernels::kl_divergence(float* loss, float* logits, const float* target, int64_t M, int64_t V, float scale) {
    with_width(
        V,
        [&](auto width) {
            launch("kl_divergence", kl_divergence_kernel<width.value>, {blocks_of(M), kRowThreads}, stream_, loss, logits,
                   target, V, scale);
        },
        logits, target);
}

// The larger value, of equals the smaller index.
struct Best {
    float value;
    int32_t index;
};

__device__ __forceinline__ Best better(Best a, Best b) {
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

// resident: argmax_rows_kernel 256 threads, 8 blocks, 256 bytes shared
__global__ void argmax_rows_kernel(int32_t* out, const float* logits, int64_t V) {
    __shared__ Best partial[kWarpLanes];
    const int64_t m = blockIdx.x;
    const float* logits_m = logits + m * V;
    Best best = {-INFINITY, INT32_MAX};
    for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
        best = better(best, {logits_m[v], static_cast<int32_t>(v)});
    }
    for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
        best = better(best, {__shfl_xor_sync(0xffffffffu, best.value, bits), __shfl_xor_sync(0xffffffffu, best.index, bits)});
    }
    if (threadIdx.x % kWarpLanes == 0) {
        partial[threadIdx.x / kWarpLanes] = best;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < blockDim.x / kWarpLanes; w++) {
            best = better(best, partial[w]);
        }
        out[m] = best.index == INT32_MAX ? -1 : best.index; // a row of NaN has no largest
    }
}

void CudaKernels::argmax_rows(int32_t* out, const float* logits, int64_t M, int64_t V) {
    launch("argmax_rows", argmax_rows_kernel, {blocks_of(M), kRowThreads}, stream_, out, logits, V);
}

// ---- optimisation --------------------------------------------------------------------------------------------------------

// resident: sum_squares_kernel 256 threads, 8 blocks, 256 bytes shared
__global__ void sum_squares_kernel(double* out, const float* x, int64_t n) {
    __shared__ double partial[kWarpLanes];
    double sum = 0;
    for (int64_t i = grid_first(); i < n; i += grid_stride()) {
        sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    sum = block_reduce(sum, Sum(), partial);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

double CudaKernels::sum_squares(const float* x, int64_t n) {
    constexpr int64_t kBlocks = 512; // of a fixed number of threads: the order of the sum depends on n alone
    const Grid grid = {dim3(static_cast<unsigned>(std::min(kBlocks, ceil_div(n, kRowThreads)))), kRowThreads};
    double* sums = reinterpret_cast<double*>(scratch(2 * kBlocks));
    launch("sum_squares", sum_squares_kernel, grid, stream_, sums, x, n);
    double host[kBlocks], sum = 0;
    download(host, sums, grid.blocks.x * sizeof(double));
    for (unsigned b = 0; b < grid.blocks.x; b++) {
        sum += host[b];
    }
    return sum;
}

// Loshchilov & Hutter 2019, algorithm 2, the division of m by its correction moved into the rate:
//   p = p * keep - rate * m / (sqrt(v * unbias) + eps)
struct AdamwConstants {
    float beta1, beta2, eps, grad_scale;
    float rate;   // lr / (1 - beta1^t)
    float unbias; // 1 / (1 - beta2^t)
    float keep;   // 1 - lr * weight_decay
};

// resident: adamw_kernel 256 threads, 5 blocks, 0 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(256, 5)
    adamw_kernel(float* param, float* m, float* v, const float* grad, int64_t n, AdamwConstants c) {
    for (int64_t i = grid_first() * kWidth; i < n; i += grid_stride() * kWidth) {
        const Numbers<kWidth> grads = load<kWidth>(grad, i);
        Numbers<kWidth> p = load<kWidth>(param, i), m_i = load<kWidth>(m, i), v_i = load<kWidth>(v, i);
        for (int w = 0; w < kWidth; w++) {
            const float g = grads.v[w] * c.grad_scale;
            m_i.v[w] = m_i.v[w] * c.beta1 + g * (1.0f - c.beta1);
            v_i.v[w] = v_i.v[w] * c.beta2 + g * g * (1.0f - c.beta2);
            p.v[w] = p.v[w] * c.keep - m_i.v[w] * c.rate / (sqrtf(v_i.v[w] * c.unbias) + c.eps);
        }
        store(param, i, p);
        store(m, i, m_i);
        store(v, i, v_i);
    }
}

void CudaKernels::adamw(float* param, float* m, float* v, const float* grad, int64_t n, const AdamwStep& step) {
    const double t = static_cast<double>(step.step), lr = static_cast<double>(step.lr);
    const AdamwConstants constants = {
        step.beta1,
        step.beta2,
        step.eps,
        step.grad_scale,
        static_cast<float>(lr / (1.0 - std::pow(static_cast<double>(step.beta1), t))),
        static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(step.beta2), t))),
        static_cast<float>(1.0 - lr * static_cast<double>(step.weight_decay)),
    };
    with_width(
        n,
        [&](auto width) {
            launch("adamw", adamw_kernel<width.value>, grid_of(n / width.value), stream_, param, m, v, grad, n, constants);
        },
        param, m, v, grad);
}

} // namespace skintern
