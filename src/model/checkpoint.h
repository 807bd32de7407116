// checkpoint.h — what a run leaves on disk: adapters in PEFT's layout, base models in Hugging Face's, and the state from
// which training continues. Every file is written whole or not at all.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "formats/safetensors.h"
#include "model/adamw.h"
#include "model/transformer.h"

namespace skintern {

// Where training stands: the next update to make.
struct TrainPosition {
    int64_t stage = 1;  // from 1
    int64_t update = 0; // updates made in this stage
    int64_t step = 0;   // updates made in all stages
    int64_t tokens = 0; // tokens seen in all stages
};

// One file: trained parameters, both moments, position.
void save_state(const std::string& path, Transformer& model, Adamw& adamw, const TrainPosition& position);
TrainPosition load_state(const std::string& path, Transformer& model, Adamw& adamw);

// adapter_config.json and adapter_model.safetensors. The latter's metadata says which base it belongs to (fingerprint.h);
// load_adapter refuses another one. open_adapter reads the settings, and checks that they fit a model of these sizes and
// that the tensors are of that rank and as many, before anyone makes room for them.
void save_adapter(const std::string& folder, Transformer& model, const LoraConfig& lora, const std::string& base);
LoraConfig open_adapter(const std::string& folder, const ModelConfig& model);
void load_adapter(const std::string& folder, Transformer& model);

// config.json and model.safetensors (`dtype` F32, BF16 or F16).
void save_model(const std::string& folder, Transformer& model, const std::string& dtype);
void write_model(const std::string& folder, const ModelConfig& config, const HostTensors& weights,
                 const std::string& dtype, const std::map<std::string, std::string>& metadata = {});

// A model from a Hugging Face folder or a .gguf file, ready for `train`, with the adapter that `lora` describes, if its rank is
// above 0: B is zero until init_adapter() or load_adapter() fill it.
std::unique_ptr<Transformer> load_model(Kernels& kernels, const std::string& folder, Train train,
                                        const LoraConfig& lora);

} // namespace skintern
