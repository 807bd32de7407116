// weights.cpp — see weights.h.
#include "weights.h"

#include <cmath>

#include "check.h"
#include "tensor_file.h"

namespace skintern {

void upload_tensors(Arena& arena, const HostTensors& tensors, const std::string& where) {
    for (const auto& [name, tensor] : tensors) {
        CHECK(arena.find(name) != nullptr, "%s: tensor %s is not part of this model", where.c_str(), name.c_str());
    }
    for (const Tensor& t : arena.tensors()) {
        const auto it = tensors.find(t.name);
        CHECK(it != tensors.end(), "%s: tensor %s is missing", where.c_str(), t.name.c_str());
        const HostTensor& host = it->second;
        CHECK(host.shape == t.shape, "%s: tensor %s has shape %s, the configuration asks for %s", where.c_str(),
              t.name.c_str(), shape_text(host.shape).c_str(), shape_text(t.shape).c_str());
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

HostTensors download_tensors(const Arena& arena) {
    HostTensors out;
    for (const Tensor& t : arena.tensors()) {
        const std::vector<real> values = download(arena.kernels(), t.data, t.numel);
        out[t.name] = {t.shape, std::vector<float>(values.begin(), values.end())};
    }
    return out;
}

} // namespace skintern
