// numbers.cpp — see numbers.h.
#include "support/numbers.h"

#include <cmath>
#include <map>

#include "support/check.h"

namespace skintern {

std::string signed_points(double difference) {
    const double rounded = std::round(1000 * difference) / 10;
    return format("%+.1f", rounded == 0 ? 0.0 : rounded);
}

std::string points_interval(const Estimate& difference) {
    return "[" + signed_points(difference.lo) + ", " + signed_points(difference.hi) + "]";
}

std::string points_with_interval(const Estimate& difference) {
    return signed_points(difference.mean) + " points, 95 % " + points_interval(difference);
}

std::string percent(const Estimate& share) {
    return share.known() ? format("%.1f", 100 * share.mean) : kUnknown;
}

std::string percent_with_interval(const Estimate& share) {
    return share.known() ? format("%.1f [%4.1f, %5.1f]", 100 * share.mean, 100 * share.lo, 100 * share.hi)
                         : kUnknown;
}

std::string with_prefix(double value) {
    const char* const prefixes[] = {"", " k", " M", " G", " T", " P", " E"};
    size_t p = 0;
    while (value >= 999.5 && p + 1 < std::size(prefixes)) {
        value /= 1000;
        p++;
    }
    return format("%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, prefixes[p]);
}

std::string title_of(const std::string& method) {
    static const std::map<std::string, std::string> titles = {{"base", "Base"},
                                                              {"base+knowledge", "Base + knowledge"},
                                                              {"std-cot", "Std-CoT"},
                                                              {"kard", "KARD"},
                                                              {"skintern", "SKIntern"}};
    const auto found = titles.find(method);
    return found == titles.end() ? method : found->second;
}

} // namespace skintern
