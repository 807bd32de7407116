// safetensors.h — the tensor file of Hugging Face: 8 bytes little-endian header length, a JSON header, the data.
//
// Read: F32, F16, BF16, as they lie (parse_safetensors) or widened to float (read_safetensors). Everything in the header
// is checked before it is used: lengths by subtraction, products without overflow, offsets against the file, no holes, no
// overlaps, no duplicate names. Written: F32, or BF16 or F16 rounded to nearest even.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_file.h"

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

// The tensors of a file whose bytes `owner` keeps, in the order in which they lie there; `path` is for messages. Throws
// Error with one sentence naming the file, and the field or tensor.
std::vector<StoredTensor> parse_safetensors(std::string_view file, const std::string& path,
                                            const std::shared_ptr<const void>& owner);

// Copies, as floats: for adapters and states, which are trained.
HostTensors read_safetensors(const std::string& path);

// The texts of __metadata__; empty when there is none.
std::map<std::string, std::string> read_metadata(const std::string& path);

// `dtype` F32, BF16 or F16; a number that F16 cannot hold is an error. Whole or not at all. `metadata` becomes __metadata__.
void write_safetensors(const std::string& path, const HostTensors& tensors, const std::string& dtype = "F32",
                       const std::map<std::string, std::string>& metadata = {});

} // namespace skintern
