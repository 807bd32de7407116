// Published test files: small made-up ones of each layout, every way in which they can be wrong, and the real ones
// where the shared files are there.
#include "test.h"

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tasks/answer.h"
#include "tasks/benchmarks.h"
#include "test_support.h"

using namespace skintern;

namespace {

// Reads `bytes` as the file `name`.
std::vector<Record> read_as(const std::string& name, const std::string& bytes, int64_t limit = 0) {
    const TempFolder folder;
    put_file(folder / name, bytes);
    return read_records(folder / name, limit);
}

// The sentence of the error without the folder's name, or "".
std::string error_as(const std::string& name, const std::string& bytes) {
    const TempFolder folder;
    put_file(folder / name, bytes);
    const std::string error = error_of([&] { read_records(folder / name); });
    const size_t at = error.find(name);
    return at == std::string::npos ? error : error.substr(at);
}

} // namespace

TEST_CASE("BIG-Bench Hard: one object a file, the task in its name, the canary nowhere", "[benchmarks]") {
    const std::string file = R"j({"canary":"do not train on this, 26b5","examples":[
        {"input":"Is 3 > 2?\nOptions:\n- Yes\n- No","target":"Yes"},{"input":"( [","target":"] )"}]})j";
    const std::vector<Record> records = read_as("navigate.json", file);
    REQUIRE(records.size() == 2);
    REQUIRE(records[0].task_name == "navigate");
    REQUIRE(records[0].id == "navigate-1");
    REQUIRE(records[0].instruction == "Is 3 > 2?\nOptions:\n- Yes\n- No");
    REQUIRE(records[1].output == "] )");
    REQUIRE(records[1].benchmark == "BIG-Bench Hard");
    for (const Record& record : records) {
        REQUIRE(record_to_json(record).find("26b5") == std::string::npos);
    }
    REQUIRE(read_as("navigate.json", file, 1).size() == 1);
    REQUIRE_THAT(error_as("t.json", R"({"canary":"c","examples":{}})"), StartsWith("t.json: examples is object"));
    REQUIRE_THAT(error_as("t.json", R"({"canary":"c"})"), StartsWith("t.json: the field examples is missing"));
    REQUIRE_THAT(error_as("t.json", R"({"examples":[{"input":"q"}]})"),
               StartsWith("t.json: example 1: the field target is missing"));
    REQUIRE_THAT(error_as("t.json", R"({"examples":[{"input":"q","target":"a"},{"input":" ","target":"a"}]})"),
               StartsWith("t.json: example 2: input is empty"));
    REQUIRE_THAT(error_as("t.json", R"({"examples":[{"input":"q","target":3}]})"),
               StartsWith("t.json: example 1: target is number, expected a string"));
    REQUIRE_THAT(error_as("t.json", R"({"examples":[]})"), StartsWith("t.json: holds no records"));
    REQUIRE_THAT(error_as("t.json", R"({"examples":[{"input":"q","tar)"), StartsWith("t.json:1"));
}

TEST_CASE("GSM8K: the gold number behind ####, the solution without its marks as response", "[benchmarks]") {
    const std::vector<Record> records =
        read_as("test.jsonl", R"({"question":"How many?","answer":"2 a day: 2*3=<<2*3=6>>6.\nAnd <<6+1=7>>7.\n#### 1,007"})"
                              "\n");
    REQUIRE(records.size() == 1);
    REQUIRE(records[0].task_name == "gsm8k");
    REQUIRE(records[0].id == "gsm8k-1");
    REQUIRE(records[0].output == "1,007");
    REQUIRE(records[0].response == "2 a day: 2*3=6.\nAnd 7.\nTherefore, the answer is 1,007.");
    REQUIRE(judge("gsm8k", records[0].instruction, records[0].output, records[0].response).strict);
    REQUIRE_THAT(error_as("t.jsonl", "{\"question\":\"q\",\"answer\":\"#### 1\"}\n{\"question\":\"q\",\"answer\":\"2\"}\n"),
               StartsWith("t.jsonl:2: answer has no line \"#### N\""));
    REQUIRE_THAT(error_as("t.jsonl", R"({"question":"q","answer":"1 <<2\n#### 3"})"), Contains("<< without its >>"));
    REQUIRE_THAT(error_as("t.jsonl", R"({"question":"q","answer":"1\n#### "})"), Contains("nothing behind ####"));
    REQUIRE_THAT(error_as("t.jsonl", R"({"question":"q"})"), StartsWith("t.jsonl:1: the field answer is missing"));
    REQUIRE_THAT(error_as("t.jsonl", R"({"answer":"#### 2"})"), StartsWith("t.jsonl:1: the field question is missing"));
}

TEST_CASE("GSM-Plus: rows whose answer is None are left out", "[benchmarks]") {
    const auto row = [](const std::string& answer, const std::string& type) {
        return R"({"question":"q )" + type + R"(","solution":"s","answer":)" + answer + R"(,"perturbation_type":")" + type +
               R"(","seed_question":"q","seed_solution":"s","seed_answer":"3"})" + "\n";
    };
    const std::vector<Record> records =
        read_as("p.jsonl", row("\"12.5\"", "digit expansion") + row("\"None\"", "critical thinking") +
                               row("null", "critical thinking") + row("7", "adding operation"));
    REQUIRE(records.size() == 2);
    REQUIRE(records[0].output == "12.5");
    REQUIRE(records[1].output == "7");
    REQUIRE(records[1].id == "gsm_plus-4");
    REQUIRE(records[1].task_name == "gsm_plus");
    REQUIRE(records[0].response.empty());
    REQUIRE_THAT(error_as("p.jsonl", R"({"question":"q","perturbation_type":"x","seed_question":"s"})"),
               StartsWith("p.jsonl:1: the field answer is missing"));
    REQUIRE_THAT(error_as("p.jsonl", row("[1]", "x")), StartsWith("p.jsonl:1: answer is array"));
    REQUIRE_THAT(error_as("p.jsonl", row("\"None\"", "critical thinking")), StartsWith("p.jsonl: holds no records"));
}

TEST_CASE("AGIEval: passage, question and options, one a line", "[benchmarks]") {
    const std::vector<Record> records = read_as(
        "lsat-x.jsonl",
        R"j({"passage":"P.","question":"Q?","options":["(A)one","(B) two (2)"],"label":"B","answer":null,"other":null})j"
        "\n"
        R"({"passage":null,"question":"1+1?","options":null,"label":null,"answer":"2"})"
        "\n");
    REQUIRE(records.size() == 2);
    REQUIRE(records[0].task_name == "lsat-x");
    REQUIRE(records[0].instruction == "P.\nQ?\nOptions:\n(A) one\n(B) two (2)");
    REQUIRE(records[0].output == "(B)");
    REQUIRE(records[1].instruction == "1+1?");
    REQUIRE(records[1].output == "2");
    // As sat-math and logiqa-en have them.
    const std::vector<Record> others = read_as(
        "sat-math.jsonl", R"j({"passage":"","question":"Q?","options":["A one","B? two","C. three","D) four"],"label":"B","answer":null})j");
    REQUIRE(others[0].instruction == "Q?\nOptions:\n(A) one\n(B) two\n(C) three\n(D) four");
    const auto error = [](const std::string& options, const std::string& label) {
        return error_as("a.jsonl", R"({"passage":null,"question":"Q?","options":)" + options + R"(,"label":)" + label +
                                       R"(,"answer":null})");
    };
    REQUIRE_THAT(error(R"(["(A)x"])", R"("C")"), StartsWith("a.jsonl:1: label is \"C\", which is none of the options A"));
    REQUIRE_THAT(error(R"(["x"])", R"("A")"), Contains("options[0] is \"x\", expected \"(A) ...\""));
    REQUIRE_THAT(error(R"(["(A)x","A dog"])", R"("A")"), Contains("options[1] is \"A dog\", expected \"(B) ...\""));
    REQUIRE_THAT(error(R"(["(A)x",4])", R"("A")"), Contains("options[1] is number"));
    REQUIRE_THAT(error(R"({"A":"x"})", R"("A")"), Contains("options is object, expected a list"));
    REQUIRE_THAT(error(R"(["(A)x"])", "null"), Contains("label is null"));
    REQUIRE_THAT(error(R"(["(A)x","(B)y"])", R"(["A","B"])"), Contains("label is array"));
    REQUIRE_THAT(error("null", R"("A")"), Contains("options and answer are both missing"));
    REQUIRE_THAT(error(R"(["(A)x\u0000"])", R"("A")"), Contains("NUL"));
    REQUIRE_THAT(error_as("a.jsonl", R"({"passage":3,"question":"Q?","options":["(A)x"],"label":"A"})"),
               Contains("passage is number"));
}

TEST_CASE("ARC: the published layout and the one of Hugging Face, letters and digits as labels", "[benchmarks]") {
    const std::vector<Record> records = read_as(
        "ARC-Easy-Test.jsonl",
        R"({"id":"M_1","question":{"stem":"S?","choices":[{"text":"x","label":"A"},{"text":"y","label":"B"}]},"answerKey":"B"})"
        "\n"
        R"({"id":"N_2","question":{"stem":"T?","choices":[{"text":"x","label":"1"},{"text":"y","label":"2"}]},"answerKey":"1"})"
        "\n");
    REQUIRE(records[0].task_name == "arc_easy");
    REQUIRE(records[0].benchmark == "ARC-Easy"); // two sets, as in the paper's mean
    REQUIRE(records[0].id == "M_1");
    REQUIRE(records[0].instruction == "S?\nOptions:\n(A) x\n(B) y");
    REQUIRE(records[0].output == "(B)");
    REQUIRE(records[1].output == "(1)");
    REQUIRE(judge("arc_easy", records[1].instruction, records[1].output, "Therefore, the answer is (1).").strict);
    const std::vector<Record> flat = read_as(
        "challenge.jsonl",
        R"({"id":"M_1","question":"S?","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"A"})");
    REQUIRE(flat[0].task_name == "arc_challenge");
    REQUIRE(flat[0].benchmark == "ARC-Challenge");
    REQUIRE(flat[0].instruction == records[0].instruction);
    REQUIRE(flat[0].output == "(A)");
    const auto error = [](const std::string& rest) { return error_as("r.jsonl", R"({"id":"M",)" + rest + "}"); };
    REQUIRE_THAT(error(R"("question":"S?","choices":{"text":["x"],"label":["A","B"]},"answerKey":"A")"),
               StartsWith("r.jsonl:1: choices.text and choices.label are not two lists of one length"));
    REQUIRE_THAT(error(R"("question":"S?","choices":{"text":["x"],"label":["A"]},"answerKey":"D")"),
               Contains("answerKey is \"D\", which is none of the options A"));
    REQUIRE_THAT(error(R"("question":"S?","choices":{"text":["x"],"label":["AB"]},"answerKey":"AB")"),
               Contains("choices.label[0] is \"AB\", expected one letter or digit"));
    REQUIRE_THAT(error(R"("question":"S?","answerKey":"A")"), Contains("the field choices is missing"));
    REQUIRE_THAT(error(R"("question":{"choices":[]},"answerKey":"A")"), Contains("the field stem is missing"));
    REQUIRE_THAT(error(R"("question":{"stem":"S","choices":[]},"answerKey":"A")"), Contains("choices is empty"));
    REQUIRE_THAT(error(R"("question":{"stem":"S","choices":["x"]},"answerKey":"A")"), Contains("choices[0] is string"));
    REQUIRE_THAT(error(R"("question":"S?","choices":{"text":["x"],"label":["A"]})"),
                 Contains("the field answerKey is missing"));
    REQUIRE_THAT(error(R"("question":{"stem":"S","choices":[{"text":"x","label":"A"}]})"),
                 Contains("question is object"));
}

TEST_CASE("a record of one's own with fields of a benchmark stays a record", "[benchmarks]") {
    const std::vector<Record> records = read_as(
        "r.jsonl", R"({"task_name":"t","instruction":"q","output":"a","question":"other","answer":"#### 5","label":"A"})");
    REQUIRE(records[0].instruction == "q");
    REQUIRE(records[0].benchmark.empty());
    REQUIRE_THAT(error_as("r.jsonl", R"({"instruction":"q","question":"other","answer":"#### 5"})"),
               Contains("the field task_name is missing"));
}

TEST_CASE("questions of several files and folders, in order, each with an id of its own", "[benchmarks]") {
    const TempFolder folder;
    put_file(folder / "b.json", R"({"examples":[{"input":"1","target":"x"},{"input":"2","target":"x"}]})");
    put_file(folder / "a.json", R"({"examples":[{"input":"3","target":"x"},{"input":"4","target":"x"}]})");
    put_file(folder / "LICENSE", "text");
    const std::vector<Record> records = read_questions({folder.path()}, 1);
    REQUIRE(records.size() == 2);
    REQUIRE(records[0].id == "a-1");
    REQUIRE(records[1].id == "b-1");
    REQUIRE_THAT(error_of([&] { read_questions({folder / "a.json", folder.path()}); }), Contains("id is \"a-1\""));
    std::filesystem::create_directory(folder / "empty");
    REQUIRE_THAT(error_of([&] { read_questions({folder / "empty"}); }), Contains("holds no .json or .jsonl file"));
}

TEST_CASE("published test questions are never trained on, recorded data and GSM8K's training split are",
          "[benchmarks]") {
    const std::vector<Record> bbh = read_as("train.json", R"({"examples":[{"input":"q","target":"x"}]})");
    REQUIRE_THAT(error_of([&] { check_trainable(bbh, "data/train.json"); }),
               StartsWith("data/train.json: holds questions of BIG-Bench Hard as published"));
    const std::vector<Record> gsm8k = read_as("test.jsonl", R"({"question":"q","answer":"#### 1"})");
    REQUIRE_THAT(error_of([&] { check_trainable(gsm8k, "gsm8k/test.jsonl"); }), Contains("GSM8K"));
    REQUIRE_NOTHROW(check_trainable(gsm8k, "gsm8k/train.jsonl"));
    REQUIRE_NOTHROW(check_trainable(
        read_as("t.jsonl", R"({"task_name":"navigate","instruction":"q","output":"Yes","response":"r"})"), "t.jsonl"));
}

TEST_CASE("a file cut anywhere is read or refused by name, whatever its layout", "[benchmarks]") {
    const TempFolder folder;
    const std::string files[] = {
        R"j({"canary":"c","examples":[{"input":"q","target":"(A)"}]})j",
        R"({"question":"q","answer":"<<1+1=2>>2\n#### 2"})",
        R"({"question":"q","answer":"2","perturbation_type":"x","seed_question":"s"})",
        R"j({"passage":"p","question":"q","options":["(A)x","(B)y"],"label":"A","answer":null})j",
        R"({"id":"i","question":{"stem":"s","choices":[{"text":"x","label":"A"}]},"answerKey":"A"})",
        R"({"id":"i","question":"s","choices":{"text":["x"],"label":["1"]},"answerKey":"1"})",
    };
    for (const std::string& file : files) {
        for (size_t size = 0; size < file.size(); size++) {
            put_file(folder / "cut.jsonl", file.substr(0, size));
            const std::string error = error_of([&] { read_records(folder / "cut.jsonl"); });
            INFO(file.substr(0, size) << "\n" << error);
            REQUIRE_THAT(error, Contains("cut.jsonl"));
        }
        put_file(folder / "cut.jsonl", file);
        REQUIRE(read_records(folder / "cut.jsonl").size() == 1);
    }
}

TEST_CASE("the published files are read as a whole, and their own answers are right", "[benchmarks]") {
    const std::string root = shared_or_skip("data");
    if (root.empty()) {
        return;
    }
    const std::vector<Record> records = read_questions({root + "/bbh", root + "/gsm8k", root + "/agieval"});
    REQUIRE(records.size() == 3146 + 1319 + 254 + 230);
    std::set<std::string> tasks;
    for (const Record& record : records) {
        tasks.insert(record.task_name);
        INFO(record.id << ": " << record.output);
        REQUIRE(record.instruction.find("canary") == std::string::npos);
        REQUIRE(record.response.find("<<") == std::string::npos);
        const std::string said = "Therefore, the answer is " + record.output + ".";
        REQUIRE(judge(record.task_name, record.instruction, record.output, said).correct);
    }
    REQUIRE(tasks.size() == 13 + 1 + 2);
}
