// flat_table.h — the hash table of byte-pair encoding, whose loops look up little else: ranks and counts of pairs of ids,
// counts of pieces of text.
//
// Open addressing with linear probing (Knuth, volume 3, 6.4, algorithm L): keys and values lie in one array, at most half
// full, so a lookup mostly reads one cache line, where std::unordered_map follows a pointer to the bucket and one to the
// node. Does not: remove a key. References stay valid until the next key is added.
//
// A Key has == and hash(), whose high bits depend on all of the key; Key{} stands for a free slot and is never added.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace skintern {

// Multiplicative hashing: 2^64 divided by the golden ratio.
constexpr uint64_t kHashFactor = 0x9e3779b97f4a7c15;

template <class Key, class Value>
class FlatTable {
public:
    size_t size() const { return size_; }

    // nullptr: the key is not here.
    const Value* find(const Key& key) const {
        const Slot& slot = slots_[place(key)];
        return slot.key == key ? &slot.value : nullptr;
    }

    // The value of the key, Value{} when it is new.
    Value& operator[](const Key& key) {
        size_t at = place(key);
        if (!(slots_[at].key == key)) {
            if (2 * (size_ + 1) > slots_.size()) {
                grow();
                at = place(key);
            }
            slots_[at].key = key;
            ++size_;
        }
        return slots_[at].value;
    }

    // Calls visit(key, value) for every key, in an order that depends on the keys alone and on their being added.
    template <class Visit>
    void for_each(const Visit& visit) const {
        for (const Slot& slot : slots_) {
            if (!(slot.key == Key{})) {
                visit(slot.key, slot.value);
            }
        }
    }

private:
    struct Slot {
        Key key{};
        Value value{};
    };

    // Where the key is, or the free slot where it belongs.
    size_t place(const Key& key) const {
        size_t at = key.hash() >> shift_;
        while (!(slots_[at].key == key) && !(slots_[at].key == Key{})) {
            at = (at + 1) & (slots_.size() - 1);
        }
        return at;
    }

    void grow() {
        std::vector<Slot> old(2 * slots_.size());
        old.swap(slots_);
        --shift_;
        for (Slot& slot : old) {
            if (!(slot.key == Key{})) {
                slots_[place(slot.key)] = std::move(slot);
            }
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(16); // always a power of two
    size_t size_ = 0;
    int shift_ = 64 - 4; // leaves log2(slots_.size()) bits of a hash
};

} // namespace skintern
