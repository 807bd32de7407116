// comm.h — several processes that train one model on shares of its rows.
//
// Data parallelism: each of P processes holds all parameters and takes its share of an update's rows. The gradient of the
// update is a sum over rows, so it is the sum of what the processes have,
//
//   dW = dW_0 + dW_1 + ... + dW_{P-1}      all-reduced once an update, adapters only: a few MB
//
// and every process then makes the same AdamW step. Nothing else is exchanged but the loss, and the state at the start.
//
// `Comm` itself is the group of one process, in which all of this does nothing. mpi_comm.cpp is a group that mpirun started;
// nccl_comm.cpp adds up on the GPUs of such a group. No other file names MPI or NCCL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels.h"

namespace skintern {

class Comm {
public:
    Comm() = default;
    virtual ~Comm();
    Comm(const Comm&) = delete;
    Comm& operator=(const Comm&) = delete;

    // Process 0 leads: it alone writes files and speaks.
    virtual int rank() const { return 0; }
    virtual int size() const { return 1; }
    bool leads() const { return rank() == 0; }
    // The number of this process among those on its machine.
    virtual int local_rank() const { return 0; }
    // Threads for this process's share of the machine's processors; 0: all of them.
    virtual int threads() const { return 0; }

    // The calls below are made by all processes in the same order. Sums have the same bits everywhere.

    // data[i] = sum over processes of data[i], in the memory of `kernels`.
    virtual void all_reduce_sum(Kernels& kernels, real* data /* (n) in place */, int64_t n);
    // data[i] = that of process 0, on the host.
    virtual void all_reduce_sum(double* data /* (n) in place */, int64_t n);
    virtual void broadcast(void* data, size_t bytes);

    // The end of a process that cannot go on, for main(): says the sentence on stderr and returns the exit status. In a
    // group it ends the other processes as well, and does not return; the first on each machine to fail speaks for all.
    virtual int fail(int status, const std::string& sentence);
};

// The group that this process was started in by mpirun or its like, which its environment tells: plain `skintern` never
// calls MPI. Throws Error when it is one of several, and the build has no MPI.
std::unique_ptr<Comm> open_comm();

// The same group for a model on `device`: with "cuda" each process takes the GPU of its local rank, and sums are made by NCCL
// where the build has it (else by MPI, through the host). Before the first call of CUDA. `processes` stays in use.
// Null where there is nothing to change.
std::unique_ptr<Comm> open_device_comm(Comm& processes, const std::string& device);

// The value of CUDA_VISIBLE_DEVICES that shows a process one GPU: the local_rank-th of those that `visible` lists, or of
// all of the machine when it is empty. Throws Error when it lists fewer.
std::string own_gpu(const std::string& visible, int local_rank);

// ---- implementations ---------------------------------------------------------------------------------------------

std::unique_ptr<Comm> make_mpi_comm();
std::unique_ptr<Comm> make_nccl_comm(Comm& processes);

} // namespace skintern
