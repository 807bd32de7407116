// footprint.cpp — see footprint.h for the formulas.
#include "model/footprint.h"

#include <algorithm>

#include "model/flops.h"
#include "model/transformer_parts.h"
#include "support/check.h"

namespace skintern {

namespace {

constexpr double kReal = sizeof(real);

double as_bytes(int64_t reals) {
    return kReal * static_cast<double>(reals);
}

struct Widths {
    int64_t C, QC, KC, F, R, norm_rows; // norm_rows: NH + NKV where q and k are normed
};

Widths widths_of(const ModelConfig& c, const LoraConfig& lora) {
    return {c.channels, c.heads * c.head_size, c.kv_heads * c.head_size,
            c.ffn,      lora.largest_rank(),   c.qk_norm ? c.heads + c.kv_heads : 0};
}

// Numbers a row that one layer keeps.
int64_t kept_of_layer(const ModelConfig& c, const LoraConfig& lora) {
    const Widths w = widths_of(c, lora);
    const int64_t normed = w.norm_rows > 0 ? w.QC + w.KC + w.norm_rows : 0;
    return w.C + 2 * w.QC + 2 * w.KC + 2 * w.F + c.heads + 2 + 7 * w.R + normed;
}

// Numbers a row that all layers share going back.
int64_t backward_scratch(const ModelConfig& c, const LoraConfig& lora) {
    const Widths w = widths_of(c, lora);
    return 2 * w.C + (w.norm_rows > 0 ? 2 : 1) * (w.QC + w.KC) + w.KC + w.QC + 3 * w.F + kMaxProducts * w.R;
}

int64_t matrix_numbers(const ModelConfig& c) {
    int64_t of_layer = 0;
    for (const LinearShape& shape : linear_shapes(c)) {
        of_layer += shape.in * shape.out;
    }
    return c.layers * of_layer + (c.tied ? 1 : 2) * c.vocab * c.channels;
}

int64_t vector_numbers(const ModelConfig& c) {
    const int64_t QC = c.heads * c.head_size, KC = c.kv_heads * c.head_size;
    const int64_t biases = (c.qkv_bias ? QC + 2 * KC : 0) + (c.o_bias ? c.channels : 0) +
                           (c.mlp_bias ? 2 * c.ffn + c.channels : 0);
    return c.channels + c.layers * (2 * c.channels + (c.qk_norm ? 2 * c.head_size : 0) + biases);
}

// Bytes of the weights as passes of many rows, or of few, read them.
double packed_weights(const Kernels& kernels, const ModelConfig& c, WeightType type, Rows rows) {
    static constexpr char kNothing = 0; // only the type of a matrix counts
    const Matrix matrix(&kNothing, type);
    size_t bytes = kernels.packed_bytes(rows, matrix, c.vocab, c.channels);
    for (const LinearShape& shape : linear_shapes(c)) {
        bytes += static_cast<size_t>(c.layers) * kernels.packed_bytes(rows, matrix, shape.out, shape.in);
    }
    return bytes > kPackedLimit ? 0.0 : static_cast<double>(bytes);
}

} // namespace

double total_bytes(const std::vector<MemoryPart>& parts) {
    double sum = 0;
    for (const MemoryPart& part : parts) {
        sum += part.bytes;
    }
    return sum;
}

int64_t parameters_of(const ModelConfig& config) {
    return matrix_numbers(config) + vector_numbers(config);
}

int64_t adapter_parameters(const ModelConfig& config, const LoraConfig& lora) {
    int64_t sum = 0;
    for (int64_t l = 0; l < config.layers; l++) {
        for (const LinearShape& shape : linear_shapes(config)) {
            const std::string name = format("model.layers.%lld.%s", static_cast<long long>(l), shape.module);
            sum += lora.applies_to(name, l) ? lora.rank_of(name) * (shape.in + shape.out) : 0;
        }
    }
    return sum;
}

double weight_bytes(const ModelConfig& config, WeightType type) {
    const WeightFormat& format = weight_format(type);
    return static_cast<double>(matrix_numbers(config)) * static_cast<double>(format.bytes) /
               static_cast<double>(format.elements) +
           as_bytes(vector_numbers(config));
}

double weight_bytes(const std::vector<StoredTensor>& tensors) {
    double sum = 0;
    for (const StoredTensor& tensor : tensors) {
        sum += tensor.shape.size() == 2 ? static_cast<double>(tensor.bytes) : as_bytes(tensor.shape[0]);
    }
    return sum;
}

std::vector<MemoryPart> training_memory(const ModelConfig& config, const LoraConfig& lora, PassSize pass,
                                        bool recompute) {
    const int64_t N = pass.rows, M = pass.scored, C = config.channels, L = config.layers;
    const int64_t adapter = adapter_parameters(config, lora);
    return {{"adapter", as_bytes(adapter)},
            {"gradients", as_bytes(adapter)},
            {"moments", as_bytes(2 * adapter)},
            {"inputs of layers", as_bytes((L + 1) * N * C)},
            {recompute ? "activations of one layer" : "activations of all layers",
             as_bytes((recompute ? 1 : L) * N * kept_of_layer(config, lora))},
            {"scratch of a layer", as_bytes(N * (C + config.ffn + backward_scratch(config, lora)))},
            {"scored rows", as_bytes(4 * M * C)},
            {"logits", as_bytes(std::min(M, kLossChunk) * config.vocab)}};
}

std::vector<MemoryPart> generation_memory(const Kernels& kernels, const ModelConfig& config, WeightType type,
                                          int64_t slots, int64_t capacity, WeightType cache_type) {
    const int64_t position = 2 * config.layers * row_bytes(cache_type, config.kv_heads * config.head_size);
    return {{"keys and values", static_cast<double>(slots * capacity * position)},
            {"weights packed for many rows", packed_weights(kernels, config, type, Rows::many)},
            {"weights packed for few rows", packed_weights(kernels, config, type, Rows::few)}};
}

} // namespace skintern
