// bpe.h — byte-level byte-pair encoding (Sennrich et al. 2016; the byte alphabet of GPT-2), trained, saved and applied.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skintern {

struct BpeTrainConfig {
    int64_t vocab_size = 2048;                                 // special tokens and the 256 bytes included
    std::vector<std::string> special_tokens = {"<|endoftext|>"}; // get the first ids; the first one is EOS
};

class Bpe {
public:
    // Trains on `documents`. Pre-split: digits singly, then the GPT-2 regular expression, Unicode classes by utf8proc.
    // Ties between equally frequent pairs go to the pair whose ids are smaller, so that the result depends on nothing
    // but the text.
    static Bpe train(const std::vector<std::string>& documents, const BpeTrainConfig& config);

    // Reads a Hugging Face tokenizer.json of the kind that save() writes. Throws Error naming file and field.
    static Bpe load(const std::string& path);
    // Writes a tokenizer.json that the `tokenizers` package loads and encodes identically with.
    void save(const std::string& path) const;

    // Token ids of any bytes (invalid UTF-8 included). Special tokens written in the text are ordinary text unless
    // parse_special.
    std::vector<int32_t> encode(std::string_view text, bool parse_special = false) const;

    // The bytes of the ids; exact inverse of encode. Special tokens give their text only when `special`.
    std::string decode(const std::vector<int32_t>& ids, bool special = false) const;

    int64_t vocab_size() const;
    int32_t eos() const; // the first special token
    int32_t token_id(std::string_view special_token) const; // -1 when there is none
    // The bytes of one token (a special token: its text).
    const std::string& token_bytes(int32_t id) const;

    Bpe(Bpe&&) noexcept;
    Bpe& operator=(Bpe&&) noexcept;
    ~Bpe();

private:
    struct Tables;
    explicit Bpe(std::unique_ptr<Tables> tables);
    std::unique_ptr<Tables> tables_;
};

} // namespace skintern
