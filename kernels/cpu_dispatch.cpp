// cpu_dispatch.cpp — make_cpu_kernels(): which instruction set, which matmul; and the memory of the CPU.
//
// The build links the *_cpu.cpp files once per instruction set (SKINTERN_X86_ISAS says that avx2 and avx512 are among
// them, SKINTERN_AMX that avx512bf16 and amx are) and the processor decides at run time which of them may run. An option
// that cannot be had is an error, never silently something else: figures of two machines would be compared that do not
// compare.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <cstdlib>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef SKINTERN_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu.h"
#include "support/check.h"

namespace skintern {

// ---- memory --------------------------------------------------------------------------------------------------------

namespace {

constexpr size_t kAlignment = 64;             // a cache line, and the widest vector
constexpr size_t kHugePage = size_t{1} << 21; // a large block lies in pages of 2 MB: what is read in order arrives faster

// nullptr when there is not enough memory. Rounding the size up must not overflow, hence the limit, which no memory
// reaches.
void* allocate(size_t bytes) {
    if (bytes > PTRDIFF_MAX - kHugePage) {
        return nullptr;
    }
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
    void* ptr = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
#ifdef __linux__
    if (ptr != nullptr && alignment == kHugePage) {
        madvise(ptr, bytes, MADV_HUGEPAGE); // where the system will not, small pages do
    }
#endif
    return ptr;
}

void release(void* ptr) { std::free(ptr); }

} // namespace

CpuMemory::CpuMemory(const CpuSettings& settings)
    : isa_(settings.isa), team_(settings.threads), threads_(settings.threads), library_(settings.library), bf16_(settings.bf16), q8_(settings.q8) {}

CpuMemory::~CpuMemory() {
    for (const Scratch& s : scratch_) {
        release(s.data);
    }
}

std::string CpuMemory::name() const {
    return skintern::format("cpu (%s, %s matmul%s%s, %d thread%s)", isa_, library_ ? "openblas" : "own",
                            bf16_ ? " in BF16" : "", q8_ ? ", activations of 8 bits" : "", threads_, threads_ == 1 ? "" : "s");
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

float* CpuMemory::scratch(int64_t floats, int block) {
    Scratch& s = scratch_[block];
    if (floats > s.floats) {
        release(s.data);
        s = {};
        s.data = static_cast<float*>(allocate(static_cast<size_t>(floats) * sizeof(float)));
        CHECK(s.data != nullptr, "not enough memory: %lld bytes of scratch were asked for",
              static_cast<long long>(floats) * 4);
        s.floats = floats;
    }
    return s.data;
}

// ---- the choice ----------------------------------------------------------------------------------------------------

namespace {

#ifdef SKINTERN_AMX
// The system gives the registers of AMX, 8 KB a thread, to processes that ask for them.
bool may_use_tiles() {
    constexpr long kAskPermission = 0x1023, kTileData = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA of <asm/prctl.h>
    return syscall(SYS_arch_prctl, kAskPermission, kTileData) == 0;
}

// Bits of CPUID leaf 7, subleaf 0, register EDX: __builtin_cpu_supports does not know them in every compiler.
bool processor_has_amx_bf16() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 22 & 1) && (edx >> 24 & 1) && may_use_tiles();
}

bool processor_has_avx512_bf16() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1);
}
#endif

bool processor_has(const std::string& isa) {
#ifdef SKINTERN_X86_ISAS
    if (isa == "avx2") {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    }
    if (isa == "avx512") {
        return processor_has("avx2") && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw");
    }
#endif
#ifdef SKINTERN_AMX
    if (isa == "avx512bf16") {
        return processor_has("avx512") && __builtin_cpu_supports("avx512vnni") && processor_has_avx512_bf16();
    }
    if (isa == "amx") {
        return processor_has("avx512bf16") && processor_has_amx_bf16();
    }
#endif
    return isa == "portable";
}

// What the namespace of one instruction set offers.
struct Isa {
    const char* name;
    Kernels* (*make)(const CpuSettings& settings);
    int64_t (*spin)(int64_t rounds, float* sink, bool bf16);
    const MatmulStep* steps;
};

// Those of this build, the best one last.
constexpr Isa kIsas[] = {
    {"portable", portable::make_cpu_kernels, portable::spin_multiply_adds, portable::kMatmulSteps},
#ifdef SKINTERN_X86_ISAS
    {"avx2", avx2::make_cpu_kernels, avx2::spin_multiply_adds, avx2::kMatmulSteps},
    {"avx512", avx512::make_cpu_kernels, avx512::spin_multiply_adds, avx512::kMatmulSteps},
#endif
#ifdef SKINTERN_AMX
    {"avx512bf16", avx512bf16::make_cpu_kernels, avx512bf16::spin_multiply_adds, avx512bf16::kMatmulSteps},
    {"amx", amx::make_cpu_kernels, amx::spin_multiply_adds, amx::kMatmulSteps},
#endif
};

// The instruction set to use: the best one for "auto", else the one that was asked for if it can run.
const Isa& choose_isa(const std::string& name) {
    const Isa* chosen = nullptr;
    for (const Isa& isa : kIsas) {
        if (name == isa.name || (name == "auto" && processor_has(isa.name))) {
            chosen = &isa;
        }
    }
    const std::vector<std::string> known = {"auto", "portable", "avx2", "avx512", "avx512bf16", "amx"};
    CHECK(std::find(known.begin(), known.end(), name) != known.end(),
          "unknown instruction set '%s'; there are auto, portable, avx2, avx512, avx512bf16 and amx", name.c_str());
    CHECK(chosen != nullptr, "this build has no %s code", name.c_str());
    CHECK(processor_has(chosen->name), "this processor has no %s", chosen->name);
    return *chosen;
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
    return threads > 0 ? threads : usable_processors();
}

} // namespace

std::unique_ptr<Kernels> make_cpu_kernels(const KernelOptions& options) {
    const bool bf16 = options.dtype == "bf16";
    const Isa& isa = choose_isa(options.isa);
    const LibraryMatmul library = choose_matmul(options.matmul);
    CHECK(library == nullptr || !bf16, "matmul openblas multiplies F32 only: dtype bf16 needs matmul own");
    const int threads = choose_threads(options.threads);
    return std::unique_ptr<Kernels>(isa.make({isa.name, threads, library, bf16, options.activations == "q8"}));
}

const MatmulStep* matmul_steps(const std::string& isa) { return choose_isa(isa).steps; }

double measure_peak(const std::string& isa, int threads, bool bf16) {
    Team team(choose_threads(threads));
    constexpr int kRuns = 20;
    constexpr int64_t kRounds = 50 * 1000, kPieces = 10; // of a thread
    const auto spin = choose_isa(isa).spin;
    double best = 0.0;
    for (int run = 0; run < kRuns; run++) {
        std::atomic<int64_t> flops = 0;
        const auto begin = std::chrono::steady_clock::now();
        team.share(team.threads() * kPieces, true, [&](Tasks& tasks) {
            for (int64_t piece; tasks.take(piece);) {
                float sink = 0.0f;
                flops += spin(kRounds / kPieces, &sink, bf16);
            }
        });
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        best = std::max(best, static_cast<double>(flops) / seconds.count());
    }
    return best;
}

double measure_bandwidth(int threads) {
    Team team(choose_threads(threads));
    constexpr int kRuns = 7;
    constexpr int64_t kWords = int64_t{1} << 27, kPiece = 1 << 13; // of 8 bytes; a piece is 64 KiB
    const std::unique_ptr<void, void (*)(void*)> memory(allocate(kWords * sizeof(uint64_t)), release);
    CHECK(memory != nullptr, "not enough memory: the bandwidth is measured over 1 GiB");
    uint64_t* words = static_cast<uint64_t*>(memory.get());
    double best = 0.0;
    std::atomic<uint64_t> sum = 0; // compared below, so that the reads are not left out
    for (int run = 0; run <= kRuns; run++) {
        const auto begin = std::chrono::steady_clock::now();
        team.each(kWords / kPiece, true, [&](int64_t task) {
            uint64_t* piece = words + task * kPiece;
            if (run == 0) { // the thread that reads a page is the first to touch it
                std::memset(piece, 1, kPiece * sizeof(uint64_t));
            }
            uint64_t sum_of_piece = 0;
            for (int64_t i = 0; i < kPiece; i++) {
                sum_of_piece += piece[i];
            }
            sum += sum_of_piece;
        });
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        const double rate = static_cast<double>(kWords) * sizeof(uint64_t) / seconds.count();
        best = run > 0 && rate > best ? rate : best;
    }
    const uint64_t ones = 0x0101010101010101;
    CHECK(sum == ones * static_cast<uint64_t>(kWords) * (kRuns + 1), "the block does not hold what was written");
    return best;
}

} // namespace skintern
