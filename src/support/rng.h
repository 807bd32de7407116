// rng.h — random numbers that are the same on every machine.
//
// The distributions of <random> may differ between standard libraries, so everything that must be reproducible from a
// seed draws from here. The generator is SplitMix64 (Steele, Lea, Flood 2014): one 64-bit word of state, which makes a
// checkpoint of it one number.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace skintern {

class Rng {
public:
    explicit Rng(uint64_t seed = 0) : state_(seed) {}

    // An independent stream for a named purpose: Rng(seed, "shots") and Rng(seed, "order") do not follow one another.
    Rng(uint64_t seed, std::string_view purpose) : state_(seed) {
        uint64_t hash = 14695981039346656037ull; // FNV-1a
        for (const char c : purpose) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
        }
        state_ = next() ^ hash;
        next();
    }

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }

    // Uniform in [0, n), n >= 1. Rejection keeps it exactly uniform.
    int64_t below(int64_t n) {
        const uint64_t range = static_cast<uint64_t>(n);
        const uint64_t limit = UINT64_MAX - UINT64_MAX % range;
        uint64_t x = next();
        while (x >= limit) {
            x = next();
        }
        return static_cast<int64_t>(x % range);
    }

    // Uniform in [lo, hi], both ends included.
    int64_t between(int64_t lo, int64_t hi) { return lo + below(hi - lo + 1); }

    // Uniform in [0, 1).
    double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

    bool chance(double p) { return uniform() < p; }

    // Standard normal (Box-Muller, one of the two values).
    double normal() {
        const double u = 1.0 - uniform(); // (0, 1]
        const double v = uniform();
        return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
    }

    template <class T>
    void shuffle(std::vector<T>& v) {
        for (size_t i = v.size(); i > 1; i--) {
            std::swap(v[i - 1], v[static_cast<size_t>(below(static_cast<int64_t>(i)))]);
        }
    }

    template <class T>
    const T& pick(const std::vector<T>& v) {
        return v[static_cast<size_t>(below(static_cast<int64_t>(v.size())))];
    }

    // k different elements of v in random order; k <= v.size().
    template <class T>
    std::vector<T> sample(std::vector<T> v, size_t k) {
        shuffle(v);
        v.resize(k);
        return v;
    }

    uint64_t state() const { return state_; }
    void set_state(uint64_t state) { state_ = state; }

private:
    uint64_t state_;
};

} // namespace skintern
