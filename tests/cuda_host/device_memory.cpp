// device_memory.cpp — see device_memory.h.
#include "device_memory.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

namespace cuda_host {
namespace {

constexpr size_t kWindowPages = (size_t{32} << 20) / kPage; // few pages are in use as a rule: opening them all is quick then
constexpr size_t kIntoPage = 256;                           // where in its first page an allocation begins

// Where the extent of the same number lies. `bytes`: also when it has been freed, and the extent is empty.
struct Allocation {
    size_t first_page = 0, pages = 0, bytes = 0;
};

// Pages of zeros that cost nothing until they are written.
void* reserve(size_t bytes, int rights) {
    void* pages = mmap(nullptr, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        std::fprintf(stderr, "cuda_host: no room for %zu bytes of addresses: %s\n", bytes, std::strerror(errno));
        std::abort();
    }
    return pages;
}

struct Device {
    // Of each page: a number in `extents`, 0: nobody's.
    uint32_t* const owner = static_cast<uint32_t*>(reserve(kRegionPages * sizeof(uint32_t), PROT_READ | PROT_WRITE));
    std::vector<Extent> extents = std::vector<Extent>(1);
    std::vector<Allocation> allocations = std::vector<Allocation>(1);
    std::vector<uint32_t> unused; // numbers of what was freed, the oldest first
    size_t next_page = 0, pages_in_use = 0, used = 0;
    int open = 0;
};

Device d; // the one there is

} // namespace

Region region = {reinterpret_cast<uintptr_t>(reserve(kRegionPages * kPage, PROT_NONE)), d.owner, d.extents.data()};

namespace {

// ---- a host that touches device memory -------------------------------------------------------------------------------------

struct sigaction others_action;

void fault(int signal, siginfo_t* info, void*) {
    if (d.open == 0 && is_device(reinterpret_cast<uintptr_t>(info->si_addr))) {
        char text[400];
        const int length = std::snprintf(text, sizeof text,
                                         "cuda_host: the host touches device memory at %p (%s): only kernels and copies may\n",
                                         info->si_addr, device_place(reinterpret_cast<uintptr_t>(info->si_addr)).c_str());
        [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, static_cast<size_t>(length));
    }
    sigaction(signal, &others_action, nullptr); // what ended the program without us ends it now
}

// Test frameworks take this signal too, and for themselves.
void watch_faults() {
    struct sigaction now = {};
    sigaction(SIGSEGV, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != fault) {
        others_action = now;
        struct sigaction own = {};
        own.sa_sigaction = fault;
        own.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &own, nullptr);
    }
}

void protect(int rights) {
    if (d.pages_in_use > 0) {
        mprotect(reinterpret_cast<void*>(region.begin), d.pages_in_use * kPage, rights);
    }
}

// ---- allocation ------------------------------------------------------------------------------------------------------------

// The first of `pages` pages that are nobody's, looked for from `from` on and below `end`; kRegionPages: there are none.
size_t free_pages(size_t from, size_t end, size_t pages) {
    for (size_t p = from; p + pages <= end;) {
        const uint32_t* first = d.owner + p;
        const uint32_t* taken = std::find_if(first, first + pages, [](uint32_t owner) { return owner != 0; });
        if (taken == first + pages) {
            return p;
        }
        const Allocation& in_the_way = d.allocations[*taken];
        p = in_the_way.first_page + in_the_way.pages;
    }
    return kRegionPages;
}

} // namespace

void* device_alloc(size_t bytes) {
    if (bytes > kDeviceBytes - d.used) {
        return nullptr;
    }
    const size_t pages = (kIntoPage + bytes + kPage - 1) / kPage + 1; // the last is for what goes past the end
    size_t first = free_pages(d.next_page, kWindowPages, pages);
    first = first == kRegionPages ? free_pages(0, kWindowPages, pages) : first;
    first = first == kRegionPages ? free_pages(0, kRegionPages, pages) : first;
    if (first == kRegionPages) {
        return nullptr;
    }
    constexpr size_t kRemembered = 256; // freed allocations that messages still know
    uint32_t number = static_cast<uint32_t>(d.extents.size());
    if (d.unused.size() > kRemembered) {
        number = d.unused.front();
        d.unused.erase(d.unused.begin());
    } else {
        d.extents.push_back({});
        d.allocations.push_back({});
        region.extents = d.extents.data();
    }
    d.extents[number] = {region.begin + first * kPage + kIntoPage, bytes};
    d.allocations[number] = {first, pages, bytes};
    std::fill_n(d.owner + first, pages, number);
    d.next_page = first + pages;
    d.used += bytes;
    if (d.pages_in_use < first + pages) {
        d.pages_in_use = first + pages;
        protect(d.open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
    return reinterpret_cast<void*>(d.extents[number].begin);
}

bool device_free(void* ptr) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(ptr);
    if (!is_device(address)) {
        return false;
    }
    const uint32_t number = d.owner[(address - region.begin) / kPage];
    const Allocation& a = d.allocations[number];
    if (number == 0 || d.extents[number].begin != address) {
        return false;
    }
    d.used -= a.bytes;
    d.extents[number].bytes = 0;
    d.unused.push_back(number);
    std::fill_n(d.owner + a.first_page, a.pages, 0u);
    madvise(reinterpret_cast<void*>(region.begin + a.first_page * kPage), a.pages * kPage, MADV_DONTNEED);
    return true;
}

size_t device_free_bytes() { return kDeviceBytes - d.used; }

std::string device_place(uintptr_t address) {
    // Of the allocations that there are, and of those freed ones that had this address, the nearest.
    size_t nearest = 0;
    const auto begin = [](size_t n) { return d.extents[n].begin; };
    const auto end = [](size_t n) { return d.extents[n].begin + d.allocations[n].bytes; };
    const auto distance = [&](size_t n) {
        return address < begin(n) ? begin(n) - address : address < end(n) ? 0 : address - end(n);
    };
    for (size_t n = 1; n < d.extents.size(); n++) {
        const bool live = d.extents[n].bytes > 0;
        if ((live || distance(n) == 0) && (nearest == 0 || distance(n) < distance(nearest))) {
            nearest = n;
        }
    }
    if (nearest == 0) {
        return "on a device where nothing is allocated";
    }
    const std::string whose = (d.extents[nearest].bytes > 0 ? " a device allocation of " : " a freed device allocation of ") +
                              std::to_string(d.allocations[nearest].bytes) + " bytes";
    return address < begin(nearest) ? std::to_string(begin(nearest) - address) + " bytes before" + whose
           : address < end(nearest) ? "at byte " + std::to_string(address - begin(nearest)) + " of" + whose
                                    : std::to_string(address - end(nearest)) + " bytes past the end of" + whose;
}

DeviceAccess::DeviceAccess() {
    if (d.open++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}
DeviceAccess::~DeviceAccess() {
    if (--d.open == 0) {
        protect(PROT_NONE);
        watch_faults();
    }
}

} // namespace cuda_host
