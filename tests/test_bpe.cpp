// Byte-level BPE: the pre-split by hand, training and merging against the plain definitions, ids against
// those of the `tokenizers` package (tests/golden/make_bpe.py), the file format and what is refused of it.
#include "test.h"

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "support/files.h"
#include "support/utf8.h"
#include "test_support.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bpe_split.h"

using namespace skintern;
using Json = nlohmann::json;
using Strings = std::vector<std::string>;
using Ids = std::vector<int32_t>;

namespace {

const std::string kEnd = "<|endoftext|>";
const std::string kGoldenTokenizer = "tests/golden/bpe_tokenizer.json";
const std::string kGoldenCases = "tests/golden/bpe_cases.json";

Strings pieces_of(const std::string& text) {
    Strings pieces;
    for (size_t pos = 0, end = 0; pos < text.size(); pos = end) {
        end = piece_end(PreSplit::gpt2_digits, text, pos);
        pieces.push_back(text.substr(pos, end - pos));
    }
    return pieces;
}

Strings tokens_of(const Bpe& bpe, const std::string& text) {
    Strings tokens;
    for (const int32_t id : bpe.encode(text)) {
        tokens.push_back(bpe.token_bytes(id));
    }
    return tokens;
}

Bpe train(const Strings& documents, int64_t vocab_size, const Strings& special = {kEnd}) {
    BpeTrainConfig config;
    config.vocab_size = vocab_size;
    config.special_tokens = special;
    return Bpe::train(documents, config);
}

// The tokens learnt beyond the special token and the 256 bytes, in the order of their ids.
Strings learnt(const Bpe& bpe) {
    Strings tokens;
    for (int32_t id = 257; id < bpe.vocab_size(); ++id) {
        tokens.push_back(bpe.token_bytes(id));
    }
    return tokens;
}

std::string random_text(std::mt19937& rng, const Strings& parts, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
        text += parts[rng() % parts.size()];
    }
    return text;
}

Strings replace_pair(const Strings& symbols, const std::pair<std::string, std::string>& pair) {
    Strings out;
    for (size_t i = 0; i < symbols.size(); ++i) {
        const bool here = i + 1 < symbols.size() && symbols[i] == pair.first && symbols[i + 1] == pair.second;
        out.push_back(here ? symbols[i] + symbols[i + 1] : symbols[i]);
        i += here ? 1 : 0;
    }
    return out;
}

Strings bytes_of(const std::string& piece) {
    Strings bytes;
    for (const char byte : piece) {
        bytes.emplace_back(1, byte);
    }
    return bytes;
}

// Training by its definition, for documents of the letters a to z: count all, merge the best, again. Within
// the letters the order of the ids of single bytes is that of the bytes.
Strings train_plainly(const Strings& documents, size_t merges) {
    std::vector<Strings> words;
    for (const std::string& document : documents) {
        words.push_back(bytes_of(document));
    }
    Strings learnt_tokens;
    std::map<std::string, int> id;
    for (char c = 'a'; c <= 'z'; ++c) {
        id.emplace(std::string(1, c), c);
    }
    while (learnt_tokens.size() < merges) {
        std::map<std::pair<int, int>, std::pair<int, std::pair<std::string, std::string>>> counts;
        for (const Strings& word : words) {
            for (size_t i = 0; i + 1 < word.size(); ++i) {
                auto& count = counts[{id[word[i]], id[word[i + 1]]}];
                ++count.first;
                count.second = {word[i], word[i + 1]};
            }
        }
        std::pair<std::string, std::string> best;
        int most = 1;                             // a pair seen once is not merged
        for (const auto& [ids, count] : counts) { // in the order of the ids: the first of equals wins
            if (count.first > most && id.count(count.second.first + count.second.second) == 0) {
                most = count.first;
                best = count.second;
            }
        }
        if (most == 1) {
            break;
        }
        learnt_tokens.push_back(best.first + best.second);
        id.emplace(learnt_tokens.back(), 1000 + static_cast<int>(learnt_tokens.size()));
        for (Strings& word : words) {
            word = replace_pair(word, best);
        }
    }
    return learnt_tokens;
}

Json golden_tokenizer() {
    return Json::parse(read_file(kGoldenTokenizer));
}

// The error of loading the golden tokenizer with the value at `pointer` replaced (no value: removed).
std::string error_with(const std::string& pointer, const std::string& value) {
    TempFolder folder;
    Json root = golden_tokenizer();
    const Json::json_pointer at(pointer);
    if (value.empty()) {
        root[at.parent_pointer()].erase(at.back());
    } else {
        root[at] = Json::parse(value);
    }
    write_file(folder / "tokenizer.json", root.dump());
    return error_of([&] { Bpe::load(folder / "tokenizer.json"); });
}

} // namespace

// ---- pre-split -------------------------------------------------------------------------------------------

TEST_CASE("the pre-split cuts digits singly and the rest as the GPT-2 expression does", "[bpe]") {
    const std::vector<std::pair<std::string, Strings>> table = {
        {"", {}},
        {"Hello world", {"Hello", " world"}},
        {"x = 12.5;", {"x", " =", " ", "1", "2", ".", "5", ";"}},
        {"a  b", {"a", " ", " b"}},
        {"a   \n b", {"a", "   \n", " b"}},
        {"a\nb", {"a", "\n", "b"}},
        {"a \nb", {"a", " ", "\n", "b"}},
        {"a\n\nb", {"a", "\n", "\n", "b"}},
        {"a  1", {"a", "  ", "1"}},
        {"a  ", {"a", "  "}},
        {"\t!", {"\t", "!"}},
        {"I'm she'll we've don't", {"I", "'m", " she", "'ll", " we", "'ve", " don", "'t"}},
        {"'tis 's 'S", {"'t", "is", " '", "s", " '", "S"}},
        {"''s", {"''", "s"}},
        {"'1", {"'", "1"}},
        {"\u00bd\u2163\u0663", {"\u00bd", "\u2163", "\u0663"}}, // one half, Roman four, Arabic three
        {"e\u0301a", {"e", "\u0301", "a"}},                     // a combining mark is no letter
        {"a\u00a0\u3000b", {"a", "\u00a0", "\u3000", "b"}},     // white space that is not the blank
        {"a\u200bb", {"a", "\u200b", "b"}},                     // zero-width space: a symbol
        {"a\xff\xfe b\xc3", {"a", "\xff\xfe", " b", "\xc3"}},   // no characters: symbols
        {" \xed\xa0\x80!", {" \xed\xa0\x80!"}},                 // a lone surrogate: three symbols
        {"\xc0\x80z", {"\xc0\x80", "z"}},                       // an overlong NUL
    };
    for (const auto& [text, pieces] : table) {
        INFO(text);
        REQUIRE(pieces_of(text) == pieces);
    }
}

// ---- training and merging --------------------------------------------------------------------------------

TEST_CASE("the pre-split classes ASCII as utf8proc does", "[bpe]") {
    for (int c = 0; c < 128; ++c) {
        INFO(c);
        const std::string text = std::string("a") + static_cast<char>(c) + "a.";
        const auto category = utf8proc_category(c);
        const bool letter = category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL;
        const bool blank = c == ' ';
        const std::string middle(1, static_cast<char>(c));
        REQUIRE(pieces_of(text) == (letter  ? Strings{"a" + middle + "a", "."}
                                    : blank ? Strings{"a", " a", "."}
                                            : Strings{"a", middle, "a", "."}));
        // White space and symbols part where they meet; a digit stands alone.
        const bool symbol = !letter && category != UTF8PROC_CATEGORY_ND && !is_white_space(c);
        REQUIRE(pieces_of("!" + middle).size() == (symbol ? 1 : 2));
        REQUIRE(pieces_of(middle + middle).size() == (category == UTF8PROC_CATEGORY_ND ? 2 : 1));
    }
}

TEST_CASE("the pre-split finds the end of a word of any length, in a text of any length", "[bpe]") {
    for (size_t length = 1; length <= 40; ++length) {
        for (const std::string& after :
             Strings{"", "@", "[", "`", "{", " ", "7", "\xe2\x82\xac", "\x80", "\xc1"}) {
            for (const std::string& rest : Strings{"", "abcdefgh"}) {
                std::string word;
                for (size_t i = 0; i < length; ++i) {
                    word += "azAZmM"[(i + length) % 6];
                }
                const std::string text = word + after + rest;
                REQUIRE(pieces_of(text)[0] == (after.empty() ? text : word));
                REQUIRE(pieces_of(word + "\xc3\xa9" + text)[0] == word + "\xc3\xa9" + pieces_of(text)[0]);
            }
        }
    }
}

TEST_CASE("training takes the most frequent pair, and of equals the one with the smaller ids", "[bpe]") {
    // c+d stands there three times, a+b twice; " "+"cd" and " "+"ab" once, which is too little.
    REQUIRE(learnt(train({"cd cd\ncd ab\nab"}, 300)) == Strings{"cd", "ab"});
    REQUIRE(learnt(train({"cd cd\ncd ab\nab cd"}, 300)) == Strings{"cd", "ab", " cd"});
    REQUIRE(learnt(train({"cd", "cd", "ab", "ab"}, 300)) == Strings{"ab", "cd"});
    REQUIRE(learnt(train({"cd", "cd", "ab", "ab"}, 258)) == Strings{"ab"});
    // Overlaps: "aaaa" holds a+a three times, and after the merge aa+aa once.
    REQUIRE(learnt(train({"aaaa"}, 300)) == Strings{"aa"});
    REQUIRE(learnt(train({"aaaa", "aaaa"}, 300)) == Strings{"aa", "aaaa"});
    // Nothing to learn: the bytes are there all the same.
    REQUIRE(train({}, 2048).vocab_size() == 257);
}

TEST_CASE("training equals counting everything anew for each merge", "[bpe]") {
    std::mt19937 rng(1);
    for (int round = 0; round < 60; ++round) {
        const Strings letters = round % 2 == 0 ? Strings{"a", "b"} : Strings{"a", "b", "c", "ab", "abc"};
        Strings documents;
        for (size_t i = 0; i < 30; ++i) {
            documents.push_back(random_text(rng, letters, 1 + rng() % 12));
        }
        const size_t merges = 1 + rng() % 40;
        REQUIRE(learnt(train(documents, 257 + static_cast<int64_t>(merges))) ==
                train_plainly(documents, merges));
    }
}

TEST_CASE("encoding equals applying the merges one after another", "[bpe]") {
    std::mt19937 rng(2);
    const Strings letters = {"a", "b", "c"};
    const Bpe bpe = train({random_text(rng, letters, 400), random_text(rng, letters, 400)}, 257 + 60);
    TempFolder folder;
    bpe.save(folder / "tokenizer.json");
    const Json merges = Json::parse(read_file(folder / "tokenizer.json"))["model"]["merges"];
    REQUIRE(merges.size() > 40);
    for (int round = 0; round < 300; ++round) {
        const std::string text = random_text(rng, letters, 1 + rng() % 50);
        Strings symbols = bytes_of(text);
        for (const Json& merge : merges) {
            symbols = replace_pair(symbols, {merge[0], merge[1]});
        }
        REQUIRE(tokens_of(bpe, text) == symbols);
    }
}

TEST_CASE("a piece is encoded the same when the text has had it before", "[bpe]") {
    const Bpe bpe = Bpe::load(kGoldenTokenizer);
    const Ids one = bpe.encode(" question");
    Ids three = one;
    three.insert(three.end(), one.begin(), one.end());
    three.insert(three.end(), one.begin(), one.end());
    REQUIRE(bpe.encode(" question question question") == three);
}

TEST_CASE("a text with more pieces than are remembered is encoded as its pieces are", "[bpe]") {
    const Bpe bpe = Bpe::load(kGoldenTokenizer);
    std::mt19937 rng(4);
    const Strings parts = {"question", "answer", "the", "qx", "ing", "7", "\xc3\xa9", "\x01", "zzzz", "  ", "'s"};
    std::string text;
    for (int i = 0; i < 150'000; ++i) {
        text += ' ' + random_text(rng, parts, 1 + rng() % 4);
    }
    Ids expected;
    for (const std::string& piece : pieces_of(text)) {
        const Ids ids = bpe.encode(piece);
        expected.insert(expected.end(), ids.begin(), ids.end());
    }
    const bool equal = bpe.encode(text) == expected;
    REQUIRE(equal); // not both megabytes in the message
}

TEST_CASE("a megabyte of one letter is encoded in less than quadratic time", "[bpe]") {
    const std::string text(1'000'000, 'a');
    const Bpe bpe = train({text}, 2048);
    REQUIRE(growth(160'000, [&](size_t n) { bpe.encode(std::string(n, 'a')); }) < kSquareGrowth);
    const bool equal = bpe.decode(bpe.encode(text)) == text;
    REQUIRE(equal); // not both megabytes in the message
}

TEST_CASE("decode inverts encode for all bytes", "[bpe]") {
    const Bpe bpe = Bpe::load(kGoldenTokenizer);
    std::mt19937 rng(3);
    std::string every;
    for (int b = 0; b < 256; ++b) {
        every += static_cast<char>(b);
    }
    REQUIRE(bpe.decode(bpe.encode(every)) == every);
    const Strings parts = {"a", " ", "1", "\xe2", "\x80", "\xf0\x9f", "\xed\xa0\x80", "\xc3\xa9", "\n", kEnd};
    for (int round = 0; round < 2000; ++round) {
        std::string text = random_text(rng, parts, rng() % 30);
        text += static_cast<char>(rng() % 256);
        REQUIRE(bpe.decode(bpe.encode(text)) == text);
        REQUIRE(bpe.decode(bpe.encode(text, true), true) == text);
    }
}

// ---- special tokens --------------------------------------------------------------------------------------

TEST_CASE("a special token in the text is ordinary text unless it is asked for", "[bpe]") {
    const Bpe bpe = train({"text", "text", "end", "end"}, 300, {kEnd, "<|end|>", "<|end|>of"});
    REQUIRE(bpe.eos() == 0);
    REQUIRE(bpe.token_id(kEnd) == 0);
    REQUIRE(bpe.token_id("<|end|>") == 1);
    REQUIRE(bpe.token_id("end") == -1);
    REQUIRE(bpe.token_bytes(2) == "<|end|>of");

    for (const int32_t id : bpe.encode("a" + kEnd + "<|end|>of")) {
        REQUIRE(id > 2);
    }
    const Ids a = bpe.encode("a");
    REQUIRE(bpe.encode("a" + kEnd + "a", true) == Ids{a[0], 0, a[0]});
    REQUIRE(bpe.encode("<|end|>of<|end|>a", true) == Ids{2, 1, a[0]}); // the longest wins
    REQUIRE(bpe.encode("<|endo", true) == bpe.encode("<|endo"));
    REQUIRE(bpe.decode({a[0], 0, a[0]}) == "aa");
    REQUIRE(bpe.decode({a[0], 0, a[0]}, true) == "a" + kEnd + "a");
}

TEST_CASE("training never gives a special token's text a second id", "[bpe]") {
    const Bpe bpe = train({"stop", "stop", "stop"}, 300, {"stop"});
    REQUIRE(learnt(bpe) == Strings{"op", "st"}); // of three equal pairs the smallest ids, then "s"+"t"
    REQUIRE(bpe.encode("stop").size() == 2);
    REQUIRE(bpe.encode("stop", true) == Ids{0});
}

TEST_CASE("ids outside the vocabulary and impossible settings are refused", "[bpe]") {
    const Bpe bpe = train({}, 257);
    REQUIRE_THROWS_WITH(bpe.decode({0, 257}), "token id 257 is outside the vocabulary of 257");
    REQUIRE_THROWS_WITH(bpe.token_bytes(-1), "token id -1 is outside the vocabulary of 257");
    REQUIRE_THROWS_WITH(train({}, 256), Contains("vocab_size 256"));
    REQUIRE_THROWS_WITH(train({}, int64_t{1} << 40), Contains("vocab_size"));
    REQUIRE_THROWS_WITH(train({}, 300, {}), Contains("special token"));
    REQUIRE_THROWS_WITH(train({}, 300, {"x"}), Contains("'x'"));
    REQUIRE_THROWS_WITH(train({}, 300, {kEnd, kEnd}), Contains("named twice"));
}

// ---- against the `tokenizers` package --------------------------------------------------------------------

TEST_CASE("encoding gives the ids of the tokenizers package", "[bpe]") {
    const Bpe bpe = Bpe::load(kGoldenTokenizer);
    const Json golden = Json::parse(read_file(kGoldenCases));
    REQUIRE(golden["cases"].size() > 200);
    for (const char* group : {"cases", "special_cases"}) {
        const bool special = std::string(group) == "special_cases";
        for (const Json& row : golden[group]) {
            const auto text = row[0].get<std::string>();
            INFO(row[0].dump());
            REQUIRE(bpe.encode(text, special) == row[1].get<Ids>());
            REQUIRE(bpe.decode(row[1].get<Ids>(), special) == text);
        }
    }
}

TEST_CASE("training writes the file that the tokenizers package writes from the same text", "[bpe]") {
    const Json golden = Json::parse(read_file(kGoldenCases));
    TempFolder folder;
    train(golden["documents"].get<Strings>(), 640).save(folder / "tokenizer.json");
    const bool equal = Json::parse(read_file(folder / "tokenizer.json")) == golden_tokenizer();
    REQUIRE(equal); // not both trees in the message
}

// ---- the file --------------------------------------------------------------------------------------------

TEST_CASE("a saved tokenizer loads as the same one", "[bpe]") {
    TempFolder folder;
    const Bpe bpe = train({"ab ab abc", "\xff\xff", "\xff\xff"}, 300, {kEnd, "<|\"quote\"|>\n"});
    bpe.save(folder / "a.json");
    const Bpe again = Bpe::load(folder / "a.json");
    REQUIRE(again.vocab_size() == bpe.vocab_size());
    for (int32_t id = 0; id < bpe.vocab_size(); ++id) {
        REQUIRE(again.token_bytes(id) == bpe.token_bytes(id));
    }
    REQUIRE(again.token_id("<|\"quote\"|>\n") == 1);
    again.save(folder / "b.json");
    REQUIRE(read_file(folder / "a.json") == read_file(folder / "b.json"));
}

TEST_CASE("the older spelling of merges and special tokens outside the vocabulary load", "[bpe]") {
    TempFolder folder;
    Json root = golden_tokenizer();
    for (Json& merge : root["model"]["merges"]) {
        merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
    Json added = root["added_tokens"][0];
    added["id"] = 640;
    added["content"] = "<|pad|>";
    root["added_tokens"].push_back(added);
    write_file(folder / "old.json", root.dump());
    const Bpe old = Bpe::load(folder / "old.json");
    const Bpe bpe = Bpe::load(kGoldenTokenizer);
    REQUIRE(old.encode("the price of apples") == bpe.encode("the price of apples"));
    REQUIRE(old.token_id("<|pad|>") == 640);
    REQUIRE(old.eos() == 0);
}

TEST_CASE("a byte that the vocabulary lacks is left out of the ids, as the package does it", "[bpe]") {
    TempFolder folder;
    Json root = golden_tokenizer();
    root["model"]["vocab"] = {{kEnd, 0}, {"a", 1}, {"b", 2}, {"ab", 3}};
    root["model"]["merges"] = Json::array({Json::array({"a", "b"})});
    write_file(folder / "small.json", root.dump());
    const Bpe bpe = Bpe::load(folder / "small.json");
    REQUIRE(bpe.encode("abb") == Ids{3, 2});
    REQUIRE(bpe.encode("a\nb\n") == Ids{1, 2});
}

TEST_CASE("a tokenizer file of another kind, or a damaged one, is refused by file and field", "[bpe]") {
    struct Case {
        const char* pointer;
        const char* value; // "": the field is removed
        const char* message;
    };
    const Case table[] = {
        {"/model", "", "the field model is missing"},
        {"/model", "[]", "model is array, expected an object"},
        {"/model/type", "\"Unigram\"", "type Unigram is not supported"},
        {"/model/type", "7", "type is number, expected a string"},
        {"/model/dropout", "0.1", "dropout is 0.1, which is not supported"},
        {"/model/ignore_merges", "3", "ignore_merges is number, expected true or false"},
        {"/model/unk_token", "\"nobody\"", "unk_token is \"nobody\", which is not in the vocabulary"},
        {"/model/byte_fallback", "true", "byte_fallback is true"},
        {"/model/end_of_word_suffix", "\"</w>\"", "end_of_word_suffix is \"</w>\""},
        {"/model/continuing_subword_prefix", "\"##\"", "continuing_subword_prefix is \"##\""},
        {"/normalizer", R"({"type":"NFKC"})", "normalizer NFKC is not supported"},
        {"/normalizer", R"({"type":"Sequence"})", "normalizer: the field normalizers is missing"},
        {"/truncation", R"({"max_length":5})", "truncation object is not supported"},
        {"/padding", R"({"strategy":"BatchLongest"})", "padding object is not supported"},
        {"/pre_tokenizer", "", "the field pre_tokenizer is missing"},
        {"/pre_tokenizer", "null", "pre_tokenizer null is not supported"},
        {"/pre_tokenizer", R"({"type":"Whitespace"})", "pre_tokenizer Whitespace is not supported"},
        {"/pre_tokenizer", R"({"type":"Metaspace"})", "pre_tokenizer Metaspace: replacement is missing"},
        {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"last"})",
         "prepend_scheme is \"last\", expected always, first or never"},
        {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"▁","split":1})", "split is number"},
        {"/pre_tokenizer", R"({"type":"Metaspace","replacement":"▁"})", "decoder ByteLevel is not supported"},
        {"/pre_tokenizer/pretokenizers/0", R"({"type":"Split","behavior":"Removed"})", "behavior is \"Removed\""},
        {"/pre_tokenizer/pretokenizers/0",
         R"({"type":"Split","behavior":"Isolated","invert":false,"pattern":{"Regex":"x+"}})",
         "pattern {\"Regex\":\"x+\"} is not supported"},
        {"/pre_tokenizer/pretokenizers/0/individual_digits", "false", "Digits: individual_digits is false"},
        {"/pre_tokenizer/pretokenizers/1/add_prefix_space", "true", "ByteLevel: add_prefix_space is true"},
        {"/pre_tokenizer/pretokenizers/1/use_regex", "false", "ByteLevel: use_regex is false"},
        {"/decoder", "", "the field decoder is missing"},
        {"/decoder/type", "\"WordPiece\"", "decoder WordPiece is not supported"},
        {"/post_processor", R"({"type":"BertProcessing"})", "post_processor BertProcessing is not supported"},
        {"/post_processor", R"({"type":"TemplateProcessing"})", "TemplateProcessing: the field single is missing"},
        {"/post_processor", R"({"type":"TemplateProcessing","single":[]})", "single has no Sequence"},
        {"/post_processor", R"({"type":"TemplateProcessing","single":[7]})", "single has 7, expected"},
        {"/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]})",
         "special_tokens does not give \"<s>\" one id"},
        {"/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],
                                "special_tokens":{"<s>":{"ids":[640]}}})",
         "gives \"<s>\" the id 640, but the vocabulary has no such token"},
        {"/post_processor", R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|endoftext|>"}}],
                                "special_tokens":{"<|endoftext|>":{"ids":[-1]}}})",
         "the id -1, but the vocabulary gives it 0"},
        {"/added_tokens", "", "the field added_tokens is missing"},
        {"/added_tokens", "[]", "added_tokens is empty"},
        {"/added_tokens", "{}", "added_tokens is object, expected a list"},
        {"/added_tokens/0", "3", "added_tokens[0]: it is number, expected an object"},
        {"/added_tokens/0/id", "", "added_tokens[0]: the field id is missing"},
        {"/added_tokens/0/id", "5", "added_tokens[0]: id is 5, but the vocabulary gives"},
        {"/added_tokens/0/id", "-1", "added_tokens[0]: id is -1, outside 0 to 639"},
        {"/added_tokens/0/id", "1.5", "added_tokens[0]: id is 1.5, expected an integer"},
        {"/added_tokens/0/content", "\"\"", "added_tokens[0]: content is empty"},
        {"/added_tokens/0/content", "\"<|other|>\"", "vocab gives the id 0 to"},
        {"/added_tokens/0/special", "false", "added_tokens has no special token"},
        {"/added_tokens/0/special", "1", "added_tokens[0]: special is number"},
        {"/added_tokens/0/lstrip", "true", "added_tokens[0]: lstrip is true"},
        {"/added_tokens/1", R"({"id":0,"content":"<|endoftext|>","special":true})", "lists \"<|endoftext|>\" twice"},
        {"/model/vocab", "", "the field vocab is missing"},
        {"/model/vocab", "[]", "vocab is array, expected an object"},
        {"/model/vocab/a", "\"5\"", "vocab[\"a\"] is string, expected an integer"},
        {"/model/vocab/a", "640", "vocab[\"a\"] is 640, outside 0 to 639"},
        {"/model/vocab/a", "18446744073709551615", "vocab[\"a\"] is 18446744073709551615"},
        {"/model/vocab/a", "70", "vocab gives the id 70 to"},
        {"/model/vocab/a", "", "outside 0 to 638: the ids of 639 tokens must have no holes"},
        {"/model/vocab/", "640", "vocab has an empty token"},
        {"/model/vocab/a b", "640", "vocab has \"a b\", which is not written in the byte alphabet"},
        {"/model/vocab/\xe2\x82\xac", "640", "which is not written in the byte alphabet"},
        {"/model/merges", "", "the field merges is missing"},
        {"/model/merges", "{}", "merges is object, expected a list"},
        {"/model/merges/3", "\"ab\"", "merges[3] is \"ab\", expected two tokens"},
        {"/model/merges/3", "[\"a\"]", "merges[3] is [\"a\"], expected a list of two strings"},
        {"/model/merges/3", "[\"a\",1]", "merges[3] is [\"a\",1]"},
        {"/model/merges/3", "[\"a\",\"qqq\"]", "merges[3] names the token \"qqq\""},
        {"/model/merges/3", "[\"Q\",\"Q\"]", "merges[3] names the token \"QQ\""},
        {"/model/merges/3", "[\"a\",\"\"]", "merges[3] names the token \"\""},
        {"/model/merges/3", "[\"a\",\"<|endoftext|>\"]", "merges[3] names the special token"},
    };
    for (const Case& c : table) {
        INFO(c.pointer << " " << c.value);
        const std::string error = error_with(c.pointer, c.value);
        REQUIRE_THAT(error, Contains(c.message));
        REQUIRE_THAT(error, Contains("tokenizer.json: "));
        REQUIRE(error.size() < 400);
    }
    const std::string first = golden_tokenizer()["model"]["merges"][0].dump();
    REQUIRE_THAT(error_with("/model/merges/3", first), Contains("merges[3] repeats the merge of"));
}

TEST_CASE("a tokenizer file that is no JSON object of the kind is refused", "[bpe]") {
    TempFolder folder;
    const std::string whole = read_file(kGoldenTokenizer);
    for (const std::string& text :
         {std::string(), std::string("[]"), std::string("{}"), std::string("nonsense"), whole.substr(0, 9000),
          whole + "x", std::string("{\"version\":\"\xff\"}"), std::string(100'000, '[')}) {
        write_file(folder / "bad.json", text);
        REQUIRE_THAT(error_of([&] { Bpe::load(folder / "bad.json"); }), Contains("bad.json"));
    }
    REQUIRE_THAT(error_of([&] { Bpe::load(folder / "none.json"); }), Contains("none.json"));
    std::string twice = whole;
    twice.replace(twice.find("\"vocab\":{"), 9, "\"vocab\":{\"a\":66,");
    write_file(folder / "bad.json", twice);
    REQUIRE_THAT(error_of([&] { Bpe::load(folder / "bad.json"); }), Contains("\"a\" occurs twice"));
}
