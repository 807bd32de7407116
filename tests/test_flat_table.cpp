// The hash table of byte-pair encoding against std::map, the short piece against the text it is of, and the cache of
// pieces when it is full.
#include "test.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tokenizer/bpe_cache.h"
#include "tokenizer/bpe_merge.h"
#include "tokenizer/flat_table.h"
#include "tokenizer/short_piece.h"

using namespace skintern;

namespace {

// Keys whose hashes are all the same: the worst that a text can do.
struct Clashing {
    int value = 0;
    bool operator==(const Clashing&) const = default;
    uint64_t hash() const { return UINT64_MAX; } // the last place, so that probing wraps around
};

ShortPiece piece_of(const std::string& text) {
    return ShortPiece(text, 0, text.size());
}

// What the cache has for a piece: -1 where it has nothing, else the first id.
int32_t first_id(const PieceCache& cache, const std::string& text) {
    const PieceCache::Ids* ids = cache.find(piece_of(text));
    return ids != nullptr ? (*ids)[0] : -1;
}

} // namespace

TEST_CASE("a flat table holds what a map holds", "[bpe]") {
    std::mt19937 rng(1);
    FlatTable<Pair, int> table;
    std::map<Pair, int> map;
    for (int i = 0; i < 20'000; ++i) {
        const Pair pair = {static_cast<int32_t>(rng() % 100), static_cast<int32_t>(rng() % 100)};
        table[pair] += i;
        map[pair] += i;
    }
    REQUIRE(table.size() == map.size());
    std::map<Pair, int> visited;
    table.for_each([&](const Pair& pair, int value) { visited[pair] = value; });
    REQUIRE(visited == map);
    for (int32_t left = 0; left < 110; ++left) {
        for (int32_t right = 0; right < 110; ++right) {
            const int* found = table.find({left, right});
            REQUIRE((found != nullptr) == (map.count({left, right}) == 1));
            REQUIRE((found == nullptr || *found == map[{left, right}]));
        }
    }
}

TEST_CASE("a flat table tells keys of one hash apart", "[bpe]") {
    FlatTable<Clashing, int> table;
    for (int i = 1; i <= 100; ++i) {
        table[{i}] = -i;
    }
    for (int i = 1; i <= 100; ++i) {
        REQUIRE(table.find({i}) != nullptr);
        REQUIRE(*table.find({i}) == -i);
    }
    REQUIRE(table.find({101}) == nullptr);
}

TEST_CASE("a short piece is its bytes and their number, wherever they stand", "[bpe]") {
    const std::string zeros(ShortPiece::kMostBytes, '\0');
    for (size_t size = 1; size <= ShortPiece::kMostBytes; ++size) {
        const std::string bytes = "abcdefghi\xff\x80lmno";
        const std::string piece = bytes.substr(0, size);
        // In the middle of a text, at the end of one, and the text itself.
        REQUIRE(ShortPiece("xyz" + bytes + "0123456789abcdef", 3, size) == piece_of(piece));
        REQUIRE(ShortPiece("0123456789abcdef" + piece, 16, size) == piece_of(piece));
        REQUIRE(piece_of(piece).text() == piece);
        REQUIRE(piece_of(piece).hash() == ShortPiece("xyz" + bytes + "0123456789abcdef", 3, size).hash());
        // Any other byte, or one more, makes another piece.
        for (size_t i = 0; i < size; ++i) {
            std::string other = piece;
            other[i] ^= 1;
            REQUIRE_FALSE(piece_of(other) == piece_of(piece));
        }
        REQUIRE_FALSE(piece_of(zeros.substr(0, size)) == ShortPiece());
        if (size > 1) {
            REQUIRE_FALSE(piece_of(zeros.substr(0, size)) == piece_of(zeros.substr(0, size - 1)));
        }
    }
}

TEST_CASE("a cache that is full forgets, and never mistakes one piece for another", "[bpe]") {
    PieceCache cache(0); // the smallest
    int known = 0;
    for (int32_t i = 0; i < 1000; ++i) {
        const std::string text = std::to_string(i);
        REQUIRE(first_id(cache, text) == -1);
        const int32_t ids[] = {i, i + 1, i + 2};
        cache.insert(piece_of(text), ids, 3);
        REQUIRE(*cache.find(piece_of(text)) == PieceCache::Ids{i, i + 1, i + 2, -1});
    }
    for (int32_t i = 0; i < 1000; ++i) {
        const int32_t id = first_id(cache, std::to_string(i));
        REQUIRE((id == -1 || id == i));
        known += id == i ? 1 : 0;
    }
    REQUIRE(known >= 10);
    REQUIRE(known < 100);
}
