// Weights in the types of files: what their blocks mean, and that an op on them is the op on the decoded numbers.
#include "kernel_backends.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "dequantize.h"
#include "support/files.h"

using namespace skintern;
using namespace skintern::kernel_tests;

namespace {

std::vector<uint8_t> from_hex(const std::string& text) {
    std::vector<uint8_t> bytes(text.size() / 2);
    for (size_t i = 0; i < bytes.size(); i++) {
        bytes[i] = static_cast<uint8_t>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
    }
    return bytes;
}

WeightType type_by_name(const std::string& name) {
    for (int t = 0; t < kWeightTypes; t++) {
        if (name == kWeightFormats[t].name) {
            return static_cast<WeightType>(t);
        }
    }
    CHECK(false, "no weight type %s", name.c_str());
}

// Random bytes whose F16 scales are small finite numbers, subnormal ones among them: a block's exponents are kept below
// infinity.
std::vector<uint8_t> random_blocks(Rng& rng, WeightType type, int64_t rows, int64_t columns) {
    std::vector<uint8_t> bytes(static_cast<size_t>(rows * row_bytes(type, columns)));
    for (uint8_t& byte : bytes) {
        byte = static_cast<uint8_t>(rng.below(256));
    }
    const int64_t size = weight_format(type).bytes;
    const auto tame = [&](size_t high_byte) { // 2^-3 or so, or below 2^-14
        bytes[high_byte] = (bytes[high_byte] & 0x83) | (rng.below(4) > 0 ? 0x30 : 0);
    };
    for (size_t block = 0; block < bytes.size(); block += static_cast<size_t>(size)) {
        switch (type) {
        case WeightType::f32: {
            const float x = static_cast<float>(2.0 * rng.uniform() - 1.0);
            std::memcpy(bytes.data() + block, &x, 4);
            break;
        }
        case WeightType::bf16: bytes[block + 1] = (bytes[block + 1] & 0x80) | 0x3e; break;
        case WeightType::q6_k: tame(block + 209); break;
        case WeightType::q4_1:
        case WeightType::q5_1:
        case WeightType::q4_k:
        case WeightType::q5_k: tame(block + 3); [[fallthrough]];
        default: tame(block + 1);
        }
    }
    return bytes;
}

std::vector<float> decoded(WeightType type, const std::vector<uint8_t>& bytes, int64_t rows, int64_t columns) {
    std::vector<float> numbers(static_cast<size_t>(rows * columns));
    for (int64_t r = 0; r < rows; r++) {
        dequantize(numbers.data() + r * columns, type, bytes.data() + r * row_bytes(type, columns), 0, columns);
    }
    return numbers;
}

const WeightType kStoredTypes[] = {WeightType::f16,  WeightType::bf16, WeightType::q8_0, WeightType::q4_0,
                                   WeightType::q4_1, WeightType::q5_0, WeightType::q5_1, WeightType::q4_k,
                                   WeightType::q5_k, WeightType::q6_k};

} // namespace

TEST_CASE("blocks hold the numbers that the gguf package reads in them", "[weights]") {
    const auto cases = nlohmann::json::parse(read_file("tests/golden/blocks.json"));
    REQUIRE(cases.size() == 8);
    for (const auto& entry : cases) {
        INFO(entry["type"]);
        const std::vector<uint8_t> blocks = from_hex(entry["blocks"]);
        const std::vector<uint8_t> bits = from_hex(entry["numbers"]);
        const int64_t n = static_cast<int64_t>(bits.size() / 4);
        const std::vector<float> got = decoded(type_by_name(entry["type"]), blocks, 1, n);
        for (size_t i = 0; i < got.size(); i++) {
            uint32_t expected = 0;
            for (size_t b = 0; b < 4; b++) {
                expected = expected << 8 | bits[4 * i + b];
            }
            float number;
            std::memcpy(&number, &expected, 4);
            REQUIRE(got[i] == number); // to the bit, but for the sign of zero
        }
    }
}

TEST_CASE("16-bit floats are widened exactly: zero, subnormal, normal, infinite, NaN", "[weights]") {
    REQUIRE(f16_to_float(0x0000) == 0.0f);
    REQUIRE(std::signbit(f16_to_float(0x8000)));
    REQUIRE(f16_to_float(0x0001) == 0x1p-24f);
    REQUIRE(f16_to_float(0x83ff) == -1023 * 0x1p-24f);
    REQUIRE(f16_to_float(0x3c00) == 1.0f);
    REQUIRE(f16_to_float(0xfbff) == -65504.0f);
    REQUIRE(f16_to_float(0x7c00) == std::numeric_limits<float>::infinity());
    REQUIRE(std::isnan(f16_to_float(0x7e00)));
    REQUIRE(bf16_to_float(0xbf80) == -1.0f);
    for (uint32_t bits = 0; bits < 0x7c00; bits++) { // every finite magnitude, by its definition
        const int exponent = static_cast<int>(bits >> 10);
        const double mantissa = (bits & 0x3ff) + (exponent > 0 ? 1024 : 0);
        REQUIRE(f16_to_float(static_cast<uint16_t>(bits)) == std::ldexp(mantissa, std::max(exponent, 1) - 25));
    }
}

TEST_CASE("any stretch of a row is decoded as the whole row is", "[weights]") {
    Rng rng(5, "stretch");
    for (const WeightType type : kStoredTypes) {
        INFO(weight_format(type).name);
        const int64_t columns = 512;
        const std::vector<uint8_t> bytes = random_blocks(rng, type, 1, columns);
        const std::vector<float> whole = decoded(type, bytes, 1, columns);
        for (const auto& [first, count] : {std::pair{0, 1}, {31, 2}, {5, 33}, {64, 32}, {100, 300}, {511, 1}, {9, 0}}) {
            std::vector<float> part(static_cast<size_t>(count) + 1, 7.0f);
            dequantize(part.data(), type, bytes.data(), first, count);
            for (int64_t i = 0; i < count; i++) {
                REQUIRE(part[static_cast<size_t>(i)] == whole[static_cast<size_t>(first + i)]);
            }
            REQUIRE(part.back() == 7.0f); // nothing behind the stretch was written
        }
    }
}

// The op on stored blocks has the bits of the op on their numbers, on every backend.
TEST_CASE("matmul with a stored weight is matmul with its numbers, to the last bit", "[weights]") {
    struct Shape {
        int64_t M, N, K; // K is the length of a row in nt, N in nn
    };
    Rng rng(6, "stored");
    for (const WeightType type : kStoredTypes) {
        const int64_t block = weight_format(type).elements;
        for (const auto& [layout, row] : std::vector<std::pair<Layout, int64_t>>{{Layout::nt, block == 1 ? 33 : 3 * block},
                                                                                 {Layout::nn, block == 1 ? 33 : 3 * block},
                                                                                 {Layout::nt, block == 1 ? 40 : 2 * block}}) {
            for (const int64_t M : {1, 3, 8, 9, 33}) {
                for (const int64_t other : {1, 5, 17, 70}) {
                    const Shape s = layout == Layout::nt ? Shape{M, other, row} : Shape{M, row, other};
                    INFO(weight_format(type).name << " layout " << int(layout) << " M " << s.M << " N " << s.N << " K "
                                                  << s.K);
                    const std::vector<uint8_t> bytes = random_blocks(rng, type, other, row);
                    const std::vector<float> numbers = decoded(type, bytes, other, row);
                    const Vector a = random_vector(rng, s.M * s.K), before = random_vector(rng, s.M * s.N);
                    for_each_backend([&](Kernels& kernels) {
                        Reals plain(kernels, before), a_(kernels, a), b(kernels, numbers);
                        kernels.matmul(layout, plain.data(), a_.data(), b.data(), s.M, s.N, s.K, real(0.5), true);
                        const Vector expected = plain.read();
                        const auto stored = [&] {
                            Reals out(kernels, before), x(kernels, a);
                            Buffer<uint8_t> blocks(kernels, bytes);
                            kernels.matmul(layout, out.data(), x.data(), {blocks.data(), type}, s.M, s.N, s.K, real(0.5), true);
                            return out.read();
                        };
                        REQUIRE(same_bits(stored(), expected));
                        const AlignedTensors now; // some read vectors there
                        REQUIRE(same_bits(stored(), expected));
                    });
                }
            }
        }
    }
}

static bool has_integer_dot(WeightType type) {
    return type == WeightType::q8_0 || type == WeightType::q4_0 || type == WeightType::q4_1;
}

// Rounded to 8 bits as dot_q8.h says, and widened again.
static Vector rounded_to_8_bits(const Vector& x) {
    Vector out = x;
    for (size_t k = 0; k < x.size(); k += 32) {
        float largest = 0;
        for (size_t i = k; i < k + 32; i++) {
            largest = std::max(largest, std::fabs(x[i]));
        }
        for (size_t i = k; i < k + 32; i++) {
            out[i] = largest == 0 ? 0 : largest / 127.0f * std::nearbyint(x[i] * (127.0f / largest));
        }
    }
    return out;
}

TEST_CASE("activations q8 multiply few rows as if they were rounded to 8 bits, and nothing else", "[weights]") {
    Rng rng(8, "q8");
    for (const WeightType type : kStoredTypes) {
        const bool is_rounded = has_integer_dot(type);
        for (const int64_t K : {32, 96, 256, 576}) {
            if (K % weight_format(type).elements != 0) {
                continue;
            }
            for (const int64_t M : {1, 3, 4, 8, 9}) {
                const int64_t N = 37;
                INFO(weight_format(type).name << " M " << M << " K " << K);
                const std::vector<uint8_t> bytes = random_blocks(rng, type, N, K);
                const Vector b = decoded(type, bytes, N, K), a = random_vector(rng, M * K);
                const Vector seen = is_rounded && M <= kFewRows ? rounded_to_8_bits(a) : a;
                Vector expected(static_cast<size_t>(M * N)), size(expected.size());
                reference().matmul(Layout::nt, expected.data(), seen.data(), b.data(), M, N, K, 1, false);
                reference().matmul(Layout::nt, size.data(), absolute(seen).data(), absolute(b).data(), M, N, K, 1, false);
                for (const std::string& isa : kIsas) {
                    const auto kernels = unless_lacking([&] { return make_kernels({"cpu", isa, "own", 2, "f32", "q8"}); });
                    if (kernels == nullptr) {
                        continue; // test_kernels.cpp names what this machine lacks
                    }
                    INFO(isa);
                    Buffer<uint8_t> blocks(*kernels, bytes);
                    Reals a_(*kernels, a), out(*kernels, nans(M * N));
                    kernels->matmul(Layout::nt, out.data(), a_.data(), {blocks.data(), type}, M, N, K, 1, false);
                    // The offset of a block (128 d, or m) is added to it apart: what cancels is up to 17 times as large.
                    REQUIRE(mismatch(out.read(), expected, scaled(20.0 * (double(K) + 3.0) * kU, size)) == "");
                }
            }
        }
    }
    REQUIRE_THROWS_AS(make_kernels({"cpu", "auto", "own", 1, "f32", "q4"}), Error);
    REQUIRE_THROWS_AS(make_kernels({"reference", "auto", "own", 1, "f32", "q8"}), Error);
}

// A layer with its adapter, alpha and something to add to: all that a product of few rows does with a packed weight.
TEST_CASE("few rows meet a weight that was packed for them", "[weights]") {
    Rng rng(9, "packed for few");
    const auto run = [](Kernels& kernels, bool packed, const Vector& x, const Matrix& w, const Vector& low, const Vector& b,
                        const Vector& base, int64_t M, int64_t N, int64_t K, int64_t R) {
        Reals x_(kernels, x), low_(kernels, low), b_(kernels, b), out(kernels, base);
        Matrix weight = w;
        const size_t bytes = packed ? kernels.packed_bytes(Rows::few, weight, N, K) : 0;
        const std::unique_ptr<void, std::function<void(void*)>> memory(kernels.alloc(bytes),
                                                                       [&](void* p) { kernels.free(p); });
        if (bytes > 0) {
            kernels.pack(Rows::few, memory.get(), weight, N, K);
            weight.packed_few = memory.get();
            weight.data = nullptr; // it is not read any more
        }
        Product product;
        product.out = out.data();
        product.base = out.data();
        product.N = N;
        product.alpha = real(-0.5);
        product.add(x_.data(), weight, K);
        product.add(low_.data(), b_.data(), R);
        kernels.products(Layout::nt, &product, 1, M);
        return out.read();
    };
    for (const WeightType type : kStoredTypes) {
        for (const int64_t K : {32, 96, 256, 576}) {
            for (const int64_t N : {1, 3, 5, 17, 33, 100}) {
                const int64_t R = 5;
                if (K % weight_format(type).elements != 0) {
                    continue;
                }
                const std::vector<uint8_t> bytes = random_blocks(rng, type, N, K);
                const std::vector<float> w = decoded(type, bytes, N, K);
                for (int64_t M = 1; M <= kFewRows; M++) {
                    INFO(weight_format(type).name << " M " << M << " N " << N << " K " << K);
                    const Vector x = random_vector(rng, M * K), base = random_vector(rng, M * N);
                    const Vector low = random_vector(rng, M * R), b = random_vector(rng, N * R);
                    for (const std::string activations : {"f32", "q8"}) {
                        const bool q8 = activations == "q8" && has_integer_dot(type);
                        const Vector seen = q8 ? rounded_to_8_bits(x) : x, w_abs = absolute(w);
                        const Vector expected = run(reference(), false, seen, w.data(), low, b, base, M, N, K, R);
                        Vector size = absolute(base), sum(size.size());
                        reference().matmul(Layout::nt, sum.data(), absolute(seen).data(), w_abs.data(), M, N, K, real(0.5), false);
                        reference().matmul(Layout::nt, sum.data(), absolute(low).data(), absolute(b).data(), M, N, R, real(0.5), true);
                        for (size_t i = 0; i < size.size(); i++) {
                            size[i] += sum[i];
                        }
                        // Offsets are added apart where there are any: see above.
                        const double cancelled = q8 || type == WeightType::q4_1 ? 20.0 : 1.0;
                        for (const std::string& isa : kIsas) {
                            const auto kernels = unless_lacking([&] { return make_kernels({"cpu", isa, "own", 2, "f32", activations}); });
                            if (kernels == nullptr) {
                                continue;
                            }
                            INFO(isa << " " << activations);
                            Buffer<uint8_t> blocks(*kernels, bytes);
                            const Vector got = run(*kernels, true, x, {blocks.data(), type}, low, b, base, M, N, K, R);
                            REQUIRE(mismatch(got, expected, scaled(cancelled * (double(K + R) + 6.0) * kU, size)) == "");
                        }
                    }
                }
            }
        }
    }
}

TEST_CASE("a mapped matrix has the numbers of the file, or where products alone read it those that they round to", "[weights]") {
    Rng rng(10, "mapped");
    const int64_t R = 5, C = 32, M = kFewRows + 1;
    for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16, WeightType::q8_0}) {
        INFO(weight_format(type).name);
        const std::vector<uint8_t> file = random_blocks(rng, type, R, C);
        const Vector numbers = decoded(type, file, R, C), x = random_vector(rng, M * C);
        for (const std::vector<Backend>* all : {&backends(), &bf16_backends()}) {
            for (const Backend& backend : *all) {
                INFO(backend.label);
                Kernels& kernels = *backend.one;
                const auto product = [&](Matrix weight) {
                    Reals out(kernels, nans(M * R)), x_(kernels, x);
                    kernels.matmul(Layout::nt, out.data(), x_.data(), weight, M, R, C, 1, false);
                    return out.read();
                };
                const Matrix table = kernels.map({file.data(), type}, R, C, false);
                const Matrix weight = kernels.map({file.data(), type}, R, C, true);
                Reals rows(kernels, nans(R * C)), plain(kernels, numbers);
                kernels.gather_rows(rows.data(), table, Ints(kernels, {0, 1, 2, 3, 4}).data(), R, C);
                REQUIRE(same_bits(rows.read(), numbers));
                if (!backend.library || type == WeightType::f32) { // a library multiplies F32 alone, in an order of its own
                    REQUIRE(same_bits(product(weight), product(plain.data())));
                }
                const bool is_rounded = kernels.name().starts_with("cuda") && kernels.operand_type() == WeightType::bf16;
                REQUIRE(weight.type == (is_rounded && type != WeightType::q8_0 ? WeightType::bf16 : type));
                kernels.unmap(table);
                kernels.unmap(weight);
            }
        }
    }
}

TEST_CASE("gather_rows of a stored table gives its numbers", "[weights]") {
    Rng rng(7, "table");
    for (const WeightType type : kStoredTypes) {
        INFO(weight_format(type).name);
        const int64_t C = weight_format(type).elements == 1 ? 17 : 256;
        const std::vector<uint8_t> bytes = random_blocks(rng, type, 5, C);
        const std::vector<float> numbers = decoded(type, bytes, 5, C);
        for_each_backend([&](Kernels& kernels) {
            Buffer<uint8_t> table(kernels, bytes);
            Reals out(kernels, nans(3 * C));
            Ints rows(kernels, {4, 0, 4});
            kernels.gather_rows(out.data(), {table.data(), type}, rows.data(), 3, C);
            const Vector got = out.read();
            REQUIRE(same_bits(slice(got, 0, C), slice(numbers, 4 * C, 5 * C)));
            REQUIRE(same_bits(slice(got, C, 2 * C), slice(numbers, 0, C)));
            REQUIRE(same_bits(slice(got, 2 * C, 3 * C), slice(numbers, 4 * C, 5 * C)));
        });
    }
}
