// npy.h — an array in NumPy's file format, in C order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/safetensors.h"

namespace skintern {

// Versions 1 to 3; <f4, <f8, <i4, <i8, widened (or rounded) to float. Throws Error naming the file and the field.
HostTensor read_npy(const std::string& path);
HostTensor parse_npy(std::string_view bytes, const std::string& path); // `path`: for messages

void write_npy(const std::string& path, const float* data,
               const std::vector<int64_t>& shape); // <f4, version 1.0

} // namespace skintern
