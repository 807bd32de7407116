// shared_memory.h — the shared memory of the running block, and what its threads did with every word of it.
//
// Two accesses of a word by different threads, one of them a write and not both atomic, are a race unless something puts
// them in order: a barrier of the block, or __syncwarp between lanes of a warp. Nothing else does: neither a shuffle nor the
// order in which the runner happens to run threads. Of each word are kept the latest write and the latest reads since, with
// the time of each (FastTrack: Flanagan & Freund 2009); a read of what nobody has written in this block is an error too.
//
//   time     counts barriers of all blocks, so that what an earlier block left is older than the block, and nothing is cleared
//   clock    counts the __syncwarp of all lanes of a warp
//
// A __syncwarp of some lanes counts as one of all: a race with a lane outside of its mask may be missed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cuda_host {

constexpr size_t kMaxShared = 227 << 10; // of a block on sm_90; sm_80 has 163 KiB

enum class Access { read, write, atomic };

// A launch of `kernel`; a block of it: contents are undefined from here on, and so is what an earlier block left.
void begin_shared(const void* kernel, size_t dynamic_bytes);
void begin_shared_block();

// Of the static shared variables of a kernel.
size_t static_shared_bytes(const void* kernel);

// What a barrier of the block, and one of the warp, puts in order.
void order_block();
void order_warp(int warp);

// Whether the address lies in shared memory, static or dynamic, or close behind.
bool is_shared(uintptr_t address);

// The running thread, or with `whole_warp` every lane of its warp, accesses `bytes` bytes of shared memory.
void access_shared(uintptr_t address, size_t bytes, Access access, bool whole_warp, const void* code);

// cp.async of the running thread: from issue() on the bytes belong to nobody, and from arrive() on they are written by it.
void issue_copy(uintptr_t address, size_t bytes, const void* code);
void arrive_copy(uintptr_t address, size_t bytes);
void forget_copy(uintptr_t address, size_t bytes); // the block has ended

} // namespace cuda_host
