// cpu_dispatch.cpp — make_kernels(): which backend, which instruction set, which matmul; and the memory of the CPU.
//
// The build links the *_cpu.cpp files once per instruction set (SKINTERN_X86_ISAS says that avx2 and avx512 are among
// them) and the processor decides at run time which of them may run. An option that cannot be had is an error, never
// silently something else: figures of two machines would be compared that do not compare.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <new>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "check.h"
#include "cpu.h"

namespace skintern {

// ---- threads and memory --------------------------------------------------------------------------------------------

int thread_index() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

namespace {

constexpr std::align_val_t kAlignment{64}; // a cache line, and the widest vector

// nullptr when there is not enough memory. Some libraries round the size up to the alignment without a look at
// overflow, hence the limit, which no memory reaches.
void* allocate(size_t bytes) {
    return bytes > PTRDIFF_MAX - 64 ? nullptr : ::operator new(bytes, kAlignment, std::nothrow);
}

void release(void* ptr) {
    ::operator delete(ptr, kAlignment);
}

} // namespace

CpuMemory::CpuMemory(const char* isa, int threads, LibraryMatmul library)
    : isa_(isa), threads_(threads), library_(library) {}

CpuMemory::~CpuMemory() {
    release(scratch_);
}

std::string CpuMemory::name() const {
    return skintern::format("cpu (%s, %s matmul, %d thread%s)", isa_, library_ ? "openblas" : "own", threads_,
                            threads_ == 1 ? "" : "s");
}

void* CpuMemory::alloc(size_t bytes) {
    void* ptr = allocate(bytes);
    CHECK(ptr != nullptr, "not enough memory: %zu bytes were asked for", bytes);
    zero(ptr, bytes);
    return ptr;
}

void CpuMemory::free(void* ptr) {
    release(ptr);
}

void CpuMemory::upload(void* dst, const void* host_src, size_t bytes) {
    copy(dst, host_src, bytes);
}

void CpuMemory::download(void* host_dst, const void* src, size_t bytes) {
    copy(host_dst, src, bytes);
}

void CpuMemory::copy(void* dst, const void* src, size_t bytes) {
    if (bytes > 0) { // memcpy may not be given a null pointer, not even for nothing
        std::memcpy(dst, src, bytes);
    }
}

void CpuMemory::zero(void* dst, size_t bytes) {
    if (bytes > 0) {
        std::memset(dst, 0, bytes);
    }
}

const void* CpuMemory::map(const void* host, size_t) {
    return host;
}

void CpuMemory::unmap(const void*) {}

float* CpuMemory::scratch(int64_t floats) {
    if (floats > scratch_floats_) {
        release(scratch_);
        scratch_floats_ = 0;
        scratch_ = static_cast<float*>(allocate(static_cast<size_t>(floats) * sizeof(float)));
        CHECK(scratch_ != nullptr, "not enough memory: %lld bytes of scratch were asked for",
              static_cast<long long>(floats) * 4);
        scratch_floats_ = floats;
    }
    return scratch_;
}

// ---- the choice ----------------------------------------------------------------------------------------------------

namespace {

bool processor_has(const std::string& isa) {
#ifdef SKINTERN_X86_ISAS
    if (isa == "avx2") {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    if (isa == "avx512") {
        return processor_has("avx2") && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw");
    }
#endif
    return isa == "portable";
}

// The name of the instruction set to use: the best one for "auto", else the one that was asked for if it can run.
const char* choose_isa(const std::string& isa) {
    if (isa == "auto") {
        return processor_has("avx512") ? "avx512" : processor_has("avx2") ? "avx2" : "portable";
    }
    CHECK(isa == "portable" || isa == "avx2" || isa == "avx512",
          "unknown instruction set '%s'; there are auto, portable, avx2 and avx512", isa.c_str());
#ifndef SKINTERN_X86_ISAS
    CHECK(isa == "portable", "this build has no %s code, only portable", isa.c_str());
#endif
    CHECK(processor_has(isa), "this processor has no %s", isa.c_str());
    return isa == "avx512" ? "avx512" : isa == "avx2" ? "avx2" : "portable";
}

LibraryMatmul choose_matmul(const std::string& matmul) {
    CHECK(matmul == "own" || matmul == "openblas", "unknown matmul '%s'; there are own and openblas",
          matmul.c_str());
    if (matmul == "own") {
        return nullptr;
    }
#ifdef SKINTERN_OPENBLAS
    return matmul_openblas;
#else
    CHECK(false, "this build has no OpenBLAS");
#endif
}

int choose_threads(int threads) {
    CHECK(threads >= 0, "threads is %d; it is a count, or 0 for as many as there are processors", threads);
#ifdef _OPENMP
    return threads > 0 ? threads : omp_get_max_threads();
#else
    CHECK(threads <= 1, "%d threads were asked for, but this build has no OpenMP", threads);
    return 1;
#endif
}

// What the namespace of one instruction set offers.
struct Isa {
    Kernels* (*make)(const char* isa, int threads, LibraryMatmul library);
    int64_t (*spin)(int64_t rounds, float* sink);
};

Isa isa_named([[maybe_unused]] const std::string& isa) {
#ifdef SKINTERN_X86_ISAS
    if (isa == "avx512") {
        return {avx512::make_cpu_kernels, avx512::spin_multiply_adds};
    }
    if (isa == "avx2") {
        return {avx2::make_cpu_kernels, avx2::spin_multiply_adds};
    }
#endif
    return {portable::make_cpu_kernels, portable::spin_multiply_adds};
}

} // namespace

std::unique_ptr<Kernels> make_kernels(const KernelOptions& options) {
    CHECK(options.device != "cuda", "this build has no CUDA backend");
    CHECK(options.device == "cpu" || options.device == "reference",
          "unknown device '%s'; there are reference and cpu", options.device.c_str());
    const char* isa = choose_isa(options.isa);
    const LibraryMatmul library = choose_matmul(options.matmul);
    const int threads = choose_threads(options.threads);
    if (options.device == "reference") {
        return make_reference_kernels();
    }
    return std::unique_ptr<Kernels>(isa_named(isa).make(isa, threads, library));
}

double measure_peak(const std::string& isa, int threads) {
    [[maybe_unused]] const int workers = choose_threads(threads);
    constexpr int kRuns = 20;
    constexpr int64_t kRounds = 50 * 1000;
    const auto spin = isa_named(choose_isa(isa)).spin;
    double best = 0.0;
    for (int run = 0; run < kRuns; run++) {
        double flops = 0.0;
        const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel num_threads(workers) reduction(+ : flops)
        {
            float sink = 0.0f;
            flops += static_cast<double>(spin(kRounds, &sink));
        }
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        best = flops / seconds.count() > best ? flops / seconds.count() : best;
    }
    return best;
}

} // namespace skintern
