// matmul_openblas.cpp — Kernels::matmul by cblas_sgemm of OpenBLAS, to compare our own with and for who prefers it.
//
// It has threads of its own, which wait spinning after a product, on processors that ours could use. It gives no promise that
// the sum of an element has the same order for every number of threads.
#include <cblas.h>

#include <climits>

#include "cpu.h"
#include "support/check.h"

namespace skintern {

void matmul_openblas(int threads, Layout layout,
                     float* out,     // (M,N) = or +=
                     const float* a, // (M,K), or (K,M) for tn
                     const float* b, // (N,K) for nt, else (K,N)
                     int64_t M, int64_t N, int64_t K, float alpha, bool accumulate) {
    CHECK(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX,
          "OpenBLAS counts with int; a product of M = %lld, N = %lld, K = %lld is too large for it",
          static_cast<long long>(M), static_cast<long long>(N), static_cast<long long>(K));
    if (M == 0 || N == 0) {
        return;
    }
    openblas_set_num_threads(threads);
    const bool a_transposed = layout == Layout::tn;
    const bool b_transposed = layout == Layout::nt;
    const int m = static_cast<int>(M);
    const int n = static_cast<int>(N);
    const int k = static_cast<int>(K);
    const int row_a = a_transposed ? m : (k > 0 ? k : 1); // elements from one row in memory to the next
    const int row_b = b_transposed ? (k > 0 ? k : 1) : n;
    cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
                b_transposed ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, row_a, b, row_b,
                accumulate ? 1.0f : 0.0f, out, n);
}

} // namespace skintern
