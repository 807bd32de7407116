// symbols.h — names for addresses of this program, from its own symbol table (ELF): which function, which shared variable.
// In a program without symbols every name is "".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_host {

// Of the code at `address`, for the end of a message: ", at kernel<float>+0x1c (addr2line 0x5a3b1)"; of null "".
std::string at_code(const void* address);

// The function that begins at `address`, without its parameters: "kernel<float>".
std::string function_name(const void* address);

// A variable that a function keeps between its calls, which in a kernel is a static shared variable.
struct Variable {
    uintptr_t begin = 0;
    size_t bytes = 0;
};
std::vector<Variable> variables_of(const void* function);

// The one at `address`, of no bytes where there is none, and its name: "partial+0x80".
Variable variable_at(uintptr_t address);
std::string variable_name(uintptr_t address);

// Whether the program has symbols.
bool has_symbols();

} // namespace cuda_host
