// accesses.cpp — every load and store of a kernel.
//
// The .cu files are compiled with -fsanitize=thread and -fsanitize=alignment,bounds: the compiler calls a function before each
// access of memory, and where an address is not aligned for its type or an index is none of its array's. The libraries that
// define these functions are not linked. They are here, and look up what a thread of a GPU may touch.
//
// What the compiler keeps in registers is not seen, and needs not be.
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "accesses.h"
#include "device_memory.h"
#include "fibres.h"
#include "shared_memory.h"
#include "symbols.h"

extern "C" char __executable_start, data_start; // by the linker: code and constants, then what can be written
extern char __start_cuda_host_indices, __stop_cuda_host_indices;

namespace cuda_host {

namespace {

struct Arguments {
    uintptr_t begin = 0;
    size_t bytes = 0;
};
Arguments kernel_arguments;

bool is_between(uintptr_t address, const char& begin, const char& end) {
    return address - reinterpret_cast<uintptr_t>(&begin) < static_cast<size_t>(&end - &begin);
}

// Neither on the thread's stack, nor device or shared memory.
void access_other(uintptr_t address, size_t bytes, Access access, const void* code) {
    if (access == Access::read &&
        (is_between(address, __executable_start, data_start) || address - kernel_arguments.begin < kernel_arguments.bytes)) {
        return;
    }
    fail("out of bounds: a %s of %zu bytes at %#zx, which is memory of the host or nobody's%s",
         access == Access::read ? "read" : "write", bytes, static_cast<size_t>(address), at_code(code).c_str());
}

inline void access(const void* pointer, size_t bytes, Access access, const void* code) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    if (address - running_stack < kStackBytes || running_stack == 0) {
        return;
    }
    if (is_device(address)) {
        if (!is_allocated(address, bytes)) {
            fail("out of bounds: a %s of %zu bytes %s%s", access == Access::read ? "read" : "write", bytes,
                 device_place(address).c_str(), at_code(code).c_str());
        }
    } else if (access == Access::read && is_between(address, __start_cuda_host_indices, __stop_cuda_host_indices)) {
        return;
    } else if (is_shared(address)) {
        access_shared(address, bytes, access, false, code);
    } else {
        access_other(address, bytes, access, code);
    }
}

} // namespace

void set_arguments(const void* begin, size_t bytes) { kernel_arguments = {reinterpret_cast<uintptr_t>(begin), bytes}; }

void read_memory(const void* from, size_t bytes, const void* code) { access(from, bytes, Access::read, code); }
void atomic_access(const void* at, size_t bytes) { access(at, bytes, Access::atomic, __builtin_return_address(0)); }

} // namespace cuda_host

// ---- what the thread sanitizer calls -----------------------------------------------------------------------------------------

using cuda_host::Access;

extern "C" {

#define ACCESSES(bytes)                                                                                                        \
    void __tsan_read##bytes(void* p) { cuda_host::access(p, bytes, Access::read, __builtin_return_address(0)); }               \
    void __tsan_write##bytes(void* p) { cuda_host::access(p, bytes, Access::write, __builtin_return_address(0)); }             \
    void __tsan_unaligned_read##bytes(void* p) { cuda_host::access(p, bytes, Access::read, __builtin_return_address(0)); }     \
    void __tsan_unaligned_write##bytes(void* p) { cuda_host::access(p, bytes, Access::write, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void* p, size_t bytes) { cuda_host::access(p, bytes, Access::read, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t bytes) { cuda_host::access(p, bytes, Access::write, __builtin_return_address(0)); }
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// Of the host's code in the same files: static variables and shared pointers.
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_load(const volatile int* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_add(volatile int* p, int value, int) { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); }

// ---- what the undefined behaviour sanitizer calls (its handlers have these arguments) ----------------------------------------

struct SourceLocation {
    const char* file;
    uint32_t line, column;
};
struct TypeDescriptor {
    uint16_t kind, info;
    char name[1]; // in quotes
};
struct TypeMismatch {
    SourceLocation where;
    const TypeDescriptor* type;
    unsigned char log_alignment, kind;
};
struct OutOfBounds {
    SourceLocation where;
    const TypeDescriptor *array, *index;
};

void __ubsan_handle_type_mismatch_v1(const TypeMismatch* data, uintptr_t address) {
    if (cuda_host::in_kernel()) {
        cuda_host::fail("misaligned: %s at %#zx is not aligned to %d bytes, %s:%u", data->type->name,
                        static_cast<size_t>(address), 1 << data->log_alignment, data->where.file, data->where.line);
    }
}
void __ubsan_handle_out_of_bounds(const OutOfBounds* data, uintptr_t index) {
    if (cuda_host::in_kernel()) {
        cuda_host::fail("out of bounds: index %zd of an array %s, %s:%u", static_cast<ptrdiff_t>(index), data->array->name,
                        data->where.file, data->where.line);
    }
}

} // extern "C"
