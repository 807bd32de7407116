// weight_type.h — the types in which a frozen weight may lie in memory, and what a matrix of such a type is.
//
// A row of a matrix is a whole number of blocks. A block of a plain type is one number; a block of a quantised type (the
// types of GGML, as GGUF files hold them) is a few small integers with the scale they share.
//
// What is inline here is always inlined: files that are compiled once an instruction set see it too (see simd.h).
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef SKINTERN_REAL
#define SKINTERN_REAL float
#endif

namespace skintern {

// The type of every activation, gradient and moment: float. The gradient tests compile the same files once more with
// -DSKINTERN_REAL=double, where central differences can be taken at eps = 1e-6.
using real = SKINTERN_REAL;

enum class WeightType : uint8_t {
    f32, // `real`: what is trained is of this type, everything else is frozen
    f16,
    bf16,
    q8_0,
    q4_0,
    q4_1,
    q5_0,
    q5_1,
    q4_k,
    q5_k,
    q6_k,
};

struct WeightFormat {
    const char* name; // as files write it: "F32", "BF16", "Q4_K"
    int64_t elements; // of a block
    int64_t bytes;    // of a block
};

// By WeightType.
inline constexpr WeightFormat kWeightFormats[] = {
    {"F32", 1, 4},    {"F16", 1, 2},    {"BF16", 1, 2},    {"Q8_0", 32, 34},   {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
    {"Q5_0", 32, 22}, {"Q5_1", 32, 24}, {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
};
inline constexpr int kWeightTypes = 11;

// CASE(type) for each type that is not real.
#define SKINTERN_EACH_STORED_TYPE(CASE) \
    CASE(f16) CASE(bf16) CASE(q8_0) CASE(q4_0) CASE(q4_1) CASE(q5_0) CASE(q5_1) CASE(q4_k) CASE(q5_k) CASE(q6_k)

[[gnu::always_inline]] inline const WeightFormat& weight_format(WeightType type) { return kWeightFormats[static_cast<size_t>(type)]; }

// Where a weight lies: row-major, rows of whole blocks. Nothing is owned. A pointer to real numbers is a matrix of them.
struct Matrix {
    const void* data = nullptr;
    WeightType type = WeightType::f32;
    const void* packed = nullptr;     // by Kernels::pack for many rows, or null
    const void* packed_few = nullptr; // for few rows, or null

    [[gnu::always_inline]] Matrix() {}
    [[gnu::always_inline]] Matrix(const real* numbers) : data(numbers) {} // not explicit: an operand that is no weight is written as it is
    [[gnu::always_inline]] Matrix(const void* blocks, WeightType type_of_blocks)
        : data(blocks), type(type_of_blocks) {}

    [[gnu::always_inline]] const real* numbers() const { return static_cast<const real*>(data); } // of an f32 matrix
};

// A matrix that an op writes: F32, or rounded to BF16 as round_to_bf16() does it.
struct MatrixOut {
    void* data = nullptr;
    WeightType type = WeightType::f32;

    [[gnu::always_inline]] MatrixOut(real* numbers) : data(numbers) {} // not explicit, as of Matrix
    [[gnu::always_inline]] MatrixOut(void* numbers, WeightType type_of_numbers) : data(numbers), type(type_of_numbers) {}

    [[gnu::always_inline]] operator Matrix() const { return {data, type}; }
};

// Bytes of `columns` numbers, a multiple of the block, as a file has them; and in memory, where F32 is real.
[[gnu::always_inline]] inline int64_t file_row_bytes(WeightType type, int64_t columns) {
    return columns / weight_format(type).elements * weight_format(type).bytes;
}
[[gnu::always_inline]] inline int64_t row_bytes(WeightType type, int64_t columns) {
    return type == WeightType::f32 ? columns * static_cast<int64_t>(sizeof(real))
                                   : file_row_bytes(type, columns);
}

} // namespace skintern
