// probe.cpp — see probe.h.
#include "probe.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "check.h"
#include "files.h"

namespace skintern {

namespace {

constexpr double kLambda = 1e-3, kRate = 0.5, kMomentum = 0.9;
constexpr int kSteps = 200;
constexpr double kLeastDeviation = 1e-6; // of a channel that hardly varies

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

} // namespace

double Probe::probability(const float* h) const {
    double sum = bias;
    for (size_t c = 0; c < weight.size(); c++) {
        sum += weight[c] * (static_cast<double>(h[c]) - mean[c]) / deviation[c];
    }
    return sigmoid(sum);
}

Probe train_probe(const std::vector<float>& features, const std::vector<bool>& labels, int64_t channels) {
    const size_t C = static_cast<size_t>(channels), rows = labels.size();
    CHECK(features.size() == rows * C, "%zu features for %zu labels of %zu channels", features.size(), rows, C);
    const auto kept = std::count(labels.begin(), labels.end(), true);
    CHECK(kept > 0 && kept < std::ssize(labels), "a probe learns from words to keep and words to drop; %ld of %zu are to be kept",
          static_cast<long>(kept), rows);
    Probe probe;
    probe.mean.assign(C, 0.0);
    probe.deviation.assign(C, 0.0);
    probe.weight.assign(C, 0.0);
    const double n = static_cast<double>(rows);
    for (size_t i = 0; i < rows * C; i++) {
        probe.mean[i % C] += static_cast<double>(features[i]) / n;
    }
    for (size_t i = 0; i < rows * C; i++) {
        const double centred = static_cast<double>(features[i]) - probe.mean[i % C];
        probe.deviation[i % C] += centred * centred / n;
    }
    for (double& d : probe.deviation) {
        d = std::max(std::sqrt(d), kLeastDeviation);
    }
    std::vector<double> z(rows * C);
    for (size_t i = 0; i < rows * C; i++) {
        z[i] = (static_cast<double>(features[i]) - probe.mean[i % C]) / probe.deviation[i % C];
    }
    // loss = mean_i CE(p_i, label_i) + lambda |w|^2 / 2;   dw = mean_i (p_i - label_i) z_i + lambda w
    std::vector<double> velocity(C + 1, 0.0), gradient(C + 1);
    for (int step = 0; step < kSteps; step++) {
        std::fill(gradient.begin(), gradient.end(), 0.0);
        for (size_t i = 0; i < rows; i++) {
            double sum = probe.bias;
            for (size_t c = 0; c < C; c++) {
                sum += probe.weight[c] * z[i * C + c];
            }
            const double error = (sigmoid(sum) - (labels[i] ? 1.0 : 0.0)) / n;
            for (size_t c = 0; c < C; c++) {
                gradient[c] += error * z[i * C + c];
            }
            gradient[C] += error;
        }
        for (size_t c = 0; c <= C; c++) {
            double& parameter = c < C ? probe.weight[c] : probe.bias;
            velocity[c] = kMomentum * velocity[c] - kRate / 10 * (gradient[c] + (c < C ? kLambda * parameter : 0.0));
            parameter += velocity[c];
        }
    }
    return probe;
}

void write_probe(const std::string& path, const Probe& probe) {
    const nlohmann::ordered_json json = {
        {"mean", probe.mean}, {"deviation", probe.deviation}, {"weight", probe.weight}, {"bias", probe.bias}};
    write_file(path, json.dump() + "\n");
}

Probe read_probe(const std::string& path) {
    const nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
    CHECK(json.is_object(), "%s: not a JSON object", path.c_str());
    const auto numbers = [&](const char* field) {
        const bool there = json.contains(field) && json[field].is_array() && !json[field].empty() &&
                           std::all_of(json[field].begin(), json[field].end(), [](const auto& x) { return x.is_number(); });
        CHECK(there, "%s: field %s is not a list of numbers", path.c_str(), field);
        return json[field].get<std::vector<double>>();
    };
    CHECK(json.contains("bias") && json["bias"].is_number(), "%s: field bias is not a number", path.c_str());
    const Probe probe = {numbers("mean"), numbers("deviation"), numbers("weight"), json["bias"].get<double>()};
    CHECK(probe.mean.size() == probe.weight.size() && probe.deviation.size() == probe.weight.size(),
          "%s: mean, deviation and weight have %zu, %zu and %zu numbers", path.c_str(), probe.mean.size(),
          probe.deviation.size(), probe.weight.size());
    CHECK(std::all_of(probe.deviation.begin(), probe.deviation.end(), [](double d) { return d > 0; }),
          "%s: field deviation holds a number that is not above 0", path.c_str());
    return probe;
}

} // namespace skintern
