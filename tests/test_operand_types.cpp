// test_operand_types.cpp — operands and results that lie in memory as BF16: products read them as their numbers, and what
// writes them rounds what it would have written in F32. Tolerances: kernel_backends.h.
#include <deque>

#include "dequantize.h"
#include "kernel_backends.h"

using namespace skintern;
using namespace skintern::kernel_tests;

namespace {

using Halves = Buffer<uint16_t>;

std::vector<uint16_t> to_bf16(const Vector& x) {
    std::vector<uint16_t> halves(x.size());
    std::transform(x.begin(), x.end(), halves.begin(), rounded_bf16_bits);
    return halves;
}

// Numbers that BF16 has, so that they are the same in either type.
Vector random_bf16(Rng& rng, int64_t n) {
    Vector x = random_vector(rng, n);
    std::transform(x.begin(), x.end(), x.begin(), round_to_bf16);
    return x;
}

constexpr WeightType kF32 = WeightType::f32, kBf16 = WeightType::bf16;

// M, N, K of a first term and of a second: odd ones, whole tiles, and what is neither.
const std::vector<std::vector<int64_t>> kShapes = {{1, 1, 1, 1},    {3, 5, 17, 1},    {5, 33, 3, 5},    {9, 17, 33, 3},
                                                   {17, 3, 32, 16}, {33, 40, 5, 1},   {16, 33, 64, 16}, {32, 64, 96, 16},
                                                   {48, 17, 62, 5}, {50, 16, 576, 5}, {64, 32, 34, 1},  {300, 33, 1536, 16}};

// A product of two terms; the operands of the first lie in these types.
Outputs product_of(Kernels& kernels, Layout layout, WeightType a, WeightType b, const std::vector<Vector>& operands,
                   int64_t M, int64_t N, int64_t K, int64_t K2) {
    std::deque<Reals> reals;
    std::deque<Halves> halves;
    const auto put = [&](const Vector& x, WeightType type) -> Matrix {
        if (type == WeightType::bf16) {
            return {halves.emplace_back(kernels, to_bf16(x)).data(), type};
        }
        return reals.emplace_back(kernels, x).data();
    };
    Reals out(kernels, nans(M * N));
    Product product;
    product.out = out.data();
    product.N = N;
    product.add(put(operands[0], a), put(operands[1], b), K);
    product.add(put(operands[2], WeightType::f32), put(operands[3], WeightType::f32), K2);
    kernels.products(layout, &product, 1, M);
    return {out.read()};
}

} // namespace

TEST_CASE("an operand of BF16 is multiplied as its numbers, to the last bit", "[kernels]") {
    for (const std::vector<int64_t>& shape : kShapes) {
        const int64_t M = shape[0], N = shape[1], K = shape[2], K2 = shape[3];
        for (const Layout layout : {Layout::nt, Layout::nn, Layout::tn}) {
            INFO(format("layout %d, M %d, N %d, K %d and %d", int(layout), int(M), int(N), int(K), int(K2)));
            Rng rng(3, "operands");
            const std::vector<Vector> operands = {random_bf16(rng, M * K), random_bf16(rng, K * N),
                                                  random_vector(rng, M * K2), random_vector(rng, K2 * N)};
            std::vector<Vector> magnitudes;
            for (const Vector& x : operands) {
                magnitudes.push_back(absolute(x));
            }
            const Outputs largest = product_of(reference(), layout, kF32, kF32, magnitudes, M, N, K, K2);
            // As in test_kernels.cpp; operands that are rounded may be larger by 2^-8 each.
            const Vector tolerance = scaled((double(K + K2) + 3.0) * kU * 1.01, largest[0]);
            for (const auto& [a, b] : std::vector<std::pair<WeightType, WeightType>>{{kBf16, kF32}, {kF32, kBf16}, {kBf16, kBf16}}) {
                const auto run = [&, a = a, b = b](Kernels& kernels) {
                    return product_of(kernels, layout, a, b, operands, M, N, K, K2);
                };
                require_product_like_reference(run, {tolerance});
                for (const auto* all : {&backends(), &bf16_backends()}) {
                    for (const Backend& backend : *all) {
                        INFO(backend.label);
                        const bool other_order = backend.library || (layout == Layout::nt && M <= kFewRows);
                        const Outputs in_f32 = product_of(*backend.one, layout, kF32, kF32, operands, M, N, K, K2);
                        REQUIRE((other_order || same_bits(run(*backend.one), in_f32)));
                    }
                }
            }
        }
    }
}

// A fast product reads vectors of 16 bytes where rows begin at multiples of them, and large tiles where out is large: neither
// may be seen in the result, but in layers of few rows, which have an order of their own.
TEST_CASE("operands that begin on a vector boundary are multiplied as others, to the last bit", "[kernels]") {
    const std::vector<std::vector<int64_t>> shapes = {{1, 300, 264, 8},    {2, 300, 520, 16},  {3, 290, 40, 8}, {8, 300, 64, 5},
                                                      {20, 16, 328, 16},   {100, 30, 200, 16}, {72, 80, 96, 8}, {200, 330, 104, 16},
                                                      {264, 272, 200, 20}, {16, 200, 1032, 8}, {300, 24, 776, 4},
                                                      {20, 200, 400, 900}}; // of tn, the second slice begins in the second term
    for (const std::vector<int64_t>& shape : shapes) {
        const int64_t M = shape[0], N = shape[1], K = shape[2], K2 = shape[3];
        for (const Layout layout : {Layout::nt, Layout::nn, Layout::tn}) {
            Rng rng(6, "aligned");
            const std::vector<Vector> operands = {random_bf16(rng, M * K), random_bf16(rng, K * N), random_vector(rng, M * K2),
                                                  random_vector(rng, K2 * N)};
            std::vector<Vector> magnitudes;
            for (const Vector& x : operands) {
                magnitudes.push_back(absolute(x));
            }
            const Outputs largest = product_of(reference(), layout, kF32, kF32, magnitudes, M, N, K, K2);
            const Vector tolerance = scaled((double(K + K2) + 3.0) * kU * 1.01, largest[0]);
            for (const auto* all : {&backends(), &bf16_backends()}) {
                Kernels& textbook = all == &backends() ? reference() : bf16_reference();
                const Vector expected = product_of(textbook, layout, kF32, kF32, operands, M, N, K, K2)[0];
                for (const Backend& backend : *all) {
                    INFO(format("%s, layout %d, M %d, N %d, K %d and %d", backend.label.c_str(), int(layout), int(M), int(N),
                                int(K), int(K2)));
                    const Outputs plain = product_of(*backend.one, layout, kF32, kF32, operands, M, N, K, K2);
                    for (const auto& [a, b] : std::vector<std::pair<WeightType, WeightType>>{
                             {kF32, kF32}, {kBf16, kF32}, {kF32, kBf16}, {kBf16, kBf16}}) {
                        const AlignedTensors now;
                        const Outputs got = product_of(*backend.one, layout, a, b, operands, M, N, K, K2);
                        REQUIRE(mismatch(got[0], expected, tolerance) == "");
                        REQUIRE((backend.library || (layout == Layout::nt && M <= kFewRows) || same_bits(got, plain)));
                    }
                }
            }
        }
    }
}

TEST_CASE("a row of a product is the same whatever rows stand beside it", "[kernels]") {
    const int64_t M = 600, few = 11, N = 150, K = 90, K2 = 16;
    for (const Layout layout : {Layout::nt, Layout::nn}) {
        Rng rng(7, "rows");
        const std::vector<Vector> operands = {random_bf16(rng, M * K), random_bf16(rng, K * N), random_vector(rng, M * K2),
                                              random_vector(rng, K2 * N)};
        const std::vector<Vector> first = {slice(operands[0], 0, few * K), operands[1], slice(operands[2], 0, few * K2), operands[3]};
        for (const auto* all : {&backends(), &bf16_backends()}) {
            for (const Backend& backend : *all) {
                INFO(backend.label << ", layout " << int(layout));
                const Vector whole = product_of(*backend.one, layout, kF32, kBf16, operands, M, N, K, K2)[0];
                const Vector part = product_of(*backend.one, layout, kF32, kBf16, first, few, N, K, K2)[0];
                REQUIRE((backend.library || same_bits(part, slice(whole, 0, few * N))));
            }
        }
    }
}

// Whole tiles of rows are read; what lies beside the numbers of a row must not get into its sums, nor what scratch held.
TEST_CASE("NaN in a row of BF16 stays in its row", "[kernels]") {
    for (const std::vector<int64_t>& shape : kShapes) {
        const int64_t M = shape[0], N = shape[1], K = shape[2], K2 = shape[3];
        for (const Layout layout : {Layout::nt, Layout::nn}) {
            INFO(format("layout %d, M %d, N %d, K %d", int(layout), int(M), int(N), int(K)));
            Rng rng(5, "nan");
            std::vector<Vector> operands = {random_bf16(rng, M * K), random_bf16(rng, K * N), random_vector(rng, M * K2),
                                            random_vector(rng, K2 * N)};
            for (int64_t m = 1; m < M; m += 2) {
                std::fill_n(operands[0].begin() + m * K, K, kNan);
            }
            for (const Backend& backend : bf16_backends()) {
                INFO(backend.label);
                product_of(*backend.one, layout, kBf16, kF32, {nans(M * K), nans(K * N), operands[2], operands[3]}, M, N, K, K2);
                const Outputs out = product_of(*backend.one, layout, kBf16, kF32, operands, M, N, K, K2);
                for (int64_t i = 0; i < M * N; i++) {
                    REQUIRE(std::isnan(out[0][static_cast<size_t>(i)]) == (i / N % 2 == 1));
                }
            }
        }
    }
}

TEST_CASE("rmsnorm and swiglu write BF16 as what they write in F32, rounded", "[kernels]") {
    const auto check = [](Kernels& kernels) {
        for (const auto& [N, C] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 5}, {5, 17}, {2, 33}, {9, 576}, {70, 1000}}) {
            INFO(format("N %d, C %d", int(N), int(C)));
            Rng rng(4, "outputs");
            Vector x = random_vector(rng, N * C);
            x[0] = 1e-39f; // BF16 has no such numbers here: it becomes 0
            x[C / 2] = kNan;
            Reals inp(kernels, x), weight(kernels, random_vector(rng, C)), rstd(kernels, nans(N));
            Reals up(kernels, random_vector(rng, N * C)), dout(kernels, random_vector(rng, N * C));
            Reals norm(kernels, nans(N * C)), act(kernels, nans(N * C)), dgate(kernels, nans(N * C)), dup(kernels, nans(N * C));
            const std::vector<uint16_t> ones(static_cast<size_t>(N * C), 0xffff);
            Halves norm16(kernels, ones), act16(kernels, ones), dgate16(kernels, ones), dup16(kernels, ones), norm16_again(kernels, ones),
                act16_again(kernels, ones);
            const auto half = [](Halves& halves) { return MatrixOut(halves.data(), WeightType::bf16); };
            kernels.rmsnorm_forward(norm.data(), rstd.data(), inp.data(), weight.data(), N, C, 1e-5f);
            kernels.rmsnorm_forward(half(norm16), rstd.data(), inp.data(), weight.data(), N, C, 1e-5f);
            kernels.swiglu_forward(act.data(), inp.data(), up.data(), N * C);
            kernels.swiglu_forward(half(act16), inp.data(), up.data(), N * C);
            kernels.swiglu_backward(dgate.data(), dup.data(), nullptr, dout.data(), inp.data(), up.data(), N * C);
            kernels.swiglu_backward(half(dgate16), half(dup16), half(act16_again), dout.data(), inp.data(), up.data(), N * C);
            kernels.rmsnorm_backward(up.data(), nullptr, half(norm16_again), dout.data(), inp.data(), weight.data(), rstd.data(), N, C);
            const auto as_bf16 = [](const Reals& reals, const Halves& halves) {
                const Vector numbers = reals.read();
                const std::vector<uint16_t> got = halves.read();
                for (size_t i = 0; i < got.size(); i++) { // which NaN it is, is nobody's business
                    const bool nan = numbers[i] != numbers[i];
                    REQUIRE((nan ? (got[i] & 0x7fff) > 0x7f80 : got[i] == rounded_bf16_bits(numbers[i])));
                }
            };
            as_bf16(norm, norm16);
            as_bf16(norm, norm16_again);
            as_bf16(act, act16);
            as_bf16(act, act16_again);
            as_bf16(dgate, dgate16);
            as_bf16(dup, dup16);
        }
    };
    for_each_backend(check);
    for (const Backend& backend : bf16_backends()) {
        INFO(backend.label);
        check(*backend.two);
    }
}

TEST_CASE("dtype bf16 keeps operands in BF16, dtype f32 in F32", "[kernels]") {
    REQUIRE(reference().operand_type() == WeightType::f32);
    REQUIRE(bf16_reference().operand_type() == WeightType::bf16);
    for (const Backend& backend : backends()) {
        REQUIRE(backend.one->operand_type() == WeightType::f32);
    }
    for (const Backend& backend : bf16_backends()) {
        REQUIRE(backend.one->operand_type() == WeightType::bf16);
    }
}
