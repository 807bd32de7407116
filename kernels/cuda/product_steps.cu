// product_steps.cu — how the matrix product of many rows came about: out(M,N) = a(M,K) b(N,K)^T in numbered versions, one idea
// each, from a thread an element to product_f32.cu (step 5) and product_bf16.cu (step 8), and for few rows to few_rows.cu.
// docs/kernels.md works out what each costs. All are correct at every shape; only the last ones of each kind are used.
#include "cuda.h"
#include "operand_tile.cuh"
#include "products.cuh"
#include "ptx.cuh"

namespace skintern {

namespace {

// ---- 1 to 4: F32 -----------------------------------------------------------------------------------------------------------

// 1. A thread an element. Neighbouring threads have neighbouring columns, so they read numbers of b that lie K apart: 32
// numbers from 32 places of memory, each of which brings 32 bytes along.
// resident: step_element_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 8) step_element_kernel(float* out, const float* a, const float* b, int64_t M, int64_t N,
                                                              int64_t K) {
    for (int64_t i = grid_first(); i < M * N; i += grid_stride()) {
        const int64_t m = i / N, n = i % N;
        float sum = 0;
        for (int64_t k = 0; k < K; k++) {
            sum += a[m * K + k] * b[n * K + k];
        }
        out[i] = sum;
    }
}

// 2. A warp an element, its lanes along K: 32 neighbouring numbers are 128 bytes that come at once. Still every number of a is
// read N times, and every number of b M times: a quarter of an operation a byte.
// resident: step_warp_kernel 256 threads, 8 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 8) step_warp_kernel(float* out, const float* a, const float* b, int64_t M, int64_t N,
                                                           int64_t K) {
    const int64_t lane = threadIdx.x % kWarpLanes;
    for (int64_t i = grid_first() / kWarpLanes; i < M * N; i += grid_stride() / kWarpLanes) {
        const int64_t m = i / N, n = i % N;
        float sum = 0;
        for (int64_t k = lane; k < K; k += kWarpLanes) {
            sum += a[m * K + k] * b[n * K + k];
        }
        sum = warp_reduce(sum, Sum());
        if (lane == 0) {
            out[i] = sum;
        }
    }
}

// Few rows, 3. A warp a column, for all rows at once: steps 1 and 2 read every weight once for each row, now it comes once and
// serves them all.
// resident: step_few_rows_kernel 256 threads, 4 blocks, 0 bytes shared
__global__ void __launch_bounds__(256, 4) step_few_rows_kernel(float* out, const float* a, const float* b, int64_t M, int64_t N,
                                                               int64_t K) {
    const int64_t lane = threadIdx.x % kWarpLanes;
    for (int64_t n = grid_first() / kWarpLanes; n < N; n += grid_stride() / kWarpLanes) {
        float sum[kFewRows] = {};
        for (int64_t k = lane; k < K; k += kWarpLanes) {
            const float weight = b[n * K + k];
#pragma unroll
            for (int m = 0; m < kFewRows; m++) {
                sum[m] += m < M ? a[m * K + k] * weight : 0.0f;
            }
        }
#pragma unroll
        for (int m = 0; m < kFewRows; m++) {
            const float total = warp_reduce(sum[m], Sum());
            if (lane == 0 && m < M) {
                out[m * N + n] = total;
            }
        }
    }
}

// 3. Tiles in shared memory. A block makes 32 x 32 elements, and reads every number of its rows of a and of b once for all of
// them: 8 operations a byte. Now it is shared memory that is read twice for each multiply-add.
constexpr int kSharedTile = 32;
// resident: step_shared_kernel 1024 threads, 2 blocks, 8448 bytes shared
__global__ void __launch_bounds__(1024, 2) step_shared_kernel(float* out, const float* a, const float* b, int64_t M, int64_t N,
                                                              int64_t K) {
    // a row is a number longer, so that 32 threads that read the same k of 32 rows meet 32 banks
    __shared__ float a_tile[kSharedTile][kSharedTile + 1], b_tile[kSharedTile][kSharedTile + 1];
    const int x = static_cast<int>(threadIdx.x) % kSharedTile, y = static_cast<int>(threadIdx.x) / kSharedTile;
    const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kSharedTile, n0 = static_cast<int64_t>(blockIdx.x) * kSharedTile;
    float sum = 0;
    for (int64_t k = 0; k < K; k += kSharedTile) {
        __syncthreads(); // the tiles before these have been used
        a_tile[y][x] = m0 + y < M && k + x < K ? a[(m0 + y) * K + k + x] : 0.0f;
        b_tile[y][x] = n0 + y < N && k + x < K ? b[(n0 + y) * K + k + x] : 0.0f;
        __syncthreads();
        for (int i = 0; i < kSharedTile; i++) {
            sum += a_tile[y][i] * b_tile[x][i];
        }
    }
    if (m0 + y < M && n0 + x < N) {
        out[(m0 + y) * N + n0 + x] = sum;
    }
}

// 4. Tiles in registers. A thread makes 8 x 8 elements: 16 numbers from shared memory serve 64 multiply-adds, where they
// served 8 before, and the block's tile grows to 128 x 128, 32 operations a byte of memory.
constexpr int kOwn = 8, kRegisterTile = 16 * kOwn, kRegisterDepth = 8;
// resident: step_registers_kernel 256 threads, 2 blocks, 8256 bytes shared
__global__ void __launch_bounds__(256, 2) step_registers_kernel(float* out, const float* a, const float* b, int64_t M, int64_t N,
                                                                int64_t K) {
    __shared__ float a_tile[kRegisterDepth][kRegisterTile + 1], b_tile[kRegisterDepth][kRegisterTile + 1];
    const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
    const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kRegisterTile, n0 = static_cast<int64_t>(blockIdx.x) * kRegisterTile;
    float sum[kOwn][kOwn] = {};
    for (int64_t k0 = 0; k0 < K; k0 += kRegisterDepth) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < kRegisterTile * kRegisterDepth; i += 256) {
            const int row = i / kRegisterDepth, k = i % kRegisterDepth;
            a_tile[k][row] = m0 + row < M && k0 + k < K ? a[(m0 + row) * K + k0 + k] : 0.0f;
            b_tile[k][row] = n0 + row < N && k0 + k < K ? b[(n0 + row) * K + k0 + k] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kRegisterDepth; k++) {
            float a_k[kOwn], b_k[kOwn];
#pragma unroll
            for (int i = 0; i < kOwn; i++) { // rows 16 apart: neighbouring threads read neighbouring numbers
                a_k[i] = a_tile[k][16 * i + y];
                b_k[i] = b_tile[k][16 * i + x];
            }
#pragma unroll
            for (int i = 0; i < kOwn; i++) {
#pragma unroll
                for (int j = 0; j < kOwn; j++) {
                    sum[i][j] += a_k[i] * b_k[j];
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < kOwn; i++) {
#pragma unroll
        for (int j = 0; j < kOwn; j++) {
            const int64_t m = m0 + 16 * i + y, n = n0 + 16 * j + x;
            if (m < M && n < N) {
                out[m * N + n] = sum[i][j];
            }
        }
    }
}

// 5. is product_f32.cu: numbers travel as vectors of four, and the next tile while this one is multiplied.

// ---- 6 and 7: BF16 -----------------------------------------------------------------------------------------------------------

constexpr int kMmaTile = 64, kMmaDepth = 16, kWarpTile = 32; // of a block of 2 x 2 warps, and of a warp

// Numbers k and k+1 of row `row`, zeros beside the matrix.
__device__ __forceinline__ uint32_t pair_of(const uint16_t* x, int64_t row, int64_t k, int64_t rows, int64_t K) {
    const uint32_t low = row < rows && k < K ? x[row * K + k] : 0u, high = row < rows && k + 1 < K ? x[row * K + k + 1] : 0u;
    return low | high << 16;
}

// 6. Tensor cores. One instruction of a warp multiplies 16 x 16 by 16 x 8 numbers: 2048 multiply-adds, of operands whose
// fragments each lane collects from shared memory as the PTX manual lays them out (ptx.cuh). The roof is sixteen times as
// high, and eight lanes that read the same place of eight rows find them in the same banks, two by two.
// resident: step_mma_kernel 128 threads, 8 blocks, 4096 bytes shared
// uses: step_mma_kernel mma.sync
__global__ void __launch_bounds__(128, 8) step_mma_kernel(float* out, const uint16_t* a, const uint16_t* b, int64_t M, int64_t N,
                                                          int64_t K) {
    __shared__ uint32_t a_tile[kMmaTile][kMmaDepth / 2], b_tile[kMmaTile][kMmaDepth / 2]; // pairs
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int g = lane / 4, t = lane % 4, warp_m = warp / 2 * kWarpTile, warp_n = warp % 2 * kWarpTile;
    const int64_t m0 = static_cast<int64_t>(blockIdx.y) * kMmaTile, n0 = static_cast<int64_t>(blockIdx.x) * kMmaTile;
    float sum[2][4][4] = {};
    for (int64_t k0 = 0; k0 < K; k0 += kMmaDepth) {
        __syncthreads();
        for (int i = static_cast<int>(threadIdx.x); i < kMmaTile * kMmaDepth / 2; i += 128) {
            const int row = i / (kMmaDepth / 2), pair = i % (kMmaDepth / 2);
            a_tile[row][pair] = pair_of(a, m0 + row, k0 + 2 * pair, M, K);
            b_tile[row][pair] = pair_of(b, n0 + row, k0 + 2 * pair, N, K);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int m = warp_m + 16 * i;
            const uint32_t a_i[4] = {a_tile[m + g][t], a_tile[m + g + 8][t], a_tile[m + g][t + 4], a_tile[m + g + 8][t + 4]};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int n = warp_n + 8 * j;
                const uint32_t b_j[2] = {b_tile[n + g][t], b_tile[n + g][t + 4]};
                mma_m16n8k16(sum[i][j], a_i, b_j);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int64_t m = m0 + warp_m + 16 * i + g + 8 * (r / 2), n = n0 + warp_n + 8 * j + 2 * t + r % 2;
                if (m < M && n < N) {
                    out[m * N + n] = sum[i][j][r];
                }
            }
        }
    }
}

// 7. ldmatrix from swizzled tiles (operand_tile.cuh): one instruction brings a lane four words of four fragments, and the eight
// rows that it reads lie in different banks. Everything still waits for the tile to come from memory.
// resident: step_ldmatrix_kernel 128 threads, 4 blocks, 8192 bytes shared
// uses: step_ldmatrix_kernel mma.sync ldmatrix
__global__ void __launch_bounds__(128, 4) step_ldmatrix_kernel(const __grid_constant__ ProductBatch batch) {
    constexpr int kDepth = 32;
    using Tile = OperandTile<kMmaTile, kDepth, true>;
    __shared__ Tile a_tile, b_tile;
    const ProductArgs& product = batch.list[0];
    const Place place = place_of_block<kMmaTile, kMmaTile>(batch);
    const Operand a = operand_a<true>(product, product.terms[0]), b = operand_b<true>(product, product.terms[0]);
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int warp_m = warp / 2 * kWarpTile, warp_n = warp % 2 * kWarpTile;
    float sum[2][4][4] = {};
    for (int k = 0; k < product.terms[0].K; k += kDepth) {
        Carried<Tile::kOwn> a_next, b_next;
        Tile::load(a_next, 0, a, place.m, k);
        Tile::load(b_next, 0, b, place.n, k);
        __syncthreads();
        a_tile.store(a_next, 0);
        b_tile.store(b_next, 0);
        __syncthreads();
        for (int step = 0; step < kDepth / 16; step++) {
            multiply_step(sum, a_tile, b_tile, true, true, warp_m, warp_n, step);
        }
    }
    const SumsOut sums(product, 0);
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int m = place.m + warp_m + 16 * i + lane / 4, n = place.n + warp_n + 8 * j + lane % 4 * 2;
            sums.write2(m, n, sum[i][j][0], sum[i][j][1]);
            sums.write2(m + 8, n, sum[i][j][2], sum[i][j][3]);
        }
    }
}

// 8. is product_bf16.cu: tiles are copied to shared memory by cp.async, three ahead of the one that is multiplied.

// ---- running them ----------------------------------------------------------------------------------------------------------

const float* f32(Matrix x) { return static_cast<const float*>(x.data); }
const uint16_t* bf16(Matrix x) { return static_cast<const uint16_t*>(x.data); }

// The steps that launch kernels of this file: `cuda` is the CUDA backend, as CudaMatmulStep says.
cudaStream_t stream_of(Kernels& cuda) { return static_cast<CudaKernels&>(cuda).stream(); }

Grid tiles_of(int64_t M, int64_t N, int tile, int threads) {
    return {dim3(static_cast<unsigned>(ceil_div(N, tile)), static_cast<unsigned>(ceil_div(M, tile))), threads};
}

void element(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    launch("step 1", step_element_kernel, grid_of(M * N), stream_of(cuda), out, f32(a), f32(b), M, N, K);
}

void warp(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    launch("step 2", step_warp_kernel, grid_of(M * N * kWarpLanes), stream_of(cuda), out, f32(a), f32(b), M, N, K);
}

void few_rows(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    CHECK(M <= kFewRows, "a step for at most %lld rows, and there are %lld", static_cast<long long>(kFewRows), static_cast<long long>(M));
    launch("step 3 of few rows", step_few_rows_kernel, grid_of(N * kWarpLanes), stream_of(cuda), out, f32(a), f32(b), M, N, K);
}

void shared(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    launch("step 3", step_shared_kernel, tiles_of(M, N, kSharedTile, kSharedTile * kSharedTile), stream_of(cuda), out, f32(a),
           f32(b), M, N, K);
}

void registers(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    launch("step 4", step_registers_kernel, tiles_of(M, N, kRegisterTile, 256), stream_of(cuda), out, f32(a), f32(b), M, N, K);
}

void mma(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    launch("step 6", step_mma_kernel, tiles_of(M, N, kMmaTile, 128), stream_of(cuda), out, bf16(a), bf16(b), M, N, K);
}

void ldmatrix(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    ProductBatch batch = {};
    batch.count = 1;
    ProductArgs& product = batch.list[0];
    product.out = out;
    product.M = static_cast<int>(M);
    product.N = static_cast<int>(N);
    product.stride_m = N;
    product.stride_n = 1;
    product.alpha = 1;
    product.slices = 1;
    product.term_count = 1;
    product.terms[0] = {a.data, b.data, static_cast<int>(K), a.type, b.type, false, false};
    launch("step 7", step_ldmatrix_kernel, {dim3(static_cast<unsigned>(ceil_div(M, kMmaTile) * ceil_div(N, kMmaTile))), kTileThreads},
           stream_of(cuda), batch);
}

void final_product(Kernels& cuda, float* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K) {
    cuda.matmul(Layout::nt, out, a, b, M, N, K, 1, false);
}

} // namespace

const CudaMatmulStep kCudaMatmulSteps[kCudaMatmulStepCount] = {
    {"1 a thread an element", false, element},
    {"2 a warp an element", false, warp},
    {"3 tiles in shared memory", false, shared},
    {"4 tiles in registers", false, registers},
    {"5 vectors, and the next tile on its way", false, final_product},
    {"6 tensor cores", true, mma},
    {"7 ldmatrix from swizzled tiles", true, ldmatrix},
    {"8 asynchronous copies in stages", true, final_product},
    {"few rows, 3 a weight once for all of them", false, few_rows, true}, // after 1 and 2, which are for any number of rows
    {"few rows, 4 sixteen bytes a lane, columns together", false, final_product, true},
};

} // namespace skintern
