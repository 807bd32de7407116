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

// Of every page of the region the addresses that are allocated there, for the look-up of each access: none, or those of the
// one allocation that has the page.
struct Extent {
    uintptr_t begin = 0;
    size_t bytes = 0;
};
constexpr size_t kPage = 4096;
constexpr size_t kRegionPages = (kDeviceBytes + kDeviceBytes / 2) / kPage; // room for the pages between allocations
struct Region {
    uintptr_t begin;
    const uint32_t* owner; // of each page: a number in `extents`, 0: nobody's
    const Extent* extents;
};
extern Region region;

// Whether the address lies in the region, allocated or not.
inline bool is_device(uintptr_t address) { return address - region.begin < kRegionPages * kPage; }

// Whether all `bytes` bytes, of which the first lies in the region, lie in one allocation.
inline bool is_allocated(uintptr_t address, size_t bytes) {
    const Extent& extent = region.extents[region.owner[(address - region.begin) / kPage]];
    const size_t at = address - extent.begin;
    return at < extent.bytes && bytes <= extent.bytes - at;
}

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
