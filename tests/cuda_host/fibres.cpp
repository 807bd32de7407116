// fibres.cpp — see fibres.h. When no fibre can run and not all have ended, the wait can never end: that is a mistake of the
// kernel, and it is told with the place where each waits.
#include "fibres.h"

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "shared_memory.h"

__attribute__((section("cuda_host_indices"))) uint3 threadIdx, blockIdx;
__attribute__((section("cuda_host_indices"))) dim3 blockDim, gridDim;

// ---- from one stack to another ---------------------------------------------------------------------------------------

#if defined(__x86_64__)

// void cuda_host_switch(void** from, void* to): what a callee keeps is pushed on the stack that is left, whose pointer goes
// to *from, and popped from the other (System V ABI, AMD64, section 3.2.1). A jump, since processors foresee a return to
// where the last call came from, and that is on the stack that was left.
asm(R"(
    .text
    .globl cuda_host_switch
    .type cuda_host_switch, @function
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_host_switch, .-cuda_host_switch
)");
extern "C" void cuda_host_switch(void** from, void* to);

namespace cuda_host {
namespace {

using Context = void*; // a stack pointer

void switch_to(Context& from, Context& to) { cuda_host_switch(&from, to); }

// A context that begins with body(), which never returns, on the stack that ends at `top`.
void prepare(Context& context, char*, char* top, void (*body)()) {
    void** frame = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) / 16 * 16);
    *--frame = nullptr; // body's return address: none, and there a debugger's backtrace ends
    *--frame = reinterpret_cast<void*>(body);
    for (int i = 0; i < 6; i++) {
        *--frame = nullptr;
    }
    context = frame;
}

#else

#include <ucontext.h>

namespace cuda_host {
namespace {

using Context = ucontext_t;

void switch_to(Context& from, Context& to) { swapcontext(&from, &to); }

void prepare(Context& context, char* stack, char* top, void (*body)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = static_cast<size_t>(top - stack);
    context.uc_link = nullptr;
    makecontext(&context, body, 0);
}

#endif

// ---- the block -----------------------------------------------------------------------------------------------------------

constexpr int kMaxWarps = kMaxThreads / kWarp;

// What a thread waits at.
struct Place {
    const char* what = ""; // "__syncthreads", "mma", ...: one string a kind
    std::source_location where;

    bool operator==(const Place& other) const {
        return std::memcmp(this, &other, sizeof other) == 0 || // the same constants, as a rule
               (what == other.what && where.line() == other.where.line() && where.column() == other.where.column() &&
                std::strcmp(where.file_name(), other.where.file_name()) == 0);
    }
};

struct Fibre {
    Context context;
    char* stack = nullptr; // its lowest byte
    uint3 index;
    int linear = 0;
    Place place;       // where it waits, or waited last
    unsigned mask = 0; // of the lanes that it waits for
};

struct Warp {
    unsigned lanes = 0;                                         // a bit each that there is
    unsigned ready = 0, at_barrier = 0, in_warp = 0, ended = 0; // a lane is in one of the four, or runs
    void* operands[kWarp];

    // Of those in_warp: the lanes that wait at the same instruction with the same mask as the latest that came.
    unsigned came = 0, mask = 0;
    Place place;
};

struct Block {
    Fibre fibres[kMaxThreads];
    Warp warps[kMaxWarps];
    unsigned warps_ready = 0; // those with a ready lane
    int threads = 0, ended = 0;
    Fibre* current = nullptr;
    Context host;
    const Work* work = nullptr;
    std::string failure;

    int came = 0; // at the barrier
    Place barrier;
    int predicates = 0, last_predicates = 0; // those of the threads that came that are not 0; and of the barrier before

    Order order = Order::forward;
    uint64_t random = 0;
};

Block block;

int warp_of(const Fibre& fibre) { return fibre.linear / kWarp; }
unsigned bit_of(const Fibre& fibre) { return 1u << fibre.linear % kWarp; }

std::string text_of(const Place& place) {
    char text[300];
    const char* file = std::strrchr(place.where.file_name(), '/');
    std::snprintf(text, sizeof text, "%s (%s:%u)", place.what, file == nullptr ? place.where.file_name() : file + 1,
                  place.where.line());
    return text;
}

unsigned random_number() { // xorshift64* (Vigna 2016)
    block.random ^= block.random >> 12;
    block.random ^= block.random << 25;
    block.random ^= block.random >> 27;
    return static_cast<unsigned>(block.random * 0x2545f4914f6cdd1dull >> 32);
}

// One of the set bits: the lowest or the highest, or in a random order the next from the bit `from` on.
int one_of(unsigned bits, unsigned from) {
    if (block.order == Order::reverse) {
        return 31 - std::countl_zero(bits);
    }
    return (std::countr_zero(std::rotr(bits, static_cast<int>(from))) + static_cast<int>(from)) & 31;
}

// The fibre that runs next, or null: none can. A warp goes on as long as it can; what its lanes use is in the cache.
Fibre* next_fibre(int warp) {
    if (block.warps_ready == 0) {
        return nullptr;
    }
    const unsigned random = block.order == Order::random ? random_number() : 0;
    const bool stays = warp >= 0 && (block.warps_ready >> warp & 1) != 0;
    if (!stays || (random >> 10 & 7) == 7) { // in a random order another warp comes between now and then
        warp = one_of(block.warps_ready, random >> 5 & 31);
    }
    Warp& w = block.warps[warp];
    const int lane = one_of(w.ready, random & 31);
    w.ready &= ~(1u << lane);
    if (w.ready == 0) {
        block.warps_ready &= ~(1u << warp);
    }
    return &block.fibres[warp * kWarp + lane];
}

void make_ready(int warp, unsigned lanes) {
    block.warps[warp].ready |= lanes;
    if (lanes != 0) {
        block.warps_ready |= 1u << warp;
    }
}

// The running fibre, whose bit is where it now belongs, gives way.
void give_way() {
    Fibre* own = block.current;
    Fibre* next = next_fibre(warp_of(*own));
    if (next == own) {
        return;
    }
    block.current = next;
    if (next == nullptr) {
        switch_to(own->context, block.host);
    } else {
        threadIdx = next->index;
        running_stack = reinterpret_cast<uintptr_t>(next->stack);
        switch_to(own->context, next->context);
    }
}

void body() {
    block.work->run(block.work->arguments.get());
    Fibre& own = *block.current;
    block.warps[warp_of(own)].ended |= bit_of(own);
    block.ended++;
    give_way();
    std::abort(); // nobody resumes a fibre that has ended
}

char* stack_of(int thread) {
    // Stacks lie side by side, each a little further into its page: were all at the same place of theirs, the lanes of a warp
    // would drive each other from the few ways of the same sets of the cache.
    constexpr size_t kStride = kStackBytes + (4 << 10) + 320;
    static char* const all = static_cast<char*>(
        mmap(nullptr, kStride * kMaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    return all + kStride * static_cast<size_t>(thread);
}

// ---- what can never go on ------------------------------------------------------------------------------------------------

std::string state_of(const Fibre& fibre) {
    const Warp& warp = block.warps[warp_of(fibre)];
    const std::string thread = "thread " + std::to_string(fibre.linear);
    return (warp.ended & bit_of(fibre)) != 0 ? thread + " has ended" : thread + " waits at " + text_of(fibre.place);
}

// No fibre can run. A warp instruction that waits for a lane is told before a barrier: it is the reason of the other.
std::string stuck() {
    for (int t = 0; t < block.threads; t++) {
        const Fibre& fibre = block.fibres[t];
        const Warp& warp = block.warps[warp_of(fibre)];
        if ((warp.in_warp & bit_of(fibre)) == 0) {
            continue;
        }
        for (int lane = 0; lane < kWarp; lane++) {
            if ((fibre.mask >> lane & 1) == 0) {
                continue;
            }
            const Fibre& other = block.fibres[warp_of(fibre) * kWarp + lane];
            const std::string missed = text_of(fibre.place) + " is not reached by all lanes of mask ";
            char mask[80];
            std::snprintf(mask, sizeof mask, "%08x: thread %d waits there", fibre.mask, t);
            if ((warp.lanes >> lane & 1) == 0) {
                return missed + mask + ", and there is no lane " + std::to_string(lane);
            }
            if ((warp.in_warp >> lane & 1) == 0 || !(other.place == fibre.place)) {
                return missed + mask + ", and " + state_of(other);
            }
            if (other.mask != fibre.mask) {
                char masks[80];
                std::snprintf(masks, sizeof masks, ", and thread %d with mask %08x", other.linear, other.mask);
                return missed + mask + masks;
            }
        }
    }
    const Fibre *waiting = nullptr, *missing = nullptr;
    for (int t = 0; t < block.threads; t++) {
        const Fibre& fibre = block.fibres[t];
        const Fibre*& which = (block.warps[warp_of(fibre)].at_barrier & bit_of(fibre)) != 0 ? waiting : missing;
        which = which == nullptr ? &fibre : which;
    }
    return text_of(waiting->place) + " is not reached by all threads of the block: thread " + std::to_string(waiting->linear) +
           " waits there, and " + state_of(*missing);
}

} // namespace

std::string run_block(const Work& work, Order order, uint64_t seed) {
    block.threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
    block.ended = block.came = block.predicates = 0;
    block.work = &work;
    block.failure.clear();
    block.order = order;
    block.random = seed * 2 + 1;
    block.warps_ready = 0;
    for (Warp& warp : block.warps) {
        warp = Warp();
    }
    for (int t = 0; t < block.threads; t++) {
        Fibre& fibre = block.fibres[t];
        fibre.linear = t;
        const unsigned linear = static_cast<unsigned>(t);
        fibre.index = {linear % blockDim.x, linear / blockDim.x % blockDim.y, linear / blockDim.x / blockDim.y};
        fibre.stack = stack_of(t);
        prepare(fibre.context, fibre.stack, fibre.stack + kStackBytes, body);
        block.warps[t / kWarp].lanes |= bit_of(fibre);
        make_ready(t / kWarp, bit_of(fibre));
    }
    block.current = next_fibre(-1);
    threadIdx = block.current->index;
    running_stack = reinterpret_cast<uintptr_t>(block.current->stack);
    switch_to(block.host, block.current->context);
    running_stack = 0;
    block.current = nullptr;
    if (block.failure.empty() && block.ended < block.threads) {
        block.failure = stuck();
    }
    return block.failure;
}

thread_local constinit uintptr_t running_stack = 0;

bool in_kernel() { return running_stack != 0; }
int thread() { return block.current->linear; }
int lane() { return block.current->linear % kWarp; }

void fail(const char* format, ...) {
    char text[500];
    va_list args;
    va_start(args, format);
    std::vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!in_kernel()) {
        std::fprintf(stderr, "cuda_host: %s\n", text);
        std::abort();
    }
    char who[60];
    const uint3 at = block.current->index;
    std::snprintf(who, sizeof who, " (thread %u,%u,%u)", at.x, at.y, at.z);
    block.failure = std::string(text) + who;
    switch_to(block.current->context, block.host);
    std::abort(); // nobody comes back
}

void together(unsigned mask, void* operand, Act act, const char* what, std::source_location where) {
    Fibre& own = *block.current;
    const int warp = warp_of(own);
    const unsigned bit = bit_of(own);
    Warp& w = block.warps[warp];
    own.place = {what, where};
    own.mask = mask;
    if ((mask & bit) == 0) {
        fail("%s has a mask of %08x, which does not name the lane that calls it", text_of(own.place).c_str(), mask);
    }
    w.in_warp |= bit;
    w.operands[own.linear % kWarp] = operand;
    if (w.came == 0 || mask != w.mask || !(own.place == w.place)) {
        w.came = 0; // another instruction than that of the latest lane: some may wait here already
        w.mask = mask;
        w.place = own.place;
        for (unsigned left = w.in_warp & ~bit; left != 0; left &= left - 1) {
            const Fibre& other = block.fibres[warp * kWarp + std::countr_zero(left)];
            w.came |= other.mask == mask && other.place == own.place ? left & -left : 0;
        }
    }
    w.came |= bit;
    if (w.came == mask) {
        act(w.operands, mask);
        w.came = 0;
        w.in_warp &= ~mask;
        make_ready(warp, mask & ~bit);
        if (block.order != Order::random) {
            return; // the last to come goes on
        }
        make_ready(warp, bit);
    }
    give_way();
}

namespace {

// Waits for all threads of the block; returns how many of them brought a predicate that is not 0.
int barrier(int predicate, Place place) {
    Fibre& own = *block.current;
    own.place = place;
    block.warps[warp_of(own)].at_barrier |= bit_of(own);
    if (block.came == 0) {
        block.barrier = place;
    } else if (!(place == block.barrier)) {
        fail("the threads of a block wait at different barriers: thread %d comes to %s, and others wait at %s", own.linear,
             text_of(place).c_str(), text_of(block.barrier).c_str());
    }
    block.came++;
    block.predicates += predicate != 0;
    if (block.came == block.threads) {
        block.came = 0;
        block.last_predicates = std::exchange(block.predicates, 0);
        order_block();
        for (int w = 0; w * kWarp < block.threads; w++) {
            make_ready(w, std::exchange(block.warps[w].at_barrier, 0));
        }
    }
    give_way();
    return block.last_predicates; // the next barrier ends only after this thread has come to it
}

} // namespace
} // namespace cuda_host

void __syncthreads(std::source_location where) { cuda_host::barrier(0, {"__syncthreads", where}); }
int __syncthreads_count(int predicate, std::source_location where) {
    return cuda_host::barrier(predicate, {"__syncthreads_count", where});
}
int __syncthreads_or(int predicate, std::source_location where) {
    return cuda_host::barrier(predicate, {"__syncthreads_or", where}) > 0;
}
int __syncthreads_and(int predicate, std::source_location where) {
    return cuda_host::barrier(predicate, {"__syncthreads_and", where}) == cuda_host::block.threads;
}

void __syncwarp(unsigned mask, std::source_location where) {
    cuda_host::together(
        mask, nullptr, [](void* const*, unsigned) { cuda_host::order_warp(cuda_host::thread() / cuda_host::kWarp); },
        "__syncwarp", where);
}

namespace cuda_host {

uint64_t shuffle(unsigned mask, uint64_t value, int source, const char* what, std::source_location where) {
    struct Shuffle {
        uint64_t value, result;
        int source; // lane whose value is asked for
    } own = {value, value, source};
    together(
        mask, &own,
        [](void* const* operands, unsigned lanes) {
            for (unsigned left = lanes; left != 0; left &= left - 1) {
                Shuffle& to = *static_cast<Shuffle*>(operands[std::countr_zero(left)]);
                if ((lanes >> to.source & 1) == 0) {
                    fail("lane %d shuffles from lane %d, which the mask %08x does not name", std::countr_zero(left), to.source,
                         lanes);
                }
                to.result = static_cast<Shuffle*>(operands[to.source])->value;
            }
        },
        what, where);
    return own.result;
}

} // namespace cuda_host

unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where) {
    struct Ballot {
        int predicate;
        unsigned result;
    } own = {predicate, 0};
    cuda_host::together(
        mask, &own,
        [](void* const* operands, unsigned lanes) {
            unsigned ballot = 0;
            for (unsigned left = lanes; left != 0; left &= left - 1) {
                ballot |= static_cast<Ballot*>(operands[std::countr_zero(left)])->predicate != 0 ? left & -left : 0u;
            }
            for (unsigned left = lanes; left != 0; left &= left - 1) {
                static_cast<Ballot*>(operands[std::countr_zero(left)])->result = ballot;
            }
        },
        "__ballot_sync", where);
    return own.result;
}
