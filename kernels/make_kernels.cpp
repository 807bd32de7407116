// make_kernels.cpp — which backend: the one place that knows all of them.
#include "cpu.h"
#include "cuda/cuda.h"
#include "support/check.h"

namespace skintern {

std::unique_ptr<Kernels> make_kernels(const KernelOptions& options) {
    CHECK(options.device == "cpu" || options.device == "reference" || options.device == "cuda",
          "unknown device '%s'; there are reference, cpu and cuda", options.device.c_str());
    CHECK(options.dtype == "f32" || options.dtype == "bf16", "unknown dtype '%s'; there are f32 and bf16",
          options.dtype.c_str());
    CHECK(options.activations == "f32" || options.activations == "q8", "unknown activations '%s'; there are f32 and q8",
          options.activations.c_str());
    CHECK(options.device == "cpu" || options.activations == "f32",
          "activations q8 is for the cpu device: %s does not round activations", options.device.c_str());
    const bool bf16 = options.dtype == "bf16";
    std::unique_ptr<Kernels> cpu = make_cpu_kernels(options); // what it refuses is refused with every device
    if (options.device == "cpu") {
        return cpu;
    }
    if (options.device == "reference") {
        return make_reference_kernels(bf16);
    }
    CHECK(options.matmul == "own", "matmul %s is for the cpu device", options.matmul.c_str());
#ifdef SKINTERN_CUDA
    return make_cuda_kernels(bf16);
#else
    CHECK(false, "this build has no CUDA backend: it was made without nvcc; install the CUDA Toolkit and run `make`, or use "
                 "--device cpu");
#endif
}

Roofs measure_roofs(const KernelOptions& options) {
#ifdef SKINTERN_CUDA
    if (options.device == "cuda") {
        return measure_cuda_roofs();
    }
#endif
    return {measure_peak(options.isa, options.threads), measure_peak(options.isa, options.threads, true),
            measure_bandwidth(options.threads)};
}

} // namespace skintern
