// kernels.cpp — the one home of the vtable of Kernels; what the ops mean is written in kernels.h.
#include "kernels.h"

namespace skintern {

Kernels::~Kernels() = default;

} // namespace skintern
