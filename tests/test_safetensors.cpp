// The tensor files: what is written comes back, what is malformed is refused with one sentence, the shared
// files load.
#include "test.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "formats/npy.h"
#include "formats/safetensors.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

namespace {

template <typename T>
std::string bytes_of(T value) {
    std::string out(sizeof(T), '\0');
    std::memcpy(out.data(), &value, sizeof(T));
    return out;
}

// A file of this header and data, with the length that goes before them.
std::string file_of(const std::string& header, const std::string& data) {
    return bytes_of<uint64_t>(header.size()) + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
}

// Reads `bytes` as a file; the sentence of the error, or "".
class Reader {
public:
    std::string operator()(const std::string& bytes) {
        put_file(path, bytes);
        return error_of([&] { tensors = read_safetensors(path); });
    }
    std::string header(const std::string& text, size_t data_bytes) {
        return (*this)(file_of(text, std::string(data_bytes, '\0')));
    }
    const TempFolder folder;
    const std::string path = folder / "x.safetensors";
    HostTensors tensors;
};

} // namespace

// ---- what is well-formed
// -------------------------------------------------------------------------------------------

TEST_CASE("F32 tensors come back bit for bit, with every shape", "[safetensors]") {
    const TempFolder folder;
    HostTensors tensors;
    tensors["matrix"] = {{2, 3}, {1, -2, 0.1f, 1e-45f, std::numeric_limits<float>::infinity(), -0.0f}};
    tensors["scalar"] = {{}, {7}};
    tensors["empty"] = {{2, 0}, {}};
    tensors["name \" with \\ and é"] = {{1, 1, 1, 1}, {3}};
    write_safetensors(folder / "t", tensors, "F32", {{"format", "pt"}});
    const HostTensors back = read_safetensors(folder / "t");
    REQUIRE(back.size() == tensors.size());
    for (const auto& [name, tensor] : tensors) {
        REQUIRE(back.at(name).shape == tensor.shape);
        REQUIRE(back.at(name).data == tensor.data);
    }
    REQUIRE(std::signbit(back.at("matrix").data[5]));
}

TEST_CASE("the bytes written are those of the format", "[safetensors]") {
    const TempFolder folder;
    write_safetensors(folder / "t", {{"b", {{1}, {2}}}, {"a", {{2}, {1, 0}}}}, "BF16", {{"format", "pt"}});
    const std::string file = read_file(folder / "t");
    std::string header =
        R"({"__metadata__":{"format":"pt"},"a":{"data_offsets":[0,4],"dtype":"BF16","shape":[2]},)"
        R"("b":{"data_offsets":[4,6],"dtype":"BF16","shape":[1]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    REQUIRE(file == file_of(header, std::string("\x80\x3f\x00\x00\x00\x40", 6)));
}

TEST_CASE("every F16 and every BF16 value is read as exactly that float", "[safetensors]") {
    Reader read;
    std::string data;
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        data += bytes_of(static_cast<uint16_t>(bits));
    }
    REQUIRE(read(file_of("{" + entry("h", "F16", "[65536]", "[0,131072]") + "," +
                             entry("b", "BF16", "[65536]", "[131072,262144]") + "}",
                         data + data)) == "");
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        const double sign = bits & 0x8000 ? -1 : 1;
        const uint32_t exponent = (bits >> 10) & 31;
        const double mantissa = bits & 1023;
        const float half = read.tensors["h"].data[bits];
        if (exponent == 31) {
            REQUIRE((mantissa != 0 ? std::isnan(half) : std::isinf(half) && (half < 0) == (sign < 0)));
        } else {
            const double value = exponent == 0 ? std::ldexp(mantissa, -24)
                                               : std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
            REQUIRE(half == sign * value);
        }
        REQUIRE(std::signbit(half) == (sign < 0));
        REQUIRE(std::bit_cast<uint32_t>(read.tensors["b"].data[bits]) == bits << 16);
    }
}

TEST_CASE("BF16 is written rounded to nearest, ties to even", "[safetensors]") {
    const TempFolder folder;
    const auto rounded = [&](float value) {
        write_safetensors(folder / "t", {{"x", {{1}, {value}}}}, "BF16");
        return read_safetensors(folder / "t").at("x").data[0];
    };
    REQUIRE(rounded(1.0f) == 1.0f);
    REQUIRE(rounded(1.0f + 0x1p-8f) == 1.0f); // a tie, 1 is even
    REQUIRE(rounded(1.0f + 0x1p-8f + 0x1p-20f) == 1.0f + 0x1p-7f);
    REQUIRE(rounded(1.0f + 3 * 0x1p-8f) == 1.0f + 0x1p-6f); // a tie, upwards to even
    REQUIRE(rounded(-1.0f - 3 * 0x1p-8f) == -1.0f - 0x1p-6f);
    REQUIRE(
        std::isinf(rounded(std::numeric_limits<float>::max()))); // nearer to 2^128 than to the largest BF16
    REQUIRE(std::isnan(rounded(std::bit_cast<float>(0x7f800001u)))); // its upper half alone would be infinity
    REQUIRE(std::isnan(rounded(std::bit_cast<float>(0xffffffffu))));
}

TEST_CASE("a space-padded header, a zero-size tensor and an empty __metadata__ load", "[safetensors]") {
    Reader read;
    REQUIRE(read.header("{" + entry("x", "F32", "[2]", "[0,8]") + "}     ", 8) == "");
    REQUIRE(read.tensors.at("x").data == std::vector<float>{0, 0});
    REQUIRE(read.header("{" + entry("x", "F32", "[2,0]", "[0,0]") + "}", 0) == "");
    REQUIRE(read.tensors.at("x").shape == std::vector<int64_t>{2, 0});
    REQUIRE(read.header("{\"__metadata__\":{}," + entry("x", "F32", "[]", "[0,4]") + "}", 4) == "");
    REQUIRE(read.header("{\"__metadata__\":{}}", 0) == "");
    REQUIRE(read.header("{}", 0) == "");
    REQUIRE(read.tensors.empty());
    // Zero-size ones between others, in any order of names.
    REQUIRE(read.header("{" + entry("c", "F32", "[0]", "[4,4]") + "," + entry("b", "F32", "[1]", "[0,4]") +
                            "," + entry("a", "F16", "[2]", "[4,8]") + "}",
                        8) == "");
    REQUIRE(read.tensors.size() == 3);
}

// ---- what is malformed: the rows of bad input known from other loaders
// --------------------------------------------

TEST_CASE("a header length that cannot be is refused", "[safetensors]") {
    Reader read;
    REQUIRE_THAT(read(""), StartsWith(read.path + ": has 0 bytes, too short"));
    REQUIRE_THAT(read("1234567"), Contains("has 7 bytes, too short for the header length"));
    REQUIRE_THAT(read(bytes_of<uint64_t>(3) + "{}"), Contains("header length is 3 bytes, but only 2 follow"));
    REQUIRE_THAT(read(bytes_of<uint64_t>(100'000'001) + "{}"), Contains("more than the limit of 100000000"));
    REQUIRE_THAT(read(std::string(8, '\xff') + "{}"),
                 Contains("header length is 18446744073709551615 bytes"));
    REQUIRE_THAT(read(bytes_of<uint64_t>(2 + (uint64_t{0xff} << 56)) + "{}"),
                 Contains("more than the limit"));
    REQUIRE_THAT(read(bytes_of<uint64_t>(0)), Contains("the header does not begin with {"));
}

TEST_CASE("a header that is not a JSON object is refused", "[safetensors]") {
    Reader read;
    REQUIRE_THAT(read.header("{\"\xff\xfe\":1}", 0),
                 Contains("header: is not valid JSON") && Contains("UTF-8"));
    REQUIRE_THAT(read.header("{\"a\"", 0), Contains("header: is not valid JSON at byte"));
    REQUIRE_THAT(read.header(" {}", 0), Contains("the header does not begin with {"));
    REQUIRE_THAT(read.header("[]", 0), Contains("the header does not begin with {"));
    REQUIRE_THAT(read.header("{}x", 0), Contains("is not valid JSON"));
    REQUIRE_THAT(read.header(std::string("{}\0x", 4), 0), Contains("holds a NUL byte"));
    REQUIRE_THAT(read.header("{\"a\":1e999}", 0), Contains("is not valid JSON"));
}

TEST_CASE("a shape whose product overflows is refused", "[safetensors]") {
    Reader read;
    const auto shape = [&read](const std::string& text) {
        return read.header("{" + entry("x", "F32", text, "[0,8]") + "}", 8);
    };
    REQUIRE_THAT(shape("[2,18446744073709551614]"),
                 Contains("a dimension of shape is 18446744073709551614, which"));
    REQUIRE_THAT(shape("[2,9223372036854775807]"),
                 Contains("tensor \"x\": the product of its shape overflows"));
    // 2^62 elements fit an int64, their 2^64 bytes do not.
    REQUIRE_THAT(shape("[4611686018427387904]"), Contains("overflows"));
    REQUIRE_THAT(shape("[2305843009213693952,4]"), Contains("overflows"));   // 2^61 * 4 * 4 bytes wraps to 0
    REQUIRE_THAT(shape("[4294967296,4294967296,0]"), Contains("overflows")); // the zero must not hide it
    REQUIRE_THAT(shape("[0,4294967296,4294967296]"), Contains("overflows"));
    REQUIRE_THAT(shape("[-2]"), Contains("a dimension of shape is -2"));
    REQUIRE_THAT(shape("[2.0]"), Contains("a dimension of shape is 2.0, expected an integer"));
    REQUIRE_THAT(shape("[1e30]"), Contains("expected an integer"));
    REQUIRE_THAT(shape("2"), Contains("shape is number, expected an array"));
    REQUIRE_THAT(shape("[99999999999999999999999]"), Contains("expected an integer"));
}

TEST_CASE("offsets that do not fit the shape, the file or one another are refused", "[safetensors]") {
    Reader read;
    const auto two = [&read](const std::string& a, const std::string& b, size_t data) {
        return read.header("{" + entry("k", "F32", "[2]", a) + "," + entry("v", "F32", "[2]", b) + "}", data);
    };
    REQUIRE(two("[0,8]", "[8,16]", 16) == "");
    REQUIRE(two("[8,16]", "[0,8]", 16) == "");
    REQUIRE_THAT(two("[0,8]", "[4,12]", 12), Contains("tensor \"v\"") && Contains("overlap tensor \"k\""));
    REQUIRE_THAT(two("[0,8]", "[0,8]", 8), Contains("overlap tensor \"k\"")); // an alias
    REQUIRE_THAT(two("[0,8]", "[12,20]", 20), Contains("tensor \"v\": data_offsets leave a hole of 4 bytes"));
    REQUIRE_THAT(two("[4,12]", "[12,20]", 20),
                 Contains("tensor \"k\": data_offsets leave a hole of 4 bytes"));
    REQUIRE_THAT(two("[0,8]", "[8,16]", 20), Contains("the last 4 bytes belong to no tensor")); // a polyglot
    REQUIRE_THAT(two("[0,8]", "[8,16]", 14), Contains("data_offsets end at 16, but the file has 14 bytes"));
    REQUIRE_THAT(two("[8,0]", "[8,16]", 16), Contains("[8, 0], which is no range"));
    REQUIRE_THAT(two("[-8,0]", "[0,8]", 16), Contains("[-8, 0], which is no range"));
    REQUIRE_THAT(two("[0,18446744073709551615]", "[0,8]", 8), Contains("which is too large"));
    REQUIRE_THAT(two("[0]", "[0,8]", 8), Contains("data_offsets must be an array of two numbers"));
    REQUIRE_THAT(two("[0,8,16]", "[0,8]", 8), Contains("data_offsets must be an array of two numbers"));
    REQUIRE_THAT(two("[\"0\",8]", "[0,8]", 8), Contains("data_offsets[0] is string, expected an integer"));
    REQUIRE_THAT(read.header("{" + entry("w", "F32", "[1000,1000]", "[0,4]") + "}", 4),
                 Contains("tensor \"w\": shape and dtype need 4000000 bytes, but data_offsets hold 4"));
    REQUIRE_THAT(read.header("{" + entry("w", "F32", "[0]", "[9,9]") + "}", 0), Contains("end at 9"));
}

TEST_CASE("duplicate names are refused, and the message says so", "[safetensors]") {
    Reader read;
    const std::string one = entry("x", "F32", "[1]", "[0,4]");
    REQUIRE_THAT(read.header("{" + one + "," + one + "}", 4), Contains("the key \"x\" occurs twice"));
    REQUIRE_THAT(read.header("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}," + one + "}", 4),
                 Contains("the key \"a\" occurs twice"));
    REQUIRE_THAT(
        read.header("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[2],\"data_offsets\":[0,4]}}", 4),
        Contains("the key \"shape\" occurs twice"));
}

TEST_CASE("an entry of the wrong form is refused by name", "[safetensors]") {
    Reader read;
    REQUIRE_THAT(read.header("{\"x\":7}", 0),
                 Contains("tensor \"x\": its entry is number, expected an object"));
    REQUIRE_THAT(read.header("{\"x\":{}}", 0), Contains("tensor \"x\": the field dtype is missing"));
    REQUIRE_THAT(read.header("{\"x\":{\"dtype\":\"F32\"}}", 0), Contains("the field shape is missing"));
    REQUIRE_THAT(read.header("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0),
                 Contains("data_offsets is missing"));
    REQUIRE_THAT(read.header("{\"x\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4),
                 Contains("dtype is number, expected a string"));
    REQUIRE_THAT(read.header("{" + entry("x", "I64", "[1]", "[0,8]") + "}", 8),
                 Contains("dtype is I64, expected F32, F16 or BF16"));
    REQUIRE_THAT(read.header("{\"__metadata__\":[]}", 0),
                 Contains("__metadata__ is array, expected an object"));
    REQUIRE_THAT(read.header("{\"__metadata__\":{\"a\":1}}", 0), Contains("expected a string"));
    // A name is shown short and on one line.
    const std::string message = read.header("{\"" + std::string(5000, 'n') + "\":7,\"\\n\":8}", 0);
    REQUIRE(message.find('\n') == std::string::npos);
    REQUIRE(message.size() < 300 + read.path.size());
}

TEST_CASE("100,000 entries load, and nesting 100,000 deep is refused, neither in quadratic time", "[safetensors]") {
    Reader read;
    const auto load = [&](size_t n) {
        std::string header = "{";
        for (size_t i = 0; i < n; ++i) {
            header += entry("t" + std::to_string(i), "F32", "[0]", "[0,0]") + (i + 1 < n ? "," : "}");
        }
        REQUIRE(read.header(header, 0) == "");
        REQUIRE(read.tensors.size() == n);
    };
    REQUIRE(growth(100'000, load) < kSquareGrowth);
    for (const std::string& nest : {std::string("["), std::string("{\"a\":")}) {
        const auto refuse = [&](size_t n) {
            std::string deep = "{\"x\":";
            for (size_t i = 0; i < n; ++i) {
                deep += nest;
            }
            REQUIRE_THAT(read.header(deep, 0), Contains("JSON nested more than 64 deep"));
        };
        REQUIRE(growth(100'000, refuse) < kSquareGrowth);
    }
}

TEST_CASE("a file cut at any byte, or with any byte of its header changed, never reads out of bounds",
          "[safetensors]") {
    Reader read;
    const std::string file =
        file_of("{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "F32", "[2,1]", "[0,8]") + "," +
                    entry("b", "BF16", "[3]", "[8,14]") + "}",
                std::string(14, '\x3f'));
    REQUIRE(read(file) == "");
    for (size_t size = 0; size < file.size(); ++size) {
        REQUIRE_THAT(read(file.substr(0, size)), StartsWith(read.path + ": "));
    }
    REQUIRE_THAT(read(file + "x"), StartsWith(read.path + ": "));
    for (size_t at = 0; at < file.size() - 14; ++at) {
        for (const int flip : {0x01, 0x10, 0x80}) {
            std::string changed = file;
            changed[at] = static_cast<char>(changed[at] ^ flip);
            const std::string message = read(changed); // some changes, of a name, are harmless
            REQUIRE((message.empty() || message.starts_with(read.path)));
        }
    }
}

TEST_CASE("writing refuses tensors that do not match their shape, and other types", "[safetensors]") {
    const TempFolder folder;
    const std::string path = folder / "t";
    REQUIRE_THAT(error_of([&] {
                     write_safetensors(path, {{"x", {{2}, {1}}}});
                 }),
                 Contains("tensor \"x\" has 1 values, its shape 2"));
    REQUIRE_THAT(error_of([&] { write_safetensors(path, {}, "F64"); }), Contains("expected F32, BF16 or F16"));
    REQUIRE_THAT(error_of([&] {
                     write_safetensors(path, {{"x", {{2}, {1, -65520}}}}, "F16");
                 }),
                 Contains("tensor \"x\" holds -65520, too large for F16"));
    REQUIRE_THAT(error_of([&] {
                     write_safetensors(path, {{"__metadata__", {{1}, {1}}}});
                 }),
                 Contains("__metadata__"));
    REQUIRE_THAT(error_of([&] {
                     write_safetensors(path, {{"\xff", {{1}, {1}}}});
                 }),
                 Contains("not valid UTF-8"));
    REQUIRE(folder.files() == 0);
}

// ---- npy
// -----------------------------------------------------------------------------------------------------------

namespace {

std::string npy(const std::string& header, const std::string& data) {
    return std::string("\x93NUMPY\x01\0", 8) + bytes_of(static_cast<uint16_t>(header.size())) + header + data;
}

} // namespace

TEST_CASE("a .npy array comes back, and its bytes are NumPy's", "[npy]") {
    const TempFolder folder;
    const std::vector<float> data = {1, -2, 0.5f, 1e30f, 0, 3};
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{2, 3}, {6}, {1, 6, 1}, {0, 4}, {}}) {
        write_npy(folder / "x.npy", data.data(), shape);
        const HostTensor back = read_npy(folder / "x.npy");
        REQUIRE(back.shape == shape);
        REQUIRE(back.data == std::vector<float>(data.begin(), data.begin() + back.numel()));
        REQUIRE((read_file(folder / "x.npy").size() - back.data.size() * 4) % 64 == 0);
    }
    write_npy(folder / "x.npy", data.data(), {2, 3});
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    header.resize(128 - 10 - 1, ' ');
    REQUIRE(read_file(folder / "x.npy").substr(0, 128) == npy(header + "\n", ""));
    write_npy(folder / "x.npy", data.data(), {6});
    REQUIRE_THAT(read_file(folder / "x.npy"), Contains("'shape': (6, ), }"));
}

TEST_CASE("the element types of .npy are widened to float", "[npy]") {
    const TempFolder folder;
    const auto value = [&](const std::string& descr, const std::string& data) {
        write_file(folder / "x.npy",
                   npy("{'shape': (1,), 'fortran_order': False, 'descr': '" + descr + "'}\n", data));
        return read_npy(folder / "x.npy").data.at(0);
    };
    REQUIRE(value("<f4", bytes_of(1.5f)) == 1.5f);
    REQUIRE(value("<f8", bytes_of(-0.1)) == -0.1f);
    REQUIRE(value("<i4", bytes_of(int32_t{-100})) == -100);
    REQUIRE(value("<i8", bytes_of(int64_t{-100})) == -100);
    write_file(folder / "v2.npy", std::string("\x93NUMPY\x02\0", 8) + bytes_of(uint32_t{58}) +
                                      "{'descr': '<f4', 'fortran_order': False, 'shape': (), }   " +
                                      bytes_of(2.0f));
    REQUIRE(read_npy(folder / "v2.npy").data == std::vector<float>{2});
}

TEST_CASE("a malformed .npy is refused with one sentence", "[npy]") {
    const TempFolder folder;
    const std::string path = folder / "x.npy";
    const auto raw = [&](const std::string& bytes) {
        put_file(path, bytes);
        return error_of([&] { read_npy(path); });
    };
    const auto dict = [&](const std::string& text, size_t data = 8) {
        return raw(npy(text, std::string(data, '\0')));
    };
    const auto shape = [&](const std::string& text) {
        return dict("{'descr': '<f4', 'fortran_order': False, 'shape': " + text + ", }\n");
    };
    REQUIRE(shape("(2,)") == "");
    REQUIRE_THAT(raw(""), StartsWith(path + ": is no .npy file"));
    REQUIRE_THAT(raw("\x93NUMPX\x01"), Contains("is no .npy file"));
    REQUIRE_THAT(raw("\x93NUMPY\x01"), Contains("too short for the header"));
    REQUIRE_THAT(raw(std::string("\x93NUMPY\x09\0\x01\0{}{}", 14)), Contains(".npy version is 9"));
    REQUIRE_THAT(raw(std::string("\x93NUMPY\x01\0\xff\xff{}", 12)),
                 Contains("header length is 65535 bytes, but only 2"));
    REQUIRE_THAT(raw(std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14)),
                 Contains("header length is 4294967295"));
    REQUIRE_THAT(shape("(3,)"), Contains("need 12 bytes of data, but the file has 8"));
    REQUIRE_THAT(shape("(1,)"), Contains("need 4 bytes of data, but the file has 8"));
    REQUIRE_THAT(shape("(-2,)"), Contains("\"-2\", which is no size"));
    REQUIRE_THAT(shape("(9223372036854775807, 2)"), Contains("overflows"));
    REQUIRE_THAT(shape("(99999999999999999999,)"), Contains("which is no size"));
    REQUIRE_THAT(shape("(2"), Contains("which is no size") || Contains("lacks a )"));
    REQUIRE_THAT(shape("2"), Contains("lacks a ("));
    REQUIRE_THAT(dict("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }"),
                 Contains("fortran_order is True"));
    REQUIRE_THAT(dict("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }"), Contains("descr is >f4"));
    REQUIRE_THAT(dict("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"), Contains("descr is |O"));
    REQUIRE_THAT(dict("{'descr': [('a', '<f4')], 'fortran_order': False}"), Contains("lacks a '"));
    REQUIRE_THAT(dict("{'descr': '<f4', 'shape': (2,), }"), Contains("each once"));
    REQUIRE_THAT(dict("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"),
                 Contains("each once"));
    REQUIRE_THAT(dict("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}"),
                 Contains("unknown field 'x'"));
    REQUIRE_THAT(dict("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x"),
                 Contains("goes on behind its }"));
    REQUIRE_THAT(dict(""), Contains("lacks a {"));

    const std::string whole =
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", std::string(8, 'x'));
    for (size_t size = 0; size < whole.size(); ++size) {
        REQUIRE_THAT(raw(whole.substr(0, size)), StartsWith(path + ": "));
    }
}

// ---- the shared files
// ----------------------------------------------------------------------------------------------

TEST_CASE("the tensor files and arrays of the shared reference models load", "[safetensors]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    size_t tensor_files = 0;
    size_t arrays = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(root)) {
        const std::string path = item.path().string();
        if (path.ends_with(".safetensors")) {
            REQUIRE_FALSE(read_safetensors(path).empty());
            ++tensor_files;
        } else if (path.ends_with(".npy")) {
            for (const float value : read_npy(path).data) {
                REQUIRE(std::isfinite(value));
            }
            ++arrays;
        }
    }
    REQUIRE(tensor_files > 10);
    REQUIRE(arrays > 30);
    // The bfloat16 case holds the weights of llama-gqa, rounded: writing these as BF16 must give the same
    // values.
    const HostTensors wide = read_safetensors(root + "/llama-gqa/model/model.safetensors");
    const TempFolder folder;
    write_safetensors(folder / "t", wide, "BF16");
    const HostTensors rounded = read_safetensors(folder / "t");
    size_t compared = 0;
    for (const auto& item : std::filesystem::directory_iterator(root + "/bf16-sharded/model")) {
        if (item.path().extension() == ".safetensors") {
            for (const auto& [name, tensor] : read_safetensors(item.path().string())) {
                REQUIRE(tensor.data == rounded.at(name).data);
                ++compared;
            }
        }
    }
    REQUIRE(compared == wide.size());
}

TEST_CASE("what is written as F16, and the metadata, come back", "[safetensors]") {
    const TempFolder folder;
    const std::string path = folder / "t";
    write_safetensors(path, {{"x", {{4}, {1.5f, -65504, 0x1p-24f, 1.0009765f}}}}, "F16", {{"a", "one"}, {"b", "two"}});
    REQUIRE(map_safetensors(path).at(0).type == WeightType::f16);
    // 1 + 2^-10 is the F16 number beside 1
    REQUIRE(read_safetensors(path).at("x").data == std::vector<float>{1.5f, -65504, 0x1p-24f, 1 + 0x1p-10f});
    REQUIRE(read_metadata(path) == std::map<std::string, std::string>{{"a", "one"}, {"b", "two"}});
    write_safetensors(path, {});
    REQUIRE(read_metadata(path).empty());
}
