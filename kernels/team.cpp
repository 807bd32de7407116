// team.cpp — see team.h.
#include "team.h"

#include <chrono>
#include <system_error>

#ifdef __linux__
#include <sched.h>
#endif

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "support/check.h"

namespace skintern {

namespace {

constexpr uint32_t kOpen = 1u << 15, kInside = kOpen - 1, kOnceMore = 1u << 16;

// How long a thread looks for work before it sleeps: longer than most pauses between two ops, less than a sleeper
// takes to come.
constexpr std::chrono::microseconds kPatience(10);

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

// Returns a value of `word` that is as `done` wants it.
template <class Done>
uint32_t wait_until(std::atomic<uint32_t>& word, const Done& done) {
    const auto begin = std::chrono::steady_clock::now();
    do {
        for (int round = 0; round < 16; round++) {
            const uint32_t value = word.load(std::memory_order_acquire);
            if (done(value)) {
                return value;
            }
            relax();
        }
    } while (std::chrono::steady_clock::now() - begin < kPatience);
    for (;;) {
        const uint32_t value = word.load(std::memory_order_acquire);
        if (done(value)) {
            return value;
        }
        word.wait(value, std::memory_order_acquire);
    }
}

// While it lives, the instructions of x86 in this thread give 0 where the result would be a denormal number. They read one
// as it is: an F16 is decoded by way of a denormal float (dequantize.h).
class FlushDenormals {
public:
#ifdef __SSE2__
    FlushDenormals() { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON); }
    ~FlushDenormals() { _mm_setcsr(before_); }
#else
    FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
#ifdef __SSE2__
    const unsigned before_ = _mm_getcsr();
#endif
};

} // namespace

bool Tasks::take(int64_t& task) {
    for (; helped_ < team_.threads_; helped_++) {
        Team::Range& range = team_.ranges_[(thread_ + helped_) % team_.threads_];
        if (range.next.load(std::memory_order_relaxed) < range.end) {
            task = range.next.fetch_add(1, std::memory_order_relaxed);
            if (task < range.end) {
                return true;
            }
        }
    }
    return false;
}

Team::Team(int threads) : threads_(threads), ranges_(new Range[static_cast<size_t>(threads)]) {
    CHECK(threads >= 1 && threads <= static_cast<int>(kInside), "%d threads; there can be 1 to %u", threads, kInside);
    try {
        for (int thread = 1; thread < threads; thread++) {
            helpers_.emplace_back([this, thread] { help(thread); });
        }
    } catch (const std::system_error&) {
        end();
        CHECK(false, "the system does not give %d threads", threads);
    }
}

Team::~Team() { end(); }

void Team::end() {
    work_ = nullptr;
    door_.fetch_add(kOnceMore | kOpen, std::memory_order_release);
    door_.notify_all();
    for (std::thread& helper : helpers_) {
        helper.join();
    }
}

void Team::run(int64_t count, bool together, Work work, const void* context) {
    together = together && count > 1 && threads_ > 1;
    const int64_t sharing = together ? threads_ : 1;
    for (int64_t t = 0; t < threads_; t++) {
        ranges_[t].next.store(t < sharing ? count * t / sharing : 0, std::memory_order_relaxed);
        ranges_[t].end = t < sharing ? count * (t + 1) / sharing : 0;
    }
    [[maybe_unused]] const FlushDenormals mode;
    Tasks mine(*this, 0);
    if (!together) {
        work(context, mine);
        return;
    }
    work_ = work;
    context_ = context;
    door_.fetch_add(kOnceMore | kOpen, std::memory_order_release); // it was shut, and nobody inside
    door_.notify_all();
    work(context, mine);
    door_.fetch_and(~kOpen, std::memory_order_relaxed);
    wait_until(door_, [](uint32_t door) { return (door & kInside) == 0; });
}

// The life of a helper.
void Team::help(int thread) {
    [[maybe_unused]] const FlushDenormals mode;
    uint32_t seen = 0; // the opening it was at last
    for (;;) {
        uint32_t door = wait_until(
            door_, [&](uint32_t value) { return (value & kOpen) != 0 && value / kOnceMore != seen; });
        if (!door_.compare_exchange_weak(door, door + 1, std::memory_order_acquire)) {
            continue;
        }
        seen = door / kOnceMore;
        if (work_ == nullptr) {
            return;
        }
        Tasks tasks(*this, thread);
        work_(context_, tasks);
        const uint32_t left = door_.fetch_sub(1, std::memory_order_release) - 1;
        if ((left & (kInside | kOpen)) == 0) { // the caller may have gone to sleep meanwhile
            door_.notify_all();
        }
    }
}

int usable_processors() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return CPU_COUNT(&set);
    }
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count > 0 ? static_cast<int>(count) : 1;
}

} // namespace skintern
