// transformer.cpp — see transformer.h for the equations. Read in order: forward, loss, backward, generation. What comes
// before (parameters, buffers) is in transformer_setup.cpp.
// Shapes: N packed rows, M scored rows, C channels, NH/NKV heads of HS, F feed-forward, R adapter rank.
#include <algorithm>
#include <utility>

#include "model/transformer_parts.h"
#include "support/check.h"

namespace skintern {

// ---- forward -----------------------------------------------------------------------------------------------------

void Transformer::forward(Pass& pass) {
    const int64_t C = config_.channels;
    kernels_->gather_rows(x_[0], weights_.at("model.embed_tokens.weight").matrix, pass.ids, pass.N, C);
    note("embed", x_[0], {pass.N, C});
    for (int64_t l = 0; l < config_.layers; l++) {
        block_forward(l, pass);
    }
    // The last norm is row-wise, so only rows that are scored need it.
    kernels_->gather_rows(picked_, x_.back(), pass.rows, pass.M, C);
    kernels_->rmsnorm_forward(normed_, rstd_, picked_, weights_.at("model.norm.weight").data, pass.M, C,
                              static_cast<real>(config_.norm_eps));
    note("norm", normed_, {pass.M, C});
}

void Transformer::block_forward(int64_t l, const Pass& pass) {
    const Block& w = blocks_[static_cast<size_t>(l)];
    const Acts& a = acts_[acts_.size() == 1 ? 0 : static_cast<size_t>(l)];
    const real* x = x_[static_cast<size_t>(l)];
    real* x_next = x_[static_cast<size_t>(l) + 1];
    const int64_t N = pass.N, C = config_.channels, NH = config_.heads, NKV = config_.kv_heads;
    const int64_t HS = config_.head_size, F = config_.ffn;
    const real eps = static_cast<real>(config_.norm_eps);
    const std::string p = format("layers.%lld.", static_cast<long long>(l));
    const WeightType operand = N > kFewRows ? operand_type() : WeightType::f32;
    const MatrixOut n = {n_, operand}, act = {act_, operand};

    kernels_->rmsnorm_forward(n, a.rstd1, x, w.norm1, N, C, eps);
    linear_forward(*kernels_, {{&w.q, a.q_proj, a.low_q}, {&w.k, a.k_proj, a.low_k}, {&w.v, a.v, a.low_v}}, n, N);
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
    linear_forward(*kernels_, {{&w.o, a.mid, a.low_o, x}}, a.att, N); // mid = x + O(att)
    note(p + "mid", a.mid, {N, C});

    kernels_->rmsnorm_forward(n, a.rstd2, a.mid, w.norm2, N, C, eps);
    linear_forward(*kernels_, {{&w.gate, a.gate, a.low_gate}, {&w.up, a.up, a.low_up}}, n, N);
    kernels_->swiglu_forward(act, a.gate, a.up, N * F);
    note(p + "norm2", n_, {N, C});
    note(p + "gate", a.gate, {N, F});
    note(p + "up", a.up, {N, F});
    note(p + "act", act_, {N, F});
    linear_forward(*kernels_, {{&w.down, x_next, a.low_down, a.mid}}, act, N); // x_next = mid + D(act)
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
        if (pass.soft_targets != nullptr) {
            real* target = soft_targets_.reserve(rows * V);
            kernels_->upload(target, pass.soft_targets + m * V, static_cast<size_t>(rows * V) * sizeof(real));
            kernels_->kl_divergence(losses_ + m, logits_, target, rows, V, static_cast<real>(scale));
        } else {
            kernels_->cross_entropy(losses_ + m, logits_, pass.targets + m, rows, V, static_cast<real>(scale));
        }
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

void Transformer::check_targets(const Batch& batch) const {
    const size_t V = static_cast<size_t>(config_.vocab);
    if (batch.soft_targets.empty()) {
        CHECK(batch.targets.size() == batch.rows.size(), "%zu rows are scored against %zu targets", batch.rows.size(),
              batch.targets.size());
    } else {
        CHECK(batch.soft_targets.size() == batch.rows.size() * V,
              "%zu rows of a vocabulary of %zu are scored against %zu logits of a teacher", batch.rows.size(), V,
              batch.soft_targets.size());
    }
}

std::vector<real> Transformer::losses(const Batch& batch) {
    check_targets(batch);
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

std::vector<real> Transformer::hidden(const Batch& batch) {
    Pass pass = begin(batch, false);
    forward(pass);
    return download(*kernels_, normed_, pass.M * config_.channels);
}

// ---- backward ----------------------------------------------------------------------------------------------------

double Transformer::forward_backward(const Batch& batch, double scale) {
    CHECK(train_ != Train::nothing, "this model was loaded without gradients");
    check_targets(batch);
    Pass pass = begin(batch, true);
    forward(pass);
    const double loss = score(pass, nullptr, scale);

    const int64_t N = pass.N, M = pass.M, C = config_.channels;
    const Tensor* dnorm_weight = grads_.find("model.norm.weight");
    // forward: normed = rmsnorm(picked), picked = x_last[rows]
    kernels_->zero(dpicked_, static_cast<size_t>(M * C) * sizeof(real));
    kernels_->rmsnorm_backward(dpicked_, dnorm_weight == nullptr ? nullptr : dnorm_weight->data, nullptr, dnormed_, picked_,
                               weights_.at("model.norm.weight").data, rstd_, M, C);
    kernels_->zero(dx_, static_cast<size_t>(N * C) * sizeof(real));
    kernels_->scatter_add_rows(dx_, dpicked_, pass.rows, M, C);
    for (int64_t l = config_.layers - 1; l >= 0; l--) {
        note(format("layers.%lld.dout", static_cast<long long>(l)), dx_, {N, C});
        if (acts_.size() == 1 && l + 1 < config_.layers) { // they are those of the layer above it
            const Trace heard = std::exchange(trace_, nullptr);
            block_forward(l, pass);
            trace_ = heard;
        }
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
    const Acts& a = acts_[acts_.size() == 1 ? 0 : static_cast<size_t>(l)];
    const real* x = x_[static_cast<size_t>(l)];
    const int64_t N = pass.N, C = config_.channels, NH = config_.heads, NKV = config_.kv_heads;
    const int64_t HS = config_.head_size, F = config_.ffn;
    const real eps = static_cast<real>(config_.norm_eps);
    const std::string p = format("layers.%lld.", static_cast<long long>(l));
    const MatrixOut n = {n_, operand_type()}, act = {act_, operand_type()};
    const auto gradient = [&](real* data, const Linear& layer) { // a trained bias sums what was not rounded
        return MatrixOut(data, layer.dbias == nullptr ? operand_type() : WeightType::f32);
    };
    const MatrixOut dgate = gradient(dgate_, w.gate), dup = gradient(dup_, w.up);

    // forward: x_next = mid + D(act), act = silu(G n2) * (U n2), n2 = rmsnorm(mid)
    const Backwards down = {{&w.down, dlow_[0], dx_, a.low_down}};
    linear_backward(*kernels_, down, dact_, N);
    kernels_->swiglu_backward(dgate, dup, act, dact_, a.gate, a.up, N * F); // act, and n below, again: see Acts
    linear_gradients(*kernels_, down, act, N);
    const Backwards gate_up = {{&w.gate, dlow_[0], dgate, a.low_gate}, {&w.up, dlow_[1], dup, a.low_up}};
    linear_backward(*kernels_, gate_up, dnorm_, N);
    kernels_->rmsnorm_backward(dx_, w.dnorm2, n, dnorm_, a.mid, w.norm2, a.rstd2, N, C);
    linear_gradients(*kernels_, gate_up, n, N);
    note(p + "dact", dact_, {N, F});
    note(p + "dmid", dx_, {N, C});

    // forward: mid = x + O(att), att = attention(rope(norm(Q n1)), rope(norm(K n1)), V n1), n1 = rmsnorm(x)
    const Backwards o = {{&w.o, dlow_[0], dx_, a.low_o}};
    linear_backward(*kernels_, o, datt_, N);
    linear_gradients(*kernels_, o, a.att, N);
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
        kernels_->rmsnorm_backward(dq_proj_, w.dq_norm, nullptr, dq_, a.q_proj, w.q_norm, a.rstd_q, N * NH, HS);
        kernels_->rmsnorm_backward(dk_proj_, w.dk_norm, nullptr, dk_, a.k_proj, w.k_norm, a.rstd_k, N * NKV, HS);
        note(p + "dq_proj", dq_proj_, {N, NH, HS});
        note(p + "dk_proj", dk_proj_, {N, NKV, HS});
    }
    // Below the first layer there is only the embedding: with an adapter nothing there is trained.
    real* dnorm = l > 0 || train_ == Train::everything ? dnorm_ : nullptr;
    const Backwards qkv = {{&w.q, dlow_[0], dq_proj_, a.low_q},
                           {&w.k, dlow_[1], dk_proj_, a.low_k},
                           {&w.v, dlow_[2], dv_, a.low_v}};
    linear_backward(*kernels_, qkv, dnorm, N);
    if (dnorm != nullptr) {
        kernels_->rmsnorm_backward(dx_, w.dnorm1, n, dnorm, x, w.norm1, a.rstd1, N, C);
    } else {
        kernels_->rmsnorm_forward(n, a.rstd1, x, w.norm1, N, C, eps);
    }
    linear_gradients(*kernels_, qkv, n, N);
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
    pack_weights(batch.tokens() > kFewRows ? Rows::many : Rows::few);
    Pass pass = begin(batch, false);
    pass.slot = slot_.upload(slot);
    pass.length = length_.upload(length);
    pass.cache_rows = cache_rows_.upload(cache_rows);
    int32_t* best = best_.reserve(pass.M);
    const auto work = [&] {
        forward(pass);
        const int64_t C = config_.channels, V = config_.vocab;
        for (int64_t m = 0; m < pass.M; m += kLossChunk) {
            const int64_t rows = std::min(kLossChunk, pass.M - m);
            kernels_->matmul(Layout::nt, logits_, normed_ + m * C, head_, rows, V, C, 1, false);
            kernels_->argmax_rows(best + m, logits_, rows, V);
        }
    };
    // One new token in each sequence: but for the contents of the inputs, every such step of so many sequences is the same.
    if (pass.seq.max_length == 1 && pass.M == pass.N && !trace_) {
        kernels_->repeat(format("model %p decodes %lld rows, adapter %d, cache of %lld times %lld positions in %s",
                                static_cast<void*>(this), static_cast<long long>(pass.N), uses_adapter_,
                                static_cast<long long>(cache_slots_), static_cast<long long>(cache_capacity_),
                                weight_format(cache_type_).name),
                         work);
    } else {
        work();
    }
    std::vector<int32_t> out(batch.rows.size());
    if (!out.empty()) {
        kernels_->download(out.data(), best, out.size() * sizeof(int32_t));
    }
    for (const int32_t token : out) {
        CHECK(token >= 0, "the logits of a token are no numbers: what is computed leaves the range of F32");
    }
    return out;
}

// The type of what products alone read. Who listens hears F32: the results are the same.
WeightType Transformer::operand_type() const { return trace_ ? WeightType::f32 : kernels_->operand_type(); }

void Transformer::note(const std::string& name, const real* data, const std::vector<int64_t>& shape) const {
    if (trace_) {
        trace_(name, data, shape);
    }
}

} // namespace skintern
