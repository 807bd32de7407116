// BM25: scores worked out by hand, and what a question without a match gets.
#include "test_support.h"

#include <algorithm>

#include "method/methods.h"
#include "support/files.h"
#include "tasks/retrieve.h"
#include "tasks/teacher.h"

using namespace skintern;

TEST_CASE("passages are ranked by BM25", "[retrieve]") {
    // D = 3, mean length 3. "cat" stands in two passages: idf = ln(1 + 1.5 / 2.5) = 0.4700.
    // f = 2, |d| = 4: 2 / (2 + 0.9 (0.6 + 0.4 * 4/3)) = 0.6622;   f = 1, |d| = 2: 1 / (1 + 0.9 (0.6 + 0.4 * 2/3)) = 0.5618
    const Retriever retriever({"The dog runs.", "A cat, a CAT", "cat nap"});
    REQUIRE(retriever.best("cat", 3) == std::vector<std::string>{"A cat, a CAT", "cat nap"});
    REQUIRE(retriever.best("cat", 1) == std::vector<std::string>{"A cat, a CAT"});
    // "nap" (in one passage: idf = ln(1 + 2.5 / 1.5) = 0.9808) turns the order round.
    REQUIRE(retriever.best("cat nap", 2) == std::vector<std::string>{"cat nap", "A cat, a CAT"});
}

TEST_CASE("length is counted against a passage, equals keep their order", "[retrieve]") {
    const Retriever retriever({"fish and a great many other words", "fish too", "fish two"});
    REQUIRE(retriever.best("fish", 3) ==
            std::vector<std::string>{"fish too", "fish two", "fish and a great many other words"});
}

TEST_CASE("no shared word, no passage", "[retrieve]") {
    REQUIRE(Retriever({"one", "two"}).best("three", 3).empty());
    REQUIRE(Retriever({}).best("three", 3).empty());
    REQUIRE(Retriever({""}).best("", 3).empty());
}

TEST_CASE("only records without knowledge are given some", "[retrieve]") {
    std::vector<Record> records(3);
    records[0].knowledge = {"Stars . A star is far away.", "Cats . A cat sleeps."};
    records[1].knowledge = {"Cats . A cat sleeps."};
    records[2].task_description = "Say what an animal does.";
    records[2].instruction = "What does a cat do?";
    const std::vector<std::string> passages = all_passages(records);
    REQUIRE(passages == std::vector<std::string>{"Stars . A star is far away.", "Cats . A cat sleeps."});
    retrieve_knowledge(records, Retriever(passages));
    REQUIRE(records[0].knowledge.size() == 2);
    REQUIRE(records[2].knowledge.at(0) == "Cats . A cat sleeps.");
}

TEST_CASE("a corpus is written and read; a damaged line is named", "[retrieve]") {
    const TempFolder folder;
    const std::string path = folder / "corpus.jsonl";
    write_corpus(path, {"One. Two.", "\"Three\"\n"});
    REQUIRE(read_corpus(path) == std::vector<std::string>{"One. Two.", "\"Three\"\n"});
    for (const char* damaged : {"{\"passage\":1}", "[]", "{\"passage\":\"a\"", "text"}) {
        write_file(path, "{\"passage\":\"a\"}\n" + std::string(damaged) + "\n");
        REQUIRE_THROWS_WITH(read_corpus(path), Contains("corpus.jsonl:2: not a JSON object"));
    }
    write_file(path, "");
    REQUIRE_THROWS_WITH(read_corpus(path), Contains("holds no passage"));
}

TEST_CASE("every fact of the world stands in the corpus, and questions find some of theirs", "[retrieve]") {
    const World world(1);
    DataConfig data;
    data.train = 8;
    data.validation = 1;
    data.test = 4;
    auto splits = make_splits(data, world);
    const std::vector<std::string> corpus = knowledge_corpus(world, splits.at("train"));
    for (const Fact& fact : world.facts) {
        REQUIRE(std::any_of(corpus.begin(), corpus.end(),
                            [&](const std::string& passage) { return passage.find(fact.sentence) != std::string::npos; }));
    }
    std::vector<Record>& test = splits.at("test");
    retrieve(test, Retriever(corpus));
    int64_t needed = 0, found = 0;
    for (const Record& record : test) {
        REQUIRE(record.retrieved.value().size() <= 3);
        for (const std::string& id : record.facts_needed) {
            needed++;
            found += std::any_of(record.retrieved->begin(), record.retrieved->end(), [&](const std::string& passage) {
                return passage.find(world.fact(id).sentence) != std::string::npos;
            });
        }
    }
    INFO(found << " of " << needed);
    REQUIRE(found * 4 > needed); // 17 of 44: what a second step needs is not named in the question
}

TEST_CASE("a retriever that finds nothing leaves a question without passages, not with the teacher's", "[retrieve]") {
    std::vector<Record> records(1);
    records[0].instruction = "What is it?";
    records[0].knowledge = {"Gold . It is 7."};
    REQUIRE(!full_context(records[0], Knowledge::passages).knowledge.empty()); // nobody retrieved: what the record brings
    retrieve(records, Retriever({"something else"}));
    REQUIRE(full_context(records[0], Knowledge::passages).knowledge.empty());
    REQUIRE(!full_context(records[0], Knowledge::given).knowledge.empty());
}
