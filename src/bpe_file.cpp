// bpe_file.cpp — a tokenizer as a Hugging Face tokenizer.json: written, and read with every field checked.
//
// The kind of file: model BPE over the byte alphabet, no normaliser, pre-tokeniser Sequence[Digits,
// ByteLevel] as in bpe_split.h, decoder ByteLevel, special tokens as added_tokens. Whatever would make the
// `tokenizers` package encode differently from bpe.cpp (dropout, a prefix, truncation, a post-processor that
// adds tokens) is refused by name. Merges are read in both spellings, ["a","b"] and the older "a b"; the
// first is written.
//
// A vocabulary that lacks some of the 256 bytes loads, as that does no harm to a text without them; encoding
// such a byte is an error.

#include <utf8proc.h>

#include "bpe_tables.h"
#include "check.h"
#include "files.h"
#include "strict_json.h"

namespace skintern {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json; // for writing: leaves the fields as put in

// ---- the byte alphabet -----------------------------------------------------------------------------------

const ByteAlphabet& byte_alphabet() {
    static const ByteAlphabet alphabet = [] {
        const auto printable = [](int b) {
            return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        };
        ByteAlphabet a;
        size_t place = 0;
        int next = 0x100;
        for (const bool visible : {true, false}) {
            for (int b = 0; b < 256; ++b) {
                if (printable(b) != visible) {
                    continue;
                }
                utf8proc_uint8_t utf8[4];
                const auto size = utf8proc_encode_char(visible ? b : next++, utf8);
                a.order[place++] = b;
                a.letter[static_cast<size_t>(b)].assign(utf8, utf8 + size);
                a.byte[a.letter[static_cast<size_t>(b)]] = static_cast<char>(b);
            }
        }
        return a;
    }();
    return alphabet;
}

std::string to_letters(const std::string& bytes) {
    std::string text;
    for (const char b : bytes) {
        text += byte_alphabet().letter[static_cast<unsigned char>(b)];
    }
    return text;
}

namespace {

// The bytes that `text` writes; false when one of its characters is none of the 256.
bool from_letters(const std::string& text, std::string& bytes) {
    bytes.clear();
    for (size_t pos = 0; pos < text.size();) {
        const size_t size = static_cast<unsigned char>(text[pos]) < 0x80 ? 1 : 2; // all 256 take at most two
        const auto found = byte_alphabet().byte.find(text.substr(pos, size));
        if (found == byte_alphabet().byte.end()) {
            return false;
        }
        bytes += found->second;
        pos += size;
    }
    return true;
}

// ---- the fields whose value is fixed ---------------------------------------------------------------------

// The package writes this component with its default, true, as decoder, where the field has no effect.
OrderedJson byte_level(bool add_prefix_space) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", add_prefix_space},
            {"trim_offsets", true},
            {"use_regex", true}};
}

OrderedJson our_pre_tokenizer() {
    const OrderedJson digits = {{"type", "Digits"}, {"individual_digits", true}};
    return {{"type", "Sequence"}, {"pretokenizers", OrderedJson::array({digits, byte_level(false)})}};
}

// ---- reading, field by field -----------------------------------------------------------------------------

// What a component of the file calls itself, for messages.
std::string type_of(const Json& component) {
    const bool named = component.is_object() && component.contains("type") && component["type"].is_string();
    return named ? shown(component["type"].get<std::string>()) : component.type_name();
}

// Refuses an option of the file that bpe.cpp does not have: absent, null or `off` is what it can do.
void check_off(const Json& object, const char* field, const Json& off, const std::string& where) {
    const Json* value = find_field(object, field);
    CHECK(value == nullptr || *value == off, "%s: %s is %s, which is not supported: expected null or %s",
          where.c_str(), field, shown(value->dump()).c_str(), off.dump().c_str());
}

void check_components(const Json& root, const std::string& path) {
    for (const char* field : {"normalizer", "truncation", "padding"}) {
        const Json* value = find_field(root, field);
        CHECK(value == nullptr, "%s: %s %s is not supported: expected null", path.c_str(), field,
              type_of(*value).c_str());
    }
    const Json& pre = need_field(root, "pre_tokenizer", path);
    const Json ours = our_pre_tokenizer();
    CHECK(pre.is_object() && pre.value("type", Json()) == ours["type"],
          "%s: pre_tokenizer %s is not supported: expected Sequence of Digits and ByteLevel", path.c_str(),
          type_of(pre).c_str());
    CHECK(pre == ours, "%s: pre_tokenizer is %s, which is not supported: expected %s", path.c_str(),
          shown(pre.dump()).c_str(), ours.dump().c_str());
    const Json& decoder = need_field(root, "decoder", path);
    CHECK(type_of(decoder) == "ByteLevel", "%s: decoder %s is not supported: expected ByteLevel",
          path.c_str(), type_of(decoder).c_str());
    const Json* post = find_field(root, "post_processor"); // ByteLevel only moves offsets
    CHECK(post == nullptr || type_of(*post) == "ByteLevel",
          "%s: post_processor %s is not supported: expected null or ByteLevel", path.c_str(),
          type_of(*post).c_str());
}

void check_model_options(const Json& model, const std::string& where) {
    const std::string& type = as_string(need_field(model, "type", where), "type", where);
    CHECK(type == "BPE", "%s: type %s is not supported: expected BPE", where.c_str(), shown(type).c_str());
    check_off(model, "dropout", 0.0, where);
    check_off(model, "continuing_subword_prefix", "", where);
    check_off(model, "end_of_word_suffix", "", where);
    check_off(model, "byte_fallback", false, where);
    check_off(model, "ignore_merges", false, where);
}

using Vocabulary = std::unordered_map<std::string, int32_t>; // text as in the file → id

// An id of the file; `limit` is the number of tokens, so that distinct ids below it leave no hole.
int32_t as_id(const Json& value, const std::string& field, size_t limit, const std::string& where) {
    const int64_t id = as_int(value, field, where);
    CHECK(id >= 0 && id < static_cast<int64_t>(limit),
          "%s: %s is %lld, outside 0 to %zu: the ids of %zu tokens must have no holes", where.c_str(),
          field.c_str(), static_cast<long long>(id), limit - 1, limit);
    return static_cast<int32_t>(id);
}

// model.vocab and added_tokens, which may repeat entries of it.
Vocabulary read_vocabulary(const Json& root, const std::string& path, std::vector<int32_t>& special) {
    const std::string where = path + ": model";
    const Json& vocab = as_object(need_field(root["model"], "vocab", where), "vocab", where);
    const Json& added = need_field(root, "added_tokens", path);
    CHECK(added.is_array() && !added.empty(),
          "%s: added_tokens is %s, expected a list of special tokens (the first ends a sequence)",
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
        CHECK(as_bool(need_field(added[i], "special", entry), "special", entry),
              "%s: special is false, which is not supported: expected true", entry.c_str());
        for (const char* field : {"single_word", "lstrip", "rstrip", "normalized"}) {
            check_off(added[i], field, false, entry);
        }
        size += vocab.contains(contents.back()) ? 0 : 1;
    }

    Vocabulary ids;
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
        special.push_back(id);
    }
    std::sort(special.begin(), special.end());
    const auto twice = std::adjacent_find(special.begin(), special.end());
    CHECK(twice == special.end(), "%s: added_tokens lists the id %d twice", path.c_str(), *twice);
    return ids;
}

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
int32_t find_token(const Vocabulary& ids, const std::vector<int32_t>& special, const std::string& token,
                   const std::string& where) {
    const auto found = ids.find(token);
    CHECK(found != ids.end(), "%s names the token \"%s\", which is not in the vocabulary", where.c_str(),
          shown(token).c_str());
    CHECK(!std::binary_search(special.begin(), special.end(), found->second),
          "%s names the special token \"%s\"", where.c_str(), shown(token).c_str());
    return found->second;
}

} // namespace

// ---- load and save ---------------------------------------------------------------------------------------

Bpe Bpe::load(const std::string& path) {
    const Json root = parse_json(read_file(path), path);
    as_object(root, "the file", path);
    check_components(root, path);
    const std::string where = path + ": model";
    const Json& model = as_object(need_field(root, "model", path), "model", path);
    check_model_options(model, where);

    auto tables = std::make_unique<Tables>();
    const Vocabulary ids = read_vocabulary(root, path, tables->special);
    tables->tokens.resize(ids.size());
    tables->byte_ids.fill(-1);
    for (const auto& [text, id] : ids) {
        std::string& token = tables->tokens[static_cast<size_t>(id)];
        CHECK(token.empty(), "%s: vocab gives the id %d to \"%s\" and to another token", where.c_str(), id,
              shown(text).c_str());
        if (tables->is_special(id)) {
            token = text;
            continue;
        }
        CHECK(from_letters(text, token), "%s: vocab has \"%s\", which is not written in the byte alphabet",
              where.c_str(), shown(text).c_str());
        if (token.size() == 1) {
            tables->byte_ids[static_cast<unsigned char>(token[0])] = id;
        }
    }

    const Json& merges = need_field(model, "merges", where);
    CHECK(merges.is_array(), "%s: merges is %s, expected a list", where.c_str(), merges.type_name());
    for (size_t i = 0; i < merges.size(); ++i) {
        const std::string entry = where + ": merges[" + std::to_string(i) + "]";
        const auto [left, right] = read_merge(merges[i], entry);
        const Merge merge = {find_token(ids, tables->special, left, entry),
                             find_token(ids, tables->special, right, entry),
                             find_token(ids, tables->special, left + right, entry)};
        CHECK(tables->ranks.count(pair_key(merge.left, merge.right)) == 0,
              "%s repeats the merge of \"%s\" and \"%s\"", entry.c_str(), shown(left).c_str(),
              shown(right).c_str());
        tables->add_merge(merge);
    }
    return Bpe(std::move(tables));
}

void Bpe::save(const std::string& path) const {
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
