// model_file.cpp — see model_file.h.
#include "model_file.h"

namespace skintern {

ModelFile open_model_file(const std::string& path) {
    return {path, read_model_config(path + "/config.json"), map_safetensors(path)};
}

} // namespace skintern
