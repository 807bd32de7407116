// descriptor.h — an open file of the system, for the readers and writers that need one.
#pragma once

#include <string>
#include <utility>

#include <unistd.h>

namespace skintern {

// A file descriptor, closed when it goes out of scope.
class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    int get() const { return fd_; }
    // Closes now and says whether it went well: a network file system reports a full disk only here.
    bool close_checked() { return ::close(std::exchange(fd_, -1)) == 0; }

private:
    int fd_;
};

// Opens a regular file for reading and tells its size. Throws Error naming the path and the system's reason.
struct OpenFile {
    Descriptor descriptor;
    size_t size; // bytes
};
OpenFile open_regular_file(const std::string& path);

} // namespace skintern
