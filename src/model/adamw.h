// adamw.h — AdamW over one arena of parameters, gradient clipping, and the learning-rate schedule.
#pragma once

#include <cstdint>
#include <string>

#include "model/arena.h"
#include "support/check.h"

namespace skintern {

// Training that cannot go on because the loss or the gradient is not finite.
struct Diverged : Error {
    using Error::Error;
};

struct AdamwConfig {
    double lr = 2e-4;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    double max_grad_norm = 1.0; // 0: no clipping
    double warmup_ratio = 0.1;
    std::string lr_scheduler = "cosine"; // cosine | linear | constant
};

// The rate of update k = 0, 1, ... of `steps`: warm-up over W = ceil(steps * warmup_ratio) updates from 0, then the
// scheduler down to (almost) 0. So the first rate is 0 when there is a warm-up, and the peak comes at k = W.
double learning_rate(const AdamwConfig& config, int64_t k, int64_t steps);

class Adamw {
public:
    // Moments for every parameter of `params`; `grads` has the same tensors.
    Adamw(const AdamwConfig& config, Arena& params, Arena& grads);

    // One update at rate `lr`: clips by the global norm, then AdamW. Returns the norm before clipping. Throws Error when
    // the norm is not finite. Gradients are left as they are.
    double update(double lr);

    // Forget the moments: a new step of the curriculum begins with its own optimizer state.
    void reset();

    Arena& m() { return m_; }
    Arena& v() { return v_; }
    int64_t step() const { return step_; } // updates made since the last reset
    void set_step(int64_t step) { step_ = step; }

private:
    AdamwConfig config_;
    Arena* params_;
    Arena* grads_;
    Arena m_, v_;
    int64_t step_ = 0;
};

} // namespace skintern
