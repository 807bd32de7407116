// safetensors.cpp — the tensor file of Hugging Face, and NumPy's .npy.
//
// safetensors:  u64 N, little-endian | N bytes of JSON, may end in spaces | the data.  The JSON maps a name
// to
//     {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]},  offsets from the start of the data,
// and may hold one more entry, "__metadata__", of strings. The tensors must tile the data: sorted by offset,
// each begins where the one before it ended, the first at 0, the last at the end of the file. So no two names
// share bytes, and no bytes are there that no name owns.
//
// .npy:  "\x93NUMPY", version, u16 (version 1) or u32 length, a Python dict as text, the data.
//
// Nothing is allocated before it is known to be backed by bytes of the file; F16 and BF16 grow to twice their
// size, as floats. Every length is compared by subtraction (`n > size - pos`), never by an addition that
// could wrap. Not done: other element types (refused by name), memory-mapping.
#include "safetensors.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include "check.h"
#include "files.h"
#include "strict_json.h"

namespace skintern {

namespace {

static_assert(std::endian::native == std::endian::little,
              "both formats are read and written as they lie in memory");

constexpr uint64_t kMaxHeader = 100'000'000; // bytes; the limit of the format's own library

// One entry of the header, checked but for its place among the others.
struct Entry {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    uint64_t begin = 0; // bytes, from the start of the data
    uint64_t end = 0;
};

// Number of elements, or nothing when they would fill more than INT64_MAX bytes. A zero among the dimensions
// must not hide an overflow of the others: HostTensor::numel() multiplies from the left.
std::optional<int64_t> count_elements(const std::vector<int64_t>& shape, int64_t element_size) {
    int64_t n = 1; // product of the dimensions that are not zero
    for (const int64_t d : shape) {
        if (d != 0 && n > INT64_MAX / element_size / d) {
            return std::nullopt;
        }
        n *= d != 0 ? d : 1;
    }
    return std::find(shape.begin(), shape.end(), 0) != shape.end() ? 0 : n;
}

template <typename T>
T load(const char* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof(T));
    return value;
}

// `count` values of type T that begin at `bytes`, each turned into a float by `convert`.
template <typename T, typename Convert>
std::vector<float> load_floats(const char* bytes, int64_t count, Convert convert) {
    std::vector<float> out(static_cast<size_t>(count));
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = convert(load<T>(bytes + i * sizeof(T)));
    }
    return out;
}

// ---- 16-bit floats
// -------------------------------------------------------------------------------------------------

// BF16 is the upper half of an F32.
float bf16_to_float(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Round to nearest, ties to even. A NaN stays a NaN: adding the rounding term to its mantissa could make it
// infinite.
uint16_t float_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if (std::isnan(value)) {
        return static_cast<uint16_t>((bits >> 16) | 0x40);
    }
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// F16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Every value is exact as a float.
float f16_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1f;
    const uint32_t mantissa = bits & 0x3ff;
    if (exponent == 0) { // zero and subnormal: mantissa * 2^-24
        const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
        return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 0x1f ? 0xff : exponent - 15 + 127; // infinity and NaN keep all ones
    return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

// ---- the header of a safetensors file
// ------------------------------------------------------------------------------

std::vector<float> load_tensor(const std::string& dtype, const char* bytes, int64_t count) {
    if (dtype == "F16") {
        return load_floats<uint16_t>(bytes, count, f16_to_float);
    }
    if (dtype == "BF16") {
        return load_floats<uint16_t>(bytes, count, bf16_to_float);
    }
    return load_floats<float>(bytes, count, [](float value) { return value; });
}

// Bytes, or 0 for a type that is not read here.
int64_t size_of(const std::string& dtype) {
    return dtype == "F32" ? 4 : dtype == "F16" || dtype == "BF16" ? 2 : 0;
}

Entry parse_entry(const std::string& name, const nlohmann::json& value, const std::string& path) {
    const std::string where = format("%s: tensor \"%s\"", path.c_str(), shown(name).c_str());
    Entry entry;
    entry.name = name;
    CHECK(value.is_object(), "%s: its entry is %s, expected an object", where.c_str(), value.type_name());
    entry.dtype = as_string(need_field(value, "dtype", where), "dtype", where);
    CHECK(size_of(entry.dtype) != 0, "%s: dtype is %s, expected F32, F16 or BF16", where.c_str(),
          shown(entry.dtype).c_str());
    const nlohmann::json& shape = need_field(value, "shape", where);
    CHECK(shape.is_array(), "%s: shape is %s, expected an array", where.c_str(), shape.type_name());
    for (const nlohmann::json& dimension : shape) {
        entry.shape.push_back(as_int(dimension, "a dimension of shape", where));
        CHECK(entry.shape.back() >= 0, "%s: a dimension of shape is %lld", where.c_str(),
              static_cast<long long>(entry.shape.back()));
    }
    const nlohmann::json& offsets = need_field(value, "data_offsets", where);
    CHECK(offsets.is_array() && offsets.size() == 2, "%s: data_offsets must be an array of two numbers",
          where.c_str());
    const int64_t begin = as_int(offsets[0], "data_offsets[0]", where);
    const int64_t end = as_int(offsets[1], "data_offsets[1]", where);
    CHECK(0 <= begin && begin <= end, "%s: data_offsets are [%lld, %lld], which is no range", where.c_str(),
          static_cast<long long>(begin), static_cast<long long>(end));
    const std::optional<int64_t> n = count_elements(entry.shape, size_of(entry.dtype));
    CHECK(n.has_value(), "%s: the product of its shape overflows", where.c_str());
    const int64_t bytes = *n * size_of(entry.dtype);
    CHECK(bytes == end - begin, "%s: shape and dtype need %lld bytes, but data_offsets hold %lld",
          where.c_str(), static_cast<long long>(bytes), static_cast<long long>(end - begin));
    entry.begin = static_cast<uint64_t>(begin);
    entry.end = static_cast<uint64_t>(end);
    return entry;
}

void check_metadata(const nlohmann::json& metadata, const std::string& path) {
    as_object(metadata, "__metadata__", path);
    for (const auto& [key, value] : metadata.items()) {
        as_string(value, "__metadata__ entry \"" + shown(key) + "\"", path);
    }
}

// The tensors must tile [0, data_size).
void check_tiling(std::vector<Entry>& entries, uint64_t data_size, const std::string& path) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    uint64_t at = 0;
    const char* before = "the start of the data";
    for (const Entry& entry : entries) {
        CHECK(entry.end <= data_size,
              "%s: tensor \"%s\": data_offsets end at %llu, but the file has %llu bytes of data",
              path.c_str(), shown(entry.name).c_str(), static_cast<unsigned long long>(entry.end),
              static_cast<unsigned long long>(data_size));
        CHECK(entry.begin >= at,
              "%s: tensor \"%s\": data_offsets begin at %llu and overlap tensor \"%s\", which ends at %llu",
              path.c_str(), shown(entry.name).c_str(), static_cast<unsigned long long>(entry.begin),
              shown(before).c_str(), static_cast<unsigned long long>(at));
        CHECK(entry.begin == at, "%s: tensor \"%s\": data_offsets leave a hole of %llu bytes before it",
              path.c_str(), shown(entry.name).c_str(), static_cast<unsigned long long>(entry.begin - at));
        at = entry.end;
        before = entry.name.c_str();
    }
    CHECK(at == data_size, "%s: the last %llu bytes belong to no tensor", path.c_str(),
          static_cast<unsigned long long>(data_size - at));
}

} // namespace

// ---- safetensors
// ---------------------------------------------------------------------------------------------------

HostTensors read_safetensors(const std::string& path) {
    const std::string file = read_file(path);
    CHECK(file.size() >= 8, "%s: has %zu bytes, too short for the header length of safetensors", path.c_str(),
          file.size());
    const uint64_t header_size = load<uint64_t>(file.data());
    CHECK(header_size <= kMaxHeader, "%s: header length is %llu bytes, more than the limit of %llu",
          path.c_str(), static_cast<unsigned long long>(header_size),
          static_cast<unsigned long long>(kMaxHeader));
    CHECK(header_size <= file.size() - 8, "%s: header length is %llu bytes, but only %zu follow",
          path.c_str(), static_cast<unsigned long long>(header_size), file.size() - 8);
    const std::string header = file.substr(8, header_size);
    CHECK(header.starts_with('{'), "%s: the header does not begin with {", path.c_str());
    const nlohmann::json root = parse_json(header, path + ": header");
    const size_t data_start = 8 + header_size;

    std::vector<Entry> entries;
    for (const auto& [name, value] : root.items()) {
        if (name == "__metadata__") {
            check_metadata(value, path);
        } else {
            entries.push_back(parse_entry(name, value, path));
        }
    }
    check_tiling(entries, file.size() - data_start, path);

    HostTensors tensors;
    for (Entry& entry : entries) {
        HostTensor& tensor = tensors[entry.name];
        tensor.shape = std::move(entry.shape);
        tensor.data = load_tensor(entry.dtype, file.data() + data_start + entry.begin, tensor.numel());
    }
    return tensors;
}

void write_safetensors(const std::string& path, const HostTensors& tensors, const std::string& dtype,
                       const std::map<std::string, std::string>& metadata) {
    CHECK(dtype == "F32" || dtype == "BF16", "%s: dtype to write is %s, expected F32 or BF16", path.c_str(),
          dtype.c_str());
    nlohmann::json root = nlohmann::json::object();
    if (!metadata.empty()) {
        root["__metadata__"] = metadata;
    }
    size_t size = 0;
    for (const auto& [name, tensor] : tensors) {
        CHECK(name != "__metadata__", "%s: a tensor cannot be named __metadata__", path.c_str());
        CHECK(tensor.data.size() == static_cast<size_t>(tensor.numel()),
              "%s: tensor \"%s\" has %zu values, its shape %lld", path.c_str(), shown(name).c_str(),
              tensor.data.size(), static_cast<long long>(tensor.numel()));
        const size_t end = size + tensor.data.size() * static_cast<size_t>(size_of(dtype));
        root[name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {size, end}}};
        size = end;
    }
    std::string header = dump_json(root, path);
    header.resize((header.size() + 7) / 8 * 8,
                  ' '); // the data begins at a multiple of 8, for readers that map it
    std::string file(8 + header.size() + size, '\0');
    const uint64_t header_size = header.size();
    std::memcpy(file.data(), &header_size, 8);
    std::memcpy(file.data() + 8, header.data(), header.size());
    char* out = file.data() + 8 + header.size();
    for (const auto& [name, tensor] : tensors) {
        for (const float value : tensor.data) {
            if (dtype == "F32") {
                std::memcpy(out, &value, 4);
            } else {
                const uint16_t bits = float_to_bf16(value);
                std::memcpy(out, &bits, 2);
            }
            out += size_of(dtype);
        }
    }
    write_file(path, file);
}

// ---- npy
// -----------------------------------------------------------------------------------------------------------

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

std::vector<float> load_npy(const std::string& descr, const char* bytes, int64_t count) {
    const auto convert = [](auto value) { return static_cast<float>(value); };
    return descr == "<f4"   ? load_floats<float>(bytes, count, convert)
           : descr == "<f8" ? load_floats<double>(bytes, count, convert)
           : descr == "<i4" ? load_floats<int32_t>(bytes, count, convert)
                            : load_floats<int64_t>(bytes, count, convert);
}

} // namespace

HostTensor read_npy(const std::string& path) {
    const std::string file = read_file(path);
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
    const std::string text = file.substr(header_start, header_size);
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
