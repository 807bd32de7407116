// A length in a damaged file must not become an allocation: what a reader asks for at once is bounded by the file.
#include "test.h"

#include <string>
#include <vector>

#include "check_allocations.h"
#include "formats/gguf.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "gguf_maker.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

namespace {

// A StoredTensor takes more memory than its entry of some 30 bytes, and a growing vector twice of what it holds; a message
// has some hundred bytes.
size_t allowed(const std::string& file) {
    return 16 * file.size() + 1024;
}

// Every way to cut the file, and its numbers, eight bytes at each place, set to several lengths.
template <typename Read>
void require_bounded(const std::string& file, Read read) {
    const auto check = [&](const std::string& bytes) {
        forget_allocations();
        error_of([&] { read(bytes); });
        REQUIRE(largest_allocation() <= allowed(file));
    };
    check(file);
    for (size_t at = 0; at < file.size(); ++at) {
        check(file.substr(0, at));
        for (const uint64_t length : {UINT64_MAX, uint64_t{1} << 63, uint64_t{1} << 32, uint64_t{1} << 24}) {
            std::string changed = file;
            changed.replace(at, 8, bytes_of(length));
            check(changed);
        }
    }
}

} // namespace

TEST_CASE("the largest allocation is seen", "[allocations]") {
    forget_allocations();
    const std::vector<char> small(1000), large(123456), other(2000);
    REQUIRE(largest_allocation() == 123456);
}

TEST_CASE("no length in a GGUF file becomes a large allocation", "[allocations]") {
    GgufMaker maker;
    maker.str("general.architecture", "llama")
        .strs("tokens", {"a", "bc"})
        .array("types", 4, 2, std::string(8, '\1'));
    maker.floats("t", {2, 3}, std::vector<float>(6)).floats("u", {1}, {1});
    require_bounded(maker.file(), [](const std::string& bytes) {
        const GgufFile file = GgufFile::parse(bytes, "x.gguf", nullptr);
        for (const std::string& key : file.keys()) {
            error_of([&] { file.texts(key); });
            error_of([&] { file.numbers(key); });
        }
        for (const StoredTensor& tensor : file.tensors()) {
            to_floats(tensor);
        }
    });
}

TEST_CASE("no length in a safetensors file becomes a large allocation", "[allocations]") {
    const TempFolder folder;
    write_safetensors(folder / "x", {{"a", {{2, 3}, std::vector<float>(6)}}, {"b", {{}, {1}}}});
    require_bounded(read_file(folder / "x"), [](const std::string& bytes) {
        for (const StoredTensor& tensor : parse_safetensors(bytes, "x", nullptr)) {
            to_floats(tensor);
        }
    });
    const std::string numbers[] = {"18446744073709551615", "9223372036854775807", "4294967296", "1000000000"};
    for (const std::string& n : numbers) { // as shape, and as offset
        for (const std::string& entry :
             {"[" + n + "],\"data_offsets\":[0,8]", "[2],\"data_offsets\":[0," + n + "]",
              "[2],\"data_offsets\":[" + n + "," + n + "]", "[" + n + ",0],\"data_offsets\":[0,0]"}) {
            const std::string header = R"({"a":{"dtype":"F32","shape":)" + entry + "}}";
            const std::string file = bytes_of<uint64_t>(header.size()) + header + std::string(8, '\0');
            forget_allocations();
            error_of([&] { parse_safetensors(file, "x", nullptr); });
            REQUIRE(largest_allocation() <= allowed(file));
        }
    }
}

TEST_CASE("no length in a .npy file becomes a large allocation", "[allocations]") {
    const TempFolder folder;
    const float data[] = {1, 2, 3};
    write_npy(folder / "x", data, {3});
    require_bounded(read_file(folder / "x"), [](const std::string& bytes) { parse_npy(bytes, "x"); });
}
