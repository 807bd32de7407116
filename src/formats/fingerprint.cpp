// fingerprint.cpp — see fingerprint.h.
#include "formats/fingerprint.h"

#include <algorithm>

#include "dequantize.h"
#include "support/check.h"
#include "support/half.h"

namespace skintern {

namespace {

constexpr int64_t kSample = 64; // numbers of a matrix

class Hash {
public:
    void add(const void* bytes, size_t size) {
        for (size_t i = 0; i < size; i++) {
            state_ = (state_ ^ static_cast<const unsigned char*>(bytes)[i]) * 1099511628211ull;
        }
    }
    std::string text() const { return format("%016llx", static_cast<unsigned long long>(state_)); }

private:
    uint64_t state_ = 14695981039346656037ull;
};

void add_rounded(Hash& hash, const float* numbers, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const uint16_t rounded = float_to_bf16(numbers[i]);
        hash.add(&rounded, sizeof(rounded));
    }
}

void add_matrix(Hash& hash, const StoredTensor& tensor) {
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    if (rows == 0) {
        return;
    }
    float numbers[kSample];
    const int64_t count = std::min(columns, kSample);
    dequantize(numbers, tensor.type, tensor.data, rows / 2 * columns, count);
    add_rounded(hash, numbers, count);
}

} // namespace

Fingerprint fingerprint(const std::vector<StoredTensor>& tensors) {
    std::vector<const StoredTensor*> sorted;
    for (const StoredTensor& tensor : tensors) {
        sorted.push_back(&tensor);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const StoredTensor* a, const StoredTensor* b) { return a->name < b->name; });
    Hash vectors, matrices;
    bool plain = true;
    for (const StoredTensor* tensor : sorted) {
        vectors.add(tensor->name.c_str(), tensor->name.size() + 1);
        vectors.add(tensor->shape.data(), tensor->shape.size() * sizeof(int64_t));
        if (tensor->shape.size() != 2) {
            const std::vector<float> numbers = to_floats(*tensor);
            add_rounded(vectors, numbers.data(), static_cast<int64_t>(numbers.size()));
        } else if (tensor->type == WeightType::f32 || tensor->type == WeightType::bf16) {
            add_matrix(matrices, *tensor);
        } else {
            plain = false;
        }
    }
    return {tensors.empty() ? "" : vectors.text(), plain && !tensors.empty() ? matrices.text() : ""};
}

bool may_be_equal(const Fingerprint& a, const Fingerprint& b) {
    const auto agree = [](const std::string& x, const std::string& y) {
        return x.empty() || y.empty() || x == y;
    };
    return agree(a.vectors, b.vectors) && agree(a.matrices, b.matrices);
}

} // namespace skintern
