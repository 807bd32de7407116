// transformer_setup.cpp — batches, parameters and buffers of a Transformer: everything before the first op.
// Shapes: N packed rows, M scored rows, C channels, NH/NKV heads of HS, F feed-forward, R adapter rank.
#include <algorithm>
#include <cmath>

#include "formats/rope.h"
#include "model/flops.h"
#include "model/transformer_parts.h"
#include "model/weights.h"
#include "support/check.h"

namespace skintern {

// ---- batches -----------------------------------------------------------------------------------------------------

int64_t Batch::max_length() const {
    int64_t longest = 0;
    for (size_t s = 0; s + 1 < seq_start.size(); s++) {
        longest = std::max(longest, seq_start[s + 1] - seq_start[s]);
    }
    return longest;
}

void Batch::add_sequence(const std::vector<int32_t>& sequence, int64_t first_position) {
    for (size_t t = 0; t < sequence.size(); t++) {
        ids.push_back(sequence[t]);
        positions.push_back(static_cast<int32_t>(first_position + static_cast<int64_t>(t)));
    }
    seq_start.push_back(static_cast<int64_t>(ids.size()));
}

// ---- parameters --------------------------------------------------------------------------------------------------

Transformer::Transformer(Kernels& kernels, const ModelConfig& config, Train train, const LoraConfig& lora,
                         const ModelFile* file)
    : kernels_(&kernels), config_(config), train_(train), lora_(lora), weights_(kernels), adapter_(kernels),
      grads_(kernels), ids_(kernels), positions_(kernels), rows_(kernels), targets_(kernels), slot_(kernels),
      length_(kernels), cache_rows_(kernels), best_(kernels), seq_start_(kernels), soft_targets_(kernels),
      rope_table_(kernels), packed_{Packed(kernels), Packed(kernels)}, cache_(kernels) {
    validate(config, "model");
    CHECK(train != Train::adapter || lora.r > 0, "training an adapter needs a rank of at least 1");
    register_parameters(lora);
    if (file != nullptr) {
        stored_ = file->tensors;
        load_tensors(weights_, stored_, train != Train::everything, file->path);
    } else {
        weights_.allocate();
    }
    adapter_.allocate();
    if (train != Train::nothing) {
        grads_.add_like(trained());
        grads_.allocate();
    }
    head_ = weights_.at(head_name()).matrix;
    for (int64_t l = 0; l < config_.layers; l++) {
        Block& block = blocks_[static_cast<size_t>(l)];
        for (Linear* layer : block.linears()) {
            bind(*layer);
        }
        const auto bind_norm = [&](real*& weight, real*& dweight, const char* what) {
            const std::string name = layer_name(l, what);
            weight = weights_.at(name).data;
            dweight = train == Train::everything ? grads_.at(name).data : nullptr;
        };
        bind_norm(block.norm1, block.dnorm1, "input_layernorm.weight");
        bind_norm(block.norm2, block.dnorm2, "post_attention_layernorm.weight");
        if (config_.qk_norm) {
            bind_norm(block.q_norm, block.dq_norm, "self_attn.q_norm.weight");
            bind_norm(block.k_norm, block.dk_norm, "self_attn.k_norm.weight");
        }
    }
}

Transformer::~Transformer() = default;

std::string Transformer::head_name() const { return config_.tied ? "model.embed_tokens.weight" : "lm_head.weight"; }

// Frozen weights are packed once, as passes of many rows or of few read them. Passes read them as they are where that would
// take more than kPackedLimit.
void Transformer::pack_weights(Rows rows) {
    Packed& packed = packed_[rows == Rows::few];
    if (packed.is_done || train_ == Train::everything) {
        return;
    }
    packed.is_done = true;
    std::vector<std::pair<Matrix*, std::pair<int64_t, int64_t>>> all = {{&head_, {config_.vocab, config_.channels}}};
    for (Block& block : blocks_) {
        for (Linear* layer : block.linears()) {
            all.push_back({&layer->weight, {layer->out, layer->in}});
        }
    }
    size_t bytes = 0;
    for (const auto& [matrix, shape] : all) {
        bytes += kernels_->packed_bytes(rows, *matrix, shape.first, shape.second);
    }
    if (bytes == 0 || bytes > kPackedLimit) {
        return;
    }
    uint8_t* at = packed.weights.reserve(static_cast<int64_t>(bytes));
    for (const auto& [matrix, shape] : all) {
        const size_t matrix_bytes = kernels_->packed_bytes(rows, *matrix, shape.first, shape.second);
        if (matrix_bytes > 0) {
            kernels_->pack(rows, at, *matrix, shape.first, shape.second);
            (rows == Rows::few ? matrix->packed_few : matrix->packed) = at;
            at += matrix_bytes;
        }
    }
}

// Every parameter with its shape, in the order data flows.
void Transformer::register_parameters(const LoraConfig& lora) {
    const ModelConfig& c = config_;
    const int64_t QC = c.heads * c.head_size;     // width of q and of the attention output, not always C
    const int64_t KC = c.kv_heads * c.head_size;  // width of k and v
    weights_.add("model.embed_tokens.weight", {c.vocab, c.channels});
    for (int64_t l = 0; l < c.layers; l++) {
        Block block;
        weights_.add(layer_name(l, "input_layernorm.weight"), {c.channels});
        block.q = make_linear(layer_name(l, "self_attn.q_proj"), c.channels, QC, c.qkv_bias);
        block.k = make_linear(layer_name(l, "self_attn.k_proj"), c.channels, KC, c.qkv_bias);
        block.v = make_linear(layer_name(l, "self_attn.v_proj"), c.channels, KC, c.qkv_bias);
        block.o = make_linear(layer_name(l, "self_attn.o_proj"), QC, c.channels, c.o_bias);
        if (c.qk_norm) {
            weights_.add(layer_name(l, "self_attn.q_norm.weight"), {c.head_size});
            weights_.add(layer_name(l, "self_attn.k_norm.weight"), {c.head_size});
        }
        weights_.add(layer_name(l, "post_attention_layernorm.weight"), {c.channels});
        block.gate = make_linear(layer_name(l, "mlp.gate_proj"), c.channels, c.ffn, c.mlp_bias);
        block.up = make_linear(layer_name(l, "mlp.up_proj"), c.channels, c.ffn, c.mlp_bias);
        block.down = make_linear(layer_name(l, "mlp.down_proj"), c.ffn, c.channels, c.mlp_bias);
        blocks_.push_back(block);
    }
    weights_.add("model.norm.weight", {c.channels});
    if (!c.tied) {
        weights_.add("lm_head.weight", {c.vocab, c.channels});
    }
    if (lora.r > 0) {
        attach_adapter(lora);
    }
}

void check_fits(const LoraConfig& lora, const ModelConfig& config, const std::string& where) {
    std::vector<std::string> unmatched = lora.target_modules;
    bool is_somewhere = false;
    for (int64_t l = 0; l < config.layers; l++) {
        for (const LinearShape& shape : linear_shapes(config)) {
            const std::string name = layer_name(l, shape.module);
            std::erase_if(unmatched, [&](const std::string& target) { return name == target || name.ends_with("." + target); });
            is_somewhere = is_somewhere || lora.applies_to(name, l);
        }
    }
    CHECK(unmatched.empty(), "%s: target_modules has %s, which is no layer of this model", where.c_str(), unmatched[0].c_str());
    for (const int64_t layer : lora.layers_to_transform) {
        CHECK(layer < config.layers, "%s: layers_to_transform has %lld, the model has %lld layers", where.c_str(),
              static_cast<long long>(layer), static_cast<long long>(config.layers));
    }
    CHECK(is_somewhere, "%s: exclude_modules leaves no layer of target_modules", where.c_str());
}

// Adds A and B of every layer that the adapter sits on.
void Transformer::attach_adapter(const LoraConfig& lora) {
    validate(lora, "adapter");
    check_fits(lora, config_, "adapter");
    for (int64_t l = 0; l < config_.layers; l++) {
        for (Linear* layer : blocks_[static_cast<size_t>(l)].linears()) {
            if (lora.applies_to(layer->name, l)) {
                layer->r = lora.rank_of(layer->name);
                layer->scale = static_cast<real>(lora.scale_of(layer->name));
                adapter_.add("base_model.model." + layer->name + ".lora_A.weight", {layer->r, layer->in});
                adapter_.add("base_model.model." + layer->name + ".lora_B.weight", {layer->out, layer->r});
            }
        }
    }
}

Linear Transformer::make_linear(const std::string& name, int64_t in, int64_t out, bool bias) {
    Linear layer;
    layer.name = name;
    layer.in = in;
    layer.out = out;
    weights_.add(name + ".weight", {out, in});
    if (bias) {
        weights_.add(name + ".bias", {out});
    }
    return layer;
}

// Points a layer at its tensors, and at their gradients where they are trained.
void Transformer::bind(Linear& layer) {
    const auto data = [](const Arena& arena, const std::string& name) {
        const Tensor* t = arena.find(name);
        return t == nullptr ? nullptr : t->data;
    };
    layer.weight = weights_.at(layer.name + ".weight").matrix;
    layer.bias = data(weights_, layer.name + ".bias");
    layer.dweight = data(grads_, layer.name + ".weight");
    layer.dbias = data(grads_, layer.name + ".bias");
    const std::string lora = "base_model.model." + layer.name;
    layer.lora_a = data(adapter_, lora + ".lora_A.weight");
    layer.lora_b = data(adapter_, lora + ".lora_B.weight");
    layer.dlora_a = data(grads_, lora + ".lora_A.weight");
    layer.dlora_b = data(grads_, lora + ".lora_B.weight");
}

void Transformer::init_weights(Rng& rng) {
    const double residual = 1.0 / std::sqrt(2.0 * static_cast<double>(config_.layers));
    for (const Tensor& t : weights_.tensors()) {
        std::vector<real> host(static_cast<size_t>(t.numel));
        const bool norm = t.name.find("norm.weight") != std::string::npos;
        const bool bias = t.name.ends_with(".bias");
        const bool into_residual = t.name.ends_with("o_proj.weight") || t.name.ends_with("down_proj.weight");
        const double fan_in = static_cast<double>(t.shape.back());
        const bool embedding = !config_.tied && t.name == "model.embed_tokens.weight";
        const double std = bias ? 0.0 : embedding ? 1.0 : (into_residual ? residual : 1.0) / std::sqrt(fan_in);
        for (real& x : host) {
            x = static_cast<real>(norm ? 1.0 : std * rng.normal());
        }
        kernels_->upload(t.data, host.data(), host.size() * sizeof(real));
    }
}

void Transformer::init_adapter(Rng& rng) {
    adapter_.zero();
    for (const Tensor& t : adapter_.tensors()) {
        if (t.name.ends_with("lora_A.weight")) {
            const double bound = 1.0 / std::sqrt(static_cast<double>(t.shape[1]));
            std::vector<real> host(static_cast<size_t>(t.numel));
            for (real& x : host) {
                x = static_cast<real>(bound * (2.0 * rng.uniform() - 1.0));
            }
            kernels_->upload(t.data, host.data(), host.size() * sizeof(real));
        }
    }
}

void Transformer::use_adapter(bool on) {
    uses_adapter_ = on;
    for (Block& block : blocks_) {
        for (Linear* layer : block.linears()) {
            layer->r = on && layer->lora_a != nullptr ? lora_.rank_of(layer->name) : 0;
        }
    }
}

// ---- buffers -----------------------------------------------------------------------------------------------------

// Makes room for N rows of which M are scored. Training keeps the input and the activations of every layer, or, to compute
// the activations again, the inputs alone; otherwise one set serves all layers, and the residual stream is updated in place.
void Transformer::plan(int64_t N, int64_t M, bool training) {
    if (activations_ != nullptr && N <= planned_rows_ && M <= planned_scored_ && training <= planned_training_) {
        return;
    }
    planned_rows_ = N = std::max(N, planned_rows_);
    planned_scored_ = M = std::max(M, planned_scored_);
    planned_training_ = training = training || planned_training_;
    const int64_t C = config_.channels, QC = config_.heads * config_.head_size;
    const int64_t KC = config_.kv_heads * config_.head_size, F = config_.ffn, R = lora_.largest_rank();
    const bool qk_norm = config_.qk_norm;

    activations_.reset(); // the old buffers go before the new ones come
    activations_ = std::make_unique<Arena>(*kernels_);
    std::vector<std::pair<real**, const Tensor*>> links;
    const auto want = [&](real** where, const std::string& name, const std::vector<int64_t>& shape) {
        links.emplace_back(where, &activations_->add(name, shape));
    };
    acts_.assign(training && !recompute_ ? static_cast<size_t>(config_.layers) : 1, Acts());
    x_.assign(static_cast<size_t>(config_.layers) + 1, nullptr);
    for (size_t l = 0; l < (training ? x_.size() : 1); l++) {
        want(&x_[l], format("x_%zu", l), {N, C});
    }
    for (size_t l = 0; l < acts_.size(); l++) {
        Acts& a = acts_[l];
        const std::string p = format("layers.%zu.", l);
        want(&a.rstd1, p + "rstd1", {N});
        want(&a.q, p + "q", {N, QC});
        want(&a.k, p + "k", {N, KC});
        if (qk_norm) {
            want(&a.q_proj, p + "q_proj", {N, QC});
            want(&a.k_proj, p + "k_proj", {N, KC});
            want(&a.rstd_q, p + "rstd_q", {N, config_.heads});
            want(&a.rstd_k, p + "rstd_k", {N, config_.kv_heads});
        }
        want(&a.v, p + "v", {N, KC});
        want(&a.att, p + "att", {N, QC});
        want(&a.lse, p + "lse", {N, config_.heads});
        want(&a.mid, p + "mid", {N, C});
        want(&a.rstd2, p + "rstd2", {N});
        want(&a.gate, p + "gate", {N, F});
        want(&a.up, p + "up", {N, F});
        want(&a.low_q, p + "low_q", {N, R});
        want(&a.low_k, p + "low_k", {N, R});
        want(&a.low_v, p + "low_v", {N, R});
        want(&a.low_o, p + "low_o", {N, R});
        want(&a.low_gate, p + "low_gate", {N, R});
        want(&a.low_up, p + "low_up", {N, R});
        want(&a.low_down, p + "low_down", {N, R});
    }
    want(&n_, "n", {N, C});
    want(&act_, "act", {N, F});
    want(&picked_, "picked", {M, C});
    want(&normed_, "normed", {M, C});
    want(&rstd_, "rstd", {M});
    want(&losses_, "losses", {M});
    want(&logits_, "logits", {std::min(M, kLossChunk), config_.vocab});
    if (training) {
        want(&dnormed_, "dnormed", {M, C});
        want(&dpicked_, "dpicked", {M, C});
        want(&dx_, "dx", {N, C});
        want(&dnorm_, "dnorm", {N, C});
        want(&dq_, "dq", {N, QC});
        want(&dk_, "dk", {N, KC});
        if (qk_norm) {
            want(&dq_proj_, "dq_proj", {N, QC});
            want(&dk_proj_, "dk_proj", {N, KC});
        }
        want(&dv_, "dv", {N, KC});
        want(&datt_, "datt", {N, QC});
        want(&dact_, "dact", {N, F});
        want(&dgate_, "dgate", {N, F});
        want(&dup_, "dup", {N, F});
        for (int i = 0; i < kMaxProducts; i++) {
            want(&dlow_[i], format("dlow_%d", i), {N, R});
        }
    }
    activations_->allocate();
    for (const auto& [where, tensor] : links) {
        *where = tensor->data;
    }
    if (!qk_norm) { // the projections are q and k themselves
        for (Acts& a : acts_) {
            a.q_proj = a.q;
            a.k_proj = a.k;
        }
        dq_proj_ = dq_;
        dk_proj_ = dk_;
    }
    if (!training) {
        x_.assign(x_.size(), x_[0]); // in place: each layer writes where it read
    }
}

// cos(p f_i) and sin(p f_i) of every position p.
void Transformer::grow_rope_table(int64_t positions) {
    CHECK(positions <= config_.max_positions,
          "a sequence of %lld tokens is longer than the %lld positions of the model (max_position_embeddings)",
          static_cast<long long>(positions), static_cast<long long>(config_.max_positions));
    if (positions <= rope_positions_) {
        return;
    }
    positions = std::min(config_.max_positions, std::max(positions, 2 * rope_positions_));
    const int64_t HS = config_.head_size;
    std::vector<real> table(static_cast<size_t>(positions * HS));
    for (int64_t i = 0; i < HS / 2; i++) {
        const double f = rope_frequency(config_, i);
        for (int64_t p = 0; p < positions; p++) {
            const double angle = static_cast<double>(p) * f;
            table[static_cast<size_t>(p * HS + i)] = static_cast<real>(std::cos(angle));
            table[static_cast<size_t>(p * HS + HS / 2 + i)] = static_cast<real>(std::sin(angle));
        }
    }
    rope_table_.upload(table);
    rope_positions_ = positions;
}

// Checks a batch and brings it to the device.
Transformer::Pass Transformer::begin(const Batch& batch, bool training) {
    Pass pass;
    pass.N = batch.tokens();
    pass.M = static_cast<int64_t>(batch.rows.size());
    pass.training = training;
    CHECK(batch.positions.size() == batch.ids.size() && batch.seq_start.back() == pass.N,
          "a batch of %lld tokens has offsets up to %lld", static_cast<long long>(pass.N),
          static_cast<long long>(batch.seq_start.back()));
    int32_t last = 0;
    for (const int32_t p : batch.positions) {
        last = std::max(last, p);
    }
    for (const int32_t id : batch.ids) {
        CHECK(id >= 0 && id < config_.vocab, "token id %d is not in the vocabulary of %lld", id,
              static_cast<long long>(config_.vocab));
    }
    for (const int32_t id : batch.targets) {
        CHECK(id >= 0 && id < config_.vocab, "label %d is not in the vocabulary of %lld", id,
              static_cast<long long>(config_.vocab));
    }
    for (const int32_t row : batch.rows) {
        CHECK(row >= 0 && row < pass.N, "row %d is not in a batch of %lld rows", row,
              static_cast<long long>(pass.N));
    }
    grow_rope_table(last + 1);
    plan(pass.N, pass.M, training);
    pass.ids = ids_.upload(batch.ids);
    pass.positions = positions_.upload(batch.positions);
    pass.rows = rows_.upload(batch.rows);
    pass.targets = targets_.upload(batch.targets);
    pass.soft_targets = batch.soft_targets.empty() ? nullptr : batch.soft_targets.data(); // score() uploads its chunks
    pass.seq.start = seq_start_.upload(batch.seq_start);
    pass.seq.count = static_cast<int64_t>(batch.seq_start.size()) - 1;
    pass.seq.max_length = batch.max_length();
    return pass;
}

} // namespace skintern
