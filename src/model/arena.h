// arena.h — named tensors in one allocation.
//
// A tensor may also lie outside, in the memory of a mapped file and in a type of its own: a frozen weight is read there.
//
// A model's parameters are an Arena, and so are their gradients, the two moments of AdamW, and the activations of a
// pass. Tensors have a name and a shape; nothing in the project is decided by a tensor's index. Because an arena is one
// contiguous block, the optimizer and the gradient norm run over all its tensors in one call.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "kernels.h"

namespace skintern {

struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    int64_t numel = 0;
    real* data = nullptr; // set by Arena::allocate(); null for a tensor outside
    Matrix matrix;        // its numbers, wherever they lie
};

class Arena {
public:
    explicit Arena(Kernels& kernels) : kernels_(&kernels) {}
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Registers a tensor. The reference stays valid; its memory comes with allocate(). Names are unique.
    Tensor& add(const std::string& name, const std::vector<int64_t>& shape);
    // The tensor's numbers are those in `host`, which has to stay as long as the arena; `products_alone` as in Kernels::map.
    // Before allocate().
    void place_outside(const std::string& name, Matrix host, bool products_alone);
    // One allocation, zeroed, for all that was added and not placed outside.
    void allocate();
    // A second arena's tensors, under the same names and shapes (gradients and moments of parameters).
    void add_like(const Arena& other);

    const Tensor& at(const std::string& name) const; // throws Error when there is none
    const Tensor* find(const std::string& name) const;
    const std::deque<Tensor>& tensors() const { return tensors_; }

    real* data() const { return data_; }       // (numel), all tensors of the arena's own end to end
    int64_t numel() const { return numel_; }
    Kernels& kernels() const { return *kernels_; }
    void zero();

private:
    Kernels* kernels_;
    std::deque<Tensor> tensors_;
    std::vector<Matrix> mapped_;
    real* data_ = nullptr;
    int64_t numel_ = 0;
};

// Device memory for the small integer inputs of a pass (ids, positions, rows); grows, never shrinks.
template <class T>
class Buffer {
public:
    explicit Buffer(Kernels& kernels) : kernels_(&kernels) {}
    ~Buffer() { kernels_->free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    T* reserve(int64_t n) {
        if (n > capacity_) {
            kernels_->free(data_);
            data_ = nullptr;
            data_ = static_cast<T*>(kernels_->alloc(static_cast<size_t>(n) * sizeof(T)));
            capacity_ = n;
        }
        return data_;
    }
    T* upload(const std::vector<T>& host) {
        reserve(static_cast<int64_t>(host.size()));
        if (!host.empty()) {
            kernels_->upload(data_, host.data(), host.size() * sizeof(T));
        }
        return data_;
    }
    T* data() const { return data_; }

private:
    Kernels* kernels_;
    T* data_ = nullptr;
    int64_t capacity_ = 0;
};

// Host copies of device data.
std::vector<real> download(Kernels& kernels, const real* data, int64_t n);

} // namespace skintern
