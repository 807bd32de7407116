// bpe.h — byte-pair encoding (Sennrich et al. 2016), trained, loaded, saved and applied.
//
// Two kinds of published tokenizers, and the one this project trains:
//   - byte-level (GPT-2): a regular expression cuts the text into pieces, and a piece starts as its bytes. GPT-2, Llama 3,
//     Qwen2, SmolLM2; ours is of SmolLM2's kind.
//   - SentencePiece (Llama 2, TinyLlama): a blank is written ▁, the whole text is one piece, and it starts as its
//     characters; one that is no token is written by its bytes, <0x00> to <0xFF>.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skintern {

struct BpeTrainConfig {
    int64_t vocab_size = 2048;                                   // special tokens and the 256 bytes included
    std::vector<std::string> special_tokens = {"<|endoftext|>"}; // get the first ids; the first one is EOS
};

struct EncodeOptions {
    bool parse_special =
        false; // special tokens written in the text become their ids; otherwise they are ordinary text
    bool add_special =
        false;              // with the tokens that the model's own tokenizer puts around a text (BOS, mostly)
    bool continues = false; // the text goes on from another: SentencePiece puts no blank before it
};

struct BpeTables; // what a Bpe consists of: bpe_tables.h

class Bpe {
public:
    // Trains on `documents`. Pre-split: digits singly, then the GPT-2 regular expression, Unicode classes by utf8proc.
    // Ties between equally frequent pairs go to the pair whose ids are smaller, so that the result depends on nothing
    // but the text.
    static Bpe train(const std::vector<std::string>& documents, const BpeTrainConfig& config);

    // Reads a Hugging Face folder, a tokenizer.json or a .gguf file. Throws Error naming file and field.
    static Bpe load(const std::string& path);
    // Writes a tokenizer.json that the `tokenizers` package loads and encodes identically with. Only of the kind that
    // train() makes.
    void save(const std::string& path) const;

    // Token ids of any bytes. Bytes that are no UTF-8 are encoded as they are; the package cannot be given any.
    std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
    std::vector<int32_t> encode(std::string_view text, bool parse_special = false) const {
        return encode(text, EncodeOptions{parse_special, false, false});
    }

    // The text of the ids. Special tokens give their text only when `special`. Byte-level: the exact inverse of encode
    // (Qwen2: of the normalised text); SentencePiece: without the blank that encode put before the text.
    std::string decode(const std::vector<int32_t>& ids, bool special = false) const;

    int64_t vocab_size() const;
    int32_t bos() const; // what add_special puts before a text, -1: nothing
    int32_t eos() const; // what ends a sequence, as the file says
    int32_t
    token_id(std::string_view added_token) const; // special tokens and other added ones; -1: there is none
    // The bytes that a token stands for (a special token: its text).
    const std::string& token_bytes(int32_t id) const;
    // The Jinja template that came with the tokenizer, "": none. See chat.h.
    const std::string& chat_template() const;

    Bpe(Bpe&&) noexcept;
    Bpe& operator=(Bpe&&) noexcept;
    ~Bpe();

private:
    explicit Bpe(std::unique_ptr<BpeTables> tables);
    std::unique_ptr<BpeTables> tables_;
};

} // namespace skintern
