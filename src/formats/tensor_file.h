// tensor_file.h — the tensors of a model where they lie: mapped from the file, in the file's own type.
//
// Weights are not copied when a model is loaded: a tensor is a type, a shape and a pointer into the mapping, whose pages
// the system brings in when they are read and may drop again. Who holds a StoredTensor holds the mapping too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weight_type.h"

namespace skintern {

// A file of which every byte can be read, mapped read-only; unmapped with the last owner.
class MappedFile {
public:
    // Throws Error naming the path and the system's reason; an empty file is a mapping of size 0.
    static std::shared_ptr<const MappedFile> open(const std::string& path);
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::string_view bytes() const { return {data_, size_}; }

private:
    MappedFile(const char* data, size_t size) : data_(data), size_(size) {}
    const char* data_;
    size_t size_;
};

struct StoredTensor {
    std::string name; // as the file has it
    WeightType type = WeightType::f32;
    std::vector<int64_t> shape;        // row-major, as Hugging Face writes it: (OUT,IN) of a linear layer
    const void* data = nullptr;        // aligned for its type or not
    size_t bytes = 0;                  // of the whole tensor, in the file's format
    std::shared_ptr<const void> owner; // of what data points into: a MappedFile, or a buffer
};

// The tensors of a .safetensors file, or of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json names. Sorted by name. Throws Error naming file and tensor.
std::vector<StoredTensor> map_safetensors(const std::string& path);

// A tensor's numbers as floats.
std::vector<float> to_floats(const StoredTensor& tensor);

// Elements of a shape, or nothing when they, times `element_size`, would not fit int64_t.
std::optional<int64_t> count_elements(const std::vector<int64_t>& shape, int64_t element_size);

// "[320,64]", for messages.
std::string shape_text(const std::vector<int64_t>& shape);

} // namespace skintern
