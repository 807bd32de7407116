// gguf.cpp — see gguf.h.
//
// Reading goes once over the header with a cursor (GgufReader) that never moves past the end: each length is a u64 and
// is compared with what is left before it is used. A count is believed only as far as that many of the smallest
// elements would fit into the file. So no allocation is larger than a small multiple of the header.
//
// The tensors must lie one behind the other in the order in which they are listed, each padded to the alignment, as
// every writer does and llama.cpp demands: then no two share bytes. Bytes behind the last tensor are not looked at.
//
// Refused by name: version 1 (lengths of 32 bits), big-endian files, arrays of arrays, tensor types without a
// WeightType, names longer than GGML has room for.
#include "gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>

#include "check.h"
#include "strict_json.h"

namespace skintern {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie in memory");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxKey = 65535; // bytes, by the specification
constexpr uint64_t kMaxName = 63;   // bytes of a tensor's name: GGML keeps 64 with the final zero
constexpr uint32_t kMaxDims = 4;

// ---- types of values -----------------------------------------------------------------------------------------------

enum ValueType : uint32_t {
    kUint8,
    kInt8,
    kUint16,
    kInt16,
    kUint32,
    kInt32,
    kFloat32,
    kBool,
    kString,
    kArray,
    kUint64,
    kInt64,
    kFloat64,
};

struct ValueFormat {
    const char* name;
    uint64_t bytes; // 0: not fixed
};

constexpr ValueFormat kValueFormats[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},  {"u32", 4},
                                         {"i32", 4}, {"f32", 4}, {"bool", 1}, {"text", 0}, {"array", 0},
                                         {"u64", 8}, {"i64", 8}, {"f64", 8}};
constexpr uint32_t kValueTypes = 13;

// ---- types of tensors ----------------------------------------------------------------------------------------------

struct TensorType {
    uint32_t number; // as GGML counts
    const char* name;
};

// Those of WeightType have the same name there; the others are known so that a message can tell them.
constexpr TensorType kTensorTypes[] = {
    {0, "F32"},     {1, "F16"},    {2, "Q4_0"},     {3, "Q4_1"},    {6, "Q5_0"},     {7, "Q5_1"},
    {8, "Q8_0"},    {9, "Q8_1"},   {10, "Q2_K"},    {11, "Q3_K"},   {12, "Q4_K"},    {13, "Q5_K"},
    {14, "Q6_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},
    {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {30, "BF16"},    {34, "TQ1_0"},
    {35, "TQ2_0"},  {39, "MXFP4"},
};

WeightType weight_type(uint32_t number, const std::string& where) {
    const auto known = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                    [number](const TensorType& type) { return type.number == number; });
    CHECK(known != std::end(kTensorTypes), "%s: type is %u, which is no tensor type", where.c_str(), number);
    for (int i = 0; i < kWeightTypes; ++i) {
        if (std::strcmp(kWeightFormats[i].name, known->name) == 0) {
            return static_cast<WeightType>(i);
        }
    }
    CHECK(false, "%s: type is %s, which is not computed here", where.c_str(), known->name);
}

// ---- the cursor ----------------------------------------------------------------------------------------------------

class GgufReader {
public:
    GgufReader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

    uint64_t at() const { return at_; }
    uint64_t left() const { return bytes_.size() - at_; }

    std::string_view take(uint64_t size, const std::string& what) {
        CHECK(size <= left(), "%s: %s needs %llu bytes at byte %llu, but %llu are left", path_.c_str(),
              what.c_str(), static_cast<unsigned long long>(size), static_cast<unsigned long long>(at_),
              static_cast<unsigned long long>(left()));
        const std::string_view out = bytes_.substr(at_, size);
        at_ += size;
        return out;
    }
    template <typename T>
    T number(const std::string& what) {
        T value;
        std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
        return value;
    }
    std::string_view text(const std::string& what) {
        const auto size = number<uint64_t>("the length of " + what);
        return take(size, what);
    }
    // A count of things of at least `smallest` bytes each.
    uint64_t count(uint64_t smallest, const std::string& what) {
        const auto n = number<uint64_t>(what);
        CHECK(n <= left() / smallest, "%s: %s is %llu, more than the %llu bytes behind it can hold",
              path_.c_str(), what.c_str(), static_cast<unsigned long long>(n),
              static_cast<unsigned long long>(left()));
        return n;
    }
    uint32_t value_type(const std::string& what) {
        const auto type = number<uint32_t>("the type of " + what);
        CHECK(type < kValueTypes, "%s: %s has type %u, expected 0 to %u", path_.c_str(), what.c_str(), type,
              kValueTypes - 1);
        return type;
    }
    // What follows a value's type: the content of a text, the bytes of a number.
    std::string_view value(uint32_t type, const std::string& what) {
        const std::string_view out = type == kString ? text(what) : take(kValueFormats[type].bytes, what);
        CHECK(type != kBool || static_cast<unsigned char>(out[0]) <= 1, "%s: %s is %d, expected 0 or 1",
              path_.c_str(), what.c_str(), static_cast<unsigned char>(out[0]));
        return out;
    }

private:
    std::string_view bytes_;
    const std::string& path_;
    uint64_t at_ = 0;
};

// ---- the parts of a header -----------------------------------------------------------------------------------------

void read_magic(GgufReader& in, const std::string& path) {
    CHECK(in.take(std::min<uint64_t>(4, in.left()), "the magic") == "GGUF",
          "%s: is no GGUF file, its first bytes are not GGUF", path.c_str());
    const auto version = in.number<uint32_t>("the version");
    CHECK((version & 0xffff) != 0 || version == 0,
          "%s: version is %u: the file is big-endian, which is not read", path.c_str(), version);
    CHECK(version == 2 || version == 3, "%s: GGUF version is %u, expected 2 or 3", path.c_str(), version);
}

std::string read_key(GgufReader& in, uint64_t index, const std::string& path) {
    const std::string what = format("key %llu", static_cast<unsigned long long>(index));
    const std::string_view key = in.text(what);
    CHECK(!key.empty(), "%s: %s is empty", path.c_str(), what.c_str());
    CHECK(key.size() <= kMaxKey, "%s: %s has %zu bytes, more than %llu", path.c_str(), what.c_str(),
          key.size(), static_cast<unsigned long long>(kMaxKey));
    return std::string(key);
}

// The elements of an array, walked over once.
std::string_view read_elements(GgufReader& in, std::string_view file, uint32_t type, uint64_t count,
                               const std::string& what) {
    if (type != kString && type != kBool) {
        return in.take(count * kValueFormats[type].bytes, what); // no overflow: that many fit into the file
    }
    const uint64_t begin = in.at();
    for (uint64_t i = 0; i < count; ++i) {
        in.value(type, "an element of " + what);
    }
    return file.substr(begin, in.at() - begin);
}

// general.alignment: the only key that the format itself needs.
uint64_t checked_alignment(uint32_t type, std::string_view bytes, const std::string& path) {
    CHECK(type == kUint32, "%s: general.alignment is %s, expected u32", path.c_str(),
          kValueFormats[type].name);
    uint32_t alignment;
    std::memcpy(&alignment, bytes.data(), sizeof(alignment));
    CHECK(std::has_single_bit(alignment), "%s: general.alignment is %u, expected a power of two",
          path.c_str(), alignment);
    return alignment;
}

// Name, shape and type, all but the place. GGUF gives the fastest dimension first.
StoredTensor read_tensor_info(GgufReader& in, uint64_t index, const std::string& path) {
    const std::string what = format("the name of tensor %llu", static_cast<unsigned long long>(index));
    StoredTensor tensor;
    const std::string_view name = in.text(what);
    CHECK(!name.empty() && name.size() <= kMaxName, "%s: %s has %zu bytes, expected 1 to %llu", path.c_str(),
          what.c_str(), name.size(), static_cast<unsigned long long>(kMaxName));
    tensor.name = name;
    const std::string label = "tensor \"" + shown(tensor.name) + "\"";
    const std::string where = path + ": " + label;
    const auto dims = in.number<uint32_t>("the number of dimensions of " + label);
    CHECK(dims <= kMaxDims, "%s: has %u dimensions, at most %u are possible", where.c_str(), dims, kMaxDims);
    for (uint32_t i = 0; i < dims; ++i) {
        const auto size = in.number<uint64_t>("the shape of " + label);
        CHECK(size >= 1 && size <= INT64_MAX, "%s: dimension %u of its shape is %lld", where.c_str(), i,
              static_cast<long long>(size));
        tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.type = weight_type(in.number<uint32_t>("the type of " + label), where);
    const WeightFormat& type = weight_format(tensor.type);
    const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
    CHECK(columns % type.elements == 0,
          "%s: its rows have %lld elements, no multiple of the %lld of a block of %s", where.c_str(),
          static_cast<long long>(columns), static_cast<long long>(type.elements), type.name);
    const std::optional<int64_t> elements = count_elements(tensor.shape, type.bytes);
    CHECK(elements.has_value(), "%s: the product of its shape %s overflows", where.c_str(),
          shape_text(tensor.shape).c_str());
    tensor.bytes = static_cast<size_t>(*elements / type.elements * type.bytes);
    return tensor;
}

// Bytes from `size` to the next multiple of `alignment`, a power of two.
uint64_t padding(uint64_t size, uint64_t alignment) {
    return (alignment - size % alignment) % alignment;
}

// Gives each tensor its place: one behind the other, each padded.
void place_tensors(std::vector<StoredTensor>& tensors, const std::vector<uint64_t>& offsets,
                   std::string_view data, uint64_t alignment, const std::string& path) {
    uint64_t expected = 0; // at most data.size() + alignment: no overflow
    for (size_t i = 0; i < tensors.size(); ++i) {
        StoredTensor& tensor = tensors[i];
        const std::string where = path + ": tensor \"" + shown(tensor.name) + "\"";
        CHECK(offsets[i] == expected,
              "%s: offset is %llu, expected %llu, where the tensor before it ends (padded to %llu)",
              where.c_str(), static_cast<unsigned long long>(offsets[i]),
              static_cast<unsigned long long>(expected), static_cast<unsigned long long>(alignment));
        CHECK(expected <= data.size() && tensor.bytes <= data.size() - expected,
              "%s: needs %zu bytes at offset %llu, but the file has %zu bytes of data", where.c_str(),
              tensor.bytes, static_cast<unsigned long long>(expected), data.size());
        tensor.data = data.data() + expected;
        expected += tensor.bytes;
        expected += padding(expected, alignment);
    }
}

} // namespace

// ---- opening -------------------------------------------------------------------------------------------------------

GgufFile GgufFile::open(const std::string& path) {
    const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    return parse(file->bytes(), path, file);
}

GgufFile GgufFile::parse(std::string_view bytes, const std::string& path, std::shared_ptr<const void> owner) {
    GgufFile file;
    file.path_ = path;
    file.owner_ = std::move(owner);
    GgufReader in(bytes, path);
    read_magic(in, path);
    // The smallest tensor: length and one byte of its name, no dimensions, type, offset. The smallest key: length, one
    // byte, type, a value of one byte.
    const uint64_t n_tensors = in.count(8 + 1 + 4 + 4 + 8, "the number of tensors");
    const uint64_t n_keys = in.count(8 + 1 + 4 + 1, "the number of keys");
    uint64_t alignment = kDefaultAlignment;
    for (uint64_t i = 0; i < n_keys; ++i) {
        const std::string key = read_key(in, i, path);
        const std::string what = "key \"" + shown(key) + "\"";
        Value value;
        value.type = in.value_type(what);
        if (value.type == kArray) {
            value.array = true;
            value.type = in.value_type("an element of " + what);
            CHECK(value.type != kArray, "%s: %s is an array of arrays, which is not read", path.c_str(),
                  what.c_str());
            const uint64_t smallest = value.type == kString ? 8 : kValueFormats[value.type].bytes;
            value.count = in.count(smallest, "the length of " + what);
            value.bytes = read_elements(in, bytes, value.type, value.count, what);
        } else {
            value.bytes = in.value(value.type, what);
        }
        if (key == "general.alignment") {
            alignment = checked_alignment(value.array ? static_cast<uint32_t>(kArray) : value.type,
                                          value.bytes, path);
        }
        CHECK(file.values_.emplace(key, value).second, "%s: %s occurs twice", path.c_str(), what.c_str());
        file.order_.push_back(key);
    }

    std::vector<uint64_t> offsets;
    std::set<std::string_view> names;
    for (uint64_t i = 0; i < n_tensors; ++i) {
        StoredTensor tensor = read_tensor_info(in, i, path);
        offsets.push_back(in.number<uint64_t>("the offset of tensor \"" + shown(tensor.name) + "\""));
        tensor.owner = file.owner_;
        file.tensors_.push_back(std::move(tensor));
    }
    for (const StoredTensor& tensor : file.tensors_) {
        CHECK(names.insert(tensor.name).second, "%s: tensor \"%s\" occurs twice", path.c_str(),
              shown(tensor.name).c_str());
    }
    const uint64_t data_start = in.at() + padding(in.at(), alignment);
    place_tensors(file.tensors_, offsets, bytes.substr(std::min<uint64_t>(data_start, bytes.size())),
                  alignment, path);
    return file;
}

// ---- metadata ------------------------------------------------------------------------------------------------------

namespace {

template <typename T>
T load(std::string_view bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
}

bool is_integer(uint32_t type) {
    return kValueFormats[type].bytes > 0 && type != kFloat32 && type != kFloat64 && type != kBool;
}

bool is_number(uint32_t type) {
    return is_integer(type) || type == kFloat32 || type == kFloat64;
}

// Of a type for which is_integer().
int64_t integer_of(uint32_t type, std::string_view bytes, const std::string& where) {
    switch (type) {
    case kUint8:
        return load<uint8_t>(bytes);
    case kInt8:
        return load<int8_t>(bytes);
    case kUint16:
        return load<uint16_t>(bytes);
    case kInt16:
        return load<int16_t>(bytes);
    case kUint32:
        return load<uint32_t>(bytes);
    case kInt32:
        return load<int32_t>(bytes);
    case kUint64:
        CHECK(load<uint64_t>(bytes) <= INT64_MAX, "%s is %llu, which is too large", where.c_str(),
              static_cast<unsigned long long>(load<uint64_t>(bytes)));
        return static_cast<int64_t>(load<uint64_t>(bytes));
    default:
        return load<int64_t>(bytes);
    }
}

// Of a type for which is_number().
double number_of(uint32_t type, std::string_view bytes, const std::string& where) {
    return type == kFloat32   ? static_cast<double>(load<float>(bytes))
           : type == kFloat64 ? load<double>(bytes)
                              : static_cast<double>(integer_of(type, bytes, where));
}

} // namespace

bool GgufFile::has(const std::string& key) const {
    return values_.contains(key);
}

const GgufFile::Value& GgufFile::value(const std::string& key) const {
    const auto it = values_.find(key);
    CHECK(it != values_.end(), "%s: the key %s is missing", path_.c_str(), key.c_str());
    return it->second;
}

const GgufFile::Value& GgufFile::scalar(const std::string& key, bool (*fits)(uint32_t type),
                                        const char* expected) const {
    const Value& found = value(key);
    CHECK(!found.array && fits(found.type), "%s: the key %s is %s, expected %s", path_.c_str(), key.c_str(),
          found.array ? "an array" : kValueFormats[found.type].name, expected);
    return found;
}

std::string_view GgufFile::text(const std::string& key) const {
    return scalar(
               key, [](uint32_t type) { return type == kString; }, "a text")
        .bytes;
}

int64_t GgufFile::integer(const std::string& key) const {
    const Value& found = scalar(key, is_integer, "an integer");
    return integer_of(found.type, found.bytes, path_ + ": the key " + key);
}

double GgufFile::number(const std::string& key) const {
    const Value& found = scalar(key, is_number, "a number");
    return number_of(found.type, found.bytes, path_ + ": the key " + key);
}

bool GgufFile::flag(const std::string& key) const {
    return scalar(
               key, [](uint32_t type) { return type == kBool; }, "a bool")
               .bytes[0] != 0;
}

const GgufFile::Value& GgufFile::list(const std::string& key, bool (*fits)(uint32_t type),
                                      const char* expected) const {
    const Value& found = value(key);
    CHECK(found.array && fits(found.type), "%s: the key %s is %s%s, expected an array of %s", path_.c_str(),
          key.c_str(), found.array ? "an array of " : "", kValueFormats[found.type].name, expected);
    return found;
}

std::vector<std::string_view> GgufFile::texts(const std::string& key) const {
    const Value& found = list(
        key, [](uint32_t type) { return type == kString; }, "texts");
    GgufReader in(found.bytes, path_);
    std::vector<std::string_view> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(in.text(key));
    }
    return out;
}

std::vector<int64_t> GgufFile::integers(const std::string& key) const {
    const Value& found = list(key, is_integer, "integers");
    const uint64_t size = kValueFormats[found.type].bytes;
    std::vector<int64_t> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(
            integer_of(found.type, found.bytes.substr(i * size, size), path_ + ": an element of " + key));
    }
    return out;
}

std::vector<double> GgufFile::numbers(const std::string& key) const {
    const Value& found = list(key, is_number, "numbers");
    const uint64_t size = kValueFormats[found.type].bytes;
    std::vector<double> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(
            number_of(found.type, found.bytes.substr(i * size, size), path_ + ": an element of " + key));
    }
    return out;
}

std::vector<std::string> GgufFile::keys() const {
    return order_;
}

std::string GgufFile::shown_value(const std::string& key) const {
    const Value& found = value(key);
    const char* name = kValueFormats[found.type].name;
    if (found.array) {
        return format("%s[%llu]", name, static_cast<unsigned long long>(found.count));
    }
    if (found.type == kString) {
        return "\"" + shown(std::string(found.bytes)) + "\"";
    }
    if (found.type == kBool) {
        return found.bytes[0] != 0 ? "true" : "false";
    }
    if (found.type == kUint64) { // may be above what an int64_t holds
        return std::to_string(load<uint64_t>(found.bytes));
    }
    return is_integer(found.type) ? std::to_string(integer(key)) : format("%g", number(key));
}

} // namespace skintern
