// accesses.h — what the other parts of the runner ask of accesses.cpp.
#pragma once

#include <cstddef>

namespace cuda_host {

// Where the arguments of the kernel lie that is launched: it may read them.
void set_arguments(const void* begin, size_t bytes);

// The running thread reads global memory by an instruction. `code` is for messages, as in symbols.h.
void read_memory(const void* from, size_t bytes, const void* code);

} // namespace cuda_host
