// config.json of a model: what is read is valid.
#include "formats/config.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("config.json");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] { validate(read_model_config(path), path); });
}
