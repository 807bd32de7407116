// GGUF: metadata by every kind, tensors, and the model they make.
#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    return try_reading("x.gguf", [&] {
        const GgufFile file = GgufFile::parse(as_text(data, size), "x.gguf", nullptr);
        for (const std::string& key : file.keys()) {
            file.shown_value(key);
            const auto read = [&](auto kind) { try_reading("x.gguf", [&] { (file.*kind)(key); }); };
            read(&GgufFile::text);
            read(&GgufFile::integer);
            read(&GgufFile::number);
            read(&GgufFile::flag);
            read(&GgufFile::texts);
            read(&GgufFile::integers);
            read(&GgufFile::numbers);
        }
        for (const StoredTensor& tensor : file.tensors()) {
            to_floats(tensor);
        }
        for (const StoredTensor& tensor : gguf_model(file).tensors) {
            to_floats(tensor);
        }
    });
}
