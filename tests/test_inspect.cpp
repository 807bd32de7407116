// What `skintern inspect` says of each kind of path.
#include "test.h"

#include <string>

#include "commands/inspect.h"
#include "formats/lora_config.h"
#include "formats/safetensors.h"
#include "gguf_maker.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

TEST_CASE("a GGUF file is shown with its keys, tensors and totals, computed here or not", "[inspect]") {
    const TempFolder folder;
    const std::string path = folder / "x.gguf";
    GgufMaker maker;
    maker.str("general.architecture", "gemma2").u32("gemma2.block_count", 2).strs("tokens", {"a", "b"});
    maker.floats("v", {3}, {1, 2, 3}).tensor("long.name.weight", {2, 32}, 8, std::string(68, '\0'));
    put_file(path, maker.file());
    REQUIRE(inspect(path) ==
            path +
                ": GGUF, 3 keys, 2 tensors\n"
                "\nmetadata\n"
                "  general.architecture  \"gemma2\"\n"
                "  gemma2.block_count    2\n"
                "  tokens                text[2]\n"
                "\ntensors\n"
                "  v                 F32    [3]             12 bytes\n"
                "  long.name.weight  Q8_0   [2,32]          68 bytes\n"
                "\ntotals\n"
                "  F32    1 tensors, 3 elements, 12 bytes\n"
                "  Q8_0   1 tensors, 64 elements, 68 bytes\n"
                "  all    2 tensors, 67 elements, 80 bytes\n"
                "\nmodel\n"
                "  none that is computed here: " +
                path + ": general.architecture is gemma2, computed here are llama, qwen2 and qwen3\n");
}

TEST_CASE("an adapter folder is shown with its settings", "[inspect]") {
    const TempFolder folder;
    LoraConfig lora;
    lora.r = 2;
    lora.alpha = 4;
    lora.target_modules = {"q_proj", "up_proj"};
    write_lora_config(folder / "adapter_config.json", lora, "base");
    write_safetensors(folder / "adapter_model.safetensors",
                      {{"a.lora_A.weight", {{2, 3}, {1, 2, 3, 4, 5, 6}}}});
    REQUIRE(inspect(folder.path()) == folder.path() + ": LoRA adapter, 1 tensors\n"
                                                      "\nsettings\n"
                                                      "  r               2\n"
                                                      "  alpha           4\n"
                                                      "  target modules  q_proj up_proj\n"
                                                      "\ntensors\n"
                                                      "  a.lora_A.weight  F32    [2,3]           24 bytes\n"
                                                      "\ntotals\n"
                                                      "  F32    1 tensors, 6 elements, 24 bytes\n"
                                                      "  all    1 tensors, 6 elements, 24 bytes\n");
}

TEST_CASE("a tensor file without a config.json is shown as tensors", "[inspect]") {
    const TempFolder folder;
    write_safetensors(folder / "x.safetensors", {{"a", {{2}, {1, 2}}}}, "BF16");
    const std::string text = inspect(folder / "x.safetensors");
    REQUIRE_THAT(text, Contains("x.safetensors: safetensors, 1 tensors\n"));
    REQUIRE_THAT(text, Contains("  a  BF16   [2]             4 bytes\n"));
    REQUIRE_THAT(text, !Contains("model"));
}

TEST_CASE("a path that is damaged or not there is an error", "[inspect]") {
    const TempFolder folder;
    REQUIRE_THAT(error_of([&] { inspect(folder / "none.gguf"); }), Contains("none.gguf: cannot be opened"));
    REQUIRE_THAT(error_of([&] { inspect(folder / "none"); }), Contains("none: cannot be opened"));
    REQUIRE_THAT(error_of([&] { inspect(folder.path()); }), Contains("holds neither model.safetensors nor"));
    put_file(folder / "x.gguf", "GGUF");
    REQUIRE_THAT(error_of([&] { inspect(folder / "x.gguf"); }),
                 Contains("x.gguf: the version needs 4 bytes"));
}

TEST_CASE("the shipped base model is shown as a model", "[inspect]") {
    const std::string text = inspect("data/base");
    REQUIRE_THAT(text, StartsWith("data/base: Hugging Face folder, "));
    REQUIRE_THAT(text, Contains("  model.embed_tokens.weight") && Contains("\nmodel\n"));
    REQUIRE_THAT(text, Contains("  architecture                LlamaForCausalLM\n"));
    REQUIRE_THAT(text, Contains("  output                      a matrix of its own\n"));
    REQUIRE_THAT(text, Contains("  BOS                         none\n") &&
                           Contains("  EOS                         0\n"));
    const std::string shared = shared_or_skip("oracles/llama-gqa/gguf/model-q8_0.gguf");
    if (!shared.empty()) {
        REQUIRE_THAT(inspect(shared), Contains("  heads                       4\n") &&
                                          Contains("  key/value heads             2\n"));
    }
}
