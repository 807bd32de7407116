// observed.h — Kernels that tell what they do: every op goes through to another backend, and afterwards the observer
// hears its name, its FLOPs (2 a multiply-add of a matrix product or of attention, over the full square of queries and
// keys; 0 for everything else) and the seconds it took. Counting FLOPs op by op and the profile of `make bench` are both
// this.
#pragma once

#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "kernels.h"

namespace skintern {

struct ObservedOp {
    const char* name;
    int64_t flops;
    int64_t bytes; // of operands that are read and results that are written, once each; attention of training: 0
    double seconds;
};

class ObservedKernels : public Kernels {
public:
    using Observer = std::function<void(const ObservedOp&)>;
    static constexpr int64_t kReal = sizeof(real);

    ObservedKernels(Kernels& inner, Observer observer) : inner_(&inner), observer_(std::move(observer)) {}

    // Not listening, it is as if the other backend was asked itself.
    void listen(bool on) { listens_ = on; }

    void repeat(const std::string& key, const std::function<void()>& step) override {
        if (listens_) {
            step(); // op by op
        } else {
            inner_->repeat(key, step);
        }
    }
    std::string name() const override { return inner_->name() + ", observed"; }
    void* alloc(size_t bytes) override { return inner_->alloc(bytes); }
    void free(void* ptr) override { inner_->free(ptr); }
    void upload(void* dst, const void* src, size_t bytes) override { inner_->upload(dst, src, bytes); }
    void download(void* dst, const void* src, size_t bytes) override { inner_->download(dst, src, bytes); }
    void copy(void* dst, const void* src, size_t bytes) override {
        observe("copy", 0, 2 * static_cast<int64_t>(bytes), [&] { inner_->copy(dst, src, bytes); });
    }
    void zero(void* dst, size_t bytes) override {
        observe("zero", 0, static_cast<int64_t>(bytes), [&] { inner_->zero(dst, bytes); });
    }
    Matrix map(Matrix host, int64_t R, int64_t C, bool products_alone) override {
        return inner_->map(host, R, C, products_alone);
    }
    void unmap(Matrix mapped) override { inner_->unmap(mapped); }
    void products(Layout layout, const Product* list, int64_t count, int64_t M) override {
        int64_t flops = 0, bytes = 0;
        for (int64_t p = 0; p < count; p++) {
            const int64_t N = list[p].N;
            bytes += kReal * M * N * (list[p].base != nullptr ? 2 : 1);
            for (int64_t t = 0; t < list[p].term_count; t++) {
                const Term& term = list[p].terms[t];
                flops += 2 * M * N * term.K;
                bytes += row_bytes(term.a.type, M * term.K) + row_bytes(term.b.type, N * term.K);
            }
        }
        static constexpr const char* kNames[] = {"products nt", "products nn", "products tn"};
        observe(kNames[static_cast<int>(layout)], flops, bytes, [&] { inner_->products(layout, list, count, M); });
    }
    static int64_t written(MatrixOut out, int64_t n) { return out.data != nullptr ? row_bytes(out.type, n) : 0; }
    WeightType operand_type() const override { return inner_->operand_type(); }
    size_t packed_bytes(Rows rows, Matrix b, int64_t N, int64_t K) const override {
        return inner_->packed_bytes(rows, b, N, K);
    }
    void pack(Rows rows, void* packed, Matrix b, int64_t N, int64_t K) override { inner_->pack(rows, packed, b, N, K); }
    void bias_forward(real* out, const real* bias, int64_t N, int64_t C) override {
        observe("bias_forward", 0, 2 * kReal * N * C, [&] { inner_->bias_forward(out, bias, N, C); });
    }
    void bias_backward(real* dbias, const real* dout, int64_t N, int64_t C) override {
        observe("bias_backward", 0, kReal * N * C, [&] { inner_->bias_backward(dbias, dout, N, C); });
    }
    void gather_rows(real* out, Matrix table, const int32_t* rows, int64_t M, int64_t C) override {
        observe("gather_rows", 0, M * (kReal * C + row_bytes(table.type, C)), [&] { inner_->gather_rows(out, table, rows, M, C); });
    }
    void scatter_rows(void* table, WeightType type, const real* inp, const int32_t* rows, int64_t M,
                      int64_t C) override {
        observe("scatter_rows", 0, M * (kReal * C + row_bytes(type, C)), [&] { inner_->scatter_rows(table, type, inp, rows, M, C); });
    }
    void scatter_add_rows(real* table, const real* inp, const int32_t* rows, int64_t M, int64_t C) override {
        observe("scatter_add_rows", 0, 3 * kReal * M * C, [&] { inner_->scatter_add_rows(table, inp, rows, M, C); });
    }
    void rmsnorm_forward(MatrixOut out, real* rstd, const real* inp, const real* weight, int64_t N, int64_t C,
                         real eps) override {
        observe("rmsnorm_forward", 0, kReal * N * C + row_bytes(out.type, N * C), [&] { inner_->rmsnorm_forward(out, rstd, inp, weight, N, C, eps); });
    }
    void rmsnorm_backward(real* dinp, real* dweight, MatrixOut out, const real* dout, const real* inp,
                          const real* weight, const real* rstd, int64_t N, int64_t C) override {
        observe("rmsnorm_backward", 0, 4 * kReal * N * C + written(out, N * C),
                [&] { inner_->rmsnorm_backward(dinp, dweight, out, dout, inp, weight, rstd, N, C); });
    }
    void rope(real* x, const real* cos_sin, const int32_t* positions, int64_t N, int64_t NH, int64_t HS,
              bool inverse) override {
        observe("rope", 0, 2 * kReal * N * NH * HS, [&] { inner_->rope(x, cos_sin, positions, N, NH, HS, inverse); });
    }
    void swiglu_forward(MatrixOut out, const real* gate, const real* up, int64_t n) override {
        observe("swiglu_forward", 0, 2 * kReal * n + row_bytes(out.type, n), [&] { inner_->swiglu_forward(out, gate, up, n); });
    }
    void swiglu_backward(MatrixOut dgate, MatrixOut dup, MatrixOut out, const real* dout, const real* gate, const real* up,
                         int64_t n) override {
        observe("swiglu_backward", 0, 3 * kReal * n + written(dgate, n) + written(dup, n) + written(out, n),
                [&] { inner_->swiglu_backward(dgate, dup, out, dout, gate, up, n); });
    }
    void attention_forward(real* out, real* lse, const real* q, const real* k, const real* v, Sequences seq,
                           int64_t NH, int64_t NKV, int64_t HS) override {
        observe("attention_forward", 4 * NH * HS * pairs(seq, nullptr), 0,
                [&] { inner_->attention_forward(out, lse, q, k, v, seq, NH, NKV, HS); });
    }
    void attention_backward(real* dq, real* dk, real* dv, const real* dout, const real* q, const real* k,
                            const real* v, const real* out, const real* lse, Sequences seq, int64_t NH, int64_t NKV,
                            int64_t HS) override {
        observe("attention_backward", 10 * NH * HS * pairs(seq, nullptr), 0, [&] {
            inner_->attention_backward(dq, dk, dv, dout, q, k, v, out, lse, seq, NH, NKV, HS);
        });
    }
    void attention_cached(real* out, const real* q, Matrix k_cache, Matrix v_cache, const int32_t* slot,
                          const int32_t* length, Sequences seq, int64_t capacity, int64_t NH, int64_t NKV,
                          int64_t HS) override {
        // Each key and value is read once, where a sequence has one new row.
        const int64_t keys = pairs(seq, length);
        observe("attention_cached", 4 * NH * HS * keys, 2 * row_bytes(k_cache.type, NKV * HS) * keys, [&] {
            inner_->attention_cached(out, q, k_cache, v_cache, slot, length, seq, capacity, NH, NKV, HS);
        });
    }
    void cross_entropy(real* loss, real* logits, const int32_t* target, int64_t M, int64_t V, real scale) override {
        observe("cross_entropy", 0, 2 * kReal * M * V, [&] { inner_->cross_entropy(loss, logits, target, M, V, scale); });
    }
    void kl_divergence(real* loss, real* logits, const real* target, int64_t M, int64_t V, real scale) override {
        observe("kl_divergence", 0, 3 * kReal * M * V, [&] { inner_->kl_divergence(loss, logits, target, M, V, scale); });
    }
    void argmax_rows(int32_t* out, const real* logits, int64_t M, int64_t V) override {
        observe("argmax_rows", 0, kReal * M * V, [&] { inner_->argmax_rows(out, logits, M, V); });
    }
    double sum_squares(const real* x, int64_t n) override {
        double sum = 0;
        observe("sum_squares", 0, kReal * n, [&] { sum = inner_->sum_squares(x, n); });
        return sum;
    }
    void adamw(real* param, real* m, real* v, const real* grad, int64_t n, const AdamwStep& step) override {
        observe("adamw", 0, 7 * kReal * n, [&] { inner_->adamw(param, m, v, grad, n, step); });
    }

private:
    template <class Op>
    void observe(const char* name, int64_t flops, int64_t bytes, Op op) {
        if (!listens_) {
            op();
            return;
        }
        const auto begin = std::chrono::steady_clock::now();
        op();
        inner_->download(nullptr, nullptr, 0); // a device works on after the call: its time, too
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        observer_({name, flops, bytes, took.count()});
    }

    // Query-key pairs of all sequences; `length` (S) gives the keys of each, else they are its queries.
    int64_t pairs(Sequences seq, const int32_t* length) {
        if (!listens_) {
            return 0;
        }
        std::vector<int64_t> start(static_cast<size_t>(seq.count) + 1);
        std::vector<int32_t> keys(static_cast<size_t>(seq.count));
        inner_->download(start.data(), seq.start, start.size() * sizeof(int64_t));
        if (length != nullptr) {
            inner_->download(keys.data(), length, keys.size() * sizeof(int32_t));
        }
        int64_t sum = 0;
        for (size_t s = 0; s < keys.size(); s++) {
            const int64_t queries = start[s + 1] - start[s];
            sum += queries * (length != nullptr ? keys[s] : queries);
        }
        return sum;
    }

    Kernels* inner_;
    Observer observer_;
    bool listens_ = true;
};

} // namespace skintern
