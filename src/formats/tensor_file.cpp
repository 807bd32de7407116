// tensor_file.cpp — see tensor_file.h.
//
// A Hugging Face folder holds model.safetensors, or several files of such a kind (shards) with an index,
//     model.safetensors.index.json:  {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", ...}}
// The index and the shards must say the same: each tensor lies in the shard that the index names, and in no other. A
// shard is a file of the same folder; a name with a folder in it ("../x") would lead out of the model, and is refused.
//
// Not done: a file that becomes shorter while it is mapped ends the program with SIGBUS, as everywhere.
#include "formats/tensor_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <sys/mman.h>

#include "dequantize.h"
#include "formats/safetensors.h"
#include "support/check.h"
#include "support/descriptor.h"
#include "support/files.h"
#include "support/strict_json.h"

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

std::vector<float> to_floats(const StoredTensor& tensor) {
    const WeightFormat& format = weight_format(tensor.type);
    const int64_t n = static_cast<int64_t>(tensor.bytes) / format.bytes * format.elements;
    std::vector<float> out(static_cast<size_t>(n));
    if (n > 0) {
        dequantize(out.data(), tensor.type, tensor.data, 0, n); // rows are whole blocks: all of them are as one
    }
    return out;
}

} // namespace skintern
