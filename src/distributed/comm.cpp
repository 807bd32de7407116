// comm.cpp — the group of one process, and which group this process belongs to.
#include "distributed/comm.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "support/check.h"

namespace skintern {

// ---- one process -------------------------------------------------------------------------------------------------

Comm::~Comm() = default;

void Comm::all_reduce_sum(Kernels&, real*, int64_t) {}

void Comm::all_reduce_sum(double*, int64_t) {}

void Comm::broadcast(void*, size_t) {}

int Comm::fail(int status, const std::string& sentence) {
    std::fprintf(stderr, "%s\n", sentence.c_str());
    return status;
}

// ---- which group -------------------------------------------------------------------------------------------------

namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// What launchers leave in the environment: Open MPI's mpirun, the PMI of MPICH and Intel MPI, PMIx (which srun speaks, and
// which does not say how many there are).
bool was_launched() {
    for (const char* size : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
        if (!environment(size).empty()) {
            return environment(size) != "1";
        }
    }
    return !environment("PMIX_RANK").empty();
}

} // namespace

std::unique_ptr<Comm> open_comm() {
    if (!was_launched()) {
        return std::make_unique<Comm>();
    }
#ifdef SKINTERN_MPI
    return make_mpi_comm();
#else
    CHECK(false, "several processes were started, and this build has no MPI to join them (make deps, then make)");
#endif
}

std::string own_gpu(const std::string& visible, int local_rank) {
    if (visible.empty()) {
        return std::to_string(local_rank);
    }
    std::vector<std::string> gpus;
    std::istringstream list(visible);
    for (std::string gpu; std::getline(list, gpu, ',');) {
        gpus.push_back(gpu);
    }
    CHECK(static_cast<size_t>(local_rank) < gpus.size(),
          "CUDA_VISIBLE_DEVICES lists %zu GPUs, and more processes than that were started on this machine", gpus.size());
    return gpus[static_cast<size_t>(local_rank)];
}

std::unique_ptr<Comm> open_device_comm(Comm& processes, const std::string& device) {
    if (processes.size() == 1 || device != "cuda") {
        return nullptr;
    }
    setenv("CUDA_VISIBLE_DEVICES", own_gpu(environment("CUDA_VISIBLE_DEVICES"), processes.local_rank()).c_str(), 1);
#ifdef SKINTERN_NCCL
    return make_nccl_comm(processes);
#else
    return nullptr;
#endif
}

} // namespace skintern
