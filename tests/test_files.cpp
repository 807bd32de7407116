// Reading whole files, and writing them whole or not at all.
#include "test.h"

#include <filesystem>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "support/files.h"
#include "test_support.h"

using namespace skintern;

TEST_CASE("a file comes back as it was written, whatever its bytes", "[files]") {
    const TempFolder folder;
    std::string all(3'000'000, '\0'); // several write() calls
    for (size_t i = 0; i < all.size(); ++i) {
        all[i] = static_cast<char>(i * 7 + i / 256);
    }
    for (const std::string& bytes : {std::string(), std::string("\0\r\n\xff", 4), all}) {
        write_file(folder / "x.bin", bytes);
        REQUIRE(read_file(folder / "x.bin") == bytes);
    }
    REQUIRE(folder.files() == 1);
}

TEST_CASE("write_file replaces an old file, and takes a name without a folder", "[files]") {
    const TempFolder folder;
    write_file(folder / "x", "a long old content");
    write_file(folder / "x", "new");
    REQUIRE(read_file(folder / "x") == "new");
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder.path());
    write_file("y", "here");
    std::filesystem::current_path(before);
    REQUIRE(read_file(folder / "y") == "here");
    REQUIRE(folder.files() == 2);
}

TEST_CASE("a full disk leaves the old file whole and no temporary one, and is named", "[files]") {
    const TempFolder folder;
    const std::string path = folder / "weights.bin";
    write_file(path, "old and whole");
    std::string message;
    {
        const SmallDisk disk(5000);
        message = error_of([&] { write_file(path, std::string(100'000, 'x')); });
    }
    REQUIRE_THAT(message, StartsWith(path + ": cannot be written: File too large"));
    REQUIRE(read_file(path) == "old and whole");
    REQUIRE(folder.files() == 1);
    write_file(path, "it works again");
    REQUIRE(read_file(path) == "it works again");
}

TEST_CASE("writing where it cannot be done names path and reason", "[files]") {
    const TempFolder folder;
    write_file(folder / "file", "x");
    const auto message = [](const std::string& path) { return error_of([&] { write_file(path, "bytes"); }); };
    REQUIRE_THAT(message(folder / "no/such/folder"),
                 Contains("no/such/folder: cannot be written: No such file"));
    REQUIRE_THAT(message(folder / "file/below"), Contains("file/below: cannot be written: Not a directory"));
    REQUIRE_THAT(message(folder.path()), Contains(folder.path() + ": cannot be written: it is a folder"));
    REQUIRE_THAT(message("/dev/full"), Contains("/dev/full: cannot be written: it is not a regular file"));
    REQUIRE_THAT(message(""), Contains("cannot be written"));
    REQUIRE_THAT(message(folder / std::string(300, 'n')), Contains("File name too long"));
    REQUIRE(folder.files() == 1);
}

TEST_CASE("a folder without write permission is refused", "[files]") {
    if (::geteuid() == 0) {
        std::printf("skipped: a folder without write permission (root may write everywhere)\n");
        return;
    }
    const TempFolder folder;
    const std::string closed = folder / "closed";
    make_folder(closed);
    ::chmod(closed.c_str(), 0555);
    const std::string write_message = error_of([&] { write_file(closed + "/x", "bytes"); });
    const std::string make_message = error_of([&] { make_folder(closed); });
    ::chmod(closed.c_str(), 0755);
    REQUIRE_THAT(write_message, Contains("closed/x: cannot be written: Permission denied"));
    REQUIRE_THAT(make_message, Contains("closed: the folder cannot be written to: Permission denied"));
}

TEST_CASE("reading what is no regular file names path and reason", "[files]") {
    const TempFolder folder;
    const std::string pipe = folder / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    REQUIRE_THAT(error_of([&] { read_file(folder / "missing"); }),
                 Contains("missing: cannot be opened: No such file or directory"));
    REQUIRE_THAT(error_of([&] { read_file(folder.path()); }), Contains("is a folder, expected a file"));
    REQUIRE_THAT(error_of([&] { read_file(pipe); }),
                 Contains("pipe: is not a regular file")); // and does not wait
    REQUIRE_THAT(error_of([&] { read_file("/dev/null"); }), Contains("/dev/null: is not a regular file"));
}

TEST_CASE("file_exists is true of regular files only", "[files]") {
    const TempFolder folder;
    write_file(folder / "x", "");
    REQUIRE(file_exists(folder / "x"));
    REQUIRE_FALSE(file_exists(folder / "y"));
    REQUIRE_FALSE(file_exists(folder.path()));
}

TEST_CASE("append_line adds whole lines, and takes half a line back when the disk is full", "[files]") {
    const TempFolder folder;
    const std::string path = folder / "log.jsonl";
    append_line(path, "one");
    append_line(path, "two");
    REQUIRE(read_file(path) == "one\ntwo\n");
    std::string message;
    {
        const SmallDisk disk(10);
        message = error_of([&] { append_line(path, "a third line"); });
    }
    REQUIRE_THAT(message, StartsWith(path + ": cannot be appended to: File too large"));
    REQUIRE(read_file(path) == "one\ntwo\n");
    REQUIRE_THAT(error_of([&] { append_line(folder / "no/log", "x"); }),
                 Contains("no/log: cannot be appended to"));
    if (std::filesystem::exists("/dev/full")) {
        REQUIRE_THAT(error_of([&] { append_line("/dev/full", "x"); }), Contains("No space left on device"));
    }
}

TEST_CASE("make_folder makes parents, is content with a folder that is there, and refuses a file",
          "[files]") {
    const TempFolder folder;
    make_folder(folder / "a/b/c");
    make_folder(folder / "a/b/c");
    make_folder(folder / "d/");
    REQUIRE(std::filesystem::is_directory(folder / "a/b/c"));
    write_file(folder / "file", "x");
    REQUIRE_THAT(error_of([&] { make_folder(folder / "file"); }),
                 Contains("file: the folder cannot be made"));
    REQUIRE_THAT(error_of([&] { make_folder(folder / "file/x"); }),
                 Contains("file/x: the folder cannot be made"));
    REQUIRE_THAT(error_of([&] { make_folder(""); }), Contains("its name is empty"));
}

TEST_CASE("a file is held by one at a time", "[files]") {
    const TempFolder folder;
    const std::string path = folder / "lock";
    {
        const FileLock first(path, false);
        REQUIRE(first.held());
        const FileLock second(path, false);
        REQUIRE(!second.held());
    }
    REQUIRE(FileLock(path, true).held());
    REQUIRE_THROWS_WITH(FileLock(folder / "no such folder/lock", false), Contains("cannot be made"));
}
