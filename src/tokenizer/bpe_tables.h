// bpe_tables.h — what a Bpe consists of. For the bpe*.cpp only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/bpe.h"
#include "tokenizer/bpe_merge.h"
#include "tokenizer/bpe_split.h"

namespace skintern {

struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
};

using TokenIds = std::unordered_map<std::string, int32_t>; // text of a token, as its file writes it → id

// ---- how files write bytes -------------------------------------------------------------------------------

// Byte-level: GPT-2 gives a printable Latin-1 byte its own character, and the other 68, in order, U+0100,
// U+0101, ... .
struct ByteAlphabet {
    std::array<std::string, 256> letter;        // byte → UTF-8 of its character
    std::unordered_map<std::string, char> byte; // and back
    std::array<int, 256> order;                 // the bytes by character: training numbers them so
};
const ByteAlphabet& byte_alphabet();
std::string to_letters(std::string_view bytes);
// The bytes that `text` writes; false when one of its characters is none of the 256.
bool from_letters(const std::string& text, std::string& bytes);

// SentencePiece: ▁ (U+2581) for a blank, and tokens <0x00> to <0xFF> for bytes.
constexpr std::string_view kBlankMark = "\xe2\x96\x81";
std::string marks_to_blanks(std::string_view text);
std::string blanks_to_marks(std::string_view text);
int byte_of_token(std::string_view token); // 0 to 255; -1: not of the form <0xNN>

// ---- added tokens ----------------------------------------------------------------------------------------

// Tokens that are cut out of a text before anything else is done with it.
class AddedTokens {
public:
    void add(const std::string& text, int32_t id);
    // The longest that stands at `pos`: its id and the length of its text; -1: none.
    std::pair<int32_t, size_t> longest_at(std::string_view text, size_t pos) const;
    // The next position from `pos` on where one may stand, judged by its first byte; text.size(): nowhere.
    size_t next_begin(std::string_view text, size_t pos) const {
        while (pos < text.size() && !begins_[static_cast<unsigned char>(text[pos])]) {
            ++pos;
        }
        return pos;
    }

private:
    std::array<bool, 256> begins_ = {}; // whether one begins with this byte
    std::vector<std::pair<std::string, int32_t>>
        sorted_; // by text: those with a common beginning are neighbours
};

// ---- the whole -------------------------------------------------------------------------------------------

struct BpeTables {
    enum class Symbols { bytes, characters };
    // Who puts a blank before the text: nobody; the normaliser, before every stretch between added tokens; the
    // pre-tokeniser Metaspace, likewise, or before the text alone, and only where none stands.
    enum class Prefix { none, always, where_missing, first_where_missing };

    // What is done to a text before it is cut and merged.
    Symbols symbols = Symbols::bytes; // what a piece starts as; characters: blanks are written as marks
    Prefix prefix = Prefix::none;
    bool nfc = false;
    PreSplit split = PreSplit::gpt2_digits;
    bool strip_blank = false; // decoding takes one blank from the beginning

    std::vector<std::string> tokens; // (V) the bytes a token stands for; of an added token its text
    std::vector<int32_t> special;    // ids of the special tokens, ascending
    TokenIds added_ids;              // special and other added tokens
    AddedTokens added;               // cut out of the text as it is given
    AddedTokens added_normalized;    // cut out of the normalised text; their own text is normalised too

    std::array<int32_t, 256> byte_ids; // -1: the vocabulary lacks the byte
    TokenIds characters;               // Symbols::characters: those that are tokens
    bool byte_fallback = false;        // Symbols::characters: others are their bytes; byte_ids has all 256
    int32_t unknown = -1;              // for a symbol without a token; -1: it is left out
    bool fuse_unknown = false;         // a run of them is one
    std::vector<Merge> merges;         // by rank; not kept where ranks come from scores
    Ranks ranks;
    TokenIds whole_pieces; // a piece found here is not merged (Llama 3: ignore_merges)

    std::vector<int32_t> before, after; // what add_special puts around a text
    int32_t eos = -1;
    std::string chat_template;

    BpeTables() { byte_ids.fill(-1); }

    bool is_special(int32_t id) const { return std::binary_search(special.begin(), special.end(), id); }

    void add_merge(const Merge& merge) {
        ranks[{merge.left, merge.right}] = {static_cast<int32_t>(merges.size()), merge.result};
        merges.push_back(merge);
    }
};

// `text` as the normaliser of the tokenizer leaves it; `with_prefix`: what it puts before a text included.
std::string normalized(const BpeTables& tables, std::string_view text, bool with_prefix = true);

// What a SentencePiece token stands for, and what it is good for in encoding; `is_byte`: a token <0xNN> is that byte.
void add_sentencepiece_token(const std::string& text, int32_t id, bool is_byte, BpeTables& tables);

// Where no merge's result has a ▁ after another character, nothing is ever merged across that place: PreSplit::whole
// becomes mark_runs, whose pieces come again and are short. To be called when all is read.
void cut_at_marks_if_none_cross(BpeTables& tables);

// The readers of the two file formats. Both throw Error naming file and field. A tokenizer.json does not say what ends
// a sequence and has no chat template: the files of its folder that do are read too.
std::unique_ptr<BpeTables> read_tokenizer_json(const std::string& path); // bpe_file.cpp
std::unique_ptr<BpeTables> read_gguf_tokenizer(const std::string& path); // bpe_gguf.cpp

} // namespace skintern
