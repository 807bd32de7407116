// npy.cpp — see npy.h.
//
//   "\x93NUMPY" | version, 2 bytes | u16 (version 1) or u32 length | a Python dict as text | the data
//
// Nothing is allocated before it is known to be backed by bytes of the file; a length is compared by subtraction.
#include "formats/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "formats/tensor_file.h"
#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

constexpr char kNpyMagic[] = "\x93NUMPY";
constexpr size_t kNpyMagicSize = 6;
constexpr size_t kNpyAlignment = 64; // of the data, as the format asks

struct NpyHeader {
    std::string descr; // element type, e.g. "<f4"
    std::vector<int64_t> shape;
};

// Reads the Python dict of a .npy header: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class NpyHeaderReader {
public:
    NpyHeaderReader(const std::string& text, const std::string& path) : text_(text), path_(path) {}

    NpyHeader read() {
        NpyHeader header;
        std::vector<std::string> keys;
        expect('{');
        while (!accept('}')) {
            keys.push_back(quoted());
            expect(':');
            if (keys.back() == "descr") {
                header.descr = quoted();
            } else if (keys.back() == "fortran_order") {
                const std::string order = word();
                CHECK(order == "False", "%s: fortran_order is %s, expected False", path_.c_str(),
                      shown(order).c_str());
            } else if (keys.back() == "shape") {
                header.shape = tuple();
            } else {
                CHECK(false, "%s: the header has an unknown field '%s'", path_.c_str(),
                      shown(keys.back()).c_str());
            }
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip_spaces();
        CHECK(at_ == text_.size(), "%s: the header goes on behind its }", path_.c_str());
        std::sort(keys.begin(), keys.end());
        CHECK((keys == std::vector<std::string>{"descr", "fortran_order", "shape"}),
              "%s: the header must have descr, fortran_order and shape, each once", path_.c_str());
        return header;
    }

private:
    void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \n", at_), text_.size()); }
    bool accept(char c) {
        skip_spaces();
        const bool there = at_ < text_.size() && text_[at_] == c;
        at_ += there ? 1 : 0;
        return there;
    }
    void expect(char c) {
        CHECK(accept(c), "%s: the header lacks a %c at its byte %zu", path_.c_str(), c, at_);
    }
    std::string quoted() {
        expect('\'');
        const size_t end = text_.find('\'', at_);
        CHECK(end != std::string::npos, "%s: the header has an open quote at its byte %zu", path_.c_str(),
              at_);
        const std::string out = text_.substr(at_, end - at_);
        at_ = end + 1;
        return out;
    }
    std::string word() {
        skip_spaces();
        const size_t end = std::min(text_.find_first_of(" ,)}\n", at_), text_.size());
        const std::string out = text_.substr(at_, end - at_);
        at_ = end;
        return out;
    }
    std::vector<int64_t> tuple() {
        std::vector<int64_t> out;
        expect('(');
        while (!accept(')')) {
            const std::string digits = word();
            int64_t value = 0;
            const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
            CHECK(error == std::errc() && end == digits.data() + digits.size() && value >= 0,
                  "%s: shape has \"%s\", which is no size", path_.c_str(), shown(digits).c_str());
            out.push_back(value);
            if (!accept(',')) {
                expect(')');
                break;
            }
        }
        return out;
    }

    const std::string& text_;
    const std::string& path_;
    size_t at_ = 0;
};

template <typename T>
T load(const char* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
}

// `count` values of type T that begin at `bytes`.
template <typename T>
std::vector<float> load_floats(const char* bytes, int64_t count) {
    std::vector<float> out(static_cast<size_t>(count));
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(load<T>(bytes + i * sizeof(T)));
    }
    return out;
}

std::vector<float> load_npy(const std::string& descr, const char* bytes, int64_t count) {
    return descr == "<f4"   ? load_floats<float>(bytes, count)
           : descr == "<f8" ? load_floats<double>(bytes, count)
           : descr == "<i4" ? load_floats<int32_t>(bytes, count)
                            : load_floats<int64_t>(bytes, count);
}

} // namespace

HostTensor read_npy(const std::string& path) {
    return parse_npy(read_file(path), path);
}

HostTensor parse_npy(std::string_view file, const std::string& path) {
    CHECK(file.starts_with(kNpyMagic), "%s: is no .npy file, its first bytes are not \\x93NUMPY",
          path.c_str());
    CHECK(file.size() >= kNpyMagicSize + 6, "%s: has %zu bytes, too short for the header of .npy",
          path.c_str(), file.size());
    const int version = static_cast<unsigned char>(file[kNpyMagicSize]);
    CHECK(version >= 1 && version <= 3, "%s: .npy version is %d, expected 1, 2 or 3", path.c_str(), version);
    const size_t header_start = kNpyMagicSize + (version == 1 ? 4 : 6);
    const size_t header_size = version == 1 ? load<uint16_t>(file.data() + kNpyMagicSize + 2)
                                            : load<uint32_t>(file.data() + kNpyMagicSize + 2);
    CHECK(header_size <= file.size() - header_start, "%s: header length is %zu bytes, but only %zu follow",
          path.c_str(), header_size, file.size() - header_start);
    const std::string text(file.substr(header_start, header_size));
    const NpyHeader header = NpyHeaderReader(text, path).read();
    const size_t data_start = header_start + header_size;

    const std::string& descr = header.descr;
    CHECK(descr == "<f4" || descr == "<f8" || descr == "<i4" || descr == "<i8",
          "%s: descr is %s, expected <f4, <f8, <i4 or <i8", path.c_str(), shown(descr).c_str());
    const int64_t element_size = descr.back() - '0';
    const std::optional<int64_t> count = count_elements(header.shape, element_size);
    CHECK(count.has_value(), "%s: the product of its shape overflows", path.c_str());
    const size_t bytes = static_cast<size_t>(*count * element_size);
    CHECK(bytes == file.size() - data_start,
          "%s: shape and descr need %zu bytes of data, but the file has %zu", path.c_str(), bytes,
          file.size() - data_start);
    return {header.shape, load_npy(descr, file.data() + data_start, *count)};
}

void write_npy(const std::string& path, const float* data, const std::vector<int64_t>& shape) {
    std::string sizes;
    for (const int64_t d : shape) {
        CHECK(d >= 0, "%s: a dimension of shape is %lld", path.c_str(), static_cast<long long>(d));
        sizes += format("%lld, ", static_cast<long long>(d));
    }
    if (shape.size() > 1) {
        sizes.resize(sizes.size() - 2); // "(2, 3)", but "(2, )": a tuple of one needs its comma
    }
    const std::optional<int64_t> count = count_elements(shape, sizeof(float));
    CHECK(count.has_value(), "%s: the product of its shape overflows", path.c_str());
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
    const size_t start = kNpyMagicSize + 4;
    const size_t data_start = (start + header.size() + 1 + kNpyAlignment - 1) / kNpyAlignment * kNpyAlignment;
    header.resize(data_start - start - 1, ' ');
    header += '\n';
    CHECK(header.size() <= UINT16_MAX, "%s: %zu dimensions are more than .npy version 1 can hold",
          path.c_str(), shape.size());
    std::string file = kNpyMagic;
    file += '\x01';
    file += '\0';
    file += static_cast<char>(header.size() & 0xff);
    file += static_cast<char>(header.size() >> 8);
    file += header;
    if (*count > 0) {
        file.append(reinterpret_cast<const char*>(data), static_cast<size_t>(*count) * sizeof(float));
    }
    write_file(path, file);
}

} // namespace skintern
