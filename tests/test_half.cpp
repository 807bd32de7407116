// Floats rounded to 16 bits, against the way back.
#include "test.h"

#include <cmath>

#include "dequantize.h"
#include "support/half.h"

using namespace skintern;

TEST_CASE("floats are rounded to F16 to nearest, ties to even", "[half]") {
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const float value = f16_to_float(static_cast<uint16_t>(bits));
        if (std::isnan(value)) {
            REQUIRE(std::isnan(f16_to_float(float_to_f16(value))));
            continue;
        }
        REQUIRE(float_to_f16(value) == bits); // every F16 number is itself
        const float next = f16_to_float(static_cast<uint16_t>(bits + 1));
        if ((bits & 0x7fff) <
            0x7bff) { // and half way to the next goes to the even one, a little less or more to its side
            const float half_way = value / 2 + next / 2;
            REQUIRE(float_to_f16(half_way) == bits + (bits & 1));
            REQUIRE(float_to_f16(std::nextafter(half_way, value)) == bits);
            REQUIRE(float_to_f16(std::nextafter(half_way, next)) == bits + 1);
        }
    }
    REQUIRE(float_to_f16(65519.996f) == 0x7bff);
    REQUIRE(float_to_f16(65520.0f) == 0x7c00);
    REQUIRE(float_to_f16(-1e30f) == 0xfc00);
}
