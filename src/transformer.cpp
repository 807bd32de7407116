// transformer.cpp — see transformer.h for the equations. Read in order: parameters, buffers, forward, loss, backward,
// generation. Shapes: N packed rows, M scored rows, C channels, NH/NKV heads of HS, F feed-forward, R adapter rank.
#include "transformer.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "rope.h"
#include "weights.h"

namespace skintern {

namespace {

// Rows of logits that exist at a time: (kLossChunk, V).
constexpr int64_t kLossChunk = 512;
// Of memory that packed weights may take beside the weights themselves.
constexpr size_t kPackedLimit = size_t{4} << 30;

std::string layer_name(int64_t l, const char* what) {
    return format("model.layers.%lld.%s", static_cast<long long>(l), what);
}

} // namespace

// One layer's parameters.
struct Transformer::Block {
    Linear q, k, v, o, gate, up, down;
    real* norm1 = nullptr;  // (C) before attention
    real* norm2 = nullptr;  // (C) before the feed-forward
    real* dnorm1 = nullptr; // (C), null: frozen
    real* dnorm2 = nullptr;
    real *q_norm = nullptr, *k_norm = nullptr;   // (HS) of each head, null: not normed
    real *dq_norm = nullptr, *dk_norm = nullptr; // (HS), null: frozen

    std::vector<Linear*> linears() { return {&q, &k, &v, &o, &gate, &up, &down}; }
};

// One layer's activations, kept for its backward pass. What one cheap op makes of them (the norms of x and mid, and
// silu(gate) * up: a third of the memory) is not kept but computed again there.
struct Transformer::Acts {
    real* x = nullptr;     // (N,C) the residual stream that comes in
    real* rstd1 = nullptr; // (N)
    real *q_proj = nullptr, *k_proj = nullptr; // (N,NH*HS), (N,NKV*HS) before the norm; q and k where there is none
    real *rstd_q = nullptr, *rstd_k = nullptr; // (N,NH), (N,NKV)
    real* q = nullptr;     // (N,NH*HS) normed and rotated
    real* k = nullptr;     // (N,NKV*HS) normed and rotated
    real* v = nullptr;     // (N,NKV*HS)
    real* att = nullptr;   // (N,NH*HS)
    real* lse = nullptr;   // (N,NH)
    real* mid = nullptr;   // (N,C) the residual stream after attention
    real* rstd2 = nullptr; // (N)
    real* gate = nullptr;  // (N,F)
    real* up = nullptr;    // (N,F)
    real *low_q = nullptr, *low_k = nullptr, *low_v = nullptr, *low_o = nullptr;           // (N,R) s x A^T of each
    real *low_gate = nullptr, *low_up = nullptr, *low_down = nullptr;                      // adapter
};

// One pass over a batch: its inputs on the device.
struct Transformer::Pass {
    int64_t N = 0;
    int64_t M = 0;
    bool training = false;
    const int32_t* ids = nullptr;        // (N)
    const int32_t* positions = nullptr;  // (N)
    const int32_t* rows = nullptr;       // (M)
    const int32_t* targets = nullptr;    // (M)
    Sequences seq = {};
    const int32_t* slot = nullptr;       // (S), with a cache
    const int32_t* length = nullptr;     // (S), with a cache
    const int32_t* cache_rows = nullptr; // (N) slot * capacity + position, with a cache
};

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
      length_(kernels), cache_rows_(kernels), best_(kernels), seq_start_(kernels), rope_table_(kernels), packed_(kernels),
      cache_(kernels) {
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

// Frozen weights are packed once, as passes of many rows read them. Passes pack for themselves where that would take more
// than kPackedLimit.
void Transformer::pack_weights() {
    if (weights_are_packed_ || train_ == Train::everything) {
        return;
    }
    weights_are_packed_ = true;
    std::vector<std::pair<Matrix*, std::pair<int64_t, int64_t>>> all = {{&head_, {config_.vocab, config_.channels}}};
    for (Block& block : blocks_) {
        for (Linear* layer : block.linears()) {
            all.push_back({&layer->weight, {layer->out, layer->in}});
        }
    }
    size_t bytes = 0;
    for (const auto& [matrix, shape] : all) {
        bytes += kernels_->packed_bytes(shape.first, shape.second);
    }
    if (bytes == 0 || bytes > kPackedLimit) {
        return;
    }
    uint8_t* at = packed_.reserve(static_cast<int64_t>(bytes));
    for (const auto& [matrix, shape] : all) {
        kernels_->pack(at, *matrix, shape.first, shape.second);
        matrix->packed = at;
        at += kernels_->packed_bytes(shape.first, shape.second);
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

// Adds A and B of every layer that the adapter sits on. What it asks for and this model does not have is an error.
void Transformer::attach_adapter(const LoraConfig& lora) {
    validate(lora, "adapter");
    std::vector<std::string> unmatched = lora.target_modules;
    for (int64_t l = 0; l < config_.layers; l++) {
        for (Linear* layer : blocks_[static_cast<size_t>(l)].linears()) {
            std::erase_if(unmatched, [&](const std::string& target) {
                return layer->name == target || layer->name.ends_with("." + target);
            });
            if (lora.applies_to(layer->name, l)) {
                layer->r = lora.rank_of(layer->name);
                layer->scale = static_cast<real>(lora.scale_of(layer->name));
                adapter_.add("base_model.model." + layer->name + ".lora_A.weight", {layer->r, layer->in});
                adapter_.add("base_model.model." + layer->name + ".lora_B.weight", {layer->out, layer->r});
            }
        }
    }
    CHECK(unmatched.empty(), "adapter: target_modules has %s, which is no layer of this model", unmatched[0].c_str());
    for (const int64_t layer : lora.layers_to_transform) {
        CHECK(layer < config_.layers, "adapter: layers_to_transform has %lld, the model has %lld layers",
              static_cast<long long>(layer), static_cast<long long>(config_.layers));
    }
    CHECK(!adapter_.tensors().empty(), "adapter: exclude_modules leaves no layer of target_modules");
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
    for (Block& block : blocks_) {
        for (Linear* layer : block.linears()) {
            layer->r = on && layer->lora_a != nullptr ? lora_.rank_of(layer->name) : 0;
        }
    }
}

// ---- buffers -----------------------------------------------------------------------------------------------------

// Makes room for N rows of which M are scored. Training keeps the activations of every layer; otherwise one set
// serves all layers, and the residual stream is updated in place.
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
    acts_.assign(training ? static_cast<size_t>(config_.layers) : 1, Acts());
    for (size_t l = 0; l < acts_.size(); l++) {
        Acts& a = acts_[l];
        const std::string p = format("layers.%zu.", l);
        want(&a.x, p + "x", {N, C});
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
    want(&x_last_, "x_last", {training ? N : 0, C});
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
        x_last_ = acts_[0].x; // in place: the last layer writes where the first one read
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
    pass.seq.start = seq_start_.upload(batch.seq_start);
    pass.seq.count = static_cast<int64_t>(batch.seq_start.size()) - 1;
    pass.seq.max_length = batch.max_length();
    return pass;
}

// ---- forward -----------------------------------------------------------------------------------------------------

void Transformer::forward(Pass& pass) {
    const int64_t C = config_.channels;
    kernels_->gather_rows(acts_[0].x, weights_.at("model.embed_tokens.weight").matrix, pass.ids, pass.N, C);
    note("embed", acts_[0].x, {pass.N, C});
    for (int64_t l = 0; l < config_.layers; l++) {
        block_forward(l, pass);
    }
    // The last norm is row-wise, so only rows that are scored need it.
    kernels_->gather_rows(picked_, x_last_, pass.rows, pass.M, C);
    kernels_->rmsnorm_forward(normed_, rstd_, picked_, weights_.at("model.norm.weight").data, pass.M, C,
                              static_cast<real>(config_.norm_eps));
    note("norm", normed_, {pass.M, C});
}

void Transformer::block_forward(int64_t l, const Pass& pass) {
    const Block& w = blocks_[static_cast<size_t>(l)];
    const bool shared = acts_.size() == 1;
    const Acts& a = acts_[shared ? 0 : static_cast<size_t>(l)];
    real* x_next = shared || l + 1 == config_.layers ? x_last_ : acts_[static_cast<size_t>(l) + 1].x;
    const int64_t N = pass.N, C = config_.channels, NH = config_.heads, NKV = config_.kv_heads;
    const int64_t HS = config_.head_size, F = config_.ffn;
    const real eps = static_cast<real>(config_.norm_eps);
    const std::string p = format("layers.%lld.", static_cast<long long>(l));

    kernels_->rmsnorm_forward(n_, a.rstd1, a.x, w.norm1, N, C, eps);
    linear_forward(*kernels_, {{&w.q, a.q_proj, a.low_q}, {&w.k, a.k_proj, a.low_k}, {&w.v, a.v, a.low_v}}, n_, N);
    if (config_.qk_norm) { // a head is a row
        note(p + "q_proj", a.q_proj, {N, NH, HS});
        note(p + "k_proj", a.k_proj, {N, NKV, HS});
        kernels_->rmsnorm_forward(a.q, a.rstd_q, a.q_proj, w.q_norm, N * NH, HS, eps);
        kernels_->rmsnorm_forward(a.k, a.rstd_k, a.k_proj, w.k_norm, N * NKV, HS, eps);
    }
    kernels_->rope(a.q, rope_table_.data(), pass.positions, N, NH, HS, false);
    kernels_->rope(a.k, rope_table_.data(), pass.positions, N, NKV, HS, false);
    note(p + "norm1", n_, {N, C});
    note(p + "q", a.q, {N, NH, HS});
    note(p + "k", a.k, {N, NKV, HS});
    note(p + "v", a.v, {N, NKV, HS});
    if (pass.slot != nullptr) {
        uint8_t* keys = cached(l, 0);
        uint8_t* values = cached(l, 1);
        kernels_->scatter_rows(keys, cache_type_, a.k, pass.cache_rows, N, NKV * HS);
        kernels_->scatter_rows(values, cache_type_, a.v, pass.cache_rows, N, NKV * HS);
        kernels_->attention_cached(a.att, a.q, {keys, cache_type_}, {values, cache_type_}, pass.slot, pass.length,
                                   pass.seq, cache_capacity_, NH, NKV, HS);
    } else {
        kernels_->attention_forward(a.att, a.lse, a.q, a.k, a.v, pass.seq, NH, NKV, HS);
    }
    note(p + "attention", a.att, {N, NH, HS});
    linear_forward(*kernels_, {{&w.o, a.mid, a.low_o, a.x}}, a.att, N); // mid = x + O(att)
    note(p + "mid", a.mid, {N, C});

    kernels_->rmsnorm_forward(n_, a.rstd2, a.mid, w.norm2, N, C, eps);
    linear_forward(*kernels_, {{&w.gate, a.gate, a.low_gate}, {&w.up, a.up, a.low_up}}, n_, N);
    kernels_->swiglu_forward(act_, a.gate, a.up, N * F);
    note(p + "norm2", n_, {N, C});
    note(p + "gate", a.gate, {N, F});
    note(p + "up", a.up, {N, F});
    note(p + "act", act_, {N, F});
    linear_forward(*kernels_, {{&w.down, x_next, a.low_down, a.mid}}, act_, N); // x_next = mid + D(act)
    note(p + "out", x_next, {N, C});
}

// ---- loss --------------------------------------------------------------------------------------------------------

// Logits and loss of the scored rows, kLossChunk rows at a time; with scale != 0 also the gradients of the output
// layer and of normed_. Returns the sum of losses; `losses` (M) may be null.
double Transformer::score(const Pass& pass, real* losses, double scale) {
    const int64_t C = config_.channels, V = config_.vocab;
    const Tensor* dweight = grads_.find(head_name());
    for (int64_t m = 0; m < pass.M; m += kLossChunk) {
        const int64_t rows = std::min(kLossChunk, pass.M - m);
        const real* normed_m = normed_ + m * C;
        kernels_->matmul(Layout::nt, logits_, normed_m, head_, rows, V, C, 1, false);
        note("logits", logits_, {rows, V});
        kernels_->cross_entropy(losses_ + m, logits_, pass.targets + m, rows, V, static_cast<real>(scale));
        if (scale != 0) {
            // forward: logits = normed W^T        backward: dnormed = dlogits W, dW += dlogits^T normed
            note("dlogits", logits_, {rows, V});
            kernels_->matmul(Layout::nn, dnormed_ + m * C, logits_, head_, rows, C, V, 1, false);
            if (dweight != nullptr) {
                kernels_->matmul(Layout::tn, dweight->data, logits_, normed_m, V, C, rows, 1, true);
            }
        }
    }
    const std::vector<real> host = download(*kernels_, losses_, pass.M);
    double sum = 0;
    for (size_t m = 0; m < host.size(); m++) {
        sum += static_cast<double>(host[m]);
        if (losses != nullptr) {
            losses[m] = host[m];
        }
    }
    return sum;
}

std::vector<real> Transformer::losses(const Batch& batch) {
    CHECK(batch.targets.size() == batch.rows.size(), "%zu rows are scored against %zu targets", batch.rows.size(),
          batch.targets.size());
    Pass pass = begin(batch, false);
    forward(pass);
    std::vector<real> out(batch.rows.size());
    score(pass, out.data(), 0);
    return out;
}

std::vector<real> Transformer::logits(const Batch& batch) {
    Pass pass = begin(batch, false);
    forward(pass);
    const int64_t C = config_.channels, V = config_.vocab;
    std::vector<real> out(static_cast<size_t>(pass.M * V));
    for (int64_t m = 0; m < pass.M; m += kLossChunk) {
        const int64_t rows = std::min(kLossChunk, pass.M - m);
        kernels_->matmul(Layout::nt, logits_, normed_ + m * C, head_, rows, V, C, 1, false);
        note("logits", logits_, {rows, V});
        kernels_->download(out.data() + m * V, logits_, static_cast<size_t>(rows * V) * sizeof(real));
    }
    return out;
}

// ---- backward ----------------------------------------------------------------------------------------------------

double Transformer::forward_backward(const Batch& batch, double scale) {
    CHECK(train_ != Train::nothing, "this model was loaded without gradients");
    CHECK(batch.targets.size() == batch.rows.size(), "%zu rows are scored against %zu targets", batch.rows.size(),
          batch.targets.size());
    Pass pass = begin(batch, true);
    forward(pass);
    const double loss = score(pass, nullptr, scale);

    const int64_t N = pass.N, M = pass.M, C = config_.channels;
    const Tensor* dnorm_weight = grads_.find("model.norm.weight");
    // forward: normed = rmsnorm(picked), picked = x_last[rows]
    kernels_->zero(dpicked_, static_cast<size_t>(M * C) * sizeof(real));
    kernels_->rmsnorm_backward(dpicked_, dnorm_weight == nullptr ? nullptr : dnorm_weight->data, dnormed_, picked_,
                               weights_.at("model.norm.weight").data, rstd_, M, C);
    kernels_->zero(dx_, static_cast<size_t>(N * C) * sizeof(real));
    kernels_->scatter_add_rows(dx_, dpicked_, pass.rows, M, C);
    for (int64_t l = config_.layers - 1; l >= 0; l--) {
        note(format("layers.%lld.dout", static_cast<long long>(l)), dx_, {N, C});
        block_backward(l, pass);
    }
    if (train_ == Train::everything) {
        // forward: x_0 = E[ids]
        note("dembed", dx_, {N, C});
        kernels_->scatter_add_rows(grads_.at("model.embed_tokens.weight").data, dx_, pass.ids, N, C);
    }
    return loss;
}

// dx_ holds the gradient of the layer's output and is turned into that of its input.
void Transformer::block_backward(int64_t l, const Pass& pass) {
    const Block& w = blocks_[static_cast<size_t>(l)];
    const Acts& a = acts_[static_cast<size_t>(l)];
    const int64_t N = pass.N, C = config_.channels, NH = config_.heads, NKV = config_.kv_heads;
    const int64_t HS = config_.head_size, F = config_.ffn;
    const real eps = static_cast<real>(config_.norm_eps);
    const std::string p = format("layers.%lld.", static_cast<long long>(l));

    // forward: x_next = mid + D(act), act = silu(G n2) * (U n2), n2 = rmsnorm(mid)
    kernels_->swiglu_forward(act_, a.gate, a.up, N * F); // again: see Acts
    linear_backward(*kernels_, {{&w.down, dlow_[0], dx_, a.low_down}}, dact_, act_, N);
    kernels_->swiglu_backward(dgate_, dup_, dact_, a.gate, a.up, N * F);
    kernels_->rmsnorm_forward(n_, a.rstd2, a.mid, w.norm2, N, C, eps); // again
    linear_backward(*kernels_, {{&w.gate, dlow_[0], dgate_, a.low_gate}, {&w.up, dlow_[1], dup_, a.low_up}}, dnorm_, n_,
                    N);
    kernels_->rmsnorm_backward(dx_, w.dnorm2, dnorm_, a.mid, w.norm2, a.rstd2, N, C);
    note(p + "dact", dact_, {N, F});
    note(p + "dmid", dx_, {N, C});

    // forward: mid = x + O(att), att = attention(rope(norm(Q n1)), rope(norm(K n1)), V n1), n1 = rmsnorm(x)
    linear_backward(*kernels_, {{&w.o, dlow_[0], dx_, a.low_o}}, datt_, a.att, N);
    kernels_->attention_backward(dq_, dk_, dv_, datt_, a.q, a.k, a.v, a.att, a.lse, pass.seq, NH, NKV, HS);
    kernels_->rope(dq_, rope_table_.data(), pass.positions, N, NH, HS, true);
    kernels_->rope(dk_, rope_table_.data(), pass.positions, N, NKV, HS, true);
    note(p + "dattention", datt_, {N, NH, HS});
    note(p + "dq", dq_, {N, NH, HS});
    note(p + "dk", dk_, {N, NKV, HS});
    note(p + "dv", dv_, {N, NKV, HS});
    if (config_.qk_norm) {
        // forward: q = rmsnorm(q_proj) of each head, k alike; rmsnorm_backward adds
        kernels_->zero(dq_proj_, static_cast<size_t>(N * NH * HS) * sizeof(real));
        kernels_->zero(dk_proj_, static_cast<size_t>(N * NKV * HS) * sizeof(real));
        kernels_->rmsnorm_backward(dq_proj_, w.dq_norm, dq_, a.q_proj, w.q_norm, a.rstd_q, N * NH, HS);
        kernels_->rmsnorm_backward(dk_proj_, w.dk_norm, dk_, a.k_proj, w.k_norm, a.rstd_k, N * NKV, HS);
        note(p + "dq_proj", dq_proj_, {N, NH, HS});
        note(p + "dk_proj", dk_proj_, {N, NKV, HS});
    }
    // Below the first layer there is only the embedding: with an adapter nothing there is trained.
    real* dnorm = l > 0 || train_ == Train::everything ? dnorm_ : nullptr;
    kernels_->rmsnorm_forward(n_, a.rstd1, a.x, w.norm1, N, C, eps); // again
    linear_backward(*kernels_,
                    {{&w.q, dlow_[0], dq_proj_, a.low_q},
                     {&w.k, dlow_[1], dk_proj_, a.low_k},
                     {&w.v, dlow_[2], dv_, a.low_v}},
                    dnorm, n_, N);
    if (dnorm != nullptr) {
        kernels_->rmsnorm_backward(dx_, w.dnorm1, dnorm, a.x, w.norm1, a.rstd1, N, C);
    }
}

// ---- generation --------------------------------------------------------------------------------------------------

void Transformer::start_cache(int64_t slots, int64_t capacity, WeightType type) {
    CHECK(type == WeightType::f32 || type == WeightType::bf16, "a cache of %s: it can be of F32 or BF16",
          weight_format(type).name);
    CHECK(slots * capacity <= INT32_MAX, "a cache of %lld sequences times %lld positions is too large",
          static_cast<long long>(slots), static_cast<long long>(capacity));
    if (type == cache_type_ && slots <= cache_slots_ && capacity <= cache_capacity_) {
        return;
    }
    cache_type_ = type;
    cache_slots_ = slots;
    cache_capacity_ = capacity;
    cache_.reserve(2 * config_.layers * slots * capacity * row_bytes(type, config_.kv_heads * config_.head_size));
}

// Keys (0) or values (1) of layer l, (slots,capacity,NKV*HS).
uint8_t* Transformer::cached(int64_t l, int64_t which) {
    const int64_t position_bytes = row_bytes(cache_type_, config_.kv_heads * config_.head_size);
    return cache_.data() + (2 * l + which) * cache_slots_ * cache_capacity_ * position_bytes;
}

void Transformer::copy_cache(int64_t to, int64_t from, int64_t positions) {
    CHECK(to < cache_slots_ && from < cache_slots_ && positions <= cache_capacity_,
          "%lld positions of slot %lld do not fit a cache of %lld slots of %lld", static_cast<long long>(positions),
          static_cast<long long>(from), static_cast<long long>(cache_slots_), static_cast<long long>(cache_capacity_));
    const int64_t position_bytes = row_bytes(cache_type_, config_.kv_heads * config_.head_size);
    const int64_t slot_bytes = cache_capacity_ * position_bytes;
    for (int64_t l = 0; l < config_.layers; l++) {
        for (const int64_t which : {0, 1}) {
            kernels_->copy(cached(l, which) + to * slot_bytes, cached(l, which) + from * slot_bytes,
                           static_cast<size_t>(positions * position_bytes));
        }
    }
}

std::vector<int32_t> Transformer::next_tokens(const Batch& batch, const std::vector<int32_t>& slot,
                                              const std::vector<int32_t>& length) {
    std::vector<int32_t> cache_rows(batch.ids.size());
    for (size_t s = 0; s + 1 < batch.seq_start.size(); s++) {
        CHECK(slot[s] < cache_slots_ && length[s] <= cache_capacity_, "sequence %zu does not fit its cache slot", s);
        for (int64_t n = batch.seq_start[s]; n < batch.seq_start[s + 1]; n++) {
            const size_t i = static_cast<size_t>(n);
            cache_rows[i] = static_cast<int32_t>(slot[s] * cache_capacity_) + batch.positions[i];
        }
    }
    if (batch.tokens() > kFewRows) {
        pack_weights();
    }
    Pass pass = begin(batch, false);
    pass.slot = slot_.upload(slot);
    pass.length = length_.upload(length);
    pass.cache_rows = cache_rows_.upload(cache_rows);
    forward(pass);
    const int64_t C = config_.channels, V = config_.vocab;
    int32_t* best = best_.reserve(pass.M);
    for (int64_t m = 0; m < pass.M; m += kLossChunk) {
        const int64_t rows = std::min(kLossChunk, pass.M - m);
        kernels_->matmul(Layout::nt, logits_, normed_ + m * C, head_, rows, V, C, 1, false);
        kernels_->argmax_rows(best + m, logits_, rows, V);
    }
    std::vector<int32_t> out(batch.rows.size());
    if (!out.empty()) {
        kernels_->download(out.data(), best, out.size() * sizeof(int32_t));
    }
    return out;
}

void Transformer::note(const std::string& name, const real* data, const std::vector<int64_t>& shape) const {
    if (trace_) {
        trace_(name, data, shape);
    }
}

} // namespace skintern
