// runner.cpp — runs kernels on the CPU: see cuda_runtime.h.
//
// Blocks run one after another. The threads of a block are fibres: each runs until it waits (at a barrier, or for the other
// lanes of its warp), then the next one runs. When none can run and not all have ended, the wait can never end: that is a
// mistake, and it is told with the place where each waits.
#include <chrono>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "cuda_runtime.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// The static shared memory of every kernel: the linker gives the section's ends.
__attribute__((section("cuda_shared"), used)) static char shared_section_exists[1] = {0};

namespace cuda_host {

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kMaxShared = 227 << 10; // of a block on sm_90; sm_80 has 163 KiB

enum class State { ready, at_barrier, in_warp, ended };

struct CopyGroup {
    struct Copy {
        void* to;
        const void* from;
        int bytes, size;
    };
    std::vector<Copy> copies;
};

struct Fibre {
    jmp_buf context;
    bool started = false;
    State state = State::ready;
    uint3 index;
    int linear = 0;
    std::source_location where; // of what it waits for
    const char* what = "";
    void* operand = nullptr;
    unsigned mask = 0;
    Act act = nullptr;
    std::vector<CopyGroup> groups; // committed ones, oldest first
    CopyGroup open;
};

struct Runner {
    std::vector<Fibre> fibres;
    Fibre* current = nullptr;
    const std::function<void()>* thread = nullptr;
    jmp_buf scheduler;
    ucontext_t main;
    std::vector<std::unique_ptr<char, void (*)(char*)>> stacks;
    std::vector<char> dynamic;
    std::string failure;
    bool capturing = false;
};

Runner& runner() {
    static Runner all;
    return all;
}

char* stack_of(size_t thread) {
    Runner& r = runner();
    while (r.stacks.size() <= thread) {
        void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        r.stacks.push_back({static_cast<char*>(memory), [](char* p) { munmap(p, kStackBytes); }});
    }
    return r.stacks[thread].get();
}

void yield() {
    Runner& r = runner();
    if (_setjmp(r.current->context) == 0) {
        _longjmp(r.scheduler, 1);
    }
}

void body() {
    Runner& r = runner();
    (*r.thread)();
    r.current->state = State::ended;
    _longjmp(r.scheduler, 1);
}

void resume(Fibre& fibre) {
    Runner& r = runner();
    r.current = &fibre;
    threadIdx = fibre.index;
    if (_setjmp(r.scheduler) == 0) {
        if (fibre.started) {
            _longjmp(fibre.context, 1);
        }
        fibre.started = true;
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = stack_of(static_cast<size_t>(fibre.linear));
        context.uc_stack.ss_size = kStackBytes;
        context.uc_link = nullptr;
        makecontext(&context, body, 0);
        setcontext(&context);
    }
}

std::string waits(const Fibre& fibre) {
    char text[300];
    std::snprintf(text, sizeof text, "thread %d %s %s (%s:%u)", fibre.linear,
                  fibre.state == State::ended ? "has ended, not at" : "waits at", fibre.what, fibre.where.file_name(),
                  fibre.where.line());
    return text;
}

// Lets a warp whose lanes have all come go on. Returns whether one did.
bool release_warps() {
    Runner& r = runner();
    bool released = false;
    for (size_t first = 0; first < r.fibres.size(); first += kWarp) {
        const size_t lanes = std::min<size_t>(kWarp, r.fibres.size() - first);
        for (size_t l = 0; l < lanes; l++) {
            Fibre& fibre = r.fibres[first + l];
            if (fibre.state != State::in_warp) {
                continue;
            }
            void* operands[kWarp] = {};
            bool complete = true;
            for (size_t o = 0; o < kWarp; o++) {
                if ((fibre.mask >> o & 1) == 0) {
                    continue;
                }
                const bool came = o < lanes && r.fibres[first + o].state == State::in_warp && r.fibres[first + o].act == fibre.act &&
                                  r.fibres[first + o].mask == fibre.mask;
                complete = complete && came;
                operands[o] = came ? r.fibres[first + o].operand : nullptr;
            }
            if (complete) {
                r.current = &fibre;
                if (fibre.act != nullptr) {
                    fibre.act(operands, fibre.mask);
                }
                for (size_t o = 0; o < lanes; o++) {
                    if (fibre.mask >> o & 1) {
                        r.fibres[first + o].state = State::ready;
                    }
                }
                released = true;
            }
        }
    }
    return released;
}

bool release_barrier() {
    Runner& r = runner();
    for (const Fibre& fibre : r.fibres) {
        if (fibre.state != State::at_barrier || fibre.where.line() != r.fibres[0].where.line()) {
            return false;
        }
    }
    for (Fibre& fibre : r.fibres) {
        fibre.state = State::ready;
    }
    return true;
}

void run_block() {
    Runner& r = runner();
    const size_t threads = blockDim.x * blockDim.y * blockDim.z;
    r.fibres.assign(threads, Fibre());
    for (size_t t = 0; t < threads; t++) {
        Fibre& fibre = r.fibres[t];
        fibre.linear = static_cast<int>(t);
        fibre.index = {static_cast<unsigned>(t) % blockDim.x, static_cast<unsigned>(t) / blockDim.x % blockDim.y,
                       static_cast<unsigned>(t) / blockDim.x / blockDim.y};
    }
    for (;;) {
        bool ran = false, all_ended = true;
        for (Fibre& fibre : r.fibres) {
            if (fibre.state == State::ready) {
                resume(fibre);
                ran = true;
                if (!r.failure.empty()) {
                    return;
                }
            }
            all_ended = all_ended && fibre.state == State::ended;
        }
        if (all_ended) {
            return;
        }
        if (!ran && !release_warps() && !release_barrier()) {
            for (const Fibre& fibre : r.fibres) {
                if (fibre.state != State::ended) {
                    r.failure = "not all threads came: " + waits(fibre);
                    return;
                }
            }
        }
        if (!r.failure.empty()) {
            return;
        }
    }
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
    r.thread = &thread;
    r.dynamic.assign(config.dynamicSmemBytes + 128, 0x7f);
    for (unsigned z = 0; z < gridDim.z; z++) {
        for (unsigned y = 0; y < gridDim.y; y++) {
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                run_block();
                if (!r.failure.empty()) {
                    r.failure += " in block (" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
                    r.current = nullptr;
                    return cudaErrorLaunchFailure;
                }
            }
        }
    }
    r.current = nullptr;
    return cudaSuccess;
}

} // namespace

void fail(const char* format, ...) {
    char text[500];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    Runner& r = runner();
    r.failure = text;
    if (r.current != nullptr) {
        r.failure += " at " + waits(*r.current);
        _longjmp(r.scheduler, 1);
    }
    std::abort();
}

void together(unsigned mask, void* operand, Act act, const char* what, std::source_location where) {
    Fibre& own = *runner().current;
    own.state = State::in_warp;
    own.mask = mask;
    own.operand = operand;
    own.act = act;
    own.what = what;
    own.where = where;
    yield();
}

int lane() { return runner().current->linear % kWarp; }

void* dynamic_shared() {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(runner().dynamic.data()) + 127) / 128 * 128);
}

void copy_later(void* shared, const void* global, int bytes, int size) {
    runner().current->open.copies.push_back({shared, global, bytes, size});
}

void commit_copies() {
    Fibre& own = *runner().current;
    own.groups.push_back(std::move(own.open));
    own.open = CopyGroup();
}

void wait_copies(int pending) {
    Fibre& own = *runner().current;
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

// ---- what a kernel calls -----------------------------------------------------------------------------------------------

void __syncthreads(std::source_location where) {
    cuda_host::Fibre& own = *cuda_host::runner().current;
    own.state = cuda_host::State::at_barrier;
    own.what = "__syncthreads";
    own.where = where;
    cuda_host::yield();
}

int __syncthreads_or(int predicate, std::source_location where) {
    // Between two barriers each thread adds its predicate to a word that the block has for this.
    static int any = 0;
    __syncthreads(where);
    any = 0;
    __syncthreads(where);
    any |= predicate != 0;
    __syncthreads(where);
    return any;
}

void __syncwarp(unsigned mask, std::source_location where) {
    cuda_host::together(mask, nullptr, nullptr, "__syncwarp", where);
}

unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where) {
    struct Ballot {
        int predicate;
        unsigned result;
    } own = {predicate, 0};
    cuda_host::together(
        mask, &own,
        [](void* const* operands, unsigned) {
            unsigned ballot = 0;
            for (int l = 0; l < cuda_host::kWarp; l++) {
                ballot |= operands[l] != nullptr && static_cast<Ballot*>(operands[l])->predicate != 0 ? 1u << l : 0u;
            }
            for (int l = 0; l < cuda_host::kWarp; l++) {
                if (operands[l] != nullptr) {
                    static_cast<Ballot*>(operands[l])->result = ballot;
                }
            }
        },
        "__ballot_sync", where);
    return own.result;
}

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

cudaError_t cudaMalloc(void** ptr, size_t bytes) {
    if (bytes > size_t{8} << 30) {
        return cudaErrorMemoryAllocation;
    }
    *ptr = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *ptr == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFree(void* ptr) {
    std::free(ptr);
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void** ptr, size_t bytes) { return cudaMalloc(ptr, bytes); }
cudaError_t cudaFreeHost(void* ptr) { return cudaFree(ptr); }

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
    *free = *total = size_t{8} << 30;
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
    properties->totalGlobalMem = size_t{8} << 30;
    properties->sharedMemPerBlockOptin = cuda_host::kMaxShared;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    *event = reinterpret_cast<cudaEvent_t>(new std::chrono::steady_clock::time_point());
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete reinterpret_cast<std::chrono::steady_clock::time_point*>(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
    *reinterpret_cast<std::chrono::steady_clock::time_point*>(event) = std::chrono::steady_clock::now();
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    using Time = std::chrono::steady_clock::time_point;
    const std::chrono::duration<float, std::milli> took = *reinterpret_cast<Time*>(end) - *reinterpret_cast<Time*>(begin);
    *milliseconds = took.count();
    return cudaSuccess;
}

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
