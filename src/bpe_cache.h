// bpe_cache.h — the short pieces that a text has had before, with their ids.
//
// In running text most pieces are old acquaintances, so encoding is as fast as finding them again. A slot is half a
// cache line and holds all there is to know: the piece itself (up to 15 bytes and its size, as two words: one
// comparison) and its ids (up to 4). A piece is looked for in a few neighbouring slots; where they are taken, the
// newcomer replaces one. So a lookup costs the same whatever the text, and the memory is bounded.
//
// Does not: hold longer pieces or more ids; the caller keeps them elsewhere or merges them again.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace skintern {

class PieceCache {
public:
    static constexpr size_t kMostBytes = 15;
    static constexpr size_t kMostIds = 4;

    using Ids = std::array<int32_t, kMostIds>; // those that are not used are -1, the last ones

    // The bytes of a piece, zeros after them, and its size in the last byte: never all zero.
    struct Key {
        uint64_t low, high; // bytes of the piece, not of a number: only compared and hashed
        bool operator==(const Key&) const = default;
    };

    // For a text of `bytes`.
    explicit PieceCache(size_t bytes)
        : slots_(std::bit_ceil(std::clamp(bytes / kBytesASlot, kFewestSlots, kMostSlots)) + kWays - 1),
          shift_(64 - std::countr_zero(slots_.size() - (kWays - 1))) {}

    // The key of text[pos, pos + size), 1 <= size <= kMostBytes.
    static Key key(std::string_view text, size_t pos, size_t size) {
        Key key = {};
        if (text.size() - pos >= sizeof key) { // copies of a fixed size are loads, and mask the rest away
            std::memcpy(&key, text.data() + pos, sizeof key);
        } else {
            std::memcpy(&key, text.data() + pos, size);
        }
        const Mask& mask = kMasks[size];
        return {(key.low & mask.bytes.low) | mask.size.low, (key.high & mask.bytes.high) | mask.size.high};
    }

    // The ids of the piece; nullptr: it is not here.
    const Ids* find(const Key& key) const {
        const Slot* slot = &slots_[first_slot(key)];
        for (size_t way = 0; way < kWays; ++way) {
            if (slot[way].key == key) {
                return &slot[way].ids;
            }
        }
        return nullptr;
    }

    // `count` ids, 1 <= count <= kMostIds, of a piece that is not here.
    void insert(const Key& key, const int32_t* ids, size_t count) {
        const auto first = slots_.begin() + static_cast<std::ptrdiff_t>(first_slot(key));
        const auto is_free = [](const Slot& slot) { return slot.key == Key{}; };
        const auto free = std::find_if(first, first + kWays, is_free);
        Slot& slot = free != first + kWays ? *free : *first;
        slot.key = key;
        slot.ids.fill(-1);
        std::copy(ids, ids + count, slot.ids.begin());
    }

private:
    static constexpr size_t kBytesASlot = 8; // of the text: new pieces are rarer
    static constexpr size_t kFewestSlots = 16;
    static constexpr size_t kMostSlots = 1 << 16; // 2 MB
    static constexpr size_t kWays = 4;

    struct Slot {
        Key key; // all zero: free
        Ids ids;
    };

    // By the size of a piece: the bits that are its bytes, and its size as the last byte.
    struct Mask {
        Key bytes, size;
    };
    static constexpr std::array<Mask, kMostBytes + 1> kMasks = [] {
        std::array<Mask, kMostBytes + 1> masks{};
        for (size_t size = 0; size <= kMostBytes; ++size) {
            std::array<unsigned char, sizeof(Key)> bytes{}, last{};
            std::fill(bytes.begin(), bytes.begin() + size, 0xff);
            last.back() = static_cast<unsigned char>(size);
            masks[size] = {std::bit_cast<Key>(bytes), std::bit_cast<Key>(last)};
        }
        return masks;
    }();

    // The products' high bits depend on all bits of the key (Knuth, volume 3, 6.4: multiplicative hashing).
    size_t first_slot(const Key& key) const {
        const uint64_t low = key.low * 0x9e3779b97f4a7c15u; // 2^64 / the golden ratio
        return ((low ^ low >> 32 ^ key.high) * 0x9e3779b97f4a7c15u) >> shift_;
    }

    std::vector<Slot> slots_; // a power of two, and kWays - 1 more
    int shift_;
};

} // namespace skintern
