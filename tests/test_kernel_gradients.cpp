// test_kernel_gradients.cpp — is each backward op the derivative of its forward op?
//
// Compiled with -DSKINTERN_REAL=double into a test binary of its own, where only the reference kernels exist:
// they are the oracle of all others, so they are the ones to be checked against the definition of a
// derivative.
//
// An op out = f(x) becomes a scalar by a fixed random dout:  loss(x) = sum_i dout_i f(x)_i.  Its gradient by
// x is what the backward op must return for dout, and central differences give it from forward calls alone:
//
//   d loss / d x_i  =  (loss(x + eps e_i) - loss(x - eps e_i)) / (2 eps) + O(eps^2)
//
// With eps = 1e-6 the neglected term is about 1e-12, and the rounding of the two losses (2^-53 of values of
// some tens) costs 1e-15 * 100 / 1e-6 = 1e-7: the tolerances below leave room for both, but for no wrong
// term.
#include "test.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels.h"
#include "support/rng.h"

using namespace skintern;

namespace {

static_assert(sizeof(real) == sizeof(double), "compile the gradient tests with -DSKINTERN_REAL=double");

constexpr double kEps = 1e-6;
constexpr double kRelative = 1e-3;
constexpr double kAbsolute = 1e-5;

using Vector = std::vector<real>;

Vector random_vector(Rng& rng, int64_t n) {
    Vector x(n);
    for (real& value : x) {
        value = rng.normal();
    }
    return x;
}

// sum_i a_i b_i
double inner(const Vector& a, const Vector& b) {
    double sum = 0.0;
    for (size_t i = 0; i < a.size(); i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

// a - b
Vector difference(const Vector& a, const Vector& b) {
    Vector d(a.size());
    for (size_t i = 0; i < a.size(); i++) {
        d[i] = a[i] - b[i];
    }
    return d;
}

// Central differences of `loss` by each element of x against dx: "" when all agree, else the first that does
// not. x is put back as it was.
std::string gradient_mismatch(Vector& x, const Vector& dx, const std::function<double()>& loss) {
    for (size_t i = 0; i < x.size(); i++) {
        const real kept = x[i];
        x[i] = kept + kEps;
        const double above = loss();
        x[i] = kept - kEps;
        const double below = loss();
        x[i] = kept;
        const double numeric = (above - below) / (2.0 * kEps);
        if (!(std::fabs(dx[i] - numeric) <= kAbsolute + kRelative * std::fabs(numeric))) {
            return format("element %zu of %zu: backward %.9g, central difference %.9g", i, x.size(), dx[i],
                          numeric);
        }
    }
    return "";
}

} // namespace

TEST_CASE("the gradient check notices a wrong, a missing and a NaN gradient", "[kernels][gradients]") {
    Vector x = {0.5, -1.0, 2.0};
    const auto loss = [&] { return x[0] * x[0] + 3.0 * x[1] + std::exp(x[2]); };
    const Vector right = {1.0, 3.0, std::exp(2.0)};
    REQUIRE(gradient_mismatch(x, right, loss) == "");
    REQUIRE(x == Vector{0.5, -1.0, 2.0});
    REQUIRE(gradient_mismatch(x, {1.01, 3.0, std::exp(2.0)}, loss) != "");
    REQUIRE(gradient_mismatch(x, {1.0, 3.0, 0.0}, loss) != "");
    REQUIRE(gradient_mismatch(x, {1.0, NAN, std::exp(2.0)}, loss) != "");
}

// ---- matrix products --------------------------------------------------------------------------------------

TEST_CASE("matmul nn and tn are the gradients of matmul nt at odd shapes", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    struct Shape {
        int64_t M, N, K;
    };
    for (const Shape s : {Shape{1, 1, 1}, {1, 33, 5}, {3, 5, 17}, {5, 3, 33}, {17, 1, 3}, {33, 17, 5}}) {
        INFO(format("M %d, N %d, K %d", int(s.M), int(s.N), int(s.K)));
        Rng rng(1, "matmul");
        const real alpha = 0.7;
        Vector x = random_vector(rng, s.M * s.K); // (M,K)
        Vector w = random_vector(rng, s.N * s.K); // (N,K)
        const Vector dout = random_vector(rng, s.M * s.N);
        Vector out(s.M * s.N);
        const auto loss = [&] {
            kernels->matmul(Layout::nt, out.data(), x.data(), w.data(), s.M, s.N, s.K, alpha, false);
            return inner(out, dout);
        };

        // forward: out(M,N) = alpha x(M,K) w(N,K)^T
        Vector dx(s.M * s.K, NAN); // dx = alpha dout(M,N) w(N,K), overwritten
        kernels->matmul(Layout::nn, dx.data(), dout.data(), w.data(), s.M, s.K, s.N, alpha, false);
        REQUIRE(gradient_mismatch(x, dx, loss) == "");

        const Vector before = random_vector(rng, s.N * s.K);
        Vector dw = before; // dw += alpha dout(M,N)^T x(M,K)
        kernels->matmul(Layout::tn, dw.data(), dout.data(), x.data(), s.N, s.K, s.M, alpha, true);
        REQUIRE(gradient_mismatch(w, difference(dw, before), loss) == "");
    }
}

TEST_CASE("bias_backward matches finite differences and adds to dbias", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    for (const auto& [N_, C_] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {17, 33}, {33, 1}}) {
        const int64_t N = N_, C = C_;
        INFO(format("N %d, C %d", int(N), int(C)));
        Rng rng(2, "bias");
        Vector bias = random_vector(rng, C);
        const Vector inp = random_vector(rng, N * C);
        const Vector dout = random_vector(rng, N * C);
        const auto loss = [&] {
            Vector out = inp;
            kernels->bias_forward(out.data(), bias.data(), N, C);
            return inner(out, dout);
        };
        const Vector before = random_vector(rng, C);
        Vector dbias = before;
        kernels->bias_backward(dbias.data(), dout.data(), N, C);
        REQUIRE(gradient_mismatch(bias, difference(dbias, before), loss) == "");
    }
}

// ---- moving rows ------------------------------------------------------------------------------------------

TEST_CASE("scatter_add_rows is the gradient of gather_rows, repeated rows included", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    const std::vector<int32_t> rows = {3, 0, 3, 4, 0, 3}; // 1 and 2 are never read: no gradient
    const int64_t M = 6;
    for (const int64_t C : {1, 3, 17, 33}) {
        INFO(format("C %d", int(C)));
        Rng rng(3, "gather");
        Vector table = random_vector(rng, 5 * C);
        const Vector dout = random_vector(rng, M * C);
        const auto loss = [&] {
            Vector out(M * C, NAN);
            kernels->gather_rows(out.data(), table.data(), rows.data(), M, C);
            return inner(out, dout);
        };
        const Vector before = random_vector(rng, 5 * C);
        Vector dtable = before;
        kernels->scatter_add_rows(dtable.data(), dout.data(), rows.data(), M, C);
        REQUIRE(gradient_mismatch(table, difference(dtable, before), loss) == "");
    }
}

// ---- normalisation, rotation, activation ------------------------------------------------------------------

TEST_CASE("rmsnorm_backward matches finite differences and adds to dinp and dweight",
          "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    for (const auto& [N_, C_] :
         {std::pair<int64_t, int64_t>{1, 1}, {1, 33}, {3, 5}, {17, 3}, {5, 17}, {33, 1}}) {
        const int64_t N = N_, C = C_;
        INFO(format("N %d, C %d", int(N), int(C)));
        Rng rng(4, "rmsnorm");
        const real eps = 1e-2; // large, so that a backward pass without it is noticed even at C = 1
        Vector inp = random_vector(rng, N * C);
        Vector weight = random_vector(rng, C);
        const Vector dout = random_vector(rng, N * C);
        Vector out(N * C);
        Vector rstd(N);
        const auto loss = [&] {
            kernels->rmsnorm_forward(out.data(), rstd.data(), inp.data(), weight.data(), N, C, eps);
            return inner(out, dout);
        };
        loss(); // fills rstd
        const Vector rstd_kept = rstd;
        const Vector dinp_before = random_vector(rng, N * C);
        const Vector dweight_before = random_vector(rng, C);
        Vector dinp = dinp_before;
        Vector dweight = dweight_before;
        kernels->rmsnorm_backward(dinp.data(), dweight.data(), nullptr, dout.data(), inp.data(), weight.data(),
                                  rstd_kept.data(), N, C);
        REQUIRE(gradient_mismatch(inp, difference(dinp, dinp_before), loss) == "");
        REQUIRE(gradient_mismatch(weight, difference(dweight, dweight_before), loss) == "");

        Vector dinp_frozen = dinp_before; // a frozen weight changes nothing for the input
        kernels->rmsnorm_backward(dinp_frozen.data(), nullptr, nullptr, dout.data(), inp.data(), weight.data(),
                                  rstd_kept.data(), N, C);
        REQUIRE(dinp_frozen == dinp);
    }
}

TEST_CASE("rope with inverse is the gradient of rope", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    struct Shape {
        int64_t N, NH, HS;
    };
    const int64_t P = 33;
    for (const Shape s : {Shape{1, 1, 2}, {3, 5, 6}, {17, 1, 34}, {5, 3, 10}}) {
        INFO(format("N %d, NH %d, HS %d", int(s.N), int(s.NH), int(s.HS)));
        Rng rng(5, "rope");
        Vector cos_sin(P * s.HS);
        for (int64_t p = 0; p < P; p++) {
            for (int64_t i = 0; i < s.HS / 2; i++) {
                const double angle = 6.0 * rng.uniform();
                cos_sin[p * s.HS + i] = std::cos(angle);
                cos_sin[p * s.HS + s.HS / 2 + i] = std::sin(angle);
            }
        }
        std::vector<int32_t> positions(s.N);
        for (int32_t& position : positions) {
            position = int32_t(rng.below(P));
        }
        Vector x = random_vector(rng, s.N * s.NH * s.HS);
        const Vector dout = random_vector(rng, s.N * s.NH * s.HS);
        const auto loss = [&] {
            Vector out = x;
            kernels->rope(out.data(), cos_sin.data(), positions.data(), s.N, s.NH, s.HS, false);
            return inner(out, dout);
        };
        Vector dx = dout;
        kernels->rope(dx.data(), cos_sin.data(), positions.data(), s.N, s.NH, s.HS, true);
        REQUIRE(gradient_mismatch(x, dx, loss) == "");
    }
}

TEST_CASE("swiglu_backward matches finite differences, also in place", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    for (const int64_t n : {1, 3, 5, 17, 33, 99}) {
        INFO(format("n %d", int(n)));
        Rng rng(6, "swiglu");
        Vector gate = random_vector(rng, n);
        for (real& g : gate) {
            g *= 3.0; // reach both the flat and the straight part of silu
        }
        Vector up = random_vector(rng, n);
        const Vector dout = random_vector(rng, n);
        const auto loss = [&] {
            Vector out(n, NAN);
            kernels->swiglu_forward(out.data(), gate.data(), up.data(), n);
            return inner(out, dout);
        };
        Vector dgate(n, NAN);
        Vector dup(n, NAN);
        kernels->swiglu_backward(dgate.data(), dup.data(), nullptr, dout.data(), gate.data(), up.data(), n);
        REQUIRE(gradient_mismatch(gate, dgate, loss) == "");
        REQUIRE(gradient_mismatch(up, dup, loss) == "");

        Vector g = gate; // the gradients may take the place of the inputs
        Vector u = up;
        kernels->swiglu_backward(g.data(), u.data(), nullptr, dout.data(), g.data(), u.data(), n);
        REQUIRE(g == dgate);
        REQUIRE(u == dup);
    }
}

// ---- attention --------------------------------------------------------------------------------------------

TEST_CASE("attention_backward matches finite differences with grouped heads and packed sequences",
          "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    struct Shape {
        std::vector<int64_t> start;
        int64_t max_length, NH, NKV, HS;
    };
    const std::vector<Shape> shapes = {
        {{0, 1}, 1, 1, 1, 1},              // the softmax of one score: no gradient for q and k
        {{0, 5, 6, 23, 26}, 17, 3, 1, 5},  // lengths 5, 1, 17, 3; all heads share one key
        {{0, 3, 3, 4, 5, 10}, 5, 6, 2, 3}, // an empty sequence, two of length 1; three heads a key
        {{0, 17}, 17, 2, 2, 17},           // every head its own key
        {{0, 33}, 33, 5, 5, 1},
    };
    for (const Shape& s : shapes) {
        const int64_t N = s.start.back();
        INFO(format("N %d, S %d, NH %d, NKV %d, HS %d", int(N), int(s.start.size()) - 1, int(s.NH),
                    int(s.NKV), int(s.HS)));
        const Sequences seq = {s.start.data(), int64_t(s.start.size()) - 1, s.max_length};
        Rng rng(7, "attention");
        Vector q = random_vector(rng, N * s.NH * s.HS);
        Vector k = random_vector(rng, N * s.NKV * s.HS);
        Vector v = random_vector(rng, N * s.NKV * s.HS);
        const Vector dout = random_vector(rng, N * s.NH * s.HS);
        Vector out(N * s.NH * s.HS);
        Vector lse(N * s.NH);
        const auto loss = [&] {
            kernels->attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), seq, s.NH, s.NKV,
                                       s.HS);
            return inner(out, dout);
        };
        loss(); // fills out and lse
        Vector dq(q.size(), NAN);
        Vector dk(k.size(), NAN);
        Vector dv(v.size(), NAN);
        kernels->attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), q.data(), k.data(),
                                    v.data(), out.data(), lse.data(), seq, s.NH, s.NKV, s.HS);
        REQUIRE(gradient_mismatch(q, dq, loss) == "");
        REQUIRE(gradient_mismatch(k, dk, loss) == "");
        REQUIRE(gradient_mismatch(v, dv, loss) == "");
    }
}

// ---- loss -------------------------------------------------------------------------------------------------

TEST_CASE("cross_entropy leaves the gradient of scale times the sum of its losses", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    for (const auto& [M_, V_] : {std::pair<int64_t, int64_t>{1, 1}, {1, 5}, {3, 33}, {17, 3}, {33, 17}}) {
        const int64_t M = M_, V = V_;
        INFO(format("M %d, V %d", int(M), int(V)));
        Rng rng(8, "cross_entropy");
        const real scale = 0.3;
        Vector logits = random_vector(rng, M * V);
        std::vector<int32_t> target(M);
        for (int32_t& t : target) {
            t = int32_t(rng.below(V));
        }
        const auto loss = [&] {
            Vector losses(M, NAN);
            const Vector before = logits;
            kernels->cross_entropy(losses.data(), logits.data(), target.data(), M, V, 0.0);
            REQUIRE(logits == before); // scale 0 asks for no gradient
            return scale * inner(losses, Vector(M, 1.0));
        };
        Vector losses(M, NAN);
        Vector dlogits = logits;
        kernels->cross_entropy(losses.data(), dlogits.data(), target.data(), M, V, scale);
        REQUIRE(std::fabs(loss() - scale * inner(losses, Vector(M, 1.0))) <=
                1e-12); // same loss with and without
        REQUIRE(gradient_mismatch(logits, dlogits, loss) == "");
    }
}

TEST_CASE("kl_divergence leaves the gradient of scale times the sum of its losses", "[kernels][gradients]") {
    const auto kernels = make_reference_kernels();
    for (const auto& [M_, V_] : {std::pair<int64_t, int64_t>{1, 1}, {1, 5}, {3, 33}, {17, 3}, {5, 17}}) {
        const int64_t M = M_, V = V_;
        INFO(format("M %d, V %d", int(M), int(V)));
        Rng rng(9, "kl_divergence");
        const real scale = 0.3;
        Vector logits = random_vector(rng, M * V);
        const Vector target = random_vector(rng, M * V);
        const auto loss = [&] {
            Vector losses(M, NAN);
            const Vector before = logits;
            kernels->kl_divergence(losses.data(), logits.data(), target.data(), M, V, 0.0);
            REQUIRE(logits == before); // scale 0 asks for no gradient
            for (const real x : losses) {
                REQUIRE(x >= -1e-15); // Gibbs' inequality
            }
            return scale * inner(losses, Vector(M, 1.0));
        };
        Vector losses(M, NAN);
        Vector dlogits = logits;
        kernels->kl_divergence(losses.data(), dlogits.data(), target.data(), M, V, scale);
        REQUIRE(std::fabs(loss() - scale * inner(losses, Vector(M, 1.0))) <= 1e-12); // same loss with and without
        REQUIRE(gradient_mismatch(logits, dlogits, loss) == "");
    }
}
