// GGUF: what is well-formed is read as it lies, what is malformed is refused with one sentence.
#include "test.h"

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "gguf_maker.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

namespace {

const std::string kPath = "x.gguf"; // of bytes that are in memory

GgufFile parse(const std::string& bytes) {
    const auto owner = std::make_shared<const std::string>(bytes);
    return GgufFile::parse(*owner, kPath, owner);
}

std::string error_in(const std::string& bytes) {
    return error_of([&] { parse(bytes); });
}

GgufMaker small_file() {
    GgufMaker file;
    file.str("general.architecture", "llama").u32("llama.block_count", 2).f32("eps", 0.5f);
    file.strs("tokens", {"a", "", "ccc"}).array("types", 5, 3, bytes_of(-1) + bytes_of(2) + bytes_of(3));
    file.array("flags", 7, 2, std::string("\1\0", 2)).key("yes", 7, "\1");
    file.floats("scalars", {2, 3}, {1, 2, 3, 4, 5, 6});
    file.tensor("halves", {2}, 1, bytes_of<uint16_t>(0x3c00) + bytes_of<uint16_t>(0xc000));
    file.tensor("blocks", {2, 32}, 8, std::string(68, '\1'));
    return file;
}

} // namespace

// ---- what is well-formed -------------------------------------------------------------------------------------------

TEST_CASE("the metadata of a GGUF file are read by kind", "[gguf]") {
    const GgufFile file = parse(small_file().file());
    REQUIRE(file.keys() == std::vector<std::string>{"general.architecture", "llama.block_count", "eps",
                                                    "tokens", "types", "flags", "yes"});
    REQUIRE(file.text("general.architecture") == "llama");
    REQUIRE(file.integer("llama.block_count") == 2);
    REQUIRE(file.number("llama.block_count") == 2.0); // an integer is a number too
    REQUIRE(file.number("eps") == 0.5);
    REQUIRE(file.flag("yes"));
    REQUIRE(file.texts("tokens") == std::vector<std::string_view>{"a", "", "ccc"});
    REQUIRE(file.integers("types") == std::vector<int64_t>{-1, 2, 3});
    REQUIRE(file.numbers("types") == std::vector<double>{-1, 2, 3});
    REQUIRE(file.has("eps"));
    REQUIRE_FALSE(file.has("ep"));
    REQUIRE(file.shown_value("tokens") == "text[3]");
    REQUIRE(file.shown_value("general.architecture") == "\"llama\"");
    REQUIRE(file.shown_value("eps") == "0.5");
    REQUIRE(file.shown_value("yes") == "true");
}

TEST_CASE("integers of every width and sign, and both floats, are read as they are", "[gguf]") {
    GgufMaker maker;
    maker.key("u8", 0, "\xff").key("i8", 1, "\xff").key("u16", 2, "\xfe\xff").key("i16", 3, "\xfe\xff");
    maker.key("u32", 4, bytes_of(UINT32_MAX)).key("i32", 5, bytes_of(INT32_MIN));
    maker.key("u64", 10, bytes_of<uint64_t>(INT64_MAX)).key("i64", 11, bytes_of(INT64_MIN));
    maker.key("big", 10, bytes_of(UINT64_MAX)).key("f64", 12, bytes_of(0.1));
    const GgufFile file = parse(maker.file());
    REQUIRE(file.integer("u8") == 255);
    REQUIRE(file.integer("i8") == -1);
    REQUIRE(file.integer("u16") == 65534);
    REQUIRE(file.integer("i16") == -2);
    REQUIRE(file.integer("u32") == 4294967295);
    REQUIRE(file.integer("i32") == INT32_MIN);
    REQUIRE(file.integer("u64") == INT64_MAX);
    REQUIRE(file.integer("i64") == INT64_MIN);
    REQUIRE(file.number("f64") == 0.1);
    REQUIRE_THAT(error_of([&] { file.integer("big"); }),
                 Contains("x.gguf: the key big is 18446744073709551615"));
    REQUIRE(file.shown_value("big") == "18446744073709551615");
}

TEST_CASE("a key that is missing or of another kind is named", "[gguf]") {
    const GgufFile file = parse(small_file().file());
    const auto error = [&](auto read, const char* key) { return error_of([&] { (file.*read)(key); }); };
    REQUIRE_THAT(error(&GgufFile::integer, "no.such"), Contains("x.gguf: the key no.such is missing"));
    REQUIRE_THAT(error(&GgufFile::integer, "eps"), Contains("the key eps is f32, expected an integer"));
    REQUIRE_THAT(error(&GgufFile::text, "eps"), Contains("the key eps is f32, expected a text"));
    REQUIRE_THAT(error(&GgufFile::number, "yes"), Contains("the key yes is bool, expected a number"));
    REQUIRE_THAT(error(&GgufFile::flag, "tokens"), Contains("the key tokens is an array, expected a bool"));
    REQUIRE_THAT(error(&GgufFile::texts, "eps"), Contains("the key eps is f32, expected an array of texts"));
    REQUIRE_THAT(error(&GgufFile::texts, "types"),
                 Contains("is an array of i32, expected an array of texts"));
    const GgufFile odd = parse(GgufMaker().u32("a\nb", 1).file()); // what a file names stays on one line
    REQUIRE_THAT(error_of([&] { odd.text("a\nb"); }), Contains("the key a?b is u32, expected a text"));
    REQUIRE_THAT(error_of([&] { odd.texts("a\nb"); }), Contains("the key a?b is u32, expected an array of texts"));
    REQUIRE_THAT(error(&GgufFile::numbers, "tokens"),
                 Contains("is an array of text, expected an array of numbers"));
}

TEST_CASE("the tensors of a GGUF file lie where they are, their shapes row-major", "[gguf]") {
    for (const uint32_t version : {2, 3}) {
        GgufMaker maker = small_file();
        maker.version = version;
        const GgufFile file = parse(maker.file());
        REQUIRE(file.tensors().size() == 3);
        const StoredTensor& floats = file.tensors()[0];
        REQUIRE(floats.name == "scalars");
        REQUIRE(floats.shape == std::vector<int64_t>{2, 3});
        REQUIRE(to_floats(floats) == std::vector<float>{1, 2, 3, 4, 5, 6});
        REQUIRE(to_floats(file.tensors()[1]) == std::vector<float>{1, -2});
        const StoredTensor& blocks = file.tensors()[2];
        REQUIRE(blocks.type == WeightType::q8_0);
        REQUIRE(blocks.shape == std::vector<int64_t>{2, 32});
        REQUIRE(blocks.bytes == 68);
    }
    REQUIRE(parse(GgufMaker().header()).tensors().empty()); // a file of metadata alone needs no padding
}

TEST_CASE("general.alignment is obeyed", "[gguf]") {
    GgufMaker maker;
    maker.alignment = 256;
    maker.u32("general.alignment", 256).floats("a", {1}, {7}).floats("b", {1}, {8});
    const GgufFile file = parse(maker.file());
    REQUIRE(to_floats(file.tensors()[0]) == std::vector<float>{7});
    REQUIRE(to_floats(file.tensors()[1]) == std::vector<float>{8});
}

TEST_CASE("every tensor type has the size of its blocks", "[gguf]") {
    const std::pair<uint32_t, WeightType> types[] = {
        {0, WeightType::f32},   {1, WeightType::f16},   {30, WeightType::bf16}, {8, WeightType::q8_0},
        {2, WeightType::q4_0},  {3, WeightType::q4_1},  {6, WeightType::q5_0},  {7, WeightType::q5_1},
        {12, WeightType::q4_k}, {13, WeightType::q5_k}, {14, WeightType::q6_k}};
    REQUIRE(std::size(types) == kWeightTypes);
    for (const auto& [number, type] : types) {
        const WeightFormat& format = weight_format(type);
        const size_t bytes = static_cast<size_t>(3 * 512 / format.elements * format.bytes);
        const GgufFile file =
            parse(GgufMaker().tensor("t", {3, 512}, number, std::string(bytes, 'x')).file());
        REQUIRE(file.tensors()[0].type == type);
        REQUIRE(file.tensors()[0].bytes == bytes);
        REQUIRE_THAT(error_in(GgufMaker().tensor("t", {3, 512}, number, std::string(bytes - 1, 'x')).file()),
                     Contains("tensor \"t\": needs"));
    }
}

// ---- what is malformed ---------------------------------------------------------------------------------------------

TEST_CASE("a file that is no GGUF of version 2 or 3 is refused", "[gguf]") {
    GgufMaker maker = small_file();
    REQUIRE_THAT(error_in(""), Contains("x.gguf: is no GGUF file"));
    REQUIRE_THAT(error_in("GGU"), Contains("x.gguf: is no GGUF file"));
    maker.magic = "FUGG";
    REQUIRE_THAT(error_in(maker.file()), Contains("x.gguf: is no GGUF file"));
    maker.magic = "GGUF";
    for (const uint32_t version : {0U, 1U, 4U, UINT32_MAX}) {
        maker.version = version;
        REQUIRE_THAT(error_in(maker.file()), Contains("GGUF version is " + std::to_string(version)));
    }
    maker.version = 0x03000000;
    REQUIRE_THAT(error_in(maker.file()), Contains("the file is big-endian"));
}

TEST_CASE("counts and lengths that the file cannot hold are refused before they are used", "[gguf]") {
    const std::string start = "GGUF" + bytes_of<uint32_t>(3);
    for (const uint64_t huge : {UINT64_MAX, uint64_t{INT64_MAX}, uint64_t{1} << 32, uint64_t{1000}}) {
        REQUIRE_THAT(error_in(start + bytes_of(huge) + bytes_of<uint64_t>(0) + std::string(100, '\0')),
                     Contains("the number of tensors is " + std::to_string(huge)));
        REQUIRE_THAT(error_in(start + bytes_of<uint64_t>(0) + bytes_of(huge) + std::string(100, '\0')),
                     Contains("the number of keys is " + std::to_string(huge)));
        GgufMaker maker;
        maker.keys.push_back(bytes_of(huge) + std::string(40, 'k'));
        REQUIRE_THAT(error_in(maker.file()), Contains("key 0 needs " + std::to_string(huge) + " bytes"));
        maker.keys = {};
        maker.key("k", 8, bytes_of(huge) + "text");
        REQUIRE_THAT(error_in(maker.file()), Contains("key \"k\" needs " + std::to_string(huge) + " bytes"));
        for (const uint32_t type : {0, 2, 4, 8, 10}) {
            REQUIRE_THAT(error_in(GgufMaker().array("k", type, huge, "elements").file()),
                         Contains("the length of key \"k\" is " + std::to_string(huge)));
        }
        maker.keys = {};
        maker.tensors.push_back(bytes_of(huge) + std::string(80, 't'));
        REQUIRE_THAT(error_in(maker.file()), Contains("the name of tensor 0 needs " + std::to_string(huge)));
    }
}

TEST_CASE("an array may be as long as the bytes behind it, and no longer", "[gguf]") {
    REQUIRE(error_in(GgufMaker().array("k", 10, 2, std::string(16, '\0')).header()) == "");
    REQUIRE_THAT(error_in(GgufMaker().array("k", 10, 3, std::string(16, '\0')).header()),
                 Contains("the length of key \"k\" is 3, more than the 16 bytes behind it can hold"));
}

TEST_CASE("a key that is empty, too long, twice there or of no type is refused", "[gguf]") {
    REQUIRE_THAT(error_in(GgufMaker().u32("", 1).file()), Contains("key 0 is empty"));
    REQUIRE_THAT(error_in(GgufMaker().u32(std::string(65536, 'k'), 1).file()),
                 Contains("key 0 has 65536 bytes"));
    REQUIRE_THAT(error_in(GgufMaker().u32("k", 1).u32("k", 1).file()), Contains("key \"k\" occurs twice"));
    for (const uint32_t type : {13U, 255U, 0x80000000U, UINT32_MAX}) { // the last two are negative as an int
        REQUIRE_THAT(error_in(GgufMaker().key("k", type, std::string(8, '\0')).file()),
                     Contains("key \"k\" has type " + std::to_string(type)));
        REQUIRE_THAT(error_in(GgufMaker().array("k", type, 1, std::string(8, '\0')).file()),
                     Contains("an element of key \"k\" has type " + std::to_string(type)));
    }
    REQUIRE_THAT(error_in(GgufMaker().array("k", 9, 1, std::string(16, '\0')).file()),
                 Contains("key \"k\" is an array of arrays"));
    REQUIRE_THAT(error_in(GgufMaker().key("k", 7, "\2").file()), Contains("key \"k\" is 2, expected 0 or 1"));
    REQUIRE_THAT(error_in(GgufMaker().array("k", 7, 2, "\1\2").file()), Contains("is 2, expected 0 or 1"));
    REQUIRE_THAT(error_in(GgufMaker().array("k", 8, 1, bytes_of<uint64_t>(1000)).file()),
                 Contains("an element of key \"k\" needs 1000 bytes"));
}

TEST_CASE("an alignment that is none is refused", "[gguf]") {
    for (const uint32_t alignment : {0U, 13U, 48U, UINT32_MAX}) {
        REQUIRE_THAT(
            error_in(small_file().u32("general.alignment", alignment).file()),
            Contains("general.alignment is " + std::to_string(alignment) + ", expected a power of two"));
    }
    REQUIRE_THAT(error_in(small_file().str("general.alignment", "32").file()),
                 Contains("general.alignment is text, expected u32"));
    REQUIRE_THAT(error_in(small_file().key("general.alignment", 10, bytes_of<uint64_t>(32)).file()),
                 Contains("general.alignment is u64, expected u32"));
    REQUIRE_THAT(error_in(small_file().array("general.alignment", 4, 1, bytes_of<uint32_t>(32)).file()),
                 Contains("general.alignment is array, expected u32"));
    // 2^31 is a power of two; the data would begin behind the end of the file.
    REQUIRE_THAT(error_in(small_file().u32("general.alignment", 1U << 31).file()),
                 Contains("the file has 0 bytes"));
}

TEST_CASE("shapes that are impossible are refused", "[gguf]") {
    const auto error = [](const std::vector<uint64_t>& shape, uint32_t type = 0) {
        return error_in(GgufMaker().tensor("t", shape, type, std::string(256, '\0')).file());
    };
    REQUIRE(error({2, 2}) == "");
    REQUIRE(error({}) == "");
    REQUIRE_THAT(error({1, 1, 1, 1, 1}), Contains("tensor \"t\": has 5 dimensions"));
    REQUIRE_THAT(error({2, 0}), Contains("tensor \"t\": dimension 0 of its shape is 0"));
    REQUIRE_THAT(error({UINT64_MAX, 2}), Contains("tensor \"t\": dimension 1 of its shape is 18446744073709551615"));
    REQUIRE_THAT(error({uint64_t{1} << 32, uint64_t{1} << 32}),
                 Contains("tensor \"t\": the product of its shape"));
    REQUIRE_THAT(error({uint64_t{1} << 31, uint64_t{1} << 31, 2}),
                 Contains("the product of its shape")); // x 4 bytes
    REQUIRE_THAT(error({uint64_t{1} << 30, uint64_t{1} << 31}),
                 Contains("needs 9223372036854775808 bytes") || Contains("the product of its shape"));
    REQUIRE_THAT(error({2, 33}, 8),
                 Contains("rows have 33 elements, no multiple of the 32 of a block of Q8_0"));
    REQUIRE_THAT(error({2, 128}, 12), Contains("no multiple of the 256 of a block of Q4_K"));
    REQUIRE_THAT(error({}, 8), Contains("no multiple of the 32"));

    GgufMaker maker;
    maker.tensors.push_back(GgufMaker::text("t") + bytes_of(UINT32_MAX) + std::string(100, '\0'));
    REQUIRE_THAT(error_in(maker.file()), Contains("has 4294967295 dimensions"));
}

TEST_CASE("two tensors whose sizes together wrap around are refused", "[gguf]") {
    GgufMaker maker;
    const uint64_t half = uint64_t{1} << 60; // x 4 bytes x 4 tensors = 2^64
    for (uint64_t i = 0; i < 4; ++i) {
        maker.tensors.push_back(
            GgufMaker::info(std::string(1, static_cast<char>('a' + i)), {half}, 0, i * 4 * half));
    }
    REQUIRE_THAT(error_in(maker.file()), Contains("tensor \"a\": needs 4611686018427387904 bytes"));
}

TEST_CASE("a tensor type that is not computed is refused by name", "[gguf]") {
    const auto error = [](uint32_t type) {
        return error_in(GgufMaker().tensor("t", {256}, type, std::string(1024, '\0')).file());
    };
    REQUIRE_THAT(error(10), Contains("tensor \"t\": type is Q2_K, which is not computed here"));
    REQUIRE_THAT(error(20), Contains("type is IQ4_NL"));
    REQUIRE_THAT(error(39), Contains("type is MXFP4"));
    for (const uint32_t type : {4U, 31U, 100U, UINT32_MAX}) {
        REQUIRE_THAT(error(type), Contains("type is " + std::to_string(type) + ", which is no tensor type"));
    }
}

TEST_CASE("a tensor that does not lie behind the one before it is refused", "[gguf]") {
    const auto error = [](uint64_t first, uint64_t second) {
        GgufMaker maker;
        maker.tensors = {GgufMaker::info("a", {8}, 0, first), GgufMaker::info("b", {8}, 0, second)};
        maker.data = std::string(64, '\0');
        return error_in(maker.file());
    };
    REQUIRE(error(0, 32) == "");
    REQUIRE_THAT(error(0, 0), Contains("tensor \"b\": offset is 0, expected 32"));   // both the same bytes
    REQUIRE_THAT(error(0, 33), Contains("tensor \"b\": offset is 33, expected 32")); // unaligned
    REQUIRE_THAT(error(0, 64), Contains("tensor \"b\": offset is 64, expected 32")); // a hole
    REQUIRE_THAT(error(UINT64_MAX - 31, 0),
                 Contains("tensor \"a\": offset is 18446744073709551584")); // in the header
    REQUIRE_THAT(error(0, uint64_t{1} << 63), Contains("tensor \"b\": offset is 9223372036854775808"));
    GgufMaker short_by_one = GgufMaker().floats("a", {8}, std::vector<float>(8));
    short_by_one.data.pop_back();
    REQUIRE_THAT(error_in(short_by_one.file()),
                 Contains("tensor \"a\": needs 32 bytes at offset 0, but the file has 31 bytes of data"));
}

TEST_CASE("names of tensors that are empty, long or twice there are refused", "[gguf]") {
    const auto error = [](const std::string& a, const std::string& b) {
        return error_in(GgufMaker().floats(a, {1}, {1}).floats(b, {1}, {1}).file());
    };
    REQUIRE(error("a", std::string(63, 'b')) == "");
    REQUIRE_THAT(error("a", std::string(64, 'b')), Contains("the name of tensor 1 has 64 bytes"));
    REQUIRE_THAT(error("a", ""), Contains("the name of tensor 1 has 0 bytes"));
    REQUIRE_THAT(error("a", "a"), Contains("tensor \"a\" occurs twice"));
}

TEST_CASE("a GGUF file cut at any byte, or with any byte of its header changed, is never read out of bounds",
          "[gguf]") {
    const GgufMaker maker = small_file();
    const std::string file = maker.file();
    REQUIRE(error_in(file) == "");
    for (size_t size = 0; size < file.size(); ++size) {
        const std::string message = error_in(file.substr(0, size));
        REQUIRE_THAT(message, StartsWith("x.gguf: "));
        REQUIRE(message.find('\n') == std::string::npos);
    }
    for (size_t at = 0; at < maker.header().size(); ++at) {
        for (const int flip : {0x01, 0x10, 0x80, 0xff}) {
            std::string changed = file;
            changed[at] = static_cast<char>(changed[at] ^ flip);
            const std::string message = error_in(changed); // some changes, of a name, are harmless
            REQUIRE((message.empty() || message.starts_with("x.gguf: ")));
        }
    }
}

// ---- the shared files ----------------------------------------------------------------------------------------------

TEST_CASE("the F32 tensors of the shared GGUF files are those of the model folder", "[gguf]") {
    const std::string root = shared_or_skip("oracles/qwen2");
    if (root.empty()) {
        return;
    }
    const HostTensors folder = read_safetensors(root + "/model/model.safetensors");
    const GgufFile file = GgufFile::open(root + "/gguf/model-f32.gguf");
    REQUIRE(file.text("general.architecture") == "qwen2");
    REQUIRE(file.tensors().size() == folder.size());
    for (const StoredTensor& tensor : file.tensors()) {
        if (tensor.name == "token_embd.weight") {
            REQUIRE(tensor.shape == folder.at("model.embed_tokens.weight").shape);
            REQUIRE(to_floats(tensor) == folder.at("model.embed_tokens.weight").data);
        }
    }
    REQUIRE(GgufFile::open(root + "/gguf/model-q8_0.gguf").tensors().size() == folder.size());
}
