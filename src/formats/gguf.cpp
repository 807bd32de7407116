// gguf.cpp — see gguf.h.
//
// Reading goes once over the header with a cursor (gguf_reader.h) that never moves past the end: each length is a u64 and
// is compared with what is left before it is used. A count is believed only as far as that many of the smallest
// elements would fit into the file. So no allocation is larger than a small multiple of the header.
//
// The tensors must lie one behind the other in the order in which they are listed, each padded to the alignment, as
// every writer does and llama.cpp demands: then no two share bytes. Bytes behind the last tensor are not looked at.
//
// Refused by name: version 1 (lengths of 32 bits), big-endian files, arrays of arrays, tensor types without a
// WeightType, names longer than GGML has room for.
#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "formats/gguf_reader.h"
#include "support/check.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie in memory");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxKey = 65535; // bytes, by the specification
constexpr uint64_t kMaxName = 63;   // bytes of a tensor's name: GGML keeps 64 with the final zero
constexpr uint32_t kMaxDims = 4;

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
        CHECK(size >= 1 && size <= INT64_MAX, "%s: dimension %u of its shape is %llu", where.c_str(), i,
              static_cast<unsigned long long>(size));
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

} // namespace skintern
