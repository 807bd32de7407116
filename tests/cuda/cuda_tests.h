// cuda_tests.h — what the tests of this folder share.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace skintern {

// Whether the tests are of a GPU or of the host runner: SKINTERN_TEST_DEVICE=cuda. Elsewhere `what` is skipped, by name.
inline bool on_cuda(const char* what) {
    const char* device = std::getenv("SKINTERN_TEST_DEVICE");
    const bool is_cuda = device != nullptr && device == std::string_view("cuda");
    if (!is_cuda) {
        std::fprintf(stderr, "test_cuda: skipped %s: SKINTERN_TEST_DEVICE is not cuda\n", what);
    }
    return is_cuda;
}

} // namespace skintern
