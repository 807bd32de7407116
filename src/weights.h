// weights.h — tensors between files and arenas, by name.
//
// The canonical names are those of Hugging Face ("model.layers.0.self_attn.q_proj.weight") and PEFT
// ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"); an arena's tensors carry them already.
#pragma once

#include <string>

#include "arena.h"
#include "safetensors.h"

namespace skintern {

// Fills every tensor of the arena. Throws Error naming `where` and the tensor when one is missing, has another shape,
// holds a value that is not finite, or is not known to the arena.
void upload_tensors(Arena& arena, const HostTensors& tensors, const std::string& where);

// Host copies of every tensor of the arena.
HostTensors download_tensors(const Arena& arena);

} // namespace skintern
