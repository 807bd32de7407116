// The file of a trained compressor.
#include "fuzz.h"
#include "method/probe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("probe.json");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] { load_probe(path); });
}
