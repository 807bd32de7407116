// host.h — what tests ask of the runner itself.
//
//   CUDA_HOST_ORDER=forward|reverse|random   the order of threads and blocks; otherwise each launch takes the next of them
//   CUDA_HOST_SEED=N                         of random orders
//   CUDA_HOST_ARCH=80                        the device has an sm_80's shared memory; otherwise that of sm_90
//   CUDA_HOST_MEMORY=MEGABYTES               that the device has; otherwise 8192, which are the most
//   CUDA_HOST_LACKS=driver|device|image      what a machine may lack: a driver, a GPU, kernels compiled for the GPU
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fibres.h"

namespace cuda_host {

void set_order(std::optional<Order> order, uint64_t seed = 1); // none: each launch takes the next
void set_architecture(int architecture);

// The error of a launch that nobody has asked for, which counts as asked for now; else "". When the program ends with one, it
// says so and fails.
std::string unconsumed_error();

} // namespace cuda_host
