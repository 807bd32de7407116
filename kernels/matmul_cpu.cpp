// matmul_cpu.cpp — out = alpha * a b (or += ) on the CPU, for every layout and every shape.
//
// After Goto & van de Geijn 2008 (Anatomy of high-performance matrix multiplication) and BLIS (Van Zee & van de Geijn
// 2015). From the inside out:
//
//   micro-kernel   a tile of out, kMR rows by kNR = 2 vectors of columns, is held in registers while k runs. A step of
//                  k loads kNR elements of b and broadcasts kMR of a for kMR * kNR multiply-adds: enough reuse
//                  that the multiply-add units, not the loads, are the limit.
//   packing        the micro-kernel reads a and b as if they were one long array: panels of kMR rows of a with k
//                  running slowest, panels of kNR columns of b likewise. Packing copies them so, whatever the layout
//                  was; that is also where the three layouts become one.
//   blocking       k is cut in blocks of at most kKC, so that a panel of a (24 KB) stays in the first-level cache while
//                  it meets the panels of b, and a task takes kTaskRows rows, which with b stay in the second level.
//                  b is packed once, by all threads together; a by the thread that takes the task.
//
// An element of out is the sum over k in order, block after block, whatever tile it lies in and whichever thread takes
// that tile: the result does not depend on the number of threads.
//
// Decoding has few rows (M <= kDotRows) and reads every weight once: packing would cost as much as the product. There
// the rows of a and b (layout nt) are multiplied as dot products, straight from memory.
//
// A weight of another type than F32 is decoded on its way into a panel, or a few rows at a time for the dot products:
// the panels, and so the sums, are those of the decoded matrix, which never exists as a whole.
//
// Cost: M N K multiply-adds and at least (M + N) K copies. Scratch: 2 kNC kKC floats for b, and kTaskRows kKC for a
// in each thread, or less for small shapes.
#include "cpu.h"
#include "dequantize.h"
#include "simd.h"
#include "tiles.h"

namespace skintern::SKINTERN_ISA {

namespace {

// Registers: kMR * 2 accumulators, 2 of b, 1 of a, out of 32 (AVX-512) or 16 (the others).
constexpr int kMR = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 4;
constexpr int kNR = 2 * kLanes;
constexpr int64_t kKC = 512;
constexpr int64_t kNC = 64 * kNR;      // columns of b packed at a time
constexpr int64_t kTaskRows = 8 * kMR; // rows of a packed at a time, by one thread
constexpr int64_t kTasksPerThread = 4; // at least, so that the last of them does not keep the others waiting
constexpr int64_t kDotRows = 8;        // at most so many rows go by dot products
constexpr int64_t kDotColumns = 4;     // columns of out that one pass over a row of a serves
constexpr int64_t kDotTask = 32;       // columns of one task
constexpr int64_t kDecode = 64;        // numbers of a row decoded at a time while packing
// Multiply-adds below which waking the other threads costs more.
[[maybe_unused]] constexpr int64_t kParallelWork = 256 * 1024;

struct Product {
    Layout layout;
    float* out;
    const float* a;
    Matrix b;
    int64_t M, N, K;
    float alpha;
    bool accumulate;

    // Row r of b, (N,K) for nt, else (K,N).
    const char* b_row(int64_t r) const {
        return static_cast<const char*>(b.data) + r * row_bytes(b.type, layout == Layout::nt ? K : N);
    }
};

// ---- micro-kernel ----------------------------------------------------------------------------------------------------

// A tile of MR rows and NV vectors of columns, `columns` of which exist:  out = or += alpha * a b
template <int MR, int NV>
void micro_kernel(float* out,     // (MR,columns), rows ld apart
                  const float* a, // (K,MR) packed
                  const float* b, // (K,NV*kLanes) packed
                  int64_t ld, int64_t K, int64_t columns, float alpha, bool add) {
    vec sum[MR][NV] = {};
    for (int64_t k = 0; k < K; k++) {
        vec b_k[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            b_k[v] = load(b + v * kLanes);
        }
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) {
            const vec a_ik = broadcast(a[i]);
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sum[i][v] = fma(a_ik, b_k[v], sum[i][v]);
            }
        }
        a += MR;
        b += NV * kLanes;
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            float* tile = out + i * ld + v * kLanes;
            const int64_t left = columns - v * kLanes;
            if (left >= kLanes) {
                store(tile, add ? fma(broadcast(alpha), sum[i][v], load(tile)) : alpha * sum[i][v]);
            } else if (left > 0) {
                const vec old = add ? load_tail(tile, left) : vec{};
                store_tail(tile, fma(broadcast(alpha), sum[i][v], old), left);
            }
        }
    }
}

// The micro-kernel of `rows` rows: the last panel of a may be lower than kMR.
template <int NV, int MR = kMR>
void multiply_panels(int64_t rows, float* out, const float* a, const float* b, int64_t ld, int64_t K,
                     int64_t columns, float alpha, bool add) {
    if constexpr (MR > 1) {
        if (rows < MR) {
            multiply_panels<NV, MR - 1>(rows, out, a, b, ld, K, columns, alpha, add);
            return;
        }
    }
    micro_kernel<MR, NV>(out, a, b, ld, K, columns, alpha, add);
}

// ---- packing -----------------------------------------------------------------------------------------------------------

// Rows m0 .. m0+rows-1 of a, k0 .. k0+kc-1.
void pack_a(const Product& p, float* packed, int64_t m0, int64_t rows, int64_t k0, int64_t kc) {
    if (p.layout == Layout::tn) {
        pack_straight(packed, p.a + k0 * p.M + m0, p.M, kc, rows, rows);
    } else {
        pack_transposed(packed, p.a + m0 * p.K + k0, p.K, kc, rows, rows);
    }
}

// Columns of a panel of b that is `left` columns from the end: a panel of one vector where that is enough.
int64_t panel_width(int64_t left) {
    return left > kLanes ? kNR : kLanes;
}

// The same panel of a b that is not of floats.
void pack_decoded(const Product& p, float* packed, int64_t n0, int64_t columns, int64_t width, int64_t k0, int64_t kc) {
    if (p.layout == Layout::nt) {
        float numbers[kNR * kDecode];
        for (int64_t k = 0; k < kc; k += kDecode) {
            const int64_t count = min_of(kc - k, kDecode);
            for (int64_t j = 0; j < columns; j++) {
                dequantize(numbers + j * kDecode, p.b.type, p.b_row(n0 + j), k0 + k, count);
            }
            pack_transposed(packed + k * width, numbers, kDecode, count, columns, width);
        }
        return;
    }
    for (int64_t k = 0; k < kc; k++, packed += width) {
        dequantize(packed, p.b.type, p.b_row(k0 + k), n0, columns);
        for (int64_t j = columns; j < width; j++) {
            packed[j] = 0.0f;
        }
    }
}

// Columns n0 .. of b, at most kNR, k0 .. k0+kc-1.
void pack_b(const Product& p, float* packed, int64_t n0, int64_t k0, int64_t kc) {
    const int64_t width = panel_width(p.N - n0);
    const int64_t columns = min_of(p.N - n0, width);
    if (p.b.type != WeightType::f32) {
        pack_decoded(p, packed, n0, columns, width, k0, kc);
    } else if (p.layout == Layout::nt) {
        pack_transposed(packed, p.b.numbers() + n0 * p.K + k0, p.K, kc, columns, width);
    } else {
        pack_straight(packed, p.b.numbers() + k0 * p.N + n0, p.N, kc, columns, width);
    }
}

// ---- blocks ------------------------------------------------------------------------------------------------------------

// The rows of a that one task takes, and the panels of b it multiplies them with.
struct Block {
    int64_t m0, rows;
    int64_t n0, columns;
    int64_t kc;
    bool add; // out += (a later block of k, or accumulate)
};

void multiply_block(const Product& p, const Block& block,
                    const float* packed_a,   // panels of kMR rows
                    const float* packed_b) { // panels of kNR columns
    for (int64_t m = 0; m < block.rows; m += kMR) {
        const int64_t rows = min_of(block.rows - m, kMR);
        for (int64_t n = 0; n < block.columns; n += kNR) {
            const int64_t columns = min_of(block.columns - n, kNR);
            float* out = p.out + (block.m0 + m) * p.N + block.n0 + n;
            const float* a = packed_a + m * block.kc;
            const float* b = packed_b + n * block.kc;
            if (columns > kLanes) {
                multiply_panels<2>(rows, out, a, b, p.N, block.kc, columns, p.alpha, block.add);
            } else {
                multiply_panels<1>(rows, out, a, b, p.N, block.kc, columns, p.alpha, block.add);
            }
        }
    }
}

// How a product is cut. The cuts in k decide the order of sums and depend on the shape alone; those in rows and columns
// decide who computes an element, not how, and may look at the number of threads.
struct Plan {
    int64_t kc;      // length of a block of k
    int64_t rows;    // of one task
    int64_t columns; // of one task
};

Plan make_plan(const Product& p, int threads) {
    const int64_t tasks = kTasksPerThread * threads;
    const int64_t rows = min_of(kTaskRows, round_up(p.M, kMR));
    const int64_t column_groups = ceil_div(tasks, ceil_div(p.M, rows));
    const int64_t columns = round_up(ceil_div(min_of(p.N, kNC), column_groups), kNR);
    return {ceil_div(p.K, ceil_div(p.K, kKC)), rows, columns};
}

// Scratch: two buffers for b used by turns, so that one barrier a block is enough: while slower threads still
// multiply one block, the others pack the next. And one buffer for a in each thread.
int64_t floats_of_a(const Plan& plan) {
    return plan.rows * plan.kc;
}

int64_t floats_of_b(const Product& p, const Plan& plan) {
    return round_up(min_of(p.N, kNC), kNR) * plan.kc;
}

void packed_product(const Product& p, const Plan& plan, float* scratch, [[maybe_unused]] int threads) {
#pragma omp parallel num_threads(threads) if (p.M * p.N * p.K > kParallelWork)
    {
        float* packed_a = scratch + 2 * floats_of_b(p, plan) + thread_index() * floats_of_a(plan);
        int turn = 0;
        for (int64_t n0 = 0; n0 < p.N; n0 += kNC) {
            const int64_t n_end = min_of(p.N, n0 + kNC);
            for (int64_t k0 = 0; k0 < p.K; k0 += plan.kc, turn = 1 - turn) {
                const int64_t kc = min_of(p.K - k0, plan.kc);
                float* packed_b = scratch + turn * floats_of_b(p, plan);
#pragma omp for schedule(static)
                for (int64_t n = n0; n < n_end; n += kNR) {
                    pack_b(p, packed_b + (n - n0) * kc, n, k0, kc);
                }
                int64_t m_packed = -1; // the rows that are in packed_a
#pragma omp for collapse(2) schedule(dynamic) nowait
                for (int64_t m = 0; m < p.M; m += plan.rows) {
                    for (int64_t n = n0; n < n_end; n += plan.columns) {
                        const Block block = {m,  min_of(plan.rows, p.M - m),
                                             n,  min_of(plan.columns, n_end - n),
                                             kc, p.accumulate || k0 > 0};
                        if (m != m_packed) {
                            for (int64_t i = 0; i < block.rows; i += kMR) {
                                pack_a(p, packed_a + i * kc, m + i, min_of(block.rows - i, kMR), k0, kc);
                            }
                            m_packed = m;
                        }
                        multiply_block(p, block, packed_a, packed_b + (n - n0) * kc);
                    }
                }
            }
        }
    }
}

// ---- few rows ----------------------------------------------------------------------------------------------------------

// ROWS x COLUMNS elements of out, each the dot product of a row of a and a row of b.
template <int ROWS, int COLUMNS>
void dot_tile(const Product& p,
              const float* b, // (COLUMNS,K): rows n .. of b
              int64_t m, int64_t n) {
    const float* a = p.a + m * p.K;
    vec sum[ROWS][COLUMNS] = {};
    for (int64_t k = 0; k < p.K; k += kLanes) {
        vec b_k[COLUMNS];
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            b_k[j] = load_upto(b + j * p.K + k, p.K - k);
        }
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            const vec a_k = load_upto(a + i * p.K + k, p.K - k);
#pragma GCC unroll 4
            for (int j = 0; j < COLUMNS; j++) {
                sum[i][j] = fma(a_k, b_k[j], sum[i][j]);
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            float* out = p.out + (m + i) * p.N + n + j;
            *out = (p.accumulate ? *out : 0.0f) + p.alpha * sum_lanes(sum[i][j]);
        }
    }
}

// All rows of out, COLUMNS columns from n.
template <int COLUMNS>
void dot_columns(const Product& p,
                 float* decoded, // (COLUMNS,K), scratch when b is not of floats
                 int64_t n) {
    const float* b = decoded;
    if (p.b.type == WeightType::f32) {
        b = p.b.numbers() + n * p.K;
    } else {
        for (int64_t j = 0; j < COLUMNS; j++) {
            dequantize(decoded + j * p.K, p.b.type, p.b_row(n + j), 0, p.K);
        }
    }
    constexpr int kRows = kLanes == 16 ? 4 : 2; // kRows * kDotColumns sums must stay in registers
    int64_t m = 0;
    for (; m + kRows <= p.M; m += kRows) {
        dot_tile<kRows, COLUMNS>(p, b, m, n);
    }
    for (; m < p.M; m++) {
        dot_tile<1, COLUMNS>(p, b, m, n);
    }
}

void dot_product(const Product& p,
                 float* scratch, // (threads,kDotColumns,K) when b is not of floats
                 [[maybe_unused]] int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (p.M * p.N * p.K > kParallelWork)
    for (int64_t n0 = 0; n0 < p.N; n0 += kDotTask) {
        const int64_t end = min_of(p.N, n0 + kDotTask);
        float* decoded = scratch == nullptr ? nullptr : scratch + thread_index() * kDotColumns * p.K;
        int64_t n = n0;
        for (; n + kDotColumns <= end; n += kDotColumns) {
            dot_columns<kDotColumns>(p, decoded, n);
        }
        for (; n < end; n++) {
            dot_columns<1>(p, decoded, n);
        }
    }
}

} // namespace

// ---- the op ------------------------------------------------------------------------------------------------------------

void CpuKernels::matmul(Layout layout,
                        float* out,     // (M,N) = or +=
                        const float* a, // (M,K), or (K,M) for tn
                        Matrix b,       // (N,K) for nt, else (K,N), of any type but for tn
                        int64_t M, int64_t N, int64_t K, float alpha, bool accumulate) {
    if (library_ != nullptr && b.type == WeightType::f32) {
        library_(threads_, layout, out, a, b.numbers(), M, N, K, alpha, accumulate);
        return;
    }
    const Product p = {layout, out, a, b, M, N, K, alpha, accumulate};
    if (layout == Layout::nt && M <= kDotRows) {
        const bool decode = b.type != WeightType::f32;
        dot_product(p, decode ? scratch(threads_ * kDotColumns * K) : nullptr, threads_);
        return;
    }
    if (K == 0 && !accumulate) { // an empty sum
        zero(out, static_cast<size_t>(M * N) * sizeof(float));
    }
    if (M == 0 || N == 0 || K == 0) {
        return;
    }
    const Plan plan = make_plan(p, threads_);
    packed_product(p, plan, scratch(2 * floats_of_b(p, plan) + threads_ * floats_of_a(plan)), threads_);
}

// ---- the roof ----------------------------------------------------------------------------------------------------------

// As many independent sums as the micro-kernel holds, and nothing else: what no matmul can be faster than.
int64_t spin_multiply_adds(int64_t rounds, float* sink, bool) {
    constexpr int kSums = 12;
    vec sum[kSums]; // all different, or the compiler would compute one of them for all
    for (int j = 0; j < kSums; j++) {
        sum[j] = broadcast(*sink + static_cast<float>(j));
    }
    const vec x = broadcast(*sink + 0.5f);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < kSums; j++) {
            sum[j] = fma(sum[j], x, x);
        }
    }
    for (int j = 0; j < kSums; j++) {
        *sink += sum_lanes(sum[j]);
    }
    return rounds * kSums * kLanes * 2;
}

Kernels* make_cpu_kernels(const CpuSettings& settings) {
    return new CpuKernels(settings);
}

} // namespace skintern::SKINTERN_ISA
