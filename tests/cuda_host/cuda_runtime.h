// cuda_runtime.h — a stand-in for the header of the same name: with it the host compiler compiles kernels/cuda/*.cu, and
// runner.cpp runs them on the CPU.
//
// Only what the project's .cu files use is here, under NVIDIA's names and with NVIDIA's meaning (CUDA C++ Programming Guide;
// CUDA Runtime API). Device memory is host memory that only kernels and copies may touch; a stream does at once what it
// is asked. What the runner models, finds and cannot find: docs/kernels.md.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

// ---- qualifiers ----------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __shared__ static // one block runs at a time; the runner finds it by its name

// ---- vectors -------------------------------------------------------------------------------------------------------

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
    unsigned x = 0, y = 0, z = 0;
};

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

// ---- the runtime API -----------------------------------------------------------------------------------------------

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
};

const char* cudaGetErrorString(cudaError_t error); // with what the runner found
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

struct CUstream_st;
using cudaStream_t = CUstream_st*;
enum { cudaStreamNonBlocking = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();

// Time on the device.
struct CUevent_st;
using cudaEvent_t = CUevent_st*;
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
cudaError_t cudaMalloc(void** ptr, size_t bytes);
cudaError_t cudaFree(void* ptr);
cudaError_t cudaMallocHost(void** ptr, size_t bytes);
cudaError_t cudaFreeHost(void* ptr);
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

struct cudaDeviceProp {
    char name[256];
    int major, minor;
    int multiProcessorCount;
    size_t totalGlobalMem;
    size_t sharedMemPerBlockOptin;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
namespace cuda_host {
cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value);
}
template <class... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
    return cuda_host::set_attribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

// ---- launches --------------------------------------------------------------------------------------------------------

struct cudaLaunchAttribute {};
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes = 0;
    cudaStream_t stream = nullptr;
    cudaLaunchAttribute* attrs = nullptr;
    unsigned numAttrs = 0;
};

namespace cuda_host {

// A kernel and its arguments, as one thread runs them.
struct Work {
    const void* kernel = nullptr; // the function
    std::shared_ptr<const void> arguments;
    size_t argument_bytes = 0;
    void (*run)(const void* arguments) = nullptr;
};

// Runs, or while a stream is captured records, the work once for each thread of the grid.
cudaError_t launch(const cudaLaunchConfig_t& config, const Work& work);

} // namespace cuda_host

template <class... Parameters, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Given&&... given) {
    struct Arguments {
        void (*kernel)(Parameters...);
        std::tuple<std::remove_const_t<Parameters>...> values;
    };
    const auto arguments = std::make_shared<Arguments>(Arguments{kernel, {static_cast<Parameters>(given)...}});
    const auto run = [](const void* all) {
        const Arguments& own = *static_cast<const Arguments*>(all);
        std::apply(own.kernel, own.values);
    };
    return cuda_host::launch(*config, {reinterpret_cast<const void*>(kernel), arguments, sizeof(Arguments), run});
}

// ---- graphs ------------------------------------------------------------------------------------------------------------

struct CUgraph_st;
struct CUgraphExec_st;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0, cudaStreamCaptureModeThreadLocal = 1, cudaStreamCaptureModeRelaxed = 2 };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

// ---- what a kernel calls -----------------------------------------------------------------------------------------------

// In a section of their own: a kernel may read them.
extern __attribute__((section("cuda_host_indices"))) uint3 threadIdx, blockIdx;
extern __attribute__((section("cuda_host_indices"))) dim3 blockDim, gridDim;
constexpr int warpSize = 32;

void __syncthreads(std::source_location where = std::source_location::current());
int __syncthreads_count(int predicate, std::source_location where = std::source_location::current());
int __syncthreads_and(int predicate, std::source_location where = std::source_location::current());
int __syncthreads_or(int predicate, std::source_location where = std::source_location::current());
void __syncwarp(unsigned mask = 0xffffffffu, std::source_location where = std::source_location::current());

namespace cuda_host {

constexpr int kWarp = 32;

// What the lanes of a warp do together. Each lane calls with its own `operand`; when all of `mask` have come, `act` is
// called once with their operands, by lane, and then every lane returns.
using Act = void (*)(void* const* operands, unsigned mask);
void together(unsigned mask, void* operand, Act act, const char* what, std::source_location where);

int lane(); // of the running thread in its warp
void* dynamic_shared();

void atomic_access(const void* at, size_t bytes);
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2))); // ends the launch

// `value` of lane `source`.
uint64_t shuffle(unsigned mask, uint64_t value, int source, const char* what, std::source_location where);

template <class T>
T shuffle(unsigned mask, T value, int source, const char* what, std::source_location where) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    return std::bit_cast<T>(static_cast<Bits>(shuffle(mask, uint64_t{std::bit_cast<Bits>(value)}, source, what, where)));
}

} // namespace cuda_host

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, std::source_location where = std::source_location::current()) {
    return cuda_host::shuffle(mask, value, (cuda_host::lane() & ~(width - 1)) | (source & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, std::source_location where = std::source_location::current()) {
    const int lane = cuda_host::lane(), source = lane ^ bits;
    return cuda_host::shuffle(mask, value, source / width > lane / width ? lane : source, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32, std::source_location where = std::source_location::current()) {
    const int lane = cuda_host::lane();
    return cuda_host::shuffle(mask, value, lane % width + delta < width ? lane + delta : lane, "__shfl_down_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32, std::source_location where = std::source_location::current()) {
    const int lane = cuda_host::lane();
    return cuda_host::shuffle(mask, value, lane % width >= delta ? lane - delta : lane, "__shfl_up_sync", where);
}
unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current());
inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
    return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
    return __ballot_sync(mask, predicate, where) == mask;
}

// One thread runs at a time: reading and writing is one step. The compiler does not tell the runner of these accesses, so that
// it can be told that they are atomic.
template <class T>
__attribute__((no_sanitize("thread"))) T atomicAdd(T* at, T value) {
    cuda_host::atomic_access(at, sizeof(T));
    const T old = *at;
    *at = old + value;
    return old;
}

template <class T>
T __ldg(const T* at) { return *at; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; std::memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
template <class T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T>
constexpr T max(T a, T b) { return a < b ? b : a; }
