// bpe_gguf.cpp — a tokenizer from the metadata of a .gguf file.
//
//   tokenizer.ggml.model       gpt2 (byte-level) or llama (SentencePiece)
//   tokenizer.ggml.pre         which expression cuts the text; llama has none
//   tokenizer.ggml.tokens      texts by id, as in a tokenizer.json; token_type tells the kinds apart
//   tokenizer.ggml.merges      gpt2: "a b" by rank
//   tokenizer.ggml.scores      llama: any two neighbours that make up a token may merge, the highest score first
//   ...eos_token_id, bos_token_id, add_bos_token, add_eos_token, add_space_prefix; tokenizer.chat_template
//
// The ids are those of the original tokenizer, which a file of pre qwen2 does not name in full: form C is applied,
// although llama.cpp does not.

#include <cmath>
#include <numeric>

#include "formats/gguf.h"
#include "support/check.h"
#include "support/strict_json.h"
#include "support/utf8.h"
#include "tokenizer/bpe_normalize.h"
#include "tokenizer/bpe_tables.h"

namespace skintern {

namespace {

const std::string kTokens = "tokenizer.ggml.tokens";
const std::string kScores = "tokenizer.ggml.scores";
const std::string kTypes = "tokenizer.ggml.token_type";
const std::string kMerges = "tokenizer.ggml.merges";

enum TokenType : int64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

// The metadata that the steps below share.
struct Source {
    const GgufFile& file;
    std::string where;
    std::vector<std::string> tokens;
    std::vector<int64_t> types;
    TokenIds ids; // of the tokens that a text can be merged to: normal ones
};

std::string entry(const Source& source, const std::string& key, size_t i) {
    return source.where + ": " + key + "[" + std::to_string(i) + "]";
}

// ---- tokens --------------------------------------------------------------------------------------------------

void read_token(Source& source, size_t i, BpeTables& tables) {
    const std::string& text = source.tokens[i];
    const auto id = static_cast<int32_t>(i);
    const std::string where = entry(source, kTokens, i);
    CHECK(!text.empty(), "%s is empty", where.c_str());
    switch (source.types[i]) {
    case kUnknown:
    case kControl:
        tables.special.push_back(id);
        [[fallthrough]];
    case kUserDefined:
        CHECK(tables.added_ids.emplace(text, id).second, "%s is \"%s\", as another added token is",
              where.c_str(), shown(text).c_str());
        tables.added.add(text, id);
        tables.tokens[i] = text;
        return;
    case kUnused:
        tables.tokens[i] = text;
        return;
    case kByte:
        CHECK(tables.symbols == BpeTables::Symbols::characters && byte_of_token(text) >= 0,
              "%s is \"%s\", expected a byte as <0x00> to <0xFF>, in a model llama", where.c_str(),
              shown(text).c_str());
        CHECK(tables.byte_ids[static_cast<size_t>(byte_of_token(text))] < 0,
              "%s is \"%s\", as another token is", where.c_str(), shown(text).c_str());
        add_sentencepiece_token(text, id, true, tables);
        return;
    case kNormal:
        break;
    default:
        CHECK(false, "%s is %lld, expected a type from 1 to 6", entry(source, kTypes, i).c_str(),
              static_cast<long long>(source.types[i]));
    }
    CHECK(source.ids.emplace(text, id).second, "%s is \"%s\", as token %d is", where.c_str(),
          shown(text).c_str(), source.ids[text]);
    if (tables.symbols == BpeTables::Symbols::characters) {
        add_sentencepiece_token(text, id, false, tables);
        return;
    }
    CHECK(from_letters(text, tables.tokens[i]), "%s is \"%s\", which is not written in the byte alphabet",
          where.c_str(), shown(text).c_str());
    if (tables.tokens[i].size() == 1) {
        tables.byte_ids[static_cast<unsigned char>(tables.tokens[i][0])] = id;
    }
}

void read_tokens(Source& source, BpeTables& tables) {
    for (const std::string_view token : source.file.texts(kTokens)) {
        source.tokens.emplace_back(token);
    }
    CHECK(!source.tokens.empty() && source.tokens.size() <= static_cast<size_t>(INT32_MAX),
          "%s: %s has %zu tokens", source.where.c_str(), kTokens.c_str(), source.tokens.size());
    source.types = source.file.integers(kTypes);
    CHECK(source.types.size() == source.tokens.size(), "%s: %s has %zu elements for %zu tokens",
          source.where.c_str(), kTypes.c_str(), source.types.size(), source.tokens.size());
    tables.tokens.resize(source.tokens.size());
    for (size_t i = 0; i < source.tokens.size(); ++i) {
        read_token(source, i, tables);
    }
}

// ---- merges --------------------------------------------------------------------------------------------------

int32_t merge_token(const Source& source, const std::string& text, const std::string& where) {
    const auto found = source.ids.find(text);
    CHECK(found != source.ids.end(), "%s names the token \"%s\", which is not in the vocabulary",
          where.c_str(), shown(text).c_str());
    return found->second;
}

void read_merges(const Source& source, BpeTables& tables) {
    const std::vector<std::string_view> merges = source.file.texts(kMerges);
    for (size_t i = 0; i < merges.size(); ++i) {
        const std::string where = entry(source, kMerges, i);
        const std::string text(merges[i]);
        const size_t blank = text.find(' ', 1); // the alphabet has none
        CHECK(blank != std::string::npos, "%s is \"%s\", expected two tokens", where.c_str(),
              shown(text).c_str());
        const std::string left = text.substr(0, blank);
        const std::string right = text.substr(blank + 1);
        const Merge merge = {merge_token(source, left, where), merge_token(source, right, where),
                             merge_token(source, left + right, where)};
        CHECK(tables.ranks.find({merge.left, merge.right}) == nullptr, "%s repeats the merge \"%s\"",
              where.c_str(), shown(text).c_str());
        tables.add_merge(merge);
    }
}

// SentencePiece has no list of merges. Each way to cut a token in two tokens is one; its rank is the place of the
// token's score, and tokens of equal score share a rank (the leftmost pair goes first).
//
// A cut is looked up only where tokens of both lengths exist, so that one token as long as the file does not cost the
// square of its length.
void merges_from_scores(const Source& source, BpeTables& tables) {
    CHECK(source.file.shown_value(kScores).starts_with("f32["), "%s: %s is %s, expected a list of f32",
          source.where.c_str(), kScores.c_str(), source.file.shown_value(kScores).c_str());
    const std::vector<double> scores = source.file.numbers(kScores);
    CHECK(scores.size() == source.tokens.size(), "%s: %s has %zu elements for %zu tokens",
          source.where.c_str(), kScores.c_str(), scores.size(), source.tokens.size());
    std::vector<size_t> order(scores.size());
    std::vector<bool> lengths;
    for (size_t i = 0; i < scores.size(); ++i) {
        CHECK(std::isfinite(scores[i]), "%s is %g, which is no score", entry(source, kScores, i).c_str(),
              scores[i]);
        order[i] = i;
        lengths.resize(std::max(lengths.size(), source.tokens[i].size() + 1));
        lengths[source.tokens[i].size()] = true;
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    int32_t rank = -1;
    for (size_t place = 0; place < order.size(); ++place) {
        const size_t i = order[place];
        rank += place == 0 || scores[i] != scores[order[place - 1]] ? 1 : 0;
        const std::string& token = source.tokens[i];
        if (source.types[i] != kNormal) {
            continue;
        }
        for (size_t cut = 1; cut < token.size(); ++cut) {
            if (!lengths[cut] || !lengths[token.size() - cut]) {
                continue;
            }
            const auto left = source.ids.find(token.substr(0, cut));
            const auto right = left == source.ids.end() ? left : source.ids.find(token.substr(cut));
            if (right != source.ids.end()) {
                tables.ranks[{left->second, right->second}] = {rank, static_cast<int32_t>(i)};
            }
        }
    }
}

// ---- the two models ------------------------------------------------------------------------------------------

void read_byte_level(Source& source, BpeTables& tables) {
    const std::string pre(source.file.text("tokenizer.ggml.pre"));
    if (pre == "smollm") {
        tables.split = PreSplit::gpt2_digits;
    } else if (pre == "gpt-2") {
        tables.split = PreSplit::gpt2;
    } else if (pre == "llama-bpe" || pre == "llama-v3" || pre == "llama3") {
        tables.split = PreSplit::llama3;
    } else if (pre == "qwen2") {
        tables.split = PreSplit::qwen2;
        tables.nfc = true;
    } else {
        CHECK(false,
              "%s: tokenizer.ggml.pre \"%s\" is not supported: expected gpt-2, llama-bpe, qwen2 or smollm",
              source.where.c_str(), shown(pre).c_str());
    }
    read_tokens(source, tables);
    read_merges(source, tables);
    if (tables.split == PreSplit::llama3) { // its tokenizer.json says ignore_merges
        for (const auto& [text, id] : source.ids) {
            tables.whole_pieces[tables.tokens[static_cast<size_t>(id)]] = id;
        }
    }
}

void read_sentencepiece(Source& source, BpeTables& tables) {
    tables.symbols = BpeTables::Symbols::characters;
    tables.split = PreSplit::whole;
    const std::string key = "tokenizer.ggml.add_space_prefix";
    if (!source.file.has(key) || source.file.flag(key)) {
        tables.prefix = BpeTables::Prefix::always;
        tables.strip_blank = true;
    }
    read_tokens(source, tables);
    const auto missing = std::find(tables.byte_ids.begin(), tables.byte_ids.end(), -1);
    CHECK(missing == tables.byte_ids.end(), "%s: %s has no byte token <0x%02tX>", source.where.c_str(),
          kTokens.c_str(), missing - tables.byte_ids.begin());
    tables.byte_fallback = true;
    merges_from_scores(source, tables);
    cut_at_marks_if_none_cross(tables);
}

// ---- special tokens ------------------------------------------------------------------------------------------

// tokenizer.ggml.<name>_token_id; -1 when the file has none.
int32_t special_id(const Source& source, const std::string& name) {
    const std::string key = "tokenizer.ggml." + name + "_token_id";
    if (!source.file.has(key)) {
        return -1;
    }
    const int64_t id = source.file.integer(key);
    CHECK(id >= 0 && id < static_cast<int64_t>(source.tokens.size()),
          "%s: %s is %lld, outside the vocabulary of %zu tokens", source.where.c_str(), key.c_str(),
          static_cast<long long>(id), source.tokens.size());
    return static_cast<int32_t>(id);
}

// Whether tokenizer.ggml.add_<name>_token asks for the token around a text.
void read_around(const Source& source, const std::string& name, bool by_default,
                 std::vector<int32_t>& around) {
    const std::string key = "tokenizer.ggml.add_" + name + "_token";
    const int32_t id = special_id(source, name);
    if (source.file.has(key) ? source.file.flag(key) : by_default) {
        CHECK(id >= 0,
              "%s: a text begins or ends with the %s token, but tokenizer.ggml.%s_token_id is missing",
              source.where.c_str(), name.c_str(), name.c_str());
        around.push_back(id);
    }
}

} // namespace

std::unique_ptr<BpeTables> read_gguf_tokenizer(const std::string& path) {
    const GgufFile file = GgufFile::open(path);
    Source source{file, path, {}, {}, {}};
    auto tables = std::make_unique<BpeTables>();
    const std::string model(file.text("tokenizer.ggml.model"));
    CHECK(model == "gpt2" || model == "llama",
          "%s: tokenizer.ggml.model \"%s\" is not supported: expected gpt2 or llama", path.c_str(),
          shown(model).c_str());
    model == "gpt2" ? read_byte_level(source, *tables) : read_sentencepiece(source, *tables);
    // Without the flag: SentencePiece and Llama 3 begin a text with BOS.
    read_around(source, "bos", model == "llama" || tables->split == PreSplit::llama3, tables->before);
    read_around(source, "eos", false, tables->after);
    tables->eos = special_id(source, "eos");
    CHECK(tables->eos >= 0, "%s: tokenizer.ggml.eos_token_id is missing", path.c_str());
    for (const char* name :
         {"unknown", "padding", "eot"}) { // not used, but a wrong one tells of a damaged file
        special_id(source, name);
    }
    if (file.has("tokenizer.chat_template")) {
        tables->chat_template = file.text("tokenizer.chat_template");
    }
    return tables;
}

} // namespace skintern
