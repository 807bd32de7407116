// tokenizer.json; one that loads has to encode, and to give back what it encoded.
#include "bpe.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("tokenizer.json");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] {
        const Bpe bpe = Bpe::load(path);
        const std::string text = "Ab 12\n";
        std::vector<int32_t> ids;
        try {
            ids = bpe.encode(text);
        } catch (const Error&) {
            return; // a byte that the vocabulary lacks
        }
        expect(bpe.decode(ids) == text, "decode to be the inverse of encode", bpe.decode(ids));
    });
}
