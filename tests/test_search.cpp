// The rule by which a learning rate is chosen.
#include "test.h"

#include "experiment/search.h"

using namespace skintern;

TEST_CASE("the rate with most right answers is taken, of equals the smaller", "[search]") {
    REQUIRE(choose_rate({{0.002, 5, 10}, {0.005, 7, 10}, {0.01, 6, 10}}) == 0.005);
    REQUIRE(choose_rate({{0.01, 7, 10}, {0.005, 7, 10}, {0.002, 6, 10}}) == 0.005);
    REQUIRE(choose_rate({{0.01, 0, 10}}) == 0.01);
}

TEST_CASE("a rate with which training diverged has nothing right", "[search]") {
    REQUIRE(choose_rate({{0.1, 9, 10, true}, {0.01, 1, 10}, {0.001, 0, 10}}) == 0.01);
    REQUIRE(choose_rate({{0.1, 0, 0, true}, {0.01, 0, 10}}) == 0.01);
}
