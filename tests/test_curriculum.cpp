// The schedule, by hand.
#include "test_support.h"

#include <algorithm>
#include <map>

#include "method/curriculum.h"
#include "method/train.h"

using namespace skintern;

namespace {

std::vector<int64_t> shots_of(const CurriculumConfig& config) {
    std::vector<int64_t> shots;
    for (const Stage& stage : make_curriculum(config)) {
        shots.push_back(stage.shots);
    }
    return shots;
}

} // namespace

TEST_CASE("four linear stages keep 1, 2/3, 1/3, 0 of the knowledge and 6, 4, 2, 0 examples", "[curriculum]") {
    const std::vector<Stage> stages = make_curriculum({});
    REQUIRE(stages.size() == 4);
    const double keep[] = {1, 2.0 / 3, 1.0 / 3, 0};
    for (size_t t = 0; t < 4; t++) {
        REQUIRE(stages[t].index == static_cast<int64_t>(t) + 1);
        REQUIRE(stages[t].keep == Approx(keep[t]).margin(1e-15));
    }
    REQUIRE(shots_of({}) == std::vector<int64_t>{6, 4, 2, 0});
}

TEST_CASE("every schedule but none begins with all and ends with nothing, and never rises", "[curriculum]") {
    for (const char* schedule : {"linear", "exp", "inverse-exp", "step"}) {
        for (const int64_t T : {2, 3, 4, 7}) {
            CurriculumConfig config;
            config.schedule = schedule;
            config.stages = T;
            const std::vector<Stage> stages = make_curriculum(config);
            INFO(schedule << " with " << T << " stages");
            REQUIRE(stages.front().keep == Approx(1));
            REQUIRE(stages.front().shots == 6);
            REQUIRE(stages.back().keep == Approx(0).margin(1e-12));
            REQUIRE(stages.back().shots == 0);
            for (size_t t = 1; t < stages.size(); t++) {
                REQUIRE(stages[t].keep <= stages[t - 1].keep);
            }
        }
    }
}

TEST_CASE("exp falls under the line, inverse-exp stays above it, step waits, none keeps all", "[curriculum]") {
    CurriculumConfig config;
    config.stages = 5;
    const auto middle = [&](const char* schedule) {
        config.schedule = schedule;
        return make_curriculum(config)[2].keep;
    };
    REQUIRE(middle("linear") == Approx(0.5));
    REQUIRE(middle("exp") < 0.25);
    REQUIRE(middle("inverse-exp") > 0.75);
    REQUIRE(middle("step") == 1);
    config.schedule = "none";
    REQUIRE(make_curriculum(config).back().keep == 1);
}

TEST_CASE("one stage is plain fine-tuning on the question", "[curriculum]") {
    CurriculumConfig config;
    config.stages = 1;
    REQUIRE(make_curriculum(config)[0].keep == 0);
    REQUIRE(make_curriculum(config)[0].shots == 0);
}

TEST_CASE("an impossible schedule is refused by name and value", "[curriculum]") {
    CurriculumConfig config;
    config.stages = 0;
    REQUIRE_THROWS_WITH(make_curriculum(config), Contains("--stages is 0"));
    config.stages = 4;
    config.schedule = "linaer";
    REQUIRE_THROWS_WITH(make_curriculum(config), Contains("\"linaer\""));
}

TEST_CASE("the updates of the stages add up to the whole", "[curriculum]") {
    for (const int64_t total : {1, 7, 100, 216}) {
        for (const int64_t stages : {1, 3, 4}) {
            int64_t sum = 0;
            for (int64_t t = 1; t <= stages; t++) {
                sum += updates_of_stage(total, stages, t);
            }
            REQUIRE(sum == total);
        }
    }
}

TEST_CASE("reversed and shuffled have the strengths of linear in another order", "[curriculum]") {
    for (const int64_t T : {1, 2, 3, 4, 7}) {
        std::map<std::string, std::vector<double>> keep;
        for (const char* schedule : {"linear", "reversed", "shuffled"}) {
            CurriculumConfig config;
            config.schedule = schedule;
            config.stages = T;
            for (const Stage& stage : make_curriculum(config)) {
                keep[schedule].push_back(stage.keep);
            }
        }
        if (T > 1) {
            REQUIRE(keep["reversed"].front() == 0);
            REQUIRE(keep["reversed"].back() == 1);
            REQUIRE(keep["shuffled"] != keep["linear"]);
            for (auto& [schedule, strengths] : keep) {
                std::sort(strengths.begin(), strengths.end());
            }
            for (size_t t = 0; t < keep["linear"].size(); t++) {
                REQUIRE(keep["shuffled"][t] == Approx(keep["linear"][t]).margin(1e-12));
                REQUIRE(keep["reversed"][t] == Approx(keep["linear"][t]).margin(1e-12));
            }
        }
    }
}
