// Mapped tensor files: one safetensors file, a folder, shards with an index.
#include "test.h"

#include <filesystem>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "formats/tensor_file.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

namespace {

// A folder of two shards and their index: tensor "a" in one, "b" and "c" in two.
struct Shards {
    Shards() {
        write_safetensors(folder / "one.safetensors", {{"a", {{2}, {1, 2}}}});
        write_safetensors(folder / "two.safetensors", {{"b", {{1, 1}, {3}}}, {"c", {{}, {4}}}}, "BF16");
        index(R"({"metadata":{"total_size":12},"weight_map":{"a":"one.safetensors","b":"two.safetensors",)"
              R"("c":"two.safetensors"}})");
    }
    void index(const std::string& text) const { put_file(folder / "model.safetensors.index.json", text); }
    std::string error() const {
        return error_of([&] { map_safetensors(folder.path()); });
    }
    TempFolder folder;
};

std::vector<std::string> names_of(const std::vector<StoredTensor>& tensors) {
    std::vector<std::string> names;
    for (const StoredTensor& tensor : tensors) {
        names.push_back(tensor.name);
    }
    return names;
}

} // namespace

TEST_CASE("a mapped file has the bytes of the file, and outlives its name", "[tensor_file]") {
    const TempFolder folder;
    put_file(folder / "x", std::string("abc\0d", 5));
    put_file(folder / "empty", "");
    const auto mapped = MappedFile::open(folder / "x");
    std::filesystem::remove(folder / "x");
    REQUIRE(mapped->bytes() == std::string_view("abc\0d", 5));
    REQUIRE(MappedFile::open(folder / "empty")->bytes().empty());
    REQUIRE_THAT(error_of([&] { MappedFile::open(folder / "x"); }),
                 Contains("x: cannot be opened: No such file"));
    REQUIRE_THAT(error_of([&] { MappedFile::open(folder.path()); }), Contains("is a folder"));
}

TEST_CASE("the tensors of a safetensors file are mapped as they lie, sorted by name", "[tensor_file]") {
    const TempFolder folder;
    const std::string path = folder / "model.safetensors";
    write_safetensors(path, {{"b", {{2, 1}, {1, -2}}}, {"a", {{}, {0.5f}}}}, "BF16");
    for (const std::string& from : {path, folder.path()}) {
        const std::vector<StoredTensor> tensors = map_safetensors(from);
        std::filesystem::rename(path, path + ".gone"); // what is mapped stays
        REQUIRE(names_of(tensors) == std::vector<std::string>{"a", "b"});
        REQUIRE(tensors[1].type == WeightType::bf16);
        REQUIRE(tensors[1].shape == std::vector<int64_t>{2, 1});
        REQUIRE(tensors[1].bytes == 4);
        REQUIRE(to_floats(tensors[1]) == std::vector<float>{1, -2});
        REQUIRE(to_floats(tensors[0]) == std::vector<float>{0.5f});
        std::filesystem::rename(path + ".gone", path);
    }
    REQUIRE_THAT(error_of([&] { map_safetensors(folder / "none"); }), Contains("none: cannot be opened"));
}

TEST_CASE("shards are read as one file, in the order of the names", "[tensor_file]") {
    const Shards shards;
    const std::vector<StoredTensor> tensors = map_safetensors(shards.folder.path());
    REQUIRE(names_of(tensors) == std::vector<std::string>{"a", "b", "c"});
    REQUIRE(to_floats(tensors[0]) == std::vector<float>{1, 2});
    REQUIRE(to_floats(tensors[2]) == std::vector<float>{4});
    REQUIRE(tensors[1].owner == tensors[2].owner);
}

TEST_CASE("a folder without a model, or without a shard that its index names, is refused", "[tensor_file]") {
    const Shards shards;
    std::filesystem::rename(shards.folder / "two.safetensors", shards.folder / "away");
    REQUIRE_THAT(shards.error(),
                 Contains("two.safetensors: is missing, but") && Contains("index.json names it"));
    std::filesystem::create_directory(shards.folder / "two.safetensors");
    REQUIRE_THAT(shards.error(), Contains("two.safetensors: is missing"));
    const TempFolder empty;
    REQUIRE_THAT(error_of([&] { map_safetensors(empty.path()); }),
                 Contains("holds neither model.safetensors nor model.safetensors.index.json"));
}

TEST_CASE("an index and shards that do not agree are refused", "[tensor_file]") {
    const Shards shards;
    // "d" is in no shard; "b" is said to be in the other shard; "c" is not named.
    shards.index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors",)"
                 R"("d":"one.safetensors"}})");
    REQUIRE_THAT(shards.error(), Contains("one.safetensors: tensor \"d\" is missing, but"));
    shards.index(R"({"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}})");
    REQUIRE_THAT(shards.error(),
                 Contains("two.safetensors: holds tensor \"b\", which lies in one.safetensors"));
    shards.index(R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
    REQUIRE_THAT(shards.error(),
                 Contains("two.safetensors: holds tensor \"c\", which") && Contains("does not name"));
}

TEST_CASE("a tensor that two shards hold is refused", "[tensor_file]") {
    const Shards shards;
    write_safetensors(shards.folder / "two.safetensors",
                      {{"a", {{2}, {1, 2}}}, {"b", {{1}, {3}}}, {"c", {{1}, {4}}}});
    REQUIRE_THAT(shards.error(),
                 Contains("two.safetensors: holds tensor \"a\", which") && Contains("not name there"));
}

TEST_CASE("a shard outside the folder is refused, even when it is there", "[tensor_file]") {
    const Shards shards;
    std::filesystem::create_directory(shards.folder / "sub");
    const std::string whole = shards.folder / "one.safetensors";
    for (const std::string& name :
         {"../" + std::filesystem::path(shards.folder.path()).filename().string() + "/one.safetensors",
          std::string("sub/../one.safetensors"), whole, std::string("./one.safetensors"), std::string(""),
          std::string(".."), std::string("one.bin"), std::string("one.safetensors\\u0000.safetensors")}) {
        shards.index("{\"weight_map\":{\"a\":\"" + name + "\"}}");
        REQUIRE_THAT(shards.error(), Contains("index.json: tensor \"a\" is said to lie in") &&
                                         Contains("expected a .safetensors file of the same folder"));
    }
}

TEST_CASE("an index that is none is refused, cut at any byte", "[tensor_file]") {
    const Shards shards;
    const std::string path = shards.folder / "model.safetensors.index.json";
    const std::string whole = read_file(path);
    for (size_t size = 0; size < whole.size(); ++size) {
        shards.index(whole.substr(0, size));
        REQUIRE_THAT(shards.error(), StartsWith(path + ": "));
    }
    const auto error = [&](const std::string& text) {
        shards.index(text);
        return shards.error();
    };
    REQUIRE_THAT(error("[]"), Contains("is array, expected an object"));
    REQUIRE_THAT(error("{}"), Contains("the field weight_map is missing"));
    REQUIRE_THAT(error(R"({"weight_map":[]})"), Contains("weight_map is array, expected an object"));
    REQUIRE_THAT(error(R"({"weight_map":{}})"), Contains("weight_map is empty"));
    REQUIRE_THAT(error(R"({"weight_map":{"a":1}})"),
                 Contains("weight_map entry \"a\" is number, expected a string"));
    REQUIRE_THAT(error(R"({"weight_map":{"a":"one.safetensors","a":"one.safetensors"}})"),
                 Contains("the key \"a\" occurs twice"));
}

TEST_CASE("the sharded model of the shared files is read whole", "[tensor_file]") {
    const std::string root = shared_or_skip("oracles");
    if (root.empty()) {
        return;
    }
    const std::vector<StoredTensor> sharded = map_safetensors(root + "/bf16-sharded/model");
    const std::vector<StoredTensor> whole = map_safetensors(root + "/llama-gqa/model");
    REQUIRE(names_of(sharded) == names_of(whole));
    for (size_t i = 0; i < whole.size(); ++i) {
        REQUIRE(sharded[i].type == WeightType::bf16);
        REQUIRE(sharded[i].shape == whole[i].shape);
    }
}
