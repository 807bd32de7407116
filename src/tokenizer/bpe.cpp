// bpe.cpp — text to ids and back.
//
// A text becomes tokens in steps, each of which the tokenizer's file may leave out:
//   1. Added tokens are cut out of it; the special ones only when they are asked for.
//   2. What lies between is normalised: form C (Qwen2), or blanks as ▁ with one put in front (SentencePiece).
//      Added tokens that are to be found in normalised text are cut out now.
//   3. Pre-split (bpe_split.h): the rest is cut into pieces that no token crosses.
//   4. A piece starts as its bytes or characters, and is merged (bpe_merge.h).
//
// Cost: n bytes take O(n log n), whatever they are. A piece that the text has had before is copied.

#include "tokenizer/bpe.h"

#include "support/check.h"
#include "support/utf8.h"
#include "tokenizer/bpe_cache.h"
#include "tokenizer/bpe_merge.h"
#include "tokenizer/bpe_normalize.h"
#include "tokenizer/bpe_split.h"
#include "tokenizer/bpe_tables.h"

namespace skintern {

// ---- added tokens ----------------------------------------------------------------------------------------

void AddedTokens::add(const std::string& text, int32_t id) {
    const std::pair<std::string, int32_t> entry(text, id);
    sorted_.insert(std::lower_bound(sorted_.begin(), sorted_.end(), entry), entry);
    begins_[static_cast<unsigned char>(text.front())] = true;
}

// Narrows the range of those that begin as the text does, byte by byte.
std::pair<int32_t, size_t> AddedTokens::longest_at(std::string_view text, size_t pos) const {
    std::pair<int32_t, size_t> longest(-1, 0);
    auto begin = sorted_.begin();
    auto end = sorted_.end();
    for (size_t size = 0; begin != end; ++size) {
        if (begin->first.size() == size) { // the shortest of a range stands first
            longest = {begin->second, size};
            ++begin;
        }
        if (pos + size == text.size()) {
            break;
        }
        const auto wanted = static_cast<unsigned char>(text[pos + size]);
        const auto byte_of = [size](const auto& entry) {
            return static_cast<unsigned char>(entry.first[size]);
        };
        begin = std::partition_point(begin, end, [&](const auto& entry) { return byte_of(entry) < wanted; });
        end = std::partition_point(begin, end, [&](const auto& entry) { return byte_of(entry) == wanted; });
    }
    return longest;
}

// ---- normalising -----------------------------------------------------------------------------------------

std::string normalized(const BpeTables& tables, std::string_view text, bool with_prefix) {
    if (tables.nfc) {
        return to_nfc(text);
    }
    if (tables.prefix != BpeTables::Prefix::always || text.empty()) {
        return std::string(text);
    }
    return std::string(with_prefix ? kBlankMark : "") + blanks_to_marks(text);
}

// ---- encoding --------------------------------------------------------------------------------------------

namespace {

// One text.
class Encoder {
public:
    Encoder(const BpeTables& tables, const EncodeOptions& options, size_t bytes)
        : tables_(tables), options_(options), at_start_(!options.continues), merger_(tables.ranks),
          cache_(bytes) {}

    std::vector<int32_t> encode(std::string_view text) {
        ids_.reserve(text.size() / 3); // English takes less
        const auto add = [this](const std::vector<int32_t>& around) {
            ids_.insert(ids_.end(), around.begin(), around.end());
        };
        if (options_.add_special) {
            add(tables_.before);
        }
        cut_out(tables_.added, text, [this](std::string_view part) { encode_unnormalized(part); });
        if (options_.add_special) {
            add(tables_.after);
        }
        return std::move(ids_);
    }

private:
    // Emits the added tokens of the text, the leftmost and of those the longest first, and hands on what lies
    // between them. A special token that is not asked for stays in the text, whole: none is looked for inside.
    template <typename Rest>
    void cut_out(const AddedTokens& added, std::string_view text, const Rest& rest) {
        size_t begin = 0; // of the text that is not handed on yet
        for (size_t pos = added.next_begin(text, 0); pos < text.size(); pos = added.next_begin(text, pos)) {
            const auto [id, size] = added.longest_at(text, pos);
            if (id < 0 || (tables_.is_special(id) && !options_.parse_special)) {
                pos += id < 0 ? 1 : size;
                continue;
            }
            if (pos > begin) {
                rest(text.substr(begin, pos - begin));
            }
            ids_.push_back(id);
            at_start_ = false;
            pos += size;
            begin = pos;
        }
        if (begin < text.size()) {
            rest(text.substr(begin));
        }
    }

    void encode_unnormalized(std::string_view text) {
        const bool goes_on = options_.continues && ids_.empty();
        const bool unchanged = !tables_.nfc && tables_.prefix != BpeTables::Prefix::always;
        const std::string form = unchanged ? "" : normalized(tables_, text, !goes_on);
        cut_out(tables_.added_normalized, unchanged ? text : form, [&](std::string_view part) {
            encode_ordinary(part, goes_on);
            at_start_ = false;
        });
    }

    void encode_ordinary(std::string_view text, bool goes_on) {
        std::string marked;
        if (tables_.symbols == BpeTables::Symbols::characters &&
            tables_.prefix != BpeTables::Prefix::always) {
            const bool here = tables_.prefix == BpeTables::Prefix::where_missing ||
                              (tables_.prefix == BpeTables::Prefix::first_where_missing && at_start_);
            marked = blanks_to_marks(text);
            if (here && !goes_on && !marked.starts_with(kBlankMark)) {
                marked.insert(0, kBlankMark);
            }
            text = marked;
        }
        for (size_t pos = 0, end = 0; pos < text.size(); pos = end) {
            end = piece_end(tables_.split, text, pos);
            if (end - pos <= ShortPiece::kMostBytes) {
                encode_short_piece(text, pos, end - pos);
            } else {
                encode_long_piece(text.substr(pos, end - pos));
            }
        }
    }

    void encode_short_piece(std::string_view text, size_t pos, size_t size) {
        const ShortPiece piece(text, pos, size);
        if (const PieceCache::Ids* ids = cache_.find(piece)) {
            for (size_t i = 0; i < ids->size() && (*ids)[i] >= 0; ++i) {
                ids_.push_back((*ids)[i]);
            }
            return;
        }
        const size_t begin = ids_.size();
        encode_new_piece(text.substr(pos, size));
        const size_t count = ids_.size() - begin;
        if (count >= 1 && count <= PieceCache::kMostIds) {
            cache_.insert(piece, &ids_[begin], count);
        }
    }

    void encode_long_piece(std::string_view piece) {
        constexpr size_t kCachedPieces = 1 << 16;
        constexpr size_t kCachedBytes = 256; // of a piece: longer ones do not come again
        const auto found = seen_.find(piece);
        if (found != seen_.end()) {
            for (size_t i = 0; i < found->second.size; ++i) {
                ids_.push_back(ids_[found->second.begin + i]);
            }
            return;
        }
        const size_t begin = ids_.size();
        encode_new_piece(piece);
        if (seen_.size() < kCachedPieces && piece.size() <= kCachedBytes) {
            seen_.emplace(piece, Span{begin, ids_.size() - begin});
        }
    }

    void encode_new_piece(std::string_view piece) {
        const auto whole = tables_.whole_pieces.empty() ? tables_.whole_pieces.end()
                                                        : tables_.whole_pieces.find(std::string(piece));
        if (whole != tables_.whole_pieces.end()) {
            ids_.push_back(whole->second);
        } else {
            start_symbols(piece);
            merger_.merge(symbols_, ids_);
        }
    }

    // What the piece is before anything is merged, into symbols_. A symbol that has no token, where the vocabulary has
    // none for unknown ones either, is left out, as the `tokenizers` package does it: SmolLM2 lacks some control
    // characters.
    void start_symbols(std::string_view piece) {
        symbols_.clear();
        bool after_unknown = false;
        for (size_t pos = 0, size = 0; pos < piece.size(); pos += size) {
            const bool is_byte = tables_.symbols == BpeTables::Symbols::bytes;
            size = is_byte ? 1 : utf8_at(piece, pos).size;
            const std::string_view symbol = piece.substr(pos, size);
            const int32_t id = is_byte ? byte_id(symbol[0]) : character_id(symbol);
            const bool as_bytes = !is_byte && id < 0 && tables_.byte_fallback;
            const bool unknown = id < 0 && !as_bytes;
            if (id >= 0) {
                symbols_.push_back(id);
            } else if (as_bytes) {
                for (const char byte : symbol) {
                    symbols_.push_back(byte_id(byte));
                }
            } else if (tables_.unknown >= 0 && !(after_unknown && tables_.fuse_unknown)) {
                symbols_.push_back(tables_.unknown);
            }
            after_unknown = unknown;
        }
    }

    int32_t byte_id(char byte) const { return tables_.byte_ids[static_cast<unsigned char>(byte)]; }

    int32_t character_id(std::string_view character) const {
        const auto found = tables_.characters.find(std::string(character));
        return found != tables_.characters.end() ? found->second : -1;
    }

    struct Span {
        size_t begin;
        size_t size;
    };
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void; // a string_view is looked up without making a string of it
    };

    const BpeTables& tables_;
    const EncodeOptions options_;
    bool at_start_; // of the text: nothing of it is encoded yet
    std::vector<int32_t> ids_;
    std::vector<int32_t> symbols_;
    Merger merger_;
    PieceCache cache_;
    std::unordered_map<std::string, Span, Hash, std::equal_to<>> seen_; // piece → where its ids stand in ids_
};

} // namespace

std::vector<int32_t> Bpe::encode(std::string_view text, const EncodeOptions& options) const {
    return Encoder(*tables_, options, text.size()).encode(text);
}

// ---- decoding --------------------------------------------------------------------------------------------

std::string Bpe::decode(const std::vector<int32_t>& ids, bool special) const {
    std::string text;
    for (const int32_t id : ids) {
        const std::string& bytes = token_bytes(id);
        if (special || !tables_->is_special(id)) {
            text += bytes;
        }
    }
    if (tables_->strip_blank && text.starts_with(' ')) {
        text.erase(0, 1);
    }
    return text;
}

// ---- the rest --------------------------------------------------------------------------------------------

Bpe::Bpe(std::unique_ptr<BpeTables> tables) : tables_(std::move(tables)) {}
Bpe::Bpe(Bpe&&) noexcept = default;
Bpe& Bpe::operator=(Bpe&&) noexcept = default;
Bpe::~Bpe() = default;

Bpe Bpe::load(const std::string& path) {
    if (path.ends_with(".gguf")) {
        return Bpe(read_gguf_tokenizer(path));
    }
    return Bpe(read_tokenizer_json(path.ends_with(".json") ? path : path + "/tokenizer.json"));
}

int64_t Bpe::vocab_size() const {
    return static_cast<int64_t>(tables_->tokens.size());
}

int32_t Bpe::bos() const {
    return tables_->before.empty() ? -1 : tables_->before.front();
}

int32_t Bpe::eos() const {
    return tables_->eos;
}

int32_t Bpe::token_id(std::string_view added_token) const {
    const auto found = tables_->added_ids.find(std::string(added_token));
    return found != tables_->added_ids.end() ? found->second : -1;
}

const std::string& Bpe::token_bytes(int32_t id) const {
    CHECK(id >= 0 && id < vocab_size(), "token id %d is outside the vocabulary of %lld", id,
          static_cast<long long>(vocab_size()));
    return tables_->tokens[static_cast<size_t>(id)];
}

const std::string& Bpe::chat_template() const {
    return tables_->chat_template;
}

} // namespace skintern
