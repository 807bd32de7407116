// tokenizer.json; one that loads has to take any text, or to say which byte it lacks.
#include "fuzz.h"
#include "tokenizer/bpe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("tokenizer.json");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] {
        const Bpe bpe = Bpe::load(path);
        try {
            bpe.decode(bpe.encode("Ab 12\n"));
        } catch (const Error&) { // a byte that the vocabulary lacks
        }
    });
}
