// symbols.cpp — see symbols.h. ELF: Tool Interface Standard, "Executable and Linking Format", 1.2; names: Itanium C++ ABI,
// 5.1 ("Z <function encoding> E <name>" is a variable of a function).
#include "symbols.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cuda_host {
namespace {

struct Symbol {
    uintptr_t address; // in this process
    size_t bytes;
    const char* name; // mangled
};

struct Symbols {
    uintptr_t base = 0;                       // what the loader added to every address of the file
    std::vector<Symbol> functions, variables; // by address
};

Symbols load() {
    Symbols all;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* base) {
            *static_cast<uintptr_t*>(base) = info->dlpi_addr;
            return 1; // the first is the program itself
        },
        &all.base);
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat status = {};
    if (file < 0 || fstat(file, &status) != 0) {
        return all;
    }
    // Stays mapped: the names are in it.
    const char* image =
        static_cast<const char*>(mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0));
    close(file);
    if (image == MAP_FAILED) {
        return all;
    }
    const ElfW(Ehdr)& header = *reinterpret_cast<const ElfW(Ehdr)*>(image);
    const ElfW(Shdr)* sections = reinterpret_cast<const ElfW(Shdr)*>(image + header.e_shoff);
    for (int s = 0; s < header.e_shnum; s++) {
        if (sections[s].sh_type != SHT_SYMTAB) {
            continue;
        }
        const char* names = image + sections[sections[s].sh_link].sh_offset;
        const ElfW(Sym)* symbols = reinterpret_cast<const ElfW(Sym)*>(image + sections[s].sh_offset);
        for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; i++) {
            const ElfW(Sym)& symbol = symbols[i];
            const Symbol one = {all.base + symbol.st_value, symbol.st_size, names + symbol.st_name};
            const int type = symbol.st_info & 0xf;
            if (type == STT_FUNC && symbol.st_size > 0) {
                all.functions.push_back(one);
            } else if (type == STT_OBJECT && std::strncmp(one.name, "_ZZ", 3) == 0 && symbol.st_shndx < header.e_shnum &&
                       (sections[symbol.st_shndx].sh_flags & SHF_WRITE) != 0) {
                all.variables.push_back(one);
            }
        }
    }
    for (std::vector<Symbol>* symbols : {&all.functions, &all.variables}) {
        std::sort(symbols->begin(), symbols->end(), [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
    }
    return all;
}

const Symbols& symbols() {
    static const Symbols all = load();
    return all;
}

const Symbol* find(const std::vector<Symbol>& sorted, uintptr_t address) {
    auto after = std::upper_bound(sorted.begin(), sorted.end(), address,
                                  [](uintptr_t a, const Symbol& symbol) { return a < symbol.address; });
    return after == sorted.begin() || address >= after[-1].address + after[-1].bytes ? nullptr : &after[-1];
}

std::string demangled(const char* name) {
    int status = 0;
    char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    const std::string result = status == 0 ? text : name;
    std::free(text);
    return result;
}

std::string hexadecimal(uintptr_t number) {
    char text[20];
    std::snprintf(text, sizeof text, "0x%zx", static_cast<size_t>(number));
    return text;
}

// A name without what stands in the parentheses of its parameters, and without its return type and namespaces.
std::string bare(std::string name) {
    constexpr std::string_view kAnonymous = "(anonymous namespace)::";
    for (size_t at; (at = name.find(kAnonymous)) != std::string::npos;) {
        name.erase(at, kAnonymous.size());
    }
    name = name.substr(0, name.find('('));
    const size_t end = std::min(name.find('<'), name.size());
    const size_t space = name.rfind(' ', end), scope = name.rfind("::", end);
    const size_t from = std::max(space == std::string::npos ? 0 : space + 1, scope == std::string::npos ? 0 : scope + 2);
    return name.substr(from);
}

} // namespace

std::string at_code(const void* address) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);
    const Symbol* symbol = find(symbols().functions, at);
    return symbol == nullptr ? ""
                             : ", at " + bare(demangled(symbol->name)) + "+" + hexadecimal(at - symbol->address) +
                                   " (addr2line " + hexadecimal(at - symbols().base) + ")";
}

std::string function_name(const void* address) {
    const Symbol* symbol = find(symbols().functions, reinterpret_cast<uintptr_t>(address));
    return symbol == nullptr ? "" : bare(demangled(symbol->name));
}

std::vector<Variable> variables_of(const void* function) {
    std::vector<Variable> found;
    const Symbol* symbol = find(symbols().functions, reinterpret_cast<uintptr_t>(function));
    if (symbol == nullptr) {
        return found;
    }
    const std::string prefix = std::string("_ZZ") + (symbol->name + 2) + "E"; // the function is _Z<encoding>
    for (const Symbol& variable : symbols().variables) {
        if (std::string_view(variable.name).starts_with(prefix)) {
            found.push_back({variable.address, variable.bytes});
        }
    }
    return found;
}

Variable variable_at(uintptr_t address) {
    const Symbol* symbol = find(symbols().variables, address);
    return symbol == nullptr ? Variable() : Variable{symbol->address, symbol->bytes};
}

std::string variable_name(uintptr_t address) {
    const Symbol* symbol = find(symbols().variables, address);
    if (symbol == nullptr) {
        return "";
    }
    const std::string name = demangled(symbol->name);
    const size_t scope = name.rfind("::");
    return (scope == std::string::npos ? name : name.substr(scope + 2)) + "+" + hexadecimal(address - symbol->address);
}

bool has_symbols() { return !symbols().functions.empty(); }

} // namespace cuda_host
