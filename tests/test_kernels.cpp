// test_kernels.cpp — every fast backend of this machine against the textbook loops, at odd shapes and at shapes that cross
// the blocks of a fast kernel (attention: test_attention.cpp). Tolerances: kernel_backends.h.
#include <algorithm>
#include <deque>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#ifdef SKINTERN_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu.h"
#include "dequantize.h"
#include "kernel_backends.h"

using namespace skintern;
using namespace skintern::kernel_tests;

#ifdef __SANITIZE_ADDRESS__
// The address sanitizer is to return nullptr for an impossible allocation, as the system does, instead of
// aborting.
extern "C" const char* __asan_default_options() {
    return "allocator_may_return_null=1";
}
#endif

namespace {

// Position encodings of P positions with arbitrary angles.
inline Vector random_rotations(Rng& rng, int64_t P, int64_t HS) {
    Vector cos_sin(P * HS);
    for (int64_t p = 0; p < P; p++) {
        for (int64_t i = 0; i < HS / 2; i++) {
            const double angle = 6.0 * rng.uniform();
            cos_sin[p * HS + i] = real(std::cos(angle));
            cos_sin[p * HS + HS / 2 + i] = real(std::sin(angle));
        }
    }
    return cos_sin;
}

// Magnitudes are taken of operands that are not rounded to BF16: each may be larger by 2^-8 there.
constexpr double kRounded = 1.01;

const std::vector<std::pair<int64_t, int64_t>> kRowShapes = {{1, 1},  {1, 33}, {3, 5},    {5, 17},
                                                             {17, 3}, {33, 1}, {70, 100}, {9, 576}};
// And a vocabulary of more than one block of a sum, with rows for both threads.
const std::vector<std::pair<int64_t, int64_t>> kKlShapes = {{1, 1},  {1, 33},   {3, 5},    {5, 17},
                                                            {17, 3}, {70, 100}, {9, 4099}};

} // namespace

// ---- backends and memory ----------------------------------------------------------------------------------

TEST_CASE("the portable backend is always there", "[kernels][cpu]") {
    REQUIRE(!backends().empty());
    REQUIRE(backends()[0].label == "isa portable, matmul own");
}

// /proc/cpuinfo is the system's word, which make_kernels does not read: were its own look at the processor wrong, a backend
// would leave the tests as if the machine lacked it. Where there is no such file nothing is asked for.
TEST_CASE("every instruction set that the system names and this build has is among the backends", "[kernels][cpu]") {
    std::vector<std::pair<std::string, std::string>> flags_of = {{"portable", ""}}; // of an isa, beyond those before it
#ifdef SKINTERN_X86_ISAS
    flags_of.emplace_back("avx2", "avx2 fma f16c");
    flags_of.emplace_back("avx512", "avx512f avx512vl avx512dq avx512bw");
#endif
#ifdef SKINTERN_AMX
    flags_of.emplace_back("avx512bf16", "avx512_vnni avx512_bf16");
    if (syscall(SYS_arch_prctl, 0x1023L, 18L) == 0) { // the system gives tiles to those that ask, or does not
        flags_of.emplace_back("amx", "amx_tile amx_bf16");
    }
#endif
    std::ifstream cpuinfo("/proc/cpuinfo");
    std::string line;
    while (std::getline(cpuinfo, line) && !line.starts_with("flags")) {
    }
    std::istringstream words(line);
    const std::set<std::string> flags(std::istream_iterator<std::string>(words), {});
    const auto has = [](const std::vector<Backend>& all, const std::string& label) {
        return std::any_of(all.begin(), all.end(), [&](const Backend& backend) { return backend.label == label; });
    };
    bool named = true;
    for (const auto& [isa, needed] : flags_of) {
        std::istringstream names(needed);
        for (std::string flag; names >> flag;) {
            named = named && flags.contains(flag);
        }
        if (!named) {
            break;
        }
        INFO(isa);
        REQUIRE(has(backends(), "isa " + isa + ", matmul own"));
        REQUIRE(has(bf16_backends(), "isa " + isa + ", matmul own, dtype bf16"));
    }
}

TEST_CASE("only what this build or processor lacks is skipped: any other error of a backend fails its tests", "[kernels][cpu]") {
    REQUIRE(unless_lacking([] { return make_kernels({"cpu", "portable", "own", 1}); }) != nullptr);
    REQUIRE(unless_lacking([]() -> const char* { CHECK(false, "this build has no %s code", "vax"); }) == nullptr);
    REQUIRE(unless_lacking([]() -> const char* { CHECK(false, "this processor has no %s", "vax"); }) == nullptr);
    REQUIRE_THROWS_AS(unless_lacking([] { return make_kernels({"cpu", "vax", "own", 1}); }), Error);
}

TEST_CASE("make_kernels refuses what it does not know", "[kernels]") {
    REQUIRE_THROWS_AS(make_kernels({"toaster", "auto", "own", 1}), Error);
    REQUIRE_THROWS_AS(make_kernels({"cpu", "avx1024", "own", 1}), Error);
    REQUIRE_THROWS_AS(make_kernels({"cpu", "auto", "abacus", 1}), Error);
    REQUIRE_THROWS_AS(make_kernels({"cpu", "auto", "own", -1}), Error);
    REQUIRE_THROWS_AS(make_kernels({"cpu", "auto", "own", 1, "f64"}), Error);
    REQUIRE_THROWS_AS(make_kernels({"cpu", "auto", "openblas", 1, "bf16"}), Error);
    REQUIRE(make_kernels({"reference", "auto", "own", 1})->name() == reference().name());
}

TEST_CASE("memory is zeroed, aligned, copied and refused when there is not enough", "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        const Vector x = {1, 2, 3, 4, 5};
        Vector y(5, kNan);
        real* a = static_cast<real*>(kernels.alloc(5 * sizeof(real)));
        real* b = static_cast<real*>(kernels.alloc(5 * sizeof(real)));
        REQUIRE(reinterpret_cast<uintptr_t>(a) % 64 == 0);
        kernels.download(y.data(), a, 5 * sizeof(real));
        REQUIRE(y == Vector(5, 0));
        kernels.upload(a, x.data(), 5 * sizeof(real));
        kernels.copy(b, a, 5 * sizeof(real));
        kernels.zero(b, 2 * sizeof(real));
        kernels.download(y.data(), b, 5 * sizeof(real));
        REQUIRE(y == Vector{0, 0, 3, 4, 5});
        kernels.free(a);
        kernels.free(b);
        kernels.free(nullptr);
        kernels.free(kernels.alloc(0));
        REQUIRE_THROWS_AS(kernels.alloc(SIZE_MAX), Error);
        REQUIRE_THROWS_AS(kernels.alloc(SIZE_MAX / 2), Error);
    });
}

// ---- matrix products --------------------------------------------------------------------------------------

namespace {

void require_matmul(int64_t M, int64_t N, int64_t K, real alpha, bool accumulate) {
    for (const Layout layout : {Layout::nt, Layout::nn, Layout::tn}) {
        INFO(format("layout %d, M %d, N %d, K %d, alpha %g, accumulate %d", int(layout), int(M), int(N),
                    int(K), alpha, accumulate));
        Rng rng(1, "matmul");
        const Vector a = random_vector(rng, M * K);
        const Vector b = random_vector(rng, K * N);
        const Vector before = accumulate ? random_vector(rng, M * N) : nans(M * N);
        const Op op = [&](Kernels& kernels) -> Outputs {
            Reals out_(kernels, before), a_(kernels, a), b_(kernels, b);
            kernels.matmul(layout, out_.data(), a_.data(), b_.data(), M, N, K, alpha, accumulate);
            return {out_.read()};
        };
        // K terms of one product each, times alpha, plus what was there: K + 3 roundings of
        // |before| + |alpha| sum_k |a_mk b_kn|, which is the same op on absolute values.
        Vector magnitude = absolute(before);
        const Vector a_abs = absolute(a);
        const Vector b_abs = absolute(b);
        reference().matmul(layout, magnitude.data(), a_abs.data(), b_abs.data(), M, N, K, std::fabs(alpha),
                           accumulate);
        require_product_like_reference(op, {scaled((double(K) + 3.0) * kU * kRounded, magnitude)});
    }
}

} // namespace

// What an adapter makes of a layer: several products of the same rows, each a sum of terms of different lengths, on top of
// what was there, with weights packed for good.
TEST_CASE("products of several terms agree with the reference, packed weights to the last bit", "[kernels]") {
    for (const int64_t M : {1, 5, 8, 9, 16, 17, 33, 130}) {
        for (const auto& [K, R] : std::vector<std::pair<int64_t, int64_t>>{{33, 5}, {64, 16}, {576, 16}, {1, 1}, {700, 3}, {1536, 0}}) {
            INFO(format("M %d, K %d, R %d", int(M), int(K), int(R)));
            const std::vector<int64_t> N = {17, 40, 64};
            Rng rng(2, "products");
            const Vector x = random_vector(rng, M * K);
            std::vector<Vector> w, low, b, base;
            for (const int64_t n : N) {
                w.push_back(random_vector(rng, n * K));
                low.push_back(random_vector(rng, M * R));
                b.push_back(random_vector(rng, n * R));
                base.push_back(random_vector(rng, M * n));
            }
            const auto run = [&](Kernels& kernels, bool packed, const auto& change) -> Outputs {
                std::deque<Reals> all;
                const auto put = [&](const Vector& v) { return all.emplace_back(kernels, change(v)).data(); };
                std::vector<void*> panels;
                Product list[3];
                const real* x_ = put(x);
                std::vector<Reals*> outs;
                for (size_t p = 0; p < 3; p++) {
                    list[p].out = put(p == 1 ? base[p] : nans(M * N[p]));
                    outs.push_back(&all.back());
                    list[p].base = p == 0 ? nullptr : p == 1 ? list[p].out : put(base[p]);
                    list[p].N = N[p];
                    Matrix weight(put(w[p]));
                    if (packed && p != 2 && kernels.packed_bytes(Rows::many, weight, N[p], K) > 0) {
                        panels.push_back(kernels.alloc(kernels.packed_bytes(Rows::many, weight, N[p], K)));
                        kernels.pack(Rows::many, panels.back(), weight, N[p], K);
                        weight.packed = panels.back();
                    }
                    list[p].add(x_, weight, K);
                    list[p].add(put(low[p]), put(b[p]), R);
                }
                kernels.products(Layout::nt, list, 3, M);
                Outputs out;
                for (Reals* o : outs) {
                    out.push_back(o->read());
                }
                for (void* panel : panels) {
                    kernels.free(panel);
                }
                return out;
            };
            const auto as_it_is = [](const Vector& v) { return v; };
            Outputs tolerance = run(reference(), false, absolute);
            for (Vector& t : tolerance) {
                t = scaled((double(K + R) + 3.0) * kU * kRounded, t);
            }
            require_product_like_reference([&](Kernels& k) { return run(k, false, as_it_is); }, tolerance);
            for (const auto* backends_ : {&backends(), &bf16_backends()}) {
                for (const Backend& backend : *backends_) {
                    INFO(backend.label);
                    REQUIRE((backend.library || same_bits(run(*backend.two, true, as_it_is), run(*backend.one, false, as_it_is))));
                }
            }
        }
    }
}

TEST_CASE("matmul agrees with the reference at odd shapes and across blocks", "[kernels]") {
    struct Shape {
        int64_t M, N, K;
    };
    const std::vector<Shape> shapes = {
        {1, 1, 1},     {1, 33, 5},    {3, 5, 17},    {5, 3, 33},      {17, 1, 3},
        {33, 17, 5},   {64, 64, 64},  {70, 100, 65}, {1, 192, 513},   {2, 100, 600},
        {65, 33, 700}, {5, 1100, 40}, {520, 9, 30},  {70, 192, 512},
    };
    for (const Shape& s : shapes) {
        require_matmul(s.M, s.N, s.K, 1, false);
        require_matmul(s.M, s.N, s.K, 1, true);
    }
    require_matmul(17, 33, 70, real(0.7), false);
    require_matmul(33, 17, 600, real(-2.5), true);
}

TEST_CASE("matmul agrees with the reference at every remainder of a block", "[kernels]") {
    for (int64_t i = 1; i <= 70; i++) {
        require_matmul(i, 37, 19, 1, false);
        require_matmul(7, i, 19, 1, true);
        require_matmul(5, 37, i, real(0.5), false);
    }
}

TEST_CASE("matmul of nothing: K = 0 is a zero product, M = 0 or N = 0 writes nothing", "[kernels]") {
    for (const bool accumulate : {false, true}) {
        require_matmul(3, 5, 0, 1, accumulate);
        require_matmul(0, 5, 3, 1, accumulate);
        require_matmul(3, 0, 5, 1, accumulate);
    }
}

TEST_CASE("every step towards the fast matmul agrees with the reference", "[kernels][cpu]") {
    const std::vector<int64_t> sizes = {0, 1, 3, 5, 17, 33, 70}, depths = {0, 1, 3, 5, 17, 33, 70, 700};
    for (const std::string& isa : kIsas) {
        const MatmulStep* steps = unless_lacking([&] { return matmul_steps(isa); });
        if (steps == nullptr) {
            continue; // backends() has said so
        }
        for (const int64_t M : {0, 1, 3, 5, 17, 33, 70, 200}) {
            for (const int64_t N : sizes) {
                for (const int64_t K : depths) {
                    Rng rng(3, "matmul steps");
                    const Vector a = random_vector(rng, M * K), b = random_vector(rng, N * K);
                    const Vector a_abs = absolute(a), b_abs = absolute(b);
                    Vector want(M * N), magnitude(M * N);
                    reference().matmul(Layout::nt, want.data(), a.data(), b.data(), M, N, K, 1, false);
                    reference().matmul(Layout::nt, magnitude.data(), a_abs.data(), b_abs.data(), M, N, K, 1, false);
                    for (int s = 0; s < kMatmulStepCount; s++) {
                        INFO(format("%s, step %s, M %d, N %d, K %d", isa.c_str(), steps[s].name, int(M), int(N), int(K)));
                        Reals out(reference(), nans(M * N)), a_(reference(), a), b_(reference(), b);
                        Reals scratch(reference(), nans((N + kMatmulStepPadding) * K));
                        steps[s].run(out.data(), a_.data(), b_.data(), scratch.data(), M, N, K);
                        REQUIRE(mismatch(out.read(), want, scaled((double(K) + 3.0) * kU, magnitude)) == "");
                        scratch.read(); // nothing beside it was written
                    }
                }
            }
        }
    }
}

TEST_CASE("a product may read an earlier one of the same call", "[kernels]") {
    const int64_t K = 700, R = 16, F = 40;
    for (const Layout layout : {Layout::nt, Layout::nn}) {
        for (const int64_t M : {1, 7, 9, 33, 200, 500}) {
            INFO(format("layout %d, M %d", int(layout), int(M)));
            Rng rng(3, "dependent products");
            const Vector x = random_vector(rng, M * K), a = random_vector(rng, R * K), w = random_vector(rng, F * K),
                         b = random_vector(rng, F * R);
            const auto run = [&](Kernels& kernels, const auto& change, bool whole) -> Outputs {
                Reals x_(kernels, change(x)), a_(kernels, change(a)), w_(kernels, change(w)), b_(kernels, change(b));
                Reals low(kernels, nans(M * R)), out(kernels, nans(M * F));
                Product list[2];
                list[0].out = low.data();
                list[0].N = R;
                list[0].alpha = real(0.5);
                list[0].add(x_.data(), a_.data(), K);
                list[1].out = out.data();
                list[1].N = F;
                if (whole) {
                    list[1].add(x_.data(), w_.data(), K);
                }
                list[1].add(low.data(), b_.data(), R);
                kernels.products(layout, list, 2, M);
                return {low.read(), out.read()};
            };
            const auto as_it_is = [](const Vector& v) { return v; };
            const Outputs whole = run(reference(), absolute, true), through_low = run(reference(), absolute, false);
            Outputs tolerance = {scaled((K + 3.0) * kU * kRounded, whole[0]), scaled((K + R + 6.0) * kU * kRounded, whole[1])};
            require_like(reference(), backends(), [&](Kernels& k) { return run(k, as_it_is, true); }, tolerance, true);
            // A low that differs in its last bit may be rounded to the next BF16, 2^-8 of it away.
            for (size_t i = 0; i < tolerance[1].size(); i++) {
                tolerance[1][i] += real(0x1p-8 * through_low[1][i]);
            }
            require_like(bf16_reference(), bf16_backends(), [&](Kernels& k) { return run(k, as_it_is, true); }, tolerance,
                         true);
        }
    }
}

TEST_CASE("products of the same b share it", "[kernels]") {
    const int64_t M = 5, N = 70, K = 130;
    Rng rng(4, "shared b");
    const Vector x = random_vector(rng, K * N);
    const std::vector<Vector> a = {random_vector(rng, K * M), random_vector(rng, K * M), random_vector(rng, K * M)};
    for_each_backend([&](Kernels& kernels) {
        Reals x_(kernels, x);
        std::deque<Reals> all;
        Product list[3];
        Outputs alone;
        for (size_t p = 0; p < 3; p++) {
            const real* a_ = all.emplace_back(kernels, a[p]).data();
            Reals out(kernels, nans(M * N));
            kernels.matmul(Layout::tn, out.data(), a_, x_.data(), M, N, K, 1, false);
            alone.push_back(out.read());
            list[p].add(a_, x_.data(), K);
            list[p].out = all.emplace_back(kernels, nans(M * N)).data();
            list[p].N = N;
        }
        kernels.products(Layout::tn, list, 3, M);
        for (size_t p = 0; p < 3; p++) {
            REQUIRE(same_bits(all[2 * p + 1].read(), alone[p]));
        }
    });
}

TEST_CASE("bias ops agree with the reference", "[kernels]") {
    for (const auto& [N_, C_] : kRowShapes) {
        const int64_t N = N_, C = C_;
        INFO(format("N %d, C %d", int(N), int(C)));
        Rng rng(2, "bias");
        const Vector x = random_vector(rng, N * C);
        const Vector bias = random_vector(rng, C);
        require_like_reference(
            [&](Kernels& kernels) -> Outputs {
                Reals out(kernels, x), bias_(kernels, bias);
                kernels.bias_forward(out.data(), bias_.data(), N, C);
                return {out.read()};
            },
            {{0}});                        // one addition, rounded as IEEE 754 says
        Vector magnitude = absolute(bias); // N + 1 terms
        reference().bias_backward(magnitude.data(), absolute(x).data(), N, C);
        require_like_reference(
            [&](Kernels& kernels) -> Outputs {
                Reals dbias(kernels, bias), dout(kernels, x);
                kernels.bias_backward(dbias.data(), dout.data(), N, C);
                return {dbias.read()};
            },
            {scaled((double(N) + 2.0) * kU, magnitude)});
    }
}

// ---- moving rows ------------------------------------------------------------------------------------------

TEST_CASE("gather, scatter and scatter_add move rows exactly", "[kernels]") {
    for (const auto& [M_, C_] : kRowShapes) {
        const int64_t M = M_, C = C_;
        INFO(format("M %d, C %d", int(M), int(C)));
        Rng rng(3, "rows");
        const Vector table = random_vector(rng, (M + 2) * C);
        const Vector inp = random_vector(rng, M * C);
        const std::vector<int32_t> repeated = random_ints(rng, M, M / 3 + 1);
        std::vector<int32_t> different(M + 2);
        for (size_t i = 0; i < different.size(); i++) {
            different[i] = int32_t(i);
        }
        rng.shuffle(different);
        different.resize(M);
        require_like_reference(
            [&](Kernels& kernels) -> Outputs {
                Reals gathered(kernels, nans(M * C)), scattered(kernels, table), added(kernels, table);
                Reals table_(kernels, table), inp_(kernels, inp);
                Ints repeated_(kernels, repeated), different_(kernels, different);
                kernels.gather_rows(gathered.data(), table_.data(), repeated_.data(), M, C);
                kernels.scatter_rows(scattered.data(), WeightType::f32, inp_.data(), different_.data(), M, C);
                kernels.scatter_add_rows(added.data(), inp_.data(), repeated_.data(), M, C);
                return {gathered.read(), scattered.read(), added.read()};
            },
            {{0}, {0}, {0}}); // copies, and sums in the order of m
    }
}

TEST_CASE("scatter into a table of BF16 rounds to the nearest, and to the even of two", "[kernels]") {
    // 257 lies between 256 and 258, 259 between 258 and 260; 2^-130 is no normal number and becomes 0.
    const Vector inp = {1, 257, 259, real(256.99), real(257.01), -257, real(0x1p-130), INFINITY, 0, kNan};
    const std::vector<uint16_t> expected = {0x3f80, 0x4380, 0x4382, 0x4380, 0x4381, 0xc380, 0, 0x7f80, 0};
    for_each_backend([&](Kernels& kernels) {
        Buffer<uint16_t> table(kernels, std::vector<uint16_t>(30, 7));
        Reals inp_(kernels, inp);
        Ints rows(kernels, {1});
        kernels.scatter_rows(table.data(), WeightType::bf16, inp_.data(), rows.data(), 1, 10);
        const std::vector<uint16_t> got = table.read();
        REQUIRE(std::vector<uint16_t>(got.begin() + 10, got.begin() + 19) == expected);
        REQUIRE(((got[19] & 0x7f80) == 0x7f80 && (got[19] & 0x7f) != 0)); // NaN stays NaN
        for (size_t i = 0; i < 10; i++) { // and no other row is touched
            REQUIRE((got[i] == 7 && got[20 + i] == 7));
        }
    });
}

// ---- normalisation, rotation, activation ------------------------------------------------------------------

TEST_CASE("rmsnorm ops agree with the reference", "[kernels]") {
    for (const auto& [N_, C_] : kRowShapes) {
        const int64_t N = N_, C = C_;
        INFO(format("N %d, C %d", int(N), int(C)));
        Rng rng(4, "rmsnorm");
        const Vector inp = random_vector(rng, N * C), dout = random_vector(rng, N * C);
        const Vector weight = random_vector(rng, C), dweight = random_vector(rng, C);
        const Vector dinp = random_vector(rng, N * C);
        const Op op = [&](Kernels& kernels) -> Outputs {
            Reals out(kernels, nans(N * C)), rstd(kernels, nans(N)), inp_(kernels, inp),
                weight_(kernels, weight);
            Reals dinp_(kernels, dinp), dinp_frozen(kernels, dinp), dweight_(kernels, dweight),
                dout_(kernels, dout), again(kernels, nans(N * C));
            kernels.rmsnorm_forward(out.data(), rstd.data(), inp_.data(), weight_.data(), N, C, real(1e-5));
            kernels.rmsnorm_backward(dinp_.data(), dweight_.data(), again.data(), dout_.data(), inp_.data(), weight_.data(),
                                     rstd.data(), N, C);
            kernels.rmsnorm_backward(dinp_frozen.data(), nullptr, nullptr, dout_.data(), inp_.data(), weight_.data(),
                                     rstd.data(), N, C);
            REQUIRE(same_bits(dinp_frozen.read(), dinp_.read()));
            REQUIRE(same_bits(again.read(), out.read()));
            return {out.read(), rstd.read(), dinp_.read(), dweight_.read()};
        };
        // The mean square has C positive terms, and the root halves their relative error.
        const double norm_roundings = double(C) / 2.0 + 8.0;
        const Outputs expected = op(reference());
        Vector dinp_magnitude = absolute(dinp), dweight_magnitude = absolute(dweight);
        for (int64_t n = 0; n < N; n++) {
            // forward: dinp += rstd (dnorm - norm mean(dnorm norm)) with norm = inp rstd, dnorm = dout weight
            const double rstd = expected[1][n];
            double mean = 0.0;
            for (int64_t c = 0; c < C; c++) {
                mean += std::fabs(dout[n * C + c] * weight[c] * inp[n * C + c]) * rstd / double(C);
            }
            for (int64_t c = 0; c < C; c++) {
                const double norm = std::fabs(inp[n * C + c]) * rstd;
                dinp_magnitude[n * C + c] +=
                    real(rstd * (std::fabs(dout[n * C + c] * weight[c]) + norm * mean));
                dweight_magnitude[c] += real(std::fabs(dout[n * C + c]) * norm);
            }
        }
        // Each factor norm and rstd brings norm_roundings; there are at most three. The mean has C terms.
        require_like_reference(op, {scaled(norm_roundings * kU, expected[0]),
                                    scaled(norm_roundings * kU, expected[1]),
                                    scaled((3.0 * norm_roundings + double(C) + 8.0) * kU, dinp_magnitude),
                                    scaled((norm_roundings + double(N) + 4.0) * kU, dweight_magnitude)});
    }
}

TEST_CASE("rope agrees with the reference, and its inverse undoes it", "[kernels]") {
    struct Shape {
        int64_t N, NH, HS;
    };
    for (const Shape s : {Shape{1, 1, 2}, {3, 5, 6}, {17, 1, 34}, {5, 3, 10}, {70, 3, 64}, {33, 9, 16}}) {
        INFO(format("N %d, NH %d, HS %d", int(s.N), int(s.NH), int(s.HS)));
        Rng rng(5, "rope");
        const int64_t P = 33;
        const Vector cos_sin = random_rotations(rng, P, s.HS);
        const std::vector<int32_t> positions = random_ints(rng, s.N, P);
        const Vector x = random_vector(rng, s.N * s.NH * s.HS);
        const Op op = [&](Kernels& kernels) -> Outputs {
            Reals x_(kernels, x), table(kernels, cos_sin);
            Ints positions_(kernels, positions);
            kernels.rope(x_.data(), table.data(), positions_.data(), s.N, s.NH, s.HS, false);
            const Vector turned = x_.read();
            kernels.rope(x_.data(), table.data(), positions_.data(), s.N, s.NH, s.HS, true);
            return {turned, x_.read()};
        };
        // Two products and a sum of values up to 1 + 1: three roundings of 2. Turning back doubles that.
        const Outputs tolerance = {{real(6.0 * kU)}, {real(12.0 * kU)}};
        require_like_reference(op, tolerance);
        for_each_backend([&](Kernels& kernels) {
            REQUIRE(mismatch(op(kernels)[1], x, {real(24.0 * kU)}) ==
                    ""); // cos^2 + sin^2 is 1 but for 4 roundings
        });
    }
}

TEST_CASE("swiglu ops agree with the reference, in place and where exp overflows", "[kernels]") {
    for (const int64_t n : {1, 3, 5, 17, 33, 99, 4096, 100003}) {
        INFO(format("n %d", int(n)));
        Rng rng(6, "swiglu");
        Vector gate = random_vector(rng, n);
        for (int64_t i = 0; i < n; i++) {
            gate[i] *= 20;
        }
        const Vector extremes = {0, -0.0f, 88, -88, 89, -89, 104, -104, 1e4f, -1e4f, 1e30f, -1e30f};
        std::copy_n(extremes.begin(), std::min<int64_t>(n, int64_t(extremes.size())), gate.begin());
        const Vector up = random_vector(rng, n), dout = random_vector(rng, n);
        const Op op = [&](Kernels& kernels) -> Outputs {
            Reals out(kernels, nans(n)), gate_(kernels, gate), up_(kernels, up), dout_(kernels, dout);
            Reals dgate(kernels, nans(n)), dup(kernels, nans(n)), again(kernels, nans(n));
            kernels.swiglu_forward(out.data(), gate_.data(), up_.data(), n);
            kernels.swiglu_backward(dgate.data(), dup.data(), again.data(), dout_.data(), gate_.data(), up_.data(), n);
            kernels.swiglu_backward(gate_.data(), up_.data(), nullptr, dout_.data(), gate_.data(), up_.data(), n);
            REQUIRE(same_bits(gate_.read(), dgate.read()));
            REQUIRE(same_bits(up_.read(), dup.read()));
            REQUIRE(same_bits(again.read(), out.read()));
            return {out.read(), dgate.read(), dup.read()};
        };
        // sigmoid is an exp (right to 4 u), a sum and a quotient; products follow: 16 roundings at most.
        // Where exp leaves the range of float the result is below the smallest normal float times |gate|.
        const auto tolerance = [&](const Vector& magnitude) {
            Vector t = scaled(16.0 * kU, magnitude);
            for (int64_t i = 0; i < n; i++) {
                t[i] += 1e-35f;
            }
            return t;
        };
        const Outputs expected = op(reference());
        // dgate = dout up sigma (1 + gate (1 - sigma)): the two terms may cancel, and a sigma near 1 is still
        // off by roundings of 1 after it is subtracted from 1, so the magnitude of the last factor is 1 +
        // |gate|.
        Vector dgate_magnitude(n);
        for (int64_t i = 0; i < n; i++) {
            const double sigma = 1.0 / (1.0 + std::exp(-double(gate[i])));
            dgate_magnitude[i] =
                real(std::fabs(dout[i] * up[i]) * sigma * (1.0 + std::fabs(double(gate[i]))));
        }
        require_like_reference(op,
                               {tolerance(expected[0]), tolerance(dgate_magnitude), tolerance(expected[2])});
    }
}

// ---- loss and optimisation --------------------------------------------------------------------------------

TEST_CASE("cross_entropy agrees with the reference, huge logits included", "[kernels]") {
    for (const auto& [M_, V_] : kRowShapes) {
        const int64_t M = M_, V = V_;
        for (const double size : {1.0, 1e4, 1e30}) {
            INFO(format("M %d, V %d, logits up to %g", int(M), int(V), size));
            Rng rng(13, "cross_entropy");
            Vector logits = random_vector(rng, M * V);
            for (real& x : logits) {
                x = real(x * size);
            }
            const std::vector<int32_t> target = random_ints(rng, M, V);
            const real scale = real(0.3);
            const Op op = [&](Kernels& kernels) -> Outputs {
                Reals loss(kernels, nans(M)), gradient(kernels, logits), loss_only(kernels, nans(M));
                Reals logits_(kernels, logits);
                Ints target_(kernels, target);
                kernels.cross_entropy(loss.data(), gradient.data(), target_.data(), M, V, scale);
                kernels.cross_entropy(loss_only.data(), logits_.data(), target_.data(), M, V, 0);
                REQUIRE(same_bits(loss_only.read(), loss.read()));
                REQUIRE(same_bits(logits_.read(), logits)); // scale 0 asks for no gradient
                return {loss.read(), gradient.read()};
            };
            // The sum of V exponentials is off by V + 8 roundings, which log makes absolute. Subtracting the
            // largest logit or the logsumexp from a logit rounds at the size of the logits: to the loss that
            // is an absolute error, to a probability a relative one, which matters while it is neither 0 nor
            // 1 (up to size 1e4).
            const double roundings = double(V) + 8.0 + 4.0 * std::min(size, 1e4);
            require_like_reference(
                op, {{real((double(V) + 8.0 + 4.0 * size) * kU)}, {real(scale * roundings * kU)}});
        }
    }
}

// Logits of either side: uniform in [-size, size].
Vector random_logits(Rng& rng, int64_t n, double size) {
    Vector logits = random_vector(rng, n);
    for (real& x : logits) {
        x = real(x * size);
    }
    return logits;
}

TEST_CASE("kl_divergence agrees with the reference, huge logits included", "[kernels]") {
    for (const auto& [M_, V_] : kKlShapes) {
        const int64_t M = M_, V = V_;
        for (const double size : {1.0, 1e4, 1e30}) {
            INFO(format("M %d, V %d, logits up to %g", int(M), int(V), size));
            Rng rng(17, "kl_divergence");
            const Vector logits = random_logits(rng, M * V, size), target = random_logits(rng, M * V, size);
            const real scale = real(0.3);
            const Op op = [&](Kernels& kernels) -> Outputs {
                Reals loss(kernels, nans(M)), gradient(kernels, logits), loss_only(kernels, nans(M));
                Reals logits_(kernels, logits), target_(kernels, target);
                kernels.kl_divergence(loss.data(), gradient.data(), target_.data(), M, V, scale);
                kernels.kl_divergence(loss_only.data(), logits_.data(), target_.data(), M, V, 0);
                REQUIRE(same_bits(loss_only.read(), loss.read()));
                REQUIRE(same_bits(logits_.read(), logits)); // scale 0 asks for no gradient
                REQUIRE(same_bits(target_.read(), target));
                return {loss.read(), gradient.read()};
            };
            // exp is right to 4 u, and its argument a, rounded at |a|, makes that 4 + |a|; but exp(a) |a| <= 1 for
            // a <= 0, so an exponential is off by at most 5 u of 1. A probability divides it by a sum of V of them: V +
            // 8 roundings with those of the quotient. The loss is the sum over p, which add up to 1, of differences of
            // four logits, each rounded at their size: 4 size times the roundings of p, of the sum, and 8 of its own.
            const double roundings = double(V) + 8.0;
            require_like_reference(op, {{real((2.0 * roundings + 8.0) * 4.0 * size * kU)},
                                        {real(2.0 * scale * roundings * kU)}});
        }
    }
}

TEST_CASE("kl_divergence of equal logits is 0 and so is its gradient", "[kernels]") {
    for (const auto& [M_, V_] : kKlShapes) {
        const int64_t M = M_, V = V_;
        for (const double size : {1.0, 1e4, 1e30}) {
            INFO(format("M %d, V %d, logits up to %g", int(M), int(V), size));
            Rng rng(18, "kl_divergence");
            const Vector logits = random_logits(rng, M * V, size);
            for_each_backend([&](Kernels& kernels) {
                Reals loss(kernels, nans(M)), gradient(kernels, logits), target(kernels, logits);
                kernels.kl_divergence(loss.data(), gradient.data(), target.data(), M, V, 1);
                REQUIRE(mismatch(loss.read(), Vector(M, 0), {0}) == "");
                REQUIRE(mismatch(gradient.read(), Vector(M * V, 0), {0}) == "");
            });
        }
    }
}

TEST_CASE("kl_divergence does not see tokens that the teacher excludes, and says when the model excludes one of its own",
          "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        // The teacher's probabilities are 0, 1/2, 1/2, the model's 0, 1/4, 3/4 and then 1/2, 0, 1/2.
        const Vector target = {-INFINITY, 0, 0, -INFINITY, 0, 0};
        Reals logits(kernels, {-INFINITY, 0, std::log(3.0f), 0, -INFINITY, 0}), target_(kernels, target);
        Reals loss(kernels, nans(2));
        kernels.kl_divergence(loss.data(), logits.data(), target_.data(), 2, 3, 1);
        REQUIRE(std::fabs(loss.read()[0] - 0.5f * std::log(4.0f / 3.0f)) <= 1e-6f); // log 2/1 and log 2/3, halved
        REQUIRE(loss.read()[1] == INFINITY);
        REQUIRE(mismatch(logits.read(), {0, -0.25f, 0.25f, 0.5f, -0.5f, 0}, {1e-6f}) == "");
    });
}

TEST_CASE("argmax_rows takes the smallest of equal largest", "[kernels]") {
    for (const auto& [M_, V_] : kRowShapes) {
        const int64_t M = M_, V = V_;
        INFO(format("M %d, V %d", int(M), int(V)));
        Rng rng(14, "argmax");
        Vector ties(M * V), negative(M * V);
        for (int64_t i = 0; i < M * V; i++) {
            ties[i] = real(rng.below(3)); // nearly always a tie
            negative[i] = real(-1.0 - rng.uniform());
        }
        const Vector equal(M * V, -INFINITY), none(M * V, NAN);
        for_each_backend([&](Kernels& kernels) {
            Reals none_(kernels, none);
            Ints at(kernels, std::vector<int32_t>(M, 1));
            kernels.argmax_rows(at.data(), none_.data(), M, V);
            REQUIRE(at.read() == std::vector<int32_t>(M, -1)); // nothing is the largest
            for (const Vector& logits : {ties, negative, equal}) {
                Reals logits_(kernels, logits);
                Ints out(kernels, std::vector<int32_t>(M, -1));
                kernels.argmax_rows(out.data(), logits_.data(), M, V);
                const std::vector<int32_t> got = out.read();
                for (int64_t m = 0; m < M; m++) {
                    const auto row = logits.begin() + m * V;
                    REQUIRE(got[m] == std::max_element(row, row + V) - row); // max_element takes the first
                }
            }
        });
    }
}

TEST_CASE("sum_squares sums in double, in a fixed order", "[kernels]") {
    for (const int64_t n : {0, 1, 3, 5, 17, 33, 100, 4096, 300001}) {
        INFO(format("n %d", int(n)));
        Rng rng(15, "sum_squares");
        const Vector x = random_vector(rng, n);
        const auto sum = [&](Kernels& kernels) {
            Reals x_(kernels, x);
            return kernels.sum_squares(x_.data(), n);
        };
        const double expected = sum(reference());
        for (const Backend& backend : backends()) {
            INFO(backend.label);
            const double got = sum(*backend.one);
            REQUIRE(std::fabs(got - expected) <=
                    double(n) * 0x1.0p-52 * expected); // squares of floats are exact
            REQUIRE(sum(*backend.one) == got);
            REQUIRE(sum(*backend.two) == got);
        }
    }
}

TEST_CASE("adamw agrees with the reference at early and late steps", "[kernels]") {
    for (const int64_t n : {1, 3, 5, 17, 33, 4096, 100003}) {
        for (const int64_t step : {1, 2, 1000000}) {
            INFO(format("n %d, step %d", int(n), int(step)));
            Rng rng(16, "adamw");
            const Vector param = random_vector(rng, n), grad = random_vector(rng, n),
                         m = random_vector(rng, n);
            const Vector v = absolute(random_vector(rng, n));
            const AdamwStep options = {real(0.01), real(0.9), real(0.999), real(1e-8),
                                       real(0.1),  real(0.5), step};
            const Op op = [&](Kernels& kernels) -> Outputs {
                Reals param_(kernels, param), m_(kernels, m), v_(kernels, v), grad_(kernels, grad);
                kernels.adamw(param_.data(), m_.data(), v_.data(), grad_.data(), n, options);
                return {param_.read(), m_.read(), v_.read()};
            };
            // m and v are sums of two products: 6 roundings of terms up to 1. The update is a quotient of
            // them, and its numerator may cancel: 16 roundings of its magnitude with |m| and |g|.
            const Outputs expected = op(reference());
            const double c1 = 1.0 - std::pow(double(options.beta1), double(step));
            const double c2 = 1.0 - std::pow(double(options.beta2), double(step));
            Vector tolerance(n);
            for (int64_t i = 0; i < n; i++) {
                const double terms = 0.9 * std::fabs(m[i]) + 0.1 * 0.5 * std::fabs(grad[i]);
                const double update = 0.01 * terms / c1 / std::sqrt(double(expected[2][i]) / c2);
                tolerance[i] = real(16.0 * kU * (std::fabs(param[i]) + update));
            }
            require_like_reference(op, {tolerance, {real(6.0 * kU)}, scaled(6.0 * kU, expected[2])});
        }
    }
}

// ---- examples to check by hand ----------------------------------------------------------------------------

TEST_CASE("adamw takes two steps that can be checked by hand", "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        Reals p(kernels, {1}), m(kernels, {0}), v(kernels, {0}), grad1(kernels, {0.5}),
            grad2(kernels, {-0.25});
        AdamwStep step = {real(0.1), real(0.9), real(0.999), real(1e-8), real(0.01), 1, 1};
        // g = 0.5: m^ = g and v^ = g^2, so the first update is the sign of g. p = 1 (1 - 0.001) - 0.1
        kernels.adamw(p.data(), m.data(), v.data(), grad1.data(), 1, step);
        REQUIRE(std::fabs(double(p.read()[0]) - 0.899) <= 1e-6);
        REQUIRE(std::fabs(double(m.read()[0]) - 0.05) <= 1e-7);
        REQUIRE(std::fabs(double(v.read()[0]) - 0.00025) <= 1e-8); // 1 - beta2 has 4 digits left in float
        // g = 2 (-0.25): m = 0.045 - 0.05, m^ = -0.005 / 0.19; v = 0.00049975, v^ = 0.25 again
        step.step = 2;
        step.grad_scale = 2;
        kernels.adamw(p.data(), m.data(), v.data(), grad2.data(), 1, step);
        REQUIRE(std::fabs(double(p.read()[0]) - (0.899 * 0.999 + 0.1 * (0.005 / 0.19) / 0.5)) <= 1e-6);
        REQUIRE(std::fabs(double(m.read()[0]) + 0.005) <= 1e-7);
        REQUIRE(std::fabs(double(v.read()[0]) - 0.00049975) <= 2e-8);
    });
}

TEST_CASE("small examples of the other ops can be checked by hand", "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        Reals a(kernels, {1, 2, 3, 4}), b(kernels, {5, 6, 7, 8}), product(kernels, nans(4));
        kernels.matmul(Layout::nn, product.data(), a.data(), b.data(), 2, 2, 2, 1, false);
        REQUIRE(product.read() == Vector{19, 22, 43, 50}); // 1*5 + 2*7, ...
        kernels.matmul(Layout::nt, product.data(), a.data(), b.data(), 2, 2, 2, 1, false);
        REQUIRE(product.read() == Vector{17, 23, 39, 53}); // 1*5 + 2*6, ...
        kernels.matmul(Layout::tn, product.data(), a.data(), b.data(), 2, 2, 2, 2, true);
        REQUIRE(product.read() == Vector{17 + 52, 23 + 60, 39 + 76, 53 + 88}); // 2 (1*5 + 3*7), ...

        // mean (1^2 + 7^2) / 2 = 25, so rstd = 1/5
        Reals x(kernels, {1, 7}), weight(kernels, {10, 5}), out(kernels, nans(2)), rstd(kernels, nans(1));
        kernels.rmsnorm_forward(out.data(), rstd.data(), x.data(), weight.data(), 1, 2, 0);
        REQUIRE(mismatch(out.read(), {2, 7}, {1e-6f}) == "");
        REQUIRE(mismatch(rstd.read(), {0.2f}, {1e-7f}) == "");

        // A quarter turn of elements 0 and 2, none of 1 and 3. Position 1 of a table of two.
        Reals head(kernels, {1, 2, 3, 4}), cos_sin(kernels, {9, 9, 9, 9, 0, 1, 1, 0});
        Ints position(kernels, {1});
        kernels.rope(head.data(), cos_sin.data(), position.data(), 1, 1, 4, false);
        REQUIRE(head.read() == Vector{-3, 2, 1, 4});

        // softmax(log 1, log 3) = (1/4, 3/4); the target is 0: loss log 4, gradient (1/4 - 1, 3/4) * 2
        Reals logits(kernels, {0, std::log(3.0f)}), loss(kernels, nans(1));
        Ints target(kernels, {0});
        kernels.cross_entropy(loss.data(), logits.data(), target.data(), 1, 2, 2);
        REQUIRE(mismatch(loss.read(), {std::log(4.0f)}, {1e-6f}) == "");
        REQUIRE(mismatch(logits.read(), {-1.5f, 1.5f}, {1e-6f}) == "");

        // p = (1/2, 1/2) and q = (1/4, 3/4): loss (log 2 + log 2/3) / 2, gradient (1/4 - 1/2, 3/4 - 1/2) * 2
        Reals student(kernels, {0, std::log(3.0f)}), teacher(kernels, {5, 5});
        kernels.kl_divergence(loss.data(), student.data(), teacher.data(), 1, 2, 2);
        REQUIRE(mismatch(loss.read(), {0.5f * std::log(4.0f / 3.0f)}, {1e-6f}) == "");
        REQUIRE(mismatch(student.read(), {-0.5f, 0.5f}, {1e-6f}) == "");
    });
}

// ---- nothing ----------------------------------------------------------------------------------------------

TEST_CASE("an op of no rows does nothing", "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        const Vector kept = {1, 2, 3};
        Reals none(kernels, {}), weight(kernels, kept), sums(kernels, kept);
        Ints no_ints(kernels, {});
        Packed packed(kernels, {}), empty(kernels, {0, 0});
        real* e = none.data();
        kernels.bias_forward(e, weight.data(), 0, 3);
        kernels.bias_backward(sums.data(), e, 0, 3);
        kernels.gather_rows(e, weight.data(), no_ints.data(), 0, 3);
        kernels.scatter_rows(sums.data(), WeightType::f32, e, no_ints.data(), 0, 3);
        kernels.scatter_rows(sums.data(), WeightType::bf16, e, no_ints.data(), 0, 3);
        kernels.scatter_add_rows(sums.data(), e, no_ints.data(), 0, 3);
        kernels.rmsnorm_forward(e, e, e, weight.data(), 0, 3, 0);
        kernels.rmsnorm_backward(e, sums.data(), e, e, e, weight.data(), e, 0, 3);
        kernels.rope(e, weight.data(), no_ints.data(), 0, 1, 2, false);
        kernels.swiglu_forward(e, e, e, 0);
        kernels.swiglu_backward(e, e, e, e, e, e, 0);
        for (const Sequences seq : {packed.seq, empty.seq}) {
            kernels.attention_forward(e, e, e, e, e, seq, 4, 2, 3);
            kernels.attention_backward(e, e, e, e, e, e, e, e, e, seq, 4, 2, 3);
            Ints slot(kernels, {0, 0}), length(kernels, {0, 0});
            kernels.attention_cached(e, e, e, e, slot.data(), length.data(), seq, 3, 4, 2, 3);
            const Matrix halves(e, WeightType::bf16);
            kernels.attention_cached(e, e, halves, halves, slot.data(), length.data(), seq, 3, 4, 2, 3);
        }
        kernels.cross_entropy(e, e, no_ints.data(), 0, 3, 1);
        kernels.kl_divergence(e, e, e, 0, 3, 1);
        kernels.argmax_rows(no_ints.data(), e, 0, 3);
        REQUIRE(kernels.sum_squares(e, 0) == 0.0);
        kernels.adamw(e, e, e, e, 0, {real(0.1), real(0.9), real(0.999), real(1e-8), 0, 1, 1});
        kernels.copy(e, e, 0);
        kernels.zero(e, 0);
        REQUIRE(none.read().empty()); // and nothing beside it was written
        REQUIRE(no_ints.read().empty());
        REQUIRE(sums.read() == kept);
        REQUIRE(weight.read() == kept);
    });
}

TEST_CASE("a step that is repeated does its ops anew on what memory then holds, also after memory was freed", "[kernels]") {
    for_each_backend([](Kernels& kernels) {
        Reals out(kernels, {0, 0, 0}), bias(kernels, {1, 2, 3});
        int calls = 0;
        const auto step = [&] {
            calls++;
            kernels.bias_forward(out.data(), bias.data(), 1, 3);
        };
        for (int i = 0; i < 4; i++) {
            kernels.repeat("step", step);
        }
        REQUIRE(out.read() == Vector{4, 8, 12});
        kernels.upload(bias.data(), Vector{10, 20, 30}.data(), 3 * sizeof(real));
        kernels.repeat("step", step);
        REQUIRE(out.read() == Vector{14, 28, 42});
        const bool records = calls == 2; // as it is, and once to record it
        REQUIRE((records || calls == 5));
        kernels.free(kernels.alloc(64));
        kernels.repeat("step", step);
        REQUIRE(calls == (records ? 3 : 6));
        REQUIRE(out.read() == Vector{24, 48, 72});
    });
}
