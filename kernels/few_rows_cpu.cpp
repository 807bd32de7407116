// few_rows_cpu.cpp — layers of at most kFewRows rows: decoding.
//
// Every weight is read once and serves a few rows, so memory and the decoding of blocks are the limit, not multiply-adds,
// and packing would cost as much as the product. The rows of a and b are multiplied as dot products, straight from where
// they lie; a row of blocks is decoded in registers on the way. Several products of the same call, and the terms of each,
// are one pass: threads wake once.
//
// A weight that is packed for few rows (lanes.h) has a row in each lane: nothing is left to add up over lanes, and its blocks
// are cheaper to decode. With `activations q8` the rows of a are rounded to 8 bits first, and blocks are multiplied as
// integers (dot_q8.h).
//
// Cost: bytes of the weights. Scratch: rounded rows, or the sums of their blocks.
#include "cpu.h"
#include "decode.h"
#include "dot_q8.h"
#include "lanes.h"
#include "simd.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kDotColumns = 4; // columns of out that one pass over a row of a serves
constexpr int64_t kDotTask = 32;   // columns of one task
// Blocks are asked for so far ahead: the processor's own prefetching does not cross the pages of a mapped file.
constexpr int64_t kPrefetchBytes = 8192;
// Multiply-adds below which waking the other threads costs more.
constexpr int64_t kParallelWork = 256 * 1024;

// sum[i][j] += the dot product of row m+i of a and row j of b, of floats, lane by lane.
template <int ROWS, int COLUMNS>
inline void add_dots(vec (&sum)[ROWS][COLUMNS], const float* a, // (ROWS,K)
                     const float* b,                            // (COLUMNS,K)
                     int64_t K) {
    for (int64_t k = 0; k < K; k += kLanes) {
        vec b_k[COLUMNS];
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            b_k[j] = load_upto(b + j * K + k, K - k);
        }
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            const vec a_k = load_upto(a + i * K + k, K - k);
#pragma GCC unroll 4
            for (int j = 0; j < COLUMNS; j++) {
                sum[i][j] = fma(a_k, b_k[j], sum[i][j]);
            }
        }
    }
}

// Likewise with rows of a type.
template <WeightType TYPE, int ROWS, int COLUMNS>
inline void add_dots_of_blocks(vec (&sum)[ROWS][COLUMNS], const float* a, // (ROWS,K)
                               const uint8_t* b,                          // COLUMNS rows, row_size apart
                               int64_t row_size, int64_t K) {
    const int64_t whole = K / kDecodedPart * kDecodedPart;
    for (int64_t k = 0; k < whole; k += kDecodedPart) {
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            vec b_k[kPartVectors];
            __builtin_prefetch(b + j * row_size + row_bytes(TYPE, k) + kPrefetchBytes);
            decode_part<TYPE>(b_k, b + j * row_size, k / kDecodedPart);
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 8
                for (int v = 0; v < kPartVectors; v++) {
                    sum[i][j] = fma(load(a + i * K + k + v * kLanes), b_k[v], sum[i][j]);
                }
            }
        }
    }
    if constexpr (kWeightFormats[static_cast<int>(TYPE)].elements == 1) { // such rows end anywhere
        float numbers[COLUMNS * kDecodedPart];
        for (int j = 0; j < COLUMNS && whole < K; j++) {
            dequantize(numbers + j * kDecodedPart, TYPE, b + j * row_size, whole, K - whole);
        }
        for (int64_t k = whole; k < K; k += kLanes) {
#pragma GCC unroll 4
            for (int j = 0; j < COLUMNS; j++) {
#pragma GCC unroll 4
                for (int i = 0; i < ROWS; i++) {
                    const vec b_k = load_upto(numbers + j * kDecodedPart + k - whole, K - k);
                    sum[i][j] = fma(load_upto(a + i * K + k, K - k), b_k, sum[i][j]);
                }
            }
        }
    }
}

// `rounded`: the rows of a in 8 bits, or nullptr.
template <int ROWS, int COLUMNS>
inline void add_term(vec (&sum)[ROWS][COLUMNS], const Term& term, const float* rounded, int64_t m, int64_t n) {
    const float* a = term.a.numbers() + m * term.K;
    const int64_t row_size = row_bytes(term.b.type, term.K);
    const uint8_t* b = static_cast<const uint8_t*>(term.b.data) + n * row_size;
    if (rounded != nullptr) {
        const int64_t row_floats = q8_row_floats(term.K);
        const float* row = rounded + m * row_floats;
        switch (term.b.type) {
        case WeightType::q8_0:
            add_dots_q8<WeightType::q8_0, ROWS, COLUMNS>(sum, row, row_floats, b, row_size, term.K);
            break;
        case WeightType::q4_0:
            add_dots_q8<WeightType::q4_0, ROWS, COLUMNS>(sum, row, row_floats, b, row_size, term.K);
            break;
        default: add_dots_q8<WeightType::q4_1, ROWS, COLUMNS>(sum, row, row_floats, b, row_size, term.K); break;
        }
        return;
    }
    switch (term.b.type) {
    case WeightType::f32: add_dots<ROWS, COLUMNS>(sum, a, term.b.numbers() + n * term.K, term.K); break;
#define SKINTERN_CASE(TYPE) \
    case WeightType::TYPE: add_dots_of_blocks<WeightType::TYPE, ROWS, COLUMNS>(sum, a, b, row_size, term.K); break;
        SKINTERN_EACH_STORED_TYPE(SKINTERN_CASE)
#undef SKINTERN_CASE
    }
}

// ROWS x COLUMNS elements of out from row m and column n.
template <int ROWS, int COLUMNS>
void dot_tile(const Product& product, const float* const* rounded, int64_t m, int64_t n) {
    vec sum[ROWS][COLUMNS] = {};
    for (int64_t t = 0; t < product.term_count; t++) {
        add_term<ROWS, COLUMNS>(sum, product.terms[t], rounded[t], m, n);
    }
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            const int64_t at = (m + i) * product.N + n + j;
            const float base = product.base != nullptr ? product.base[at] : 0.0f;
            product.out[at] = base + product.alpha * sum_lanes(sum[i][j]);
        }
    }
}

// All rows of out, COLUMNS columns from n.
template <int COLUMNS>
void dot_columns(const Product& product, const float* const* rounded, int64_t M, int64_t n) {
    constexpr int kRows = kLanes == 16 ? 4 : 2; // kRows * kDotColumns sums must stay in registers
    int64_t m = 0;
    for (; m + kRows <= M; m += kRows) {
        dot_tile<kRows, COLUMNS>(product, rounded, m, n);
    }
    for (; m < M; m++) {
        dot_tile<1, COLUMNS>(product, rounded, m, n);
    }
}

// ROWS rows of out from row m, the columns of the group that begins at n, of a term whose weight is packed.
template <WeightType TYPE, int ROWS>
void lane_tile(const Product& product, const Term& term, const float* prepared, bool q8, int64_t m, int64_t n) {
    const uint8_t* group = static_cast<const uint8_t*>(term.b.packed_few) + n / kLanes * lane_group_bytes(TYPE, term.K);
    vec sum[ROWS] = {};
    if (q8) {
        add_lanes_q8<TYPE, ROWS>(sum, group, prepared + m * q8_row_floats(term.K), q8_row_floats(term.K), term.K);
    } else {
        add_lanes<TYPE, ROWS>(sum, group, term.a.numbers() + m * term.K, prepared + m * (term.K / kLaneBlock), term.K);
    }
    for (int i = 0; i < ROWS; i++) {
        const int64_t at = (m + i) * product.N + n;
        const vec base = product.base != nullptr ? load_upto(product.base + at, product.N - n) : vec{};
        store_upto(product.out + at, fma(broadcast(product.alpha), sum[i], base), product.N - n);
    }
}

template <WeightType TYPE>
void lane_columns(const Product& product, const Term& term, const float* prepared, bool q8, int64_t M, int64_t n) {
    int64_t m = 0;
    for (; m + 4 <= M; m += 4) {
        lane_tile<TYPE, 4>(product, term, prepared, q8, m, n);
    }
    for (; m + 2 <= M; m += 2) {
        lane_tile<TYPE, 2>(product, term, prepared, q8, m, n);
    }
    if (m < M) {
        lane_tile<TYPE, 1>(product, term, prepared, q8, m, n);
    }
}

// The columns of one task, from column n; `prepared`: PreparedRows::rows of each term.
void dot_task(Product product, const float* const* prepared, bool q8, int64_t M, int64_t n) {
    const int64_t end = min_of(product.N, n + kDotTask);
    const Term& first = product.terms[0];
    if (first.b.packed_few != nullptr) {
        for (int64_t group = n; group < end; group += kLanes) {
            switch (first.b.type) {
            case WeightType::q8_0: lane_columns<WeightType::q8_0>(product, first, prepared[0], q8, M, group); break;
            case WeightType::q4_0: lane_columns<WeightType::q4_0>(product, first, prepared[0], q8, M, group); break;
            default: lane_columns<WeightType::q4_1>(product, first, prepared[0], q8, M, group); break;
            }
        }
        product.base = product.out; // to which the others add
        product.terms[0] = {};
        if (product.term_count == 1) {
            return;
        }
    }
    for (; n + kDotColumns <= end; n += kDotColumns) {
        dot_columns<kDotColumns>(product, prepared, M, n);
    }
    for (; n < end; n++) {
        dot_columns<1>(product, prepared, M, n);
    }
}

// What is known of the rows of a before any weight is read: rounded to 8 bits where the weight is multiplied so, or the sums
// of their blocks, by which the offsets of a packed weight are multiplied. Terms of the same rows share it.
struct PreparedRows {
    const float* rows[kMaxProducts][kMaxTerms] = {};

    static bool has_block_sums(const Term& term, int64_t t) {
        return t == 0 && term.b.type == WeightType::q4_1 && term.b.packed_few != nullptr;
    }

    static int64_t row_floats(const Term& term, int64_t t, bool q8) {
        if (q8) {
            return has_q8_dot(term.b.type) ? q8_row_floats(term.K) : 0;
        }
        return has_block_sums(term, t) ? term.K / kLaneBlock : 0;
    }

    PreparedRows(const Product* list, int64_t count, int64_t M, bool q8, float* scratch) {
        for (int64_t p = 0; p < count; p++) {
            for (int64_t t = 0; t < list[p].term_count; t++) {
                const Term& term = list[p].terms[t];
                const int64_t floats = row_floats(term, t, q8);
                for (int64_t q = 0; q < p && floats > 0 && rows[p][t] == nullptr; q++) {
                    rows[p][t] = list[q].terms[0].a.data == term.a.data ? rows[q][0] : nullptr;
                }
                if (floats == 0 || rows[p][t] != nullptr) {
                    continue;
                }
                rows[p][t] = scratch;
                for (int64_t m = 0; m < M; m++, scratch += floats) {
                    const float* a = term.a.numbers() + m * term.K;
                    if (q8) {
                        quantise_row(scratch, a, term.K);
                    } else {
                        sum_blocks(scratch, a, term.K);
                    }
                }
            }
        }
    }
};

} // namespace

void CpuKernels::few_rows(const Product* list, int64_t count, int64_t M) {
    for (int64_t p = 1; p < count; p++) {
        for (int64_t q = 0; q < p; q++) {
            for (int64_t t = 0; t < list[p].term_count; t++) {
                if (list[p].terms[t].a.data == list[q].out) { // the earlier ones first
                    few_rows(list, p, M);
                    few_rows(list + p, count - p, M);
                    return;
                }
            }
        }
    }
    int64_t first_task[kMaxProducts + 1] = {0};
    int64_t work = 0, prepared_floats = 0;
    for (int64_t p = 0; p < count; p++) {
        first_task[p + 1] = first_task[p] + ceil_div(list[p].N, kDotTask);
        for (int64_t t = 0; t < list[p].term_count; t++) {
            work += M * list[p].N * list[p].terms[t].K;
            prepared_floats += M * PreparedRows::row_floats(list[p].terms[t], t, q8_);
        }
    }
    const PreparedRows prepared(list, count, M, q8_, scratch(prepared_floats));
    team_.each(first_task[count], work > kParallelWork, [&](int64_t task) {
        int64_t p = 0;
        while (task >= first_task[p + 1]) {
            p++;
        }
        dot_task(list[p], prepared.rows[p], q8_, M, (task - first_task[p]) * kDotTask);
    });
}

size_t CpuKernels::few_packed_bytes(Matrix b, int64_t N, int64_t K) {
    return has_lanes(b.type) ? static_cast<size_t>(ceil_div(N, kLanes) * lane_group_bytes(b.type, K)) : 0;
}

void CpuKernels::pack_few(void* packed, Matrix b, int64_t N, int64_t K) {
    team_.each(ceil_div(N, kLanes), true, [&](int64_t group) {
        pack_lanes(static_cast<uint8_t*>(packed) + group * lane_group_bytes(b.type, K), b, N, K, group * kLanes);
    });
}

} // namespace skintern::SKINTERN_ISA
