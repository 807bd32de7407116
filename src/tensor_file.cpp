// tensor_file.cpp — see tensor_file.h.
//
// A Hugging Face folder holds model.safetensors, or several files of such a kind (shards) with an index,
//     model.safetensors.index.json:  {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", ...}}
// The index and the shards must say the same: each tensor lies in the shard that the index names, and in no other. A
// shard is a file of the same folder; a name with a folder in it ("../x") would lead out of the model, and is refused.
//
// Not done: a file that becomes shorter while it is mapped ends the program with SIGBUS, as everywhere.
#include "tensor_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <sys/mman.h>

#include "check.h"
#include "descriptor.h"
#include "files.h"
#include "safetensors.h"
#include "strict_json.h"

namespace skintern {

// ---- mapping -----------------------------------------------------------------------------------------------------

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
    const OpenFile file = open_regular_file(path);
    if (file.size == 0) { // which mmap refuses
        return std::shared_ptr<const MappedFile>(new MappedFile("", 0));
    }
    void* data = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.descriptor.get(), 0);
    CHECK(data != MAP_FAILED, "%s: cannot be mapped: %s", path.c_str(), std::strerror(errno));
    return std::shared_ptr<const MappedFile>(new MappedFile(static_cast<const char*>(data), file.size));
}

MappedFile::~MappedFile() {
    if (size_ > 0) {
        ::munmap(const_cast<char*>(data_), size_);
    }
}

// ---- safetensors, one file or several ------------------------------------------------------------------------------

namespace {

std::vector<StoredTensor> map_one(const std::string& path) {
    const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    return parse_safetensors(file->bytes(), path, file);
}

void check_shard_name(const std::string& shard, const std::string& tensor, const std::string& index_path) {
    CHECK(shard.ends_with(".safetensors") && shard.find_first_of(std::string("/\0", 2)) == std::string::npos,
          "%s: tensor \"%s\" is said to lie in \"%s\", expected a .safetensors file of the same folder",
          index_path.c_str(), shown(tensor).c_str(), shown(shard).c_str());
}

// Tensor -> shard, as the index has it.
std::map<std::string, std::string> read_index(const std::string& path) {
    const nlohmann::json root = parse_json(read_file(path), path);
    as_object(root, "the text", path);
    const nlohmann::json& list = as_object(need_field(root, "weight_map", path), "weight_map", path);
    CHECK(!list.empty(), "%s: weight_map is empty", path.c_str());
    std::map<std::string, std::string> shard_of;
    for (const auto& [tensor, value] : list.items()) {
        const std::string& shard = as_string(value, "weight_map entry \"" + shown(tensor) + "\"", path);
        check_shard_name(shard, tensor, path);
        shard_of[tensor] = shard;
    }
    return shard_of;
}

std::vector<StoredTensor> map_shards(const std::string& folder, const std::string& index_path) {
    std::map<std::string, std::string> shard_of = read_index(index_path);
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : shard_of) {
        shards.insert(shard);
    }
    std::vector<StoredTensor> all;
    for (const std::string& shard : shards) {
        const std::string path = folder + "/" + shard;
        CHECK(file_exists(path), "%s: is missing, but %s names it", path.c_str(), index_path.c_str());
        for (StoredTensor& tensor : map_one(path)) {
            const auto place = shard_of.find(tensor.name);
            CHECK(place != shard_of.end(), "%s: holds tensor \"%s\", which %s does not name there",
                  path.c_str(), shown(tensor.name).c_str(), index_path.c_str());
            CHECK(place->second == shard, "%s: holds tensor \"%s\", which lies in %s according to %s",
                  path.c_str(), shown(tensor.name).c_str(), shown(place->second).c_str(), index_path.c_str());
            shard_of.erase(place);
            all.push_back(std::move(tensor));
        }
    }
    CHECK(shard_of.empty(), "%s: tensor \"%s\" is missing, but %s says it is there",
          (folder + "/" + shard_of.begin()->second).c_str(), shown(shard_of.begin()->first).c_str(),
          index_path.c_str());
    return all;
}

} // namespace

std::vector<StoredTensor> map_safetensors(const std::string& path) {
    std::vector<StoredTensor> tensors;
    if (!std::filesystem::is_directory(path)) {
        tensors = map_one(path);
    } else if (file_exists(path + "/model.safetensors")) {
        tensors = map_one(path + "/model.safetensors");
    } else {
        const std::string index_path = path + "/model.safetensors.index.json";
        CHECK(file_exists(index_path), "%s: holds neither model.safetensors nor model.safetensors.index.json",
              path.c_str());
        tensors = map_shards(path, index_path);
    }
    std::sort(tensors.begin(), tensors.end(),
              [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
    return tensors;
}

// ---- shapes and numbers -------------------------------------------------------------------------------------------

std::optional<int64_t> count_elements(const std::vector<int64_t>& shape, int64_t element_size) {
    // A zero among the dimensions must not hide an overflow of the others: who multiplies from the left meets it.
    int64_t n = 1; // product of the dimensions that are not zero
    for (const int64_t d : shape) {
        if (d != 0 && n > INT64_MAX / element_size / d) {
            return std::nullopt;
        }
        n *= d != 0 ? d : 1;
    }
    return std::find(shape.begin(), shape.end(), 0) != shape.end() ? 0 : n;
}

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string out = "[";
    for (size_t i = 0; i < shape.size(); i++) {
        out += (i > 0 ? "," : "") + std::to_string(shape[i]);
    }
    return out + "]";
}

namespace {

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

float bf16_to_float(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

} // namespace

std::vector<float> to_floats(const StoredTensor& tensor) {
    CHECK(tensor.type <= WeightType::bf16, "tensor \"%s\": its type %s cannot be widened to floats yet",
          shown(tensor.name).c_str(), weight_format(tensor.type).name);
    const size_t size = static_cast<size_t>(weight_format(tensor.type).bytes);
    std::vector<float> out(tensor.bytes / size);
    if (tensor.type == WeightType::f32 && !out.empty()) {
        std::memcpy(out.data(), tensor.data, tensor.bytes);
    } else {
        const char* in = static_cast<const char*>(tensor.data);
        for (float& value : out) {
            uint16_t bits;
            std::memcpy(&bits, in, sizeof(bits)); // data need not be aligned
            value = tensor.type == WeightType::f16 ? f16_to_float(bits) : bf16_to_float(bits);
            in += sizeof(bits);
        }
    }
    return out;
}

} // namespace skintern
