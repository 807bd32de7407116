// few_rows_cpu.cpp — layers of at most kFewRows rows: decoding.
//
// Every weight is read once and serves a few rows, so memory and the decoding of blocks are the limit, not multiply-adds,
// and packing would cost as much as the product. The rows of a and b are multiplied as dot products, straight from where
// they lie; a row of blocks is decoded in registers on the way. Several products of the same call, and the terms of each,
// are one pass: threads wake once.
//
// With `activations q8` the rows of a are rounded to 8 bits first, and blocks are multiplied as integers (dot_q8.h).
//
// Cost: bytes of the weights. Scratch: rounded rows.
#include "cpu.h"
#include "decode.h"
#include "dot_q8.h"
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

// The columns of one task, from column n.
void dot_task(const Product& product, const float* const* rounded, int64_t M, int64_t n) {
    const int64_t end = min_of(product.N, n + kDotTask);
    for (; n + kDotColumns <= end; n += kDotColumns) {
        dot_columns<kDotColumns>(product, rounded, M, n);
    }
    for (; n < end; n++) {
        dot_columns<1>(product, rounded, M, n);
    }
}

// The rows of a of every term, in 8 bits where its weight is multiplied so. Terms of the same rows share them.
struct RoundedRows {
    const float* rows[kMaxProducts][kMaxTerms] = {};
    int64_t floats = 0;

    RoundedRows(const Product* list, int64_t count, int64_t M, float* scratch) {
        for (int64_t p = 0; p < count; p++) {
            for (int64_t t = 0; t < list[p].term_count; t++) {
                const Term& term = list[p].terms[t];
                if (!has_q8_dot(term.b.type)) {
                    continue;
                }
                const float* known = nullptr;
                for (int64_t q = 0; q < p && known == nullptr; q++) {
                    known = list[q].terms[0].a.data == term.a.data ? rows[q][0] : nullptr;
                }
                if (known == nullptr) {
                    known = scratch + floats;
                    for (int64_t m = 0; m < M; m++) {
                        quantise_row(scratch + floats + m * q8_row_floats(term.K), term.a.numbers() + m * term.K, term.K);
                    }
                    floats += M * q8_row_floats(term.K);
                }
                rows[p][t] = known;
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
    int64_t rounded_floats = 0;
    for (int64_t p = 0; p < count && q8_; p++) {
        for (int64_t t = 0; t < list[p].term_count; t++) {
            rounded_floats += M * q8_row_floats(list[p].terms[t].K);
        }
    }
    const RoundedRows rounded(list, q8_ ? count : 0, M, scratch(rounded_floats));
    int64_t first_task[kMaxProducts + 1] = {0};
    int64_t work = 0;
    for (int64_t p = 0; p < count; p++) {
        first_task[p + 1] = first_task[p] + ceil_div(list[p].N, kDotTask);
        for (int64_t t = 0; t < list[p].term_count; t++) {
            work += M * list[p].N * list[p].terms[t].K;
        }
    }
    team_.each(first_task[count], work > kParallelWork, [&](int64_t task) {
        int64_t p = 0;
        while (task >= first_task[p + 1]) {
            p++;
        }
        dot_task(list[p], rounded.rows[p], M, (task - first_task[p]) * kDotTask);
    });
}

} // namespace skintern::SKINTERN_ISA
