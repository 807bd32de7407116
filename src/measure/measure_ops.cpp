// measure_ops.cpp — see measure_ops.h.
#include "measure/measure_ops.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "dequantize.h"
#include "formats/safetensors.h"
#include "support/check.h"
#include "support/rng.h"

namespace skintern {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 15;                // samples; odd, so that the median is one of them
constexpr double kSampleSeconds = 20e-3; // an op is repeated until a sample takes about so long

// ---- memory and time -----------------------------------------------------------------------------------------------

// Numbers in the memory of a backend, uniform in [-1, 1).
class RandomReals {
public:
    RandomReals(Kernels& kernels, Rng& rng, int64_t n) : kernels_(kernels), host_(static_cast<size_t>(n)) {
        for (real& x : host_) {
            x = static_cast<real>(2.0 * rng.uniform() - 1.0);
        }
        data_ = static_cast<real*>(kernels.alloc(bytes()));
        kernels.upload(data_, host_.data(), bytes());
    }
    ~RandomReals() { kernels_.free(data_); }
    RandomReals(const RandomReals&) = delete;
    RandomReals& operator=(const RandomReals&) = delete;

    real* data() { return data_; }
    // The numbers where they lie from now on: rounded, if `type` is BF16.
    Matrix as(WeightType type) {
        if (type == WeightType::bf16) {
            std::vector<uint16_t> bits(host_.size());
            for (size_t i = 0; i < host_.size(); i++) {
                bits[i] = rounded_bf16_bits(host_[i]);
                host_[i] = bf16_to_float(bits[i]);
            }
            kernels_.upload(data_, bits.data(), bits.size() * sizeof(uint16_t));
        }
        return {data_, type};
    }
    const std::vector<real>& numbers() const { return host_; }
    std::vector<real> read() const {
        std::vector<real> out(host_.size());
        kernels_.download(out.data(), data_, bytes());
        return out;
    }

private:
    size_t bytes() const { return host_.size() * sizeof(real); }

    Kernels& kernels_;
    std::vector<real> host_;
    real* data_ = nullptr;
};

double seconds_of(Kernels& kernels, const std::function<void()>& op, int64_t repeats) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < repeats; i++) {
        op();
    }
    kernels.download(nullptr, nullptr, 0); // a device has done what it was asked
    return std::chrono::duration<double>(Clock::now() - begin).count() / static_cast<double>(repeats);
}

// Seconds of a call in each of kRuns samples, sorted.
std::vector<double> time_op(Kernels& kernels, const std::function<void()>& op) {
    op(); // touches memory and grows scratch
    const double once = std::max(1e-9, std::min(seconds_of(kernels, op, 1), seconds_of(kernels, op, 1)));
    const int64_t repeats = std::max<int64_t>(1, static_cast<int64_t>(kSampleSeconds / once));
    std::vector<double> seconds;
    for (int run = 0; run < kRuns; run++) {
        seconds.push_back(seconds_of(kernels, op, repeats));
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
}

// `seconds` sorted; `amount` of 1e9 `unit`s are done in each.
void print_rate(const std::string& work, const std::string& dtype, const std::string& what, double amount,
                const char* unit, const std::vector<double>& seconds, bool json) {
    const double best = amount * 1e-9 / seconds.front(), worst = amount * 1e-9 / seconds.back();
    const double median = amount * 1e-9 / seconds[seconds.size() / 2];
    if (json) {
        rusage usage = {};
        getrusage(RUSAGE_SELF, &usage);
        const nlohmann::ordered_json row = {
            {"work", work}, {"dtype", dtype}, {"what", what}, {"value", median},
            {"unit", unit}, {"min", worst},   {"max", best},  {"peak_rss_bytes", int64_t(usage.ru_maxrss) * 1024}};
        std::printf("%s\n", row.dump().c_str());
    } else {
        std::printf("%-9s %-4s %-44s %9.1f %s median, %9.1f best\n", work.c_str(), dtype.c_str(), what.c_str(), median,
                    unit, best);
    }
}

// ---- matmul --------------------------------------------------------------------------------------------------------

void save_product(const std::string& path, const OpConfig& c, const RandomReals& a, const RandomReals& b,
                  const RandomReals& out) {
    HostTensors tensors;
    tensors["a"] = {{c.M, c.K}, a.numbers()};
    tensors["b"] = {{c.N, c.K}, b.numbers()};
    tensors["out"] = {{c.M, c.N}, out.read()};
    write_safetensors(path, tensors);
}

void measure_matmul(Kernels& kernels, const std::string& dtype, const OpConfig& c, bool json) {
    Rng rng(1);
    RandomReals a(kernels, rng, c.M * c.K), b(kernels, rng, c.N * c.K), out(kernels, rng, c.M * c.N);
    const std::string what = format("%lld x %lld x %lld%s", static_cast<long long>(c.M), static_cast<long long>(c.N),
                                    static_cast<long long>(c.K), c.operands == WeightType::bf16 ? " of BF16" : "");
    const double flops = 2.0 * static_cast<double>(c.M) * static_cast<double>(c.N) * static_cast<double>(c.K);
    const Matrix input = a.as(c.operands);
    Matrix weight = b.as(c.operands);
    const auto product = [&] { kernels.matmul(Layout::nt, out.data(), input, weight, c.M, c.N, c.K, 1, false); };
    print_rate("matmul", dtype, what, flops, "GFLOP/s", time_op(kernels, product), json);
    if (!c.save.empty()) {
        save_product(c.save, c, a, b, out);
    }
    if (const size_t bytes = kernels.packed_bytes(Rows::many, weight, c.N, c.K); bytes > 0) {
        const std::unique_ptr<void, std::function<void(void*)>> packed(kernels.alloc(bytes),
                                                                       [&](void* p) { kernels.free(p); });
        kernels.pack(Rows::many, packed.get(), weight, c.N, c.K);
        weight.packed = packed.get();
        print_rate("matmul", dtype, what + ", weight packed once", flops, "GFLOP/s", time_op(kernels, product), json);
    }
}

// ---- attention -----------------------------------------------------------------------------------------------------

void measure_attention(Kernels& kernels, const std::string& dtype, const OpConfig& c, bool json) {
    CHECK(c.heads % c.kv_heads == 0, "%lld query heads are no multiple of %lld key/value heads",
          static_cast<long long>(c.heads), static_cast<long long>(c.kv_heads));
    Rng rng(2);
    const int64_t N = c.sequences * c.seq_len, wide = N * c.heads * c.head_size, narrow = N * c.kv_heads * c.head_size;
    RandomReals q(kernels, rng, wide), k(kernels, rng, narrow), v(kernels, rng, narrow), out(kernels, rng, wide);
    RandomReals dout(kernels, rng, wide), dq(kernels, rng, wide), dk(kernels, rng, narrow), dv(kernels, rng, narrow);
    RandomReals lse(kernels, rng, N * c.heads);
    std::vector<int64_t> starts;
    for (int64_t s = 0; s <= c.sequences; s++) {
        starts.push_back(s * c.seq_len);
    }
    const auto release = [&](void* p) { kernels.free(p); };
    const size_t bytes = starts.size() * sizeof(int64_t);
    const std::unique_ptr<void, decltype(release)> start(kernels.alloc(bytes), release);
    kernels.upload(start.get(), starts.data(), bytes);
    const Sequences seq = {static_cast<const int64_t*>(start.get()), c.sequences, c.seq_len};
    // One of q k^T, p v, ...: the causal half of it. Forward has two, backward five: q k^T once more and four gradients.
    const double product = 2.0 * static_cast<double>(c.sequences * c.heads * c.head_size) *
                           static_cast<double>(c.seq_len) * static_cast<double>(c.seq_len + 1) / 2;
    const std::string what = format("%lld x %lld tokens, %lld heads of %lld, %lld key/value heads",
                                    static_cast<long long>(c.sequences), static_cast<long long>(c.seq_len),
                                    static_cast<long long>(c.heads), static_cast<long long>(c.head_size),
                                    static_cast<long long>(c.kv_heads));
    const auto forward = [&] {
        kernels.attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), seq, c.heads, c.kv_heads,
                                  c.head_size);
    };
    const auto backward = [&] {
        kernels.attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), q.data(), k.data(), v.data(),
                                   out.data(), lse.data(), seq, c.heads, c.kv_heads, c.head_size);
    };
    print_rate("attention", dtype, "forward, " + what, 2 * product, "GFLOP/s", time_op(kernels, forward), json);
    print_rate("attention", dtype, "backward, " + what, 5 * product, "GFLOP/s", time_op(kernels, backward), json);
}

} // namespace

void measure_op(Kernels& kernels, const std::string& work, const std::string& dtype, const OpConfig& config,
                bool json) {
    if (work == "matmul") {
        measure_matmul(kernels, dtype, config, json);
    } else {
        measure_attention(kernels, dtype, config, json);
    }
}

// ---- the roofs -----------------------------------------------------------------------------------------------------

void measure_roof(const KernelOptions& options, bool json) {
    const Roofs roofs = measure_roofs(options);
    print_rate("roof", "f32", "multiply-adds in registers", roofs.f32, "GFLOP/s", {1.0}, json);
    print_rate("roof", "bf16", "multiply-adds in registers", roofs.bf16, "GFLOP/s", {1.0}, json);
    print_rate("roof", "", "memory read", roofs.bandwidth, "GB/s", {1.0}, json);
}

} // namespace skintern
