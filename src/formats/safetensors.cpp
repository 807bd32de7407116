// safetensors.cpp — the tensor file of Hugging Face.
//
//     u64 N, little-endian | N bytes of JSON, may end in spaces | the data.  The JSON maps a name to
//     {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]},  offsets from the start of the data,
// and may hold one more entry, "__metadata__", of strings. The tensors must tile the data: sorted by offset,
// each begins where the one before it ended, the first at 0, the last at the end of the file. So no two names
// share bytes, and no bytes are there that no name owns.
//
// Nothing is allocated before it is known to be backed by bytes of the file; F16 and BF16 grow to twice their
// size, as floats. Every length is compared by subtraction (`n > size - pos`), never by an addition that
// could wrap. Not done: other element types (refused by name).
#include "formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include "support/check.h"
#include "support/files.h"
#include "support/half.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read and written as they lie in memory");

constexpr uint64_t kMaxHeader = 100'000'000; // bytes; the limit of the format's own library

// One entry of the header, checked but for its place among the others.
struct Entry {
    StoredTensor tensor;
    uint64_t begin = 0; // bytes, from the start of the data
    uint64_t end = 0;
};

// ---- the header
// ----------------------------------------------------------------------------------------------------

WeightType parse_dtype(const std::string& dtype, const std::string& where) {
    for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16}) {
        if (dtype == weight_format(type).name) {
            return type;
        }
    }
    CHECK(false, "%s: dtype is %s, expected F32, F16 or BF16", where.c_str(), shown(dtype).c_str());
}

Entry parse_entry(const std::string& name, const nlohmann::json& value, const std::string& path) {
    const std::string where = format("%s: tensor \"%s\"", path.c_str(), shown(name).c_str());
    Entry entry;
    StoredTensor& tensor = entry.tensor;
    tensor.name = name;
    CHECK(value.is_object(), "%s: its entry is %s, expected an object", where.c_str(), value.type_name());
    tensor.type = parse_dtype(as_string(need_field(value, "dtype", where), "dtype", where), where);
    const int64_t size = weight_format(tensor.type).bytes; // of an element
    const nlohmann::json& shape = need_field(value, "shape", where);
    CHECK(shape.is_array(), "%s: shape is %s, expected an array", where.c_str(), shape.type_name());
    for (const nlohmann::json& dimension : shape) {
        tensor.shape.push_back(as_int(dimension, "a dimension of shape", where));
        CHECK(tensor.shape.back() >= 0, "%s: a dimension of shape is %lld", where.c_str(),
              static_cast<long long>(tensor.shape.back()));
    }
    const nlohmann::json& offsets = need_field(value, "data_offsets", where);
    CHECK(offsets.is_array() && offsets.size() == 2, "%s: data_offsets must be an array of two numbers",
          where.c_str());
    const int64_t begin = as_int(offsets[0], "data_offsets[0]", where);
    const int64_t end = as_int(offsets[1], "data_offsets[1]", where);
    CHECK(0 <= begin && begin <= end, "%s: data_offsets are [%lld, %lld], which is no range", where.c_str(),
          static_cast<long long>(begin), static_cast<long long>(end));
    const std::optional<int64_t> n = count_elements(tensor.shape, size);
    CHECK(n.has_value(), "%s: the product of its shape overflows", where.c_str());
    CHECK(*n * size == end - begin, "%s: shape and dtype need %lld bytes, but data_offsets hold %lld",
          where.c_str(), static_cast<long long>(*n * size), static_cast<long long>(end - begin));
    entry.begin = static_cast<uint64_t>(begin);
    entry.end = static_cast<uint64_t>(end);
    tensor.bytes = static_cast<size_t>(end - begin);
    return entry;
}

// The JSON of the header; `data` becomes the bytes behind it.
nlohmann::json parse_header(std::string_view file, const std::string& path, std::string_view* data) {
    CHECK(file.size() >= 8, "%s: has %zu bytes, too short for the header length of safetensors", path.c_str(),
          file.size());
    uint64_t header_size = 0;
    std::memcpy(&header_size, file.data(), sizeof(header_size));
    CHECK(header_size <= kMaxHeader, "%s: header length is %llu bytes, more than the limit of %llu",
          path.c_str(), static_cast<unsigned long long>(header_size),
          static_cast<unsigned long long>(kMaxHeader));
    CHECK(header_size <= file.size() - 8, "%s: header length is %llu bytes, but only %zu follow",
          path.c_str(), static_cast<unsigned long long>(header_size), file.size() - 8);
    const std::string header(file.substr(8, header_size));
    CHECK(header.starts_with('{'), "%s: the header does not begin with {", path.c_str());
    *data = file.substr(8 + header_size);
    return parse_json(header, path + ": header");
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
        return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
    });
    uint64_t at = 0;
    const char* before = "the start of the data";
    for (const Entry& entry : entries) {
        CHECK(entry.end <= data_size,
              "%s: tensor \"%s\": data_offsets end at %llu, but the file has %llu bytes of data",
              path.c_str(), shown(entry.tensor.name).c_str(), static_cast<unsigned long long>(entry.end),
              static_cast<unsigned long long>(data_size));
        CHECK(entry.begin >= at,
              "%s: tensor \"%s\": data_offsets begin at %llu and overlap tensor \"%s\", which ends at %llu",
              path.c_str(), shown(entry.tensor.name).c_str(), static_cast<unsigned long long>(entry.begin),
              shown(before).c_str(), static_cast<unsigned long long>(at));
        CHECK(entry.begin == at, "%s: tensor \"%s\": data_offsets leave a hole of %llu bytes before it",
              path.c_str(), shown(entry.tensor.name).c_str(), static_cast<unsigned long long>(entry.begin - at));
        at = entry.end;
        before = entry.tensor.name.c_str();
    }
    CHECK(at == data_size, "%s: the last %llu bytes belong to no tensor", path.c_str(),
          static_cast<unsigned long long>(data_size - at));
}

} // namespace

// ---- reading and writing
// -------------------------------------------------------------------------------------------

std::vector<StoredTensor> parse_safetensors(std::string_view file, const std::string& path,
                                            const std::shared_ptr<const void>& owner) {
    std::string_view data;
    const nlohmann::json root = parse_header(file, path, &data);
    std::vector<Entry> entries;
    for (const auto& [name, value] : root.items()) {
        if (name == "__metadata__") {
            check_metadata(value, path);
        } else {
            entries.push_back(parse_entry(name, value, path));
        }
    }
    check_tiling(entries, data.size(), path);

    std::vector<StoredTensor> tensors;
    for (Entry& entry : entries) {
        entry.tensor.data = data.data() + entry.begin;
        entry.tensor.owner = owner;
        tensors.push_back(std::move(entry.tensor));
    }
    return tensors;
}

HostTensors read_safetensors(const std::string& path) {
    const std::string file = read_file(path);
    HostTensors tensors;
    for (const StoredTensor& tensor : parse_safetensors(file, path, nullptr)) {
        tensors[tensor.name] = {tensor.shape, to_floats(tensor)};
    }
    return tensors;
}

std::map<std::string, std::string> read_metadata(const std::string& path) {
    const std::string file = read_file(path);
    std::string_view data;
    const nlohmann::json root = parse_header(file, path, &data);
    const nlohmann::json* metadata = find_field(root, "__metadata__");
    if (metadata == nullptr) {
        return {};
    }
    check_metadata(*metadata, path);
    return metadata->get<std::map<std::string, std::string>>();
}

void write_safetensors(const std::string& path, const HostTensors& tensors, const std::string& dtype,
                       const std::map<std::string, std::string>& metadata) {
    CHECK(dtype == "F32" || dtype == "BF16" || dtype == "F16", "%s: dtype to write is %s, expected F32, BF16 or F16",
          path.c_str(), dtype.c_str());
    const size_t element_size = dtype == "F32" ? 4 : 2;
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
        const size_t end = size + tensor.data.size() * element_size;
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
                CHECK(dtype == "BF16" || !(std::fabs(value) >= 65520), "%s: tensor \"%s\" holds %g, too large for F16",
                      path.c_str(), shown(name).c_str(), static_cast<double>(value));
                const uint16_t bits = dtype == "BF16" ? float_to_bf16(value) : float_to_f16(value);
                std::memcpy(out, &bits, 2);
            }
            out += element_size;
        }
    }
    write_file(path, file);
}

} // namespace skintern
