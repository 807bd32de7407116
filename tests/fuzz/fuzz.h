// fuzz.h — what every fuzz target does: give bytes to a reader, and accept its result or one clear sentence.
//
// A target is one file, fuzz_<name>.cpp, with a function that libFuzzer calls; `make fuzz` finds it by its name. Its seeds,
// small valid inputs, are written by seeds.cpp into the folder <name>.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include "support/check.h"
#include "support/descriptor.h"

namespace skintern {

// Aborts, which libFuzzer reports together with the input.
inline void expect(bool holds, const char* what, const std::string& value) {
    if (!holds) {
        std::fprintf(stderr, "expected %s: \"%s\"\n", what, value.c_str());
        std::abort();
    }
}

// Runs `read`. An Error is fine when it is one line that begins with `path`, anything else that is thrown is a finding.
template <typename Read>
int try_reading(const std::string& path, Read read) {
    try {
        read();
    } catch (const Error& error) {
        const std::string sentence = error.what();
        expect(sentence.starts_with(path), "a sentence that begins with the file", sentence);
        expect(sentence.find('\n') == std::string::npos, "one line", sentence);
        expect(sentence.size() < path.size() + 1000, "a short sentence", sentence);
    }
    return 0;
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

// A file of this process in memory, under a path with the right extension, for the readers that want a path.
class InputFile {
public:
    explicit InputFile(const std::string& name)
        : file_(::memfd_create(name.c_str(), 0)),
          folder_(std::filesystem::temp_directory_path() / ("skintern-fuzz-" + std::to_string(::getpid()))),
          path_((folder_ / name).string()) {
        std::filesystem::create_directories(folder_);
        std::filesystem::remove(path_); // of an earlier process that had this number
        std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(file_.get()), path_);
    }
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;
    ~InputFile() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    const std::string& holding(const uint8_t* data, size_t size) const {
        const bool written = ::ftruncate(file_.get(), 0) == 0 &&
                             ::pwrite(file_.get(), data, size, 0) == static_cast<ssize_t>(size);
        expect(written, "a file in memory to take its bytes", path_);
        return path_;
    }

private:
    Descriptor file_;
    std::filesystem::path folder_;
    std::string path_;
};

} // namespace skintern
