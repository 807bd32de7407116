// kernels.cpp — the one home of the vtable of Kernels; what the ops mean is written in kernels.h.
#include "kernels.h"

namespace skintern {

Kernels::~Kernels() = default;

void Kernels::repeat(const std::string&, const std::function<void()>& step) { step(); }

void Kernels::matmul(Layout layout, real* out, Matrix a, Matrix b, int64_t M, int64_t N, int64_t K, real alpha,
                     bool accumulate) {
    Product product;
    product.out = out;
    product.base = accumulate ? out : nullptr;
    product.N = N;
    product.alpha = alpha;
    product.add(a, b, K);
    products(layout, &product, 1, M);
}

} // namespace skintern
