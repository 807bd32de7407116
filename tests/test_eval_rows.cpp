// Answered questions: rows to JSON and back, an evaluation that is stopped and continued, and what rows come to.
#include "test.h"

#include <cstdio>
#include <string>
#include <vector>

#include "support/files.h"
#include "support/settings_file.h"
#include "tasks/eval_rows.h"
#include "tasks/scores.h"
#include "test_support.h"

using namespace skintern;
using Json = nlohmann::ordered_json;

namespace {

Record question(const std::string& id) {
    Record r;
    r.id = id;
    r.task_name = "sums";
    r.instruction = "What is " + id + "?";
    r.output = id;
    return r;
}

EvalRow answer(const std::string& id, bool correct = true, const std::string& task = "sums",
               const std::string& benchmark = "") {
    EvalRow row;
    row.id = id;
    row.task_name = task;
    row.benchmark = benchmark;
    row.question = "What is " + id + "?";
    row.gold = id;
    row.generated = "Line\n\"quoted\" " + id;
    row.prompt_tokens = 7;
    row.new_tokens = 3;
    row.flops = 123456789012;
    row.correct = row.readable = correct;
    return row;
}

const Json kSettings = {{"model", "m"}, {"method", "std-cot"}, {"max_new_tokens", 9}};

} // namespace

TEST_CASE("a row of an evaluation is the same after writing and reading", "[eval]") {
    const std::string line = eval_row_to_json(answer("2"));
    REQUIRE(line.find('\n') == std::string::npos);
    REQUIRE(eval_row_to_json(eval_row_from_json(line, "f:1")) == line);
    EvalRow cut = answer("2");
    cut.generated = "half a character \xe6\xbc"; // a model may stop there
    REQUIRE(eval_row_from_json(eval_row_to_json(cut), "f:1").generated.starts_with("half a character \xef\xbf\xbd"));
    const auto error = [](const std::string& text) { return error_of([&] { eval_row_from_json(text, "f:3"); }); };
    REQUIRE_THAT(error("{}"), Contains("f:3: the field id is missing"));
    REQUIRE_THAT(error("[]"), Contains("f:3: is array"));
    Json row = Json::parse(line);
    row["new_tokens"] = -1;
    REQUIRE_THAT(error(row.dump()), Contains("f:3: new_tokens is negative"));
    row["new_tokens"] = 1.5;
    REQUIRE_THAT(error(row.dump()), Contains("f:3: new_tokens is 1.5"));
    row["new_tokens"] = 1;
    row["correct"] = "yes";
    REQUIRE_THAT(error(row.dump()), Contains("f:3: correct is string"));
}

TEST_CASE("an evaluation stopped anywhere continues to the same file", "[eval]") {
    const std::vector<Record> records = {question("1"), question("2"), question("3"), question("4")};
    const TempFolder folder;
    const std::string whole_path = folder / "whole.jsonl", path = folder / "stopped.jsonl";
    {
        EvalFile whole(whole_path, kSettings, false);
        for (const char* id : {"2", "1", "4", "3"}) { // as they finish
            whole.append(answer(id));
        }
        whole.finish(records);
    }
    const std::string whole = read_file(whole_path);
    REQUIRE(whole.starts_with("{\"id\":\"1\""));
    // Two rows are written, and the process dies anywhere in the second.
    const std::string two = eval_row_to_json(answer("2")) + "\n" + eval_row_to_json(answer("1")) + "\n";
    for (size_t size = 0; size <= two.size(); size++) {
        { const EvalFile begun(path, kSettings, false); }
        put_file(path, two.substr(0, size));
        EvalFile file(path, kSettings, true);
        const std::vector<Record> rest = file.unanswered(records);
        const size_t lines = size == two.size() ? 2 : size > two.find('\n') ? 1 : 0;
        REQUIRE(rest.size() == 4 - lines);
        REQUIRE(file.cut() == (size > 0 && two[size - 1] != '\n'));
        for (const Record& record : rest) {
            file.append(answer(record.id));
        }
        file.finish(records);
        REQUIRE(read_file(path) == whole);
    }
    // Complete: nothing is left to ask.
    EvalFile again(path, kSettings, true);
    REQUIRE(again.unanswered(records).empty());
    REQUIRE(again.finish(records).size() == 4);
    // Without --resume it begins anew.
    REQUIRE(EvalFile(path, kSettings, false).unanswered(records).size() == 4);
    REQUIRE(read_file(path).empty());
}

TEST_CASE("an evaluation is not continued with other settings, questions or damaged rows", "[eval]") {
    const TempFolder folder;
    const std::string path = folder / "e.jsonl";
    { EvalFile(path, kSettings, false).append(answer("1")); }
    const auto resume = [&](const Json& settings, const std::vector<Record>& records) {
        return error_of([&] { EvalFile(path, settings, true).unanswered(records); });
    };
    REQUIRE(resume(kSettings, {question("1"), question("2")}).empty());
    Json other = kSettings;
    other["method"] = "kard";
    REQUIRE_THAT(resume(other, {question("1")}), Contains("was started with method = \"std-cot\", not \"kard\""));
    other = kSettings;
    other["adapter"] = "a";
    REQUIRE_THAT(resume(other, {question("1")}), Contains("adapter = nothing, not \"a\""));
    REQUIRE_THAT(resume(kSettings, {question("2")}), Contains("an answer to 1, which is not asked"));
    Record changed = question("1");
    changed.instruction = "Another?";
    REQUIRE_THAT(resume(kSettings, {changed}), Contains("1 is another question"));
    put_file(path, eval_row_to_json(answer("1")) + "\n" + eval_row_to_json(answer("1")) + "\n");
    REQUIRE_THAT(resume(kSettings, {question("1")}), Contains("or two"));
    put_file(path, "{\"id\":\"1\"}\n" + eval_row_to_json(answer("1")) + "\n");
    REQUIRE_THAT(resume(kSettings, {question("1")}), Contains("e.jsonl:1: the field task_name is missing"));
    put_file(path + ".settings.json", "");
    REQUIRE_THAT(resume(kSettings, {question("1")}), Contains("e.jsonl.settings.json: is empty"));
    std::filesystem::remove(path + ".settings.json");
    REQUIRE_THAT(resume(kSettings, {question("1")}), Contains("cannot be resumed without"));
    std::filesystem::remove(path);
    REQUIRE(resume(kSettings, {question("1")}).empty()); // nothing there: a start
}

TEST_CASE("settings are the same when no field differs, on either side", "[eval]") {
    const TempFolder folder;
    const std::string path = folder / "settings.json", longer(100, 'x');
    put_file(path, R"({"lr": 0.5, "steps": 3, "name": ")" + longer + "\"}");
    const auto refusal = [&](const nlohmann::ordered_json& now) { return error_of([&] { check_settings(path, now, "the training"); }); };
    REQUIRE(refusal({{"name", longer}, {"steps", 3}, {"lr", 0.5}}) == "");
    REQUIRE(refusal({{"name", longer}, {"steps", 4}, {"lr", 0.5}}) ==
            path + ": the training was started with steps = 3, not 4; resume it with the settings it has, or choose another --out");
    REQUIRE(refusal({{"name", longer}, {"lr", 0.5}}).find("steps = 3, not nothing") != std::string::npos);
    REQUIRE(refusal({{"name", longer}, {"steps", 3}, {"lr", 0.5}, {"dtype", "bf16"}}).find("dtype = nothing, not \"bf16\"") != std::string::npos);
    REQUIRE(refusal({{"name", longer + "y"}, {"steps", 3}, {"lr", 0.5}}) != ""); // what is shown is cut, what is compared is not
    put_file(path, "[]");
    REQUIRE(refusal({}).starts_with(path + ": "));
}

TEST_CASE("a fingerprint changes with a file's beginning, size or name, and with nothing else", "[eval]") {
    const TempFolder folder;
    put_file(folder / "a.safetensors", "one");
    const std::string first = fingerprint(folder.path());
    REQUIRE(first.size() == 16);
    put_file(folder / "notes.txt", "not part of a model");
    REQUIRE(fingerprint(folder.path()) == first);
    put_file(folder / "a.safetensors", "two");
    REQUIRE(fingerprint(folder.path()) != first);
    REQUIRE(fingerprint("").empty());
    REQUIRE_THAT(error_of([&] { fingerprint(folder / "none"); }), Contains("cannot be opened"));
}

TEST_CASE("accuracy by task, over all rows, and as means in which tasks and benchmarks count the same", "[eval]") {
    // Task a: 3 of 4 right; b: 0 of 2; c: 1 of 1. a and b are of benchmark X, c of Y.
    std::vector<EvalRow> rows = {answer("1", true, "a", "X"),  answer("2", true, "a", "X"),  answer("3", true, "a", "X"),
                                 answer("4", false, "a", "X"), answer("5", false, "b", "X"), answer("6", false, "b", "X"),
                                 answer("7", true, "c", "Y")};
    rows[0].strict = true;
    const Scores scores = compute_scores(rows);
    REQUIRE(scores.tasks.size() == 3);
    REQUIRE(scores.tasks[0].name == "a");
    REQUIRE(scores.tasks[0].accuracy.mean == Approx(3.0 / 4));
    REQUIRE(scores.tasks[0].accuracy.lo == Approx(wilson_interval(3, 4).lo));
    REQUIRE(scores.tasks[0].strict == Approx(1.0 / 4));
    REQUIRE(scores.tasks[1].unreadable == Approx(1.0));
    REQUIRE(scores.tasks[2].prompt_tokens == Approx(7));
    REQUIRE(scores.all.accuracy.mean == Approx(4.0 / 7));
    REQUIRE(scores.task_mean.mean == Approx((3.0 / 4 + 0 + 1) / 3));
    REQUIRE(scores.benchmarks.size() == 2);
    REQUIRE(scores.benchmarks[0].accuracy.mean == Approx(3.0 / 6));
    REQUIRE(scores.benchmark_mean.mean == Approx((3.0 / 6 + 1) / 2));
    // With rows of no benchmark there is no mean of benchmarks.
    rows[0].benchmark = "";
    REQUIRE(compute_scores(rows).benchmarks.empty());
    REQUIRE(!compute_scores(rows).benchmark_mean.known());
    REQUIRE_THROWS(compute_scores({}));
}

TEST_CASE("score judges rows of any program and names what is wrong with a file", "[eval]") {
    const TempFolder folder;
    const std::string path = folder / "g.jsonl";
    const auto score = [&](const std::string& bytes) {
        put_file(path, bytes);
        std::FILE* out = std::fopen((folder / "out.jsonl").c_str(), "w");
        const std::vector<EvalRow> rows = score_file(path, out);
        std::fclose(out);
        return rows;
    };
    const std::vector<EvalRow> rows =
        score("{\"mine\":5,\"task\":\"sums\",\"question\":\"1+1?\",\"gold\":\"2\",\"generated\":\"The answer is 2.\"}\n\n" +
              eval_row_to_json(answer("3", true)) + "\n");
    REQUIRE(rows.size() == 2);
    REQUIRE(rows[0].correct);
    REQUIRE(!rows[0].strict);
    REQUIRE(!rows[1].correct); // judged anew
    REQUIRE(rows[1].flops == 123456789012);
    const std::string out = read_file(folder / "out.jsonl");
    const Json first = Json::parse(out.substr(0, out.find('\n')));
    REQUIRE(first["mine"] == 5);
    REQUIRE(first["correct"] == true);
    REQUIRE(first["answer"] == "2");
    const auto error = [&](const std::string& bytes) { return error_of([&] { score(bytes); }); };
    REQUIRE_THAT(error(R"({"task":"t","question":"q","gold":"g"})"), Contains("g.jsonl:1: the field generated is missing"));
    REQUIRE_THAT(error(R"({"question":"q","gold":"g","generated":""})"), Contains("the field task is missing"));
    REQUIRE_THAT(error(R"({"task":"t","question":"q","gold":2,"generated":""})"), Contains("gold is number"));
    REQUIRE_THAT(error("[1]"), Contains("g.jsonl:1: is array"));
    REQUIRE_THAT(error("{\"task\":\"t\""), Contains("g.jsonl:1: is not valid JSON"));
    REQUIRE_THAT(error("\n"), Contains("g.jsonl: holds no rows"));
}
