// kernel_backends.h — what test_kernels.cpp and test_attention.cpp share: the backends of this machine, fenced tensors, and
// the comparison with the textbook loops of kernels/reference.cpp.
//
// SKINTERN_TEST_DEVICE=cuda tests that device in place of the CPU's instruction sets: a GPU, or in build/cuda_host/unit the
// same kernels run on the CPU. Tests with the tag [cpu] are of that alone.
//
// Backends are what make_kernels gives for each instruction set and each matmul; one that this build or processor lacks
// is skipped by name, and whatever else make_kernels says fails the tests. Every op runs twice on one thread and once
// on two (all the same bits), on tensors that are fenced by guard elements and not aligned, and twice on aligned ones.
//
// Tolerances. u = 2^-24 is the unit roundoff of float: one rounding moves a value by at most u of it. A sum
// of n terms, each rounded, in any order, with or without fused multiply-add, is off by at most
//   (n + roundings per term) u sum_i |term_i|                 (Higham 2002, section 3.1, to first order in u)
// so each test counts roundings, and takes the sum of magnitudes from the same op on absolute values. The
// reference sums in double and adds one rounding of its own. NaN is a failure: comparisons read !(diff <=
// tolerance).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "support/rng.h"
#include "test.h"

namespace skintern::kernel_tests {

static_assert(sizeof(real) == sizeof(float), "these tests count the roundings of float");

inline constexpr double kU = 0x1.0p-24;
inline constexpr real kNan = std::numeric_limits<real>::quiet_NaN();

using Vector = std::vector<real>;
using Outputs = std::vector<Vector>;

// ---- backends ---------------------------------------------------------------------------------------------

struct Backend {
    std::string label;
    bool library; // a library multiplies matrices; every other op is that of the same isa with matmul own
    std::unique_ptr<Kernels> one; // one thread
    std::unique_ptr<Kernels> two; // two threads
};

inline const std::vector<std::string> kIsas = {"portable", "avx2", "avx512", "avx512bf16", "amx"};

// What `make` returns, or nothing where this build or this processor lacks what it asks for. Any other Error passes: were it
// taken for that, a backend that cannot start would leave every test without a word. `label`: what to say is skipped.
template <typename Make>
auto unless_lacking(const Make& make, const std::string& label = "") -> decltype(make()) {
    try {
        return make();
    } catch (const Error& error) {
        const std::string why = error.what();
        if (why.find("this build has no ") == std::string::npos && why.find("this processor has no ") == std::string::npos) {
            throw;
        }
        if (!label.empty()) {
            std::fprintf(stderr, "test_kernels: skipped %s: %s\n", label.c_str(), why.c_str());
        }
        return {};
    }
}

inline std::vector<Backend> make_backends(const std::string& dtype) {
    std::vector<Backend> backends;
    if (const char* device = std::getenv("SKINTERN_TEST_DEVICE"); device != nullptr) { // that one alone, and it has to be there
        const KernelOptions options{device, "auto", "own", 1, dtype};
        backends.push_back({format("device %s, dtype %s", device, dtype.c_str()), false, make_kernels(options), make_kernels(options)});
        return backends;
    }
    for (const std::string matmul : {"own", "openblas"}) {
        if (dtype == "bf16" && matmul != "own") {
            continue; // a library multiplies F32 only
        }
        for (const std::string& isa : kIsas) {
            KernelOptions options{"cpu", isa, matmul, 1, dtype};
            const std::string label = "isa " + isa + ", matmul " + matmul + (dtype == "f32" ? "" : ", dtype " + dtype);
            std::unique_ptr<Kernels> one = unless_lacking([&] { return make_kernels(options); }, label);
            if (one != nullptr) {
                options.threads = 2;
                backends.push_back({label, matmul != "own", std::move(one), make_kernels(options)});
            }
        }
    }
    return backends;
}

inline const std::vector<Backend>& backends() {
    static const std::vector<Backend> all = make_backends("f32");
    return all;
}

// Those of dtype bf16, and the reference that rounds as they do.
inline const std::vector<Backend>& bf16_backends() {
    static const std::vector<Backend> all = make_backends("bf16");
    return all;
}

inline Kernels& bf16_reference() {
    static const std::unique_ptr<Kernels> kernels = make_reference_kernels(true);
    return *kernels;
}

inline Kernels& reference() {
    static const std::unique_ptr<Kernels> kernels = make_reference_kernels();
    return *kernels;
}

// Runs `test` on the reference and on every backend of our own, for what must hold of each by itself.
inline void for_each_backend(const std::function<void(Kernels&)>& test) {
    test(reference());
    for (const Backend& backend : backends()) {
        if (!backend.library) {
            INFO(backend.label);
            test(*backend.two);
        }
    }
}

// ---- tensors ----------------------------------------------------------------------------------------------

// Guard elements before and after a tensor: an odd number, so that it does not start on a vector boundary, or, while an
// AlignedTensors lives, a number with which it does.
inline size_t guard_elements = 37;

class AlignedTensors {
public:
    AlignedTensors() : before_(guard_elements) { guard_elements = 64; }
    ~AlignedTensors() { guard_elements = before_; }
    AlignedTensors(const AlignedTensors&) = delete;
    AlignedTensors& operator=(const AlignedTensors&) = delete;

private:
    size_t before_;
};

// A tensor in the memory of a backend with guard elements at both ends; their bytes are a float no op makes by chance.
template <typename T>
class Buffer {
public:
    // Blocks (bytes) may start at an odd address in a file, and never do in a device's own memory (Kernels::map).
    Buffer(Kernels& kernels, const std::vector<T>& values)
        : kernels_(kernels), guard_(guard_elements * (sizeof(T) == 1 && kernels.name().starts_with("cuda") ? 2 : 1)),
          size_(values.size()) {
        std::vector<T> all(size_ + 2 * guard_);
        std::memset(all.data(), kGuardByte, all.size() * sizeof(T));
        std::copy(values.begin(), values.end(), all.begin() + guard_);
        memory_ = static_cast<T*>(kernels_.alloc(all.size() * sizeof(T)));
        kernels_.upload(memory_, all.data(), all.size() * sizeof(T));
    }
    ~Buffer() { kernels_.free(memory_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    T* data() { return memory_ + guard_; }

    // The values. Fails when something was written beside them.
    std::vector<T> read() const {
        std::vector<T> all(size_ + 2 * guard_);
        kernels_.download(all.data(), memory_, all.size() * sizeof(T));
        std::vector<unsigned char> guard(guard_ * sizeof(T), kGuardByte);
        REQUIRE(std::memcmp(all.data(), guard.data(), guard.size()) == 0);
        REQUIRE(std::memcmp(all.data() + guard_ + size_, guard.data(), guard.size()) == 0);
        return {all.begin() + guard_, all.end() - guard_};
    }

private:
    static constexpr unsigned char kGuardByte = 0x5a;
    Kernels& kernels_;
    const size_t guard_;
    size_t size_;
    T* memory_;
};

using Reals = Buffer<real>;
using Ints = Buffer<int32_t>;

// Packed sequences of the given lengths.
struct Packed {
    Packed(Kernels& kernels, const std::vector<int64_t>& lengths) : start_(kernels, offsets(lengths)) {
        seq.start = start_.data();
        seq.count = int64_t(lengths.size());
        seq.max_length = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    }
    static std::vector<int64_t> offsets(const std::vector<int64_t>& lengths) {
        std::vector<int64_t> start = {0};
        for (const int64_t length : lengths) {
            start.push_back(start.back() + length);
        }
        return start;
    }
    Sequences seq;

private:
    Buffer<int64_t> start_;
};

// Uniform in [-1, 1], so that a product of two has magnitude at most 1.
inline Vector random_vector(Rng& rng, int64_t n) {
    Vector x(n);
    for (real& value : x) {
        value = real(2.0 * rng.uniform() - 1.0);
    }
    return x;
}

inline Vector nans(int64_t n) {
    return Vector(n, kNan);
}

inline Vector absolute(Vector x) {
    for (real& value : x) {
        value = std::fabs(value);
    }
    return x;
}

// factor * |x|
inline Vector scaled(double factor, const Vector& x) {
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); i++) {
        y[i] = real(factor * std::fabs(x[i]));
    }
    return y;
}

inline Vector slice(const Vector& x, int64_t from, int64_t to) {
    return {x.begin() + from, x.begin() + to};
}

// ---- comparisons ------------------------------------------------------------------------------------------

// "" when |got - expected| <= tolerance for every element, else the first that is not. One tolerance may
// stand for all.
inline std::string mismatch(const Vector& got, const Vector& expected, const Vector& tolerance) {
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); i++) {
        const double allowed = tolerance.size() == 1 ? tolerance[0] : tolerance[i];
        if (!(std::fabs(double(got[i]) - double(expected[i])) <= allowed)) {
            return format("element %zu of %zu: %.9g instead of %.9g, tolerance %.3g", i, got.size(), got[i],
                          expected[i], allowed);
        }
    }
    return "";
}

inline bool same_bits(const Vector& a, const Vector& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0);
}

inline bool same_bits(const Outputs& a, const Outputs& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Vector& x, const Vector& y) { return same_bits(x, y); });
}

// Runs an op with the given kernels on tensors of its own and reads all outputs.
using Op = std::function<Outputs(Kernels&)>;

// Every backend computes what the reference computes, and always the same bits. A tolerance for each output.
// A library takes part in matmul only, and is not asked for the same bits with another number of threads:
// OpenBLAS adds in another order then.
inline void require_like(Kernels& textbook, const std::vector<Backend>& backends, const Op& op,
                         const Outputs& tolerance, bool is_matmul) {
    const Outputs expected = op(textbook);
    REQUIRE(expected.size() == tolerance.size());
    for (const Backend& backend : backends) {
        if (backend.library && !is_matmul) {
            continue;
        }
        INFO(backend.label);
        const Outputs got = op(*backend.one);
        for (size_t o = 0; o < expected.size(); o++) {
            INFO("output " << o);
            REQUIRE(mismatch(got[o], expected[o], tolerance[o]) == "");
        }
        REQUIRE(same_bits(op(*backend.one), got)); // again
        const Outputs shared = op(*backend.two);   // by two threads
        for (size_t o = 0; o < expected.size(); o++) {
            REQUIRE(mismatch(shared[o], expected[o], tolerance[o]) == "");
        }
        REQUIRE((backend.library || same_bits(shared, got)));
        const AlignedTensors now; // wide loads, where a backend has them, may add in another order
        const Outputs aligned = op(*backend.one);
        for (size_t o = 0; o < expected.size(); o++) {
            REQUIRE(mismatch(aligned[o], expected[o], tolerance[o]) == "");
        }
        REQUIRE(same_bits(op(*backend.one), aligned));
    }
}

inline void require_like_reference(const Op& op, const Outputs& tolerance, bool is_matmul = false) {
    require_like(reference(), backends(), op, tolerance, is_matmul);
}

// A product, in F32 and in BF16: what is multiplied is rounded there, literally the same numbers in every backend, so the
// tolerance of the sum is the same.
inline void require_product_like_reference(const Op& op, const Outputs& tolerance) {
    require_like(reference(), backends(), op, tolerance, true);
    require_like(bf16_reference(), bf16_backends(), op, tolerance, true);
}

inline std::vector<int32_t> random_ints(Rng& rng, int64_t n, int64_t below) {
    std::vector<int32_t> x(n);
    for (int32_t& value : x) {
        value = int32_t(rng.below(below));
    }
    return x;
}

} // namespace skintern::kernel_tests
