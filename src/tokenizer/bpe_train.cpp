// bpe_train.cpp — learning the merges from text.
//
// Counts the distinct pieces of the documents and repeats: the most frequent pair of neighbours becomes a
// token. Only the pieces that hold the pair are touched, so a merge costs what it changes.
//
// Ids: the special tokens, the 256 bytes in the order of the byte alphabet, then the merges as they are
// learnt. Memory: O(bytes of the distinct pieces). Does not: learn a merge from a pair that occurs once; the
// vocabulary of a short text stays smaller than asked for.

#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "support/check.h"
#include "tokenizer/bpe_split.h"
#include "tokenizer/bpe_tables.h"
#include "tokenizer/flat_table.h"
#include "tokenizer/short_piece.h"

namespace skintern {

namespace {

// A distinct piece.
struct Word {
    size_t begin;  // of its ids
    size_t size;   // how many they are
    int64_t count; // how often the piece occurs
};

struct Words {
    std::vector<Word> words;
    std::vector<int32_t> ids; // of one word after another; a merge leaves a gap at a word's end
};

struct PairCount {
    int64_t count = 0;           // occurrences in all documents
    std::vector<uint32_t> words; // that hold the pair, or held it once
};

// Finds the most frequent pair of neighbours, and replaces it by one token.
class PairCounter {
public:
    explicit PairCounter(Words words) : words_(std::move(words)) {
        CHECK(words_.words.size() <= UINT32_MAX, "%zu distinct pieces are too many to train on",
              words_.words.size());
        for (size_t w = 0; w < words_.words.size(); ++w) {
            const Word& word = words_.words[w];
            const int32_t* ids = &words_.ids[word.begin];
            for (size_t i = 0; i + 1 < word.size; ++i) {
                add({ids[i], ids[i + 1]}, w, word.count);
            }
        }
        queue_new();
    }

    // Takes the most frequent pair out of the queue, of equals the one with the smaller ids; false when no
    // pair occurs twice.
    bool pop(Pair& pair) {
        while (!queue_.empty()) {
            const Candidate top = queue_.top();
            queue_.pop();
            const int64_t count = pairs_[top.pair].count;
            if (count == top.count && count >= kMinCount) {
                pair = top.pair;
                return true;
            }
            if (count >= kMinCount) {
                queue_.push({count, top.pair}); // it has lost some since it was queued
            }
        }
        return false;
    }

    // Writes `result` for every `pair`.
    void merge(const Pair& pair, int32_t result) {
        // The count stays at zero, or goes below: overlaps, as in "aaa", take the pair away once more.
        const std::vector<uint32_t> touched = std::exchange(pairs_[pair], {}).words;
        for (const uint32_t w : touched) {
            merge_in_word(w, pair, result);
        }
        queue_new();
    }

private:
    struct Candidate {
        int64_t count;
        Pair pair;
        bool operator<(const Candidate& other) const {
            return count != other.count ? count < other.count : pair > other.pair;
        }
    };
    static constexpr int64_t kMinCount = 2; // a pair seen once is no pattern

    void merge_in_word(uint32_t w, const Pair& pair, int32_t result) {
        Word& word = words_.words[w];
        int32_t* ids = &words_.ids[word.begin];
        size_t out = 0;
        for (size_t i = 0; i < word.size; ++out) {
            if (i + 1 == word.size || ids[i] != pair.left || ids[i + 1] != pair.right) {
                ids[out] = ids[i++];
                continue;
            }
            if (out > 0) {
                add({ids[out - 1], pair.left}, w, -word.count);
                add({ids[out - 1], result}, w, word.count);
            }
            if (i + 2 < word.size) {
                add({pair.right, ids[i + 2]}, w, -word.count);
                add({result, ids[i + 2]}, w, word.count);
            }
            ids[out] = result;
            i += 2;
        }
        word.size = out;
    }

    void add(const Pair& key, size_t word, int64_t count) {
        PairCount& pair = pairs_[key];
        pair.count += count;
        if (count > 0) {
            if (pair.words.empty()) {
                new_.push_back(key);
            }
            if (pair.words.empty() || pair.words.back() != word) {
                pair.words.push_back(static_cast<uint32_t>(word));
            }
        }
    }

    // A pair gains only while its newer half is being made, and loses from then on: it is queued once.
    void queue_new() {
        for (const Pair& pair : new_) {
            if (const int64_t count = pairs_[pair].count; count >= kMinCount) {
                queue_.push({count, pair});
            }
        }
        new_.clear();
    }

    Words words_;
    FlatTable<Pair, PairCount> pairs_;
    std::vector<Pair> new_;                // pairs that the last merge made
    std::priority_queue<Candidate> queue_; // counts may be too high, never too low
};

// The distinct pieces of the documents as bytes, with their counts. Their order has no say in what is learnt.
Words count_words(const std::vector<std::string>& documents, const std::array<int32_t, 256>& byte_ids) {
    FlatTable<ShortPiece, int64_t> short_pieces;
    std::unordered_map<std::string_view, int64_t> long_pieces;
    for (const std::string& document : documents) {
        const std::string_view text = document;
        for (size_t pos = 0, end = 0; pos < text.size(); pos = end) {
            end = piece_end(PreSplit::gpt2_digits, text, pos);
            if (end - pos <= ShortPiece::kMostBytes) {
                ++short_pieces[ShortPiece(text, pos, end - pos)];
            } else {
                ++long_pieces[text.substr(pos, end - pos)];
            }
        }
    }
    Words words;
    const auto add = [&](std::string_view piece, int64_t count) {
        words.words.push_back({words.ids.size(), piece.size(), count});
        for (const char byte : piece) {
            words.ids.push_back(byte_ids[static_cast<unsigned char>(byte)]);
        }
    };
    short_pieces.for_each([&](const ShortPiece& piece, int64_t count) { add(piece.text(), count); });
    for (const auto& [piece, count] : long_pieces) {
        add(piece, count);
    }
    return words;
}

} // namespace

Bpe Bpe::train(const std::vector<std::string>& documents, const BpeTrainConfig& config) {
    const auto specials = static_cast<int64_t>(config.special_tokens.size());
    CHECK(specials >= 1, "training a tokenizer needs a special token: the first one ends a sequence");
    CHECK(config.vocab_size >= specials + 256 && config.vocab_size <= INT32_MAX,
          "vocab_size %lld is outside %lld (256 bytes and %lld special tokens) to %d",
          static_cast<long long>(config.vocab_size), static_cast<long long>(specials + 256),
          static_cast<long long>(specials), INT32_MAX);

    auto tables = std::make_unique<BpeTables>();
    std::unordered_set<std::string> taken; // texts of the vocabulary, as tokenizer.json writes them
    for (const std::string& letter : byte_alphabet().letter) {
        taken.insert(letter);
    }
    for (const std::string& token : config.special_tokens) {
        CHECK(!token.empty() && taken.insert(token).second,
              "special token '%s' is empty, a byte, or named twice", token.c_str());
        const auto id = static_cast<int32_t>(tables->tokens.size());
        tables->special.push_back(id);
        tables->added.add(token, id);
        tables->added_ids[token] = id;
        tables->tokens.push_back(token);
    }
    tables->eos = 0;
    for (const int byte : byte_alphabet().order) {
        tables->byte_ids[static_cast<size_t>(byte)] = static_cast<int32_t>(tables->tokens.size());
        tables->tokens.emplace_back(1, static_cast<char>(byte));
    }

    PairCounter pairs(count_words(documents, tables->byte_ids));
    Pair pair;
    while (static_cast<int64_t>(tables->tokens.size()) < config.vocab_size && pairs.pop(pair)) {
        const std::string bytes =
            tables->tokens[static_cast<size_t>(pair.left)] + tables->tokens[static_cast<size_t>(pair.right)];
        // A text that is a token already ("ab"+"c" after "a"+"bc", or a special token) stays in two: an id
        // has one text, and a text one id.
        if (taken.insert(to_letters(bytes)).second) {
            const auto result = static_cast<int32_t>(tables->tokens.size());
            tables->tokens.push_back(bytes);
            tables->add_merge({pair.left, pair.right, result});
            pairs.merge(pair, result);
        }
    }
    return Bpe(std::move(tables));
}

} // namespace skintern
