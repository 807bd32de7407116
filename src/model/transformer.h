// transformer.h — the decoder of Llama, Mistral, Qwen2 and Qwen3: forward and backward by hand, written once over Kernels.
//
//   x_0      = E[ids]                                              token embedding
//   mid_l    = x_l  + O(attention(rope(Q n), rope(K n), V n))      n  = rmsnorm(x_l)
//   x_{l+1}  = mid_l + D(silu(G m) * U m)                          m  = rmsnorm(mid_l)
//   logits   = W rmsnorm(x_L)                                      W  = E when tied
//
// Q, K, V, O, G(ate), U(p), D(own) are linear layers with an optional bias and an optional adapter (lora.h). In Qwen3 each
// head of Q n and K n goes through an rmsnorm of its own before rope, with one weight (HS) for all heads of q and one for
// those of k.
//
// A batch is packed rows: S sequences end to end, no padding. Logits are computed only for the rows that are scored, in
// chunks; a buffer of all rows times the vocabulary never exists in the memory of the kernels (soft targets are one on the
// host).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "formats/config.h"
#include "formats/lora_config.h"
#include "formats/model_file.h"
#include "model/arena.h"
#include "model/lora.h"
#include "support/rng.h"

namespace skintern {

// Packed rows. The next token is predicted at `rows`; `targets` are the tokens that stand there.
struct Batch {
    std::vector<int32_t> ids;                  // (N)
    std::vector<int32_t> positions;            // (N), from 0 in each sequence
    std::vector<int64_t> seq_start = {0};      // (S+1)
    std::vector<int32_t> rows;                 // (M) rows that are scored
    std::vector<int32_t> targets;              // (M) the token each of them should predict; may be empty for logits
    // (M,V) a teacher's logits of each of them, as logits() gives them. Where there are any the loss of a row is the
    // divergence from the teacher (Kernels::kl_divergence) in place of the cross-entropy, and `targets` does not count.
    std::vector<real> soft_targets;

    int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
    int64_t max_length() const;
    // Appends a sequence whose first token has position `first_position`.
    void add_sequence(const std::vector<int32_t>& sequence, int64_t first_position = 0);
};

enum class Train { nothing, adapter, everything };

// Receives every named activation and gradient of a pass, in order of computation.
using Trace = std::function<void(const std::string& name, const real* data, const std::vector<int64_t>& shape)>;

// Throws Error, which begins with `where`, when an adapter asks for layers that a model of these sizes does not have.
void check_fits(const LoraConfig& lora, const ModelConfig& config, const std::string& where);

class Transformer {
public:
    // `lora.r` 0: no adapter, which else starts as zeros. With a file, matrices that are not trained stay where it maps
    // them and in its types; without one, weights start as zeros: initialise them next.
    Transformer(Kernels& kernels, const ModelConfig& config, Train train, const LoraConfig& lora,
                const ModelFile* file = nullptr);
    ~Transformer();

    const ModelConfig& config() const { return config_; }
    Kernels& kernels() { return *kernels_; }
    Arena& weights() { return weights_; } // names of Hugging Face: "model.layers.0.self_attn.q_proj.weight"
    Arena& adapter() { return adapter_; } // names of PEFT: "base_model.model." + module + ".lora_A.weight"
    Arena& trained() { return train_ == Train::everything ? weights_ : adapter_; }
    Arena& grads() { return grads_; } // the tensors of trained()
    const LoraConfig& lora() const { return lora_; }
    const std::vector<StoredTensor>& stored() const { return stored_; } // of the file; empty without one

    // Normal(0, 1/sqrt(IN)), projections into the residual stream divided by sqrt(2L); norms 1, biases 0; an embedding of
    // its own (not tied) normal(0, 1). With GPT-2's 0.02 a model this narrow does not learn to look back in the time it
    // has here: what the first layers add drowns the tokens (docs/base-model.md).
    void init_weights(Rng& rng);
    // A uniform in +-1/sqrt(IN) (PEFT's default), B zero: the adapter starts as no change.
    void init_adapter(Rng& rng);
    // Training keeps only the input of each layer and computes the rest again in the backward pass: a fraction of the
    // memory for a third more work, the same gradients to the last bit. Before the first pass of training.
    void recompute(bool on) { recompute_ = on; }
    // Computes with or without the adapter from now on.
    void use_adapter(bool on);

    // Adds the gradients of scale * sum of losses to grads(); returns the sum of losses.
    double forward_backward(const Batch& batch, double scale);
    // Loss in nats of each scored row, without gradients.
    std::vector<real> losses(const Batch& batch);
    // Logits of the scored rows, (M,V), on the host.
    std::vector<real> logits(const Batch& batch);
    // The scored rows after the last norm, (M,C), on the host: what the output layer reads.
    std::vector<real> hidden(const Batch& batch);

    // ---- generation over a key/value cache -----------------------------------------------------------------------
    // Of F32 or of BF16: keys and values are then rounded when they are written, and the cache is half as large.
    void start_cache(int64_t slots, int64_t capacity, WeightType type = WeightType::f32);
    // The first `positions` keys and values of slot `from` also in slot `to`, for prompts that begin alike.
    void copy_cache(int64_t to, int64_t from, int64_t positions);
    // Feeds the batch, whose sequence s continues slot[s] and then fills length[s] positions there; returns the greedy
    // next token of each scored row.
    std::vector<int32_t> next_tokens(const Batch& batch, const std::vector<int32_t>& slot,
                                     const std::vector<int32_t>& length);

    void set_trace(Trace trace) { trace_ = std::move(trace); }

private:
    struct Block; // parameters of one layer
    struct Acts;  // activations of one layer
    struct Pass;  // device copies of a batch, and what kind of pass it is

    Linear make_linear(const std::string& name, int64_t in, int64_t out, bool bias);
    void register_parameters(const LoraConfig& lora);
    void attach_adapter(const LoraConfig& lora);
    void bind(Linear& layer);
    std::string head_name() const;
    void pack_weights(Rows rows);
    void plan(int64_t N, int64_t M, bool training);
    Pass begin(const Batch& batch, bool training);
    void forward(Pass& pass);
    void block_forward(int64_t l, const Pass& pass);
    void block_backward(int64_t l, const Pass& pass);
    void check_targets(const Batch& batch) const;
    double score(const Pass& pass, real* losses, double scale);
    void grow_rope_table(int64_t positions);
    uint8_t* cached(int64_t l, int64_t which);
    WeightType operand_type() const;
    void note(const std::string& name, const real* data, const std::vector<int64_t>& shape) const;

    Kernels* kernels_;
    ModelConfig config_;
    Train train_;
    LoraConfig lora_;
    std::vector<StoredTensor> stored_; // the file's tensors, where weights_ lies in it
    Arena weights_, adapter_, grads_;
    std::vector<Block> blocks_;
    Matrix head_; // (V,C) the output layer
    Trace trace_;

    // Set when a pass needs more room than the last one had.
    std::unique_ptr<Arena> activations_;
    std::vector<Acts> acts_; // one a layer in training, one for all otherwise
    int64_t planned_rows_ = 0, planned_scored_ = 0;
    bool planned_training_ = false, recompute_ = false, uses_adapter_ = true;

    // Buffers shared by all layers, named in plan().
    std::vector<real*> x_; // (L+1) of (N,C): the residual stream before each layer, and after the last
    real *picked_ = nullptr, *normed_ = nullptr, *rstd_ = nullptr, *logits_ = nullptr;
    real *losses_ = nullptr, *dnormed_ = nullptr, *dpicked_ = nullptr, *dx_ = nullptr, *dnorm_ = nullptr;
    real *dq_ = nullptr, *dk_ = nullptr, *dv_ = nullptr, *datt_ = nullptr;
    real *dq_proj_ = nullptr, *dk_proj_ = nullptr; // dq_ and dk_ themselves where q and k are not normed
    real *dact_ = nullptr, *dgate_ = nullptr, *dup_ = nullptr, *dlow_[kMaxProducts] = {};
    real *n_ = nullptr, *act_ = nullptr; // (N,C) a norm, (N,F) silu(gate) * up, of the layer at hand

    Buffer<int32_t> ids_, positions_, rows_, targets_, slot_, length_, cache_rows_, best_;
    Buffer<int64_t> seq_start_;
    Buffer<real> soft_targets_; // (kLossChunk,V) those of the rows at hand
    Buffer<real> rope_table_;   // (P,HS)
    int64_t rope_positions_ = 0;
    struct Packed { // the frozen weights once more, where pack_weights() made them
        explicit Packed(Kernels& kernels) : weights(kernels) {}
        Buffer<uint8_t> weights;
        bool is_done = false;
    };
    Packed packed_[2]; // for many rows, for few

    Buffer<uint8_t> cache_; // (L,2,slots,capacity,NKV*HS) of cache_type_: keys and values of each layer
    WeightType cache_type_ = WeightType::f32;
    int64_t cache_slots_ = 0, cache_capacity_ = 0;
};

} // namespace skintern
