// test_mistakes.cu — kernels with one mistake each, which the host runner has to find, and beside each the same kernel without
// it, which has to pass. Each is written once: `kRight` says which of the two it is.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "cuda/cuda.cuh"
#include "cuda/ptx.cuh"
#include "host.h"
#include "on_device.h"
#include "test.h"

using namespace skintern;
using namespace skintern::host_tests;

// The kernel passes when it is right, in every order of threads; with the mistake, the message has `part` in it.
#define REQUIRE_FINDS(part, kernel, ...)                                                                                       \
    for (const cuda_host::Order order : {cuda_host::Order::forward, cuda_host::Order::reverse, cuda_host::Order::random}) {    \
        cuda_host::set_order(order);                                                                                           \
        REQUIRE(error_of(kernel<true>, __VA_ARGS__) == "");                                                                    \
        REQUIRE(missing(part, error_of(kernel<false>, __VA_ARGS__)) == "");                                                    \
        cuda_host::set_order(std::nullopt);                                                                                    \
    }

// ---- shared memory -----------------------------------------------------------------------------------------------------------

namespace {

template <bool kRight>
__global__ void neighbour(float* out) {
    __shared__ float x[64];
    x[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (kRight) {
        __syncthreads();
    }
    out[threadIdx.x] = x[threadIdx.x ^ 33];
}

template <bool kRight>
__global__ void overwritten(float* out) {
    __shared__ float x[64];
    for (int i = 0; i < 2; i++) {
        x[threadIdx.x] = static_cast<float>(i);
        __syncthreads();
        out[threadIdx.x] = x[threadIdx.x ^ 1];
        if (kRight) {
            __syncthreads(); // before the next turn writes what others read
        }
    }
}

template <bool kRight>
__global__ void two_writers(float* out) {
    __shared__ float x[64];
    x[kRight ? threadIdx.x : threadIdx.x / 2] = 1;
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x / 2];
}

// Two threads write the halves of a word: that is no race. A half by two of them is.
template <bool kRight>
__global__ void halves(float* out) {
    __shared__ uint16_t x[64];
    x[kRight ? threadIdx.x : threadIdx.x % 63] = 1;
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x % 63];
}

template <bool kRight>
__global__ void within_a_warp(float* out) {
    __shared__ float x[64];
    x[threadIdx.x] = 1;
    if (kRight) {
        __syncwarp();
    } else {
        __shfl_sync(0xffffffffu, 1, 0); // the lanes meet, but that orders no memory
    }
    out[threadIdx.x] = x[threadIdx.x ^ 1];
}

template <bool kRight>
__global__ void warps_apart(float* out) {
    __shared__ float x[64];
    x[threadIdx.x] = 1;
    __syncwarp();
    out[threadIdx.x] = x[threadIdx.x ^ (kRight ? 16 : 32)]; // another warp's
}

template <bool kRight>
__global__ void never_written(float* out) {
    __shared__ float x[65];
    x[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = x[threadIdx.x + (kRight ? 0 : 1)];
}

template <bool kRight>
__global__ void counted(float* out) {
    __shared__ int count;
    if (threadIdx.x == 0) {
        count = 0;
    }
    __syncthreads();
    if (kRight) {
        atomicAdd(&count, 1);
    } else if (threadIdx.x == 5) {
        count++;
    } else {
        atomicAdd(&count, 1);
    }
    __syncthreads();
    out[threadIdx.x] = static_cast<float>(count);
}

template <bool kRight>
__global__ void past_dynamic(float* out) {
    float* x = &shared_memory<float>();
    x[threadIdx.x + (kRight ? 0 : 1)] = 1;
    out[threadIdx.x] = 0;
}

struct Tile {
    float rows[4][16];
    float last[16];
};

template <bool kRight>
__global__ void past_a_row(float*) {
    shared_memory<Tile>().rows[threadIdx.x / 16][threadIdx.x % 16 + (kRight ? 0 : 1)] = 1;
}

__device__ void fill(float* x, unsigned count) { x[threadIdx.x + count - 64] = 1; }

template <bool kRight>
__global__ void past_a_variable(float*) {
    __shared__ float x[64];
    fill(x, kRight ? 64 : 65);
}

} // namespace

TEST_CASE("a race in shared memory is found, between warps and within one", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("at shared variable x+0x", neighbour, 1, 64, 0, out.data()); // who comes first reads what nobody wrote
    REQUIRE_FINDS("race: this thread", overwritten, 1, 64, 0, out.data());
    REQUIRE_FINDS("writes what thread", two_writers, 1, 64, 0, out.data());
    REQUIRE_FINDS("writes what thread", halves, 1, 64, 0, out.data());
    REQUIRE_FINDS("race: this thread", within_a_warp, 1, 64, 0, out.data());
    REQUIRE_FINDS("at shared variable x+0x", warps_apart, 1, 64, 0, out.data());
    REQUIRE_FINDS("race: this thread", counted, 1, 64, 0, out.data());
}

TEST_CASE("a read of shared memory that nobody wrote is found, in the second block too", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("nobody has written yet in this block", never_written, 2, 64, 0, out.data());
}

TEST_CASE("an access past the end of shared memory is found", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("of dynamic shared memory, of which the kernel has 256 bytes", past_dynamic, 1, 64, 256, out.data());
    REQUIRE_FINDS("index 16 of an array", past_a_row, 1, 64, sizeof(Tile), out.data());
    REQUIRE_FINDS("in no shared variable of the kernel", past_a_variable, 1, 64, 0, out.data());
}

// ---- memory of the device ----------------------------------------------------------------------------------------------------

namespace {

template <bool kRight>
__global__ void one_too_many(float* out, int n) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (kRight ? i < static_cast<unsigned>(n) : i <= static_cast<unsigned>(n)) {
        out[i] = 1;
    }
}

template <bool kRight>
__global__ void read_all(float* out, const float* right, const float* wrong) {
    out[threadIdx.x] = (kRight ? right : wrong)[threadIdx.x];
}

template <bool kRight>
__global__ void vectors(float* out, const float* in) {
    const float4 v = *reinterpret_cast<const float4*>(in + (kRight ? 4 : 1));
    out[threadIdx.x] = v.x + v.w;
}

} // namespace

TEST_CASE("an access out of bounds is found, and its kernel, block and thread are named", "[cuda_host]") {
    OnDevice<float> out(100);
    REQUIRE_FINDS("a write of 4 bytes 0 bytes past the end of a device allocation of 400 bytes", one_too_many, 2, 64, 0,
                  out.data(), 100);
    REQUIRE_FINDS("kernel one_too_many<false>, block 1,0,0: ", one_too_many, 2, 64, 0, out.data(), 100);
    REQUIRE_FINDS("(thread 36,0,0)", one_too_many, 2, 64, 0, out.data(), 100);
    const std::vector<float> host(64);
    REQUIRE_FINDS("which is memory of the host or nobody's", read_all, 1, 64, 0, out.data(), out.data(), host.data());
    REQUIRE_FINDS("which is memory of the host or nobody's", read_all, 1, 64, 0, out.data(), out.data(),
                  static_cast<const float*>(nullptr));
    const float* freed = OnDevice<float>(64).data();
    REQUIRE_FINDS("of a freed device allocation of 256 bytes", read_all, 1, 64, 0, out.data(), out.data(), freed);
}

TEST_CASE("a vector that is not aligned to its size is found", "[cuda_host]") {
    OnDevice<float> out(64), in(64);
    REQUIRE_FINDS("is not aligned to 16 bytes, tests/cuda_host/test_mistakes.cu:", vectors, 1, 64, 0, out.data(), in.data());
}

TEST_CASE("a host that touches device memory is told so", "[cuda_host]") {
    OnDevice<float> x(64);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        std::signal(SIGSEGV, SIG_DFL);
        x.write(std::vector<float>(64)); // the runner sees that the signal is no more its own
        _exit(static_cast<volatile float*>(x.data())[3] == 0 ? 0 : 1);
    }
    close(ends[1]);
    char text[400] = {};
    for (ssize_t length = 0, more; (more = read(ends[0], text + length, sizeof text - 1 - static_cast<size_t>(length))) > 0;) {
        length += more;
    }
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(missing("the host touches device memory", text) == "");
    REQUIRE(missing("at byte 12 of a device allocation of 256 bytes", text) == "");
}

TEST_CASE("copies have to be of the kind they say, and within an allocation", "[cuda_host]") {
    OnDevice<float> x(64);
    std::vector<float> host(65);
    REQUIRE(cudaMemcpyAsync(x.data(), host.data(), 256, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
    REQUIRE(cudaMemcpyAsync(x.data(), host.data(), 257, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidValue);
    REQUIRE(cudaMemcpyAsync(x.data(), host.data(), 256, cudaMemcpyDeviceToDevice, nullptr) == cudaErrorInvalidValue);
    REQUIRE(cudaMemcpyAsync(host.data(), x.data(), 260, cudaMemcpyDeviceToHost, nullptr) == cudaErrorInvalidValue);
    REQUIRE(cudaMemsetAsync(x.data() + 1, 0, 256, nullptr) == cudaErrorInvalidValue);
    REQUIRE(missing("256 bytes at byte 4 of a device allocation of 256 bytes", cudaGetErrorString(cudaErrorInvalidValue)) ==
            "");
    void* none = x.data() + 1;
    REQUIRE(cudaFree(none) == cudaErrorInvalidValue);
}

TEST_CASE("memory that is given back can be given out again, and no more than there is", "[cuda_host]") {
    size_t before = 0, now = 0, total = 0;
    REQUIRE(cudaMemGetInfo(&before, &total) == cudaSuccess);
    void *most = nullptr, *more = nullptr;
    for (int i = 0; i < 3; i++) {
        REQUIRE(cudaMalloc(&most, before - 1000) == cudaSuccess);
        REQUIRE(cudaMemGetInfo(&now, &total) == cudaSuccess);
        REQUIRE(now == 1000);
        REQUIRE(cudaMalloc(&more, 1001) == cudaErrorMemoryAllocation);
        REQUIRE(cudaFree(most) == cudaSuccess);
    }
    REQUIRE(cudaMemGetInfo(&now, &total) == cudaSuccess);
    REQUIRE(now == before);
}

// ---- barriers ------------------------------------------------------------------------------------------------------------------

namespace {

template <bool kRight>
__global__ void left_early(float* out) {
    if (!kRight && threadIdx.x == 40) {
        return;
    }
    __syncthreads();
    out[threadIdx.x] = 1;
}

template <bool kRight>
__global__ void two_barriers(float* out) {
    if (kRight || threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[threadIdx.x] = 1;
}

template <bool kRight>
__global__ void some_lanes(float* out) {
    float x = 1;
    if (threadIdx.x % 32 < 16) {
        x = __shfl_xor_sync(kRight ? 0x0000ffffu : 0xffffffffu, x, 1);
    }
    out[threadIdx.x] = x;
}

template <bool kRight>
__global__ void outside_the_mask(float* out) {
    if (threadIdx.x < 16) {
        out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, kRight ? 3 : 20);
    }
}

template <bool kRight>
__global__ void not_in_the_mask(float* out) {
    out[threadIdx.x] = __shfl_xor_sync(kRight || threadIdx.x > 3 ? 0xffffffffu : 0xfffffff0u, 1.0f, 1);
}

template <bool kRight>
__global__ void two_instructions(float* out) {
    if (kRight || threadIdx.x % 2 == 0) {
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1.0f, 0);
    } else {
        out[threadIdx.x] = static_cast<float>(__ballot_sync(0xffffffffu, 1));
    }
}

template <bool kRight>
__global__ void mma_of_some(float* out) {
    const uint32_t a[4] = {}, b[2] = {};
    float d[4] = {};
    if (kRight || threadIdx.x % 32 != 7) {
        mma_m16n8k16(d, a, b);
    }
    out[threadIdx.x] = d[0];
}

} // namespace

TEST_CASE("a barrier that not all threads reach is found, with the place of those that wait", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("__syncthreads (test_mistakes.cu:", left_early, 1, 64, 0, out.data());
    REQUIRE_FINDS("thread 40 has ended", left_early, 1, 64, 0, out.data());
    REQUIRE_FINDS("the threads of a block wait at different barriers", two_barriers, 1, 64, 0, out.data());
}

TEST_CASE("an instruction of a warp that not all lanes of its mask reach is found", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("is not reached by all lanes of mask ffffffff: thread 0 waits there, and thread 16 has ended", some_lanes, 1,
                  64, 0, out.data());
    REQUIRE_FINDS("shuffles from lane 20, which the mask 0000ffff does not name", outside_the_mask, 1, 32, 0, out.data());
    REQUIRE_FINDS("which does not name the lane that calls it", not_in_the_mask, 1, 32, 0, out.data());
    REQUIRE_FINDS("waits at __ballot_sync", two_instructions, 1, 32, 0, out.data());
    REQUIRE_FINDS("mma (test_mistakes.cu:", mma_of_some, 1, 64, 0, out.data());
    REQUIRE_FINDS("thread 7 has ended", mma_of_some, 1, 64, 0, out.data());
    REQUIRE(missing("there is no lane 8", error_of(mma_of_some<true>, 1, 40, 0, out.data())) == ""); // half a warp
}

// ---- asynchronous copies -------------------------------------------------------------------------------------------------------

namespace {

enum class Step { in_flight, next_stage, others, row, destination };

// Two stages: while one is read, cp.async brings the other.
template <bool kRight, Step kMistake>
__device__ void stages(float* out, const float* in) {
    constexpr bool kEarly = !kRight && kMistake == Step::in_flight, kNoBarrier = !kRight && kMistake == Step::others,
                   kNextStage = !kRight && kMistake == Step::next_stage;
    float(*stage)[256] = &shared_memory<float[256]>();
    const unsigned at = 4 * threadIdx.x;
    float sum = 0;
    cp_async_16(&stage[0][at], in + at);
    cp_async_commit();
    for (int i = 0; i < 4; i++) {
        if (i + 1 < 4) {
            cp_async_16(&stage[(i + 1) % 2][at], in + (i + 1) * 256 + at);
        }
        cp_async_commit();
        if (kEarly) {
            cp_async_wait<2>();
        } else {
            cp_async_wait<1>();
        }
        if (!kNoBarrier) {
            __syncthreads();
        }
        sum += stage[i % 2][255 - at];
        if (!kNextStage) {
            __syncthreads(); // before the next turn overwrites what others still read
        }
    }
    out[threadIdx.x] = sum;
}
template <bool kRight>
__global__ void reads_too_early(float* out, const float* in) {
    stages<kRight, Step::in_flight>(out, in);
}
template <bool kRight>
__global__ void overwrites_a_stage(float* out, const float* in) {
    stages<kRight, Step::next_stage>(out, in);
}
template <bool kRight>
__global__ void waits_alone(float* out, const float* in) {
    stages<kRight, Step::others>(out, in);
}

template <bool kRight>
__global__ void to_an_odd_place(float* out, const float* in) {
    float* x = &shared_memory<float>();
    cp_async_16(x + 8 * threadIdx.x + (kRight ? 0 : 2), in + 4 * threadIdx.x);
    cp_async_commit();
    cp_async_wait<0>();
    out[threadIdx.x] = x[8 * threadIdx.x + (kRight ? 0 : 2)];
}

template <bool kRight>
__global__ void odd_rows(float* out) {
    uint16_t* x = &shared_memory<uint16_t>();
    for (unsigned i = threadIdx.x; i < 512; i += 32) {
        x[i] = static_cast<uint16_t>(i);
    }
    __syncwarp();
    uint32_t matrices[2];
    ldmatrix_x2(matrices, x + threadIdx.x % 16 * (kRight ? 8 : 9));
    out[threadIdx.x] = static_cast<float>(matrices[0]);
}

template <bool kRight>
__global__ void rows_unordered(float* out) {
    uint16_t* x = &shared_memory<uint16_t>();
    for (unsigned i = threadIdx.x; i < 128; i += 32) {
        x[i] = static_cast<uint16_t>(i);
    }
    if (kRight) {
        __syncwarp();
    }
    uint32_t matrices[2];
    ldmatrix_x2(matrices, x + threadIdx.x % 16 * 8);
    out[threadIdx.x] = static_cast<float>(matrices[0]);
}

} // namespace

TEST_CASE("mistakes of a pipeline of asynchronous copies are found", "[cuda_host]") {
    OnDevice<float> out(64), in(1024);
    REQUIRE_FINDS("that cp.async of thread", reads_too_early, 1, 64, 2048, out.data(), in.data());
    REQUIRE_FINDS("of dynamic shared memory", overwrites_a_stage, 1, 64, 2048, out.data(), in.data());
    REQUIRE_FINDS("of dynamic shared memory", waits_alone, 1, 64, 2048, out.data(), in.data());
    REQUIRE_FINDS("the destination of cp.async", to_an_odd_place, 1, 64, 2100, out.data(), in.data());
}

TEST_CASE("rows of ldmatrix that are not aligned, or not yet written by all, are found", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE_FINDS("a row of ldmatrix", odd_rows, 1, 32, 1024, out.data());
    REQUIRE_FINDS("race: this thread reads what thread", rows_unordered, 1, 32, 1024, out.data());
}

// ---- launches ------------------------------------------------------------------------------------------------------------------

namespace {

__global__ void nothing(float*) {}
__global__ void much_static(float* out) {
    __shared__ float x[8192]; // 32 KiB
    x[threadIdx.x] = 1;
    __syncthreads();
    out[0] = x[threadIdx.x];
}

} // namespace

TEST_CASE("a launch that asks for what the device does not have is refused", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE(error_of(nothing, 1, 1024, 48 << 10, out.data()) == "");
    REQUIRE(missing("1025 x 1 x 1 threads in a block", error_of(nothing, 1, 1025, 0, out.data())) == "");
    REQUIRE(missing("0 x 1 x 1 blocks", error_of(nothing, 0, 32, 0, out.data())) == "");
    REQUIRE(missing("1 x 65536 x 1 blocks", error_of(nothing, dim3(1, 65536), 32, 0, out.data())) == "");
    REQUIRE(missing("49152 without cudaFuncSetAttribute", error_of(nothing, 1, 32, (48 << 10) + 1, out.data())) == "");
    REQUIRE(error_of(much_static, 1, 1, 16 << 10, out.data()) == "");
    REQUIRE(missing("too much shared memory: 17408 bytes and 32768 static",
                    error_of(much_static, 1, 1, 17 << 10, out.data())) == "");

    const auto ask = [](int bytes) {
        return cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    };
    REQUIRE(ask(227 << 10) == cudaSuccess);
    REQUIRE(error_of(nothing, 1, 32, 227 << 10, out.data()) == "");
    REQUIRE(ask((227 << 10) + 1) == cudaErrorInvalidValue);
    REQUIRE(ask(100 << 10) == cudaSuccess);
    REQUIRE(missing("102400 that cudaFuncSetAttribute asked for", error_of(nothing, 1, 32, 101 << 10, out.data())) == "");
    cuda_host::set_architecture(80);
    REQUIRE(ask(163 << 10) == cudaSuccess);
    REQUIRE(ask(164 << 10) == cudaErrorInvalidValue);
    cuda_host::set_architecture(90);
}

TEST_CASE("the error of a launch that nobody asks for makes the next call fail", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE(launch_of(nothing, 1, 2000, 0, out.data()) == cudaErrorInvalidConfiguration);
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaErrorLaunchFailure);
    const std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
    REQUIRE(missing("unconsumed launch error: ", text) == "");
    REQUIRE(missing("2000 x 1 x 1 threads", text) == "");
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);

    REQUIRE(launch_of(nothing, 1, 2000, 0, out.data()) == cudaErrorInvalidConfiguration);
    REQUIRE(missing("2000 x 1 x 1 threads", cuda_host::unconsumed_error()) == ""); // what the end of the program would tell
    REQUIRE(cuda_host::unconsumed_error() == "");

    REQUIRE(launch_of(nothing, 1, 2000, 0, out.data()) == cudaErrorInvalidConfiguration);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidConfiguration);
    REQUIRE(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("after a kernel has failed nothing works until the error is asked for", "[cuda_host]") {
    OnDevice<float> out(64);
    REQUIRE(launch_of(left_early<false>, 1, 64, 0, out.data()) == cudaErrorLaunchFailure);
    REQUIRE(launch_of(nothing, 1, 1, 0, out.data()) == cudaErrorLaunchFailure);
    REQUIRE(cudaMemsetAsync(out.data(), 0, 4, nullptr) == cudaErrorLaunchFailure);
    void* memory = nullptr;
    REQUIRE(cudaMalloc(&memory, 4) == cudaErrorLaunchFailure);
    REQUIRE(missing("kernel left_early<false>, block 0,0,0: ", cudaGetErrorString(cudaErrorLaunchFailure)) == "");
    REQUIRE(error_of(nothing, 1, 1, 0, out.data()) == "");
}

TEST_CASE("what cannot be recorded is refused while a stream is captured", "[cuda_host]") {
    OnDevice<float> out(64);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    void* memory = nullptr;
    REQUIRE(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaErrorStreamCaptureUnsupported);
    REQUIRE(cudaMalloc(&memory, 4) == cudaErrorStreamCaptureUnsupported);
    REQUIRE(error_of(one_too_many<true>, 1, 64, 0, out.data(), 64) == "");
    REQUIRE(cudaStreamEndCapture(nullptr, &graph) == cudaSuccess);
    REQUIRE(out.read()[63] == 0); // recorded, not done
    REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
    REQUIRE(cudaGraphLaunch(exec, nullptr) == cudaSuccess);
    REQUIRE(out.read()[63] == 1);
    REQUIRE(cudaGraphExecDestroy(exec) == cudaSuccess);
}
