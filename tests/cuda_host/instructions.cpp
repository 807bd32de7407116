// instructions.cpp — what ptx.h declares: the instructions of a whole warp with the fragment layouts of the PTX manual (section
// 9.7: "Matrix Fragments for mma.m16n8k16", "ldmatrix"), and asynchronous copies (cp.async).
#include <bit>
#include <cstdio>
#include <cstring>
#include <vector>

#include "accesses.h"
#include "fibres.h"
#include "instructions.h"
#include "ptx.h"
#include "shared_memory.h"

namespace cuda_host {

namespace {

void require_all_lanes(const char* what, unsigned mask) {
    if (mask != 0xffffffffu) {
        fail("%s takes all 32 lanes of a warp, here only those of mask %08x", what, mask);
    }
}

void require_aligned(const char* what, const void* address, size_t bytes, std::source_location where) {
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
        fail("misaligned: %s at %p is not aligned to %zu bytes, %s:%u", what, address, bytes, where.file_name(), where.line());
    }
}

void require_shared(const char* what, const void* address, std::source_location where) {
    if (!is_shared(reinterpret_cast<uintptr_t>(address))) {
        fail("%s at %p, which is not shared memory, %s:%u", what, address, where.file_name(), where.line());
    }
}

// ---- matrices --------------------------------------------------------------------------------------------------------------

float half_of(uint32_t pair, int which) { return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u); }

struct Mma {
    float* d;
    const uint32_t* a;
    const uint32_t* b;
};

// With g = lane / 4 and t = lane % 4
//   a[r] holds row g + 8 (r % 2), columns 2t + 8 (r / 2) and the next
//   b[r] holds rows 2t + 8 r and the next, column g
//   d[r] holds row g + 8 (r / 2), column 2t + r % 2
void mma_m16n8k16(void* const* operands, unsigned mask) {
    require_all_lanes("mma", mask);
    float a[16][16], b[16][8], d[16][8];
    for (int lane = 0; lane < kWarp; lane++) {
        const Mma& own = *static_cast<const Mma*>(operands[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
            for (int r = 0; r < 4; r++) {
                a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + i] = half_of(own.a[r], i);
            }
            for (int r = 0; r < 2; r++) {
                b[2 * t + 8 * r + i][g] = half_of(own.b[r], i);
            }
        }
        for (int r = 0; r < 4; r++) {
            d[g + 8 * (r / 2)][2 * t + r % 2] = own.d[r];
        }
    }
    for (int m = 0; m < 16; m++) {
        float sum[8];
        std::memcpy(sum, d[m], sizeof sum);
        for (int k = 0; k < 16; k++) {
            for (int n = 0; n < 8; n++) {
                sum[n] += a[m][k] * b[k][n];
            }
        }
        std::memcpy(d[m], sum, sizeof sum);
    }
    for (int lane = 0; lane < kWarp; lane++) {
        const Mma& own = *static_cast<const Mma*>(operands[lane]);
        const int g = lane / 4, t = lane % 4;
        for (int r = 0; r < 4; r++) {
            own.d[r] = d[g + 8 * (r / 2)][2 * t + r % 2];
        }
    }
}

struct Ldmatrix {
    uint32_t* out;
    const void* row; // of eight 16-bit numbers
    int matrices;
    bool transposed;
    std::source_location where;
    const void* code;
};

// Lane 8 i + r gives the address of row r of matrix i; lane l receives of matrix i the numbers 2 (l % 4) and the next of row
// l / 4, or with .trans those of column l / 4.
void ldmatrix_b16(void* const* operands, unsigned mask) {
    require_all_lanes("ldmatrix", mask);
    const int matrices = static_cast<const Ldmatrix*>(operands[0])->matrices;
    for (int i = 0; i < matrices; i++) {
        uint16_t m[8][8];
        for (int r = 0; r < 8; r++) {
            const Ldmatrix& giver = *static_cast<const Ldmatrix*>(operands[8 * i + r]);
            require_shared("a row of ldmatrix", giver.row, giver.where);
            require_aligned("a row of ldmatrix", giver.row, sizeof m[r], giver.where);
            access_shared(reinterpret_cast<uintptr_t>(giver.row), sizeof m[r], Access::read, true, giver.code);
            std::memcpy(m[r], giver.row, sizeof m[r]);
        }
        for (int lane = 0; lane < kWarp; lane++) {
            const Ldmatrix& own = *static_cast<const Ldmatrix*>(operands[lane]);
            const int g = lane / 4, t = lane % 4;
            own.out[i] = own.transposed ? m[2 * t][g] | static_cast<uint32_t>(m[2 * t + 1][g]) << 16
                                        : m[g][2 * t] | static_cast<uint32_t>(m[g][2 * t + 1]) << 16;
        }
    }
}

// ---- asynchronous copies -----------------------------------------------------------------------------------------------------

struct Copy {
    void* to;
    const void* from;
    size_t bytes, size; // copied; the rest of `size` is filled with zeros
};

struct Copies {
    std::vector<Copy> issued;       // and not waited for, in order
    std::vector<size_t> group_ends; // how many of them were issued when each group was committed
};

Copies copies[kMaxThreads];

} // namespace

void forget_copies() {
    for (Copies& own : copies) {
        for (const Copy& copy : own.issued) {
            forget_copy(reinterpret_cast<uintptr_t>(copy.to), copy.size);
        }
        own.issued.clear();
        own.group_ends.clear();
    }
}

void mma(float* d, const uint32_t* a, const uint32_t* b, std::source_location where) {
    Mma own = {d, a, b};
    together(0xffffffffu, &own, mma_m16n8k16, "mma", where);
}

void ldmatrix(uint32_t* out, const void* row, int matrices, bool transposed, std::source_location where) {
    Ldmatrix own = {out, row, matrices, transposed, where, __builtin_return_address(0)};
    constexpr const char* kNames[2][5] = {{"", "ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"},
                                          {"", "ldmatrix.x1.trans", "ldmatrix.x2.trans", "", "ldmatrix.x4.trans"}};
    together(0xffffffffu, &own, ldmatrix_b16, kNames[transposed][matrices], where);
}

void cp_async(void* shared, const void* global, int bytes, int size, std::source_location where) {
    const void* code = __builtin_return_address(0);
    require_shared("the destination of cp.async", shared, where);
    require_aligned("the destination of cp.async", shared, static_cast<size_t>(size), where);
    if (bytes > 0) {
        require_aligned("the source of cp.async", global, static_cast<size_t>(size), where);
        read_memory(global, static_cast<size_t>(bytes), code);
    }
    issue_copy(reinterpret_cast<uintptr_t>(shared), static_cast<size_t>(size), code);
    copies[thread()].issued.push_back({shared, global, static_cast<size_t>(bytes), static_cast<size_t>(size)});
}

void cp_async_commit() {
    Copies& own = copies[thread()];
    own.group_ends.push_back(own.issued.size());
}

// The copy is made here, as late as the hardware may: who reads too early finds what was there before.
void cp_async_wait(int pending) {
    Copies& own = copies[thread()];
    const ptrdiff_t groups = static_cast<ptrdiff_t>(own.group_ends.size()) - pending;
    if (groups <= 0) {
        return;
    }
    const ptrdiff_t count = static_cast<ptrdiff_t>(own.group_ends[static_cast<size_t>(groups) - 1]);
    for (ptrdiff_t c = 0; c < count; c++) {
        const Copy& copy = own.issued[static_cast<size_t>(c)];
        std::memcpy(copy.to, copy.from, copy.bytes);
        std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
        arrive_copy(reinterpret_cast<uintptr_t>(copy.to), copy.size);
    }
    own.issued.erase(own.issued.begin(), own.issued.begin() + count);
    own.group_ends.erase(own.group_ends.begin(), own.group_ends.begin() + groups);
    for (size_t& end : own.group_ends) {
        end -= static_cast<size_t>(count);
    }
}

} // namespace cuda_host
