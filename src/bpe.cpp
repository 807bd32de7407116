// bpe.cpp — byte-level byte-pair encoding: text to ids and back.
//
// A text becomes tokens in two steps.
//   1. Pre-split (bpe_split.h): the text is cut into pieces that no token crosses.
//   2. Merging: a piece starts as its bytes; of all pairs of neighbours the one with the lowest rank (the one
//      learnt first, the leftmost of equals) becomes one token, until no known pair is left.
//
// Cost: n bytes take O(n log n), whatever they are. A piece that the text has had before is copied.
//
// Does not: normalise, add BOS or EOS, or replace invalid UTF-8; decode(encode(x)) == x for all bytes.

#include "bpe.h"

#include <functional>
#include <queue>

#include "bpe_split.h"
#include "bpe_tables.h"
#include "check.h"

namespace skintern {

namespace {

// Applies the merges to one piece: a doubly linked list of symbols, and a heap of the pairs that can merge.
class PieceEncoder {
public:
    PieceEncoder(const std::array<int32_t, 256>& byte_ids, const std::vector<Merge>& merges,
                 const Ranks& ranks)
        : byte_ids_(byte_ids), merges_(merges), ranks_(ranks) {}

    // Appends the tokens of `piece` to `ids`.
    void encode(std::string_view piece, std::vector<int32_t>& ids) {
        CHECK(piece.size() <= static_cast<size_t>(INT32_MAX), "a word of %zu bytes is too long to encode",
              piece.size());
        const auto n = static_cast<int32_t>(piece.size());
        symbols_.resize(piece.size());
        for (int32_t i = 0; i < n; ++i) {
            const auto byte = static_cast<unsigned char>(piece[static_cast<size_t>(i)]);
            CHECK(byte_ids_[byte] >= 0, "the vocabulary has no token for byte 0x%02x of the text", byte);
            symbols_[i] = {byte_ids_[byte], i - 1, i + 1 < n ? i + 1 : -1, -1};
        }
        for (int32_t i = 0; i < n; ++i) {
            queue_pair(i);
        }
        while (!queue_.empty()) {
            const uint64_t top = queue_.top();
            queue_.pop();
            const auto rank = static_cast<int32_t>(top >> 32);
            const auto i = static_cast<int32_t>(top & 0xffffffffu);
            if (symbols_[i].rank == rank) { // otherwise a neighbour was merged since the pair was queued
                merge(i, merges_[static_cast<size_t>(rank)].result);
            }
        }
        for (int32_t i = 0; i >= 0; i = symbols_[i].next) {
            ids.push_back(symbols_[i].id);
        }
    }

private:
    struct Symbol {
        int32_t id;
        int32_t prev; // index of the neighbour, -1: none
        int32_t next;
        int32_t rank; // of the merge with `next`, -1: none
    };

    void merge(int32_t i, int32_t result) {
        Symbol& symbol = symbols_[i];
        Symbol& gone = symbols_[symbol.next];
        gone.rank = -1;
        symbol.id = result;
        symbol.next = gone.next;
        if (symbol.next >= 0) {
            symbols_[symbol.next].prev = i;
        }
        queue_pair(i);
        if (symbol.prev >= 0) {
            queue_pair(symbol.prev);
        }
    }

    void queue_pair(int32_t i) {
        Symbol& symbol = symbols_[i];
        symbol.rank = -1;
        if (symbol.next < 0) {
            return;
        }
        const auto found = ranks_.find(pair_key(symbol.id, symbols_[symbol.next].id));
        if (found != ranks_.end()) {
            symbol.rank = found->second;
            queue_.push(static_cast<uint64_t>(symbol.rank) << 32 | static_cast<uint32_t>(i));
        }
    }

    const std::array<int32_t, 256>& byte_ids_;
    const std::vector<Merge>& merges_;
    const Ranks& ranks_;
    std::vector<Symbol> symbols_;
    // rank and index of the left symbol in one number: the lowest rank first, of equals the leftmost
    std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue_;
};

} // namespace

Bpe::Bpe(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Bpe::Bpe(Bpe&&) noexcept = default;
Bpe& Bpe::operator=(Bpe&&) noexcept = default;
Bpe::~Bpe() = default;

std::vector<int32_t> Bpe::encode(std::string_view text, bool parse_special) const {
    constexpr size_t kCachedPieces = 1 << 16;
    std::vector<int32_t> ids;
    PieceEncoder encoder(tables_->byte_ids, tables_->merges, tables_->ranks);
    struct Span {
        size_t begin;
        size_t size;
    };
    std::unordered_map<std::string_view, Span> seen; // piece → where its ids stand in `ids`
    const auto encode_ordinary = [&](std::string_view part) {
        for (size_t pos = 0, end = 0; pos < part.size(); pos = end) {
            end = piece_end(part, pos);
            const std::string_view piece = part.substr(pos, end - pos);
            const auto found = seen.find(piece);
            if (found != seen.end()) {
                for (size_t i = 0; i < found->second.size; ++i) {
                    ids.push_back(ids[found->second.begin + i]);
                }
                continue;
            }
            const size_t begin = ids.size();
            encoder.encode(piece, ids);
            if (seen.size() < kCachedPieces) {
                seen.emplace(piece, Span{begin, ids.size() - begin});
            }
        }
    };
    size_t begin = 0; // of the ordinary text that is not encoded yet
    for (size_t pos = 0; parse_special && pos < text.size();) {
        const int32_t special = tables_->special_at(text, pos);
        if (special < 0) {
            ++pos;
            continue;
        }
        encode_ordinary(text.substr(begin, pos - begin));
        ids.push_back(special);
        pos += token_bytes(special).size();
        begin = pos;
    }
    encode_ordinary(text.substr(begin));
    return ids;
}

std::string Bpe::decode(const std::vector<int32_t>& ids, bool special) const {
    std::string text;
    for (const int32_t id : ids) {
        const std::string& bytes = token_bytes(id);
        if (special || !tables_->is_special(id)) {
            text += bytes;
        }
    }
    return text;
}

int64_t Bpe::vocab_size() const {
    return static_cast<int64_t>(tables_->tokens.size());
}

int32_t Bpe::eos() const {
    return tables_->special.front();
}

int32_t Bpe::token_id(std::string_view special_token) const {
    for (const int32_t id : tables_->special) {
        if (tables_->tokens[static_cast<size_t>(id)] == special_token) {
            return id;
        }
    }
    return -1;
}

const std::string& Bpe::token_bytes(int32_t id) const {
    CHECK(id >= 0 && id < vocab_size(), "token id %d is outside the vocabulary of %lld", id,
          static_cast<long long>(vocab_size()));
    return tables_->tokens[static_cast<size_t>(id)];
}

} // namespace skintern
