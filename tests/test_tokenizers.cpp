// The published kinds of tokenizers: pre-splits and form C by hand, ids against those of the `tokenizers` package on
// small and on real vocabularies (tests/golden/make_tokenizers.py), the .gguf reader and what it refuses, chat.
#include "test.h"

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "gguf_maker.h"
#include "support/files.h"
#include "support/utf8.h"
#include "test_support.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bpe_normalize.h"
#include "tokenizer/bpe_split.h"
#include "tokenizer/chat.h"

using namespace skintern;
using Json = nlohmann::json;
using Strings = std::vector<std::string>;
using Ids = std::vector<int32_t>;

namespace {

const std::string kMark = "\u2581";

const Json& golden() {
    static const Json root = Json::parse(read_file("tests/golden/tokenizer_cases.json"));
    return root;
}

Strings pieces_of(PreSplit split, const std::string& text) {
    Strings pieces;
    for (size_t pos = 0, end = 0; pos < text.size(); pos = end) {
        end = piece_end(split, text, pos);
        pieces.push_back(text.substr(pos, end - pos));
    }
    return pieces;
}

Bpe load_json(const Json& root) {
    TempFolder folder;
    put_file(folder / "tokenizer.json", root.dump());
    return Bpe::load(folder.path());
}

Json with_components(Json root, const Json& components) {
    root.update(components);
    return root;
}

void require_cases(const Bpe& bpe, const Json& cases, bool special) {
    REQUIRE(cases.size() == golden()["texts"].size());
    for (size_t i = 0; i < cases.size(); ++i) {
        INFO(golden()["texts"][i].dump());
        REQUIRE(bpe.encode(golden()["texts"][i].get<std::string>(), special) == cases[i].get<Ids>());
    }
}

// ---- tokenizers in GGUF --------------------------------------------------------------------------------------

struct Vocabulary {
    Strings tokens, merges;
    std::vector<int32_t> types;
    std::vector<float> scores; // SentencePiece only
};

template <typename T>
std::string joined(const std::vector<T>& values) {
    std::string bytes;
    for (const T value : values) {
        bytes += bytes_of(value);
    }
    return bytes;
}

// The vocabulary of a tokenizer.json as a .gguf file has it; the score of a token is the rank of its first merge.
Vocabulary vocabulary_of(const Json& root) {
    Vocabulary v;
    v.tokens.resize(root["model"]["vocab"].size());
    v.types.assign(v.tokens.size(), 1);
    v.scores.assign(v.tokens.size(), 0.0f);
    std::map<std::string, size_t> ids;
    for (const auto& [token, id] : root["model"]["vocab"].items()) {
        v.tokens[id.get<size_t>()] = token;
        ids[token] = id.get<size_t>();
        const bool byte = token.size() == 6 && token.starts_with("<0x");
        v.types[id.get<size_t>()] = byte ? 6 : 1;
    }
    for (const Json& added : root["added_tokens"]) {
        v.types[added["id"].get<size_t>()] = 3;
    }
    const Json& merges = root["model"]["merges"];
    for (size_t i = merges.size(); i-- > 0;) {
        v.merges.insert(v.merges.begin(), merges[i][0].get<std::string>() + " " + merges[i][1].get<std::string>());
        v.scores[ids[merges[i][0].get<std::string>() + merges[i][1].get<std::string>()]] = -static_cast<float>(i);
    }
    return v;
}

GgufMaker byte_level_gguf(const Vocabulary& v) {
    GgufMaker maker;
    maker.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "smollm").strs("tokenizer.ggml.tokens", v.tokens);
    maker.array("tokenizer.ggml.token_type", 5, v.types.size(), joined(v.types));
    return maker.strs("tokenizer.ggml.merges", v.merges).u32("tokenizer.ggml.eos_token_id", 0);
}

GgufMaker sentencepiece_gguf(const Vocabulary& v) {
    GgufMaker maker;
    maker.str("tokenizer.ggml.model", "llama").strs("tokenizer.ggml.tokens", v.tokens);
    maker.array("tokenizer.ggml.token_type", 5, v.types.size(), joined(v.types));
    maker.array("tokenizer.ggml.scores", 6, v.scores.size(), joined(v.scores));
    return maker.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
}

Bpe load_gguf(const GgufMaker& maker) {
    TempFolder folder;
    put_file(folder / "model.gguf", maker.file());
    return Bpe::load(folder / "model.gguf");
}

// The maker without a key, so that another value can be given.
GgufMaker without(GgufMaker maker, const std::string& key) {
    std::erase_if(maker.keys, [&](const std::string& part) { return part.starts_with(GgufMaker::text(key)); });
    return maker;
}

Json own_tokenizer() { return Json::parse(read_file("tests/golden/bpe_tokenizer.json")); }

} // namespace

// ---- pre-split -------------------------------------------------------------------------------------------------

TEST_CASE("each pre-split cuts as its model's regular expression does", "[tokenizers]") {
    struct Case {
        PreSplit split;
        std::string text;
        Strings pieces;
    };
    const std::vector<Case> table = {
        {PreSplit::gpt2, "x 1234 5", {"x", " 1234", " 5"}},
        {PreSplit::gpt2, "a  1", {"a", " ", " 1"}},
        {PreSplit::gpt2, "I'LL we'll", {"I", "'", "LL", " we", "'ll"}},
        {PreSplit::gpt2, "a\n\nb \n", {"a", "\n", "\n", "b", " \n"}},
        {PreSplit::llama3, "x 1234 5", {"x", " ", "123", "4", " ", "5"}},
        {PreSplit::llama3, "a  1", {"a", " ", " ", "1"}},
        {PreSplit::llama3, "\u0661\u0662\u0663\u0664\u00bd", {"\u0661\u0662\u0663", "\u0664\u00bd"}},
        {PreSplit::llama3, "I'LL 'Sa '\u017fa", {"I", "'LL", " '", "Sa", " '", "\u017fa"}},
        {PreSplit::llama3, "x'\u017fa'Ve'rE'd", {"x", "'\u017f", "a", "'Ve", "'rE", "'d"}},
        {PreSplit::llama3, "(foo) -bar\t\tbaz", {"(foo", ")", " -", "bar", "\t", "\tbaz"}},
        {PreSplit::llama3, "a.\r\n\n b", {"a", ".\r\n\n", " b"}},
        {PreSplit::llama3, "a \n \n  b", {"a", " \n \n", " ", " b"}},
        {PreSplit::llama3, "\nb\n", {"\n", "b", "\n"}},
        {PreSplit::llama3, "a\u00a0b\u3000\u3000c", {"a", "\u00a0b", "\u3000", "\u3000c"}},
        {PreSplit::llama3, "e\u0301a \u0301x", {"e", "\u0301a", " \u0301", "x"}},
        {PreSplit::llama3, "a\xff z\xc3", {"a", "\xff", " z", "\xc3"}},
        {PreSplit::llama3, "   ", {"   "}},
        {PreSplit::qwen2, "x 12.5", {"x", " ", "1", "2", ".", "5"}},
        {PreSplit::qwen2, "I'LL\n\n go", {"I", "'LL", "\n\n", " go"}},
        {PreSplit::blank_marks, kMark + "a b" + kMark + kMark + "c", {kMark + "a b", kMark, kMark + "c"}},
        {PreSplit::blank_marks, "a" + kMark, {"a", kMark}},
        {PreSplit::whole, "a  b\n", {"a  b\n"}},
    };
    for (const Case& c : table) {
        INFO(static_cast<int>(c.split) << " " << c.text);
        REQUIRE(pieces_of(c.split, c.text) == c.pieces);
    }
}

// ---- text ------------------------------------------------------------------------------------------------------

TEST_CASE("form C composes, orders marks, and leaves invalid bytes where they are", "[tokenizers]") {
    const std::vector<std::pair<std::string, std::string>> table = {
        {"", ""},
        {"plain\n", "plain\n"},
        {"e\u0301", "\u00e9"},
        {"q\u0307\u0323", "q\u0323\u0307"},               // below before above
        {"\u212b\u2126", "\u00c5\u03a9"},                 // angstrom, ohm
        {"\u1100\u1161\u11a8", "\uac01"},                 // Hangul
        {"\u0958", "\u0915\u093c"},                       // excluded from composition
        {"e\xff\u0301", std::string("e\xff") + "\u0301"}, // not across a byte that is no character
        {"\xcc", "\xcc"},
        {"abcde\u0301fgh\u00e9", "abcd\u00e9fgh\u00e9"}, // in the middle of what stays as it is
        {"ab\u00e4\u0323", "ab\u1ea1\u0308"},
        {"ab\u00e9\x80\u0301x", "ab\u00e9\x80\u0301x"},
        {"ab\x80\u0301e\u0301", "ab\x80\u0301\u00e9"},
        {std::string("\0e\u0301\0", 5), std::string("\0\u00e9\0", 4)},
    };
    for (const auto& [text, form] : table) {
        REQUIRE(to_nfc(text) == form);
    }
}

TEST_CASE("form C is that of utf8proc", "[tokenizers]") {
    std::mt19937 rng(5);
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (size_t i = 0; i < 12; ++i) {
            constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
                {0x300, 0x70}, {0xc0, 0x300}, {0, 0x3000}, {0x1100, 0x100}, {0xac00, 0x2ba4}, {0xf900, 0x300}, {0x1d100, 0x200}};
            const auto [first, count] = kRanges[rng() % 7];
            utf8proc_uint8_t utf8[4];
            const auto size = utf8proc_encode_char(static_cast<int32_t>(first + rng() % count), utf8);
            text.append(utf8, utf8 + size);
        }
        utf8proc_uint8_t* form = nullptr;
        const auto size =
            utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<int64_t>(text.size()), &form,
                         static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        REQUIRE(size >= 0);
        const std::string expected(form, form + size);
        std::free(form);
        REQUIRE(to_nfc(text) == expected);
    }
}

TEST_CASE("bytes that are no UTF-8 are replaced as Python and Rust replace them", "[tokenizers]") {
    const std::string r = "\ufffd";
    const std::vector<std::pair<std::string, std::string>> table = {
        {"a\u00e9\U0001f44d", "a\u00e9\U0001f44d"},
        {"\xff\xfe", r + r},
        {"\xe2\x82", r},              // cut off: one
        {"\xe2\x82!", r + "!"},
        {"\xf0\x9f\x91", r},
        {"\xf0\x9f\x91\xf0\x9f", r + r},
        {"\xc0\x80", r + r},          // overlong
        {"\xe0\x80\x80", r + r + r},
        {"\xed\xa0\x80", r + r + r},  // a lone surrogate
        {"\xf4\x90\x80\x80", r + r + r + r},
        {"\x80z\xc3", r + "z" + r},
    };
    for (const auto& [text, replaced] : table) {
        REQUIRE(replace_invalid_utf8(text) == replaced);
    }
}

// ---- ids -------------------------------------------------------------------------------------------------------

TEST_CASE("byte-level tokenizers of each kind give the ids of the tokenizers package", "[tokenizers]") {
    for (const auto& [name, part] : golden()["byte_level"].items()) {
        INFO(name);
        const Bpe bpe = load_json(with_components(own_tokenizer(), part["components"]));
        require_cases(bpe, part["cases"], false);
        REQUIRE(bpe.bos() == (name == "llama-bpe" ? 0 : -1));
    }
}

TEST_CASE("a SentencePiece tokenizer gives the ids of the tokenizers package", "[tokenizers]") {
    const Json& part = golden()["sentencepiece"];
    const Bpe bpe = load_json(part["file"]);
    require_cases(bpe, part["cases"], false);
    require_cases(bpe, part["special"], true);
    for (const auto& [name, newer] : part["metaspace"].items()) {
        INFO(name);
        require_cases(load_json(with_components(part["file"], newer["components"])), newer["special"], true);
    }
}

TEST_CASE("the same tokenizers in a .gguf file give the same ids", "[tokenizers]") {
    const Json& part = golden()["sentencepiece"];
    const Bpe sentencepiece = load_gguf(sentencepiece_gguf(vocabulary_of(part["file"])));
    require_cases(sentencepiece, part["cases"], false);
    require_cases(sentencepiece, part["special"], true);
    REQUIRE(sentencepiece.bos() == 1);
    REQUIRE(sentencepiece.eos() == 2);

    GgufMaker maker = byte_level_gguf(vocabulary_of(own_tokenizer()));
    for (const auto& [name, kind] : golden()["byte_level"].items()) {
        INFO(name);
        const Bpe bpe = load_gguf(without(maker, "tokenizer.ggml.pre")
                                      .str("tokenizer.ggml.pre", name)
                                      .u32("tokenizer.ggml.bos_token_id", 0));
        // Llama 3's file takes a piece that is a token as it is; here every token is reached by merges anyway.
        require_cases(bpe, kind["cases"], false);
        REQUIRE(bpe.bos() == (name == "llama-bpe" ? 0 : -1));
    }
}

TEST_CASE("the real vocabularies give the ids of the tokenizers package", "[tokenizers]") {
    for (const auto& [name, part] : golden()["real"].items()) {
        const std::string path = shared_or_skip("tokenizers/" + name);
        if (path.empty()) {
            continue;
        }
        INFO(name);
        const Bpe bpe = Bpe::load(path);
        require_cases(bpe, part["cases"], false);
        require_cases(bpe, part["special"], true);
    }
}

TEST_CASE("a piece that is a token is not merged where the file says so", "[tokenizers]") {
    Json root = own_tokenizer();
    root["model"]["vocab"] = {{"<|endoftext|>", 0}, {"a", 1}, {"b", 2}, {"c", 3}, {"ab", 4}, {"abc", 5}};
    root["model"]["merges"] = Json::array({"a b"});
    REQUIRE(load_json(root).encode("abc") == Ids{4, 3});
    root["model"]["ignore_merges"] = true;
    REQUIRE(load_json(root).encode("abc") == Ids{5});
}

TEST_CASE("a character without a token is the unknown one, its bytes, or left out", "[tokenizers]") {
    Json root = golden()["sentencepiece"]["file"];
    root["model"]["vocab"] = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {kMark, 3}, {"a", 4}, {kMark + "a", 5}};
    root["model"]["merges"] = Json::array({kMark + " a"});
    root["model"]["byte_fallback"] = false;
    REQUIRE(load_json(root).encode("a\u00e9\u00e9a") == Ids{5, 0, 4});
    root["model"]["fuse_unk"] = false;
    REQUIRE(load_json(root).encode("a\u00e9\u00e9a") == Ids{5, 0, 0, 4});
    root["model"]["unk_token"] = nullptr;
    REQUIRE(load_json(root).encode("a\u00e9\u00e9a") == Ids{5, 4});
    const Bpe bpe = load_json(golden()["sentencepiece"]["file"]);
    REQUIRE(bpe.decode(bpe.encode("\U0001f999")) == "\U0001f999");
}

TEST_CASE("a SentencePiece text is cut at its blanks only where no merge can tell", "[tokenizers]") {
    const Json real = golden()["sentencepiece"]["file"];
    Json root = real;
    // "a▁" reaches from a character into a mark.
    root["model"]["vocab"] = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {kMark, 3}, {"a", 4}, {"a" + kMark, 5}};
    root["model"]["merges"] = Json::array({"a " + kMark});
    root["model"]["byte_fallback"] = false;
    REQUIRE(load_json(root).encode("a a") == Ids{3, 5, 4});
    // Where unknown characters are left out, the marks around one are neighbours.
    root["model"]["vocab"] = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {kMark, 3}, {"a", 4}, {kMark + kMark, 5}};
    root["model"]["merges"] = Json::array({kMark + " " + kMark});
    REQUIRE(load_json(root).encode("\u00e9 a") == Ids{3, 0, 3, 4});
    root["model"]["unk_token"] = nullptr;
    REQUIRE(load_json(root).encode("\u00e9 a") == Ids{5, 4});
    // An unknown mark is one with what is unknown before it.
    root = real;
    root["model"]["vocab"] = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"a", 3}};
    root["model"]["merges"] = Json::array();
    root["model"]["byte_fallback"] = false;
    REQUIRE(load_json(root).encode("a\u00e9 a") == Ids{0, 3, 0, 3});

    // The pieces themselves: a run of marks with what follows it.
    const std::string text = "ab" + kMark + "c" + kMark + kMark + "d" + kMark;
    REQUIRE(pieces_of(PreSplit::mark_runs, text) == Strings{"ab", kMark + "c", kMark + kMark + "d", kMark});
}

TEST_CASE("added tokens that are not special are always found, the leftmost and longest first", "[tokenizers]") {
    Json root = own_tokenizer();
    const auto add = [&](const std::string& text, bool special, bool normalized) {
        root["added_tokens"].push_back({{"id", 639 + root["added_tokens"].size()}, {"content", text},
                                        {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                                        {"normalized", normalized}, {"special", special}});
    };
    add("<tool>", false, false);    // 640
    add("<tool>x", true, false);    // 641
    add("e\u0301", false, true);    // 642, found in form C
    add("ool", false, false);       // 643
    root["normalizer"] = {{"type", "NFC"}};
    const Bpe bpe = load_json(root);
    REQUIRE(bpe.encode("<tool>") == Ids{640});
    REQUIRE(bpe.encode("<tool>x", true) == Ids{641});
    // The longest is special and not asked for: ordinary text, and nothing is looked for inside.
    REQUIRE(bpe.encode("<tool>x") == load_json(own_tokenizer()).encode("<tool>x"));
    REQUIRE(bpe.encode("tool").back() == 643);
    REQUIRE(bpe.encode("\u00e9") == Ids{642});
    REQUIRE(bpe.decode({640, 641, 642}) == "<tool>e\u0301");
    REQUIRE(bpe.token_id("<tool>") == 640);
}

TEST_CASE("a SentencePiece text that continues another has no blank before it", "[tokenizers]") {
    const Bpe bpe = load_json(golden()["sentencepiece"]["file"]);
    Ids whole = bpe.encode("the question");
    const Ids rest = bpe.encode(" question", {.continues = true});
    whole.erase(whole.begin(), whole.end() - static_cast<std::ptrdiff_t>(rest.size()));
    REQUIRE(whole == rest);
    REQUIRE(bpe.encode(" question", {.continues = true}) == bpe.encode("question"));
    REQUIRE(bpe.decode(bpe.encode("  a b ")) == "  a b ");
}

TEST_CASE("add_special puts around a text what the tokenizer's own template does", "[tokenizers]") {
    Json root = golden()["sentencepiece"]["file"];
    const Ids text = load_json(root).encode("a");
    REQUIRE(load_json(root).encode("a", {.add_special = true}) == Ids{1, text[0]});
    REQUIRE(load_json(root).encode("", {.add_special = true}) == Ids{1});
    root["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"Sequence", {{"id", "A"}}}}, {{"SpecialToken", {{"id", "</s>"}}}}}},
                              {"special_tokens", {{"</s>", {{"id", "</s>"}, {"ids", {2}}}}}}};
    REQUIRE(load_json(root).encode("a", {.add_special = true}) == Ids{text[0], 2});
    REQUIRE(load_json(root).bos() == -1);
    GgufMaker maker = sentencepiece_gguf(vocabulary_of(root));
    maker.key("tokenizer.ggml.add_bos_token", 7, std::string(1, '\0')).key("tokenizer.ggml.add_eos_token", 7, "\1");
    REQUIRE(load_gguf(maker).encode("a", {.add_special = true}) == Ids{text[0], 2});
}

TEST_CASE("the other kinds encode repetitions in less than quadratic time", "[tokenizers]") {
    const Bpe sentencepiece = load_json(golden()["sentencepiece"]["file"]);
    const Bpe qwen2 = load_json(with_components(own_tokenizer(), golden()["byte_level"]["qwen2"]["components"]));
    for (const std::string part : {"a", " ", "\u0301\u0323", "<", "\n", "\x80"}) { // the marks are in the wrong order
        for (const Bpe* bpe : {&sentencepiece, &qwen2}) {
            const auto encode = [&](size_t n) {
                std::string text;
                while (text.size() < n) {
                    text += part;
                }
                bpe->encode(text + "\u0301");
            };
            INFO(part);
            REQUIRE(growth(160'000, encode) < kSquareGrowth);
        }
    }
}

// ---- what stands beside tokenizer.json -------------------------------------------------------------------------

TEST_CASE("the end of a sequence is what the folder's files say", "[tokenizers]") {
    TempFolder folder;
    put_file(folder / "tokenizer.json", golden()["sentencepiece"]["file"].dump());
    REQUIRE(Bpe::load(folder.path()).eos() == 2); // by its customary name
    put_file(folder / "config.json", R"({"eos_token_id": [1, 2]})");
    REQUIRE(Bpe::load(folder.path()).eos() == 1);
    put_file(folder / "tokenizer_config.json", R"({"eos_token": {"content": "</s>"}, "chat_template": "one"})");
    REQUIRE(Bpe::load(folder / "tokenizer.json").eos() == 2);
    REQUIRE(Bpe::load(folder / "tokenizer.json").chat_template() == "one");
    put_file(folder / "tokenizer_config.json", R"({"eos_token": "<unk>"})");
    put_file(folder / "chat_template.jinja", "two");
    REQUIRE(Bpe::load(folder.path()).eos() == 0);
    REQUIRE(Bpe::load(folder.path()).chat_template() == "two");

    put_file(folder / "tokenizer_config.json", R"({"eos_token": "<eos>"})");
    REQUIRE_THAT(error_of([&] { Bpe::load(folder.path()); }),
                 Contains("tokenizer_config.json: eos_token is \"<eos>\", which is not in the vocabulary"));
    put_file(folder / "tokenizer_config.json", "{}");
    for (const char* id : {"-1", "700", "18446744073709551615"}) {
        put_file(folder / "config.json", std::string("{\"eos_token_id\": ") + id + "}");
        const std::string error = error_of([&] { Bpe::load(folder.path()); });
        REQUIRE_THAT(error, Contains("config.json: eos_token_id is "));
        REQUIRE_THAT(error, Contains(id));
    }
}

// ---- damaged files ---------------------------------------------------------------------------------------------

TEST_CASE("a SentencePiece tokenizer.json that is damaged is refused by field", "[tokenizers]") {
    const auto error_with = [](const char* pointer, const char* value) {
        Json root = golden()["sentencepiece"]["file"];
        const Json::json_pointer at(pointer);
        *value == '\0' ? root[at.parent_pointer()].erase(at.back()) : (root[at] = Json::parse(value)).size();
        return error_of([&] { load_json(root); });
    };
    REQUIRE_THAT(error_with("/normalizer/normalizers/0/prepend", "\"_\""), Contains("normalizer Prepend, Replace is not"));
    REQUIRE_THAT(error_with("/normalizer", "null"), Contains("pre_tokenizer null is not supported"));
    REQUIRE_THAT(error_with("/decoder/decoders/0/content", "\"_\""), Contains("decoder Replace, ByteFallback, Fuse"));
    REQUIRE_THAT(error_with("/decoder/decoders", ""), Contains("decoder: the field decoders is missing"));
    REQUIRE_THAT(error_with("/pre_tokenizer", R"({"type":"Digits"})"), Contains("pre_tokenizer Digits is not supported"));
    REQUIRE_THAT(error_with("/model/vocab/<0x41>", ""), Contains("must have no holes"));
    REQUIRE_THAT(error_with("/model/byte_fallback", "7"), Contains("byte_fallback is number"));

    Json root = golden()["sentencepiece"]["file"];
    root["model"]["vocab"]["<0xZZ>"] = root["model"]["vocab"]["<0x41>"]; // an ordinary token, and one byte less
    root["model"]["vocab"].erase("<0x41>");
    REQUIRE_THAT(error_of([&] { load_json(root); }), Contains("byte_fallback is true, but vocab has no <0x41>"));
    root["model"]["byte_fallback"] = false;
    REQUIRE(load_json(root).token_bytes(3 + 0x41) == "<0xZZ>");
}

TEST_CASE("a tokenizer in a damaged .gguf file is refused by file and key", "[tokenizers]") {
    const Vocabulary v = vocabulary_of(golden()["sentencepiece"]["file"]);
    const GgufMaker whole = sentencepiece_gguf(v);
    const auto error_with = [](const GgufMaker& maker) {
        const std::string error = error_of([&] { load_gguf(maker); });
        REQUIRE(error.size() < 400);
        REQUIRE_THAT(error, Contains("model.gguf: "));
        return error;
    };
    const auto with_token = [&](size_t id, const std::string& text) {
        Vocabulary other = v;
        other.tokens[id] = text;
        return error_with(sentencepiece_gguf(other));
    };
    REQUIRE(error_of([&] { load_gguf(whole); }).empty());
    REQUIRE_THAT(with_token(3, "<0x-1>"), Contains("tokenizer.ggml.tokens[3] is \"<0x-1>\", expected a byte"));
    REQUIRE_THAT(with_token(3, "<0xZZ>"), Contains("tokens[3] is \"<0xZZ>\", expected a byte as <0x00> to <0xFF>"));
    REQUIRE_THAT(with_token(3, "<0x01>"), Contains("tokens[4] is \"<0x01>\", as another token is"));
    REQUIRE_THAT(with_token(300, v.tokens[299]), Contains("tokens[300] is \"" + v.tokens[299] + "\", as token 299 is"));
    REQUIRE_THAT(with_token(2, "<s>"), Contains("tokens[2] is \"<s>\", as another added token is"));
    REQUIRE_THAT(with_token(400, ""), Contains("tokens[400] is empty"));

    const std::string types = "tokenizer.ggml.token_type";
    const std::string scores = "tokenizer.ggml.scores";
    const auto n = v.tokens.size();
    REQUIRE_THAT(error_with(without(whole, types)), Contains("the key tokenizer.ggml.token_type is missing"));
    REQUIRE_THAT(error_with(without(whole, types).array(types, 5, n - 1, joined(v.types).substr(4))),
                 Contains(types + " has 699 elements for 700 tokens"));
    REQUIRE_THAT(error_with(without(whole, types).array(types, 5, n, joined(std::vector<int32_t>(n, 9)))),
                 Contains(types + "[0] is 9, expected a type from 1 to 6"));
    REQUIRE_THAT(error_with(without(whole, types).array(types, 6, n, joined(v.scores))), Contains(types));
    REQUIRE_THAT(error_with(without(whole, types).array(types, 0, n, std::string(n, '\1'))),
                 Contains("has no byte token <0x00>"));
    REQUIRE_THAT(error_with(without(whole, scores).array(scores, 6, n - 1, joined(v.scores).substr(4))),
                 Contains(scores + " has 699 elements for 700 tokens"));
    REQUIRE_THAT(error_with(without(whole, scores).array(scores, 0, n, std::string(n, '\1'))),
                 Contains(scores + " is u8[700], expected a list of f32"));
    Vocabulary nan = v;
    nan.scores[5] = NAN;
    REQUIRE_THAT(error_with(sentencepiece_gguf(nan)), Contains(scores + "[5] is nan"));

    for (const char* name : {"bos", "eos", "unknown", "padding"}) {
        const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
        REQUIRE_THAT(error_with(without(whole, key).u32(key, 700)), Contains(key + " is 700, outside the vocabulary of 700"));
        REQUIRE_THAT(error_with(without(whole, key).key(key, 5, bytes_of(-1))), Contains(key + " is -1, outside"));
        REQUIRE_THAT(error_with(without(whole, key).str(key, "2")), Contains(key));
    }
    REQUIRE_THAT(error_with(without(whole, "tokenizer.ggml.eos_token_id")), Contains("eos_token_id is missing"));
    REQUIRE_THAT(error_with(without(whole, "tokenizer.ggml.bos_token_id")), Contains("bos_token_id is missing"));
    REQUIRE_THAT(error_with(without(whole, "tokenizer.ggml.model").str("tokenizer.ggml.model", "bert")),
                 Contains("tokenizer.ggml.model \"bert\" is not supported"));
    REQUIRE_THAT(error_with(without(whole, "tokenizer.ggml.model")), Contains("tokenizer.ggml.model is missing"));
}

TEST_CASE("a byte-level tokenizer in a damaged .gguf file is refused by file and key", "[tokenizers]") {
    const Vocabulary v = vocabulary_of(own_tokenizer());
    const auto error_with = [&](const std::vector<std::string>& merges) {
        const std::string key = "tokenizer.ggml.merges";
        return error_of([&] { load_gguf(without(byte_level_gguf(v), key).strs(key, merges)); });
    };
    REQUIRE(error_with(v.merges).empty());
    REQUIRE_THAT(error_with({"ab"}), Contains("tokenizer.ggml.merges[0] is \"ab\", expected two tokens"));
    REQUIRE_THAT(error_with({v.merges[0], "a qqq"}), Contains("merges[1] names the token \"qqq\""));
    REQUIRE_THAT(error_with({"Q Q"}), Contains("merges[0] names the token \"QQ\", which is not in the vocabulary"));
    REQUIRE_THAT(error_with({v.merges[0], v.merges[0]}), Contains("merges[1] repeats the merge"));
    REQUIRE_THAT(error_with({"a "}), Contains("names the token \"\""));
    REQUIRE_THAT(error_with({"<|endoftext|> a"}), Contains("names the token \"<|endoftext|>\""));

    const GgufMaker maker = without(byte_level_gguf(v), "tokenizer.ggml.pre");
    REQUIRE_THAT(error_of([&] { load_gguf(maker); }), Contains("tokenizer.ggml.pre is missing"));
    REQUIRE_THAT(error_of([&] { load_gguf(GgufMaker(maker).str("tokenizer.ggml.pre", "tekken")); }),
                 Contains("tokenizer.ggml.pre \"tekken\" is not supported: expected gpt-2, llama-bpe, qwen2 or smollm"));
    Vocabulary other = v;
    other.tokens[300] = "\u20ac";
    REQUIRE_THAT(error_of([&] { load_gguf(byte_level_gguf(other)); }), Contains("not written in the byte alphabet"));
    other.tokens[300] = "<0x41>";
    other.types[300] = 6;
    REQUIRE_THAT(error_of([&] { load_gguf(byte_level_gguf(other)); }), Contains("expected a byte as <0x00> to <0xFF>, in"));
}

TEST_CASE("a token as long as a file is loaded and found", "[tokenizers]") {
    Vocabulary v = vocabulary_of(golden()["sentencepiece"]["file"]);
    const auto load = [&](size_t n) {
        v.tokens[699] = std::string(n, 'a');
        REQUIRE(load_gguf(sentencepiece_gguf(v)).encode("a").size() == 1);
    };
    REQUIRE(growth(160'000, load) < kSquareGrowth); // looking up every cut would take the square
    load(2'000'000);
}

// ---- chat ------------------------------------------------------------------------------------------------------

TEST_CASE("a user's turn is what the model's own chat template renders", "[tokenizers]") {
    for (const Json& row : golden()["chat"]) {
        INFO(row["family"] << " " << row["user"]);
        TempFolder folder;
        Json root = own_tokenizer();
        root["added_tokens"] = Json::array();
        root["model"]["vocab"].erase("<|endoftext|>");
        root["model"]["vocab"]["\u0120never"] = 0;
        for (const Json& token : row["tokens"]) {
            root["added_tokens"].push_back({{"id", 640 + root["added_tokens"].size()}, {"content", token}, {"special", true}});
        }
        put_file(folder / "tokenizer.json", root.dump());
        put_file(folder / "chat_template.jinja", row["template"].get<std::string>());
        REQUIRE(apply_chat(Bpe::load(folder.path()), row["user"]) == row["text"].get<std::string>());
    }
}

TEST_CASE("chat without known special tokens or with another template is refused", "[tokenizers]") {
    REQUIRE_THAT(error_of([] { apply_chat(load_json(own_tokenizer()), "x"); }),
                 Contains("--chat: the vocabulary has the special tokens of no chat format known here"));
    TempFolder folder;
    put_file(folder / "tokenizer.json", golden()["sentencepiece"]["file"].dump());
    REQUIRE(apply_chat(Bpe::load(folder.path()), " x ") == "<s>[INST] x [/INST]"); // no template: Llama 2's
    REQUIRE(apply_chat(Bpe::load(folder.path()), "\x1c\u2003 x\x85\u0085\x1f") == "<s>[INST] x\x85 [/INST]");
    put_file(folder / "chat_template.jinja", "{{ '### Human: ' + messages[0].content }}");
    REQUIRE_THAT(error_of([&] { apply_chat(Bpe::load(folder.path()), "x"); }), Contains("neither <|user|> nor [INST]"));
}
