// bpe_train.cpp — learning the merges from text.
//
// Counts the distinct pieces of the documents and repeats: the most frequent pair of neighbours becomes a
// token. Only the pieces that hold the pair are touched, so a merge costs what it changes.
//
// Ids: the special tokens, the 256 bytes in the order of the byte alphabet, then the merges as they are
// learnt. Memory: O(bytes of the distinct pieces). Does not: learn a merge from a pair that occurs once; the
// vocabulary of a short text stays smaller than asked for.

#include <queue>
#include <unordered_set>

#include "bpe_split.h"
#include "bpe_tables.h"
#include "check.h"

namespace skintern {

namespace {

struct Word {
    std::vector<int32_t> ids;
    int64_t count = 0; // how often the piece occurs
};

struct PairCount {
    int64_t count = 0;         // occurrences in all documents
    std::vector<size_t> words; // that hold the pair, or held it once
};

// Finds the most frequent pair of neighbours, and replaces it by one token.
class PairCounter {
public:
    explicit PairCounter(std::vector<Word> words) : words_(std::move(words)) {
        for (size_t w = 0; w < words_.size(); ++w) {
            const std::vector<int32_t>& ids = words_[w].ids;
            for (size_t i = 0; i + 1 < ids.size(); ++i) {
                add(pair_key(ids[i], ids[i + 1]), w, words_[w].count);
            }
        }
        queue_grown();
    }

    // Takes the most frequent pair out of the queue, of equals the one with the smaller ids; false when no
    // pair occurs twice.
    bool pop(int32_t& left, int32_t& right) {
        while (!queue_.empty()) {
            const Candidate top = queue_.top();
            queue_.pop();
            const int64_t count = pairs_[top.key].count;
            if (count == top.count && count >= kMinCount) {
                left = static_cast<int32_t>(top.key >> 32);
                right = static_cast<int32_t>(top.key & 0xffffffffu);
                return true;
            }
            if (count >= kMinCount) {
                queue_.push({count, top.key}); // it has lost some since it was queued
            }
        }
        return false;
    }

    // Writes `result` for every (left, right).
    void merge(int32_t left, int32_t right, int32_t result) {
        const auto found = pairs_.find(pair_key(left, right));
        const std::vector<size_t> touched = std::move(found->second.words);
        pairs_.erase(found);
        for (const size_t w : touched) {
            merge_in_word(w, left, right, result);
        }
        pairs_.erase(pair_key(left, right)); // overlaps, as in "aaa", counted the pair once more
        queue_grown();
    }

private:
    struct Candidate {
        int64_t count;
        uint64_t key;
        bool operator<(const Candidate& other) const {
            return count != other.count ? count < other.count : key > other.key;
        }
    };
    static constexpr int64_t kMinCount = 2; // a pair seen once is no pattern

    void merge_in_word(size_t w, int32_t left, int32_t right, int32_t result) {
        std::vector<int32_t>& ids = words_[w].ids;
        const int64_t count = words_[w].count;
        size_t out = 0;
        for (size_t i = 0; i < ids.size(); ++out) {
            if (i + 1 == ids.size() || ids[i] != left || ids[i + 1] != right) {
                ids[out] = ids[i++];
                continue;
            }
            if (out > 0) {
                add(pair_key(ids[out - 1], left), w, -count);
                add(pair_key(ids[out - 1], result), w, count);
            }
            if (i + 2 < ids.size()) {
                add(pair_key(right, ids[i + 2]), w, -count);
                add(pair_key(result, ids[i + 2]), w, count);
            }
            ids[out] = result;
            i += 2;
        }
        ids.resize(out);
    }

    void add(uint64_t key, size_t word, int64_t count) {
        PairCount& pair = pairs_[key];
        pair.count += count;
        if (count > 0) {
            grown_.insert(key);
            if (pair.words.empty() || pair.words.back() != word) {
                pair.words.push_back(word);
            }
        }
    }

    void queue_grown() {
        for (const uint64_t key : grown_) {
            const auto pair = pairs_.find(key);
            if (pair != pairs_.end() && pair->second.count >= kMinCount) {
                queue_.push({pair->second.count, key});
            }
        }
        grown_.clear();
    }

    std::vector<Word> words_;
    std::unordered_map<uint64_t, PairCount> pairs_;
    std::unordered_set<uint64_t> grown_;   // pairs whose count the last merge raised: to be queued anew
    std::priority_queue<Candidate> queue_; // counts may be too high, never too low
};

// The distinct pieces of the documents as bytes, with their counts.
std::vector<Word> count_words(const std::vector<std::string>& documents,
                              const std::array<int32_t, 256>& byte_ids) {
    std::unordered_map<std::string_view, int64_t> pieces;
    for (const std::string& document : documents) {
        const std::string_view text = document;
        for (size_t pos = 0, end = 0; pos < text.size(); pos = end) {
            end = piece_end(PreSplit::gpt2_digits, text, pos);
            ++pieces[text.substr(pos, end - pos)];
        }
    }
    std::vector<Word> words;
    words.reserve(pieces.size());
    for (const auto& [piece, count] : pieces) {
        Word word{{}, count};
        for (const char byte : piece) {
            word.ids.push_back(byte_ids[static_cast<unsigned char>(byte)]);
        }
        words.push_back(std::move(word));
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
    Merge merge{};
    while (static_cast<int64_t>(tables->tokens.size()) < config.vocab_size &&
           pairs.pop(merge.left, merge.right)) {
        const std::string bytes = tables->tokens[static_cast<size_t>(merge.left)] +
                                  tables->tokens[static_cast<size_t>(merge.right)];
        // A text that is a token already ("ab"+"c" after "a"+"bc", or a special token) stays in two: an id
        // has one text, and a text one id.
        if (taken.insert(to_letters(bytes)).second) {
            merge.result = static_cast<int32_t>(tables->tokens.size());
            tables->tokens.push_back(bytes);
            tables->add_merge(merge);
            pairs.merge(merge.left, merge.right, merge.result);
        }
    }
    return Bpe(std::move(tables));
}

} // namespace skintern
