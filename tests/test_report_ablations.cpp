// Tests of ablations.h: which arms differ in one setting alone, read from run.json or from the cells.
#include "test.h"

#include "report/ablations.h"
#include "report/run_log.h"
#include "small_runs.h"

using namespace skintern;

namespace {

// The settings of an arm as arm_json in cell.cpp writes them.
Json arm(const std::string& method, const Json& changes = Json::object()) {
    const bool staged = method == "skintern";
    Json stages = Json::array();
    for (int t = 0; t < (staged ? 4 : 1); t++) {
        stages.push_back(
            {{"stage", t + 1}, {"keep", staged ? 1 - t / 3.0 : 0.0}, {"shots", staged ? 6 - 2 * t : 0}});
    }
    Json json = {{"method", method},
                 {"lora", {{"r", 16}, {"alpha", 32.0}}},
                 {"schedule_name", "linear"},
                 {"stages", stages},
                 {"train", {{"lr", 0.005}, {"micro_tokens", 4096}}},
                 {"train_share", 1.0},
                 {"knowledge", "full"}};
    json.merge_patch(changes);
    return json;
}

Json stages(const std::vector<std::pair<double, int>>& keep_and_shots) {
    Json json = Json::array();
    for (const auto& [keep, shots] : keep_and_shots) {
        json.push_back({{"stage", json.size() + 1}, {"keep", keep}, {"shots", shots}});
    }
    return json;
}

// A run with these arms, each right on one question of test and wrong on another.
void write_arms(const std::string& run, const Json& arms, bool in_run_json = true) {
    std::vector<std::string> names;
    Json method_of = Json::object();
    for (const auto& [name, settings] : arms.items()) {
        names.push_back(name);
        method_of[name] = settings["method"];
        write_eval(run + "/seed-1/" + name, "test",
                   {{"1", "prices", true, "covered", 1, 1}, {"2", "prices", false}});
        if (!in_run_json) {
            put_file(run + "/seed-1/" + name + "/cell.json", Json({{"arm", settings}, {"seed", 1}}).dump());
        }
    }
    write_run_json(run, names, {1});
    Json json = Json::parse(read_file(run + "/run.json"));
    json["method_of"] = method_of;
    json["base_params"] = 2000000;
    if (in_run_json) {
        json["arms"] = arms;
    }
    put_file(run + "/run.json", json.dump());
}

std::vector<std::string> settings_of(const Json& results) {
    std::vector<std::string> names;
    for (const Json& ablation : results["ablations"]) {
        names.push_back(ablation["setting"]);
    }
    return names;
}

} // namespace

TEST_CASE("an arm that differs in one setting alone is an ablation of it", "[report]") {
    const TempFolder folder;
    Json half = arm("std-cot", {{"train_share", 0.5}}), both = arm("std-cot", {{"train_share", 0.5}});
    both["knowledge"] = "placebo"; // two settings: of neither
    write_arms(folder.path(), {{"std-cot", arm("std-cot")},
                               {"skintern", arm("skintern")},
                               {"half", half},
                               {"quarter", arm("skintern", {{"train_share", 0.25}})},
                               {"both", both},
                               {"placebo", arm("skintern", {{"knowledge", "placebo"}})}});
    const Json results = results_of(folder.path());
    REQUIRE(settings_of(results) == std::vector<std::string>{"train_share", "knowledge"});
    const Json& points = results["ablations"][0]["points"];
    std::vector<std::string> arms;
    for (const Json& point : points) {
        arms.push_back(point["arm"]);
    }
    REQUIRE(arms ==
            std::vector<std::string>{"half", "std-cot", "quarter", "skintern"}); // by method, then by value
    REQUIRE(points[0]["value"] == 0.5);
    REQUIRE(points[0]["id"]["mean"] == 0.5);
    REQUIRE(points[0]["covered"]["mean"] == 1);
    REQUIRE(points[0]["ood"]["mean"].is_null());
    REQUIRE(results["ablations"][1]["points"][1]["value"] == "placebo");
}

TEST_CASE("what follows from another setting is no difference of its own", "[report]") {
    const TempFolder folder;
    const Json arms = {
        {"skintern", arm("skintern")},
        {"reversed", arm("skintern", {{"schedule_name", "reversed"},
                                      {"stages", stages({{0, 0}, {0.3, 2}, {0.7, 4}, {1, 6}})}})},
        {"steps-2", arm("skintern", {{"stages", stages({{1, 6}, {0, 0}})}})},
        {"steps-1", arm("skintern", {{"stages", stages({{0, 0}})}})},
        {"no-examples", arm("skintern", {{"stages", stages({{1, 0}, {0.67, 0}, {0.33, 0}, {0, 0}})}})},
        {"two-without", arm("skintern", {{"stages", stages({{1, 0}, {0, 0}})}})},
        {"rank-4", arm("skintern", {{"lora", {{"r", 4}, {"alpha", 8.0}}}})},
        {"small-pieces", arm("skintern", {{"train", {{"micro_tokens", 128}}}})},
        {"large", arm("skintern", {{"model", "models/large"}, {"params", 135000000}})}};
    write_arms(folder.path(), arms);
    const RunLog run = read_run(folder.path());
    const auto differ = [&](const char* name) { return differing_settings(run, name); };
    using Names = std::vector<std::string>;
    REQUIRE(differ("skintern").empty());
    REQUIRE(differ("reversed") == Names{"schedule_name"});
    REQUIRE(differ("steps-2") == Names{"stages"});
    REQUIRE(differ("steps-1") == Names{"stages"});
    REQUIRE(differ("no-examples") == Names{"shots"});
    REQUIRE(differ("two-without") == Names{"shots", "stages"});
    REQUIRE(differ("rank-4") == Names{"lora.r"});
    REQUIRE(differ("small-pieces").empty());
    REQUIRE(differ("large") == Names{"params"});
    REQUIRE(setting_of(run, "skintern", "params").text == "2000000");
    REQUIRE(settings_of(results_of(folder.path())) ==
            Names{"schedule_name", "stages", "params", "lora.r", "shots"});
}

TEST_CASE(
    "runs made before run.json had the arms tell them by their cells, and defaults fill what was not there",
    "[report]") {
    const TempFolder folder;
    Json older = arm("skintern");
    older.erase("knowledge"); // a setting that came later
    write_arms(folder.path(),
               {{"skintern", older},
                {"full", arm("skintern")},
                {"placebo", arm("skintern", {{"knowledge", "placebo"}})}},
               false);
    const RunLog run = read_run(folder.path());
    REQUIRE(differing_settings(run, "full").empty());
    REQUIRE(differing_settings(run, "placebo") == std::vector<std::string>{"knowledge"});
}

TEST_CASE("the rate of an arm is the one that the search found, which its cells know and run.json does not", "[report]") {
    const TempFolder folder;
    const Json large = {{"model", "models/large"}, {"params", 135000000}};
    const Json longer = arm("skintern", {{"train_share", 0.5}});
    write_arms(folder.path(), {{"skintern", arm("skintern")}, {"longer", longer}, {"large", arm("skintern", large)}});
    const auto trained_at = [&](const std::string& name, Json settings, double rate) {
        settings["train"]["lr"] = rate;
        put_file(folder.path() + "/seed-1/" + name + "/cell.json", Json({{"arm", settings}, {"seed", 1}}).dump());
    };
    trained_at("skintern", arm("skintern"), 0.01);
    trained_at("longer", longer, 0.0025);
    trained_at("large", arm("skintern", large), 0.0025);
    using Names = std::vector<std::string>;
    RunLog run = read_run(folder.path());
    REQUIRE(differing_settings(run, "longer") == Names{"train.lr", "train_share"});
    REQUIRE(differing_settings(run, "large") == Names{"params", "train.lr"});
    run.search = RateSearch{}; // each model has its own by search: that goes with the model
    REQUIRE(differing_settings(run, "longer") == Names{"train.lr", "train_share"});
    REQUIRE(differing_settings(run, "large") == Names{"params"});
}

TEST_CASE("numbers are drawn as lines, words as bars, and both have a table", "[report]") {
    const TempFolder folder;
    write_arms(folder.path(), {{"skintern", arm("skintern")},
                               {"half", arm("skintern", {{"train_share", 0.5}})},
                               {"placebo", arm("skintern", {{"knowledge", "placebo"}})}});
    write_report(folder.path());
    const std::string page = read_file(folder.path() + "/report.html");
    REQUIRE(holds(page, "<h2>Ablation: Share of the training rows</h2>"));
    REQUIRE(holds(page, "aria-label=\"Share of the training rows, in domain\""));
    REQUIRE(holds(page, "SKIntern, placebo</text>"));
    REQUIRE(holds(page, ">train_share 0.5 (not 1)</td>"));
    REQUIRE(!holds(page, "arms.half")); // the flat list of settings leaves the arms to their table
}

TEST_CASE("a point of an ablation says how far it is from its method, and how much of that the training seeds leave", "[report]") {
    const TempFolder folder;
    write_arms(folder.path(), {{"skintern", arm("skintern")}, {"placebo", arm("skintern", {{"knowledge", "placebo"}})}});
    Json run = Json::parse(read_file(folder.path() + "/run.json"));
    run["seeds"] = {1, 2};
    put_file(folder.path() + "/run.json", run.dump());
    // Right of two questions: one and one with skintern, none and one with the placebo.
    write_eval(folder.path() + "/seed-1/placebo", "test", {{"1", "prices", false, "covered", 1, 1}, {"2", "prices", false}});
    for (const char* name : {"skintern", "placebo"}) {
        write_eval(folder.path() + "/seed-2/" + name, "test", {{"1", "prices", true, "covered", 1, 1}, {"2", "prices", false}});
    }
    const Json points = results_of(folder.path())["ablations"][0]["points"];
    REQUIRE(points[0]["arm"] == "skintern");
    REQUIRE(points[0]["id_less_method"].is_null());
    REQUIRE(points[0]["ci95_over_seeds"].is_null());
    REQUIRE(points[1]["id_less_method"] == -0.25);
    REQUIRE(points[1]["ci95"] == Json({-0.5, 0.0})); // of two questions: neither, one or both are the first
    // -0.5 and 0: sd 0.3536, over the root of two 0.25, times 12.706.
    REQUIRE(points[1]["ci95_over_seeds"][0].get<double>() == Approx(-0.25 - 0.25 * 12.7062).margin(1e-4));
    REQUIRE(points[1]["ci95_over_seeds"][1].get<double>() == Approx(-0.25 + 0.25 * 12.7062).margin(1e-4));
    REQUIRE(holds(read_file(folder.path() + "/report.html"), ">-25.0 [-50.0, +0.0]</td><td>[-342.7, +292.7]</td>"));
}

TEST_CASE("damaged settings are an error that names file and field", "[report]") {
    const TempFolder folder;
    const Json whole = {{"skintern", arm("skintern")}};
    const auto sentence = [&](const Json& run_json, const Json& cell) {
        write_arms(folder.path(), whole, false);
        patch_run_json(folder.path(), run_json);
        put_file(folder.path() + "/seed-1/skintern/cell.json", cell.dump());
        return error_of([&] { write_report(folder.path()); });
    };
    const Json cell = Json::object();
    REQUIRE(holds(sentence({{"arms", 3}}, cell), "run.json: field \"arms\" must be an object, found number"));
    REQUIRE(holds(sentence({{"arms", {{"skintern", 3}}}}, cell),
                  "run.json: field \"arms.skintern\" must be an object"));
    REQUIRE(holds(sentence({{"arms", {{"skintern", {{"stages", {{{"keep", 1}}}}}}}}}, cell),
                  "field \"shots\" is missing"));
    REQUIRE(holds(sentence({{"base_params", -1}}, cell),
                  "run.json: field \"base_params\" must be a whole number"));
    REQUIRE(holds(sentence({{"sets", {"../x"}}}, cell), "field \"sets\" holds \"../x\""));
    REQUIRE(holds(sentence(Json::object(), Json::object({{"arm", "x"}})),
                  "cell.json: field \"arm\" must be an object"));
    REQUIRE(holds(sentence(Json::object(), Json::object({{"begun", "x"}})),
                  "cell.json: field \"begun\" must be a whole number"));
    REQUIRE(holds(sentence(Json::object(), Json::object({{"seconds", "x"}})),
                  "cell.json: field \"seconds\" must be a number"));
    REQUIRE(holds(sentence(Json::object(), Json::object({{"failed", 1}})),
                  "cell.json: field \"failed\" must be text"));
}
