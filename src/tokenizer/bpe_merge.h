// bpe_merge.h — merging: of all pairs of neighbours the one with the lowest rank (the one learnt first, the leftmost of
// equals) becomes one token, until no known pair is left.
//
// Two ways to the same result. A short word looks through all its pairs for each merge: that is quadratic, but of a
// dozen symbols it is a few loads. A long one keeps a doubly linked list of symbols, and a heap of the pairs that can
// merge: n symbols take O(n log n), whatever they are.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "tokenizer/flat_table.h"

namespace skintern {

// Two neighbouring ids.
struct Pair {
    int32_t left = -1;
    int32_t right = -1;
    auto operator<=>(const Pair&) const = default;
    uint64_t hash() const {
        const uint64_t both =
            static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
        return (both ^ both >> 32) * kHashFactor;
    }
};

struct RankedMerge {
    int32_t rank;
    int32_t result;
};

using Ranks = FlatTable<Pair, RankedMerge>;

class Merger {
public:
    explicit Merger(const Ranks& ranks) : ranks_(ranks) {}

    // Appends what `symbols` merge to, to `ids`.
    void merge(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids);

private:
    static constexpr size_t kShort = 32; // symbols; beyond them the heap is faster

    void merge_short(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids) const;
    void merge_long(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids);

    struct Symbol {
        int32_t id;
        int32_t prev; // index of the neighbour, -1: none
        int32_t next;
        RankedMerge merge; // with `next`; rank -1: none
    };

    void merge_with_next(int32_t i);
    void queue_pair(int32_t i);

    const Ranks& ranks_;
    std::vector<Symbol> symbols_;
    // rank and index of the left symbol in one number: the lowest rank first, of equals the leftmost
    std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue_;
};

} // namespace skintern
