// fingerprint.h — by which an adapter knows the base model that it was trained on.
//
// An adapter has the shapes of its base and nothing else of it: on other weights of the same shapes it runs, and talks
// nonsense. So its file carries two hashes (FNV-1a, 64 bits) over the tensors of the base in the order of their names:
//
//   vectors    names, shapes, and the numbers of norms and biases, which no quantisation touches
//   matrices   of each matrix the first 64 numbers of its middle row; empty unless all are F32 or BF16
//
// Numbers are rounded to BF16 first: a model and its copy in BF16 are the same base.
//
// The second counts only where both sides have it: an adapter trained over quantised weights belongs to the unquantised
// model as well, which is where it can be merged.
#pragma once

#include <string>
#include <vector>

#include "formats/tensor_file.h"

namespace skintern {

struct Fingerprint {
    std::string vectors, matrices; // 16 hexadecimal digits, or empty: not known
};

Fingerprint fingerprint(const std::vector<StoredTensor>& tensors);

// False when they are surely of two models.
bool may_be_equal(const Fingerprint& a, const Fingerprint& b);

} // namespace skintern
