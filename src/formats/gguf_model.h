// gguf_model.h — the model in a GGUF file, as llama.cpp's converter writes it.
#pragma once

#include "formats/gguf.h"
#include "formats/model_file.h"

namespace skintern {

// Architectures llama (Llama, Mistral), qwen2 and qwen3. Throws Error naming file and key or tensor for what is not
// computed here.
ModelFile gguf_model(const GgufFile& file);

} // namespace skintern
