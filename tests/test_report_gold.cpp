// Tests of gold_in_knowledge.h: what counts as an answer that stands in the knowledge, and what is counted.
#include "test.h"

#include "report/gold_in_knowledge.h"
#include "small_runs.h"

using namespace skintern;

namespace {

Record record(const std::string& id, const std::string& question, const std::string& gold,
              const std::string& summary) {
    Record record;
    record.id = id;
    record.split = "test";
    record.task_name = "prices";
    record.task_description = "Say what it costs.";
    record.instruction = question;
    record.output = gold;
    record.response = "Therefore, the answer is " + gold + ".";
    record.summary = summary;
    record.learning_summary = summary;
    record.supplementary_knowledge = summary;
    return record;
}

} // namespace

TEST_CASE("a phrase is held as whole words, in any case and over any white space", "[report]") {
    REQUIRE(holds_phrase("The price is 7 coins.", "7"));
    REQUIRE(holds_phrase("It is 7.", "7"));
    REQUIRE(!holds_phrase("The price is 17 coins.", "7"));
    REQUIRE(!holds_phrase("The price is 7.5 coins, or 0.7, or 1,7 or 7,000.", "7"));
    REQUIRE(!holds_phrase("It is -7.", "7"));
    REQUIRE(holds_phrase("It is -7.", "-7"));
    REQUIRE(holds_phrase("from 3-7", "7"));
    REQUIRE(!holds_phrase("a tank", "tan"));
    REQUIRE(holds_phrase("The Tan\n  Cat sleeps", "tan cat"));
    REQUIRE(!holds_phrase("the tan dog", "tan cat"));
    REQUIRE(holds_phrase("close with ] ) >", "] )"));
    REQUIRE(!holds_phrase("schönes", "sch")); // letters of other scripts are letters
    REQUIRE(!holds_phrase("anything", ""));
    REQUIRE(!holds_phrase("", "x"));
}

TEST_CASE("of a choice its content is looked for", "[report]") {
    const std::string question = "What is it?\nOptions:\n(A) red\n(B) blue";
    REQUIRE(knowledge_holds_answer(record("1", question, "(B)", "The sky is blue.")));
    REQUIRE(!knowledge_holds_answer(record("1", question, "(B)", "Roses are red. See (B).")));
    REQUIRE(knowledge_holds_answer(record("1", "How many?", "14", "There are 14 of them.")));
}

TEST_CASE("answers in the knowledge are counted, and accuracy is told without them", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path()); // SKIntern: 1, 2, 3 right, 4 wrong
    make_folder(folder.path() + "/data");
    write_records(folder.path() + "/data/test.jsonl",
                  {record("1", "a?", "7", "It is 7."), record("2", "b?", "7", "It is 8."),
                   record("3", "c?", "7", "It is 7."), record("4", "d?", "7", "It is 8.")});
    put_file(folder.path() + "/data/unseen.jsonl", ""); // no family of the run is unseen
    const Json results = results_of(folder.path());
    REQUIRE(results["gold_in_knowledge"] ==
            Json::array({{{"split", "test"}, {"family", "prices"}, {"rows", 4}, {"held", 2}}}));
    const Json& ours = of_method(results, "skintern")["without_gold_in_knowledge"];
    REQUIRE(ours["id"]["mean"] == 0.5); // of 2 and 4
    REQUIRE(ours["id"]["rows"] == 2);
    REQUIRE(ours["ood"]["mean"].is_null());
    REQUIRE(holds(read_file(folder.path() + "/report.html"), "<td>2 of 4</td>"));
    put_file(folder.path() + "/data/test.jsonl", "{\"id\":3}\n");
    REQUIRE(holds(error_of([&] { write_report(folder.path()); }), "data/test.jsonl"));
}
