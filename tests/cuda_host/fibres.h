// fibres.h — the threads of one block as fibres: each has a stack of its own, and runs until it waits.
//
// A fibre that has to wait goes straight to the next that can run; nobody stands between. Which can run is kept as bits, one
// a lane and one a warp, so that nothing is searched for: an instruction of a warp costs 32 switches of a few nanoseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "cuda_runtime.h"

namespace cuda_host {

constexpr int kMaxThreads = 1024; // of a block

// In which order the threads of a block run between two barriers, and the blocks of a grid. Results must not depend on it.
enum class Order { forward, reverse, random };

// Runs `thread` as every thread of one block, with blockIdx, blockDim and gridDim as they are. Returns "" or what went wrong.
std::string run_block(const std::function<void()>& thread, Order order, uint64_t seed);

bool in_kernel(); // whether a fibre runs
int thread();     // the running one, counted over the block

} // namespace cuda_host
