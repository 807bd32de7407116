// shared_memory.cpp — see shared_memory.h.
#include "shared_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "cuda_runtime.h"
#include "fibres.h"
#include "symbols.h"

extern "C" char data_start, end; // by the linker: what can be written of the program's image

namespace cuda_host {
namespace {

constexpr size_t kDynamicAligned = 128;    // as shared_memory<T>() says
constexpr uint32_t kInFlight = UINT32_MAX; // a time: cp.async brings the bytes
constexpr uint32_t kWhoBits = 11, kWhoMask = (1u << kWhoBits) - 1;
constexpr uint32_t kSeveralLanes = kMaxThreads; // + warp: more than one of its lanes
constexpr uint32_t kSeveralWarps = kWhoMask;

// When, and by whom: a thread, kSeveralLanes + warp, or kSeveralWarps; above it the clock of its warp.
struct Record {
    uint32_t time, by;

    uint32_t who() const { return by & kWhoMask; }
    uint32_t clock() const { return by >> kWhoBits; }
};

struct Cell {
    Record write, read; // read: since the write
    uint32_t atomic;    // whether the write was; of several threads then, perhaps
};

// A stretch of memory that is shared, or where shared variables lie, and a cell for each of its words. A word that is accessed
// in parts has one for each byte.
struct Stretch {
    uintptr_t begin = 0;
    size_t bytes = 0;
    Cell* words = nullptr;
    Cell* parts = nullptr;
    uint32_t* in_parts = nullptr; // the block in which a word came to have cells for its bytes
};

template <class T>
T* zeros(size_t count) {
    void* pages = mmap(nullptr, std::max<size_t>(count, 1) * sizeof(T), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        std::abort();
    }
    return static_cast<T*>(pages);
}

constexpr size_t kBehind = 64 << 10; // a kernel that goes past the end of what it has is told so

struct Shared {
    Stretch dynamic, fixed;
    uint32_t time = 1, block = 1; // now, and when the block began
    uint32_t clocks[kMaxThreads / kWarp] = {};
    std::map<const void*, std::vector<Variable>> variables; // of every kernel that was launched
    std::vector<Variable>* own = nullptr;                   // of the one that runs
    size_t dynamic_bytes = 0;

    Shared() {
        dynamic.begin = reinterpret_cast<uintptr_t>(zeros<char>(kMaxShared + kBehind + kDynamicAligned)) + kDynamicAligned;
        dynamic.bytes = kMaxShared + kBehind;
        fixed.begin = reinterpret_cast<uintptr_t>(&data_start) / 4 * 4;
        fixed.bytes = static_cast<size_t>(reinterpret_cast<uintptr_t>(&end) - fixed.begin);
        for (Stretch* s : {&dynamic, &fixed}) {
            const size_t words = s->bytes / 4 + 1;
            s->words = zeros<Cell>(words);
            s->parts = zeros<Cell>(4 * words);
            s->in_parts = zeros<uint32_t>(words);
        }
    }
};

Shared s;

// The record of the running thread now.
struct Now {
    Record record;
    uint32_t warp;
};

Now now(bool whole_warp) {
    const uint32_t thread = static_cast<uint32_t>(cuda_host::thread()), warp = thread / kWarp;
    return {{s.time, s.clocks[warp] << kWhoBits | (whole_warp ? kSeveralLanes + warp : thread)}, warp};
}

// Whether what `before` says comes before what the running thread does now, whatever the order in which threads run.
bool ordered(Record before, const Now& now) {
    if (before.time != s.time) {
        return true;
    }
    if (before.who() == now.record.who() && before.who() < kSeveralLanes) {
        return true;
    }
    const uint32_t warp = before.who() >= kSeveralLanes ? before.who() - kSeveralLanes : before.who() / kWarp;
    return warp == now.warp && before.clock() != now.record.clock();
}

// `before` and now. What is in order before now is covered by now, for whoever comes after both.
Record joined(Record before, const Now& now) {
    if (ordered(before, now)) {
        return now.record;
    }
    const uint32_t warp = before.who() >= kSeveralLanes ? before.who() - kSeveralLanes : before.who() / kWarp;
    const uint32_t who = warp == now.warp ? kSeveralLanes + warp : kSeveralWarps;
    return {s.time, (now.record.by & ~kWhoMask) | who};
}

// ---- messages ----------------------------------------------------------------------------------------------------------------

std::string name_of(Record record) {
    const uint32_t who = record.who();
    return who < kSeveralLanes    ? "thread " + std::to_string(who)
           : who == kSeveralWarps ? "threads of several warps"
                                  : "lanes of warp " + std::to_string(who - kSeveralLanes);
}

std::string place_of(const Stretch& stretch, uintptr_t address) {
    if (&stretch == &s.fixed) {
        const std::string name = variable_name(address);
        return name.empty() ? "static shared memory" : "shared variable " + name;
    }
    return "byte " + std::to_string(address - stretch.begin) + " of dynamic shared memory";
}

[[noreturn]] void fail_at(const Stretch& stretch, uintptr_t address, const void* code, const std::string& what) {
    fail("%s at %s%s", what.c_str(), place_of(stretch, address).c_str(), at_code(code).c_str());
}

[[noreturn]] void race(const Stretch& stretch, uintptr_t address, const void* code, const char* does, const char* did,
                       Record other) {
    fail_at(stretch, address, code,
            std::string("race: this thread ") + does + " what " + name_of(other) + " " + did +
                ", and no barrier is between them,");
}

// ---- one cell ----------------------------------------------------------------------------------------------------------------

void access_cell(Cell& cell, const Now& now, Access access, const Stretch& stretch, uintptr_t address, const void* code) {
    if (cell.write.time == kInFlight) {
        fail_at(stretch, address, code,
                std::string(access == Access::read ? "a read" : "a write") + " of bytes that cp.async of " +
                    name_of(cell.write) + " is still bringing,");
    }
    const bool both_atomic = access == Access::atomic && cell.atomic != 0;
    if (access != Access::write && cell.write.time < s.block) {
        fail_at(stretch, address, code, "a read of shared memory that nobody has written yet in this block,");
    }
    if (!both_atomic && !ordered(cell.write, now)) {
        race(stretch, address, code, access == Access::read ? "reads" : "writes",
             cell.atomic != 0 ? "changed by an atomic operation" : "wrote", cell.write);
    }
    if (access == Access::read) {
        cell.read = joined(cell.read, now);
        return;
    }
    if (!ordered(cell.read, now)) {
        race(stretch, address, code, "writes", "read", cell.read);
    }
    cell.write = both_atomic ? joined(cell.write, now) : now.record;
    cell.read.time = 0;
    cell.atomic = access == Access::atomic;
}

// Calls `body(cell, address)` for the cells of `bytes` bytes.
template <class Body>
void for_cells(Stretch& stretch, uintptr_t address, size_t bytes, const Body& body) {
    const size_t from = address - stretch.begin;
    for (size_t at = from; at < from + bytes;) {
        const size_t word = at / 4;
        const bool whole = at % 4 == 0 && from + bytes - at >= 4;
        if (whole && stretch.in_parts[word] != s.block) {
            body(stretch.words[word], stretch.begin + at);
            at += 4;
            continue;
        }
        if (stretch.in_parts[word] != s.block) {
            std::fill_n(stretch.parts + 4 * word, 4, stretch.words[word]);
            stretch.in_parts[word] = s.block;
        }
        for (const size_t end = std::min(from + bytes, 4 * word + 4); at < end; at++) {
            body(stretch.parts[at], stretch.begin + at);
        }
        // Four bytes that are alike are a word again, as after one write of all.
        const Cell* parts = stretch.parts + 4 * word;
        if (whole && std::memcmp(parts, parts + 1, 3 * sizeof(Cell)) == 0) {
            stretch.words[word] = parts[0];
            stretch.in_parts[word] = 0;
        }
    }
}

Stretch& stretch_of(uintptr_t address) { return address - s.dynamic.begin < s.dynamic.bytes ? s.dynamic : s.fixed; }

} // namespace

// Whether the bytes lie in a static shared variable of the running kernel, or of a function that it calls.
static bool is_variable(uintptr_t address, size_t bytes) {
    const auto holds = [=](const Variable& v) { return address - v.begin < v.bytes && bytes <= v.bytes - (address - v.begin); };
    if (std::any_of(s.own->begin(), s.own->end(), holds) || !has_symbols()) {
        return true;
    }
    const Variable variable = variable_at(address);
    for (const auto& [kernel, variables] : s.variables) {
        for (const Variable& others : variables) {
            if (others.begin == variable.begin) {
                return false; // another kernel's, or this one's and past its end
            }
        }
    }
    if (holds(variable)) {
        s.own->push_back(variable);
        return true;
    }
    return false;
}

void begin_shared(const void* kernel, size_t dynamic_bytes) {
    s.own = &s.variables.try_emplace(kernel, variables_of(kernel)).first->second;
    s.dynamic_bytes = dynamic_bytes;
}

void begin_shared_block() {
    s.time++;
    s.block = s.time;
    std::fill(std::begin(s.clocks), std::end(s.clocks), 0u);
    constexpr int kPoison = 0xff; // NaN as float, double and BF16
    std::memset(reinterpret_cast<void*>(s.dynamic.begin), kPoison, s.dynamic_bytes);
    for (const Variable& variable : *s.own) {
        std::memset(reinterpret_cast<void*>(variable.begin), kPoison, variable.bytes);
    }
}

size_t static_shared_bytes(const void* kernel) {
    size_t bytes = 0;
    for (const Variable& variable : s.variables.try_emplace(kernel, variables_of(kernel)).first->second) {
        bytes += variable.bytes;
    }
    return bytes;
}

void order_block() { s.time++; }
void order_warp(int warp) { s.clocks[warp]++; }

bool is_shared(uintptr_t address) {
    return address - s.dynamic.begin < s.dynamic.bytes || address - s.fixed.begin < s.fixed.bytes;
}

void access_shared(uintptr_t address, size_t bytes, Access access, bool whole_warp, const void* code) {
    Stretch& stretch = stretch_of(address);
    const char* what = access == Access::read ? "a read" : "a write";
    if (&stretch == &s.dynamic && address - stretch.begin + bytes > s.dynamic_bytes) {
        fail("out of bounds: %s of %zu bytes at byte %zu of dynamic shared memory, of which the kernel has %zu bytes%s", what,
             bytes, address - stretch.begin, s.dynamic_bytes, at_code(code).c_str());
    }
    if (&stretch == &s.fixed && !is_variable(address, bytes)) {
        const std::string name = variable_name(address);
        fail("out of bounds: %s of %zu bytes in no shared variable of the kernel%s%s", what, bytes,
             name.empty() ? "" : (", at " + name).c_str(), at_code(code).c_str());
    }
    const Now by = now(whole_warp);
    for_cells(stretch, address, bytes, [&](Cell& cell, uintptr_t at) { access_cell(cell, by, access, stretch, at, code); });
}

void issue_copy(uintptr_t address, size_t bytes, const void* code) {
    access_shared(address, bytes, Access::write, false, code);
    for_cells(stretch_of(address), address, bytes, [](Cell& cell, uintptr_t) { cell.write.time = kInFlight; });
}

void arrive_copy(uintptr_t address, size_t bytes) {
    const Now by = now(false);
    for_cells(stretch_of(address), address, bytes, [&](Cell& cell, uintptr_t) { cell.write = by.record; });
}

void forget_copy(uintptr_t address, size_t bytes) {
    for_cells(stretch_of(address), address, bytes, [](Cell& cell, uintptr_t) { cell.write.time = 0; });
}

void* dynamic_shared() { return reinterpret_cast<void*>(s.dynamic.begin); }

} // namespace cuda_host
