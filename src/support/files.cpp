// files.cpp — reading whole files and writing them whole or not at all.
//
// write_file goes  temporary file in the same folder -> write -> fsync -> rename -> fsync of the folder.  A
// rename within a folder replaces the old file in one step, so a reader, a crash or a full disk sees the old
// bytes or the new ones and nothing between; the first fsync keeps the rename from reaching the disk before
// the bytes do, the second makes the rename itself last. Plain POSIX calls rather than streams, because a
// stream does not say why it failed.
//
// Cost: one copy of the file in memory. Not done: files larger than memory.
#include "support/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/descriptor.h"

namespace skintern {

namespace {

constexpr size_t kReadSize = size_t{1} << 20; // bytes of one read or write call

// Removes a file when it goes out of scope, unless it was kept.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& path) : path_(path) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        if (!path_.empty()) {
            ::unlink(path_.c_str());
        }
    }
    void keep() { path_.clear(); }

private:
    std::string path_;
};

std::string folder_of(const std::string& path) {
    const size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) {
        return ".";
    }
    return slash == 0 ? "/" : path.substr(0, slash);
}

// open(), once more when a signal came between.
int open_file(const std::string& path, int flags) {
    int fd;
    do {
        fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

// All of `bytes`, in as many write() calls as the system asks for; false with errno set when one fails.
bool write_all(int fd, const std::string& bytes) {
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n = ::write(fd, bytes.data() + done, std::min(kReadSize, bytes.size() - done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        done += static_cast<size_t>(n);
    }
    return true;
}

} // namespace

// ---- reading
// -------------------------------------------------------------------------------------------------------

OpenFile open_regular_file(const std::string& path) {
    // O_NONBLOCK: opening a pipe without a writer must not wait for ever; it is refused below.
    Descriptor file(open_file(path, O_RDONLY | O_NONBLOCK));
    CHECK(file.get() >= 0, "%s: cannot be opened: %s", path.c_str(), std::strerror(errno));
    struct stat info {};
    CHECK(::fstat(file.get(), &info) == 0, "%s: cannot be examined: %s", path.c_str(), std::strerror(errno));
    CHECK(!S_ISDIR(info.st_mode), "%s: is a folder, expected a file", path.c_str());
    CHECK(S_ISREG(info.st_mode), "%s: is not a regular file", path.c_str());
    return {std::move(file), static_cast<size_t>(info.st_size)};
}

std::string read_file(const std::string& path) {
    const OpenFile file = open_regular_file(path);
    std::string bytes(file.size, '\0');
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n =
            ::read(file.descriptor.get(), bytes.data() + done, std::min(kReadSize, bytes.size() - done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        CHECK(n >= 0, "%s: cannot be read: %s", path.c_str(), std::strerror(errno));
        CHECK(n > 0, "%s: became shorter while it was read: %zu of %zu bytes", path.c_str(), done,
              bytes.size());
        done += static_cast<size_t>(n);
    }
    return bytes;
}

std::vector<std::string> read_lines(const std::string& path) {
    std::vector<std::string> lines;
    std::istringstream in(read_file(path));
    for (std::string line; std::getline(in, line);) {
        lines.push_back(std::move(line));
    }
    return lines;
}

bool file_exists(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// ---- writing
// -------------------------------------------------------------------------------------------------------

void write_file(const std::string& path, const std::string& bytes) {
    struct stat info {};
    CHECK(::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode), "%s: cannot be written: %s",
          path.c_str(), S_ISDIR(info.st_mode) ? "it is a folder" : "it is not a regular file");
    // The process number keeps two runs that write the same file from sharing a temporary one.
    const std::string temporary = format("%s.%ld.tmp", path.c_str(), static_cast<long>(::getpid()));
    Descriptor file(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    CHECK(file.get() >= 0, "%s: cannot be written: %s", path.c_str(), std::strerror(errno));
    TemporaryFile remove_on_failure(temporary);
    CHECK(write_all(file.get(), bytes), "%s: cannot be written: %s", path.c_str(), std::strerror(errno));
    CHECK(::fsync(file.get()) == 0, "%s: cannot be written: %s", path.c_str(), std::strerror(errno));
    CHECK(file.close_checked(), "%s: cannot be written: %s", path.c_str(), std::strerror(errno));
    CHECK(::rename(temporary.c_str(), path.c_str()) == 0, "%s: cannot be written: %s", path.c_str(),
          std::strerror(errno));
    remove_on_failure.keep();
    const std::string parent = folder_of(path);
    const Descriptor folder(open_file(parent, O_RDONLY | O_DIRECTORY));
    // Some file systems cannot sync a folder and say EINVAL; the file itself is written by then.
    CHECK(folder.get() >= 0 && (::fsync(folder.get()) == 0 || errno == EINVAL),
          "%s: was written, but its folder cannot be synced: %s", path.c_str(), std::strerror(errno));
}

void append_line(const std::string& path, const std::string& line) {
    Descriptor file(open_file(path, O_WRONLY | O_CREAT | O_APPEND));
    CHECK(file.get() >= 0, "%s: cannot be appended to: %s", path.c_str(), std::strerror(errno));
    const off_t old_size = ::lseek(file.get(), 0, SEEK_END);
    // One string, so that a reader who follows the file sees the line and its end together.
    if (!write_all(file.get(), line + "\n")) {
        const int reason = errno;
        // Half a line would spoil the next one; a pipe or terminal has no size, and nothing to take back.
        const bool undone = old_size >= 0 && ::ftruncate(file.get(), old_size) == 0;
        CHECK(false, "%s: cannot be appended to: %s%s", path.c_str(), std::strerror(reason),
              undone ? "" : "; its last line may be incomplete");
    }
    CHECK(file.close_checked(), "%s: cannot be appended to: %s", path.c_str(), std::strerror(errno));
}

void make_folder(const std::string& path) {
    CHECK(!path.empty(), "a folder was to be made, but its name is empty");
    std::error_code error;
    std::filesystem::create_directories(path, error);
    CHECK(!error, "%s: the folder cannot be made: %s", path.c_str(), error.message().c_str());
    CHECK(std::filesystem::is_directory(path, error),
          "%s: the folder cannot be made: a file of this name is there", path.c_str());
    CHECK(::access(path.c_str(), W_OK | X_OK) == 0, "%s: the folder cannot be written to: %s", path.c_str(),
          std::strerror(errno));
}

FileLock::FileLock(const std::string& path, bool wait) : descriptor_(open_file(path, O_RDWR | O_CREAT)) {
    CHECK(descriptor_ >= 0, "%s: cannot be made: %s", path.c_str(), std::strerror(errno));
    int failed;
    do {
        failed = ::flock(descriptor_, LOCK_EX | (wait ? 0 : LOCK_NB));
    } while (failed != 0 && errno == EINTR);
    held_ = failed == 0;
    if (!held_ && errno != EWOULDBLOCK) {
        const int reason = errno;
        ::close(descriptor_);
        CHECK(false, "%s: cannot be locked: %s", path.c_str(), std::strerror(reason));
    }
}

FileLock::~FileLock() { ::close(descriptor_); }

} // namespace skintern
