// check_allocations.cpp — see check_allocations.h. The tests' own operator new, which remembers the largest size; malloc
// does the work, so that the sanitizers still see every byte.
#include "check_allocations.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

thread_local size_t largest = 0; // bytes

void* allocate(size_t size) {
    largest = std::max(largest, size);
    void* memory = std::malloc(size > 0 ? size : 1);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

} // namespace

void* operator new(size_t size) {
    return allocate(size);
}
void* operator new[](size_t size) {
    return allocate(size);
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { // std::stable_sort asks so
    largest = std::max(largest, size);
    return std::malloc(size > 0 ? size : 1);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
    std::free(memory);
}

namespace skintern {

void forget_allocations() {
    largest = 0;
}
size_t largest_allocation() {
    return largest;
}

} // namespace skintern
