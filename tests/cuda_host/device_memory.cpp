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

constexpr size_t kPage = 4096;
constexpr size_t kRegionPages = (kDeviceBytes + kDeviceBytes / 2) / kPage; // room for the pages between allocations
constexpr size_t kWindowPages = (size_t{32} << 20) / kPage; // few pages are in use as a rule: opening them all is quick then
constexpr size_t kIntoPage = 256; // where in its first page an allocation begins

struct Allocation {
    uintptr_t begin = 0;
    size_t bytes = 0, first_page = 0, pages = 0;
    bool live = false;
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
    const uintptr_t region = reinterpret_cast<uintptr_t>(reserve(kRegionPages * kPage, PROT_NONE));
    // Of each page: a number in `allocations`, 0: nobody's.
    uint32_t* const owner = static_cast<uint32_t*>(reserve(kRegionPages * sizeof(uint32_t), PROT_READ | PROT_WRITE));
    std::vector<Allocation> allocations = std::vector<Allocation>(1);
    std::vector<uint32_t> unused; // numbers in `allocations` of what was freed, the oldest first
    size_t next_page = 0, pages_in_use = 0, used = 0;
    int open = 0;
};

Device d; // the one there is

// ---- a host that touches device memory -------------------------------------------------------------------------------------

struct sigaction others_action;

void fault(int signal, siginfo_t* info, void*) {
    if (d.open == 0 && is_device(info->si_addr)) {
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
        mprotect(reinterpret_cast<void*>(d.region), d.pages_in_use * kPage, rights);
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
    uint32_t number = static_cast<uint32_t>(d.allocations.size());
    if (d.unused.size() > kRemembered) {
        number = d.unused.front();
        d.unused.erase(d.unused.begin());
    } else {
        d.allocations.push_back({});
    }
    d.allocations[number] = {d.region + first * kPage + kIntoPage, bytes, first, pages, true};
    std::fill_n(d.owner + first, pages, number);
    d.next_page = first + pages;
    d.used += bytes;
    if (d.pages_in_use < first + pages) {
        d.pages_in_use = first + pages;
        protect(d.open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
    return reinterpret_cast<void*>(d.allocations[number].begin);
}

bool device_free(void* ptr) {
    if (!is_device(ptr)) {
        return false;
    }
    const uint32_t number = d.owner[(reinterpret_cast<uintptr_t>(ptr) - d.region) / kPage];
    Allocation& a = d.allocations[number];
    if (number == 0 || a.begin != reinterpret_cast<uintptr_t>(ptr)) {
        return false;
    }
    a.live = false;
    d.used -= a.bytes;
    d.unused.push_back(number);
    std::fill_n(d.owner + a.first_page, a.pages, 0u);
    madvise(reinterpret_cast<void*>(d.region + a.first_page * kPage), a.pages * kPage, MADV_DONTNEED);
    return true;
}

size_t device_free_bytes() { return kDeviceBytes - d.used; }

bool is_device(const void* ptr) { return reinterpret_cast<uintptr_t>(ptr) - d.region < kRegionPages * kPage; }

bool is_allocated(uintptr_t address, size_t bytes) {
    const uint32_t number = d.owner[(address - d.region) / kPage];
    const Allocation& a = d.allocations[number]; // number 0 has no bytes
    return address >= a.begin && address - a.begin < a.bytes && bytes <= a.bytes - (address - a.begin);
}

std::string device_place(uintptr_t address) {
    // Of the allocations that there are, else of those that there were, the one that is nearest.
    const Allocation* nearest = nullptr;
    const auto distance = [address](const Allocation& a) {
        return address < a.begin ? a.begin - address : address < a.begin + a.bytes ? 0 : address - (a.begin + a.bytes);
    };
    for (const Allocation& a : d.allocations) {
        const bool candidate = a.begin != 0 && (a.live || distance(a) == 0);
        if (candidate && (nearest == nullptr || distance(a) < distance(*nearest))) {
            nearest = &a;
        }
    }
    if (nearest == nullptr) {
        return "nothing is allocated on the device";
    }
    const size_t begin = nearest->begin, end = nearest->begin + nearest->bytes;
    const std::string whose = (nearest->live ? " a device allocation of " : " a freed device allocation of ") +
                              std::to_string(nearest->bytes) + " bytes";
    return address < begin ? std::to_string(begin - address) + " bytes before" + whose
           : address < end ? "at byte " + std::to_string(address - begin) + " of" + whose
                           : std::to_string(address - end) + " bytes past the end of" + whose;
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
