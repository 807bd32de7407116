// mpi_comm.cpp — a group of processes that mpirun started. The only file that knows MPI; compiled where the build has it.
//
// How a run ends when one of its processes cannot go on:
//   - it fails with an Error: main() calls fail(), which says why and calls MPI_Abort; mpirun ends the others;
//   - it is killed or crashes: mpirun notices, and ends the others.
// mpirun ends a process by SIGTERM, and by SIGKILL a little later. SIGTERM is heard by a thread of its own, because the main
// one may be inside MPI, waiting for a process that is no more. The first process of a machine that has something to say sets
// a flag in memory that all of them share, and the others are silent: the user reads one sentence.
//
// Not done: a process that hangs without dying is waited for.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <mpi.h>

#include "distributed/comm.h"
#include "support/check.h"
#include "team.h"

namespace skintern {

static_assert(sizeof(real) == sizeof(float), "sums are made of MPI_FLOAT");

namespace {

constexpr int64_t kPiece = int64_t{1} << 20; // numbers of one MPI call, which counts in int
constexpr std::chrono::milliseconds kListenEvery(100);

sigset_t only_sigterm() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    return set;
}

class MpiComm final : public Comm {
public:
    MpiComm();
    ~MpiComm() override;

    int rank() const override { return rank_; }
    int size() const override { return size_; }
    int local_rank() const override { return local_rank_; }
    int threads() const override { return threads_; }
    void all_reduce_sum(Kernels& kernels, real* data, int64_t n) override;
    void all_reduce_sum(double* data, int64_t n) override;
    void broadcast(void* data, size_t bytes) override;
    int fail(int status, const std::string& sentence) override;

private:
    void share_flag();
    int share_of_processors() const;
    void listen(const std::stop_token& stop);
    bool say_first(const std::string& sentence);

    int rank_ = 0, size_ = 1, local_rank_ = 0, threads_ = 1;
    MPI_Comm local_ = MPI_COMM_NULL; // the processes on this machine
    MPI_Win window_ = MPI_WIN_NULL;
    int* has_spoken_ = nullptr; // in memory of all processes on this machine
    std::vector<real> host_;    // a piece of a sum
    std::jthread listener_;
};

// ---- beginning and end -------------------------------------------------------------------------------------------

MpiComm::MpiComm() {
    const sigset_t set = only_sigterm();
    pthread_sigmask(SIG_BLOCK, &set, nullptr); // before there are threads, which inherit it
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided); // whatever fails in MPI ends the program
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local_);
    MPI_Comm_rank(local_, &local_rank_);
    share_flag();
    threads_ = share_of_processors();
    listener_ = std::jthread([this](const std::stop_token& stop) { listen(stop); });
}

MpiComm::~MpiComm() {
    listener_ = std::jthread(); // asks it to stop, and waits
    MPI_Win_free(&window_);
    MPI_Comm_free(&local_);
    MPI_Finalize();
}

void MpiComm::share_flag() {
    MPI_Aint bytes = local_rank_ == 0 ? sizeof(int) : 0;
    MPI_Win_allocate_shared(bytes, sizeof(int), MPI_INFO_NULL, local_, &has_spoken_, &window_);
    int unit = 0;
    MPI_Win_shared_query(window_, 0, &bytes, &unit, &has_spoken_);
    if (local_rank_ == 0) {
        *has_spoken_ = 0;
    }
    MPI_Barrier(local_);
}

// mpirun may bind each process to processors of its own, or leave all of them to all: a processor that k processes may use
// counts as 1/k for each.
int MpiComm::share_of_processors() const {
#ifdef __linux__
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) {
        std::vector<int> users(CPU_SETSIZE);
        for (int p = 0; p < CPU_SETSIZE; p++) {
            users[static_cast<size_t>(p)] = CPU_ISSET(p, &mine) ? 1 : 0;
        }
        MPI_Allreduce(MPI_IN_PLACE, users.data(), CPU_SETSIZE, MPI_INT, MPI_SUM, local_);
        double share = 1e-6; // three thirds are one
        for (int p = 0; p < CPU_SETSIZE; p++) {
            share += CPU_ISSET(p, &mine) ? 1.0 / users[static_cast<size_t>(p)] : 0.0;
        }
        return std::max(1, static_cast<int>(share));
    }
#endif
    int neighbours = 1;
    MPI_Comm_size(local_, &neighbours);
    return std::max(1, usable_processors() / neighbours);
}

// ---- sums --------------------------------------------------------------------------------------------------------

void MpiComm::all_reduce_sum(Kernels& kernels, real* data, int64_t n) {
    for (int64_t begin = 0; begin < n; begin += kPiece) {
        const int64_t count = std::min(kPiece, n - begin);
        const size_t bytes = static_cast<size_t>(count) * sizeof(real);
        host_.resize(static_cast<size_t>(count));
        kernels.download(host_.data(), data + begin, bytes);
        MPI_Allreduce(MPI_IN_PLACE, host_.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        kernels.upload(data + begin, host_.data(), bytes);
    }
}

void MpiComm::all_reduce_sum(double* data, int64_t n) {
    for (int64_t begin = 0; begin < n; begin += kPiece) {
        const int count = static_cast<int>(std::min(kPiece, n - begin));
        MPI_Allreduce(MPI_IN_PLACE, data + begin, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    }
}

void MpiComm::broadcast(void* data, size_t bytes) {
    char* at = static_cast<char*>(data);
    for (const char* end = at + bytes; at < end;) {
        const int64_t count = std::min<int64_t>(kPiece, end - at);
        MPI_Bcast(at, static_cast<int>(count), MPI_BYTE, 0, MPI_COMM_WORLD);
        at += count;
    }
}

// ---- failing -----------------------------------------------------------------------------------------------------

// Whether this process was the first of its machine, and so the one to speak.
bool MpiComm::say_first(const std::string& sentence) {
    const bool first = std::atomic_ref<int>(*has_spoken_).exchange(1) == 0;
    return first && Comm::fail(0, sentence) == 0;
}

int MpiComm::fail(int status, const std::string& sentence) {
    if (!say_first(sentence)) {
        std::this_thread::sleep_for(std::chrono::seconds(1)); // or mpirun might end the one that speaks while it does
    }
    MPI_Abort(MPI_COMM_WORLD, status);
    return status;
}

void MpiComm::listen(const std::stop_token& stop) {
    const sigset_t set = only_sigterm();
    const timespec patience = {0, std::chrono::nanoseconds(kListenEvery).count()};
    while (!stop.stop_requested()) {
        if (sigtimedwait(&set, nullptr, &patience) == SIGTERM) {
            say_first(format("skintern: process %d of %d was told to end, because another one died or the run was stopped; "
                             "--resume continues from the last saved state", rank_, size_));
            _exit(128 + SIGTERM);
        }
    }
}

} // namespace

std::unique_ptr<Comm> make_mpi_comm() { return std::make_unique<MpiComm>(); }

} // namespace skintern
