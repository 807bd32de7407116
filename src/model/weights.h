// weights.h — tensors between files and arenas, by name.
//
// The canonical names are those of Hugging Face ("model.layers.0.self_attn.q_proj.weight") and PEFT
// ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"); an arena's tensors carry them already.
#pragma once

#include <string>

#include "formats/safetensors.h"
#include "formats/tensor_file.h"
#include "model/arena.h"

namespace skintern {

// Fills every tensor of the arena. Throws Error naming `where` and the tensor when one is missing, has another shape,
// holds a value that is not finite, or is not known to the arena.
void upload_tensors(Arena& arena, const HostTensors& tensors, const std::string& where);

// Gives every tensor of an arena that is not allocated yet its numbers, with the same checks, and allocates it. With
// `in_place` matrices stay where they are stored, in the type they have, and `stored` has to outlive the arena; the rest
// (norms, biases: a few numbers), and everything without `in_place`, becomes real numbers of the arena's own.
void load_tensors(Arena& arena, const std::vector<StoredTensor>& stored, bool in_place, const std::string& where);

// Host copies of every tensor of the arena.
HostTensors download_tensors(const Arena& arena);

} // namespace skintern
