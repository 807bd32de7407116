// on_device.h — what the tests of the host runner share: arrays in device memory, and launches that tell their error.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <vector>

#include "test.h"

namespace skintern::host_tests {

// `count` numbers of zeros in device memory.
template <class T>
class OnDevice {
public:
    explicit OnDevice(size_t count) : count_(count) {
        void* memory = nullptr;
        REQUIRE(cudaMalloc(&memory, count * sizeof(T)) == cudaSuccess);
        data_ = static_cast<T*>(memory);
        REQUIRE(cudaMemsetAsync(memory, 0, count * sizeof(T), nullptr) == cudaSuccess);
    }
    explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) { write(values); }
    ~OnDevice() { cudaFree(data_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

    T* data() { return data_; }
    void write(const std::vector<T>& values) {
        REQUIRE(cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
    }
    std::vector<T> read() {
        std::vector<T> values(count_);
        REQUIRE(cudaMemcpyAsync(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
        return values;
    }

private:
    T* data_ = nullptr;
    size_t count_;
};

template <class... Parameters>
cudaError_t launch_of(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes,
                      std::type_identity_t<Parameters>... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.dynamicSmemBytes = shared_bytes;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// "" or the error.
template <class... Parameters>
std::string error_of(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, size_t shared_bytes,
                     std::type_identity_t<Parameters>... arguments) {
    const cudaError_t error = launch_of(kernel, blocks, threads, shared_bytes, arguments...);
    return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

// "" when `text` has `part` in it, else the text.
inline std::string missing(const std::string& part, const std::string& text) {
    return text.find(part) != std::string::npos ? "" : "'" + text + "'";
}

} // namespace skintern::host_tests
