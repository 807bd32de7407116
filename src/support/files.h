// files.h — reading whole files and writing them whole or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

// The bytes of a regular file. Throws Error naming the path and the system's reason.
std::string read_file(const std::string& path);

// The lines of a regular file without their ends.
std::vector<std::string> read_lines(const std::string& path);

// Writes a temporary file beside `path`, syncs it, and renames it over `path`: after a crash or on a full disk the old
// file is still whole. Throws Error naming path and reason, and leaves nothing half-written behind.
void write_file(const std::string& path, const std::string& bytes);

// Appends one line and flushes; for logs, which a reader may follow.
void append_line(const std::string& path, const std::string& line);

// Creates a folder and its parents; fine when it is there. Throws Error when it cannot be made or written to.
void make_folder(const std::string& path);

bool file_exists(const std::string& path);

// A claim on a file that processes share: held by one of them until the object, or the process, ends. The file is made when
// it is not there and stays.
class FileLock {
public:
    FileLock(const std::string& path, bool wait); // without `wait` it may be held by another
    ~FileLock();
    FileLock(const FileLock&) = delete;
    bool held() const { return held_; }

private:
    int descriptor_;
    bool held_;
};

} // namespace skintern
