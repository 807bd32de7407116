// safetensors.h — the tensor file of Hugging Face: 8 bytes little-endian header length, a JSON header, the data.
//
// Read: F32, F16, BF16 (widened to float). Everything in the header is checked before it is used: lengths by
// subtraction, products without overflow, offsets against the file, no holes, no overlaps, no duplicate names.
// Written: F32, or BF16 rounded to nearest even.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace skintern {

struct HostTensor {
    std::vector<int64_t> shape;
    std::vector<float> data;
    int64_t numel() const {
        int64_t n = 1;
        for (const int64_t d : shape) {
            n *= d;
        }
        return n;
    }
};

using HostTensors = std::map<std::string, HostTensor>; // sorted by name: files come out the same every time

// Throws Error with one sentence naming the file, and the field or tensor.
HostTensors read_safetensors(const std::string& path);

// `dtype` F32 or BF16. Whole or not at all. `metadata` becomes __metadata__.
void write_safetensors(const std::string& path, const HostTensors& tensors, const std::string& dtype = "F32",
                       const std::map<std::string, std::string>& metadata = {});

// A float32 or int32 array in NumPy's .npy format (version 1.0, C order).
void write_npy(const std::string& path, const float* data, const std::vector<int64_t>& shape);
HostTensor read_npy(const std::string& path); // <f4, <f8, <i4, <i8; integers widened to float

} // namespace skintern
