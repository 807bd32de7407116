// attention_steps.cu — from the definition of attention to the kernels of attention_forward.cu, one idea a step.
//
//   out[i,h] = sum_{j<=i} p_ij v[j,h'],   p_ij = exp(s_ij - lse_i),   s_ij = q[i,h].k[j,h'] / sqrt(HS)
//
// Every step is correct at every shape, and tested; no model runs through steps 1, 2, 3 and 5. docs/kernels.md ("CUDA:
// attention in steps") counts what each step reads and multiplies.
#include "attention.cuh"
#include "cuda.h"

namespace skintern {

// ---- 1: a thread a row --------------------------------------------------------------------------------------------------

// 1. The definition, in three passes: scores to memory and their maximum, exponentials and their sum, values. `scores` has
// `longest` numbers a row and head. Neighbouring threads read q, k and v HS and more numbers apart: nothing is coalesced.
// resident: attention_step1_kernel 256 threads, 6 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 6) attention_step1_kernel(AttentionView<float> a, float* scores, int64_t longest) {
    const Batch& b = a.batch;
    for (int64_t i = grid_first(); i < b.start[b.count] * b.NH; i += grid_stride()) {
        const int64_t n = i / b.NH, h = i % b.NH, first = b.start[sequence_of(b, n)], keys = n - first + 1;
        const int64_t kv_at = (first * b.NKV + h / (b.NH / b.NKV)) * b.HS, stride = b.NKV * b.HS;
        float* s = scores + i * longest;
        float largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < keys; j++) {
            float score = 0;
            for (int64_t c = 0; c < b.HS; c++) {
                score += a.q[i * b.HS + c] * a.k[kv_at + j * stride + c];
            }
            s[j] = score * b.scale;
            largest = Max()(largest, s[j]);
        }
        for (int64_t j = 0; j < keys; j++) {
            s[j] = expf(s[j] - largest);
            sum += s[j];
        }
        for (int64_t c = 0; c < b.HS; c++) {
            float o = 0;
            for (int64_t j = 0; j < keys; j++) {
                o += s[j] * a.v[kv_at + j * stride + c];
            }
            a.out[i * b.HS + c] = o / sum;
        }
        a.lse[i] = largest + logf(sum);
    }
}

// ---- 2: a warp a row, online softmax ------------------------------------------------------------------------------------

// 2. One pass: the sum and the output shrink whenever the maximum grows (Milakov & Gimelshein 2018), so that no score is ever
// stored. Lane l has the channels l, l + 32, ...: a warp reads a key in whole sectors.
// resident: attention_step2_kernel 128 threads, 8 blocks, 0 bytes shared
__global__ void __launch_bounds__(kAttentionThreads, 8) attention_step2_kernel(AttentionView<float> a) {
    constexpr int kMine = kMaxHeadSize / kWarpLanes;
    const Batch& b = a.batch;
    for (int64_t i = grid_first() / kWarpLanes; i < b.start[b.count] * b.NH; i += grid_stride() / kWarpLanes) {
        const int64_t n = i / b.NH, h = i % b.NH, first = b.start[sequence_of(b, n)];
        const int64_t kv_at = (first * b.NKV + h / (b.NH / b.NKV)) * b.HS, stride = b.NKV * b.HS;
        float q[kMine], o[kMine] = {}, largest = -INFINITY, sum = 0;
#pragma unroll
        for (int x = 0; x < kMine; x++) {
            const int c = lane_of_warp() + x * kWarpLanes;
            q[x] = c < b.HS ? a.q[i * b.HS + c] : 0.0f;
        }
        for (int64_t j = 0; j <= n - first; j++) {
            float score = 0;
#pragma unroll
            for (int x = 0; x < kMine; x++) {
                const int c = lane_of_warp() + x * kWarpLanes;
                score += c < b.HS ? q[x] * a.k[kv_at + j * stride + c] : 0.0f;
            }
            score = warp_reduce(score, Sum()) * b.scale;
            const float higher = Max()(largest, score), shrink = expf(largest - higher), p = expf(score - higher);
            largest = higher;
            sum = sum * shrink + p;
#pragma unroll
            for (int x = 0; x < kMine; x++) {
                const int c = lane_of_warp() + x * kWarpLanes;
                o[x] = o[x] * shrink + (c < b.HS ? p * a.v[kv_at + j * stride + c] : 0.0f);
            }
        }
#pragma unroll
        for (int x = 0; x < kMine; x++) {
            const int c = lane_of_warp() + x * kWarpLanes;
            if (c < b.HS) {
                a.out[i * b.HS + c] = o[x] / sum;
            }
        }
        if (lane_of_warp() == 0) {
            a.lse[i] = largest + logf(sum);
        }
    }
}

// ---- 3: keys and values in shared memory --------------------------------------------------------------------------------

constexpr int kStep3Keys = 32;

template <int kWidth>
struct Step3Shared {
    float k[kStep3Keys * f32_stride(kWidth)];
    float v[kStep3Keys * f32_stride(kWidth)];
};

static_assert(sizeof(Step3Shared<kMaxHeadSize>) == 33792); // as promised

// 3. A tile of keys and values comes to shared memory once and meets all queries of the head (Dao et al. 2022, algorithm 1:
// keys outside, queries inside). A thread has a query, and makes kStep3Keys scores at a time; the maximum, the sum and the
// output of a query lie in memory between two tiles. A block has a whole head of a sequence.
// resident: attention_step3_kernel 128 threads, 4 blocks, 33792 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 4) attention_step3_kernel(AttentionView<float> a, float* sums) {
    Step3Shared<kWidth>& shared = shared_memory<Step3Shared<kWidth>>();
    const Batch& b = a.batch;
    const int64_t s = blockIdx.x / b.NH, h = blockIdx.x % b.NH, first = b.start[s], stride = b.NKV * b.HS;
    const int rows = static_cast<int>(b.start[s + 1] - first), HS = static_cast<int>(b.HS);
    const int64_t kv_at = (first * b.NKV + h / (b.NH / b.NKV)) * b.HS;
    for (int j = 0; j < rows; j += kStep3Keys) {
        F32Load<float, kStep3Keys, kWidth> k_load, v_load;
        k_load.start(memory_rows(a.k + kv_at + j * stride, stride, rows - j, b.HS));
        v_load.start(memory_rows(a.v + kv_at + j * stride, stride, rows - j, b.HS));
        __syncthreads(); // the tile before has been read
        k_load.finish(shared.k);
        v_load.finish(shared.v);
        __syncthreads();
        for (int i = j + static_cast<int>(threadIdx.x); i < rows;
             i += kAttentionThreads) { // queries before j see none of these
            const int64_t at = (first + i) * b.NH + h;
            const float* q = a.q + at * b.HS;
            float* o = a.out + at * b.HS;
            float score[kStep3Keys] = {}, higher = j == 0 ? -INFINITY : a.lse[at];
            for (int c = 0; c < HS; c++) {
                const float q_c = q[c];
#pragma unroll
                for (int x = 0; x < kStep3Keys; x++) {
                    score[x] += q_c * shared.k[x * f32_stride(kWidth) + c];
                }
            }
            const float before = higher;
            float sum = 0;
#pragma unroll
            for (int x = 0; x < kStep3Keys; x++) {
                score[x] = j + x <= i ? score[x] * b.scale : -INFINITY;
                higher = Max()(higher, score[x]);
            }
#pragma unroll
            for (int x = 0; x < kStep3Keys; x++) {
                score[x] = expf(score[x] - higher);
                sum += score[x];
            }
            const float shrink = expf(before - higher);
            sum += j == 0 ? 0.0f : sums[at] * shrink;
            const bool last = j + kStep3Keys > i;
            for (int c = 0; c < HS; c++) {
                float o_c = j == 0 ? 0.0f : o[c] * shrink;
#pragma unroll
                for (int x = 0; x < kStep3Keys; x++) {
                    o_c += score[x] * shared.v[x * f32_stride(kWidth) + c];
                }
                o[c] = last ? o_c / sum : o_c;
            }
            sums[at] = sum;
            a.lse[at] = last ? higher + logf(sum) : higher;
        }
    }
}

// ---- 4: see attention_forward_f32_kernel --------------------------------------------------------------------------------

// ---- 5: tensor cores ----------------------------------------------------------------------------------------------------

constexpr int kStep5Queries = 64, kStep5Keys = 32;

template <int kWidth>
struct Step5Shared {
    uint16_t q[kStep5Queries * kWidth];
    uint16_t k[kStep5Keys * kWidth];
    uint16_t v[kStep5Keys * kWidth];
};

static_assert(sizeof(Step5Shared<kMaxHeadSize>) == 32768); // as promised

// Rows of memory, rounded, as a tile that lies row by row.
template <int kWidth>
__device__ __forceinline__ void round_rows(uint16_t* tile, const MemoryRows<float>& m, int rows) {
    for (int i = static_cast<int>(threadIdx.x); i < rows * kWidth; i += kAttentionThreads) {
        const int r = i / kWidth, c = i % kWidth;
        tile[i] = bf16_bits(r < m.rows && c < m.HS ? m.data[r * m.stride + c] : 0.0f);
    }
}

__device__ __forceinline__ uint32_t two_of_row(const uint16_t* at) {
    return *reinterpret_cast<const uint32_t*>(at);
}

// 5. Both products by the tensor cores: a warp has 16 queries, whose scores stay in the registers in which the second product
// wants them. Fragments come from shared memory two numbers at a time, as the PTX manual draws them; rows that are read
// together begin in the same bank.
// resident: attention_step5_kernel 128 threads, 3 blocks, 32768 bytes shared
template <int kWidth>
__global__ void __launch_bounds__(kAttentionThreads, 3) attention_step5_kernel(AttentionView<float> a) {
    constexpr int kN = kStep5Keys / 8;
    Step5Shared<kWidth>& shared = shared_memory<Step5Shared<kWidth>>();
    const Batch& b = a.batch;
    RowTile t;
    if (!take_tile<kStep5Queries>(t, b, b.NH, true)) {
        return;
    }
    const int64_t q_at = (t.row * b.NH + t.head) * b.HS, stride = b.NKV * b.HS;
    const int64_t kv_at = ((t.row - t.from) * b.NKV + t.head / (b.NH / b.NKV)) * b.HS;
    const int warp_row = warp_of_block() * 16, g = lane_of_warp() / 4, two = lane_of_warp() % 4 * 2;
    round_rows<kWidth>(shared.q, memory_rows(a.q + q_at, b.NH * b.HS, t.rows, b.HS), kStep5Queries);
    float o[1][kWidth / 8][4] = {}, largest[1][2] = {{-INFINITY, -INFINITY}}, l[1][2] = {};
    for (int j = 0; j < t.from + t.rows; j += kStep5Keys) {
        __syncthreads();
        round_rows<kWidth>(shared.k, memory_rows(a.k + kv_at + j * stride, stride, t.from + t.rows - j, b.HS), kStep5Keys);
        round_rows<kWidth>(shared.v, memory_rows(a.v + kv_at + j * stride, stride, t.from + t.rows - j, b.HS), kStep5Keys);
        __syncthreads();
        float s[1][kN][4] = {};
#pragma unroll
        for (int c = 0; c < kWidth; c += 16) {
            const uint16_t* q = shared.q + (warp_row + g) * kWidth + c + two;
            const uint32_t q_c[4] = {two_of_row(q), two_of_row(q + 8 * kWidth), two_of_row(q + 8),
                                     two_of_row(q + 8 * kWidth + 8)};
#pragma unroll
            for (int n = 0; n < kN; n++) {
                const uint16_t* k = shared.k + (8 * n + g) * kWidth + c + two;
                const uint32_t k_c[2] = {two_of_row(k), two_of_row(k + 8)};
                mma_m16n8k16(s[0][n], q_c, k_c);
            }
        }
        online_softmax<kWidth>(s, o, largest, l, b.scale * kLog2e, t.from + warp_row + 1 - j);
        uint32_t p[1][kN / 2][4];
        to_operand<1, kN>(p, s);
#pragma unroll
        for (int x = 0; x < kN / 2; x++) {
#pragma unroll
            for (int n = 0; n < kWidth / 8; n++) {
                const uint16_t* v = shared.v + (16 * x + two) * kWidth + 8 * n + g; // two keys are two rows
                const uint32_t v_n[2] = {v[0] | static_cast<uint32_t>(v[kWidth]) << 16,
                                         v[8 * kWidth] | static_cast<uint32_t>(v[9 * kWidth]) << 16};
                mma_m16n8k16(o[0][n], p[0][x], v_n);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        l[0][i] += __shfl_xor_sync(0xffffffffu, l[0][i], 1);
        l[0][i] += __shfl_xor_sync(0xffffffffu, l[0][i], 2);
        const int r = warp_row + g + 8 * i;
        if (r < t.rows && two == 0) {
            a.lse[(t.row + r) * b.NH + t.head] = largest[0][i] * b.scale + logf(l[0][i]);
        }
        l[0][i] = 1.0f / l[0][i];
    }
    mma_store<kWidth>(a.out + q_at + warp_row * b.NH * b.HS, o, l, b.NH * b.HS, t.rows - warp_row, b.HS);
}

// ---- 6: see attention_forward_bf16_kernel -------------------------------------------------------------------------------

const CudaAttentionStep kCudaAttentionSteps[kCudaAttentionStepCount] = {
    {"1 a thread a row", false},        {"2 a warp a row, online softmax", false},
    {"3 keys in shared memory", false}, {"4 queries outside, sums in registers", false},
    {"5 tensor cores", true},           {"6 ldmatrix, mixed banks, loads ahead", true},
};

void CudaKernels::attention_step(int step, float* out, float* lse, const float* q, const float* k, const float* v,
                                 Sequences seq, int64_t NH, int64_t NKV, int64_t HS) {
    if (seq.count == 0 || seq.max_length == 0) {
        return;
    }
    const AttentionView<float> view = {batch_of(seq, NH, NKV, HS, 1, kAnyRows), out, lse, q, k, v, nullptr, nullptr, 0};
    const int64_t rows = seq.count * seq.max_length * NH; // at most
    with_width(HS, [&](auto width) {
        constexpr int kWidth = decltype(width)::value;
        switch (step) {
        case 1:
            launch("attention_step1", attention_step1_kernel, grid_of(rows), stream_, view, scratch(rows * seq.max_length),
                   seq.max_length);
            break;
        case 2:
            launch("attention_step2", attention_step2_kernel, grid_of(rows * kWarpLanes, kAttentionThreads), stream_, view);
            break;
        case 3:
            launch("attention_step3", attention_step3_kernel<kWidth>,
                   tile_grid(1, 1, seq.count, NH, sizeof(Step3Shared<kWidth>)), stream_, view, scratch(rows));
            break;
        case 4:
            attend_in_tiles(view, seq.max_length, false, stream_);
            break;
        case 5:
            launch("attention_step5", attention_step5_kernel<kWidth>,
                   tile_grid(seq.max_length, kStep5Queries, seq.count, NH, sizeof(Step5Shared<kWidth>)), stream_, view);
            break;
        case 6:
            attend_in_tiles(view, seq.max_length, true, stream_);
            break;
        default:
            CHECK(false, "there is no step %d of attention", step);
        }
    });
}

void run_cuda_attention_step(Kernels& cuda, int step, float* out, float* lse, const float* q, const float* k, const float* v,
                             Sequences seq, int64_t NH, int64_t NKV, int64_t HS) {
    static_cast<CudaKernels&>(cuda).attention_step(step, out, lse, q, k, v, seq, NH, NKV, HS);
}

} // namespace skintern
