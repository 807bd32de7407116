// cuda.cuh — what the .cu files of this folder share: launching, memory, reductions, and the class whose ops they define.
//
//   memory.cu     the device, memory, map and recorded steps
//   products.cu   matrix products: products.cuh says which files have their kernels
//   attention.cuh attention_*.cu: attention
//   layers.cu     every other op
//   roofs.cu      what the GPU could do at most
//   ptx.cuh       instructions that C++ has no name for
//
// All work of an object goes through one stream, in order. Nothing waits for the device but what hands a result to the host:
// download() and sum_squares(). An op allocates nothing once its scratch has grown.
//
// The same files are compiled by nvcc for a GPU, and by the host compiler with the headers of tests/cuda_host, which run
// every kernel on the CPU and check what it does. So a kernel says what it wants in CUDA C++ and ptx.cuh alone, and takes
// its shared memory from shared_memory<T>().
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <string>
#include <type_traits>

#include "kernels.h"
#include "support/check.h"

// A call of the CUDA runtime that has to succeed.
#define CUDA_CHECK(call)                                                                                              \
    do {                                                                                                              \
        const cudaError_t cuda_error_ = (call);                                                                       \
        CHECK(cuda_error_ == cudaSuccess, "CUDA: %s failed: %s", #call, cudaGetErrorString(cuda_error_));              \
    } while (0)

namespace skintern {

static_assert(sizeof(real) == sizeof(float), "the CUDA backend is written for real = float");

constexpr int kWarpLanes = 32;

// ---- launching -------------------------------------------------------------------------------------------------------

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Grid {
    dim3 blocks; // none in some direction: nothing is launched
    int threads; // of a block
    size_t shared_bytes = 0;
};

// Every kernel is launched here. `name` is for messages. Errors of the launch are told at once, those of a kernel by the next
// call that waits for the device.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, Arguments... arguments) {
    if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) {
        return;
    }
    constexpr size_t kSharedWithoutAsking = 48 << 10;
    if (grid.shared_bytes > kSharedWithoutAsking) {
        CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(grid.shared_bytes)));
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = grid.blocks;
    config.blockDim = dim3(static_cast<unsigned>(grid.threads));
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = stream;
    const cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
    CHECK(error == cudaSuccess, "CUDA kernel %s (%u x %u x %u blocks of %d threads, %zu bytes of shared memory): %s", name,
          grid.blocks.x, grid.blocks.y, grid.blocks.z, grid.threads, grid.shared_bytes, cudaGetErrorString(error));
}

// A grid of blocks of `threads` for `items`, one thread each. Kernels that use it stride over the grid.
inline Grid grid_of(int64_t items, int threads = 256) {
    constexpr int64_t kMaxBlocks = 1 << 16;
    const int64_t blocks = ceil_div(items, threads);
    return {dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), threads};
}

// ---- inside a kernel ---------------------------------------------------------------------------------------------------

// The block's dynamic shared memory, 128-byte aligned, contents undefined.
template <class T>
__device__ __forceinline__ T& shared_memory() {
#ifdef SKINTERN_CUDA_HOST
    return *static_cast<T*>(cuda_host::dynamic_shared());
#else
    extern __shared__ __align__(128) unsigned char memory[];
    return *reinterpret_cast<T*>(memory);
#endif
}

// The first item of this thread and the distance to its next, over the whole grid.
__device__ __forceinline__ int64_t grid_first() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t grid_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

struct Sum {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};
struct Max {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a > b ? a : b;
    }
};

// The values of all lanes of a warp combined, for every lane, in a fixed order.
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, Combine combine) {
    for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, bits));
    }
    return value;
}

// The values of all threads of a block of whole warps combined, for every thread, in a fixed order. `partial` (32) is shared
// memory that is used for nothing else between two barriers.
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, Combine combine, T* partial) {
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, warps = static_cast<int>(blockDim.x) / kWarpLanes;
    value = warp_reduce(value, combine);
    __syncthreads(); // what an earlier reduction left in `partial` has been read
    if (threadIdx.x % kWarpLanes == 0) {
        partial[warp] = value;
    }
    __syncthreads();
    value = partial[0];
    for (int w = 1; w < warps; w++) {
        value = combine(value, partial[w]);
    }
    return value;
}

// BF16 as round_to_bf16() (dequantize.h) has it: to nearest even, subnormal numbers become 0, NaN stays NaN.
__device__ __forceinline__ uint16_t bf16_bits(float value) {
    return std::isnan(value) ? static_cast<uint16_t>((__float_as_uint(value) | 0x00400000u) >> 16)
           : (__float_as_uint(value) & 0x7f800000u) == 0
               ? static_cast<uint16_t>(__float_as_uint(value) >> 16 & 0x8000u)
               : __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__device__ __forceinline__ float bf16_value(uint16_t bits) { return __uint_as_float(static_cast<uint32_t>(bits) << 16); }

// What an op writes (MatrixOut): F32 or BF16.
__device__ __forceinline__ void put(float* out, int64_t i, float value) { out[i] = value; }
__device__ __forceinline__ void put(uint16_t* out, int64_t i, float value) { out[i] = bf16_bits(value); }
__device__ __forceinline__ float get(const float* in, int64_t i) { return in[i]; }
__device__ __forceinline__ float get(const uint16_t* in, int64_t i) { return bf16_value(in[i]); }

// kWidth neighbouring numbers, which a thread loads and stores at once: 16 bytes of F32 where kWidth is 4.
template <int kWidth>
struct Numbers {
    float v[kWidth];
};

template <int kWidth>
__device__ __forceinline__ Numbers<kWidth> load(const float* in, int64_t i) {
    if constexpr (kWidth == 4) {
        const float4 four = *reinterpret_cast<const float4*>(in + i);
        return {four.x, four.y, four.z, four.w};
    } else {
        return {in[i]};
    }
}

template <int kWidth>
__device__ __forceinline__ void store(float* out, int64_t i, const Numbers<kWidth>& x) {
    if constexpr (kWidth == 4) {
        *reinterpret_cast<float4*>(out + i) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    } else {
        out[i] = x.v[0];
    }
}

template <int kWidth>
__device__ __forceinline__ void store(uint16_t* out, int64_t i, const Numbers<kWidth>& x) {
    if constexpr (kWidth == 4) {
        const auto pair = [&](int at) { return bf16_bits(x.v[at]) | static_cast<uint32_t>(bf16_bits(x.v[at + 1])) << 16; };
        *reinterpret_cast<uint2*>(out + i) = make_uint2(pair(0), pair(2));
    } else {
        out[i] = bf16_bits(x.v[0]);
    }
}

// Calls `body` with the width, as a constant, in which rows of `count` numbers at these addresses may be loaded and stored: 4
// or 1. Of BF16 four numbers are 8 bytes.
template <class Body, class... Pointers>
void with_width(int64_t count, const Body& body, const Pointers*... pointers) {
    const bool aligned = ((reinterpret_cast<uintptr_t>(pointers) % (4 * sizeof(Pointers)) == 0) && ...);
    if (count % 4 == 0 && aligned) {
        body(std::integral_constant<int, 4>());
    } else {
        body(std::integral_constant<int, 1>());
    }
}

// Calls `body(pointer)` with the matrix's numbers as float* or, BF16, as uint16_t*.
template <class Body>
void with_type(MatrixOut out, const Body& body) {
    if (out.type == WeightType::bf16) {
        body(static_cast<uint16_t*>(out.data));
    } else {
        body(static_cast<float*>(out.data));
    }
}
template <class Body>
void with_type(Matrix in, const Body& body) {
    if (in.type == WeightType::bf16) {
        body(static_cast<const uint16_t*>(in.data));
    } else {
        body(static_cast<const float*>(in.data));
    }
}

struct ProductBatch;           // products.cuh
enum class Tiles : int;
struct BackwardView;           // attention.cuh

// ---- the backend ---------------------------------------------------------------------------------------------------------

class CudaKernels final : public Kernels {
public:
    explicit CudaKernels(bool bf16);
    ~CudaKernels() override;
    CudaKernels(const CudaKernels&) = delete;
    CudaKernels& operator=(const CudaKernels&) = delete;

    cudaStream_t stream() const { return stream_; } // for product_steps.cu

    std::string name() const override;
    void* alloc(size_t bytes) override;
    void free(void* ptr) override;
    void upload(void* dst, const void* host_src, size_t bytes) override;
    void download(void* host_dst, const void* src, size_t bytes) override;
    void copy(void* dst, const void* src, size_t bytes) override;
    void zero(void* dst, size_t bytes) override;
    Matrix map(Matrix host, int64_t R, int64_t C, bool products_alone) override;
    void unmap(Matrix mapped) override;
    void repeat(const std::string& key, const std::function<void()>& step) override;

    void products(Layout layout, const Product* list, int64_t count, int64_t M) override;
    WeightType operand_type() const override { return bf16_ ? WeightType::bf16 : WeightType::f32; }
    size_t packed_bytes(Rows, Matrix, int64_t, int64_t) const override { return 0; }
    void pack(Rows, void*, Matrix, int64_t, int64_t) override {}

    void bias_forward(float* out, const float* bias, int64_t N, int64_t C) override;
    void bias_backward(float* dbias, const float* dout, int64_t N, int64_t C) override;
    void gather_rows(float* out, Matrix table, const int32_t* rows, int64_t M, int64_t C) override;
    void scatter_rows(void* table, WeightType type, const float* inp, const int32_t* rows, int64_t M, int64_t C) override;
    void scatter_add_rows(float* table, const float* inp, const int32_t* rows, int64_t M, int64_t C) override;
    void rmsnorm_forward(MatrixOut out, float* rstd, const float* inp, const float* weight, int64_t N, int64_t C,
                         float eps) override;
    void rmsnorm_backward(float* dinp, float* dweight, MatrixOut out, const float* dout, const float* inp,
                          const float* weight, const float* rstd, int64_t N, int64_t C) override;
    void rope(float* x, const float* cos_sin, const int32_t* positions, int64_t N, int64_t NH, int64_t HS,
              bool inverse) override;
    void swiglu_forward(MatrixOut out, const float* gate, const float* up, int64_t n) override;
    void swiglu_backward(MatrixOut dgate, MatrixOut dup, MatrixOut out, const float* dout, const float* gate,
                         const float* up, int64_t n) override;
    void attention_forward(float* out, float* lse, const float* q, const float* k, const float* v, Sequences seq, int64_t NH,
                           int64_t NKV, int64_t HS) override;
    void attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                            const float* v, const float* out, const float* lse, Sequences seq, int64_t NH, int64_t NKV,
                            int64_t HS) override;
    void attention_cached(float* out, const float* q, Matrix k_cache, Matrix v_cache, const int32_t* slot,
                          const int32_t* length, Sequences seq, int64_t capacity, int64_t NH, int64_t NKV,
                          int64_t HS) override;
    void attention_step(int step, float* out, float* lse, const float* q, const float* k, const float* v, Sequences seq,
                        int64_t NH, int64_t NKV, int64_t HS); // attention_steps.cu
    void attention_backward_step(int step, float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k,
                                 const float* v, const float* out, const float* lse, Sequences seq, int64_t NH, int64_t NKV,
                                 int64_t HS, int64_t ds_bytes); // attention_backward_steps.cu
    void cross_entropy(float* loss, float* logits, const int32_t* target, int64_t M, int64_t V, float scale) override;
    void kl_divergence(float* loss, float* logits, const float* target, int64_t M, int64_t V, float scale) override;
    void argmax_rows(int32_t* out, const float* logits, int64_t M, int64_t V) override;
    double sum_squares(const float* x, int64_t n) override;
    void adamw(float* param, float* m, float* v, const float* grad, int64_t n, const AdamwStep& step) override;

    Roofs roofs();

private:
    // products.cu: products that do not wait for each other, the same in one launch each.
    void products_of_few_rows(const Product* const* list, int count, int64_t M);
    void products_of_tiles(Layout layout, const Product* const* list, int count, int64_t M);
    void products_of_batch(Layout layout, ProductBatch& batch, Tiles tiles);

    // attention_backward.cu: the view of all rows, with D; and five products in BF16, by warps of 16 keys or, where `wide`, of 32
    // if the width allows it. Where ds of one key/value head of a sequence takes more than ds_bytes, seven products.
    BackwardView backward_view(float* dq, float* dk, float* dv, const float* dout, const float* q, const float* k, const float* v,
                               const float* out, const float* lse, Sequences seq, int64_t NH, int64_t NKV, int64_t HS);
    void backward_in_five(const BackwardView& view, int64_t longest, bool wide, int64_t ds_bytes);

    // At least `floats` floats of device memory, 256-byte aligned, contents undefined, valid until the next call with the same
    // `block`. It only grows.
    float* scratch(int64_t floats, int block = 0);

    const bool bf16_;
    std::string device_;      // its name
    int processors_ = 0;      // streaming multiprocessors
    cudaStream_t stream_ = nullptr;
    struct Scratch {
        float* data = nullptr;
        int64_t floats = 0;
    };
    Scratch scratch_[4];

    struct Recorded {
        bool was_done = false; // once as it is: whatever grows has grown
        cudaGraphExec_t graph = nullptr;
    };
    void record(Recorded& recorded, const std::function<void()>& step);
    void forget_recorded();
    std::map<std::string, Recorded> recorded_;
    bool recording_ = false;
};

} // namespace skintern
