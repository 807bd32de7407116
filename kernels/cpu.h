// cpu.h — the fast CPU backend: who owns what, and which file holds which op.
//
//   cpu_dispatch.cpp     make_cpu_kernels(), the choice of the instruction set, CpuMemory
//   team.cpp             the threads
//   matmul_cpu.cpp       products (micro_kernel.h: in registers; panels.h: how operands are packed for it)
//   few_rows_cpu.cpp     products of few rows: decoding
//   matmul_steps_cpu.cpp how matmul_cpu.cpp came about, in numbered versions; for `make bench` and its readers
//   attention_*_cpu.cpp  attention_forward, attention_backward, attention_cached
//   layers_cpu.cpp       every other op
//   matmul_openblas.cpp  products by OpenBLAS, where the build has it
//
// The *_cpu.cpp files are compiled once per instruction set with -DSKINTERN_ISA=portable, avx2, avx512, avx512bf16 or
// amx and the flags that belong to it; all they define is in the namespace of that name. CpuMemory is compiled once, without such
// flags: it holds what does not depend on the instruction set.
//
// An op shares its work between the threads of `team_`, and cuts it such that the order of every sum is given by the
// shapes alone: one thread and sixteen give the same bits.
#pragma once

#include "kernels.h"
#include "team.h"

namespace skintern {

static_assert(sizeof(real) == sizeof(float), "the fast CPU backend is written for real = float");

// A matrix product that replaces our own where all operands are floats; the arguments are those of Kernels::matmul.
using LibraryMatmul = void (*)(int threads, Layout layout, float* out, const float* a, const float* b,
                               int64_t M, int64_t N, int64_t K, float alpha, bool accumulate);

void matmul_openblas(int threads, Layout layout, float* out, const float* a, const float* b, int64_t M,
                     int64_t N, int64_t K, float alpha, bool accumulate);

// The CPU backend that `options` name, whatever their device.
std::unique_ptr<Kernels> make_cpu_kernels(const KernelOptions& options);

// What the options come to.
struct CpuSettings {
    const char* isa;       // name of the instruction set
    int threads;           // at least 1
    LibraryMatmul library; // nullptr: our own matmul
    bool bf16;             // the operands of products are rounded to BF16
    bool q8;               // activations of few rows are rounded to 8 bits
};

// Memory, name and scratch of the backend.
class CpuMemory : public Kernels {
public:
    explicit CpuMemory(const CpuSettings& settings);
    ~CpuMemory() override;
    CpuMemory(const CpuMemory&) = delete;
    CpuMemory& operator=(const CpuMemory&) = delete;

    std::string name() const override;
    void* alloc(size_t bytes) override;
    void free(void* ptr) override;
    void upload(void* dst, const void* host_src, size_t bytes) override;
    void download(void* host_dst, const void* src, size_t bytes) override;
    void copy(void* dst, const void* src, size_t bytes) override;
    void zero(void* dst, size_t bytes) override;
    Matrix map(Matrix host, int64_t, int64_t, bool) override { return host; }
    void unmap(Matrix) override {}

protected:
    // At least `floats` floats, 64-byte aligned, contents undefined. One block, asked for once at the start of an op
    // (before the work is shared) and valid until the next call; it only grows, so a training step allocates nothing.
    // An op that calls another one has a second block.
    float* scratch(int64_t floats, int block = 0);

    const char* const isa_;
    Team team_;
    const int threads_; // of the team
    const LibraryMatmul library_; // nullptr: our own matmul
    const bool bf16_;
    const bool q8_;

private:
    struct Scratch {
        float* data = nullptr;
        int64_t floats = 0;
    };
    Scratch scratch_[2];
};

// A numbered version of out(M,N) = a(M,K) b(N,K)^T on one thread: matmul_steps_cpu.cpp.
struct MatmulStep {
    const char* name;
    void (*run)(float* out,     // (M,N) =
                const float* a, // (M,K)
                const float* b, // (N,K)
                float* scratch, // (N + kMatmulStepPadding,K), contents undefined
                int64_t M, int64_t N, int64_t K);
};
constexpr int kMatmulStepCount = 5;
constexpr int64_t kMatmulStepPadding = 31; // the last panel is as wide as the others

// What each instruction set that is linked in offers: the factory (the caller owns the result), the steps towards its
// product, and a loop of multiply-adds in registers, the roof that bench.cpp measures; it returns the floating-point
// operations it did. With `bf16` it is of the instructions that multiply BF16, where there are any.
#define SKINTERN_DECLARE_ISA(isa)                              \
    namespace isa {                                            \
    Kernels* make_cpu_kernels(const CpuSettings& settings);    \
    extern const MatmulStep kMatmulSteps[kMatmulStepCount];    \
    int64_t spin_multiply_adds(int64_t rounds, float* sink, bool bf16); \
    }
SKINTERN_DECLARE_ISA(portable)
SKINTERN_DECLARE_ISA(avx2)
SKINTERN_DECLARE_ISA(avx512)
SKINTERN_DECLARE_ISA(avx512bf16)
SKINTERN_DECLARE_ISA(amx)
#undef SKINTERN_DECLARE_ISA

// The most floating-point operations a second that `threads` threads reach in this instruction set ("auto" as in
// KernelOptions), measured in a few milliseconds: best of several runs.
double measure_peak(const std::string& isa, int threads, bool bf16 = false);

// Bytes a second that `threads` threads (0 as in KernelOptions) read from memory: best of several passes over a block
// of 1 GiB, more than the caches hold.
double measure_bandwidth(int threads);

// The kMatmulStepCount steps in this instruction set.
const MatmulStep* matmul_steps(const std::string& isa);

} // namespace skintern

#ifdef SKINTERN_ISA

namespace skintern::SKINTERN_ISA {

enum class Words : int; // panels.h

// The ops, for the instruction set of this namespace. Parameters and shapes are documented in kernels.h.
class CpuKernels final : public CpuMemory {
public:
    using CpuMemory::CpuMemory;

    void products(Layout layout, const Product* list, int64_t count, int64_t M) override;
    WeightType operand_type() const override { return bf16_ ? WeightType::bf16 : WeightType::f32; }
    size_t packed_bytes(Rows rows, Matrix b, int64_t N, int64_t K) const override;
    void pack(Rows rows, void* packed, Matrix b, int64_t N, int64_t K) override;

    void bias_forward(float* out, const float* bias, int64_t N, int64_t C) override;
    void bias_backward(float* dbias, const float* dout, int64_t N, int64_t C) override;
    void gather_rows(float* out, Matrix table, const int32_t* rows, int64_t M, int64_t C) override;
    void scatter_rows(void* table, WeightType type, const float* inp, const int32_t* rows, int64_t M,
                      int64_t C) override;
    void scatter_add_rows(float* table, const float* inp, const int32_t* rows, int64_t M, int64_t C) override;
    void rmsnorm_forward(MatrixOut out, float* rstd, const float* inp, const float* weight, int64_t N, int64_t C,
                         float eps) override;
    void rmsnorm_backward(float* dinp, float* dweight, MatrixOut out, const float* dout, const float* inp,
                          const float* weight, const float* rstd, int64_t N, int64_t C) override;
    void rope(float* x, const float* cos_sin, const int32_t* positions, int64_t N, int64_t NH, int64_t HS,
              bool inverse) override;
    void swiglu_forward(MatrixOut out, const float* gate, const float* up, int64_t n) override;
    void swiglu_backward(MatrixOut dgate, MatrixOut dup, MatrixOut out, const float* dout, const float* gate,
                         const float* up, int64_t n) override;
    void cross_entropy(float* loss, float* logits, const int32_t* target, int64_t M, int64_t V,
                       float scale) override;
    void kl_divergence(float* loss, float* logits, const float* target, int64_t M, int64_t V, float scale) override;
    void argmax_rows(int32_t* out, const float* logits, int64_t M, int64_t V) override;
    double sum_squares(const float* x, int64_t n) override;
    void adamw(float* param, float* m, float* v, const float* grad, int64_t n,
               const AdamwStep& step) override;

    void attention_forward(float* out, float* lse, const float* q, const float* k, const float* v,
                           Sequences seq, int64_t NH, int64_t NKV, int64_t HS) override;
    void attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* q,
                            const float* k, const float* v, const float* out, const float* lse, Sequences seq,
                            int64_t NH, int64_t NKV, int64_t HS) override;
    void attention_cached(float* out, const float* q, Matrix k_cache, Matrix v_cache, const int32_t* slot,
                          const int32_t* length, Sequences seq, int64_t capacity, int64_t NH, int64_t NKV,
                          int64_t HS) override;

private:
    static size_t few_packed_bytes(Matrix b, int64_t N, int64_t K);
    void pack_few(void* packed, Matrix b, int64_t N, int64_t K);
    void few_rows(const Product* list, int64_t count, int64_t M);
    void turned_product(const Product& product, int64_t M);
    template <Words W>
    void packed(Layout layout, const Product* list, int64_t count, int64_t M);
};

} // namespace skintern::SKINTERN_ISA

#endif
