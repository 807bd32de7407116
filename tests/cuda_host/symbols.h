// symbols.h — names for addresses of this program, from its own symbol table (ELF): which function, which shared variable.
// In a program without symbols every name is "" and every size 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_host {

// Of the code at `address`, for the end of a message: ", at kernel<float>+0x1c (addr2line 0x5a3b1)"; of null "".
std::string at_code(const void* address);

// The function that begins at `address`, without its parameters: "kernel<float>".
std::string function_name(const void* address);

// Of the static shared memory at `address`: "partial+0x80", or "" where no variable lies.
std::string shared_variable_name(uintptr_t address);

// Bytes of the static shared variables that the function at `kernel` declares.
size_t static_shared_bytes(const void* kernel);

} // namespace cuda_host
