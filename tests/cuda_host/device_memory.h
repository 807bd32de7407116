// device_memory.h — the memory of the modelled device: a region of addresses that the host cannot touch, as it cannot touch
// a GPU's. Between kernels and copies its pages are not accessible, and a host that reads or writes them is told so.
//
// Each allocation lies on pages of its own, followed by one that belongs to nobody, at an address that is a multiple of 256
// and of nothing more: that is what cudaMalloc promises. Freed pages are used again as late as possible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_host {

constexpr size_t kDeviceBytes = size_t{8} << 30;

// Null when so much is not free.
void* device_alloc(size_t bytes);
bool device_free(void* ptr); // whether `ptr` is what device_alloc returned and nobody has freed
size_t device_free_bytes();

// Whether the address lies in the region, allocated or not.
bool is_device(const void* ptr);

// Whether all `bytes` bytes lie in one allocation.
bool is_allocated(uintptr_t address, size_t bytes);

// Where an address lies, for messages: "4 bytes past the end of a device allocation of 400 bytes".
std::string device_place(uintptr_t address);

// While one lives, the pages are accessible.
class DeviceAccess {
public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess&) = delete;
    DeviceAccess& operator=(const DeviceAccess&) = delete;
};

} // namespace cuda_host
