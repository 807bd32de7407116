// merge.h — an adapter added to the weights it sits on, as a model folder of its own that needs no adapter.
//
//   W' = W + s B A        s (x A^T) B^T = x (s B A)^T, so x W'^T + b is what the layer and its adapter compute together
//
// The sum is taken in F32 and then rounded to the type that is written. Quantised weights are refused: their steps are
// larger than most of what an adapter changes, so rounding would lose it; an adapter that was trained over them can be
// merged into the unquantised model. Cost: 2 OUT R IN a layer; the model in F32 stands in memory twice.
#pragma once

#include <cstdint>
#include <string>

#include "kernels.h"

namespace skintern {

struct MergeReport {
    int64_t layers = 0; // linear layers that changed
    double largest_difference =
        0; // of a logit: the merged folder as it is read back, against the adapter beside the base
    double largest_logit = 0; // by size, of the latter
    int64_t rows = 0;         // token rows of the comparison, the same for every model with this vocabulary
    int64_t files = 0;        // tokenizer files that were taken along
};

// Writes config.json, model.safetensors (`dtype` F32, BF16 or F16) and the tokenizer files that stand beside the model to
// the folder `out`: whole or not at all. `out` may be there when it is empty or an earlier merge.
MergeReport merge(Kernels& kernels, const std::string& model, const std::string& adapter,
                  const std::string& out, const std::string& dtype);

} // namespace skintern
