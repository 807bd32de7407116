// Training rows changed on purpose.
#include "test_support.h"

#include <algorithm>

#include "experiment/cell.h"
#include "experiment/variants.h"
#include "method/compress.h"

using namespace skintern;

namespace {

constexpr uint64_t kSeed = 1;

std::vector<Record> training_rows(const World& world) {
    DataConfig config;
    config.seed = kSeed;
    config.tasks = {"boolean_expressions", "navigate", "web_of_lies", "world_facts", "world_prices", "world_kinship",
                    "world_distances", "world_calendar"};
    config.train = 20;
    config.validation = 1;
    config.test = 1;
    return make_splits(config, world).at("train");
}

std::vector<Record> vary_with(const World& world, const Variant& variant, uint64_t seed = 5) {
    return vary(training_rows(world), variant, world, kSeed, seed);
}

bool ends_with_answer(const Record& record) {
    return record.response.ends_with("Therefore, the answer is " + record.output + ".");
}

std::vector<std::string> sorted_words(const std::string& text) {
    std::vector<std::string> words;
    for (std::string word : split_words(text)) {
        words.push_back(word.substr(word.find_first_not_of(" \n")));
    }
    std::sort(words.begin(), words.end());
    return words;
}

} // namespace

TEST_CASE("a wrong teacher errs in the asked-for share of rows, goes on from the error, and leaves knowledge alone", "[variants]") {
    const World world(kSeed);
    const std::vector<Record> before = training_rows(world);
    for (const double share : {0.1, 0.3, 0.9}) {
        INFO(share);
        Variant variant;
        variant.wrong = share;
        const std::vector<Record> after = vary_with(world, variant);
        REQUIRE(after.size() == before.size());
        int64_t wrong = 0, with_facts = 0;
        for (size_t i = 0; i < before.size(); i++) {
            REQUIRE(after[i].instruction == before[i].instruction);
            REQUIRE(after[i].summary == before[i].summary);
            REQUIRE(after[i].knowledge == before[i].knowledge);
            REQUIRE(ends_with_answer(after[i]));
            with_facts += !before[i].facts_needed.empty();
            if (after[i].response != before[i].response) {
                wrong++;
                REQUIRE(!before[i].facts_needed.empty());
                REQUIRE(std::any_of(before[i].facts_needed.begin(), before[i].facts_needed.end(), [&](const std::string& id) {
                    return after[i].response.find(world.fact(id).sentence) == std::string::npos;
                }));
            }
        }
        REQUIRE(std::fabs(static_cast<double>(wrong) - share * static_cast<double>(with_facts)) <= 1);
    }
    Variant none;
    REQUIRE(vary_with(world, none).front().response == before.front().response);
    none.wrong = 1.5;
    REQUIRE_THROWS_WITH(vary_with(world, none), Contains("--wrong is 1.5"));
}

TEST_CASE("wrong rows are drawn from the seed", "[variants]") {
    const World world(kSeed);
    Variant variant;
    variant.wrong = 0.3;
    const auto responses = [&](uint64_t seed) {
        std::string all;
        for (const Record& record : vary_with(world, variant, seed)) {
            all += record.response;
        }
        return all;
    };
    REQUIRE(responses(5) == responses(5));
    REQUIRE(responses(5) != responses(6));
}

TEST_CASE("implicit responses state no fact and still end with the answer", "[variants]") {
    const World world(kSeed);
    const std::vector<Record> before = training_rows(world);
    Variant variant;
    variant.rationales = "implicit";
    const std::vector<Record> after = vary_with(world, variant);
    for (size_t i = 0; i < before.size(); i++) {
        REQUIRE(ends_with_answer(after[i]));
        REQUIRE((after[i].response == before[i].response) == before[i].facts_stated.empty());
        for (const Fact& fact : world.facts) {
            REQUIRE(after[i].response.find(fact.sentence) == std::string::npos);
        }
        REQUIRE(after[i].response.find("  ") == std::string::npos);
    }
    variant.rationales = "none";
    REQUIRE_THROWS_WITH(vary_with(world, variant), Contains("--rationales is \"none\""));
}

TEST_CASE("knowledge of the ablations", "[variants]") {
    const World world(kSeed);
    const std::vector<Record> before = training_rows(world);
    const auto with = [&](const char* knowledge) {
        Variant variant;
        variant.knowledge = knowledge;
        return vary_with(world, variant);
    };
    const std::vector<Record> facts = with("no-summary"), procedure = with("no-supplement"), shuffled = with("shuffled"),
                              placebo = with("placebo");
    for (size_t i = 0; i < before.size(); i++) {
        REQUIRE(facts[i].summary == before[i].supplementary_knowledge);
        REQUIRE(procedure[i].summary == before[i].learning_summary);
        REQUIRE(sorted_words(shuffled[i].summary) == sorted_words(before[i].summary));
        REQUIRE(shuffled[i].summary != before[i].summary);
        REQUIRE(split_words(placebo[i].summary).size() == split_words(before[i].summary).size());
        REQUIRE(std::none_of(before.begin(), before.end(), [&](const Record& other) {
            return other.task_name == before[i].task_name && other.learning_summary == placebo[i].learning_summary &&
                   placebo[i].summary.starts_with(other.learning_summary);
        }));
        REQUIRE(placebo[i].response == before[i].response);
    }
    REQUIRE_THROWS_WITH(with("some"), Contains("--knowledge is \"some\""));
}

TEST_CASE("kept knowledge is that of training, and what was not trained keeps what it is asked with", "[variants]") {
    ArmConfig arm;
    arm.keep_knowledge = true;
    const auto asked_with = [&](const char* method) {
        arm.method = method;
        return evaluated_method(arm, "test").in_evaluation;
    };
    REQUIRE(asked_with("skintern") == Knowledge::summary);
    REQUIRE(asked_with("std-cot") == Knowledge::none);
    REQUIRE(asked_with("base+knowledge") == Knowledge::summary);
    REQUIRE(asked_with("kard") == Knowledge::passages);
}
