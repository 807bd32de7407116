// Records: JSONL and JSON in and out, and every way in which a file of them can be wrong.
#include "test.h"

#include <string>
#include <vector>

#include "support/files.h"
#include "tasks/task.h"
#include "test_support.h"

using namespace skintern;

namespace {

const std::string kGood = R"({"task_name":"math","instruction":"1+1?","output":"2"})";

Record full_record() {
    Record r;
    r.id = "train-1";
    r.task_name = "navigate";
    r.task_description = "Say where one ends up.";
    r.prefix_prompt = "Answer briefly.";
    r.instruction = "Line one\nline \"two\" \\ é 漢 \xf0\x9f\x98\x80\t";
    r.output = "(B)";
    r.response = "Therefore, the answer is (B).";
    r.learning_summary = "Add the steps.";
    r.supplementary_knowledge = "North is up.";
    r.summary = r.learning_summary + "\n" + r.supplementary_knowledge;
    r.knowledge = {"North . up", "South . down"};
    r.summarydec = {"Add steps. North up.", "", "steps"};
    r.facts_needed = {"price:brask"};
    r.facts_stated = {"price:brask", "price:tolm"};
    r.coverage = "covered";
    r.split = "train";
    return r;
}

void require_equal(const Record& a, const Record& b) {
    REQUIRE(a.id == b.id);
    REQUIRE(a.task_name == b.task_name);
    REQUIRE(a.task_description == b.task_description);
    REQUIRE(a.prefix_prompt == b.prefix_prompt);
    REQUIRE(a.instruction == b.instruction);
    REQUIRE(a.output == b.output);
    REQUIRE(a.response == b.response);
    REQUIRE(a.summary == b.summary);
    REQUIRE(a.learning_summary == b.learning_summary);
    REQUIRE(a.supplementary_knowledge == b.supplementary_knowledge);
    REQUIRE(a.knowledge == b.knowledge);
    REQUIRE(a.summarydec == b.summarydec);
    REQUIRE(a.facts_needed == b.facts_needed);
    REQUIRE(a.facts_stated == b.facts_stated);
    REQUIRE(a.coverage == b.coverage);
    REQUIRE(a.split == b.split);
}

// Reads `bytes` as a file of records; the sentence of the error without the folder's name, or "".
class Reader {
public:
    std::string operator()(const std::string& bytes, int64_t limit = 0) {
        const std::string path = folder / "data.jsonl";
        put_file(path, bytes);
        const std::string message = error_of([&] { records = read_records(path, limit); });
        REQUIRE((message.empty() || message.starts_with(path)));
        return message.empty() ? "" : message.substr(folder.path().size() + 1);
    }
    const TempFolder folder;
    std::vector<Record> records;
};

// A line with all that is required and `more` behind it.
std::string with(const std::string& more) {
    return kGood.substr(0, kGood.size() - 1) + "," + more + "}";
}

} // namespace

TEST_CASE("a record with every field comes back from its line, and from a file", "[task]") {
    const Record record = full_record();
    const std::string line = record_to_json(record);
    REQUIRE(line.find('\n') == std::string::npos);
    REQUIRE_THAT(line, Contains("\"summarydec1\":\"Add steps. North up.\"") &&
                           Contains("\"summarydec3\":\"steps\""));
    require_equal(record_from_json(line, "line"), record);
    const TempFolder folder;
    Record other = record;
    other.id = "train-2";
    other.summary = "not the parts joined";
    Record odd;
    odd.id = "train-3";
    odd.task_name = odd.instruction = odd.output = "x";
    odd.learning_summary = "a part, but an empty summary";
    write_records(folder / "r.jsonl", {record, other, odd});
    const std::vector<Record> back = read_records(folder / "r.jsonl");
    REQUIRE(back.size() == 3);
    require_equal(back[0], record);
    require_equal(back[1], other);
    require_equal(back[2], odd);
}

TEST_CASE("JSONL and a JSON list of the same records read alike, with CRLF, a BOM and blank lines",
          "[task]") {
    Reader read;
    const std::string a = with("\"id\":\"a\"");
    const std::string b = with("\"id\":\"b\",\"unknown_field\":{\"deep\":[1,2]}");
    for (const std::string& text :
         {a + "\n" + b + "\n", a + "\n" + b, a + "\r\n" + b + "\r\n", "\xef\xbb\xbf" + a + "\n" + b + "\n",
          "\n" + a + "\n\n  \n" + b + "\n\n", "[" + a + "," + b + "]",
          "\xef\xbb\xbf [\r\n" + a + ",\r\n" + b + "]\r\n"}) {
        REQUIRE(read(text) == "");
        REQUIRE(read.records.size() == 2);
        REQUIRE(read.records[0].id == "a");
        REQUIRE(read.records[1].id == "b");
        REQUIRE(read.records[1].instruction == "1+1?");
    }
}

TEST_CASE("a limit keeps the first rows, and does not look at the others", "[task]") {
    Reader read;
    REQUIRE(read(kGood + "\n" + kGood + "\nnonsense\n", 2) == "");
    REQUIRE(read.records.size() == 2);
    REQUIRE(read("[" + kGood + "," + kGood + ",7]", 2) == "");
    REQUIRE(read.records.size() == 2);
    REQUIRE(read(kGood, 100) == "");
    REQUIRE_THAT(read(kGood, -1), Contains("the limit of records is -1"));
}

TEST_CASE("a recorded summary and its parts may each be missing", "[task]") {
    REQUIRE(record_from_json(with(R"("summary":"S\nK")"), "x").summary == "S\nK");
    REQUIRE(record_from_json(with(R"("summary":"S\nK")"), "x").learning_summary.empty());
    REQUIRE(record_from_json(with(R"("learning_summary":"S","supplementary_knowledge":"K")"), "x").summary ==
            "S\nK");
    REQUIRE(record_from_json(with(R"("supplementary_knowledge":"K")"), "x").summary == "K");
    REQUIRE(record_from_json(with(R"("summary":null,"learning_summary":"S")"), "x").summary == "S");
    REQUIRE(record_from_json(with(R"("response":null,"knowledge":null)"), "x").knowledge.empty());
    REQUIRE(record_from_json(kGood, "x").summary.empty());
}

TEST_CASE("records without an id get one from their place, and two of the same are refused", "[task]") {
    Reader read;
    REQUIRE(read(kGood + "\n\n" + kGood) == "");
    REQUIRE(read.records[0].id == "row 1");
    REQUIRE(read.records[1].id == "row 3"); // the line: what an editor shows
    REQUIRE(read("[" + kGood + "," + kGood + "]") == "");
    REQUIRE(read.records[1].id == "row 2");
    const std::string same = with("\"id\":\"same\"");
    REQUIRE_THAT(read(kGood + "\n" + same + "\n" + same), Contains("data.jsonl:3: id is \"same\", as at"));
    REQUIRE_THAT(read("[" + same + "," + same + "]"), Contains("element 2: id is \"same\", as at"));
}

TEST_CASE("a missing, empty or wrongly typed field is named with file and line", "[task]") {
    Reader read;
    const auto second = [&read](const std::string& line) {
        return read(kGood + "\n" + line + "\n" + kGood + "\n");
    };
    REQUIRE(second(R"({"instruction":"q","output":"a"})") == "data.jsonl:2: the field task_name is missing");
    REQUIRE(second(R"({"task_name":"t","output":"a"})") == "data.jsonl:2: the field instruction is missing");
    REQUIRE(second(R"({"task_name":"t","instruction":"q"})") == "data.jsonl:2: the field output is missing");
    REQUIRE(second(R"({"task_name":"t","instruction":"","output":"a"})") ==
            "data.jsonl:2: instruction is empty");
    REQUIRE(second(R"({"task_name":"t","instruction":"q","output":" \n"})") ==
            "data.jsonl:2: output is empty");
    REQUIRE(second(R"({"task_name":"t","instruction":"q","output":14})") ==
            "data.jsonl:2: output is number, expected a string");
    REQUIRE(second(R"({"task_name":"t","instruction":null,"output":"a"})") ==
            "data.jsonl:2: instruction is null, expected a string");
    REQUIRE(second(with(R"("response":["x"])")) == "data.jsonl:2: response is array, expected a string");
    REQUIRE(second(with(R"("summary":{})")) == "data.jsonl:2: summary is object, expected a string");
    REQUIRE(second(with(R"("knowledge":"one")")) ==
            "data.jsonl:2: knowledge is string, expected a list of strings");
    REQUIRE(second(with(R"("knowledge":["one",2])")) ==
            "data.jsonl:2: knowledge[1] is number, expected a string");
    REQUIRE(second(with(R"("summarydec1":5)")) == "data.jsonl:2: summarydec1 is number, expected a string");
    REQUIRE_THAT(second(with(R"("summarydec1":"a","summarydec3":"c")")),
                 Contains("data.jsonl:2: summarydec2 is missing"));
    REQUIRE_THAT(second(with(R"("output":"3")")), Contains("data.jsonl:2: the key \"output\" occurs twice"));
    REQUIRE(read("[" + kGood + ",{}]") == "data.jsonl: element 2: the field task_name is missing");
}

TEST_CASE("what is no object is named with file and line", "[task]") {
    Reader read;
    REQUIRE_THAT(read(kGood + "\n[1]\n"), Contains("data.jsonl:2: is array, expected an object"));
    REQUIRE_THAT(read("\"text\""), Contains("data.jsonl:1: is string, expected an object"));
    REQUIRE_THAT(read("null"), Contains("data.jsonl:1: is null, expected an object"));
    REQUIRE_THAT(read("[" + kGood + ",7]"), Contains("data.jsonl: element 2: is number, expected an object"));
    REQUIRE_THAT(read("plain text\n"), Contains("data.jsonl:1: is not valid JSON"));
    REQUIRE_THAT(read(kGood + "\n" + kGood + " " + kGood + "\n"),
                 Contains("data.jsonl:2: is not valid JSON"));
    REQUIRE_THAT(read("[" + kGood + "]\n" + kGood),
                 Contains("data.jsonl: is not valid JSON") && Contains("(line 2)"));
    REQUIRE_THAT(read(kGood + "\n" + std::string(100'000, '[')),
                 Contains("data.jsonl:2") && Contains("64 deep"));
}

TEST_CASE("an empty file, or one of no records, is refused", "[task]") {
    Reader read;
    REQUIRE(read("") == "data.jsonl: is empty, expected records");
    REQUIRE(read("\xef\xbb\xbf\r\n \n") == "data.jsonl: is empty, expected records");
    REQUIRE(read("[]") == "data.jsonl: holds no records");
    REQUIRE_THAT(error_of([] { read_records("no/such.jsonl"); }),
                 Contains("no/such.jsonl: cannot be opened"));
}

TEST_CASE("a file cut in the middle of a line says so, wherever it is cut", "[task]") {
    Reader read;
    for (size_t size = 1; size < kGood.size(); ++size) {
        REQUIRE_THAT(
            read(kGood + "\n" + kGood.substr(0, size)),
            Contains("data.jsonl:2 (the last line, without a newline: is the file cut?): is not valid JSON"));
    }
    REQUIRE_THAT(read("[" + kGood + ",\n" + kGood.substr(0, 20)), Contains("data.jsonl: is not valid JSON"));
}

TEST_CASE("invalid UTF-8, lone surrogates and NUL are refused with file and line", "[task]") {
    Reader read;
    const auto output = [&read](const std::string& text) {
        return read(kGood + "\n" + R"({"task_name":"t","instruction":"q","output":")" + text + "\"}\n");
    };
    REQUIRE(output("é 漢 \xf0\x9f\x98\x80 \\ud83d\\ude00") == "");
    for (const char* bad : {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\\ud83d", "\\ude00", "\\ud83d\\u0041", "\x01", "\\x41"}) {
        REQUIRE_THAT(output(bad), Contains("data.jsonl:2: is not valid JSON"));
    }
    REQUIRE_THAT(output("a\\u0000b"), Contains("data.jsonl:2: output holds a NUL character"));
    REQUIRE_THAT(output(std::string("a\0b", 3)), Contains("data.jsonl:2: holds a NUL byte"));
    REQUIRE_THAT(read(kGood + std::string("\0", 1)),
                 Contains("data.jsonl:1") && Contains("holds a NUL byte"));
    REQUIRE_THAT(read(std::string("\xff\xfe{\0}\0", 6)), Contains("data.jsonl:1")); // UTF-16
    Record record = full_record();
    record.response = "\xff";
    REQUIRE_THAT(error_of([&] { record_to_json(record); }),
                 Contains("\"train-1\"") && Contains("not valid UTF-8"));
}

TEST_CASE("a line of a megabyte without a space loads", "[task]") {
    Reader read;
    REQUIRE(read(R"({"task_name":"t","output":"a","instruction":")" + std::string(1'000'000, 'x') + "\"}") ==
            "");
    REQUIRE(read.records[0].instruction.size() == 1'000'000);
}
