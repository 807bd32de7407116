// NumPy's .npy.
#include "formats/npy.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    return try_reading("x.npy", [&] { parse_npy(as_text(data, size), "x.npy"); });
}
