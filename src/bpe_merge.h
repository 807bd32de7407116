// bpe_merge.h — merging: of all pairs of neighbours the one with the lowest rank (the one learnt first, the leftmost of
// equals) becomes one token, until no known pair is left.
//
// A doubly linked list of symbols, and a heap of the pairs that can merge: n symbols take O(n log n), whatever they are.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <unordered_map>
#include <vector>

namespace skintern {

// Two ids as one number, ordered as the pair (left, right).
inline uint64_t pair_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

struct RankedMerge {
    int32_t rank;
    int32_t result;
};

using Ranks = std::unordered_map<uint64_t, RankedMerge>; // pair_key → its merge

class Merger {
public:
    explicit Merger(const Ranks& ranks) : ranks_(ranks) {}

    // Appends what `symbols` merge to, to `ids`.
    void merge(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids);

private:
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
