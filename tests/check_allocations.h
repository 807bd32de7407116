// check_allocations.h — how large a piece of memory a reader asks for at once.
#pragma once

#include <cstddef>

namespace skintern {

// Forgets what was; then the largest single allocation by `new` of this thread since.
void forget_allocations();
size_t largest_allocation(); // bytes

} // namespace skintern
