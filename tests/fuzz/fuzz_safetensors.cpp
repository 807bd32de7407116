// The header of safetensors, and the numbers it points to.
#include "formats/safetensors.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    return try_reading("x.safetensors", [&] {
        for (const StoredTensor& tensor : parse_safetensors(as_text(data, size), "x.safetensors", nullptr)) {
            to_floats(tensor);
        }
    });
}
