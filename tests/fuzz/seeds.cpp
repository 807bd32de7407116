// seeds.cpp — small valid inputs for each fuzz target, made by the writers of the project: seeds FOLDER writes
// FOLDER/<target>/<seed>.
#include <filesystem>
#include <string>
#include <vector>

#include "formats/config.h"
#include "formats/lora_config.h"
#include "formats/model_file.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "gguf_maker.h"
#include "method/probe.h"
#include "support/files.h"
#include "tasks/task.h"
#include "tokenizer/bpe.h"

namespace skintern {
namespace {

ModelConfig small_config(const std::string& architecture) {
    ModelConfig config;
    config.architecture = architecture;
    config.layers = config.heads = config.kv_heads = 1;
    config.channels = config.ffn = config.vocab = 3;
    config.head_size = 2;
    config.qkv_bias = architecture == "Qwen2ForCausalLM";
    config.qk_norm = architecture == "Qwen3ForCausalLM";
    return config;
}

// A whole model, with an array of each kind of element that tokenizers have.
std::string small_gguf(const std::string& arch, const ModelConfig& config) {
    GgufMaker maker;
    maker.str("general.architecture", arch).u32(arch + ".block_count", 1).u32(arch + ".embedding_length", 3);
    maker.u32(arch + ".feed_forward_length", 3).u32(arch + ".context_length", 8);
    maker.u32(arch + ".attention.head_count", 1).u32(arch + ".attention.key_length", 2);
    maker.f32(arch + ".attention.layer_norm_rms_epsilon", 0.5f);
    maker.str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .u32("tokenizer.ggml.eos_token_id", 2);
    maker.strs("tokenizer.ggml.tokens", {"a", "b", "ab"}).strs("tokenizer.ggml.merges", {"a b"});
    maker.array("tokenizer.ggml.token_type", 5, 3, bytes_of(1) + bytes_of(1) + bytes_of(3));
    maker.array("tokenizer.ggml.scores", 6, 3, std::string(12, '\0'));
    for (const ModelTensor& tensor : model_tensors(config)) {
        maker.floats(tensor.gguf_name, {tensor.shape.begin(), tensor.shape.end()},
                     std::vector<float>(static_cast<size_t>(*count_elements(tensor.shape, 4)), 0.5f));
    }
    return maker.file();
}

void write_all(const std::string& folder) {
    const auto place = [&](const std::string& target, const std::string& seed) {
        make_folder(folder + "/" + target);
        return folder + "/" + target + "/" + seed;
    };
    const HostTensors tensors = {{"a", {{2, 1}, {1, 2}}}, {"b", {{}, {3}}}, {"c", {{0, 4}, {}}}};
    write_safetensors(place("safetensors", "f32"), tensors, "F32", {{"format", "pt"}});
    write_safetensors(place("safetensors", "bf16"), tensors, "BF16");
    write_npy(place("npy", "matrix"), tensors.at("a").data.data(), {2, 1});
    write_npy(place("npy", "scalar"), tensors.at("b").data.data(), {});
    write_file(place("index", "two"),
               R"({"metadata":{"total_size":8},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})");

    const std::pair<const char*, const char*> architectures[] = {
        {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};
    for (const auto& [arch, name] : architectures) {
        ModelConfig config = small_config(name);
        write_file(place("gguf", arch), small_gguf(arch, config));
        write_file(place("gguf_tokenizer", arch), small_gguf(arch, config));
        write_model_config(place("config", arch), config);
        config.rope_scaling.type = "llama3";
        write_model_config(place("config", std::string(arch) + "-scaled"), config);
    }
    write_lora_config(place("adapter_config", "lora"), LoraConfig(), "base");
    save_probe(place("probe", "two"), Probe{true, {0.5, -1}, 2, {"0123456789abcdef", ""}});

    const std::string text = "The cat costs 12 coins, not 7.\n";
    BpeTrainConfig bpe;
    bpe.vocab_size = 270;
    Bpe::train({text, text}, bpe).save(place("tokenizer", "small"));
    write_file(place("bpe", "text"), text + "<|endoftext|> \xc3\xa9\xff\xf0\x9f\x99\x82\r\n\t''s");

    Record record;
    record.id = "1";
    record.task_name = "navigate";
    record.instruction = record.output = record.response = "x";
    record.knowledge = {"a . b"};
    record.summarydec = {"c", "d"};
    write_file(place("records", "lines"),
               record_to_json(record) + "\n" + R"({"task_name":"t","instruction":"q","output":"a"})");
    write_file(place("records", "list"), "[" + record_to_json(record) + "]");
    // Published benchmarks, each in its own layout (src/tasks/benchmarks.h).
    write_file(place("records", "bbh"),
               R"({"canary":"c","examples":[{"input":"Q? (A) x (B) y","target":"B"}]})");
    write_file(place("records", "gsm8k"), R"({"question":"1+2?","answer":"1+2=3\n#### 3"})");
    write_file(
        place("records", "gsm-plus"),
        R"({"question":"1+2?","answer":"3","perturbation_type":"p","seed_question":"q","seed_answer":"3"})");
    write_file(place("records", "arc"),
               R"({"id":"1","question":{"stem":"q","choices":[{"text":"x","label":"A"}]},"answerKey":"A"})");
    write_file(place("records", "arc-flat"),
               R"({"id":"1","question":"q","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"B"})");
    write_file(place("records", "agieval"),
               R"({"passage":null,"question":"q","options":["(A)x","(B)y"],"label":"B","answer":null})");
}

} // namespace
} // namespace skintern

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    skintern::write_all(argv[1]);
}
