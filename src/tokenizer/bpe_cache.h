// bpe_cache.h — the short pieces that a text has had before, with their ids.
//
// In running text most pieces are old acquaintances, so encoding is as fast as finding them again. A slot is half a
// cache line and holds all there is to know: the piece itself and its ids (up to 4). A piece is looked for in a few
// neighbouring slots; where they are taken, the newcomer replaces one. So a lookup costs the same whatever the text, and
// the memory is bounded.
//
// Does not: hold longer pieces or more ids; the caller keeps them elsewhere or merges them again.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/short_piece.h"

namespace skintern {

class PieceCache {
public:
    static constexpr size_t kMostIds = 4;
    using Ids = std::array<int32_t, kMostIds>; // the last ones are -1 where there are fewer

    // For a text of `bytes`.
    explicit PieceCache(size_t bytes) {
        const size_t places = std::bit_ceil(std::clamp(bytes / kBytesASlot, kFewestPlaces, kMostPlaces));
        slots_.resize(places + kWays - 1);
        shift_ = 64 - std::countr_zero(places);
    }

    // nullptr: the piece is not here.
    const Ids* find(const ShortPiece& piece) const {
        const Slot* slot = &slots_[piece.hash() >> shift_];
        for (size_t way = 0; way < kWays; ++way) {
            if (slot[way].piece == piece) {
                return &slot[way].ids;
            }
        }
        return nullptr;
    }

    // `count` ids, 1 <= count <= kMostIds, of a piece that is not here.
    void insert(const ShortPiece& piece, const int32_t* ids, size_t count) {
        Slot* const first = &slots_[piece.hash() >> shift_];
        const auto is_free = [](const Slot& slot) { return slot.piece == ShortPiece(); };
        Slot* const free = std::find_if(first, first + kWays, is_free);
        Slot& slot = free != first + kWays ? *free : *first;
        slot.piece = piece;
        slot.ids.fill(-1);
        std::copy(ids, ids + count, slot.ids.begin());
    }

private:
    static constexpr size_t kBytesASlot = 8; // of the text: new pieces are rarer
    static constexpr size_t kFewestPlaces = 16;
    static constexpr size_t kMostPlaces = 1 << 16; // 2 MB; twice and half as many are no faster
    static constexpr size_t kWays = 4;

    struct Slot {
        ShortPiece piece;
        Ids ids;
    };

    std::vector<Slot> slots_; // kWays from each of the places on
    int shift_;               // leaves log2(places) bits of a hash
};

} // namespace skintern
