// adamw.cpp — see adamw.h. The arithmetic of an update is Kernels::adamw; here is what surrounds it.
#include "model/adamw.h"

#include <cmath>

namespace skintern {

double learning_rate(const AdamwConfig& config, int64_t k, int64_t steps) {
    const std::string& scheduler = config.lr_scheduler;
    CHECK(scheduler == "cosine" || scheduler == "linear" || scheduler == "constant",
          "--lr-scheduler is \"%s\": known are cosine, linear, constant", scheduler.c_str());
    const double warmup = std::ceil(static_cast<double>(steps) * config.warmup_ratio);
    const double done = static_cast<double>(k);
    if (done < warmup) {
        return config.lr * done / warmup;
    }
    const double progress = (done - warmup) / std::fmax(1.0, static_cast<double>(steps) - warmup);
    if (scheduler == "cosine") {
        return config.lr * 0.5 * (1.0 + std::cos(3.141592653589793 * progress));
    }
    return scheduler == "linear" ? config.lr * std::fmax(0.0, 1.0 - progress) : config.lr;
}

Adamw::Adamw(const AdamwConfig& config, Arena& params, Arena& grads)
    : config_(config), params_(&params), grads_(&grads), m_(params.kernels()), v_(params.kernels()) {
    m_.add_like(params);
    m_.allocate();
    v_.add_like(params);
    v_.allocate();
}

double Adamw::update(double lr) {
    Kernels& kernels = params_->kernels();
    const double norm = std::sqrt(kernels.sum_squares(grads_->data(), grads_->numel()));
    if (!std::isfinite(norm)) {
        throw Diverged(format("the gradient norm of update %lld is %f: training has diverged, try a smaller --lr",
                              static_cast<long long>(step_ + 1), norm), __FILE__, __LINE__);
    }
    double scale = 1.0;
    if (config_.max_grad_norm > 0) {
        scale = std::fmin(1.0, config_.max_grad_norm / (norm + 1e-6)); // as torch.nn.utils.clip_grad_norm_
    }
    step_++;
    AdamwStep step;
    step.lr = static_cast<real>(lr);
    step.beta1 = static_cast<real>(config_.beta1);
    step.beta2 = static_cast<real>(config_.beta2);
    step.eps = static_cast<real>(config_.eps);
    step.weight_decay = static_cast<real>(config_.weight_decay);
    step.grad_scale = static_cast<real>(scale);
    step.step = step_;
    kernels.adamw(params_->data(), m_.data(), v_.data(), grads_->data(), params_->numel(), step);
    return norm;
}

void Adamw::reset() {
    m_.zero();
    v_.zero();
    step_ = 0;
}

} // namespace skintern
