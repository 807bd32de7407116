// cuda.h — the CUDA backend as the rest of the program sees it: a factory, with no header of CUDA behind it.
#pragma once

#include <memory>

#include "kernels.h"

namespace skintern {

// The kernels of this folder on the first GPU that the process sees (CUDA_VISIBLE_DEVICES). Throws Error where there is no
// driver, no GPU, or one of a compute capability below 8.0. `bf16` as dtype of KernelOptions.
std::unique_ptr<Kernels> make_cuda_kernels(bool bf16);

Roofs measure_cuda_roofs();

} // namespace skintern
