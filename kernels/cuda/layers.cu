// layers.cu — every op that is neither a product nor attention. All of them move memory more than they compute: what is to
// be reached is the memory's bandwidth, so neighbouring threads touch neighbouring numbers, and a number is read once.
//
// Row-wise ops give a block to a row. Sums are taken in a fixed order (warp_reduce, block_reduce): the same bits every time.
#include <algorithm>

#include "cuda.cuh"
#include "dequantize.h"

namespace skintern {

constexpr int kRowThreads = 256; // of a block that works on one row

static unsigned rows_of(int64_t rows) { return static_cast<unsigned>(rows); } // blocks, one a row

// ---- bias ------------------------------------------------------------------------------------------------------------

__global__ void bias_forward_kernel(float* out, const float* bias, int64_t count, int64_t C) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        out[i] += bias[i % C];
    }
}

void CudaKernels::bias_forward(float* out, const float* bias, int64_t N, int64_t C) {
    launch("bias_forward", bias_forward_kernel, grid_of(N * C), stream_, out, bias, N * C, C);
}

// A thread a column; rows in order. forward: out[n,c] += bias[c]
__global__ void bias_backward_kernel(float* dbias, const float* dout, int64_t N, int64_t C) {
    for (int64_t c = grid_first(); c < C; c += grid_stride()) {
        double sum = dbias[c];
        for (int64_t n = 0; n < N; n++) {
            sum += static_cast<double>(dout[n * C + c]);
        }
        dbias[c] = static_cast<float>(sum);
    }
}

void CudaKernels::bias_backward(float* dbias, const float* dout, int64_t N, int64_t C) {
    launch("bias_backward", bias_backward_kernel, grid_of(C, 32), stream_, dbias, dout, N, C);
}

// ---- moving rows -------------------------------------------------------------------------------------------------------

template <class T>
__global__ void gather_rows_kernel(float* out, const T* table, const int32_t* rows, int64_t count, int64_t C) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        out[i] = get(table, rows[i / C] * C + i % C);
    }
}

__global__ void gather_f16_kernel(float* out, const uint16_t* table, const int32_t* rows, int64_t count, int64_t C) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        out[i] = f16_to_float(table[rows[i / C] * C + i % C]);
    }
}

// A thread decodes a part of 32 numbers. `parts` of a block, `block_bytes` as the type has them.
__global__ void gather_quantised_kernel(float* out, WeightType type, const uint8_t* table, const int32_t* rows, int64_t count,
                                        int64_t C, int64_t parts, int64_t block_bytes) {
    const int64_t row_parts = C / kDecodedPart;
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        const int64_t m = i / row_parts, part = i % row_parts;
        const uint8_t* row = table + rows[m] * (row_parts / parts * block_bytes);
        float numbers[kDecodedPart];
        decode_part_of_block(numbers, type, row + part / parts * block_bytes, part % parts);
        for (int64_t c = 0; c < kDecodedPart; c++) {
            out[m * C + part * kDecodedPart + c] = numbers[c];
        }
    }
}

void CudaKernels::gather_rows(float* out, Matrix table, const int32_t* rows, int64_t M, int64_t C) {
    if (table.type == WeightType::f32 || table.type == WeightType::bf16) {
        with_type(table, [&](auto* numbers) {
            using T = std::remove_const_t<std::remove_pointer_t<decltype(numbers)>>;
            launch("gather_rows", gather_rows_kernel<T>, grid_of(M * C), stream_, out, numbers, rows, M * C, C);
        });
    } else if (table.type == WeightType::f16) {
        launch("gather_rows", gather_f16_kernel, grid_of(M * C), stream_, out, static_cast<const uint16_t*>(table.data), rows,
               M * C, C);
    } else {
        const WeightFormat& format = weight_format(table.type);
        launch("gather_rows", gather_quantised_kernel, grid_of(M * C / kDecodedPart), stream_, out, table.type,
               static_cast<const uint8_t*>(table.data), rows, M * C / kDecodedPart, C, format.elements / kDecodedPart,
               format.bytes);
    }
}

template <class T>
__global__ void scatter_rows_kernel(T* table, const float* inp, const int32_t* rows, int64_t count, int64_t C) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        put(table, rows[i / C] * C + i % C, inp[i]);
    }
}

void CudaKernels::scatter_rows(void* table, WeightType type, const float* inp, const int32_t* rows, int64_t M, int64_t C) {
    with_type(MatrixOut(table, type), [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        launch("scatter_rows", scatter_rows_kernel<T>, grid_of(M * C), stream_, numbers, inp, rows, M * C, C);
    });
}

// A block for each m, which does nothing when its row came before, and else adds all that name the row, in order: no
// atomics, so the same bits every time. Costs a look at M rows each, nothing beside the M x C numbers.
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
    launch("scatter_add_rows", scatter_add_rows_kernel, {dim3(rows_of(M)), kRowThreads}, stream_, table, inp, rows, M, C);
}

// ---- normalisation, rotation, activation -------------------------------------------------------------------------------

template <class T>
__global__ void rmsnorm_forward_kernel(T* out, float* rstd, const float* inp, const float* weight, int64_t C, float eps) {
    __shared__ float partial[kWarpLanes];
    const int64_t n = blockIdx.x;
    const float* inp_n = inp + n * C;
    float sum = 0;
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        sum += inp_n[c] * inp_n[c];
    }
    sum = block_reduce(sum, Sum(), partial);
    const float rstd_n = 1.0f / sqrtf(sum / static_cast<float>(C) + eps);
    if (threadIdx.x == 0) {
        rstd[n] = rstd_n;
    }
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        put(out, n * C + c, weight[c] * (inp_n[c] * rstd_n));
    }
}

// As many warps as a row has work for: the heads of qk_norm are rows of 64 numbers.
static int row_threads(int64_t C) {
    return static_cast<int>(std::min<int64_t>(kRowThreads, ceil_div(C, kWarpLanes) * kWarpLanes));
}

void CudaKernels::rmsnorm_forward(MatrixOut out, float* rstd, const float* inp, const float* weight, int64_t N, int64_t C,
                                  float eps) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        launch("rmsnorm_forward", rmsnorm_forward_kernel<T>, {dim3(rows_of(N)), row_threads(C)}, stream_, numbers, rstd, inp,
               weight, C, eps);
    });
}

// forward: out[n,c] = weight[c] * norm[n,c], norm[n,c] = inp[n,c] * rstd[n]
// rstd depends on every channel: dinp = rstd (dnorm - norm * mean_c(dnorm * norm)), dnorm = weight * dout
template <class T>
__global__ void rmsnorm_backward_kernel(float* dinp, T* out, const float* dout, const float* inp, const float* weight,
                                        const float* rstd, int64_t C) {
    __shared__ float partial[kWarpLanes];
    const int64_t n = blockIdx.x;
    const float* inp_n = inp + n * C;
    const float* dout_n = dout + n * C;
    const float rstd_n = rstd[n];
    float sum = 0;
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        sum += weight[c] * dout_n[c] * (inp_n[c] * rstd_n);
    }
    const float mean = block_reduce(sum, Sum(), partial) / static_cast<float>(C);
    for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
        const float norm = inp_n[c] * rstd_n;
        dinp[n * C + c] += rstd_n * (weight[c] * dout_n[c] - norm * mean);
        if (out != nullptr) {
            put(out, n * C + c, weight[c] * norm);
        }
    }
}

// dweight[c] += sum_n dout[n,c] norm[n,c]: a warp's lanes take neighbouring columns, a block of 8 warps every eighth row each
__global__ void rmsnorm_dweight_kernel(float* dweight, const float* dout, const float* inp, const float* rstd, int64_t N,
                                       int64_t C) {
    __shared__ double sums[8][kWarpLanes];
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes, warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    const int64_t c = static_cast<int64_t>(blockIdx.x) * kWarpLanes + lane;
    double sum = 0;
    if (c < C) {
        for (int64_t n = warp; n < N; n += 8) {
            sum += static_cast<double>(dout[n * C + c]) * static_cast<double>(inp[n * C + c] * rstd[n]);
        }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && c < C) {
        for (int w = 1; w < 8; w++) {
            sum += sums[w][lane];
        }
        dweight[c] = static_cast<float>(static_cast<double>(dweight[c]) + sum);
    }
}

void CudaKernels::rmsnorm_backward(float* dinp, float* dweight, MatrixOut out, const float* dout, const float* inp,
                                   const float* weight, const float* rstd, int64_t N, int64_t C) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        launch("rmsnorm_backward", rmsnorm_backward_kernel<T>, {dim3(rows_of(N)), row_threads(C)}, stream_, dinp, numbers,
               dout, inp, weight, rstd, C);
    });
    if (dweight != nullptr && N > 0) {
        launch("rmsnorm_dweight", rmsnorm_dweight_kernel, {dim3(rows_of(ceil_div(C, kWarpLanes))), 8 * kWarpLanes}, stream_,
               dweight, dout, inp, rstd, N, C);
    }
}

// A thread a pair (a, b): (a cos - b sin, b cos + a sin)
__global__ void rope_kernel(float* x, const float* cos_sin, const int32_t* positions, int64_t count, int64_t NH, int64_t HS,
                            float sign) {
    const int64_t half = HS / 2;
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        const int64_t pair = i % half, head = i / half; // head of all rows
        const float* table = cos_sin + positions[head / NH] * HS;
        const float cos = table[pair], sin = sign * table[pair + half];
        float* x_nh = x + head * HS;
        const float a = x_nh[pair], b = x_nh[pair + half];
        x_nh[pair] = a * cos - b * sin;
        x_nh[pair + half] = b * cos + a * sin;
    }
}

void CudaKernels::rope(float* x, const float* cos_sin, const int32_t* positions, int64_t N, int64_t NH, int64_t HS,
                       bool inverse) {
    launch("rope", rope_kernel, grid_of(N * NH * (HS / 2)), stream_, x, cos_sin, positions, N * NH * (HS / 2), NH, HS,
           inverse ? -1.0f : 1.0f);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T>
__global__ void swiglu_forward_kernel(T* out, const float* gate, const float* up, int64_t n) {
    for (int64_t i = grid_first(); i < n; i += grid_stride()) {
        const float g = gate[i];
        put(out, i, g * sigmoid(g) * up[i]);
    }
}

void CudaKernels::swiglu_forward(MatrixOut out, const float* gate, const float* up, int64_t n) {
    with_type(out, [&](auto* numbers) {
        using T = std::remove_pointer_t<decltype(numbers)>;
        launch("swiglu_forward", swiglu_forward_kernel<T>, grid_of(n), stream_, numbers, gate, up, n);
    });
}

// forward: out = silu(gate) * up. A thread reads its gate and up before it writes what may lie in the same memory.
template <class G, class U, class T>
__global__ void swiglu_backward_kernel(G* dgate, U* dup, T* out, const float* dout, const float* gate, const float* up,
                                       int64_t n) {
    for (int64_t i = grid_first(); i < n; i += grid_stride()) {
        const float g = gate[i], u = up[i], d = dout[i];
        const float sigma = sigmoid(g);
        put(dgate, i, d * u * (sigma * (1.0f + g * (1.0f - sigma))));
        put(dup, i, d * g * sigma);
        if (out != nullptr) {
            put(out, i, g * sigma * u);
        }
    }
}

void CudaKernels::swiglu_backward(MatrixOut dgate, MatrixOut dup, MatrixOut out, const float* dout, const float* gate,
                                  const float* up, int64_t n) {
    with_type(dgate, [&](auto* g) {
        with_type(dup, [&](auto* u) {
            with_type(out, [&](auto* o) {
                launch("swiglu_backward",
                       swiglu_backward_kernel<std::remove_pointer_t<decltype(g)>, std::remove_pointer_t<decltype(u)>,
                                              std::remove_pointer_t<decltype(o)>>,
                       grid_of(n), stream_, g, u, o, dout, gate, up, n);
            });
        });
    });
}

// ---- loss ----------------------------------------------------------------------------------------------------------------

// log softmax(row)[v] = (row[v] - top) - log_sum. Apart, because of logits of 10000 their sum would keep two decimals.
struct LogSoftmax {
    float top, log_sum;
    __device__ __forceinline__ float of(float logit) const { return (logit - top) - log_sum; }
};

// Of the block's row, for every thread.
__device__ __forceinline__ LogSoftmax block_log_softmax(const float* row, int64_t V, float* partial) {
    float top = -INFINITY;
    for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
        top = Max()(top, row[v]);
    }
    top = block_reduce(top, Max(), partial);
    float sum = 0;
    for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
        sum += expf(row[v] - top);
    }
    return {top, logf(block_reduce(sum, Sum(), partial))};
}

__global__ void cross_entropy_kernel(float* loss, float* logits, const int32_t* target, int64_t V, float scale) {
    __shared__ float partial[kWarpLanes];
    const int64_t m = blockIdx.x;
    float* logits_m = logits + m * V;
    const LogSoftmax q = block_log_softmax(logits_m, V, partial);
    if (threadIdx.x == 0) {
        loss[m] = -q.of(logits_m[target[m]]);
    }
    if (scale == 0) {
        return;
    }
    __syncthreads(); // the target's logit has been read
    for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
        logits_m[v] = (expf(q.of(logits_m[v])) - (v == target[m] ? 1.0f : 0.0f)) * scale;
    }
}

void CudaKernels::cross_entropy(float* loss, float* logits, const int32_t* target, int64_t M, int64_t V, float scale) {
    launch("cross_entropy", cross_entropy_kernel, {dim3(rows_of(M)), kRowThreads}, stream_, loss, logits, target, V, scale);
}

// forward: loss = sum_v p_v (log p_v - log q_v); d loss / d logits_v = q_v - p_v
__global__ void kl_divergence_kernel(float* loss, float* logits, const float* target, int64_t V, float scale) {
    __shared__ float partial[kWarpLanes];
    const int64_t m = blockIdx.x;
    float* logits_m = logits + m * V;
    const float* target_m = target + m * V;
    const LogSoftmax q = block_log_softmax(logits_m, V, partial), p = block_log_softmax(target_m, V, partial);
    float sum = 0;
    for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
        const float log_q = q.of(logits_m[v]), log_p = p.of(target_m[v]);
        const float p_v = expf(log_p);
        if (p_v != 0) { // 0 log 0 is 0, also where a logarithm is minus infinity
            sum += p_v * (log_p - log_q);
        }
        if (scale != 0) {
            logits_m[v] = (expf(log_q) - p_v) * scale;
        }
    }
    sum = block_reduce(sum, Sum(), partial);
    if (threadIdx.x == 0) {
        loss[m] = sum;
    }
}

void CudaKernels::kl_divergence(float* loss, float* logits, const float* target, int64_t M, int64_t V, float scale) {
    launch("kl_divergence", kl_divergence_kernel, {dim3(rows_of(M)), kRowThreads}, stream_, loss, logits, target, V, scale);
}

// The larger value, of equals the smaller index.
struct Best {
    float value;
    int32_t index;
};

__device__ __forceinline__ Best better(Best a, Best b) {
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

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
        out[m] = best.index == INT32_MAX ? 0 : best.index; // a row of NaN has no largest: its first
    }
}

void CudaKernels::argmax_rows(int32_t* out, const float* logits, int64_t M, int64_t V) {
    launch("argmax_rows", argmax_rows_kernel, {dim3(rows_of(M)), kRowThreads}, stream_, out, logits, V);
}

// ---- optimisation --------------------------------------------------------------------------------------------------------

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

// Loshchilov & Hutter 2019, algorithm 2. Computed in double as the reference does: the op waits for memory anyway.
__global__ void adamw_kernel(float* param, float* m, float* v, const float* grad, int64_t n, AdamwStep step,
                             double correction1, double correction2) {
    const double beta1 = step.beta1, beta2 = step.beta2;
    for (int64_t i = grid_first(); i < n; i += grid_stride()) {
        const double g = static_cast<double>(grad[i]) * static_cast<double>(step.grad_scale);
        const double m_i = beta1 * static_cast<double>(m[i]) + (1.0 - beta1) * g;
        const double v_i = beta2 * static_cast<double>(v[i]) + (1.0 - beta2) * g * g;
        const double update = (m_i / correction1) / (sqrt(v_i / correction2) + static_cast<double>(step.eps));
        const double decayed = static_cast<double>(param[i]) * (1.0 - static_cast<double>(step.lr) * static_cast<double>(step.weight_decay));
        param[i] = static_cast<float>(decayed - static_cast<double>(step.lr) * update);
        m[i] = static_cast<float>(m_i);
        v[i] = static_cast<float>(v_i);
    }
}

void CudaKernels::adamw(float* param, float* m, float* v, const float* grad, int64_t n, const AdamwStep& step) {
    const double correction1 = 1.0 - std::pow(static_cast<double>(step.beta1), static_cast<double>(step.step));
    const double correction2 = 1.0 - std::pow(static_cast<double>(step.beta2), static_cast<double>(step.step));
    launch("adamw", adamw_kernel, grid_of(n), stream_, param, m, v, grad, n, step, correction1, correction2);
}

} // namespace skintern
