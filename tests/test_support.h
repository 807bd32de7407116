// test_support.h — what several tests of files need: a folder that vanishes, a full disk, the sentence of an Error, the
// shared files.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

namespace skintern {

// Catch2 v3 gave this matcher another name.
#if CATCH_VERSION_MAJOR == 2
using Catch::Matchers::Contains;
#else
inline auto Contains(const std::string& part) {
    return Catch::Matchers::ContainsSubstring(part);
}
#endif
using Catch::Matchers::StartsWith;

// A fresh folder of its own, removed with all that is in it at the end of the scope.
class TempFolder {
public:
    TempFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "skintern-test-XXXXXX").string();
        CHECK(::mkdtemp(name.data()) != nullptr, "no temporary folder %s can be made", name.c_str());
        path_ = name;
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }
    size_t files() const {
        size_t n = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) {
            ++n;
        }
        return n;
    }

private:
    std::string path_;
};

// Writes a file without the care of write_file(): a test that makes hundreds of them need not wait for the
// disk.
inline void put_file(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

// The sentence of the Error that `action` throws; empty when it throws none. Other exceptions pass, and fail
// the test.
template <typename Action>
std::string error_of(Action action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

// While it lives, a file of this process cannot grow beyond `bytes`: write() fails as on a full disk.
class SmallDisk {
public:
    explicit SmallDisk(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &old_limit_);
        rlimit limit = old_limit_;
        limit.rlim_cur = bytes;
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~SmallDisk() {
        ::setrlimit(RLIMIT_FSIZE, &old_limit_);
        std::signal(SIGXFSZ, old_handler_);
    }

private:
    rlimit old_limit_{};
    void (*old_handler_)(int);
};

// How many times the processor time of work(n / 16) work(n) takes: about 16 where work grows with n, 256 where it grows with
// the square of n. A ratio knows nothing of the machine, of optimisation and of sanitizers, which a limit in seconds does.
template <typename Work>
double growth(size_t n, Work work) {
    const auto seconds = [&](size_t size) {
        const std::clock_t start = std::clock();
        work(size);
        return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    };
    double small = seconds(n / 16);
    for (int i = 0; i < 2; ++i) {
        small = std::min(small, seconds(n / 16));
    }
    return seconds(n) / std::max(small, 1e-4); // a clock of microseconds, read with the rest it counts
}
constexpr double kSquareGrowth = 100.0; // between 16 and 256, nearer to the worse

// A file or folder of the shared test material, or "" with a line that says what is skipped.
inline std::string shared_or_skip(const std::string& name) {
    const char* root = std::getenv("SKINTERN_SHARED");
    const std::string path = std::string(root != nullptr ? root : "../shared") + "/" + name;
    if (std::filesystem::exists(path)) {
        return path;
    }
    std::printf("skipped: %s is not there (SKINTERN_SHARED names its folder)\n", path.c_str());
    return "";
}

} // namespace skintern
