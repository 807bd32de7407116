// Where two traces part, and that the devices' do not.
#include "test_support.h"

#include <cmath>

#include "model/trace.h"

using namespace skintern;

namespace {

NamedTrace two_tensors(const std::vector<float>& first, const std::vector<float>& second) {
    NamedTrace out;
    out.names = {"z", "a"}; // in order of computation, not of the alphabet
    out.tensors["z"] = {{static_cast<int64_t>(first.size())}, first};
    out.tensors["a"] = {{static_cast<int64_t>(second.size())}, second};
    return out;
}

} // namespace

TEST_CASE("the first tensor that differs is the first computed, not the first by name", "[trace]") {
    const NamedTrace expected = two_tensors({3, 4}, {1}), got = two_tensors({3, 4.5}, {2});
    const auto distances = compare_traces(expected, got);
    REQUIRE(distances.size() == 2);
    REQUIRE(distances[0].distance == Approx(0.5 / 5)); // |(0, 0.5)| / |(3, 4)|
    REQUIRE(distances[0].largest == Approx(0.5));
    REQUIRE(first_difference(distances, 0.01)->name == "z");
    REQUIRE(first_difference(distances, 0.2)->name == "a");
    REQUIRE(first_difference(distances, 1.0) == nullptr);
}

TEST_CASE("a trace with NaN on one side, another shape or another name is never near", "[trace]") {
    const float nan = std::nanf("");
    const NamedTrace expected = two_tensors({1, 2}, {1});
    REQUIRE(first_difference(compare_traces(expected, two_tensors({1, nan}, {1})), 1e30)->name == "z");
    REQUIRE(first_difference(compare_traces(two_tensors({1, nan}, {1}), expected), 1e30)->name == "z");
    REQUIRE(first_difference(compare_traces(two_tensors({1, nan}, {1}), two_tensors({1, nan}, {1})), 0) == nullptr);
    REQUIRE(first_difference(compare_traces(expected, two_tensors({1, 2}, {1, 1})), 1e30)->name == "a");
    NamedTrace fewer = expected;
    fewer.names.pop_back();
    REQUIRE_THROWS_WITH(compare_traces(expected, fewer), Contains("do not name the same tensors"));
}
