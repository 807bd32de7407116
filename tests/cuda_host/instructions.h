// instructions.h — what launches ask of instructions.cpp.
#pragma once

namespace cuda_host {

// A block has ended: what its threads have issued and not waited for is nobody's any more.
void forget_copies();

} // namespace cuda_host
