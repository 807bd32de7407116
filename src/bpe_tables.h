// bpe_tables.h — what a Bpe consists of. For bpe.cpp, bpe_train.cpp and bpe_file.cpp only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bpe.h"

namespace skintern {

struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
};

// Two ids as one number, ordered as the pair (left, right).
inline uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

using Ranks = std::unordered_map<uint64_t, int32_t>; // pair_key → index of its merge

// How tokenizer.json writes a token's bytes: GPT-2 gives a printable Latin-1 byte its own character, and the
// other 68, in order, U+0100, U+0101, ... .
struct ByteAlphabet {
    std::array<std::string, 256> letter;        // byte → UTF-8 of its character
    std::unordered_map<std::string, char> byte; // and back
    std::array<int, 256> order;                 // the bytes by character: training numbers them so
};
const ByteAlphabet& byte_alphabet();
std::string to_letters(const std::string& bytes);

struct Bpe::Tables {
    std::vector<std::string> tokens;     // (V) bytes of a token; of a special token its text
    std::vector<int32_t> special;        // ids of the special tokens, ascending
    std::array<int32_t, 256> byte_ids{}; // -1: the vocabulary lacks the byte
    std::vector<Merge> merges;           // by rank
    Ranks ranks;

    bool is_special(int32_t id) const { return std::binary_search(special.begin(), special.end(), id); }

    void add_merge(const Merge& merge) {
        ranks[pair_key(merge.left, merge.right)] = static_cast<int32_t>(merges.size());
        merges.push_back(merge);
    }

    // The longest special token that stands at `pos`, -1: none.
    int32_t special_at(std::string_view text, size_t pos) const {
        int32_t longest = -1;
        for (const int32_t id : special) {
            const std::string& token = tokens[static_cast<size_t>(id)];
            if (text.compare(pos, token.size(), token) == 0 &&
                (longest < 0 || token.size() > tokens[static_cast<size_t>(longest)].size())) {
                longest = id;
            }
        }
        return longest;
    }
};

} // namespace skintern
