// numbers.h — how figures are written in tables and sentences.
#pragma once

#include <string>

#include "support/statistics.h"

namespace skintern {

inline constexpr const char* kUnknown = "-"; // in a table, for what was not measured

// A difference of shares in points, "+1.2"; nothing is "-0.0".
std::string signed_points(double difference);

// "[-2.0, +4.5]" and "+1.2 points, 95 % [-2.0, +4.5]".
std::string points_interval(const Estimate& difference);
std::string points_with_interval(const Estimate& difference);

// "62.5" and "62.5 [55.0,  70.0]" for a share, the interval padded so that brackets stand below one another.
std::string percent(const Estimate& share);
std::string percent_with_interval(const Estimate& share);

// 1234567 as "1.23 M", 2e9 as "2.00 G": three digits.
std::string with_prefix(double value);

// "SKIntern" for "skintern"; a method without a customary spelling keeps its name.
std::string title_of(const std::string& method);

} // namespace skintern
