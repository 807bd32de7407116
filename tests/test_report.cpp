// Tests of the report: a small run whose figures can be computed by hand, unfinished and damaged runs, the
// page.
#include "test.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>

#include "report/comparisons.h"
#include "report/report.h"
#include "small_runs.h"
#include "support/files.h"
#include "support/numbers.h"

using namespace skintern;

namespace {

std::string printed_table(const std::string& run) {
    char* text = nullptr;
    size_t size = 0;
    FILE* out = open_memstream(&text, &size);
    print_table(Report(run), out);
    std::fclose(out);
    const std::string printed(text, size);
    std::free(text);
    return printed;
}

} // namespace

TEST_CASE("the table says how many training seeds it rests on, not how many are planned", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    patch_run_json(folder.path(), {{"seeds", {1, 2, 3}}});
    REQUIRE(holds(printed_table(folder.path()), "(1 training seed; "));
    std::filesystem::copy(folder.path() + "/seed-1", folder.path() + "/seed-2", std::filesystem::copy_options::recursive);
    REQUIRE(holds(printed_table(folder.path()), "(over 2 training seeds: "));
    std::filesystem::remove_all(folder.path() + "/seed-1/std-cot");
    std::filesystem::remove_all(folder.path() + "/seed-2/std-cot");
    REQUIRE(!holds(printed_table(folder.path()), "training seed"));
}

TEST_CASE("the page speaks of training seeds when there are some, not when they are planned", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    patch_run_json(folder.path(), {{"seeds", {1, 2}}});
    const auto page = [&] {
        write_report(folder.path());
        return read_file(folder.path() + "/report.html");
    };
    REQUIRE(holds(page(), "with one training seed nothing is known"));
    std::filesystem::copy(folder.path() + "/seed-1", folder.path() + "/seed-2", std::filesystem::copy_options::recursive);
    REQUIRE(holds(page(), "a difference has to hold over training seeds as well"));
}

TEST_CASE("a cell that is still in training does not count among the updates", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    patch_run_json(folder.path(), {{"seeds", {1, 2}}});
    make_folder(folder.path() + "/seed-2/skintern");
    put_file(folder.path() + "/seed-2/skintern/log.jsonl", R"({"step":1,"stage":1,"loss":2.0,"grad_norm":1,"lr":1e-4,"tokens":100})" "\n");
    const Json results = results_of(folder.path());
    REQUIRE(of_method(results, "skintern")["train_updates"] == 3);
    REQUIRE(of_method(results, "skintern")["train_tokens"] == 175);
}

TEST_CASE("the curve's interval is that of one seed's questions, which every seed asks", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const Json one = results_of(folder.path())["curve"][1];
    patch_run_json(folder.path(), {{"seeds", {1, 2}}});
    std::filesystem::copy(folder.path() + "/seed-1", folder.path() + "/seed-2", std::filesystem::copy_options::recursive);
    REQUIRE(results_of(folder.path())["curve"][1] == one);
}

TEST_CASE("a run that was asked for no meter and no curve does not miss them", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    std::filesystem::remove(folder.path() + "/seed-1/skintern/meter.jsonl");
    std::filesystem::remove(folder.path() + "/seed-1/std-cot/meter.jsonl");
    std::filesystem::remove(folder.path() + "/seed-1/skintern/curve.jsonl");
    REQUIRE(read_run(folder.path()).missing.size() == 3);
    patch_run_json(folder.path(), {{"data", {{"validation", 0}}}, {"curve_rows", 0}});
    REQUIRE(read_run(folder.path()).missing.empty());
}

// ---- figures -------------------------------------------------------------------------------------------

TEST_CASE("the figures of a small run are those computed by hand", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const Json results = results_of(folder.path());
    REQUIRE(results["preset"] == "tiny");
    REQUIRE(results["seeds"] == Json::array({1}));
    const Json& ours = of_method(results, "skintern");
    REQUIRE(ours["id_accuracy"]["mean"] == 0.75);
    REQUIRE(ours["ood_accuracy"]["mean"].get<double>() == Approx(2.0 / 3).margin(1e-6));
    REQUIRE(ours["id_accuracy_macro"]["mean"] == 0.75);  // navigate 1, prices 1/2
    REQUIRE(ours["ood_accuracy_macro"]["mean"] == 0.75); // navigate 1/2, units 1
    REQUIRE(ours["by_task"]["navigate"]["id"] == Json({{"mean", 1}, {"ci95", {1, 1}}, {"rows", 2}}));
    REQUIRE(ours["by_task"]["navigate"]["ood"]["mean"] == 0.5);
    REQUIRE(ours["by_task"]["units"]["id"] == Json({{"mean", nullptr}, {"ci95", nullptr}, {"rows", 0}}));
    REQUIRE(ours["by_split"]["longer"]["mean"] == 0);
    REQUIRE(ours["by_split"]["reworded"]["rows"] == 1);
    REQUIRE(ours["coverage"]["covered"]["mean"] == 1);
    REQUIRE(ours["coverage"]["uncovered"]["mean"] == 0);
    REQUIRE(ours["skills"] == Json({{"find", 1}, {"apply", 0.5}, {"format", 1}}));
    REQUIRE(ours["strict_accuracy"].get<double>() == Approx(5.0 / 7).margin(1e-6));
    REQUIRE(ours["unreadable"] == 0);
    REQUIRE(ours["prompt_tokens"] == 100);
    REQUIRE(ours["new_tokens"] == 20);
    REQUIRE(ours["flops_per_question"] == 1500);
    REQUIRE(ours["flops_relative_to_std_cot"] == 1.5);
    REQUIRE(ours["train_updates"] == 3);
    REQUIRE(ours["train_tokens"] == 175);

    const Json& std_cot = of_method(results, "std-cot");
    REQUIRE(std_cot["id_accuracy"]["mean"] == 0.25);
    REQUIRE(std_cot["skills"]["find"] == 0.75); // 1 of 2 and 2 of 2 facts
    REQUIRE(std_cot["skills"]["apply"] == 0);   // question 4 found both and is wrong
    const Json& base = of_method(results, "base");
    REQUIRE(base["skills"]["format"].get<double>() == Approx(6.0 / 7).margin(1e-6));
    REQUIRE(base["train_updates"].is_null());
    REQUIRE(base["id_accuracy"] == Json({{"mean", 0}, {"ci95", {0, 0}}}));
}

TEST_CASE("curve, meter and comparison come with the results", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const Json results = results_of(folder.path());
    REQUIRE(results["curve"].size() == 3);
    REQUIRE(results["curve"][1]["knowledge"] == true);
    REQUIRE(results["curve"][1]["mean"] == 0.5);
    REQUIRE(results["curve"][2]["step"] == 2);
    REQUIRE(results["meter"]["skintern"][1]["nll_knowledge"] == 1.25);
    REQUIRE(!results["meter"].contains("base"));
    const Json& comparison = results["comparison"];
    REQUIRE(comparison["id"]["difference"] == 0.5);
    REQUIRE(comparison["id"]["rows"] == 4);
    REQUIRE(comparison["id"]["by_seed"] == Json::array({0.5}));
    REQUIRE(comparison["ood"]["difference"].get<double>() == Approx(1.0 / 3).margin(1e-6));
    REQUIRE(comparison["ood"]["distinguishable"] == false); // one question of three
}

TEST_CASE("keys stand in a fixed order and methods as in run.json", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const Json results = results_of(folder.path());
    std::vector<std::string> keys, names, method_keys;
    for (const auto& [key, value] : results.items()) {
        keys.push_back(key);
    }
    for (const Json& method : results["methods"]) {
        names.push_back(method["name"]);
    }
    for (const auto& [key, value] : results["methods"][0].items()) {
        method_keys.push_back(key);
    }
    REQUIRE(keys == std::vector<std::string>{"preset", "seeds", "methods", "curve", "meter", "comparison", "claims", "against",
                                             "ablations", "sets", "gold_in_knowledge"});
    REQUIRE(names == std::vector<std::string>{"base", "std-cot", "skintern"});
    REQUIRE(method_keys == std::vector<std::string>{"name", "id_accuracy", "ood_accuracy",
                                                    "id_accuracy_macro", "ood_accuracy_macro", "by_task",
                                                    "by_split", "coverage", "by_group",
                                                    "without_gold_in_knowledge", "knowledge_put_back", "skills", "strict_accuracy",
                                                    "unreadable", "prompt_tokens", "new_tokens",
                                                    "flops_per_question", "flops_relative_to_std_cot",
                                                    "train_updates", "train_tokens"});
}

TEST_CASE("with two seeds a figure is the mean over seeds", "[report]") {
    const TempFolder folder;
    const std::string& run = folder.path();
    write_run_json(run, {"std-cot", "skintern"}, {1, 2});
    // Seed 1: 1 of 2. Seed 2: 1 of 1, because its second question has not been answered yet.
    write_eval(run + "/seed-1/skintern", "test", {{"1", "navigate", true}, {"2", "navigate", false}});
    write_eval(run + "/seed-2/skintern", "test", {{"1", "navigate", true}});
    write_eval(run + "/seed-1/std-cot", "test", {{"1", "navigate", false}, {"2", "navigate", false}});
    write_eval(run + "/seed-2/std-cot", "test", {{"1", "navigate", true}, {"2", "navigate", true}});
    const Json results = results_of(run);
    REQUIRE(of_method(results, "skintern")["id_accuracy"]["mean"] == 0.75);
    REQUIRE(of_method(results, "skintern")["by_task"]["navigate"]["id"]["rows"] == 3);
    REQUIRE(results["comparison"]["id"]["by_seed"] == Json::array({0.5, 0}));
    REQUIRE(results["comparison"]["id"]["difference"] == 0.25);
}

// ---- the same again ------------------------------------------------------------------------------------

TEST_CASE("the same logs give the same bytes, whatever the order of their rows", "[report]") {
    const TempFolder first, second;
    write_small_run(first.path());
    write_small_run(second.path());
    // A resumed run: updates and readings told twice, and questions answered in another order.
    const std::string folder = second.path() + "/seed-1/skintern";
    append_line(folder + "/log.jsonl",
                R"({"step":2,"stage":1,"loss":1.0,"grad_norm":1,"lr":1e-4,"tokens":50})");
    append_line(folder + "/log.jsonl",
                R"({"step":3,"stage":2,"loss":1.5,"grad_norm":1,"lr":1e-4,"tokens":25})");
    append_line(folder + "/meter.jsonl", R"({"step":3,"nll_question":1.5,"nll_knowledge":1.25})");
    append_line(folder + "/curve.jsonl", R"({"stage":1,"step":2,"knowledge":false,"rows":10,"correct":4})");
    const std::string eval = folder + "/eval/test.jsonl";
    const std::string rows = read_file(eval);
    const size_t half = rows.find('\n', rows.size() / 2) + 1;
    put_file(eval, rows.substr(half) + rows.substr(0, half));
    write_report(first.path());
    write_report(second.path());
    REQUIRE(read_file(first.path() + "/results.json") == read_file(second.path() + "/results.json"));
    REQUIRE(read_file(first.path() + "/report.html") == read_file(second.path() + "/report.html"));
    REQUIRE(printed(first.path()) == printed(second.path()));
    const std::string once = read_file(first.path() + "/report.html");
    write_report(first.path());
    REQUIRE(read_file(first.path() + "/report.html") == once);
}

// ---- the table -----------------------------------------------------------------------------------------

TEST_CASE("the table fits 110 columns and ends in the verdict", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const std::string table = printed(folder.path());
    size_t start = 0;
    for (size_t end = table.find('\n'); end != std::string::npos;
         start = end + 1, end = table.find('\n', start)) {
        REQUIRE(end - start <= 110);
    }
    REQUIRE(holds(
        table, "SKIntern - Std-CoT out of domain: +33.3 points, 95 % [+0.0, +100.0]: not distinguishable"));
    REQUIRE(holds(table, "75.0 ["));
    REQUIRE(holds(table, "1.50 k"));
    REQUIRE(holds(table, "1 left out, 3 with knowledge cut, 5 with examples cut"));
    REQUIRE(!holds(table, "missing"));
}

TEST_CASE("the verdict names its direction and never shows a negative zero", "[report]") {
    REQUIRE(verdict_line("in domain", {{0.012, -0.02, 0.045, 100}, {}}) ==
            "SKIntern - Std-CoT in domain: +1.2 points, 95 % [-2.0, +4.5]: not distinguishable");
    REQUIRE(holds(verdict_line("in domain", {{0.03, 0.01, 0.05, 100}, {}}), ": SKIntern is better"));
    REQUIRE(holds(verdict_line("in domain", {{-0.03, -0.05, -0.01, 100}, {}}), ": SKIntern is worse"));
    REQUIRE(holds(verdict_line("in domain", {}), "not measured"));
    REQUIRE(!holds(verdict_line("in domain", {{-0.0, -0.0002, 0.0002, 100}, {}}), "-0.0"));
}

TEST_CASE("large numbers are told with three digits", "[report]") {
    REQUIRE(with_prefix(0) == "0.00");
    REQUIRE(with_prefix(999) == "999");
    REQUIRE(with_prefix(999.7) == "1.00 k");
    REQUIRE(with_prefix(1234567) == "1.23 M");
    REQUIRE(with_prefix(2e9) == "2.00 G");
}

// ---- unfinished and damaged runs -----------------------------------------------------------------------

TEST_CASE("an unfinished run reports what is there and says what is missing", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    std::filesystem::remove_all(folder.path() + "/seed-1/std-cot");
    std::filesystem::remove(folder.path() + "/seed-1/skintern/eval/unseen.jsonl");
    std::filesystem::remove(folder.path() + "/seed-1/skintern/curve.jsonl");
    const Json results = results_of(folder.path());
    REQUIRE(of_method(results, "std-cot")["id_accuracy"]["mean"].is_null());
    REQUIRE(of_method(results, "skintern")["flops_relative_to_std_cot"].is_null());
    REQUIRE(of_method(results, "skintern")["ood_accuracy"]["mean"] == 0.5);
    REQUIRE(results["comparison"]["id"].is_null());
    REQUIRE(results["curve"].empty());
    const std::string table = printed(folder.path());
    REQUIRE(holds(table, "missing: seed-1/std-cot (nothing yet)"));
    REQUIRE(holds(table, "missing: seed-1/skintern/eval/unseen.jsonl"));
    REQUIRE(holds(table, "not measured"));
    const std::string page = read_file(folder.path() + "/report.html");
    REQUIRE(holds(page, "no curve.jsonl"));
    REQUIRE(holds(page, "have not been compared yet"));
}

TEST_CASE("a run that has only begun, and one without run.json, are reported", "[report]") {
    const TempFolder begun, unnamed;
    write_run_json(begun.path(), {"std-cot", "skintern"}, {1});
    REQUIRE(results_of(begun.path())["methods"].size() == 2);
    write_small_run(unnamed.path());
    std::filesystem::remove(unnamed.path() + "/run.json");
    const Json results = results_of(unnamed.path());
    REQUIRE(results["methods"].size() == 3);
    REQUIRE(of_method(results, "skintern")["id_accuracy"]["mean"] == 0.75);
    REQUIRE(holds(printed(unnamed.path()), "missing: run.json"));
}

TEST_CASE("stages are marked as planned, or as logged when run.json does not plan updates", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_report(folder.path());
    const std::string planned = read_file(folder.path() + "/report.html");
    Json json = Json::parse(read_file(folder.path() + "/run.json"));
    for (Json& row : json["schedule"]) {
        row.erase("updates");
    }
    put_file(folder.path() + "/run.json", json.dump());
    write_report(folder.path());
    const std::string logged = read_file(folder.path() + "/report.html");
    // Planned: two updates each. Logged so far: two and one; stage 2 begins after the second update either
    // way.
    REQUIRE(holds(planned, ">stage 2</text>"));
    REQUIRE(holds(planned, "<td>0</td><td>2</td></tr>"));
    REQUIRE(holds(logged, "<td>0</td><td>1</td></tr>"));
    const auto mark = [](const std::string& page) {
        const size_t end = page.find(">stage 2</text>");
        const size_t begin = page.rfind("<text ", end);
        return page.substr(begin, end - begin);
    };
    REQUIRE(mark(planned) == mark(logged));
}

TEST_CASE("a folder that is no run is refused", "[report]") {
    const TempFolder folder;
    REQUIRE(holds(error_of([&] { write_report(folder.path()); }), "is not the folder of a run"));
    REQUIRE(holds(error_of([&] { write_report(folder.path() + "/none"); }), "is not a folder"));
    REQUIRE(!file_exists(folder.path() + "/report.html"));
}

TEST_CASE("a damaged row is an error that names file, line and field", "[report]") {
    struct Case {
        std::string file, line, sentence;
    };
    const std::string row = eval_line({"9", "navigate", true}, "test");
    const auto with = [&](const char* field, const Json& value) {
        Json json = Json::parse(row);
        json[field] = value;
        return json.dump();
    };
    const Case cases[] = {
        {"eval/test.jsonl", "{\"id\":\"9\",", "eval/test.jsonl:5: is damaged, not JSON"},
        {"eval/test.jsonl", "[1]", "expected a JSON object and found array"},
        {"eval/test.jsonl", "", "eval/test.jsonl:5: is an empty line"},
        {"eval/test.jsonl", with("correct", 1), "field \"correct\" must be true or false"},
        {"eval/test.jsonl", with("new_tokens", -1), "field \"new_tokens\" must be a whole number"},
        {"eval/test.jsonl", with("prompt_tokens", 1.5), "field \"prompt_tokens\" must be a whole number"},
        {"eval/test.jsonl", with("flops", -1), "field \"flops\" is negative"},
        {"eval/test.jsonl", with("coverage", "partly"), "field \"coverage\" must be"},
        {"eval/test.jsonl", with("facts_found", 1), "more than the 0 facts needed"},
        {"eval/test.jsonl", with("split", "longer"), "field \"split\" is \"longer\""},
        {"eval/test.jsonl", with("id", "1"), "question \"1\" stands in this file twice"},
        {"log.jsonl", R"({"step":4,"stage":2,"loss":null})", "log.jsonl:4: field \"loss\" must be a number"},
        {"log.jsonl", R"({"step":4,"stage":2})", "field \"loss\" is missing"},
        {"log.jsonl", R"({"step":1,"stage":3,"loss":1})", "steps count on through the stages"},
        {"meter.jsonl", R"({"step":4,"nll_question":"3"})", "meter.jsonl:3: field \"nll_question\""},
        {"curve.jsonl", R"({"stage":1,"step":2,"knowledge":true,"rows":3,"correct":4})",
         "more than the 3 rows"},
        {"dropped.json", "x", "dropped.json: is damaged"},
    };
    for (const Case& damaged : cases) {
        const TempFolder folder;
        write_small_run(folder.path());
        append_line(folder.path() + "/seed-1/skintern/" + damaged.file, damaged.line);
        const std::string sentence = error_of([&] { write_report(folder.path()); });
        INFO(sentence);
        REQUIRE(holds(sentence, damaged.sentence));
        REQUIRE(holds(sentence, damaged.file));
    }
}

TEST_CASE("run.json is checked before its names become folders", "[report]") {
    for (const std::string method : {"../../etc", "..", "", "std-cot"}) {
        const TempFolder folder;
        write_run_json(folder.path(), {"std-cot", method}, {1});
        REQUIRE(holds(error_of([&] { write_report(folder.path()); }), "run.json: field \"methods\""));
    }
    const TempFolder folder;
    for (const char* text : {"", "[]", "{", "{\"seeds\":[1]}", "{\"seeds\":[-1],\"methods\":[\"a\"]}",
                             "{\"seeds\":[1,1],\"methods\":[\"a\"]}", "{\"seeds\":[1],\"methods\":[2]}",
                             "{\"seeds\":[1],\"methods\":[\"a\"],\"schedule\":[3]}"}) {
        put_file(folder.path() + "/run.json", text);
        REQUIRE(holds(error_of([&] { write_report(folder.path()); }), "run.json: "));
    }
}

// ---- the page ------------------------------------------------------------------------------------------

TEST_CASE("the page is one file that refers to nothing outside and runs no script", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_report(folder.path());
    const std::string page = read_file(folder.path() + "/report.html");
    for (const char* outside :
         {"http:", "https:", "src=", "href", "url(", "@import", "<script", "<link", "<iframe"}) {
        INFO(outside);
        REQUIRE(!holds(page, outside));
    }
    REQUIRE(holds(page, "prefers-color-scheme: dark"));
    REQUIRE(!holds(page, "nan"));
}

TEST_CASE("the page has a chart and a sentence for every part", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    write_report(folder.path());
    const std::string page = read_file(folder.path() + "/report.html");
    for (const char* title : {"Accuracy", "Accuracy against cost", "Internalization curve",
                              "Internalization meter", "Training loss", "Part-skills", "By task",
                              "Schedule of the curriculum", "Answers to read", "How the run was made"}) {
        INFO(title);
        REQUIRE(holds(page, format("<h2>%s</h2>", title)));
    }
    const auto count = [&](const std::string& pattern) {
        const std::regex regex(pattern);
        return std::distance(std::sregex_iterator(page.begin(), page.end(), regex), std::sregex_iterator());
    };
    REQUIRE(count("<svg ") == 8); // accuracy, cost twice, curve, meter, loss, facts, skills
    REQUIRE(count("<figcaption>[^<]{40,}</figcaption>") == 7);
    REQUIRE(count("<article>") == 7); // every question of this run
    REQUIRE(count("SKIntern &middot; <span class=\"right\">") == 5);
}

TEST_CASE("text from the logs is escaped on the page", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    const std::string method = "x\"><script>alert(1)<";
    write_run_json(folder.path(), {"std-cot", "skintern", method}, {1});
    write_eval(folder.path() + "/seed-1/" + method, "test", {{"1", "<b>task</b>", true}});
    write_eval(folder.path() + "/seed-1/skintern", "test",
               {{"1", "<i>task</i>", true, "", 0, 0, 1, "</pre><script>alert(2)</script>"}});
    write_report(folder.path());
    const std::string page = read_file(folder.path() + "/report.html");
    for (const char* raw : {"<script", "<b>task", "<i>task", "</pre><script", "cpu <portable>", "<2>"}) {
        INFO(raw);
        REQUIRE(!holds(page, raw));
    }
    REQUIRE(holds(page, "&lt;/pre&gt;&lt;script&gt;alert(2)"));
    REQUIRE(holds(page, "What is &lt;2&gt; &amp; &quot;3&quot;?"));
}
