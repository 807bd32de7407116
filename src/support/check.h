// check.h — how skintern fails: one exception type, one macro.
//
// CHECK(cond, "format", values...) throws Error with a printf-formatted sentence when cond is false. It stays on
// in release builds. Everything read from outside (files, options, prompts) is checked with it; `assert` is for our
// own logic only. Only main() catches: it prints the sentence and exits 1 (failure) or 2 (wrong usage).
#pragma once

#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace skintern {

// What went wrong, in one sentence (`what()`), and the line of code that noticed.
struct Error : std::runtime_error {
    Error(const std::string& sentence, const char* where_file, int where_line)
        : std::runtime_error(sentence), file(where_file), line(where_line) {}
    const char* file;
    int line;
};

// printf into a std::string.
[[gnu::format(printf, 1, 2)]] inline std::string format(const char* fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    const int n = std::vsnprintf(nullptr, 0, fmt, args);
    va_end(args);
    std::string out(n > 0 ? static_cast<size_t>(n) : 0, '\0');
    if (n > 0) {
        std::vsnprintf(out.data(), out.size() + 1, fmt, again);
    }
    va_end(again);
    return out;
}

} // namespace skintern

#define CHECK(cond, ...)                                                                                      \
    do {                                                                                                      \
        if (!(cond)) [[unlikely]] {                                                                           \
            throw ::skintern::Error(::skintern::format(__VA_ARGS__), __FILE__, __LINE__);                     \
        }                                                                                                     \
    } while (0)
