// An adapter merged into its weights: computes the same without an adapter, is whole or not there.
#include "test.h"

#include <cmath>
#include <filesystem>
#include <string>

#include "formats/npy.h"
#include "model/merge.h"
#include "model_folders.h"
#include "support/files.h"

using namespace skintern;

namespace {

// A base and an adapter of it with everything that decides about a layer's share.
struct Pair {
    TempFolder folder;
    const std::string base = folder / "base", adapter = folder / "adapter", out = folder / "merged";
    LoraConfig lora;
    explicit Pair(const ModelConfig& config, const std::string& dtype = "F32") {
        make_model(base, config, 1, dtype);
        lora.r = 3;
        lora.alpha = 5;
        lora.use_rslora = true;
        lora.exclude_modules = {"layers.1.mlp.up_proj"};
        lora.rank_pattern = {{"layers.0.self_attn.q_proj", 1}};
        lora.alpha_pattern = {{"o_proj", 2}};
        make_adapter(adapter, base, lora);
    }
    MergeReport merge_now(const std::string& dtype = "F32") const {
        const auto kernels = make_kernels({});
        return merge(*kernels, base, adapter, out, dtype);
    }
};

} // namespace

TEST_CASE("a merged weight is W + s B A, and only the layers of the adapter change", "[merge]") {
    const Pair pair(tiny_config());
    const MergeReport report = pair.merge_now();
    REQUIRE(report.layers == 13); // two layers of seven, less one
    REQUIRE(report.rows == 128);
    REQUIRE(report.largest_logit > 0.1);
    // Two ways to the same sum, a few hundred float32 additions deep.
    REQUIRE(report.largest_difference <= 1e-5 * report.largest_logit);
    REQUIRE(report.largest_difference > 0); // it does compare two computations
    const HostTensors before = read_safetensors(pair.base + "/model.safetensors");
    const HostTensors after = read_safetensors(pair.out + "/model.safetensors");
    const HostTensors adapter = read_safetensors(pair.adapter + "/adapter_model.safetensors");
    REQUIRE(after.size() == before.size());
    for (const auto& [name, w] : before) {
        const std::string module = name.substr(0, name.size() - std::string(".weight").size());
        const auto a = adapter.find("base_model.model." + module + ".lora_A.weight");
        if (a == adapter.end()) {
            REQUIRE(after.at(name).data == w.data);
            continue;
        }
        const HostTensor& b = adapter.at("base_model.model." + module + ".lora_B.weight");
        const int64_t r = a->second.shape[0], in = w.shape[1];
        for (int64_t i = 0; i < w.numel(); i++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++) {
                sum += static_cast<double>(b.data[static_cast<size_t>(i / in * r + k)]) *
                       static_cast<double>(a->second.data[static_cast<size_t>(k * in + i % in)]);
            }
            const double expected =
                static_cast<double>(w.data[static_cast<size_t>(i)]) + pair.lora.scale_of(module) * sum;
            REQUIRE(std::fabs(static_cast<double>(after.at(name).data[static_cast<size_t>(i)]) - expected) <=
                    1e-6);
        }
    }
}

TEST_CASE("a merged model of 16 bits differs by its rounding, and says so", "[merge]") {
    for (const bool biases : {false, true}) {
        ModelConfig config = tiny_config();
        config.architecture = "Qwen3ForCausalLM";
        config.qk_norm = true;
        config.qkv_bias = config.o_bias = biases;
        config.tied = !biases;
        const Pair pair(config, "BF16");
        // 8 and 11 bits of mantissa, through two layers.
        REQUIRE(pair.merge_now("F32").largest_difference < 1e-4);
        std::filesystem::remove_all(pair.out);
        const MergeReport f16 = pair.merge_now("F16");
        REQUIRE(f16.largest_difference < 1e-2 * f16.largest_logit);
        REQUIRE_THAT(read_file(pair.out + "/config.json"), Contains("\"torch_dtype\": \"float16\""));
        std::filesystem::remove_all(pair.out);
        const MergeReport bf16 = pair.merge_now("BF16");
        REQUIRE(bf16.largest_difference < 0.1 * bf16.largest_logit);
        REQUIRE(bf16.largest_difference > f16.largest_difference);
        REQUIRE_THAT(read_file(pair.out + "/config.json"), Contains("\"torch_dtype\": \"bfloat16\""));
    }
}

TEST_CASE("a merge takes the tokenizer along, and replaces nothing but an earlier merge", "[merge]") {
    const Pair pair(tiny_config());
    put_file(pair.base + "/tokenizer.json", "{}");
    put_file(pair.base + "/merges.txt", "a b");
    put_file(pair.base + "/README.md", "not taken along");
    make_folder(pair.out); // empty
    REQUIRE(pair.merge_now().files == 2);
    REQUIRE(read_file(pair.out + "/merges.txt") == "a b");
    REQUIRE_FALSE(file_exists(pair.out + "/README.md"));
    std::filesystem::remove(pair.base + "/merges.txt");
    REQUIRE(pair.merge_now("BF16").files == 1);
    REQUIRE_FALSE(file_exists(pair.out + "/merges.txt")); // replaced as a whole
    REQUIRE(pair.folder.files() == 3);                    // base, adapter, merged
    const auto kernels = make_kernels({});
    const auto refusal = [&](const std::string& model, const std::string& out) {
        return error_of([&] { merge(*kernels, model, pair.adapter, out, "F32"); });
    };
    make_model(pair.folder / "other", tiny_config(), 2);
    REQUIRE(refusal(pair.base, pair.folder / "other/") ==
            (pair.folder / "other") + ": is there and holds something else than a merged model");
    REQUIRE_THAT(refusal(pair.base, pair.adapter), Contains("holds something else"));
    REQUIRE_THAT(refusal(pair.base, pair.base + "/config.json"), Contains("holds something else"));
    REQUIRE(refusal(pair.base, pair.base) ==
            pair.base + ": is the folder of the model that is merged into, expected another");
    // Nor an earlier merge, when it is the model now and named by its file.
    REQUIRE(refusal(pair.out + "/model.safetensors", pair.out) ==
            pair.out + ": is the folder of the model that is merged into, expected another");
    REQUIRE(file_exists(pair.out + "/model.safetensors"));
    REQUIRE(file_exists(pair.base + "/model.safetensors"));
}

TEST_CASE("a merge that fails leaves nothing behind", "[merge]") {
    const Pair pair(tiny_config());
    std::string refusal;
    {
        const SmallDisk disk(3000);
        refusal = error_of([&] { pair.merge_now(); });
    }
    REQUIRE_THAT(refusal, Contains("model.safetensors: cannot be written: File too large"));
    REQUIRE(pair.folder.files() == 2);
    // The adapter's numbers grow until a weight is too large for F16.
    HostTensors adapter = read_safetensors(pair.adapter + "/adapter_model.safetensors");
    for (auto& [name, tensor] : adapter) {
        for (float& x : tensor.data) {
            x = 1000;
        }
    }
    write_safetensors(pair.adapter + "/adapter_model.safetensors", adapter);
    REQUIRE_THAT(error_of([&] { pair.merge_now("F16"); }), Contains("too large for F16"));
    REQUIRE(pair.folder.files() == 2);
}

TEST_CASE("merged reference models compute what PEFT's merged models compute", "[merge]") {
    for (const char* name :
         {"llama-gqa", "llama-tied-headdim", "llama3-rope", "bf16-sharded", "qwen2", "qwen3"}) {
        const std::string oracle = shared_or_skip(std::string("oracles/") + name);
        if (oracle.empty()) {
            continue;
        }
        INFO(name);
        const TempFolder folder;
        const auto kernels = make_kernels({});
        merge(*kernels, oracle + "/model", oracle + "/adapter_init", folder / "merged", "F32");
        LoraConfig none;
        none.r = 0;
        const auto model = load_model(*kernels, folder / "merged", Train::nothing, none);
        const HostTensor ids = read_npy(oracle + "/input_ids.npy"),
                         expected = read_npy(oracle + "/merged_logits.npy");
        Batch batch;
        for (int64_t b = 0; b < ids.shape[0]; b++) {
            std::vector<int32_t> row;
            for (int64_t t = 0; t < ids.shape[1]; t++) {
                batch.rows.push_back(static_cast<int32_t>(batch.tokens() + t));
                row.push_back(static_cast<int32_t>(ids.data[static_cast<size_t>(b * ids.shape[1] + t)]));
            }
            batch.add_sequence(row);
        }
        const std::vector<real> got = model->logits(batch);
        REQUIRE(got.size() == expected.data.size());
        float largest = 0;
        for (const float x : expected.data) {
            largest = std::fmax(largest, std::fabs(x));
        }
        for (size_t i = 0; i < got.size(); i++) { // the tolerance of the reference models' README
            REQUIRE(std::fabs(got[i] - expected.data[i]) <= 2e-4f * largest);
        }
    }
}

TEST_CASE("an adapter belongs to the GGUF files of its base, and is merged into the unquantised ones alone",
          "[merge]") {
    for (const char* name : {"llama-gqa", "qwen2"}) {
        const std::string oracle = shared_or_skip(std::string("oracles/") + name);
        if (oracle.empty()) {
            continue;
        }
        INFO(name);
        const TempFolder folder;
        const std::string adapter = folder / "adapter", quantised = oracle + "/gguf/model-q8_0.gguf";
        make_adapter(adapter, oracle + "/model", open_adapter(oracle + "/adapter_init", open_model_file(oracle + "/model").config));
        const auto kernels = make_kernels({});
        load_adapter(adapter, *load_model(*kernels, quantised, Train::nothing, open_adapter(adapter, open_model_file(quantised).config)));
        REQUIRE_THAT(error_of([&] { merge(*kernels, quantised, adapter, folder / "merged", "F32"); }),
                     StartsWith(quantised + ": tensor ") &&
                         Contains(" is Q8_0, and the steps of quantised weights"));
        REQUIRE(folder.files() == 1);
        const std::string plain = oracle + "/gguf/model-f32.gguf";
        if (!file_exists(plain)) {
            continue;
        }
        merge(*kernels, oracle + "/model", adapter, folder / "from_folder", "F32");
        merge(*kernels, plain, adapter, folder / "from_gguf", "F32");
        const HostTensors from_gguf = read_safetensors(folder / "from_gguf/model.safetensors");
        for (const auto& [tensor, expected] : read_safetensors(folder / "from_folder/model.safetensors")) {
            REQUIRE(from_gguf.at(tensor).data == expected.data);
        }
    }
}
