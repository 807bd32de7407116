// rope.h — the frequencies of rotary position embedding (Su et al. 2021), with the scalings a config may ask for.
#pragma once

#include <cmath>
#include <cstdint>

#include "formats/config.h"

namespace skintern {

// f_i = theta^(-2i/HS): position p turns pair i, 0 <= i < HS/2, of a head by the angle p f_i.
inline double rope_frequency(const ModelConfig& config, int64_t i) {
    const ModelConfig::RopeScaling& s = config.rope_scaling;
    const double f =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_size));
    if (s.type == "linear") {
        return f / s.factor;
    }
    if (s.type == "llama3") {
        // Long wavelengths are stretched by `factor`, short ones stay, those between are interpolated.
        const double wavelength = 2.0 * 3.141592653589793 / f;
        const double turns = static_cast<double>(s.original_max_positions) / wavelength;
        if (turns < s.low_freq_factor) {
            return f / s.factor;
        }
        if (turns <= s.high_freq_factor) {
            const double smooth = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
            return (1.0 - smooth) * f / s.factor + smooth * f;
        }
    }
    return f;
}

} // namespace skintern
