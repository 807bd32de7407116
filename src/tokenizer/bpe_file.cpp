// bpe_file.cpp — a tokenizer as a Hugging Face tokenizer.json: written, and read with every field checked.
//
// Which kinds are read stands in bpe_components.cpp. Whatever would make the `tokenizers` package encode differently
// from bpe.cpp (dropout, a prefix, truncation, added tokens that take blanks with them) is refused by name. Merges
// are read in both spellings, ["a","b"] and the older "a b"; the first is written.
//
// A vocabulary that lacks some of the 256 bytes loads, as that does no harm to a text without them; encoding leaves
// such a byte out.

#include <filesystem>

#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"
#include "tokenizer/bpe_components.h"
#include "tokenizer/bpe_normalize.h"
#include "tokenizer/bpe_tables.h"

namespace skintern {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json; // for writing: leaves the fields as put in

namespace {

// ---- the model's options -----------------------------------------------------------------------------------

// Refuses an option of the file that bpe.cpp does not have: absent, null or `off` is what it can do.
void check_off(const Json& object, const char* field, const Json& off, const std::string& where) {
    const Json* value = find_field(object, field);
    CHECK(value == nullptr || *value == off, "%s: %s is %s, which is not supported: expected null or %s",
          where.c_str(), field, shown(value->dump()).c_str(), off.dump().c_str());
}

// A boolean field; missing or null: false.
bool flag_of(const Json& object, const char* field, const std::string& where) {
    const Json* value = find_field(object, field);
    return value != nullptr && as_bool(*value, field, where);
}

void check_model_options(const Json& model, const std::string& where, const BpeTables& tables) {
    if (model.contains("type")) { // the oldest files leave it out
        const std::string& type = as_string(model["type"], "type", where);
        CHECK(type == "BPE", "%s: type %s is not supported: expected BPE", where.c_str(),
              shown(type).c_str());
    }
    check_off(model, "dropout", 0.0, where);
    check_off(model, "continuing_subword_prefix", "", where);
    check_off(model, "end_of_word_suffix", "", where);
    if (tables.symbols == BpeTables::Symbols::bytes) {
        check_off(model, "byte_fallback", false, where);
    }
}

// ---- vocabulary ----------------------------------------------------------------------------------------------

// An id of the file; `limit` is the number of tokens, so that distinct ids below it leave no hole.
int32_t as_id(const Json& value, const std::string& field, size_t limit, const std::string& where) {
    const int64_t id = as_int(value, field, where);
    CHECK(id >= 0 && id < static_cast<int64_t>(limit),
          "%s: %s is %lld, outside 0 to %zu: the ids of %zu tokens must have no holes", where.c_str(),
          field.c_str(), static_cast<long long>(id), limit - 1, limit);
    return static_cast<int32_t>(id);
}

// model.vocab and added_tokens, which may repeat entries of it.
// Sets special, added, added_normalized and added_ids.
TokenIds read_vocabulary(const Json& root, const std::string& path, BpeTables& tables) {
    const std::string where = path + ": model";
    const Json& vocab = as_object(need_field(root["model"], "vocab", where), "vocab", where);
    const Json& added = need_field(root, "added_tokens", path);
    CHECK(added.is_array() && !added.empty(), "%s: added_tokens is %s, expected a list of special tokens",
          path.c_str(), added.is_array() ? "empty" : added.type_name());
    CHECK(vocab.size() + added.size() <= static_cast<size_t>(INT32_MAX), "%s: vocab has %zu tokens: too many",
          where.c_str(), vocab.size());

    size_t size = vocab.size();
    std::vector<std::string> contents;
    for (size_t i = 0; i < added.size(); ++i) {
        const std::string entry = path + ": added_tokens[" + std::to_string(i) + "]";
        as_object(added[i], "it", entry);
        contents.push_back(as_string(need_field(added[i], "content", entry), "content", entry));
        CHECK(!contents.back().empty(), "%s: content is empty", entry.c_str());
        for (const char* field : {"single_word", "lstrip", "rstrip"}) {
            check_off(added[i], field, false, entry);
        }
        size += vocab.contains(contents.back()) ? 0 : 1;
    }

    TokenIds ids;
    for (const auto& [token, id] : vocab.items()) {
        CHECK(!token.empty(), "%s: vocab has an empty token", where.c_str());
        ids[token] = as_id(id, "vocab[\"" + shown(token) + "\"]", size, where);
    }
    for (size_t i = 0; i < added.size(); ++i) {
        const std::string entry = path + ": added_tokens[" + std::to_string(i) + "]";
        const int32_t id = as_id(need_field(added[i], "id", entry), "id", size, entry);
        const bool fits = ids.emplace(contents[i], id).first->second == id;
        CHECK(fits, "%s: id is %d, but the vocabulary gives \"%s\" the id %d", entry.c_str(), id,
              shown(contents[i]).c_str(), ids[contents[i]]);
        const bool once = tables.added_ids.emplace(contents[i], id).second;
        CHECK(once, "%s: added_tokens lists \"%s\" twice", path.c_str(), shown(contents[i]).c_str());
        if (as_bool(need_field(added[i], "special", entry), "special", entry)) {
            tables.special.push_back(id);
        }
        if (flag_of(added[i], "normalized", entry)) {
            tables.added_normalized.add(normalized(tables, contents[i]), id);
        } else {
            tables.added.add(contents[i], id);
        }
    }
    std::sort(tables.special.begin(), tables.special.end());
    CHECK(!tables.special.empty(), "%s: added_tokens has no special token", path.c_str());
    return ids;
}

// ---- merges --------------------------------------------------------------------------------------------------

// "a b" or ["a", "b"].
std::pair<std::string, std::string> read_merge(const Json& merge, const std::string& where) {
    if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const size_t space = text.find(' '); // the alphabet has none
        CHECK(space != std::string::npos, "%s is \"%s\", expected two tokens", where.c_str(),
              shown(text).c_str());
        return {text.substr(0, space), text.substr(space + 1)};
    }
    CHECK(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
          "%s is %s, expected a list of two strings", where.c_str(), shown(merge.dump()).c_str());
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
}

// The id of a token of a merge. A special one is refused: ordinary text would come out with its id.
int32_t find_token(const TokenIds& ids, const std::vector<int32_t>& special, const std::string& token,
                   const std::string& where) {
    const auto found = ids.find(token);
    CHECK(found != ids.end(), "%s names the token \"%s\", which is not in the vocabulary", where.c_str(),
          shown(token).c_str());
    CHECK(!std::binary_search(special.begin(), special.end(), found->second),
          "%s names the special token \"%s\"", where.c_str(), shown(token).c_str());
    return found->second;
}

void read_merges(const Json& model, const std::string& where, const TokenIds& ids, BpeTables& tables) {
    const Json& merges = need_field(model, "merges", where);
    CHECK(merges.is_array(), "%s: merges is %s, expected a list", where.c_str(), merges.type_name());
    for (size_t i = 0; i < merges.size(); ++i) {
        const std::string entry = where + ": merges[" + std::to_string(i) + "]";
        const auto [left, right] = read_merge(merges[i], entry);
        const Merge merge = {find_token(ids, tables.special, left, entry),
                             find_token(ids, tables.special, right, entry),
                             find_token(ids, tables.special, left + right, entry)};
        CHECK(tables.ranks.find({merge.left, merge.right}) == nullptr,
              "%s repeats the merge of \"%s\" and \"%s\"", entry.c_str(), shown(left).c_str(),
              shown(right).c_str());
        tables.add_merge(merge);
    }
}

// ---- tokens --------------------------------------------------------------------------------------------------

// What the tokens stand for, and what a piece starts as.
void read_tokens(const TokenIds& ids, const std::string& where, BpeTables& tables) {
    const bool bytes = tables.symbols == BpeTables::Symbols::bytes;
    tables.tokens.resize(ids.size());
    for (const auto& [text, id] : ids) {
        std::string& token = tables.tokens[static_cast<size_t>(id)];
        CHECK(token.empty(), "%s: vocab gives the id %d to \"%s\" and to another token", where.c_str(), id,
              shown(text).c_str());
        if (tables.added_ids.count(text) != 0) {
            token = text;
        } else if (bytes) {
            CHECK(from_letters(text, token),
                  "%s: vocab has \"%s\", which is not written in the byte alphabet", where.c_str(),
                  shown(text).c_str());
            if (token.size() == 1) {
                tables.byte_ids[static_cast<unsigned char>(token[0])] = id;
            }
        } else {
            add_sentencepiece_token(text, id, tables.byte_fallback, tables);
        }
    }
    for (size_t byte = 0; byte < 256 && tables.byte_fallback; ++byte) {
        CHECK(tables.byte_ids[byte] >= 0, "%s: byte_fallback is true, but vocab has no <0x%02zX>",
              where.c_str(), byte);
    }
}

// unk_token, fuse_unk, ignore_merges.
void read_model_options(const Json& model, const std::string& where, const TokenIds& ids, BpeTables& tables) {
    const Json* unknown = find_field(model, "unk_token");
    if (unknown != nullptr && *unknown != "") {
        const std::string& text = as_string(*unknown, "unk_token", where);
        const auto found = ids.find(text);
        CHECK(found != ids.end(), "%s: unk_token is \"%s\", which is not in the vocabulary", where.c_str(),
              shown(text).c_str());
        tables.unknown = found->second;
    }
    tables.fuse_unknown = flag_of(model, "fuse_unk", where);
    if (flag_of(model, "ignore_merges", where)) {
        const bool bytes = tables.symbols == BpeTables::Symbols::bytes;
        for (const auto& [text, id] : ids) {
            if (tables.added_ids.count(text) == 0) {
                tables.whole_pieces[bytes ? tables.tokens[static_cast<size_t>(id)] : text] = id;
            }
        }
    }
}

// ---- what stands beside the file -------------------------------------------------------------------------------

// A file of the tokenizer's folder as JSON; null when there is none.
Json neighbour(const std::filesystem::path& path) {
    return file_exists(path.string()) ? parse_json(read_file(path.string()), path.string()) : Json();
}

// tokenizer_config.json names the token by its text, or as {"content": text}.
int32_t eos_of_tokenizer_config(const Json& config, const std::string& where, const TokenIds& ids) {
    const Json* eos = config.is_object() ? find_field(config, "eos_token") : nullptr;
    if (eos == nullptr) {
        return -1;
    }
    const Json& content = eos->is_object() ? need_field(*eos, "content", where + ": eos_token") : *eos;
    const std::string& text = as_string(content, "eos_token", where);
    const auto found = ids.find(text);
    CHECK(found != ids.end(), "%s: eos_token is \"%s\", which is not in the vocabulary", where.c_str(),
          shown(text).c_str());
    return found->second;
}

// config.json has an id, or a list of ids of which the first counts.
int32_t eos_of_config(const Json& config, const std::string& where, size_t size) {
    const Json* eos = config.is_object() ? find_field(config, "eos_token_id") : nullptr;
    if (eos == nullptr || (eos->is_array() && eos->empty())) {
        return -1;
    }
    const int64_t id = as_int(eos->is_array() ? (*eos)[0] : *eos, "eos_token_id", where);
    CHECK(id >= 0 && id < static_cast<int64_t>(size),
          "%s: eos_token_id is %lld, outside the vocabulary of %zu", where.c_str(),
          static_cast<long long>(id), size);
    return static_cast<int32_t>(id);
}

// The end of a sequence: what tokenizer_config.json says, else config.json, else by its customary names, else the
// special token with the smallest id (which is ours).
void read_neighbours(const std::string& path, const TokenIds& ids, BpeTables& tables) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    const Json tokenizer_config = neighbour(folder / "tokenizer_config.json");
    tables.eos = eos_of_tokenizer_config(tokenizer_config, (folder / "tokenizer_config.json").string(), ids);
    if (tables.eos < 0) {
        tables.eos =
            eos_of_config(neighbour(folder / "config.json"), (folder / "config.json").string(), ids.size());
    }
    for (const char* name : {"<|end_of_text|>", "</s>", "<|endoftext|>"}) {
        const auto found = tables.added_ids.find(name);
        tables.eos = tables.eos < 0 && found != tables.added_ids.end() ? found->second : tables.eos;
    }
    tables.eos = tables.eos < 0 ? tables.special.front() : tables.eos;

    const std::string own_file = (folder / "chat_template.jinja").string();
    if (file_exists(own_file)) {
        tables.chat_template = read_file(own_file);
        return;
    }
    const Json* chat = tokenizer_config.is_object() ? find_field(tokenizer_config, "chat_template") : nullptr;
    if (chat != nullptr && chat->is_string()) { // a list of several with names is left alone
        tables.chat_template = chat->get<std::string>();
    }
}

} // namespace

// ---- load and save ---------------------------------------------------------------------------------------

std::unique_ptr<BpeTables> read_tokenizer_json(const std::string& path) {
    const Json root = parse_json(read_file(path), path);
    as_object(root, "the file", path);
    auto tables = std::make_unique<BpeTables>();
    read_components(root, path, *tables);
    const std::string where = path + ": model";
    const Json& model = as_object(need_field(root, "model", path), "model", path);
    check_model_options(model, where, *tables);
    tables->byte_fallback = flag_of(model, "byte_fallback", where);
    const TokenIds ids = read_vocabulary(root, path, *tables);
    read_tokens(ids, where, *tables);
    read_model_options(model, where, ids, *tables);
    read_merges(model, where, ids, *tables);
    cut_at_marks_if_none_cross(*tables);
    read_post_processor(root, ids, path, *tables);
    read_neighbours(path, ids, *tables);
    return tables;
}

void Bpe::save(const std::string& path) const {
    const bool ours = tables_->symbols == BpeTables::Symbols::bytes &&
                      tables_->split == PreSplit::gpt2_digits && tables_->before.empty() &&
                      tables_->after.empty() && tables_->whole_pieces.empty() &&
                      tables_->added_ids.size() == tables_->special.size();
    CHECK(ours, "%s: only a tokenizer of the kind that is trained here can be written", path.c_str());
    const auto text_of = [this](int32_t id) {
        return tables_->is_special(id) ? token_bytes(id) : to_letters(token_bytes(id));
    };
    OrderedJson added = OrderedJson::array();
    for (const int32_t id : tables_->special) {
        added.push_back({{"id", id},
                         {"content", text_of(id)},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", true}});
    }
    Json vocab = Json::object(); // sorted: an ordered_json looks a key up by reading all of them
    for (int32_t id = 0; id < vocab_size(); ++id) {
        vocab[text_of(id)] = id;
    }
    OrderedJson merges = OrderedJson::array();
    for (const Merge& merge : tables_->merges) {
        merges.push_back(OrderedJson::array({text_of(merge.left), text_of(merge.right)}));
    }
    const OrderedJson root = {{"version", "1.0"},
                              {"truncation", nullptr},
                              {"padding", nullptr},
                              {"added_tokens", added},
                              {"normalizer", nullptr},
                              {"pre_tokenizer", our_pre_tokenizer()},
                              {"post_processor", nullptr},
                              {"decoder", byte_level(true)},
                              {"model",
                               {{"type", "BPE"},
                                {"dropout", nullptr},
                                {"unk_token", nullptr},
                                {"continuing_subword_prefix", nullptr},
                                {"end_of_word_suffix", nullptr},
                                {"fuse_unk", false},
                                {"byte_fallback", false},
                                {"ignore_merges", false},
                                {"vocab", vocab},
                                {"merges", merges}}}};
    write_file(path, dump_json(root, path, 1) + "\n");
}

} // namespace skintern
