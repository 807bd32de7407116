// Any bytes, encoded by the shipped tokenizer and decoded again.
#include "fuzz.h"
#include "tokenizer/bpe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const Bpe bpe = Bpe::load("data/base/tokenizer.json");
    const std::string text(as_text(data, size));
    for (const bool special : {false, true}) {
        const std::vector<int32_t> ids = bpe.encode(text, special);
        expect(bpe.decode(ids, special) == text, "decode to be the inverse of encode",
               bpe.decode(ids, special));
    }
    return 0;
}
