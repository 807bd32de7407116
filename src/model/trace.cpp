// trace.cpp — see trace.h.
#include "model/trace.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/check.h"

namespace skintern {

NamedTrace trace_pass(Transformer& model, const Batch& batch, bool gradients) {
    NamedTrace out;
    Kernels& kernels = model.kernels();
    const auto tensor = [&](const std::string& name) -> HostTensor& {
        if (out.tensors.count(name) == 0) {
            out.names.push_back(name);
        }
        return out.tensors[name];
    };
    model.set_trace([&](const std::string& name, const real* data, const std::vector<int64_t>& shape) {
        HostTensor& all = tensor(name);
        const HostTensor part{shape, download(kernels, data, HostTensor{shape, {}}.numel())};
        // Logits come in chunks of rows, everything else once.
        all.data.insert(all.data.end(), part.data.begin(), part.data.end());
        const int64_t rows = all.shape.empty() ? 0 : all.shape[0];
        all.shape = shape;
        all.shape[0] += rows;
    });
    if (gradients) {
        model.grads().zero();
        const double rows = static_cast<double>(batch.rows.size());
        const double loss = model.forward_backward(batch, 1.0 / rows) / rows;
        tensor("loss") = {{}, {static_cast<float>(loss)}};
        for (const Tensor& t : model.grads().tensors()) {
            tensor("grad." + t.name) = {t.shape, download(kernels, t.data, t.numel)};
        }
    } else {
        model.logits(batch);
    }
    model.set_trace(nullptr);
    return out;
}

static TraceDistance distance_of(const std::string& name, const HostTensor& expected, const HostTensor& got) {
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    if (expected.shape != got.shape) {
        return {name, kInfinite, kInfinite};
    }
    double difference = 0, size = 0, largest = 0;
    for (size_t i = 0; i < expected.data.size(); i++) {
        const double a = static_cast<double>(expected.data[i]), b = static_cast<double>(got.data[i]);
        if (a == b || (std::isnan(a) && std::isnan(b))) { // equal, infinities included
            size += std::isfinite(a) ? a * a : 0.0;
            continue;
        }
        const double d = std::isfinite(a - b) ? std::fabs(a - b) : kInfinite;
        difference += d * d;
        size += std::isfinite(a) ? a * a : 0.0;
        largest = std::max(largest, d);
    }
    return {name, difference == 0 ? 0 : std::sqrt(difference) / std::max(1e-30, std::sqrt(size)), largest};
}

std::vector<TraceDistance> compare_traces(const NamedTrace& expected, const NamedTrace& got) {
    CHECK(expected.names == got.names, "the traces do not name the same tensors: %zu and %zu of them", expected.names.size(),
          got.names.size());
    std::vector<TraceDistance> out;
    for (const std::string& name : expected.names) {
        out.push_back(distance_of(name, expected.tensors.at(name), got.tensors.at(name)));
    }
    return out;
}

const TraceDistance* first_difference(const std::vector<TraceDistance>& distances, double tolerance) {
    const auto found = std::find_if(distances.begin(), distances.end(),
                                    [&](const TraceDistance& d) { return !(d.distance <= tolerance); });
    return found == distances.end() ? nullptr : &*found;
}

double trace_tolerance(bool bf16) { return bf16 ? 0.03 : 1e-4; }

} // namespace skintern
