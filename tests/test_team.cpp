// test_team.cpp — the threads that share an op's work: every task once, whoever comes, and nobody is waited for.
#include "test.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "team.h"

using namespace skintern;

namespace {

// How often each task was done.
std::vector<int> done_by(Team& team, int64_t count, bool together) {
    std::vector<std::atomic<int>> done(static_cast<size_t>(count));
    team.share(count, together, [&](Tasks& tasks) {
        for (int64_t task; tasks.take(task);) {
            done[static_cast<size_t>(task)]++;
        }
    });
    return {done.begin(), done.end()};
}

// Until so many have come, or a second is over.
void wait_for(const std::atomic<int>& come, int wanted) {
    const auto begin = std::chrono::steady_clock::now();
    while (come < wanted && std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)) {
        std::this_thread::yield();
    }
}

} // namespace

TEST_CASE("each task of a team is done once, with any number of threads and tasks") {
    for (const int threads : {1, 2, 3, 5, 17, 33}) {
        Team team(threads);
        for (const int64_t count : {0, 1, 2, 3, 5, 17, 33, 1000}) {
            CAPTURE(threads, count);
            for (int again = 0; again < 50; again++) {
                const std::vector<int> once(static_cast<size_t>(count), 1);
                REQUIRE(done_by(team, count, true) == once);
                REQUIRE(done_by(team, count, false) == once);
                std::vector<std::atomic<int>> each(static_cast<size_t>(count));
                team.each(count, true, [&](int64_t i) { each[static_cast<size_t>(i)]++; });
                REQUIRE(std::vector<int>(each.begin(), each.end()) == once);
            }
        }
    }
}

TEST_CASE("what a task wrote is there when the team has returned") {
    Team team(4);
    std::vector<int64_t> squares(1000); // not atomic: a sanitizer would see a task that is still at work
    int64_t wrong = 0;
    for (int64_t round = 0; round < 2000; round++) {
        team.each(64, true, [&](int64_t i) { squares[static_cast<size_t>(i)] = i * i + round; });
        for (int64_t i = 0; i < 64; i++) {
            wrong += squares[static_cast<size_t>(i)] != i * i + round;
        }
    }
    REQUIRE(wrong == 0);
}

TEST_CASE("threads that sleep are woken, and take part") {
    Team team(2);
    int helped = 0;
    for (int round = 0; round < 20; round++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1)); // long enough that the helper sleeps
        std::atomic<int> threads_seen = 0;
        team.share(2, true, [&](Tasks& tasks) {
            bool first = true;
            for (int64_t task; tasks.take(task);) {
                threads_seen += first;
                first = false;
                wait_for(threads_seen, 2);
            }
        });
        helped += threads_seen == 2;
    }
    REQUIRE(helped == 20);
}

TEST_CASE("one thread does everything when the others are late") {
    Team team(3);
    for (int round = 0; round < 20; round++) {
        std::atomic<bool> all_done = false;
        int64_t by_caller = 0;
        team.share(100, true, [&](Tasks& tasks) {
            while (tasks.thread() > 0 && !all_done) { // as if the processor were taken from it
                std::this_thread::yield();
            }
            for (int64_t task; tasks.take(task);) {
                by_caller += tasks.thread() == 0;
            }
            all_done = true;
        });
        REQUIRE(by_caller == 100);
    }
}

TEST_CASE("a team of no threads is refused") {
    REQUIRE_THROWS_AS(Team(0), Error);
    REQUIRE_THROWS_AS(Team(1 << 15), Error);
}

#if defined(__SSE2__)
TEST_CASE("a denormal result is 0 in every task, and outside of it what it was before") {
    const volatile float smallest_normal = 0x1p-126f, denormal = 0x1p-130f;
    for (const int threads : {1, 2, 5}) {
        Team team(threads);
        for (const bool together : {false, true}) {
            CAPTURE(threads, together);
            const size_t tasks = static_cast<size_t>(threads);
            std::vector<float> made(tasks, -1.0f), read(tasks, -1.0f);
            std::atomic<int> come = 0;
            team.each(threads, together, [&](int64_t i) {
                come++;
                wait_for(come, together ? threads : 1); // a task for each thread
                made[static_cast<size_t>(i)] = smallest_normal * 0.5f;
                read[static_cast<size_t>(i)] = denormal * 0x1p10f;
            });
            REQUIRE(made == std::vector<float>(tasks));
            REQUIRE(read == std::vector<float>(tasks, 0x1p-120f));
            REQUIRE(smallest_normal * 0.5f == 0x1p-127f);
        }
    }
}
#endif
