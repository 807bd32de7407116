// memory.cu — the device and its memory: everything of CudaKernels that is no arithmetic.
#include <algorithm>
#include <vector>

#include "cuda.cuh"
#include "cuda.h"
#include "dequantize.h"

namespace skintern {

namespace {

constexpr int kLeastMajor = 8; // BF16 on tensor cores and cp.async came with compute capability 8.0

// Says what is missing and what to do, for the first call that any use of a GPU makes.
void require_device() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    CHECK(error != cudaErrorInsufficientDriver,
          "--device cuda: no NVIDIA driver was found, or it is older than this build's CUDA; install or update the driver, or "
          "use --device cpu");
    CHECK(error != cudaErrorNoDevice && (error != cudaSuccess || count > 0),
          "--device cuda: no GPU was found; set CUDA_VISIBLE_DEVICES to one, or use --device cpu");
    CHECK(error == cudaSuccess, "--device cuda: the CUDA driver answers '%s'; use --device cpu", cudaGetErrorString(error));
}

// resident: no_work_kernel 32 threads, 16 blocks, 0 bytes shared
__global__ void __launch_bounds__(32, 16) no_work_kernel() {}

} // namespace

CudaKernels::CudaKernels(bool bf16) : bf16_(bf16) {
    require_device();
    CUDA_CHECK(cudaSetDevice(0));
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
    CHECK(properties.major >= kLeastMajor,
          "--device cuda: %s has compute capability %d.%d and these kernels need 8.0 (Ampere) or newer; use --device cpu",
          properties.name, properties.major, properties.minor);
    device_ = properties.name;
    processors_ = properties.multiProcessorCount;
    cudaLaunchConfig_t one_block = {};
    one_block.gridDim = dim3(1);
    one_block.blockDim = dim3(kWarpLanes);
    const cudaError_t error = cudaLaunchKernelEx(&one_block, no_work_kernel);
    cudaGetLastError(); // it is told here, and does not stay behind
    CHECK(error != cudaErrorNoKernelImageForDevice,
          "--device cuda: this program has no kernels for compute capability %d.%d, which %s has; make it again by `make clean` "
          "and `make CUDA_ARCHS=%d%d`, or use --device cpu",
          properties.major, properties.minor, properties.name, properties.major, properties.minor);
    CUDA_CHECK(error);
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

CudaKernels::~CudaKernels() {
    forget_recorded();
    for (const Scratch& block : scratch_) {
        cudaFree(block.data);
    }
    cudaStreamDestroy(stream_);
}

std::string CudaKernels::name() const { return format("cuda (%s%s)", device_.c_str(), bf16_ ? ", BF16" : ""); }

void* CudaKernels::alloc(size_t bytes) {
    CHECK(!recording_, "a recorded series of ops asks for %zu bytes of memory", bytes);
    void* ptr = nullptr;
    const cudaError_t error = cudaMalloc(&ptr, std::max<size_t>(bytes, 1));
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError(); // it is told here, and does not stay behind
        size_t free_bytes = 0, total = 0;
        cudaMemGetInfo(&free_bytes, &total);
        CHECK(false,
              "not enough memory on %s: %.2f GB asked for, %.2f of %.2f GB are free; a smaller batch, --recompute or "
              "--micro-tokens take less",
              device_.c_str(), static_cast<double>(bytes) * 1e-9, static_cast<double>(free_bytes) * 1e-9,
              static_cast<double>(total) * 1e-9);
    }
    CUDA_CHECK(error);
    zero(ptr, bytes);
    return ptr;
}

void CudaKernels::free(void* ptr) {
    forget_recorded(); // they may use it
    cudaFree(ptr); // waits for the work that may still use it; of a failed device there is nothing to say here
}

// Pageable host memory: the runtime has taken what it needs of it when this returns.
void CudaKernels::upload(void* dst, const void* host_src, size_t bytes) {
    CHECK(!recording_, "a recorded series of ops takes %zu bytes from the host", bytes);
    if (bytes > 0) {
        CUDA_CHECK(cudaMemcpyAsync(dst, host_src, bytes, cudaMemcpyHostToDevice, stream_));
    }
}

void CudaKernels::download(void* host_dst, const void* src, size_t bytes) {
    CHECK(!recording_, "a recorded series of ops hands %zu bytes to the host", bytes);
    if (bytes > 0) {
        CUDA_CHECK(cudaMemcpyAsync(host_dst, src, bytes, cudaMemcpyDeviceToHost, stream_));
    }
    CUDA_CHECK(cudaStreamSynchronize(stream_));
}

void CudaKernels::copy(void* dst, const void* src, size_t bytes) {
    if (bytes > 0) {
        CUDA_CHECK(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, stream_));
    }
}

void CudaKernels::zero(void* dst, size_t bytes) {
    if (bytes > 0) {
        CUDA_CHECK(cudaMemsetAsync(dst, 0, bytes, stream_));
    }
}

Matrix CudaKernels::map(Matrix host, int64_t R, int64_t C, bool products_alone) {
    const bool is_rounded = bf16_ && products_alone && (host.type == WeightType::f32 || host.type == WeightType::f16);
    const WeightType type = is_rounded ? WeightType::bf16 : host.type;
    const size_t bytes = static_cast<size_t>(R * row_bytes(type, C));
    void* ptr = alloc(bytes);
    if (!is_rounded) {
        upload(ptr, host.data, bytes);
        return {ptr, type};
    }
    std::vector<float> row(static_cast<size_t>(C));
    std::vector<uint16_t> rounded(static_cast<size_t>(R * C));
    for (int64_t r = 0; r < R; r++) {
        dequantize(row.data(), host.type, static_cast<const char*>(host.data) + r * row_bytes(host.type, C), 0, C);
        std::transform(row.begin(), row.end(), rounded.begin() + r * C, rounded_bf16_bits);
    }
    upload(ptr, rounded.data(), bytes);
    return {ptr, type};
}

void CudaKernels::unmap(Matrix mapped) { free(const_cast<void*>(mapped.data)); }

// ---- recorded steps --------------------------------------------------------------------------------------------------------

// The first time the ops run as they are, so that scratch has grown; the second time they are recorded as a CUDA graph (CUDA
// C++ Programming Guide, "CUDA Graphs"), which is launched from then on: one launch for a decoding step.
void CudaKernels::repeat(const std::string& key, const std::function<void()>& step) {
    Recorded& recorded = recorded_[key];
    if (!recorded.was_done) {
        step();
        recorded_[key].was_done = true; // anew: a step that freed something has emptied the table
        return;
    }
    if (recorded.graph == nullptr) {
        record(recorded, step);
    }
    CUDA_CHECK(cudaGraphLaunch(recorded.graph, stream_));
}

void CudaKernels::record(Recorded& recorded, const std::function<void()>& step) {
    CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    recording_ = true;
    cudaGraph_t graph = nullptr;
    try {
        step();
    } catch (...) { // a stream that is left recording does nothing else any more
        recording_ = false;
        cudaStreamEndCapture(stream_, &graph);
        throw;
    }
    recording_ = false;
    CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    CUDA_CHECK(cudaGraphInstantiate(&recorded.graph, graph, 0));
    CUDA_CHECK(cudaGraphDestroy(graph));
}

void CudaKernels::forget_recorded() {
    for (const auto& [key, recorded] : recorded_) {
        if (recorded.graph != nullptr) {
            cudaGraphExecDestroy(recorded.graph);
        }
    }
    recorded_.clear();
}

// ---- scratch ---------------------------------------------------------------------------------------------------------------

float* CudaKernels::scratch(int64_t floats, int block) {
    Scratch& s = scratch_[block];
    if (floats > s.floats) {
        free(s.data);
        s = {};
        s.data = static_cast<float*>(alloc(static_cast<size_t>(floats) * sizeof(float)));
        s.floats = floats;
    }
    return s.data;
}

std::unique_ptr<Kernels> make_cuda_kernels(bool bf16) { return std::make_unique<CudaKernels>(bf16); }

} // namespace skintern
