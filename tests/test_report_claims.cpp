// Tests of claims.h: which arms are compared, who is a baseline, what the verdict is.
#include "test.h"

#include <filesystem>

#include "report/claims.h"
#include "report/run_log.h"
#include "small_runs.h"

using namespace skintern;

namespace {

// Eight tasks of three questions; an arm answers the first `right` of each.
void write_arm(const std::string& run, const std::string& arm, int right, double flops = 1000) {
    std::vector<Answered> rows;
    for (int task = 0; task < 8; task++) {
        for (int q = 0; q < 3; q++) {
            rows.push_back({format("%d-%d", task, q), format("task-%d", task), q < right, "", 0, 0, flops});
        }
    }
    for (const char* split : kSplits) {
        write_eval(run + "/seed-1/" + arm, split, rows);
    }
}

const Json* claim(const Json& results, const std::string& begin) {
    for (const Json& claim : results["claims"]) {
        if (claim["claim"].get<std::string>().starts_with(begin)) {
            return &claim;
        }
    }
    return nullptr;
}

} // namespace

TEST_CASE("the best baseline is a trained method that sees the question alone", "[report]") {
    const TempFolder folder;
    const std::string run = folder.path();
    write_run_json(
        run,
        {"base+knowledge", "ft", "std-cot", "kard", "in-context", "promptintern", "skintern", "std-cot-long"},
        {1});
    for (const char* arm : {"base+knowledge", "kard", "in-context", "promptintern", "std-cot-long"}) {
        write_arm(run, arm, 3); // none of these may count
    }
    write_arm(run, "ft", 0);
    write_arm(run, "std-cot", 1);
    write_arm(run, "skintern", 2);
    const Json results = results_of(run);
    const Json& best = *claim(results, "SKIntern is better than the best baseline in domain");
    REQUIRE(best["verdict"] == "holds here");
    REQUIRE(best["difference"].get<double>() == Approx(1.0 / 3).margin(1e-6));
    REQUIRE(best["note"] == "over 8 tasks; the best of 2 is Std-CoT, chosen anew in every resample");
    const Json& all = *claim(results, "SKIntern is better in domain than the best of all");
    REQUIRE(all["verdict"] == "does not hold");
    REQUIRE(holds(all["note"].get<std::string>(), "the best of 5")); // not promptintern, nor std-cot-long
}

TEST_CASE("the best baseline of an unfinished run is told from the seeds that all have, in both intervals", "[report]") {
    const TempFolder folder;
    const std::string run = folder.path();
    write_run_json(run, {"ft", "std-cot", "skintern"}, {1, 2});
    write_arm(run, "ft", 0); // in the first seed alone
    write_arm(run, "std-cot", 1);
    write_arm(run, "skintern", 2);
    make_folder(run + "/seed-2");
    for (const char* arm : {"std-cot", "skintern"}) {
        std::filesystem::copy(run + "/seed-1/" + arm, run + "/seed-2/" + arm, std::filesystem::copy_options::recursive);
    }
    const Json results = results_of(run);
    REQUIRE((*claim(results, "SKIntern is better than the best baseline in domain"))["ci95_over_seeds"].is_null());
    REQUIRE((*claim(results, "SKIntern is better than Std-CoT in domain"))["ci95_over_seeds"].is_array());
    REQUIRE(!results["against"][0]["id"].contains("distinguishable")); // it asks no seeds, so it is no verdict
}

TEST_CASE("what knowledge in the prompt costs is told as a ratio with its verdict", "[report]") {
    const TempFolder folder;
    const std::string run = folder.path();
    write_run_json(run, {"kard", "skintern", "in-context"}, {1});
    write_arm(run, "kard", 1, 2500);
    write_arm(run, "skintern", 1, 1000);
    write_arm(run, "in-context", 1, 1000);
    const Json results = results_of(run);
    const Json& kard = *claim(results, "KARD costs more than SKIntern");
    REQUIRE(kard["ratio"] == 2.5);
    REQUIRE(kard["verdict"] == "holds here");
    REQUIRE((*claim(results, "in-context costs more"))["verdict"] == "cannot tell");
    REQUIRE(claim(results, "SKIntern is better than the best baseline") == nullptr); // there is none
    REQUIRE(holds(printed(run), "holds here: 2.50 times, 95 % [2.50, 2.50]"));
}

TEST_CASE("a verdict says on which side of nothing the interval lies", "[report]") {
    REQUIRE(verdict_of({"", {{0.1, 0.01, 0.2, 9}, {}}, false, ""}) == "holds here");
    REQUIRE(verdict_of({"", {{-0.1, -0.2, -0.01, 9}, {}}, false, ""}) == "does not hold");
    REQUIRE(verdict_of({"", {{0.1, 0, 0.2, 9}, {}}, false, ""}) == "cannot tell");
    REQUIRE(verdict_of({"", {{0.8, 0.7, 0.9, 9}, {}}, true, ""}) == "does not hold");
    REQUIRE(verdict_of({"", {}, false, ""}) == "not measured");
}

TEST_CASE("a verdict asks that a difference holds over training seeds as well", "[report]") {
    const Claim steady = {"", {{0.1, 0.01, 0.2, 900}, {0.09, 0.1, 0.11}}, false, ""};
    REQUIRE(verdict_of(steady) == "holds here");
    const Claim unsteady = {"", {{0.1, 0.01, 0.2, 900}, {-0.1, 0.1, 0.3}}, false, ""};
    REQUIRE(verdict_of(unsteady) == "cannot tell");
    REQUIRE(numbers_of(unsteady) == "+10.0 points, 95 % [+1.0, +20.0], over seeds [-39.7, +59.7]");
    REQUIRE(verdict_of({"", {{-0.1, -0.2, -0.01, 900}, {-0.3, -0.1, 0.1}}, false, ""}) == "cannot tell");
    const Claim one_seed = {"", {{0.1, 0.01, 0.2, 900}, {0.1}}, false, ""};
    REQUIRE(verdict_of(one_seed) == "holds here");
    REQUIRE(numbers_of(one_seed) == "+10.0 points, 95 % [+1.0, +20.0]");
    const Claim equal = {"", {{0.1, 0.01, 0.2, 20}, {0.1, 0.1}}, false, ""}; // one of ten questions, in both seeds
    REQUIRE(verdict_of(equal) == "cannot tell");
    REQUIRE(holds(verdict_line("in domain", unsteady.found), ": not distinguishable"));
    REQUIRE(holds(verdict_line("in domain", steady.found), ": SKIntern is better"));
}
