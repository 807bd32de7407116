// model.safetensors.index.json, without the shards it names.
#include "formats/tensor_file.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("model.safetensors.index.json");
    const std::string folder = std::filesystem::path(file.holding(data, size)).parent_path().string();
    return try_reading(folder, [&] { map_safetensors(folder); });
}
