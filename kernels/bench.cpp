// bench.cpp — `make bench`: is the CPU backend right, and how far is it from what the machine can do?
//
//   1. every op at the shapes timed here is compared with the reference; a difference ends the program with status 1
//   2. the roof: multiply-adds in registers on all threads (GFLOP/s)
//   3. the numbered steps from the textbook's product to ours (matmul_steps_cpu.cpp), by turns, each beside its own roof
//   4. matmul at the shapes of two models, ours and OpenBLAS by turns (A B A B ...): minimum and median of the runs,
//      the median as a share of the roof, and the ratio of the medians. With dtype bf16 ours alone, and the roof is that of
//      the instructions that multiply BF16
//   5. attention: training forward and backward, and decoding over a cache, with the heads of the tiny model (5 of 32) and
//      of SmolLM2-135M (9 of 64 over 3 of keys); the backward pass also where scores lie so far apart that most
//      weights p are next to nothing, as in a trained model; then the ops that only move memory
//
// The model of the tiny preset: C = 160 channels, F = 432, V = 2048, 5 heads of 32; 2048 packed rows in training, 64 or
// 1 in decoding; adapters of rank 16. SmolLM2-135M: C = 576, F = 1536, V = 49152, 9 heads of 64 over 3 of keys.
// Floating-point operations are counted as a causal attention needs them; what a kernel computes and masks away does not
// count.
//
// Operands of matmul lie in the backend's memory. Before each sample an op runs once untimed: others have had the caches.
//
// Options: --isa auto|portable|avx2|avx512|avx512bf16|amx, --threads N, --dtype f32|bf16. Training and decoding of whole
// models: `skintern bench`.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cpu.h"
#include "dequantize.h"
#include "kernels.h"
#include "support/check.h"
#include "support/rng.h"

namespace skintern {

namespace {

constexpr int kRuns = 15;               // samples of each measurement; odd, so that the median is one of them
constexpr double kSampleSeconds = 2e-3; // an op is repeated until a sample takes about so long

// ---- values and comparison -----------------------------------------------------------------------------------------

// Uniform in [-1, 1): the magnitudes in a sum of K products then add up to K/4 on average.
std::vector<float> random_values(Rng& rng, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& x : values) {
        x = static_cast<float>(2.0 * rng.uniform() - 1.0);
    }
    return values;
}

// Floats in the memory of a backend: as in the program, in large pages where they are many.
class Floats {
public:
    Floats(Kernels& kernels, const std::vector<float>& values)
        : kernels_(kernels), data_(static_cast<float*>(kernels.alloc(values.size() * sizeof(float)))) {
        kernels.upload(data_, values.data(), values.size() * sizeof(float));
    }
    ~Floats() { kernels_.free(data_); }
    Floats(const Floats&) = delete;
    Floats& operator=(const Floats&) = delete;

    float* data() { return data_; }

private:
    Kernels& kernels_;
    float* const data_;
};

void check_close(const std::vector<float>& got, const std::vector<float>& want, double tolerance,
                 const std::string& what) {
    for (size_t i = 0; i < want.size(); i++) {
        const double difference = std::fabs(static_cast<double>(got[i]) - want[i]);
        CHECK(difference <= tolerance, "%s: element %zu is %.9g, the reference has %.9g (tolerance %.3g)",
              what.c_str(), i, static_cast<double>(got[i]), static_cast<double>(want[i]), tolerance);
    }
}

// Rounding errors of a sum of `terms` walk at random: sqrt(terms) times the error of one, 4 of them to be safe.
double sum_tolerance(int64_t terms, double magnitude) {
    return 4.0 * std::numeric_limits<float>::epsilon() * std::sqrt(static_cast<double>(terms)) *
           (magnitude + 1.0);
}

double matmul_tolerance(int64_t K) {
    return sum_tolerance(K, 0.25 * std::sqrt(static_cast<double>(K)));
}

// ---- time ----------------------------------------------------------------------------------------------------------

struct Times {
    double median, minimum; // seconds
};

double seconds_of(const std::function<void()>& op, int repeats) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; i++) {
        op();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    return seconds.count() / repeats;
}

// Times every op, by turns, so that a slow moment of the machine falls on all of them.
std::vector<Times> measure(const std::vector<std::function<void()>>& ops, int runs = kRuns) {
    std::vector<std::vector<double>> samples(ops.size());
    std::vector<int> repeats;
    for (const auto& op : ops) {
        op(); // touches memory and grows scratch
        const double once = std::min(seconds_of(op, 1), seconds_of(op, 1));
        repeats.push_back(std::max(1, static_cast<int>(kSampleSeconds / once)));
    }
    for (int run = 0; run < runs; run++) {
        for (size_t i = 0; i < ops.size(); i++) {
            ops[i](); // the caches hold what the op before it needed
            samples[i].push_back(seconds_of(ops[i], repeats[i]));
        }
    }
    std::vector<Times> times;
    for (std::vector<double>& sample : samples) {
        std::sort(sample.begin(), sample.end());
        times.push_back({sample[sample.size() / 2], sample.front()});
    }
    return times;
}

// ---- matmul --------------------------------------------------------------------------------------------------------

struct Shape {
    const char* what;
    Layout layout;
    int64_t M, N, K;
    bool accumulate;
};

constexpr Shape kShapes[] = {
    {"q, k, v, o", Layout::nt, 2048, 160, 160, false},
    {"gate, up", Layout::nt, 2048, 432, 160, false},
    {"down", Layout::nt, 2048, 160, 432, false},
    {"logits, 512 rows", Layout::nt, 512, 2048, 160, false},
    {"dx of gate, up", Layout::nn, 2048, 160, 432, true},
    {"dx of down", Layout::nn, 2048, 432, 160, false},
    {"dx of logits", Layout::nn, 512, 160, 2048, false},
    {"dW of gate, up", Layout::tn, 432, 160, 2048, true},
    {"LoRA x A^T", Layout::nt, 2048, 16, 160, false},
    {"LoRA h B^T", Layout::nt, 2048, 432, 16, true},
    {"LoRA dout B", Layout::nn, 2048, 16, 432, false},
    {"LoRA dh A", Layout::nn, 2048, 160, 16, true},
    {"LoRA dB", Layout::tn, 432, 16, 2048, true},
    {"LoRA dA", Layout::tn, 16, 160, 2048, true},
    {"decode 64 q, k, v, o", Layout::nt, 64, 160, 160, false},
    {"decode 64 gate, up", Layout::nt, 64, 432, 160, false},
    {"decode 64 down", Layout::nt, 64, 160, 432, false},
    {"decode 64 logits", Layout::nt, 64, 2048, 160, false},
    {"decode 64 LoRA x A^T", Layout::nt, 64, 16, 160, false},
    {"decode 64 LoRA h B^T", Layout::nt, 64, 432, 16, true},
    {"decode 1 gate, up", Layout::nt, 1, 432, 160, false},
    {"decode 1 down", Layout::nt, 1, 160, 432, false},
    {"decode 1 logits", Layout::nt, 1, 2048, 160, false},
    {"SmolLM2 gate, up", Layout::nt, 2048, 1536, 576, false},
    {"SmolLM2 q, o", Layout::nt, 2048, 576, 576, false},
    {"SmolLM2 k, v", Layout::nt, 2048, 192, 576, false},
    {"SmolLM2 down", Layout::nt, 2048, 576, 1536, false},
    {"SmolLM2 logits", Layout::nt, 512, 49152, 576, false},
    {"SmolLM2 dx of gate, up", Layout::nn, 2048, 576, 1536, true},
    {"SmolLM2 LoRA x A^T", Layout::nt, 2048, 16, 576, false},
    {"SmolLM2 LoRA h B^T", Layout::nt, 2048, 1536, 16, true},
    {"SmolLM2 LoRA dout B", Layout::nn, 2048, 16, 1536, false},
    {"SmolLM2 LoRA dh A", Layout::nn, 2048, 576, 16, true},
    {"SmolLM2 LoRA dB", Layout::tn, 1536, 16, 2048, true},
    {"SmolLM2 LoRA dA", Layout::tn, 16, 576, 2048, true},
};

constexpr const char* kLayoutNames[] = {"nt", "nn", "tn"};

// One line of the table: own[0] is ours, own[1], where there is one, OpenBLAS.
void bench_matmul(const Shape& s, const std::vector<Kernels*>& backends, double peak) {
    Rng rng(1);
    Floats a(*backends[0], random_values(rng, s.M * s.K));
    Floats b(*backends[0], random_values(rng, s.N * s.K));
    Floats out(*backends[0], std::vector<float>(static_cast<size_t>(s.M * s.N)));
    std::vector<std::function<void()>> ops;
    for (Kernels* kernels : backends) {
        ops.push_back([&, kernels] {
            kernels->matmul(s.layout, out.data(), a.data(), b.data(), s.M, s.N, s.K, 1.0f, s.accumulate);
        });
    }
    const std::vector<Times> times = measure(ops);
    const double flops = 2.0 * static_cast<double>(s.M) * static_cast<double>(s.N) * static_cast<double>(s.K);
    std::printf("%-22s %s %5lld %5lld %5lld  %8.1f %8.1f %5.0f %%", s.what,
                kLayoutNames[static_cast<int>(s.layout)], static_cast<long long>(s.M),
                static_cast<long long>(s.N), static_cast<long long>(s.K), flops / times[0].minimum * 1e-9,
                flops / times[0].median * 1e-9, 100.0 * flops / times[0].median / peak);
    if (times.size() > 1) {
        std::printf("  %8.1f %8.1f  %5.2f", flops / times[1].minimum * 1e-9, flops / times[1].median * 1e-9,
                    times[1].median / times[0].median);
    }
    std::printf("\n");
}

// The textbook loops are slow: of a large product they compute the first and the last rows, so many as this allows, but more
// than the few that are not rounded to BF16. A row of tn is a column of a, so there it is all of them.
constexpr int64_t kVerifyWork = int64_t{1} << 27; // multiply-adds

void verify_matmul(const Shape& s, const std::vector<Kernels*>& backends, Kernels& reference) {
    Rng rng(1);
    const std::vector<float> a = random_values(rng, s.M * s.K);
    const std::vector<float> b = random_values(rng, s.N * s.K);
    const std::vector<float> before = random_values(rng, s.M * s.N);
    std::vector<std::vector<float>> got(backends.size(), before);
    for (size_t i = 0; i < backends.size(); i++) {
        backends[i]->matmul(s.layout, got[i].data(), a.data(), b.data(), s.M, s.N, s.K, 0.5f, s.accumulate);
    }
    const int64_t enough = std::max(kVerifyWork / (s.N * s.K), kFewRows + 1);
    const int64_t rows = s.layout == Layout::tn ? s.M : std::min(s.M, enough);
    for (const int64_t m : {int64_t{0}, s.M - rows}) {
        std::vector<float> want(before.begin() + m * s.N, before.begin() + (m + rows) * s.N);
        reference.matmul(s.layout, want.data(), a.data() + (s.layout == Layout::tn ? 0 : m * s.K), b.data(), rows, s.N,
                         s.K, 0.5f, s.accumulate);
        for (const std::vector<float>& all : got) {
            check_close({all.begin() + m * s.N, all.begin() + (m + rows) * s.N}, want, matmul_tolerance(s.K), s.what);
        }
        if (rows == s.M) {
            break;
        }
    }
}

// ---- the steps towards matmul --------------------------------------------------------------------------------------

// SmolLM2's gate for 512 tokens, by every version of the product.
class StepsCase {
public:
    StepsCase(const KernelOptions& options, Kernels& own)
        : options_(options), a_(own, random_values(rng_, M * K)), b_(own, random_values(rng_, N * K)),
          scratch_(own, std::vector<float>(static_cast<size_t>((N + kMatmulStepPadding) * K))),
          out_(own, std::vector<float>(static_cast<size_t>(M * N))) {}

    void add_steps() {
        const double peak = measure_peak(options_.isa, 1);
        for (int s = 0; s < kMatmulStepCount; s++) {
            const MatmulStep step = matmul_steps(options_.isa)[s];
            add(step.name, peak, false, [this, step] {
                step.run(out_.data(), a_.data(), b_.data(), scratch_.data(), M, N, K);
            });
        }
    }

    // The backend itself, with b as it lies or packed once, before.
    void add_backend(const std::string& name, int threads, bool bf16, bool packed) {
        KernelOptions options = options_;
        options.threads = threads;
        options.dtype = bf16 ? "bf16" : "f32";
        kernels_.push_back(make_kernels(options));
        Kernels& kernels = *kernels_.back();
        Matrix weight(b_.data());
        if (packed) {
            packed_.push_back(std::make_unique<Floats>(
                kernels, std::vector<float>(kernels.packed_bytes(Rows::many, weight, N, K) / sizeof(float))));
            kernels.pack(Rows::many, packed_.back()->data(), weight, N, K);
            weight.packed = packed_.back()->data();
        }
        add(name, measure_peak(options.isa, threads, bf16), bf16, [this, &kernels, weight] {
            kernels.matmul(Layout::nt, out_.data(), a_.data(), weight, M, N, K, 1.0f, false);
        });
    }

    void verify() {
        for (const bool bf16 : {false, true}) {
            const std::unique_ptr<Kernels> reference = make_reference_kernels(bf16);
            std::vector<float> want(static_cast<size_t>(M * N));
            reference->matmul(Layout::nt, want.data(), a_.data(), b_.data(), M, N, K, 1.0f, false);
            for (size_t s = 0; s < ops_.size(); s++) {
                if (bf16_[s] == bf16) {
                    std::fill(out_.data(), out_.data() + M * N, std::numeric_limits<float>::quiet_NaN());
                    ops_[s]();
                    check_close({out_.data(), out_.data() + M * N}, want, matmul_tolerance(K), names_[s]);
                }
            }
        }
    }

    void bench() {
        constexpr int kStepRuns = 7; // the first step takes most of the time of all
        constexpr double kFlops = 2.0 * M * N * K;
        const std::vector<Times> times = measure(ops_, kStepRuns);
        std::printf("%-22s        M     N     K      best   median   peak       of\n", "steps, GFLOP/s");
        for (size_t s = 0; s < ops_.size(); s++) {
            std::printf("%-25s %5lld %5lld %5lld  %8.1f %8.1f %5.1f %% %8.1f\n", names_[s].c_str(),
                        static_cast<long long>(M), static_cast<long long>(N), static_cast<long long>(K),
                        kFlops / times[s].minimum * 1e-9, kFlops / times[s].median * 1e-9,
                        100.0 * kFlops / times[s].median / peaks_[s], peaks_[s] * 1e-9);
        }
        std::printf("\n");
    }

private:
    static constexpr int64_t M = 512, N = 1536, K = 576;

    void add(const std::string& name, double peak, bool bf16, const std::function<void()>& op) {
        names_.push_back(name);
        peaks_.push_back(peak);
        bf16_.push_back(bf16);
        ops_.push_back(op);
    }

    const KernelOptions options_;
    Rng rng_{4};
    Floats a_, b_, scratch_, out_;
    std::vector<std::unique_ptr<Kernels>> kernels_;
    std::vector<std::unique_ptr<Floats>> packed_;
    std::vector<std::string> names_;
    std::vector<double> peaks_; // of the processor, for what the step computes with
    std::vector<bool> bf16_;
    std::vector<std::function<void()>> ops_;
};

void bench_steps(const KernelOptions& options, Kernels& own) {
    StepsCase c(options, own);
    c.add_steps();
    c.add_backend("  the same as matmul", 1, false, false);
    c.add_backend("6 weight packed before", 1, false, true);
    c.add_backend("7 all threads", options.threads, false, true);
    c.add_backend("8 BF16", 1, true, true);
    c.add_backend("9 BF16, all threads", options.threads, true, true);
    c.verify();
    c.bench();
}

// ---- attention -----------------------------------------------------------------------------------------------------

// S sequences of T rows, and everything that the attention ops read and write.
struct AttentionCase {
    static constexpr int64_t S = 4, T = 512, N = S * T;
    static constexpr int64_t kSlots = 64, kLength = 320; // decoding: so many sequences of so many keys

    AttentionCase(int64_t query_heads, int64_t kv_heads, int64_t head_size)
        : NH(query_heads), NKV(kv_heads), HS(head_size) {
        Rng rng(2);
        for (int64_t s = 0; s <= S; s++) {
            start.push_back(s * T);
        }
        for (int64_t s = 0; s <= kSlots; s++) {
            decode_start.push_back(s);
        }
        for (int32_t s = 0; s < kSlots; s++) {
            slot.push_back(s);
            length.push_back(static_cast<int32_t>(kLength));
        }
        q = random_values(rng, N * NH * HS);
        k = random_values(rng, N * NKV * HS);
        v = random_values(rng, N * NKV * HS);
        dout = random_values(rng, N * NH * HS);
        k_cache = random_values(rng, kSlots * kLength * NKV * HS);
        v_cache = random_values(rng, kSlots * kLength * NKV * HS);
        for (size_t i = 0; i < k_cache.size(); i++) {
            k_halves.push_back(rounded_bf16_bits(k_cache[i]));
            v_halves.push_back(rounded_bf16_bits(v_cache[i]));
        }
        out = dq = std::vector<float>(q.size());
        lse = std::vector<float>(static_cast<size_t>(N * NH));
        dk = dv = std::vector<float>(k.size());
        decoded = std::vector<float>(static_cast<size_t>(kSlots * NH * HS));
    }

    void forward(Kernels& kernels) {
        kernels.attention_forward(out.data(), lse.data(), q.data(), k.data(), v.data(), {start.data(), S, T},
                                  NH, NKV, HS);
    }

    void backward(Kernels& kernels) {
        kernels.attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), q.data(), k.data(), v.data(),
                                   out.data(), lse.data(), {start.data(), S, T}, NH, NKV, HS);
    }

    void decode(Kernels& kernels, WeightType type, int64_t sequences) {
        const bool bf16 = type == WeightType::bf16;
        kernels.attention_cached(decoded.data(), q.data(), bf16 ? Matrix(k_halves.data(), type) : k_cache.data(),
                                 bf16 ? Matrix(v_halves.data(), type) : v_cache.data(), slot.data(), length.data(),
                                 {decode_start.data(), sequences, 1}, kLength, NH, NKV, HS);
    }

    const int64_t NH, NKV, HS;
    std::vector<int64_t> start, decode_start;
    std::vector<int32_t> slot, length;
    std::vector<float> q, k, v, dout, k_cache, v_cache;
    std::vector<uint16_t> k_halves, v_halves; // the caches in BF16
    std::vector<float> out, lse, dq, dk, dv, decoded;
};

// The tiny model, and SmolLM2-135M.
constexpr int64_t kAttentionHeads[][3] = {{5, 5, 32}, {9, 3, 64}}; // NH, NKV, HS

void verify_attention(const int64_t* heads, Kernels& kernels, Kernels& reference, bool bf16) {
    AttentionCase got(heads[0], heads[1], heads[2]);
    AttentionCase want(heads[0], heads[1], heads[2]);
    got.forward(kernels);
    want.forward(reference);
    // In BF16 the reference, which does not round here, is off by some roundings of 2^-8: test_attention.cpp counts them.
    const double tolerance = bf16 ? 8.0 * 0x1.0p-8 : sum_tolerance(AttentionCase::T, 1.0);
    check_close(got.out, want.out, tolerance, "attention_forward, out");
    check_close(got.lse, want.lse, tolerance, "attention_forward, lse");
    got.backward(kernels);
    want.backward(reference);
    check_close(got.dq, want.dq, tolerance, "attention_backward, dq");
    check_close(got.dk, want.dk, tolerance, "attention_backward, dk");
    check_close(got.dv, want.dv, tolerance, "attention_backward, dv");
    for (const WeightType type : {WeightType::f32, WeightType::bf16}) {
        got.decode(kernels, type, AttentionCase::kSlots);
        want.decode(reference, type, AttentionCase::kSlots);
        check_close(got.decoded, want.decoded, sum_tolerance(AttentionCase::T, 1.0), "attention_cached");
    }
}

void bench_attention(const int64_t* heads, Kernels& kernels, double peak) {
    AttentionCase c(heads[0], heads[1], heads[2]), sharp = c;
    for (float& x : sharp.k) {
        x *= 64.0f;
    }
    sharp.forward(kernels); // lse
    const std::vector<Times> times =
        measure({[&] { c.forward(kernels); }, [&] { c.backward(kernels); }, [&] { sharp.backward(kernels); },
                 [&] { c.decode(kernels, WeightType::f32, AttentionCase::kSlots); },
                 [&] { c.decode(kernels, WeightType::bf16, AttentionCase::kSlots); },
                 [&] { c.decode(kernels, WeightType::f32, 1); }, [&] { c.decode(kernels, WeightType::bf16, 1); }});
    const double product = 2.0 * static_cast<double>(AttentionCase::S * c.NH * c.HS * AttentionCase::T) *
                           (AttentionCase::T + 1) / 2; // one of q k^T, p v, ..., the causal half of it
    const char* names[] = {"attention forward", "attention backward", "  scores x 64"};
    const double flops[] = {2.0 * product, 5.0 * product, 5.0 * product};
    const std::string shape =
        format("%lld/%lld heads of %lld", static_cast<long long>(c.NH), static_cast<long long>(c.NKV),
               static_cast<long long>(c.HS));
    for (int i = 0; i < 3; i++) {
        std::printf("%-18s %lld x %lld, %-17s %8.1f %8.1f %5.0f %%   GFLOP/s\n", names[i],
                    static_cast<long long>(AttentionCase::S), static_cast<long long>(AttentionCase::T),
                    shape.c_str(), flops[i] / times[i].minimum * 1e-9, flops[i] / times[i].median * 1e-9,
                    100.0 * flops[i] / times[i].median / peak);
    }
    for (int i = 0; i < 4; i++) {
        const int64_t sequences = i < 2 ? AttentionCase::kSlots : 1;
        const WeightType type = i % 2 == 0 ? WeightType::f32 : WeightType::bf16;
        const double bytes =
            2.0 * static_cast<double>(sequences * AttentionCase::kLength * row_bytes(type, c.NKV * c.HS));
        std::printf("attention decode %3lld x %lld, %-17s %8.1f %8.1f           GB/s of keys and values, %s\n",
                    static_cast<long long>(sequences), static_cast<long long>(AttentionCase::kLength), shape.c_str(),
                    bytes / times[3 + i].minimum * 1e-9, bytes / times[3 + i].median * 1e-9, weight_format(type).name);
    }
}

// ---- the other ops -------------------------------------------------------------------------------------------------

// Buffers of the row-wise ops; each op is a method that reads and writes fields of this struct.
struct LayerCase {
    static constexpr int64_t N = 2048, C = 160, F = 432, V = 2048, NH = 5, HS = 32, M = 512;

    LayerCase() {
        Rng rng(3);
        x = random_values(rng, N * C);
        dx = random_values(rng, N * C);
        weight = random_values(rng, C);
        dweight = random_values(rng, C);
        for (int64_t n = 0; n < N; n++) { // true turns: others would shrink x, run after run, to denormal numbers
            const std::vector<float> angle = random_values(rng, HS / 2);
            for (const float a : angle) {
                cos_sin.push_back(std::cos(a));
            }
            for (const float a : angle) {
                cos_sin.push_back(std::sin(a));
            }
        }
        gate = random_values(rng, N * F);
        up = random_values(rng, N * F);
        logits = random_values(rng, M * V);
        taught = random_values(rng, M * V);
        param = random_values(rng, N * F);
        moment = random_values(rng, N * F);
        variance = random_values(rng, N * F);
        for (float& value : variance) {
            value = std::fabs(value);
        }
        out = std::vector<float>(x.size());
        rstd = std::vector<float>(static_cast<size_t>(N), 1.0f);
        hidden = dgate = dup = std::vector<float>(gate.size());
        loss = std::vector<float>(static_cast<size_t>(M));
        for (int32_t n = 0; n < N; n++) {
            rows.push_back(static_cast<int32_t>(rng.below(N)));
        }
    }

    std::vector<float> x, dx, weight, dweight, cos_sin, gate, up, logits, taught, param, moment, variance;
    std::vector<float> out, rstd, hidden, dgate, dup, loss;
    std::vector<int32_t> rows;
};

struct LayerOp {
    const char* what;
    double bytes; // read and written
    std::function<void(Kernels&, LayerCase&)> run;
    std::vector<float> LayerCase::*result;
};

std::vector<LayerOp> layer_ops() {
    using L = LayerCase;
    const double nc = 4.0 * L::N * L::C;
    const double nf = 4.0 * L::N * L::F;
    return {
        {"rmsnorm forward", 2 * nc,
         [](Kernels& k, L& c) {
             k.rmsnorm_forward(c.out.data(), c.rstd.data(), c.x.data(), c.weight.data(), L::N, L::C, 1e-5f);
         },
         &L::out},
        {"rmsnorm backward", 4 * nc,
         [](Kernels& k, L& c) {
             k.rmsnorm_backward(c.dx.data(), c.dweight.data(), nullptr, c.out.data(), c.x.data(), c.weight.data(),
                                c.rstd.data(), L::N, L::C);
         },
         &L::dx},
        {"rope", 3 * nc,
         [](Kernels& k, L& c) {
             k.rope(c.x.data(), c.cos_sin.data(), c.rows.data(), L::N, L::NH, L::HS, false);
         },
         &L::x},
        {"swiglu forward", 3 * nf,
         [](Kernels& k, L& c) { k.swiglu_forward(c.hidden.data(), c.gate.data(), c.up.data(), L::N * L::F); },
         &L::hidden},
        {"swiglu backward", 5 * nf,
         [](Kernels& k, L& c) {
             k.swiglu_backward(c.dgate.data(), c.dup.data(), nullptr, c.hidden.data(), c.gate.data(), c.up.data(),
                               L::N * L::F);
         },
         &L::dgate},
        {"scatter_add_rows", 3 * nc,
         [](Kernels& k, L& c) { k.scatter_add_rows(c.dx.data(), c.out.data(), c.rows.data(), L::N, L::C); },
         &L::dx},
        {"cross_entropy", 4.0 * 2 * L::M * L::V,
         [](Kernels& k, L& c) {
             k.cross_entropy(c.loss.data(), c.logits.data(), c.rows.data(), L::M, L::V, 1e-3f);
         },
         &L::logits},
        {"kl_divergence", 4.0 * 3 * L::M * L::V,
         [](Kernels& k, L& c) {
             k.kl_divergence(c.loss.data(), c.logits.data(), c.taught.data(), L::M, L::V, 1e-3f);
         },
         &L::logits},
        {"adamw", 7 * nf,
         [](Kernels& k, L& c) {
             k.adamw(c.param.data(), c.moment.data(), c.variance.data(), c.gate.data(), L::N * L::F,
                     {1e-4f, 0.9f, 0.999f, 1e-8f, 0.01f, 1.0f, 10});
         },
         &L::param},
    };
}

void verify_layers(Kernels& kernels, Kernels& reference) {
    LayerCase got;
    LayerCase want;
    for (const LayerOp& op : layer_ops()) {
        op.run(kernels, got);
        op.run(reference, want);
        check_close(got.*op.result, want.*op.result, sum_tolerance(LayerCase::C, 1.0), op.what);
    }
}

void bench_layers(Kernels& kernels) {
    LayerCase c;
    for (const LayerOp& op : layer_ops()) {
        const Times time = measure({[&] { op.run(kernels, c); }})[0];
        std::printf("%-22s %27s%8.1f %8.1f           GB/s\n", op.what, "", op.bytes / time.minimum * 1e-9,
                    op.bytes / time.median * 1e-9);
    }
}

// ---- the program ---------------------------------------------------------------------------------------------------

void run_bench(const KernelOptions& options) {
    const std::unique_ptr<Kernels> own = make_kernels(options);
    const std::unique_ptr<Kernels> reference = make_reference_kernels(options.dtype == "bf16");
    std::vector<Kernels*> backends = {own.get()};
#ifdef SKINTERN_OPENBLAS
    std::unique_ptr<Kernels> library;
    if (options.dtype == "f32") {
        KernelOptions library_options = options;
        library_options.matmul = "openblas";
        library = make_kernels(library_options);
        backends.push_back(library.get());
    }
#endif
    std::printf("%s\n", own->name().c_str());
    for (const Shape& shape : kShapes) {
        verify_matmul(shape, backends, *reference);
    }
    const bool bf16 = options.dtype == "bf16";
    for (const auto& heads : kAttentionHeads) {
        verify_attention(heads, *own, *reference, bf16);
    }
    verify_layers(*own, *reference);
    std::printf("every op agrees with the reference at the shapes below\n");

    const double peak = measure_peak(options.isa, options.threads, bf16);
    std::printf("multiply-add peak of all threads: %.1f GFLOP/s\n\n", peak * 1e-9);
    if (!bf16) {
        bench_steps(options, *own);
    }
    std::printf("%-22s        M     N     K      best   median   peak%s\n", "matmul, GFLOP/s",
                backends.size() > 1 ? "  OpenBLAS   median  ratio" : "");
    for (const Shape& shape : kShapes) {
        bench_matmul(shape, backends, peak);
    }
    std::printf("\n%-22s %27s    best   median   peak\n", "other ops", "");
    for (const auto& heads : kAttentionHeads) {
        bench_attention(heads, *own, peak);
    }
    bench_layers(*own);
}

KernelOptions parse_options(int argc, char** argv) {
    KernelOptions options;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        CHECK(i + 1 < argc && (name == "--isa" || name == "--threads" || name == "--dtype"),
              "usage: bench [--isa auto|portable|avx2|avx512|avx512bf16|amx] [--threads N] [--dtype f32|bf16]");
        if (name == "--isa") {
            options.isa = argv[i + 1];
            continue;
        }
        if (name == "--dtype") {
            options.dtype = argv[i + 1];
            continue;
        }
        char* end = nullptr;
        const long threads = std::strtol(argv[i + 1], &end, 10);
        CHECK(*end == '\0' && end != argv[i + 1] && threads >= 0 && threads <= 4096,
              "--threads is '%s'; it is a count of at most 4096", argv[i + 1]);
        options.threads = static_cast<int>(threads);
    }
    return options;
}

} // namespace

} // namespace skintern

int main(int argc, char** argv) {
    try {
        skintern::run_bench(skintern::parse_options(argc, argv));
    } catch (const skintern::Error& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 1;
    }
    return 0;
}
