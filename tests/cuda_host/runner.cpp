// runner.cpp — runs kernels on the CPU: see cuda_runtime.h.
//
// Blocks run one after another. The threads of a block are fibres: each runs until it waits (at a barrier, or for the other
// lanes of its warp), then the next one runs. When none can run and not all have ended, the wait can never end: that is a
// mistake, and it is told with the place where each waits.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "fibres.h"

// The static shared memory of every kernel: the linker gives the section's ends.
__attribute__((section("cuda_shared"), used)) static char shared_section_exists[1] = {0};

namespace cuda_host {

namespace {

constexpr size_t kMaxShared = 227 << 10; // of a block on sm_90; sm_80 has 163 KiB

struct CopyGroup {
    struct Copy {
        void* to;
        const void* from;
        int bytes, size;
    };
    std::vector<Copy> copies;
};

// The copies that a thread has issued and not waited for.
struct Copies {
    std::vector<CopyGroup> groups; // committed ones, oldest first
    CopyGroup open;
};

struct Runner {
    Copies copies[kMaxThreads];
    std::vector<char> dynamic;
    std::string failure;
};

Runner& runner() {
    static Runner all;
    return all;
}

struct Graph {
    std::vector<std::function<cudaError_t()>> launches;
};

Graph*& captured() {
    static Graph* graph = nullptr;
    return graph;
}

cudaError_t run(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
    Runner& r = runner();
    if (!r.failure.empty()) {
        return cudaErrorLaunchFailure; // as on a device: after a failed kernel nothing works any more
    }
    gridDim = config.gridDim;
    blockDim = config.blockDim;
    r.dynamic.assign(config.dynamicSmemBytes + 128, 0x7f);
    for (unsigned z = 0; z < gridDim.z; z++) {
        for (unsigned y = 0; y < gridDim.y; y++) {
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                for (unsigned t = 0; t < blockDim.x * blockDim.y * blockDim.z; t++) {
                    r.copies[t].groups.clear();
                    r.copies[t].open.copies.clear();
                }
                r.failure = run_block(thread, Order::forward, 0);
                if (!r.failure.empty()) {
                    r.failure += " in block (" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
                    return cudaErrorLaunchFailure;
                }
            }
        }
    }
    return cudaSuccess;
}

} // namespace

void* dynamic_shared() {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(runner().dynamic.data()) + 127) / 128 * 128);
}

void copy_later(void* shared, const void* global, int bytes, int size) {
    runner().copies[thread()].open.copies.push_back({shared, global, bytes, size});
}

void commit_copies() {
    Copies& own = runner().copies[thread()];
    own.groups.push_back(std::move(own.open));
    own.open = CopyGroup();
}

void wait_copies(int pending) {
    Copies& own = runner().copies[thread()];
    while (static_cast<int>(own.groups.size()) > pending) {
        for (const CopyGroup::Copy& copy : own.groups.front().copies) {
            std::memset(copy.to, 0, static_cast<size_t>(copy.size));
            std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
        }
        own.groups.erase(own.groups.begin());
    }
}

cudaError_t launch(const cudaLaunchConfig_t& config, std::function<void()> thread) {
    const size_t threads = size_t{config.blockDim.x} * config.blockDim.y * config.blockDim.z;
    if (threads == 0 || threads > 1024 || config.gridDim.x == 0 || config.gridDim.y == 0 || config.gridDim.z == 0 ||
        config.gridDim.y > 65535 || config.gridDim.z > 65535 || config.dynamicSmemBytes > kMaxShared) {
        return cudaErrorInvalidConfiguration;
    }
    if (captured() != nullptr) {
        captured()->launches.push_back([config, thread] { return run(config, thread); });
        return cudaSuccess;
    }
    return run(config, thread);
}

} // namespace cuda_host

// ---- the runtime API -----------------------------------------------------------------------------------------------------

const char* cudaGetErrorString(cudaError_t error) {
    static std::string text;
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorLaunchFailure:
        text = cuda_host::runner().failure.empty() ? "unspecified launch failure" : cuda_host::runner().failure;
        cuda_host::runner().failure.clear(); // told: tests go on
        return text.c_str();
    default: return "an error of the CUDA runtime";
    }
}
const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = reinterpret_cast<cudaStream_t>(&cuda_host::runner());
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

// Each block of device memory, with its size in front of it.
namespace cuda_host {
namespace {
constexpr size_t kDeviceBytes = size_t{8} << 30; // of the device that is modelled
constexpr size_t kAligned = 256;
size_t used = 0;
} // namespace
} // namespace cuda_host

cudaError_t cudaMalloc(void** ptr, size_t bytes) {
    using namespace cuda_host;
    if (bytes > kDeviceBytes - used) {
        return cudaErrorMemoryAllocation;
    }
    char* memory = static_cast<char*>(std::aligned_alloc(kAligned, kAligned + (bytes + kAligned - 1) / kAligned * kAligned));
    if (memory == nullptr) {
        return cudaErrorMemoryAllocation;
    }
    std::memcpy(memory, &bytes, sizeof bytes);
    used += bytes;
    *ptr = memory + kAligned;
    return cudaSuccess;
}
cudaError_t cudaFree(void* ptr) {
    using namespace cuda_host;
    if (ptr != nullptr) {
        size_t bytes = 0;
        char* memory = static_cast<char*>(ptr) - kAligned;
        std::memcpy(&bytes, memory, sizeof bytes);
        used -= bytes;
        std::free(memory);
    }
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void** ptr, size_t bytes) {
    *ptr = std::malloc(bytes);
    return *ptr == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* ptr) {
    std::free(ptr);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind, cudaStream_t) {
    if (cuda_host::captured() != nullptr) {
        cuda_host::captured()->launches.push_back([=] {
            std::memcpy(dst, src, bytes);
            return cudaSuccess;
        });
        return cudaSuccess;
    }
    if (bytes > 0) {
        std::memcpy(dst, src, bytes);
    }
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t) {
    if (cuda_host::captured() != nullptr) {
        cuda_host::captured()->launches.push_back([=] {
            std::memset(dst, value, bytes);
            return cudaSuccess;
        });
        return cudaSuccess;
    }
    if (bytes > 0) {
        std::memset(dst, value, bytes);
    }
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *total = cuda_host::kDeviceBytes;
    *free = *total - cuda_host::used;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "host runner");
    properties->major = 9;
    properties->multiProcessorCount = 4;
    properties->totalGlobalMem = cuda_host::kDeviceBytes;
    properties->sharedMemPerBlockOptin = cuda_host::kMaxShared;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }

// ---- graphs ----------------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    cuda_host::captured() = new cuda_host::Graph();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    *graph = reinterpret_cast<cudaGraph_t>(std::exchange(cuda_host::captured(), nullptr));
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    *exec = reinterpret_cast<cudaGraphExec_t>(new cuda_host::Graph(*reinterpret_cast<cuda_host::Graph*>(graph)));
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
    for (const std::function<cudaError_t()>& one : reinterpret_cast<cuda_host::Graph*>(exec)->launches) {
        const cudaError_t error = one();
        if (error != cudaSuccess) {
            return error;
        }
    }
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<cuda_host::Graph*>(graph);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete reinterpret_cast<cuda_host::Graph*>(exec);
    return cudaSuccess;
}
