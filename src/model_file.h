// model_file.h — a model as files hold it: its configuration and its tensors under their Hugging Face names.
#pragma once

#include <string>
#include <vector>

#include "config.h"
#include "tensor_file.h"

namespace skintern {

struct ModelFile {
    std::string path;
    ModelConfig config;
    std::vector<StoredTensor> tensors;
};

// A Hugging Face folder, a .safetensors file with its config.json beside it, or a .gguf file.
ModelFile open_model_file(const std::string& path);

} // namespace skintern
