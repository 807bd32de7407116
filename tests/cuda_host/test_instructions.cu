// test_instructions.cu — what the host runner's instructions do, against straightforward code: shuffles and votes as the CUDA
// C++ Programming Guide has them, mma and ldmatrix as the PTX manual; and the orders in which threads run.
#include <algorithm>
#include <numeric>
#include <set>

#include "cuda/cuda.cuh"
#include "cuda/ptx.cuh"
#include "host.h"
#include "on_device.h"
#include "support/rng.h"

using namespace skintern;
using namespace skintern::host_tests;

namespace {

std::vector<float> small_integers(int64_t n) { // sums of their products are exact
    Rng rng(1, "instructions");
    std::vector<float> x(static_cast<size_t>(n));
    for (float& value : x) {
        value = static_cast<float>(rng.below(17)) - 8;
    }
    return x;
}

__device__ uint32_t pair_of(float low, float high) { return bf16_bits(low) | static_cast<uint32_t>(bf16_bits(high)) << 16; }

// d(16,8) = c + a(16,16) b(16,8), each fragment put together as the manual's tables have it, number by number.
__global__ void mma_kernel(float* d, const float* a, const float* b, const float* c) {
    const int lane = static_cast<int>(threadIdx.x), group = lane >> 2, in_group = lane % 4;
    float numbers[8];
    for (int i = 0; i < 8; i++) { // row = groupID for a0, a1, a4, a5, else groupID + 8; col = ... + 8 for i >= 4
        const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
        const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        numbers[i] = a[row * 16 + column];
    }
    const uint32_t a_regs[4] = {pair_of(numbers[0], numbers[1]), pair_of(numbers[2], numbers[3]),
                                pair_of(numbers[4], numbers[5]), pair_of(numbers[6], numbers[7])};
    for (int i = 0; i < 4; i++) {
        const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
        numbers[i] = b[row * 8 + group];
    }
    const uint32_t b_regs[2] = {pair_of(numbers[0], numbers[1]), pair_of(numbers[2], numbers[3])};
    float d_regs[4];
    for (int i = 0; i < 4; i++) {
        d_regs[i] = c[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)];
    }
    mma_m16n8k16(d_regs, a_regs, b_regs);
    for (int i = 0; i < 4; i++) {
        d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = d_regs[i];
    }
}

// Four matrices of 8 x 8 after each other, row r of matrix i 24 numbers from the next; out: 4 x 32 registers of each kind.
constexpr int kRow = 24;
__global__ void ldmatrix_kernel(uint32_t* x4, uint32_t* x4_transposed, uint32_t* x2, uint32_t* x2_transposed) {
    uint16_t* numbers = &shared_memory<uint16_t>();
    for (unsigned i = threadIdx.x; i < 32 * kRow; i += 32) {
        numbers[i] = static_cast<uint16_t>(i);
    }
    __syncwarp();
    const unsigned lane = threadIdx.x;
    uint32_t four[4], two[2];
    ldmatrix_x4(four, numbers + lane * kRow);
    std::copy_n(four, 4, x4 + 4 * lane);
    ldmatrix_x4_transposed(four, numbers + lane * kRow);
    std::copy_n(four, 4, x4_transposed + 4 * lane);
    ldmatrix_x2(two, numbers + lane % 16 * kRow);
    std::copy_n(two, 2, x2 + 4 * lane);
    ldmatrix_x2_transposed(two, numbers + lane % 16 * kRow);
    std::copy_n(two, 2, x2_transposed + 4 * lane);
}

struct Shuffled {
    int of, exclusive_or, down, up;
};
__global__ void shuffle_kernel(Shuffled* out, int with, int width) {
    const int own = static_cast<int>(threadIdx.x) * 100;
    out[threadIdx.x] = {__shfl_sync(0xffffffffu, own, with, width), __shfl_xor_sync(0xffffffffu, own, with, width),
                        __shfl_down_sync(0xffffffffu, own, with, width), __shfl_up_sync(0xffffffffu, own, with, width)};
}

__global__ void vote_kernel(unsigned* out) {
    const unsigned lane = threadIdx.x % 32;
    unsigned* own = out + threadIdx.x * 6;
    own[0] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    own[1] = static_cast<unsigned>(__any_sync(0xffffffffu, threadIdx.x == 40));
    own[2] = static_cast<unsigned>(__all_sync(0xffffffffu, threadIdx.x != 40));
    own[3] = static_cast<unsigned>(__syncthreads_or(threadIdx.x == 40));
    own[4] = static_cast<unsigned>(__syncthreads_and(threadIdx.x != 40));
    own[5] = static_cast<unsigned>(__syncthreads_count(threadIdx.x >= 40));
}

// The halves of a warp go different ways and meet again.
__global__ void apart_kernel(int* out) {
    int x = 0;
    for (int i = 0; i < (threadIdx.x < 16 ? 3 : 5); i++) {
        const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
        x += __shfl_xor_sync(mask, static_cast<int>(threadIdx.x), 1);
    }
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x, 16);
}

__global__ void copy_kernel(float* out, const float* in, int valid) {
    float* x = &shared_memory<float>();
    const unsigned lane = threadIdx.x;
    for (unsigned group = 0; group < 3; group++) {
        const unsigned at = 4 * (group * 32 + lane);
        cp_async_16(x + at, in + at, static_cast<int>(at) < valid);
        cp_async_commit();
    }
    cp_async_wait<2>();
    out[lane] = x[4 * lane + 3];
    cp_async_wait<0>();
    for (unsigned group = 1; group < 3; group++) {
        out[group * 32 + lane] = x[4 * (group * 32 + lane) + 3];
    }
}

// When each thread of two blocks ran.
__global__ void turn_kernel(int* turn, int* next) { turn[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(next, 1); }

} // namespace

TEST_CASE("mma multiplies fragments that lie as the PTX manual says", "[cuda_host]") {
    const std::vector<float> a = small_integers(16 * 16), b = small_integers(16 * 8), c = small_integers(16 * 8);
    OnDevice<float> d_(16 * 8), a_(a), b_(b), c_(c);
    REQUIRE(error_of(mma_kernel, 1, 32, 0, d_.data(), a_.data(), b_.data(), c_.data()) == "");
    std::vector<float> expected = c;
    for (size_t m = 0; m < 16; m++) {
        for (size_t n = 0; n < 8; n++) {
            for (size_t k = 0; k < 16; k++) {
                expected[m * 8 + n] += a[m * 16 + k] * b[k * 8 + n];
            }
        }
    }
    REQUIRE(d_.read() == expected);
}

TEST_CASE("ldmatrix hands out 8 x 8 matrices as the PTX manual says", "[cuda_host]") {
    OnDevice<uint32_t> x4(128), x4_transposed(128), x2(128), x2_transposed(128);
    REQUIRE(error_of(ldmatrix_kernel, 1, 32, 32 * kRow * sizeof(uint16_t), x4.data(), x4_transposed.data(), x2.data(),
                     x2_transposed.data()) == "");
    const auto number = [](uint32_t matrix, uint32_t row, uint32_t column) { return (8 * matrix + row) * kRow + column; };
    for (uint32_t lane = 0; lane < 32; lane++) {
        for (uint32_t i = 0; i < 4; i++) {
            INFO("lane " << lane << ", register " << i);
            const uint32_t row = lane / 4, column = 2 * (lane % 4);
            const uint32_t plain = number(i, row, column) | number(i, row, column + 1) << 16;
            const uint32_t transposed = number(i, column, row) | number(i, column + 1, row) << 16;
            REQUIRE(x4.read()[4 * lane + i] == plain);
            REQUIRE(x4_transposed.read()[4 * lane + i] == transposed);
            REQUIRE(x2.read()[4 * lane + i] == (i < 2 ? plain : 0));
            REQUIRE(x2_transposed.read()[4 * lane + i] == (i < 2 ? transposed : 0));
        }
    }
}

TEST_CASE("shuffles move values as the programming guide says, in parts of a warp too", "[cuda_host]") {
    OnDevice<Shuffled> out(32);
    for (const int width : {2, 4, 8, 16, 32}) {
        for (const int with : {0, 1, 2, 3, 5, 16, 31}) {
            REQUIRE(error_of(shuffle_kernel, 1, 32, 0, out.data(), with, width) == "");
            const std::vector<Shuffled> got = out.read();
            for (int lane = 0; lane < 32; lane++) {
                INFO("width " << width << ", with " << with << ", lane " << lane);
                const int part = lane / width * width; // where the lane's part begins
                const int x = lane ^ with;
                const Shuffled& own = got[static_cast<size_t>(lane)];
                REQUIRE(own.of == 100 * (part + with % width));
                REQUIRE(own.exclusive_or == 100 * (x < part + width ? x : lane)); // earlier parts can be read, later ones not
                REQUIRE(own.down == 100 * (lane + with < part + width ? lane + with : lane));
                REQUIRE(own.up == 100 * (lane - with >= part ? lane - with : lane));
            }
        }
    }
}

TEST_CASE("votes of a warp and of a block count every thread once", "[cuda_host]") {
    OnDevice<unsigned> out(64 * 6);
    REQUIRE(error_of(vote_kernel, 1, 64, 0, out.data()) == "");
    const std::vector<unsigned> got = out.read();
    for (size_t t = 0; t < 64; t++) {
        INFO("thread " << t);
        const unsigned second = t / 32; // 40 is in the second warp
        REQUIRE(std::vector<unsigned>(got.begin() + static_cast<ptrdiff_t>(6 * t),
                                      got.begin() + static_cast<ptrdiff_t>(6 * t + 6)) ==
                std::vector<unsigned>{0x49249249u, second, 1 - second, 1, 0, 24});
    }
}

TEST_CASE("parts of a warp may take different ways and meet again", "[cuda_host]") {
    OnDevice<int> out(32);
    REQUIRE(error_of(apart_kernel, 1, 32, 0, out.data()) == "");
    for (int lane = 0; lane < 32; lane++) {
        const int other = lane ^ 16;
        REQUIRE(out.read()[static_cast<size_t>(lane)] == (other < 16 ? 3 : 5) * (other ^ 1));
    }
}

TEST_CASE("cp.async copies what is valid and fills the rest with zeros", "[cuda_host]") {
    std::vector<float> x(3 * 128);
    std::iota(x.begin(), x.end(), 1.0f);
    OnDevice<float> in(x), out(96);
    for (const int valid : {384, 200, 0}) {
        REQUIRE(error_of(copy_kernel, 1, 32, 3 * 128 * sizeof(float), out.data(), in.data(), valid) == "");
        const std::vector<float> got = out.read();
        for (size_t i = 0; i < 96; i++) {
            REQUIRE(got[i] == (static_cast<int>(4 * i) < valid ? x[4 * i + 3] : 0.0f));
        }
    }
}

TEST_CASE("threads and blocks run forward, in reverse or in an order drawn by seed", "[cuda_host]") {
    const auto turns = [](std::optional<cuda_host::Order> order, uint64_t seed) {
        OnDevice<int> turn(128), next(1);
        cuda_host::set_order(order, seed);
        REQUIRE(error_of(turn_kernel, 2, 64, 0, turn.data(), next.data()) == "");
        cuda_host::set_order(std::nullopt);
        return turn.read();
    };
    std::vector<int> forward(128);
    std::iota(forward.begin(), forward.end(), 0);
    REQUIRE(turns(cuda_host::Order::forward, 1) == forward);
    const std::vector<int> random = turns(cuda_host::Order::random, 1), other = turns(cuda_host::Order::random, 2);
    REQUIRE(random != forward);
    REQUIRE(random != other);
    REQUIRE(std::set<int>(random.begin(), random.end()).size() == 128);
    std::reverse(forward.begin(), forward.end());
    REQUIRE(turns(cuda_host::Order::reverse, 1) == forward);
    std::set<std::vector<int>> orders;
    for (int i = 0; i < 3; i++) {
        orders.insert(turns(std::nullopt, 1)); // each launch the next kind
    }
    REQUIRE(orders.size() == 3);
}
