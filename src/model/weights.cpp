// weights.cpp — see weights.h.
#include "model/weights.h"

#include <cmath>
#include <map>

#include "dequantize.h"
#include "support/check.h"

namespace skintern {

namespace {

void check_shape(const Tensor& expected, const std::vector<int64_t>& shape, const std::string& where) {
    CHECK(shape == expected.shape, "%s: tensor %s has shape %s, the configuration asks for %s", where.c_str(),
          expected.name.c_str(), shape_text(shape).c_str(), shape_text(expected.shape).c_str());
}

// Row by row, so that no second copy of a large tensor comes to be.
void check_finite(const StoredTensor& tensor, const std::string& where) {
    const int64_t columns = tensor.shape.back(), row_size = file_row_bytes(tensor.type, columns);
    const int64_t rows = columns == 0 ? 0 : static_cast<int64_t>(tensor.bytes) / row_size;
    std::vector<float> numbers(static_cast<size_t>(columns));
    for (int64_t r = 0; r < rows; r++) {
        dequantize(numbers.data(), tensor.type, static_cast<const char*>(tensor.data) + r * row_size, 0, columns);
        float sum = 0; // of zeros; NaN when one of the numbers is not finite
        for (const float x : numbers) {
            sum += 0.0f * x;
        }
        CHECK(sum == 0, "%s: tensor %s holds a value that is not finite in row %lld", where.c_str(),
              tensor.name.c_str(), static_cast<long long>(r));
    }
}

// A matrix that the kernels can read where it is stored.
bool stays_outside(const StoredTensor& tensor) {
    if (tensor.type != WeightType::f32) {
        return tensor.shape.size() == 2;
    }
    return tensor.shape.size() == 2 && sizeof(real) == sizeof(float) &&
           reinterpret_cast<uintptr_t>(tensor.data) % alignof(float) == 0;
}

} // namespace

void upload_tensors(Arena& arena, const HostTensors& tensors, const std::string& where) {
    for (const auto& [name, tensor] : tensors) {
        CHECK(arena.find(name) != nullptr, "%s: tensor %s is not part of this model", where.c_str(), name.c_str());
    }
    for (const Tensor& t : arena.tensors()) {
        const auto it = tensors.find(t.name);
        CHECK(it != tensors.end(), "%s: tensor %s is missing", where.c_str(), t.name.c_str());
        const HostTensor& host = it->second;
        check_shape(t, host.shape, where);
        std::vector<real> values(host.data.size());
        for (size_t i = 0; i < values.size(); i++) {
            CHECK(std::isfinite(host.data[i]), "%s: tensor %s holds a value that is not finite at element %zu",
                  where.c_str(), t.name.c_str(), i);
            values[i] = static_cast<real>(host.data[i]);
        }
        if (!values.empty()) {
            arena.kernels().upload(t.data, values.data(), values.size() * sizeof(real));
        }
    }
}

void load_tensors(Arena& arena, const std::vector<StoredTensor>& stored, bool in_place, const std::string& where) {
    std::map<std::string, const StoredTensor*> by_name;
    for (const StoredTensor& tensor : stored) {
        CHECK(arena.find(tensor.name) != nullptr, "%s: tensor %s is not part of this model", where.c_str(),
              tensor.name.c_str());
        CHECK(by_name.emplace(tensor.name, &tensor).second, "%s: tensor %s is there twice", where.c_str(),
              tensor.name.c_str());
    }
    for (const Tensor& t : arena.tensors()) {
        const auto it = by_name.find(t.name);
        CHECK(it != by_name.end(), "%s: tensor %s is missing", where.c_str(), t.name.c_str());
        check_shape(t, it->second->shape, where);
        check_finite(*it->second, where);
        if (in_place && stays_outside(*it->second)) {
            const bool products_alone = !t.name.ends_with("embed_tokens.weight"); // whose rows are inputs, too
            arena.place_outside(t.name, {it->second->data, it->second->type}, products_alone);
        }
    }
    arena.allocate();
    for (const Tensor& t : arena.tensors()) {
        if (t.data != nullptr && t.numel > 0) {
            const std::vector<float> numbers = to_floats(*by_name.at(t.name));
            const std::vector<real> values(numbers.begin(), numbers.end());
            arena.kernels().upload(t.data, values.data(), values.size() * sizeof(real));
        }
    }
}

HostTensors download_tensors(const Arena& arena) {
    HostTensors out;
    for (const Tensor& t : arena.tensors()) {
        CHECK(t.data != nullptr, "tensor %s lies in a file and is not copied out of it", t.name.c_str());
        const std::vector<real> values = download(arena.kernels(), t.data, t.numel);
        out[t.name] = {t.shape, std::vector<float>(values.begin(), values.end())};
    }
    return out;
}

} // namespace skintern
