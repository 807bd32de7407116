// nccl_comm.cpp — a group of processes with a GPU each that adds up gradients where they lie, by NCCL.
//
// Everything else (who is who, the loss, the state at the start, failing) goes through the group of processes it is made
// from, and so does the id by which the GPUs find each other. Compiled where the build has CUDA and NCCL. It has been compiled
// and linked, not executed: whoever has two GPUs runs it first.
#include <exception>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "distributed/comm.h"
#include "support/check.h"

namespace skintern {

static_assert(sizeof(real) == sizeof(float), "sums are made of ncclFloat");

namespace {

void check(cudaError_t result) { CHECK(result == cudaSuccess, "CUDA: %s", cudaGetErrorString(result)); }

void check(ncclResult_t result) { CHECK(result == ncclSuccess, "NCCL: %s", ncclGetErrorString(result)); }

class NcclComm final : public Comm {
public:
    explicit NcclComm(Comm& processes) : processes_(processes) {
        int gpus = 0;
        check(cudaGetDeviceCount(&gpus));
        CHECK(gpus > 0, "process %d of this machine has no GPU: start as many as there are GPUs", local_rank());
        check(cudaSetDevice(0)); // the only one that own_gpu() left to see
        ncclUniqueId id = {};
        if (leads()) {
            check(ncclGetUniqueId(&id));
        }
        processes_.broadcast(&id, sizeof id);
        check(ncclCommInitRank(&nccl_, size(), id, rank()));
    }
    // All processes have to call it, so one that fails leaves it to the end of its process: fail() is still to come.
    ~NcclComm() override {
        if (std::uncaught_exceptions() == 0) {
            ncclCommDestroy(nccl_);
        }
    }

    int rank() const override { return processes_.rank(); }
    int size() const override { return processes_.size(); }
    int local_rank() const override { return processes_.local_rank(); }
    int threads() const override { return processes_.threads(); }
    void all_reduce_sum(double* data, int64_t n) override { processes_.all_reduce_sum(data, n); }
    void broadcast(void* data, size_t bytes) override { processes_.broadcast(data, bytes); }
    int fail(int status, const std::string& sentence) override { return processes_.fail(status, sentence); }

    void all_reduce_sum(Kernels&, real* data, int64_t n) override {
        check(cudaDeviceSynchronize()); // the backend computes on a stream of its own
        check(ncclAllReduce(data, data, static_cast<size_t>(n), ncclFloat, ncclSum, nccl_, nullptr));
        check(cudaStreamSynchronize(nullptr)); // a process that died meanwhile: mpirun ends this one
    }

private:
    Comm& processes_;
    ncclComm_t nccl_ = nullptr;
};

} // namespace

std::unique_ptr<Comm> make_nccl_comm(Comm& processes) { return std::make_unique<NcclComm>(processes); }

} // namespace skintern
