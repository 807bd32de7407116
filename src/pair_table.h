// pair_table.h — a hash table from pairs of ids to values, for the two loops of byte-pair encoding that look up little
// else: the rank of a pair (bpe_merge.h) and its count (bpe_train.cpp).
//
// Open addressing with linear probing (Knuth, volume 3, 6.4, algorithm L): keys and values lie in one array, at most half
// full, so a lookup mostly reads one cache line, where std::unordered_map follows a pointer to the bucket and one to the
// node. Does not: remove a key; references stay valid only until the next key is added.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace skintern {

// Two ids as one number, ordered as the pair (left, right).
inline uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

template <class Value>
class PairTable {
public:
    size_t size() const { return size_; }

    // nullptr: the key is not here.
    const Value* find(uint64_t key) const {
        const Slot& slot = slots_[place(key)];
        return slot.key == key ? &slot.value : nullptr;
    }

    // The value of the key, Value{} when it is new.
    Value& operator[](uint64_t key) {
        size_t at = place(key);
        if (slots_[at].key != key) {
            if (2 * (size_ + 1) > slots_.size()) {
                grow();
                at = place(key);
            }
            slots_[at].key = key;
            ++size_;
        }
        return slots_[at].value;
    }

private:
    static constexpr uint64_t kFree = UINT64_MAX; // the pair (-1, -1), which are no ids

    struct Slot {
        uint64_t key = kFree;
        Value value{};
    };

    // Where the key is, or the free slot where it belongs.
    size_t place(uint64_t key) const {
        // The product's high bits depend on all bits of the key; the constant is 2^64 / the golden ratio.
        size_t at = (key ^ key >> 32) * 0x9e3779b97f4a7c15u >> shift_;
        while (slots_[at].key != key && slots_[at].key != kFree) {
            at = (at + 1) & (slots_.size() - 1);
        }
        return at;
    }

    void grow() {
        std::vector<Slot> old(2 * slots_.size());
        old.swap(slots_);
        --shift_;
        for (Slot& slot : old) {
            if (slot.key != kFree) {
                slots_[place(slot.key)] = std::move(slot);
            }
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(16); // always a power of two
    size_t size_ = 0;
    int shift_ = 64 - 4; // the hash has log2(slots_.size()) bits
};

} // namespace skintern
