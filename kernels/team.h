// team.h — the threads that share the work of an op.
//
// An op cuts its work in tasks whose results do not depend on who does them. Each thread begins with tasks that lie side by
// side, so that it finds in its caches what it had there, and takes over those of others when it has none left. Nobody
// waits for a thread that has not come yet: when the processor is busy with something else, those that are there do all of
// it. A thread without work looks for some for a few microseconds, then it sleeps.
//
// Where a result would be denormal (below 2^-126), a task gets 0 on x86. To make or read one costs a multiply-add a hundred
// times its time, and a softmax over scores that lie far apart makes them by the million: most p_ij are next to nothing.
//
// After the self-scheduling loops of Polychronopoulos & Kuck 1987 (Guided self-scheduling), with the ranges of Frigo et al.
// 1998 (Cilk: work is stolen, not handed out).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace skintern {

class Team;

// What a thread of the team sees of the work.
class Tasks {
public:
    // The next task to do, or false when none is left.
    bool take(int64_t& task);

    // The number of this thread, < Team::threads().
    int thread() const { return thread_; }

private:
    friend class Team;
    Tasks(Team& team, int thread) : team_(team), thread_(thread) {}

    Team& team_;
    const int thread_;
    int helped_ = 0; // how many threads' tasks are used up, its own first
};

class Team {
public:
    // `threads` with the calling one, at least 1. The others sleep until there is work. Throws Error when the system does
    // not give that many.
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int threads() const { return threads_; }

    // Calls body(tasks) in the calling thread and in those of the others that come in time; returns when each task
    // 0 .. count-1 is done. A body takes tasks until none is left, and does not throw. With one task or without
    // `together` only the calling thread works.
    template <class Body>
    void share(int64_t count, bool together, const Body& body) {
        run(count, together, [](const void* context, Tasks& tasks) { (*static_cast<const Body*>(context))(tasks); }, &body);
    }

    // Calls body(i) for each i in 0 .. count-1; neighbours are one task where there are many.
    template <class Body>
    void each(int64_t count, bool together, const Body& body) {
        const int64_t length = count / (kTasksPerThread * threads_) + 1;
        share((count + length - 1) / length, together, [&](Tasks& tasks) {
            for (int64_t task; tasks.take(task);) {
                const int64_t end = (task + 1) * length < count ? (task + 1) * length : count;
                for (int64_t i = task * length; i < end; i++) {
                    body(i);
                }
            }
        });
    }

private:
    friend class Tasks;
    using Work = void (*)(const void* context, Tasks& tasks);

    static constexpr int kTasksPerThread = 8;

    // Tasks next .. end-1 of one thread; in a cache line of its own.
    struct alignas(64) Range {
        std::atomic<int64_t> next{0};
        int64_t end = 0;
    };

    void run(int64_t count, bool together, Work work, const void* context);
    void help(int thread);
    void end();

    const int threads_;
    const std::unique_ptr<Range[]> ranges_;
    Work work_ = nullptr; // null: the threads end
    const void* context_ = nullptr;
    // The door to the work: bits 0 .. 14 count the helpers inside, bit 15 says that it is open, and the rest counts how
    // often it was opened. Who comes when it is shut does not see work_, context_ and ranges_.
    std::atomic<uint32_t> door_{0};
    std::vector<std::thread> helpers_;
};

// As many threads as the process may run at once.
int usable_processors();

} // namespace skintern
