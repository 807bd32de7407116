// bpe_merge.cpp — the list and the heap of bpe_merge.h.

#include "bpe_merge.h"

#include "check.h"

namespace skintern {

void Merger::merge(const std::vector<int32_t>& symbols, std::vector<int32_t>& ids) {
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
    for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = symbols_[i].next) {
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
    const auto found = ranks_.find(pair_key(symbol.id, symbols_[symbol.next].id));
    if (found != ranks_.end()) {
        symbol.merge = found->second;
        queue_.push(static_cast<uint64_t>(symbol.merge.rank) << 32 | static_cast<uint32_t>(i));
    }
}

} // namespace skintern
