// adapter_config.json of an adapter.
#include "formats/lora_config.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("adapter_config.json");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] { read_lora_config(path); });
}
