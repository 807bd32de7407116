// inspect.h — what a file holds, as text: for `skintern inspect`.
#pragma once

#include <string>

namespace skintern {

// Of a model (folder, .safetensors, .gguf) or an adapter folder: metadata or settings, every tensor with type, shape and
// bytes, totals by type, and the model that is made of it. A model that is not computed here is described all the same, and
// the last line says why; a file that is damaged is an Error.
std::string inspect(const std::string& path);

} // namespace skintern
