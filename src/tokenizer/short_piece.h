// short_piece.h — up to 15 bytes of text as two words: compared at once, hashed with two multiplications, kept without a
// pointer. Nearly all pieces of running text are that short.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tokenizer/flat_table.h"

namespace skintern {

class ShortPiece {
public:
    static constexpr size_t kMostBytes = 15;

    ShortPiece() = default; // no piece: those have a size

    // text[pos, pos + size), 1 <= size <= kMostBytes.
    ShortPiece(std::string_view text, size_t pos, size_t size) {
        // A copy of a fixed size is two loads. It takes in what follows the piece, which is masked away.
        uint64_t words[2] = {};
        if (text.size() - pos >= sizeof words) {
            std::memcpy(words, text.data() + pos, sizeof words);
        } else {
            std::memcpy(words, text.data() + pos, size);
        }
        low_ = (words[0] & kMasks[size].bytes[0]) | kMasks[size].size[0];
        high_ = (words[1] & kMasks[size].bytes[1]) | kMasks[size].size[1];
    }

    // The piece itself.
    std::string_view text() const {
        const char* bytes = reinterpret_cast<const char*>(this);
        return {bytes, static_cast<size_t>(bytes[kMostBytes])};
    }

    bool operator==(const ShortPiece&) const = default;

    uint64_t hash() const {
        const uint64_t low = low_ * kHashFactor;
        return (low ^ low >> 32 ^ high_) * kHashFactor;
    }

private:
    // By the size of a piece: which bits are its bytes, and the size as the last byte.
    struct Mask {
        std::array<uint64_t, 2> bytes, size;
    };
    static constexpr std::array<Mask, kMostBytes + 1> kMasks = [] {
        std::array<Mask, kMostBytes + 1> masks{};
        for (size_t size = 0; size <= kMostBytes; ++size) {
            std::array<unsigned char, 16> bytes{}, last{};
            std::fill(bytes.begin(), bytes.begin() + size, 0xff);
            last.back() = static_cast<unsigned char>(size);
            masks[size] = {std::bit_cast<std::array<uint64_t, 2>>(bytes),
                           std::bit_cast<std::array<uint64_t, 2>>(last)};
        }
        return masks;
    }();

    uint64_t low_ = 0; // in the order of the text's bytes, whatever number that is
    uint64_t high_ = 0;
};

} // namespace skintern
