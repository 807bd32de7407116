// runtime.cpp — the CUDA runtime API of the modelled device: launches, errors, copies and graphs. A stream does at once what
// it is asked, so a kernel's mistake is the result of its launch; as on a GPU, every later call fails too, until the error
// has been asked for.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "accesses.h"
#include "cuda_runtime.h"
#include "device_memory.h"
#include "fibres.h"
#include "host.h"
#include "instructions.h"
#include "shared_memory.h"
#include "symbols.h"

namespace cuda_host {
namespace {

constexpr size_t kSharedWithoutAsking = 48 << 10;

struct Graph {
    std::vector<std::function<cudaError_t()>> steps;
};

struct Runtime {
    bool failed = false;    // a kernel: nothing works any more
    std::string unconsumed; // an error of a launch that nobody has asked for
    cudaError_t last_error = cudaSuccess;
    std::map<cudaError_t, std::string> texts;  // what is known of the latest error of its kind
    std::map<const void*, int> dynamic_limits; // of kernels, as asked for
    Graph* captured = nullptr;
    cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
    uint64_t launches = 0, seed = 1;
    std::optional<Order> order; // none: another each launch
    int architecture = 90;
    size_t memory = kDeviceBytes;
    std::string lacks;
};

std::string variable(const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return value == nullptr ? otherwise : value;
}

void check_end();

Runtime begin() {
    Runtime all;
    const std::string order = variable("CUDA_HOST_ORDER", "all");
    all.order = order == "forward"   ? std::optional(Order::forward)
                : order == "reverse" ? std::optional(Order::reverse)
                : order == "random"  ? std::optional(Order::random)
                                     : std::nullopt;
    all.seed = static_cast<uint64_t>(std::atoll(variable("CUDA_HOST_SEED", "1").c_str()));
    all.architecture = std::atoi(variable("CUDA_HOST_ARCH", "90").c_str());
    all.memory = std::min(kDeviceBytes, static_cast<size_t>(std::atoll(variable("CUDA_HOST_MEMORY", "8192").c_str())) << 20);
    all.lacks = variable("CUDA_HOST_LACKS", "");
    std::atexit(check_end);
    return all;
}

Runtime& runtime() {
    static Runtime& all = *new Runtime(begin()); // lives until check_end()
    return all;
}

cudaError_t error(cudaError_t code, const std::string& text) {
    Runtime& r = runtime();
    r.texts[code] = text;
    r.last_error = code;
    return code;
}

cudaError_t launch_error(cudaError_t code, const std::string& text) {
    runtime().unconsumed = text;
    return error(code, text);
}

// What every call of the API begins with, but those that ask for errors.
cudaError_t enter() {
    Runtime& r = runtime();
    if (r.failed) {
        return cudaErrorLaunchFailure;
    }
    if (!r.unconsumed.empty()) {
        return error(cudaErrorLaunchFailure, "unconsumed launch error: " + std::exchange(r.unconsumed, ""));
    }
    return cudaSuccess;
}

// A call that waits for the device or changes its memory cannot be recorded.
cudaError_t enter_unrecorded(const char* call) {
    if (const cudaError_t entered = enter(); entered != cudaSuccess) {
        return entered;
    }
    return runtime().captured == nullptr
               ? cudaSuccess
               : error(cudaErrorStreamCaptureUnsupported, std::string(call) + " while a stream is captured");
}

void check_end() {
    if (const std::string text = unconsumed_error(); !text.empty()) {
        std::fprintf(stderr, "cuda_host: unconsumed launch error: %s\n", text.c_str());
        std::_Exit(1);
    }
}

// ---- launches ----------------------------------------------------------------------------------------------------------------

size_t max_shared() { return runtime().architecture == 80 ? size_t{163} << 10 : kMaxShared; }

std::string text_of(dim3 size) {
    return std::to_string(size.x) + " x " + std::to_string(size.y) + " x " + std::to_string(size.z);
}

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
std::string refused(const cudaLaunchConfig_t& config, const void* kernel) {
    const dim3 grid = config.gridDim, block = config.blockDim;
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > kMaxThreads || block.z > 64) {
        return text_of(block) + " threads in a block: 1 to 1024 there can be, and 64 in the last direction";
    }
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
        return text_of(grid) + " blocks: 1 to 2^31-1 x 65535 x 65535 there can be";
    }
    const size_t fixed = static_shared_bytes(kernel);
    const auto asked = runtime().dynamic_limits.find(kernel);
    const size_t limit = asked == runtime().dynamic_limits.end() ? kSharedWithoutAsking : max_shared();
    if (config.dynamicSmemBytes + fixed > limit ||
        (asked != runtime().dynamic_limits.end() && config.dynamicSmemBytes > static_cast<size_t>(asked->second))) {
        return "too much shared memory: " + std::to_string(config.dynamicSmemBytes) + " bytes and " + std::to_string(fixed) +
               " static ones; there are " +
               (asked == runtime().dynamic_limits.end()
                    ? std::to_string(limit) + " without cudaFuncSetAttribute"
                    : std::to_string(asked->second) + " that cudaFuncSetAttribute asked for, of " + std::to_string(limit));
    }
    return "";
}

// The i-th block of `count` to run, when each number has its turn once.
size_t block_at(size_t i, size_t count, Order order, uint64_t seed) {
    if (order != Order::random) {
        return order == Order::forward ? i : count - 1 - i;
    }
    size_t step = seed * 0x9e3779b97f4a7c15u % count | 1;
    while (std::gcd(step, count) != 1) {
        step++;
    }
    return (i * (step % count) + seed) % count;
}

cudaError_t run(const cudaLaunchConfig_t& config, const Work& work) {
    Runtime& r = runtime();
    if (r.failed) {
        return cudaErrorLaunchFailure;
    }
    const DeviceAccess access;
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    set_arguments(work.arguments.get(), work.argument_bytes);
    begin_shared(work.kernel, config.dynamicSmemBytes);
    const uint64_t number = r.launches++;
    const Order order = r.order.value_or(std::array{Order::forward, Order::reverse, Order::random}[number % 3]);
    const size_t blocks = size_t{gridDim.x} * gridDim.y * gridDim.z;
    for (size_t i = 0; i < blocks; i++) {
        const uint64_t seed = r.seed + number * 0x9e3779b97f4a7c15u;
        const size_t b = block_at(i, blocks, order, seed);
        blockIdx = {static_cast<unsigned>(b % gridDim.x), static_cast<unsigned>(b / gridDim.x % gridDim.y),
                    static_cast<unsigned>(b / gridDim.x / gridDim.y)};
        begin_shared_block();
        const std::string failure = run_block(work, order, seed + i);
        forget_copies();
        if (!failure.empty()) {
            r.failed = true;
            char where[100];
            std::snprintf(where, sizeof where, ", block %u,%u,%u: ", blockIdx.x, blockIdx.y, blockIdx.z);
            return launch_error(cudaErrorLaunchFailure, "kernel " + function_name(work.kernel) + where + failure);
        }
    }
    return cudaSuccess;
}

// Does `step`, or records it.
cudaError_t do_or_record(const std::function<cudaError_t()>& step) {
    if (const cudaError_t entered = enter(); entered != cudaSuccess) {
        return entered;
    }
    if (runtime().captured != nullptr) {
        runtime().captured->steps.push_back(step);
        return cudaSuccess;
    }
    return step();
}

// ---- copies --------------------------------------------------------------------------------------------------------------------

// "" or what is wrong with one side of a copy.
std::string refused(const char* side, const void* ptr, size_t bytes, bool device) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(ptr);
    if (device != is_device(address)) {
        return std::string(side) + (device ? " is no device memory" : " is device memory");
    }
    if (device && !is_allocated(address, bytes)) {
        return std::string(side) + ": " + std::to_string(bytes) + " bytes " + device_place(address);
    }
    return "";
}

} // namespace

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<size_t>(value) + static_shared_bytes(kernel) > max_shared()) {
        return error(cudaErrorInvalidValue, "cudaFuncSetAttribute: " + std::to_string(value) + " bytes of shared memory, and " +
                                                std::to_string(static_shared_bytes(kernel)) + " static ones; a block has " +
                                                std::to_string(max_shared()) + " at most");
    }
    runtime().dynamic_limits[kernel] = value;
    return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const Work& work) {
    if (const cudaError_t entered = enter(); entered != cudaSuccess) {
        return entered;
    }
    if (runtime().lacks == "image") {
        return launch_error(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device");
    }
    if (const std::string why = refused(config, work.kernel); !why.empty()) {
        return launch_error(cudaErrorInvalidConfiguration, "invalid configuration: " + why);
    }
    return do_or_record([config, work] { return run(config, work); });
}

void set_order(std::optional<Order> order, uint64_t seed) {
    runtime().order = order;
    runtime().seed = seed;
}

void set_architecture(int architecture) { runtime().architecture = architecture; }

std::string unconsumed_error() { return std::exchange(runtime().unconsumed, ""); }

} // namespace cuda_host

using cuda_host::enter;
using cuda_host::enter_unrecorded;
using cuda_host::error;
using cuda_host::runtime;

// ---- errors ----------------------------------------------------------------------------------------------------------------------

const char* cudaGetErrorString(cudaError_t code) {
    static std::string text;
    if (code == cudaSuccess) {
        return "no error";
    }
    runtime().unconsumed.clear();
    if (code == cudaErrorLaunchFailure) {
        runtime().failed = false; // told: tests go on
    }
    const auto known = runtime().texts.find(code);
    text = known == runtime().texts.end() ? cudaGetErrorName(code) : known->second;
    return text.c_str();
}

const char* cudaGetErrorName(cudaError_t code) {
    switch (code) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
        return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
        return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
        return "cudaErrorNoKernelImageForDevice";
    case cudaErrorLaunchFailure:
        return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    }
    return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() {
    runtime().unconsumed.clear();
    return runtime().last_error;
}
cudaError_t cudaGetLastError() {
    runtime().unconsumed.clear();
    return std::exchange(runtime().last_error, cudaSuccess);
}

// ---- streams, memory -------------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = reinterpret_cast<cudaStream_t>(&runtime()); // every stream is the one there is
    return enter();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return enter(); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return enter_unrecorded("cudaStreamSynchronize"); }
cudaError_t cudaDeviceSynchronize() { return enter_unrecorded("cudaDeviceSynchronize"); }

cudaError_t cudaMalloc(void** ptr, size_t bytes) {
    if (const cudaError_t entered = enter_unrecorded("cudaMalloc"); entered != cudaSuccess) {
        return entered;
    }
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    *ptr = bytes == 0 || bytes > free ? nullptr : cuda_host::device_alloc(bytes);
    return bytes > 0 && *ptr == nullptr ? error(cudaErrorMemoryAllocation, "out of memory") : cudaSuccess;
}
cudaError_t cudaFree(void* ptr) {
    const bool freed = ptr == nullptr || cuda_host::device_free(ptr); // also after an error: nothing is to leak
    const cudaError_t entered = enter_unrecorded("cudaFree");
    return entered != cudaSuccess || freed
               ? entered
               : error(cudaErrorInvalidValue, "cudaFree of what cudaMalloc has not given, or a second time");
}
cudaError_t cudaMallocHost(void** ptr, size_t bytes) {
    *ptr = std::malloc(bytes);
    return *ptr == nullptr ? error(cudaErrorMemoryAllocation, "out of memory") : enter();
}
cudaError_t cudaFreeHost(void* ptr) {
    std::free(ptr);
    return enter();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *total = runtime().memory;
    *free = *total - std::min(*total, cuda_host::kDeviceBytes - cuda_host::device_free_bytes());
    return enter();
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    if (bytes == 0) {
        return enter();
    }
    std::string why = cuda_host::refused("the destination of cudaMemcpyAsync", dst, bytes, kind != cudaMemcpyDeviceToHost);
    why = why.empty() ? cuda_host::refused("the source of cudaMemcpyAsync", src, bytes, kind != cudaMemcpyHostToDevice) : why;
    if (!why.empty()) {
        return error(cudaErrorInvalidValue, why);
    }
    return cuda_host::do_or_record([=] {
        const cuda_host::DeviceAccess access;
        std::memcpy(dst, src, bytes);
        return cudaSuccess;
    });
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t) {
    if (bytes == 0) {
        return enter();
    }
    if (const std::string why = cuda_host::refused("the destination of cudaMemsetAsync", dst, bytes, true); !why.empty()) {
        return error(cudaErrorInvalidValue, why);
    }
    return cuda_host::do_or_record([=] {
        const cuda_host::DeviceAccess access;
        std::memset(dst, value, bytes);
        return cudaSuccess;
    });
}

// ---- the device --------------------------------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) {
    *count = runtime().lacks == "driver" || runtime().lacks == "device" ? 0 : 1;
    return runtime().lacks == "driver"   ? error(cudaErrorInsufficientDriver, "CUDA driver version is insufficient")
           : runtime().lacks == "device" ? error(cudaErrorNoDevice, "no CUDA-capable device is detected")
                                         : enter();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "host runner");
    properties->major = runtime().architecture / 10;
    properties->minor = runtime().architecture % 10;
    properties->multiProcessorCount = 4;
    properties->totalGlobalMem = runtime().memory;
    properties->sharedMemPerBlockOptin = cuda_host::max_shared();
    return enter();
}
cudaError_t cudaSetDevice(int device) {
    return device == 0 ? enter() : error(cudaErrorInvalidDevice, "cudaSetDevice: there is device 0 alone");
}

// ---- events -----------------------------------------------------------------------------------------------------------------------

namespace {
using Time = std::chrono::steady_clock::time_point;
Time& time_of(cudaEvent_t event) { return *reinterpret_cast<Time*>(event); }
} // namespace

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    *event = reinterpret_cast<cudaEvent_t>(new Time());
    return enter();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete &time_of(event);
    return enter();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    time_of(event) = std::chrono::steady_clock::now();
    return enter();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return enter_unrecorded("cudaEventSynchronize"); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    *milliseconds = std::chrono::duration<float, std::milli>(time_of(end) - time_of(begin)).count();
    return enter();
}

// ---- graphs ------------------------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    if (const cudaError_t entered = enter_unrecorded("cudaStreamBeginCapture"); entered != cudaSuccess) {
        return entered;
    }
    runtime().captured = new cuda_host::Graph();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    *graph = reinterpret_cast<cudaGraph_t>(std::exchange(runtime().captured, nullptr));
    return enter();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    *exec = reinterpret_cast<cudaGraphExec_t>(new cuda_host::Graph(*reinterpret_cast<cuda_host::Graph*>(graph)));
    return enter();
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    for (const std::function<cudaError_t()>& step : reinterpret_cast<cuda_host::Graph*>(exec)->steps) {
        if (const cudaError_t result = cuda_host::do_or_record(step); result != cudaSuccess) {
            return result;
        }
    }
    return enter();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<cuda_host::Graph*>(graph);
    return enter();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete reinterpret_cast<cuda_host::Graph*>(exec);
    return enter();
}
