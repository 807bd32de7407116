// trace.h — every named activation and gradient of a pass, and where two traces part: the way to find out in which layer
// two backends, or two builds, begin to differ.
#pragma once

#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "model/transformer.h"

namespace skintern {

// In order of computation.
struct NamedTrace {
    std::vector<std::string> names;
    HostTensors tensors;
};

// Of logits of the scored rows; with `gradients` of a training step whose loss is the mean over the scored rows, then also
// "loss" and "grad.<parameter>".
NamedTrace trace_pass(Transformer& model, const Batch& batch, bool gradients);

struct TraceDistance {
    std::string name;
    double distance; // L2 norm of the difference, divided by that of the expected tensor
    double largest;  // absolute difference of an element
};

// One a tensor, in order. A tensor that holds NaN on one side only, or has another shape, is infinitely far. Throws Error
// when the traces do not name the same tensors.
std::vector<TraceDistance> compare_traces(const NamedTrace& expected, const NamedTrace& got);

// The first that is farther than `tolerance`, or null.
const TraceDistance* first_difference(const std::vector<TraceDistance>& distances, double tolerance);

// How far backends may be from each other by rounding alone: F32 sums of some thousand terms through a few layers; BF16,
// where an operand moves by 2^-9 of itself and what lies near the middle of two goes either way.
double trace_tolerance(bool bf16);

} // namespace skintern
