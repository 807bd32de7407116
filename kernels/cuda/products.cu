// products.cu — matrix products: out = base + alpha * (a_0 b_0 + a_1 b_1 + ...), see Kernels::products.
#include "cuda.cuh"
#include "dequantize.h"

namespace skintern {

// ---- weights of other types ----------------------------------------------------------------------------------------------

// A thread decodes a part of 32 numbers.
__global__ void decode_kernel(float* out, WeightType type, const uint8_t* blocks, int64_t count, int64_t parts,
                              int64_t block_bytes) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        float numbers[kDecodedPart];
        decode_part_of_block(numbers, type, blocks + i / parts * block_bytes, i % parts);
        for (int64_t c = 0; c < kDecodedPart; c++) {
            out[i * kDecodedPart + c] = numbers[c];
        }
    }
}

__global__ void decode_f16_kernel(float* out, const uint16_t* in, int64_t count) {
    for (int64_t i = grid_first(); i < count; i += grid_stride()) {
        out[i] = f16_to_float(in[i]);
    }
}

// The numbers of a weight of any type as F32 or BF16: in `scratch`, or where they are.
static Matrix decoded(Matrix b, int64_t count, float* scratch, cudaStream_t stream) {
    if (b.type == WeightType::f32 || b.type == WeightType::bf16) {
        return b;
    }
    if (b.type == WeightType::f16) {
        launch("decode", decode_f16_kernel, grid_of(count), stream, scratch, static_cast<const uint16_t*>(b.data), count);
    } else {
        const WeightFormat& format = weight_format(b.type);
        launch("decode", decode_kernel, grid_of(count / kDecodedPart), stream, scratch, b.type,
               static_cast<const uint8_t*>(b.data), count / kDecodedPart, format.elements / kDecodedPart, format.bytes);
    }
    return Matrix(scratch);
}

// ---- step 1: a thread an element -------------------------------------------------------------------------------------------

template <bool kRound>
__device__ __forceinline__ float operand(float value) {
    return kRound ? bf16_value(bf16_bits(value)) : value;
}

// out = base + alpha * a b, or with `add` out += alpha * a b.
template <class A, class B, bool kRound>
__global__ void product_kernel(Layout layout, float* out, const float* base, const A* a, const B* b, int64_t M, int64_t N,
                               int64_t K, float alpha) {
    for (int64_t i = grid_first(); i < M * N; i += grid_stride()) {
        const int64_t m = i / N, n = i % N;
        float sum = 0;
        for (int64_t k = 0; k < K; k++) {
            const float a_mk = get(a, layout == Layout::tn ? k * M + m : m * K + k);
            const float b_kn = get(b, layout == Layout::nt ? n * K + k : k * N + n);
            sum += operand<kRound>(a_mk) * operand<kRound>(b_kn);
        }
        out[i] = (base == nullptr ? 0.0f : base[i]) + alpha * sum;
    }
}

void CudaKernels::products(Layout layout, const Product* list, int64_t count, int64_t M) {
    const bool round = bf16_ && !(layout == Layout::nt && M <= kFewRows);
    for (int64_t p = 0; p < count; p++) {
        const Product& product = list[p];
        const float* base = product.base;
        if (product.term_count == 0) {
            if (base == nullptr) {
                zero(product.out, static_cast<size_t>(M * product.N) * sizeof(float));
            } else if (base != product.out) {
                copy(product.out, base, static_cast<size_t>(M * product.N) * sizeof(float));
            }
        }
        for (int64_t t = 0; t < product.term_count; t++) {
            const Term& term = product.terms[t];
            const bool stored = term.b.type != WeightType::f32 && term.b.type != WeightType::bf16;
            const int64_t numbers = product.N * term.K;
            with_type(term.a, [&](auto* a) {
                with_type(decoded(term.b, numbers, stored ? scratch(numbers) : nullptr, stream_), [&](auto* b) {
                    using A = std::remove_const_t<std::remove_pointer_t<decltype(a)>>;
                    using B = std::remove_const_t<std::remove_pointer_t<decltype(b)>>;
                    launch("product", round ? product_kernel<A, B, true> : product_kernel<A, B, false>,
                           grid_of(M * product.N), stream_, layout, product.out, base, a, b, M, product.N, term.K,
                           product.alpha);
                });
            });
            base = product.out;
        }
    }
}

} // namespace skintern
