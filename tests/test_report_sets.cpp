// Tests of what stands beside the splits: optional sets, the knowledge put back after training, the search for a rate.
#include <algorithm>
#include <regex>

#include "test.h"

#include "small_runs.h"

using namespace skintern;

namespace {

// `right` of four questions.
std::vector<Answered> four(int right) {
    std::vector<Answered> rows;
    for (int q = 0; q < 4; q++) {
        rows.push_back({format("%d", q), "anything", q < right});
    }
    return rows;
}

void write_sets(const std::string& run, const std::vector<std::string>& sets) {
    patch_run_json(run, {{"sets", sets}});
    for (const std::string& set : sets) {
        write_eval(run + "/seed-1/std-cot", set, four(1));
        write_eval(run + "/seed-1/skintern", set, four(set == "bbh" ? 4 : 1));
        write_eval(run + "/seed-1/base", set, four(0));
    }
}

const Json* arm_of(const Json& results, const std::string& name) {
    for (const Json& arm : results["sets"]) {
        if (arm["arm"] == name) {
            return &arm;
        }
    }
    return nullptr;
}

} // namespace

TEST_CASE("sets have a table and a mean of their own and change nothing else", "[report]") {
    const TempFolder without, with;
    write_small_run(without.path());
    write_small_run(with.path());
    write_sets(with.path(), {"bbh", "gsm8k"});
    const Json before = results_of(without.path()), after = results_of(with.path());
    REQUIRE(before["sets"].empty());
    REQUIRE(after["methods"] == before["methods"]);
    REQUIRE(after["claims"].size() == before["claims"].size() + 1);
    const Json& ours = *arm_of(after, "skintern");
    REQUIRE(ours["by_set"]["bbh"] == Json({{"mean", 1}, {"ci95", {1, 1}}, {"rows", 4}}));
    REQUIRE(ours["by_set"]["gsm8k"]["mean"] == 0.25);
    REQUIRE(ours["mean"]["mean"] == 0.625);
    REQUIRE(ours["mean"]["ci95"][0] >= 0.5); // two sets: questions are drawn, and bbh is all right
    REQUIRE(ours["minus_std_cot"]["mean"] == 0.375);
    REQUIRE((*arm_of(after, "std-cot"))["minus_std_cot"]["mean"].is_null());
    REQUIRE(holds(read_file(with.path() + "/report.html"), "<h2>Optional sets</h2>"));
    for (const std::string& table : {printed(with.path()), markdown_of({with.path()}, with / "page.md")}) {
        INFO(table);
        REQUIRE(std::regex_search(table, std::regex("bbh .*0\\.0 \\[.*25\\.0 \\[.*100\\.0 \\["))); // base, std-cot, skintern
        REQUIRE(std::regex_search(table, std::regex("minus std-cot .*-25\\.0 \\[.*-.*\\+37\\.5 \\[")));
    }
    REQUIRE(!holds(printed(without.path()), "Optional sets"));
}

TEST_CASE("a run whose questions need no facts has no table of them", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    REQUIRE(holds(printed(folder.path()), "uncovered  "));
    write_run_json(folder.path(), {"base"}, {1});
    write_eval(folder.path() + "/seed-1/base", "test", four(2));
    REQUIRE(!holds(printed(folder.path()), "uncovered  "));
}

TEST_CASE("with six sets the interval of their mean is over sets", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_sets(folder.path(), {"bbh", "b", "c", "d", "e", "f"});
    write_eval(folder.path() + "/seed-1/skintern", "with-knowledge", four(4)); // is no set
    const Json results = results_of(folder.path());
    // std-cot has one of four right in every set: other sets of this kind would not differ.
    REQUIRE((*arm_of(results, "std-cot"))["mean"] == Json({{"mean", 0.25}, {"ci95", {0.25, 0.25}}}));
    REQUIRE((*arm_of(results, "skintern"))["mean"]["mean"] == 0.375);
    REQUIRE((*arm_of(results, "skintern"))["mean"]["ci95"][0] == 0.25); // a draw may leave bbh out
}

TEST_CASE("a claim about published questions is held against sets and seeds", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_sets(folder.path(), {"bbh", "b", "c", "d", "e", "f"});
    const auto claim = [&] {
        const Json claims = results_of(folder.path())["claims"];
        return *std::find_if(claims.begin(), claims.end(), [](const Json& c) {
            return c["claim"] == "SKIntern is better than Std-CoT on published questions";
        });
    };
    REQUIRE(claim()["difference"] == 0.125);
    REQUIRE(claim()["verdict"] == "cannot tell"); // better in one of six
    REQUIRE(claim()["note"] == "over 6 sets");
    for (const char* set : {"b", "c", "d", "e", "f"}) {
        write_eval(folder.path() + "/seed-1/skintern", set, four(3));
    }
    REQUIRE(claim()["verdict"] == "holds here");
    patch_run_json(folder.path(), {{"seeds", {1, 2}}});
    for (const char* set : {"bbh", "b", "c", "d", "e", "f"}) {
        write_eval(folder.path() + "/seed-2/std-cot", set, four(1));
        write_eval(folder.path() + "/seed-2/skintern", set, four(2));
    }
    REQUIRE(claim()["difference"].get<double>() == Approx((13.0 / 24 + 0.25) / 2));
    REQUIRE(claim()["ci95"][0] > 0.25); // better in every set
    REQUIRE(claim()["verdict"] == "cannot tell"); // 0.54 and 0.25: two trainings say little
}

TEST_CASE("a set that is not answered yet is missing, and one of another split is refused", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_sets(folder.path(), {"bbh"});
    std::filesystem::remove(folder.path() + "/seed-1/skintern/eval/bbh.jsonl");
    REQUIRE((*arm_of(results_of(folder.path()), "skintern"))["mean"]["mean"].is_null());
    REQUIRE(holds(printed(folder.path()), "missing: seed-1/skintern/eval/bbh.jsonl"));
    put_file(folder.path() + "/seed-1/skintern/eval/bbh.jsonl", eval_line({"1", "x", true}, "test"));
    REQUIRE(
        holds(error_of([&] { write_report(folder.path()); }), "bbh.jsonl:1: field \"split\" is \"test\""));
}

TEST_CASE("what fine-tuning cost is told over the questions that were asked again", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_eval(folder.path() + "/seed-1/skintern", "with-knowledge",
               {{"1", "navigate", false}, {"3", "prices", true}});
    const Json results = results_of(folder.path());
    const Json& ours = of_method(results, "skintern");
    REQUIRE(ours["knowledge_put_back"]["own_prompt"]["mean"] == 1); // 1 and 3 are right, 4 was not asked
    REQUIRE(ours["knowledge_put_back"]["put_back"]["mean"] == 0.5);
    REQUIRE(ours["id_accuracy"]["mean"] == 0.75); // they count in no domain
    REQUIRE(ours["ood_accuracy"]["mean"].get<double>() == Approx(2.0 / 3).margin(1e-6));
    REQUIRE(of_method(results, "std-cot")["knowledge_put_back"]["put_back"]["mean"].is_null());
    const std::string page = read_file(folder.path() + "/report.html");
    REQUIRE(holds(page, "<h2>What fine-tuning cost</h2>"));
    REQUIRE(holds(page, "knowledge put back</text>"));
}

TEST_CASE("an arm is held against the untrained model of its own size", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path()); // base: 0 of 1 unseen right
    const auto row_of_skintern = [&] {
        write_report(folder.path());
        const std::string page = read_file(folder.path() + "/report.html");
        const size_t table = page.find("<h2>What fine-tuning cost</h2>");
        const size_t row = page.find("<tr><td class=\"words\">skintern</td>", table);
        return page.substr(row, page.find("</tr>", row) - row);
    };
    REQUIRE(holds(row_of_skintern(), "<td>0.0</td>"));
    patch_run_json(folder.path(), {{"arms", {{"skintern", {{"params", 9}}}}}});
    REQUIRE(!holds(row_of_skintern(), "<td>0.0</td>"));
}

TEST_CASE("the search for a learning rate is a table with the chosen rate in brackets", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const Json search = {{"rule", "most right answers"},
                         {"rates", {0.001, 0.005}},
                         {"methods",
                          {{"std-cot",
                            {{"trials",
                              {{{"lr", 0.001}, {"accuracy", 0.25}, {"rows", 192}, {"failed", false}},
                               {{"lr", 0.005}, {"accuracy", 0.31}, {"rows", 192}, {"failed", false}}}},
                             {"chosen", 0.005}}},
                           {"skintern",
                            {{"trials",
                              {{{"lr", 0.001}, {"accuracy", 0.2}, {"rows", 192}, {"failed", false}},
                               {{"lr", 0.005}, {"accuracy", 0}, {"rows", 0}, {"failed", true}}}},
                             {"chosen", 0.001}}}}}};
    put_file(folder.path() + "/search.json", search.dump());
    write_report(folder.path());
    const std::string page = read_file(folder.path() + "/report.html");
    REQUIRE(holds(page, "most right answers"));
    REQUIRE(holds(page, "<td>25.0</td><td>[31.0]</td><td>192</td>"));
    REQUIRE(holds(page, "<td>[20.0]</td><td>failed</td>"));

    const auto sentence = [&](const char* pointer, const Json& value) {
        Json damaged = search;
        damaged[Json::json_pointer(pointer)] = value;
        put_file(folder.path() + "/search.json", damaged.dump());
        return error_of([&] { write_report(folder.path()); });
    };
    REQUIRE(holds(sentence("/rule", 1), "search.json: field \"rule\" must be text"));
    REQUIRE(holds(sentence("/rates/0", "x"), "search.json: field \"rates\" must hold numbers"));
    REQUIRE(holds(sentence("/methods", 1), "search.json: field \"methods\" must be an object"));
    REQUIRE(holds(sentence("/methods/std-cot", 1), "search.json: of \"std-cot\": must be an object"));
    REQUIRE(
        holds(sentence("/methods/std-cot/chosen", "x"), "of \"std-cot\": field \"chosen\" must be a number"));
    REQUIRE(holds(sentence("/methods/std-cot/trials/1/failed", 0), "field \"failed\" must be true or false"));
    put_file(folder.path() + "/search.json", "{");
    REQUIRE(holds(error_of([&] { write_report(folder.path()); }), "search.json: is damaged"));
}
