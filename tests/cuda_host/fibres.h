// fibres.h — the threads of one block as fibres: each has a stack of its own, and runs until it waits.
//
// A fibre that has to wait goes straight to the next that can run; nobody stands between. Which can run is kept as bits, one
// a lane and one a warp, so that nothing is searched for: an instruction of a warp costs 32 switches of a few nanoseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda_runtime.h"

namespace cuda_host {

constexpr int kMaxThreads = 1024; // of a block

// In which order the threads of a block run between two barriers, and the blocks of a grid. Results must not depend on it.
enum class Order { forward, reverse, random };

// Runs `work` as every thread of one block, with blockIdx, blockDim and gridDim as they are. Returns "" or what went wrong.
std::string run_block(const Work& work, Order order, uint64_t seed);

bool in_kernel(); // whether a fibre runs
int thread();     // the running one, counted over the block

constexpr size_t kStackBytes = 128 << 10;

// The lowest address of the running fibre's stack; 0 outside of kernels. Of each thread of the host its own: others may work
// while one runs a kernel.
extern thread_local constinit uintptr_t running_stack;

} // namespace cuda_host
