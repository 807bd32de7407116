// checkpoint.cpp — see checkpoint.h.
#include "checkpoint.h"

#include "check.h"
#include "files.h"
#include "weights.h"

namespace skintern {

namespace {

// Tensors of the state file are named by what they are and the parameter they belong to: "adamw_m/<name>".
constexpr const char* kParam = "param/";
constexpr const char* kFirst = "adamw_m/";
constexpr const char* kSecond = "adamw_v/";
constexpr const char* kPosition = "position";

void add_prefixed(HostTensors& out, const std::string& prefix, const Arena& arena) {
    for (auto& [name, tensor] : download_tensors(arena)) {
        out[prefix + name] = std::move(tensor);
    }
}

HostTensors take_prefixed(const HostTensors& all, const std::string& prefix) {
    HostTensors out;
    for (const auto& [name, tensor] : all) {
        if (name.starts_with(prefix)) {
            out[name.substr(prefix.size())] = tensor;
        }
    }
    return out;
}

// A count as three base-2^20 digits: float32 holds each exactly.
void push_count(std::vector<float>& out, int64_t n) {
    out.push_back(static_cast<float>(n >> 40));
    out.push_back(static_cast<float>((n >> 20) & 0xfffff));
    out.push_back(static_cast<float>(n & 0xfffff));
}

int64_t read_count(const std::vector<float>& digits, size_t i) {
    return (static_cast<int64_t>(digits[3 * i]) << 40) + (static_cast<int64_t>(digits[3 * i + 1]) << 20) +
           static_cast<int64_t>(digits[3 * i + 2]);
}

} // namespace

void save_state(const std::string& path, Transformer& model, Adamw& adamw, const TrainPosition& position) {
    HostTensors tensors;
    add_prefixed(tensors, kParam, model.trained());
    add_prefixed(tensors, kFirst, adamw.m());
    add_prefixed(tensors, kSecond, adamw.v());
    std::vector<float> digits;
    for (const int64_t n : {position.stage, position.update, position.step, position.tokens, adamw.step()}) {
        push_count(digits, n);
    }
    tensors[kPosition] = {{5, 3}, digits};
    write_safetensors(path, tensors);
}

TrainPosition load_state(const std::string& path, Transformer& model, Adamw& adamw) {
    const HostTensors tensors = read_safetensors(path);
    const auto it = tensors.find(kPosition);
    CHECK(it != tensors.end() && it->second.shape == (std::vector<int64_t>{5, 3}),
          "%s: not a training state (tensor %s is missing)", path.c_str(), kPosition);
    const std::vector<float>& digits = it->second.data;
    for (const float d : digits) {
        CHECK(d >= 0 && d < 1048576, "%s: tensor %s holds an impossible count", path.c_str(), kPosition);
    }
    CHECK(read_count(digits, 0) >= 1, "%s: tensor %s says stage 0", path.c_str(), kPosition);
    upload_tensors(model.trained(), take_prefixed(tensors, kParam), path);
    upload_tensors(adamw.m(), take_prefixed(tensors, kFirst), path);
    upload_tensors(adamw.v(), take_prefixed(tensors, kSecond), path);
    adamw.set_step(read_count(digits, 4));
    return {read_count(digits, 0), read_count(digits, 1), read_count(digits, 2), read_count(digits, 3)};
}

void save_adapter(const std::string& folder, Transformer& model, const LoraConfig& lora, const std::string& base) {
    make_folder(folder);
    write_lora_config(folder + "/adapter_config.json", lora, base);
    write_safetensors(folder + "/adapter_model.safetensors", download_tensors(model.adapter()));
}

void load_adapter(const std::string& folder, Transformer& model) {
    const std::string path = folder + "/adapter_model.safetensors";
    upload_tensors(model.adapter(), read_safetensors(path), path);
}

void save_model(const std::string& folder, Transformer& model, const std::string& dtype) {
    make_folder(folder);
    write_model_config(folder + "/config.json", model.config());
    write_safetensors(folder + "/model.safetensors", download_tensors(model.weights()), dtype, {{"format", "pt"}});
}

std::unique_ptr<Transformer> load_model(Kernels& kernels, const std::string& folder, Train train,
                                        const LoraConfig& lora) {
    const ModelFile file = open_model_file(folder);
    auto model = std::make_unique<Transformer>(kernels, file.config, train, lora, &file);
    return model;
}

} // namespace skintern
