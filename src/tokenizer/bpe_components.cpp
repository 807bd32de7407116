// bpe_components.cpp — which of the known tokenizers a tokenizer.json describes.
//
//                 normalizer              pre_tokenizer                            decoder
//   SmolLM2, own  -                       Digits, ByteLevel with its expression    ByteLevel
//   GPT-2         -                       ByteLevel with its expression            ByteLevel
//   Llama 3       -                       Split by expression, ByteLevel without   ByteLevel
//   Qwen2         NFC                     Split by expression, ByteLevel without   ByteLevel
//   Llama 2       Prepend ▁, Replace      -                                        Replace, ByteFallback, Fuse, Strip
//   newer files   -                       Metaspace                                the same, Strip or not
//
// A Sequence counts as the list of its components. Post-processors: none, ByteLevel (moves offsets only),
// TemplateProcessing (puts special tokens around a text).

#include "tokenizer/bpe_components.h"

#include "support/check.h"
#include "support/strict_json.h"

namespace skintern {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;
using Components = std::vector<Json>;

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

namespace {

constexpr const char* kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2Expression =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::string kMark(kBlankMark);
const Json kPrependMark = {{"type", "Prepend"}, {"prepend", kMark}};
const Json kBlankToMark = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}};
const Json kMarkToBlank = {{"type", "Replace"}, {"pattern", {{"String", kMark}}}, {"content", " "}};
const Json kStripBlank = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};

// What a component of the file calls itself, for messages.
std::string type_of(const Json& component) {
    const bool named = component.is_object() && component.contains("type") && component["type"].is_string();
    return named ? shown(component["type"].get<std::string>()) : component.type_name();
}

// The field as a list of components: none when it is missing or null, those of a Sequence (whose list is called
// `list`), or the one.
Components components_of(const Json& root, const char* field, const char* list, const std::string& path) {
    const Json* component = find_field(root, field);
    if (component == nullptr) {
        return {};
    }
    if (type_of(*component) != "Sequence") {
        return {*component};
    }
    const std::string where = path + ": " + field;
    const Json& parts = need_field(*component, list, where);
    CHECK(parts.is_array(), "%s: %s is %s, expected a list", where.c_str(), list, parts.type_name());
    return Components(parts.begin(), parts.end());
}

// The types of the components as a message names them.
std::string types_of(const Components& components) {
    std::string names;
    for (size_t i = 0; i < components.size() && i < 8; ++i) {
        names += (i == 0 ? "" : ", ") + type_of(components[i]);
    }
    return components.empty() ? "null" : names;
}

bool types_are(const Components& components, const std::vector<const char*>& types) {
    return std::equal(components.begin(), components.end(), types.begin(), types.end(),
                      [](const Json& component, const char* type) { return type_of(component) == type; });
}

// ---- normalizer --------------------------------------------------------------------------------------------

void read_normalizer(const Json& root, const std::string& path, BpeTables& tables) {
    const Components parts = components_of(root, "normalizer", "normalizers", path);
    if (parts == Components{kPrependMark, kBlankToMark}) {
        tables.symbols = BpeTables::Symbols::characters;
        tables.prefix = BpeTables::Prefix::always;
        return;
    }
    tables.nfc = types_are(parts, {"NFC"});
    CHECK(parts.empty() || tables.nfc,
          "%s: normalizer %s is not supported: expected null, NFC, or a Sequence that puts %s before the "
          "text and for "
          "every blank",
          path.c_str(), types_of(parts).c_str(), kMark.c_str());
}

// ---- pre-tokeniser -----------------------------------------------------------------------------------------

// Refuses a field of a component that is not what bpe.cpp does; `expected` holds where the field is missing when
// `may_miss`.
void check_value(const Json& component, const char* field, const Json& expected, bool may_miss,
                 const std::string& path) {
    const auto found = component.find(field);
    const bool fits = found == component.end() ? may_miss : *found == expected;
    CHECK(fits, "%s: pre_tokenizer %s: %s is %s, which is not supported: expected %s", path.c_str(),
          type_of(component).c_str(), field,
          found == component.end() ? "missing" : shown(found->dump()).c_str(),
          shown(expected.dump()).c_str());
}

PreSplit read_split(const Json& split, const std::string& path) {
    check_value(split, "behavior", "Isolated", false, path);
    check_value(split, "invert", false, true, path);
    const Json* pattern = find_field(split, "pattern");
    for (const auto& [expression, kind] :
         {std::pair(kGpt2Expression, PreSplit::gpt2), std::pair(kLlama3Expression, PreSplit::llama3),
          std::pair(kQwen2Expression, PreSplit::qwen2)}) {
        if (pattern != nullptr && *pattern == Json{{"Regex", expression}}) {
            return kind;
        }
    }
    CHECK(
        false,
        "%s: pre_tokenizer Split: pattern %s is not supported: expected the expression of GPT-2, Llama 3 or "
        "Qwen2",
        path.c_str(), pattern == nullptr ? "null" : shown(pattern->dump()).c_str());
}

void read_metaspace(const Json& metaspace, const std::string& path, BpeTables& tables) {
    CHECK(tables.prefix == BpeTables::Prefix::none && !tables.nfc,
          "%s: pre_tokenizer Metaspace is not supported together with a normalizer", path.c_str());
    check_value(metaspace, "replacement", kMark, false, path);
    const Json scheme = metaspace.value("prepend_scheme", Json("always"));
    const bool known = scheme == "always" || scheme == "first" || scheme == "never";
    CHECK(known, "%s: pre_tokenizer Metaspace: prepend_scheme is %s, expected always, first or never",
          path.c_str(), shown(scheme.dump()).c_str());
    check_value(metaspace, "add_prefix_space", scheme != "never", true, path);
    const Json split = metaspace.value("split", Json(true));
    CHECK(split.is_boolean(), "%s: pre_tokenizer Metaspace: split is %s, expected true or false",
          path.c_str(), split.type_name());
    tables.symbols = BpeTables::Symbols::characters;
    tables.prefix = scheme == "always"  ? BpeTables::Prefix::where_missing
                    : scheme == "first" ? BpeTables::Prefix::first_where_missing
                                        : BpeTables::Prefix::none;
    tables.split = split.get<bool>() ? PreSplit::blank_marks : PreSplit::whole;
}

void read_pre_tokenizer(const Json& root, const std::string& path, BpeTables& tables) {
    need_field(root, "pre_tokenizer", path);
    const Components parts = components_of(root, "pre_tokenizer", "pretokenizers", path);
    if (types_are(parts, {"Metaspace"})) {
        read_metaspace(parts[0], path, tables);
        return;
    }
    if (tables.symbols == BpeTables::Symbols::characters) {
        CHECK(parts.empty(),
              "%s: pre_tokenizer %s is not supported together with this normalizer: expected null",
              path.c_str(), types_of(parts).c_str());
        tables.split = PreSplit::whole;
        return;
    }
    const bool digits = types_are(parts, {"Digits", "ByteLevel"});
    const bool split = types_are(parts, {"Split", "ByteLevel"});
    CHECK(digits || split || types_are(parts, {"ByteLevel"}),
          "%s: pre_tokenizer %s is not supported: expected ByteLevel, alone or after Digits or Split, or "
          "Metaspace",
          path.c_str(), types_of(parts).c_str());
    tables.split = split ? read_split(parts[0], path) : digits ? PreSplit::gpt2_digits : PreSplit::gpt2;
    check_value(parts.back(), "add_prefix_space", false, false, path);
    check_value(parts.back(), "use_regex", !split, !split, path);
    if (digits) {
        check_value(parts[0], "individual_digits", true, false, path);
    }
}

// ---- decoder -----------------------------------------------------------------------------------------------

void read_decoder(const Json& root, const std::string& path, BpeTables& tables) {
    need_field(root, "decoder", path);
    Components parts = components_of(root, "decoder", "decoders", path);
    if (tables.symbols == BpeTables::Symbols::bytes) {
        CHECK(types_are(parts, {"ByteLevel"}), "%s: decoder %s is not supported: expected ByteLevel",
              path.c_str(), types_of(parts).c_str());
        return;
    }
    tables.strip_blank = !parts.empty() && parts.back() == kStripBlank;
    if (tables.strip_blank) {
        parts.pop_back();
    }
    CHECK(types_are(parts, {"Replace", "ByteFallback", "Fuse"}) && parts[0] == kMarkToBlank,
          "%s: decoder %s is not supported: expected Replace of %s by a blank, ByteFallback, Fuse, and Strip "
          "of one "
          "blank or nothing",
          path.c_str(), types_of(parts).c_str(), kMark.c_str());
}

// ---- post-processor ----------------------------------------------------------------------------------------

// The id of a special token of a template: {"SpecialToken": {"id": "<s>"}} and special_tokens["<s>"]["ids"][0].
int32_t template_token(const Json& processor, const Json& piece, const TokenIds& ids,
                       const std::string& where) {
    const std::string& name = as_string(need_field(piece, "id", where), "id", where);
    const Json* table = find_field(processor, "special_tokens");
    const Json* entry = table != nullptr && table->is_object() ? find_field(*table, name) : nullptr;
    const Json* list = entry != nullptr && entry->is_object() ? find_field(*entry, "ids") : nullptr;
    CHECK(list != nullptr && list->is_array() && list->size() == 1,
          "%s: special_tokens does not give \"%s\" one id", where.c_str(), shown(name).c_str());
    const int64_t id = as_int((*list)[0], "special_tokens[\"" + shown(name) + "\"]", where);
    const auto found = ids.find(name);
    CHECK(found != ids.end() && found->second == id,
          "%s: special_tokens gives \"%s\" the id %lld, but the vocabulary %s", where.c_str(),
          shown(name).c_str(), static_cast<long long>(id),
          found == ids.end() ? "has no such token" : ("gives it " + std::to_string(found->second)).c_str());
    return found->second;
}

void read_template(const Json& processor, const TokenIds& ids, const std::string& path, BpeTables& tables) {
    const std::string where = path + ": post_processor TemplateProcessing";
    const Json& single = need_field(processor, "single", where);
    CHECK(single.is_array(), "%s: single is %s, expected a list", where.c_str(), single.type_name());
    bool after_text = false;
    for (const Json& piece : single) {
        const Json* token = piece.is_object() ? find_field(piece, "SpecialToken") : nullptr;
        const Json* text = piece.is_object() ? find_field(piece, "Sequence") : nullptr;
        CHECK((token != nullptr && token->is_object()) || (text != nullptr && !after_text),
              "%s: single has %s, expected special tokens and one Sequence", where.c_str(),
              shown(piece.dump()).c_str());
        if (token != nullptr) {
            (after_text ? tables.after : tables.before)
                .push_back(template_token(processor, *token, ids, where));
        } else {
            after_text = true;
        }
    }
    CHECK(after_text, "%s: single has no Sequence, which stands for the text", where.c_str());
}

} // namespace

void read_components(const Json& root, const std::string& path, BpeTables& tables) {
    for (const char* field : {"truncation", "padding"}) {
        const Json* value = find_field(root, field);
        CHECK(value == nullptr, "%s: %s %s is not supported: expected null", path.c_str(), field,
              type_of(*value).c_str());
    }
    read_normalizer(root, path, tables);
    read_pre_tokenizer(root, path, tables);
    read_decoder(root, path, tables);
}

void read_post_processor(const Json& root, const TokenIds& ids, const std::string& path, BpeTables& tables) {
    for (const Json& part : components_of(root, "post_processor", "processors", path)) {
        const std::string type = type_of(part);
        CHECK(type == "ByteLevel" ||
                  (type == "TemplateProcessing" && tables.before.empty() && tables.after.empty()),
              "%s: post_processor %s is not supported: expected null, ByteLevel or one TemplateProcessing",
              path.c_str(), type.c_str());
        if (type == "TemplateProcessing") {
            read_template(part, ids, path, tables);
        }
    }
}

} // namespace skintern
