// bpe_merge.cpp — the scan, and the list with its heap, of bpe_merge.h.

#include "tokenizer/bpe_merge.h"

#include <array>

#include "support/check.h"

namespace skintern {

void Merger::merge(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids) {
    if (symbols.empty()) {
        return;
    }
    if (symbols.size() <= kShort) {
        merge_short(symbols, ids);
    } else {
        merge_long(symbols, ids);
    }
}

// ---- short words -----------------------------------------------------------------------------------------------

void Merger::merge_short(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids) const {
    constexpr RankedMerge kNone = {INT32_MAX, -1};
    std::array<int32_t, kShort> id;
    std::array<RankedMerge, kShort> merge; // of id[i] and id[i + 1]; of the last one kNone
    size_t n = symbols.size();
    std::copy(symbols.begin(), symbols.end(), id.begin());
    const auto look_up = [&](size_t i) {
        const RankedMerge* found = i + 1 < n ? ranks_.find({id[i], id[i + 1]}) : nullptr;
        merge[i] = found != nullptr ? *found : kNone;
    };
    for (size_t i = 0; i < n; ++i) {
        look_up(i);
    }
    while (true) {
        size_t best = 0;
        for (size_t i = 1; i < n; ++i) {
            best = merge[i].rank < merge[best].rank ? i : best; // of equals the leftmost
        }
        if (merge[best].rank == kNone.rank) {
            break;
        }
        id[best] = merge[best].result;
        --n;
        for (size_t i = best + 1; i < n; ++i) {
            id[i] = id[i + 1];
            merge[i] = merge[i + 1];
        }
        look_up(best);
        if (best > 0) {
            look_up(best - 1);
        }
    }
    ids.insert(ids.end(), id.begin(), id.begin() + n);
}

// ---- long words ------------------------------------------------------------------------------------------------

void Merger::merge_long(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids) {
    CHECK(symbols.size() <= static_cast<size_t>(INT32_MAX), "a word of %zu symbols is too long to encode",
          symbols.size());
    const auto n = static_cast<int32_t>(symbols.size());
    symbols_.resize(symbols.size());
    for (int32_t i = 0; i < n; ++i) {
        symbols_[i] = {symbols[i], i - 1, i + 1 < n ? i + 1 : -1, {-1, -1}};
    }
    for (int32_t i = 0; i < n; ++i) {
        queue_pair(i);
    }
    while (!queue_.empty()) {
        const uint64_t top = queue_.top();
        queue_.pop();
        const auto rank = static_cast<int32_t>(top >> 32);
        const auto i = static_cast<int32_t>(top & 0xffffffffu);
        if (symbols_[i].merge.rank == rank) { // otherwise a neighbour was merged since the pair was queued
            merge_with_next(i);
        }
    }
    for (int32_t i = 0; i >= 0; i = symbols_[i].next) {
        ids.push_back(symbols_[i].id);
    }
}

void Merger::merge_with_next(int32_t i) {
    Symbol& symbol = symbols_[i];
    Symbol& gone = symbols_[symbol.next];
    gone.merge.rank = -1;
    symbol.id = symbol.merge.result;
    symbol.next = gone.next;
    if (symbol.next >= 0) {
        symbols_[symbol.next].prev = i;
    }
    queue_pair(i);
    if (symbol.prev >= 0) {
        queue_pair(symbol.prev);
    }
}

void Merger::queue_pair(int32_t i) {
    Symbol& symbol = symbols_[i];
    symbol.merge.rank = -1;
    if (symbol.next < 0) {
        return;
    }
    if (const RankedMerge* found = ranks_.find({symbol.id, symbols_[symbol.next].id})) {
        symbol.merge = *found;
        queue_.push(static_cast<uint64_t>(symbol.merge.rank) << 32 | static_cast<uint32_t>(i));
    }
}

} // namespace skintern
