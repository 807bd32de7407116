// arena.cpp — see arena.h.
#include "model/arena.h"

#include "support/check.h"

namespace skintern {

namespace {

// Tensors start at multiples of 16 elements, so that each is aligned for vector loads. The gaps stay zero, and zero
// gradients leave zero parameters alone, so running the optimizer over them does no harm.
constexpr int64_t kAlign = 16;

int64_t padded(int64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

} // namespace

Arena::~Arena() {
    kernels_->free(data_);
    for (const Matrix& mapped : mapped_) {
        kernels_->unmap(mapped);
    }
}

Tensor& Arena::add(const std::string& name, const std::vector<int64_t>& shape) {
    CHECK(data_ == nullptr, "tensor %s was added to an arena that is allocated already", name.c_str());
    CHECK(find(name) == nullptr, "two tensors are named %s", name.c_str());
    int64_t numel = 1;
    for (const int64_t d : shape) {
        CHECK(d >= 0 && (d == 0 || numel <= INT64_MAX / 16 / d), "tensor %s is too large", name.c_str());
        numel *= d;
    }
    tensors_.push_back({name, shape, numel, nullptr, {}});
    numel_ += padded(numel);
    return tensors_.back();
}

void Arena::place_outside(const std::string& name, Matrix host, bool products_alone) {
    CHECK(data_ == nullptr, "tensor %s was placed outside an arena that is allocated already", name.c_str());
    for (Tensor& t : tensors_) {
        if (t.name == name) {
            const int64_t columns = t.shape.back();
            mapped_.push_back(kernels_->map(host, t.numel / columns, columns, products_alone));
            t.matrix = mapped_.back();
            numel_ -= padded(t.numel);
        }
    }
}

void Arena::allocate() {
    data_ = static_cast<real*>(kernels_->alloc(static_cast<size_t>(numel_) * sizeof(real)));
    int64_t offset = 0;
    for (Tensor& t : tensors_) {
        if (t.matrix.data == nullptr) {
            t.data = data_ + offset;
            t.matrix = t.data;
            offset += padded(t.numel);
        }
    }
}

void Arena::add_like(const Arena& other) {
    for (const Tensor& t : other.tensors_) {
        add(t.name, t.shape);
    }
}

const Tensor* Arena::find(const std::string& name) const {
    for (const Tensor& t : tensors_) {
        if (t.name == name) {
            return &t;
        }
    }
    return nullptr;
}

const Tensor& Arena::at(const std::string& name) const {
    const Tensor* t = find(name);
    CHECK(t != nullptr, "there is no tensor named %s", name.c_str());
    return *t;
}

void Arena::zero() { kernels_->zero(data_, static_cast<size_t>(numel_) * sizeof(real)); }

std::vector<real> download(Kernels& kernels, const real* data, int64_t n) {
    std::vector<real> out(static_cast<size_t>(n));
    if (n > 0) {
        kernels.download(out.data(), data, out.size() * sizeof(real));
    }
    return out;
}

} // namespace skintern
