// model_file.h — a model as it lies in files: its configuration, and its tensors under the names of Hugging Face.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/config.h"
#include "formats/tensor_file.h"

namespace skintern {

struct ModelFile {
    ModelConfig config;
    std::vector<StoredTensor> tensors; // those of model_tensors(), in that order, mapped in the file's types
    std::string path;                  // the file that holds or lists them, for messages
};

// From a Hugging Face folder, a .safetensors file with its config.json beside it, or a .gguf file. Throws Error naming
// the file and the tensor (as that file calls it) when one is missing, unknown or of another shape.
ModelFile open_model_file(const std::string& path);

// The same from tensors that were mapped already. `where`: the file, for messages.
ModelFile make_model_file(const ModelConfig& config, std::vector<StoredTensor> tensors,
                          const std::string& where);

// One tensor of a model.
struct ModelTensor {
    std::string name;      // in Hugging Face's files, and everywhere in this project
    std::string gguf_name; // in GGUF files
    std::vector<int64_t> shape;
};

// All that a model of this configuration has.
std::vector<ModelTensor> model_tensors(const ModelConfig& config);

// The numbers in all of them.
int64_t count_parameters(const ModelConfig& config);

// Those of `found` that `expected` asks for, under their canonical names. `name` says which name the file uses.
std::vector<StoredTensor> match_tensors(std::vector<StoredTensor> found,
                                        const std::vector<ModelTensor>& expected,
                                        std::string ModelTensor::*name, const std::string& where);

// A file cannot have more layers than tensors: checked before a table of all tensors is made.
void check_layers(const ModelConfig& config, size_t tensors, const std::string& where);

} // namespace skintern
