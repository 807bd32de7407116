// Reading and comparing answers: a table of own cases rule by rule (docs/method.md, "Evaluation"), and the
// verdicts of the published scorer where the shared files are there.
#include "test.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "support/files.h"
#include "tasks/answer.h"
#include "test_support.h"

using namespace skintern;
using Json = nlohmann::json;

namespace {

const std::string kShops =
    "Which shop is the cheapest?\nOptions:\n(A) the bakery\n(B) the mill\n(C) mill lane market";
const std::string kCounts = "How many jars are left?\nOptions:\n(A) 5\n(B) 2\n(C) 3";
const std::string kPrices = "What does the lamp cost?\nOptions:\n(A)$61.50\n(B)$6.15\n(C)2(x + 1)";
const std::string kNumbered = "Pick a year.\n(1) 1999\n(2) 2000\n(3) 1";
const std::string kBrackets = "Close the brackets: < ( [ ( ) >";

struct Case {
    const char* task;
    std::string question;
    const char* gold;
    const char* generated;
    const char* verdict; // "strict", "right", "wrong" (read, but wrong) or "unread"
};

std::string word_for(const Verdict& v) {
    if (v.strict) {
        return v.correct && v.readable ? "strict" : "strict but not right";
    }
    if (v.correct) {
        return v.readable ? "right" : "right but not readable";
    }
    return v.readable ? "wrong" : "unread";
}

void check_table(const std::vector<Case>& table) {
    for (const Case& c : table) {
        INFO(c.task << ", gold " << c.gold << ": " << c.generated);
        const Verdict v = judge(c.task, c.question, c.gold, c.generated);
        INFO("text '" << v.answer.text << "', choice '" << v.answer.choice << "', content '"
                      << v.answer.content << "'; gold choice '" << v.gold.choice << "', content '"
                      << v.gold.content << "'");
        REQUIRE(word_for(v) == c.verdict);
    }
}

} // namespace

TEST_CASE("rule 1: the gold answer gets the text of its option", "[answer]") {
    const Verdict b = judge("shops", kShops, "(B)", "");
    REQUIRE(b.gold.choice == "(b)");
    REQUIRE(b.gold.content == "the mill");
    REQUIRE(b.gold.text == "(b) the mill");
    // The option's line, not an earlier mention.
    const Verdict mention = judge("shops", "Not (A), says Ann.\n(A) tea\n(B) milk", "(A)", "");
    REQUIRE(mention.gold.content == "tea");
    // What follows the first ")", with its own brackets; lower-case beyond ASCII; final full stops gone.
    REQUIRE(judge("t", kPrices, "(C)", "").gold.content == "2(x + 1)");
    REQUIRE(judge("t", "(A) \u00c4RGER \u00c9T\u00c9..", "(A)", "").gold.content ==
            "\u00e4rger \u00e9t\u00e9");
    REQUIRE(judge("t", kNumbered, "(2)", "").gold.choice == "(2)");
    REQUIRE(judge("t", "", " 12. ", "").gold.content == "12");
    REQUIRE(judge("t", kBrackets, ") ] >", "").gold.content == ") ] >"); // brackets, but no "(": as it is
    REQUIRE(judge("t", "", "Yes", "").gold.choice.empty());
}

TEST_CASE("rule 2: the first marker in order decides, up to the end of its sentence", "[answer]") {
    check_table({
        {"shops", kShops, "(B)", "Bread is dear. Therefore, the answer is (B).", "strict"},
        {"shops", kShops, "(B)", "The answer is (A), or so it seems. Therefore, the answer is (B).",
         "strict"},
        {"shops", kShops, "(B)", "Therefore, the answer is (A). Therefore, the answer is (B).", "wrong"},
        {"shops", kShops, "(B)", "Therefore, the answer is (B). Therefore, the answer is (A).", "strict"},
        {"shops", kShops, "(B)", "Therefore, the answer is Therefore, the answer is (B).", "unread"},
        {"shops", kShops, "(B)", "[Answer Prediction]: (B)", "right"},
        {"shops", kShops, "(B)", "So the correct answer is option B. Not A.", "right"},
        {"shops", kShops, "(B)", "The correct answer is (B) the mill", "right"},
        {"shops", kShops, "(B)", "### Response: the mill", "right"},
        {"shops", kShops, "(B)", "I think my answer is (B)", "right"},
        {"shops", kShops, "(B)", "A: (B)", "right"},
        {"shops", kShops, "(B)", "THEREFORE, THE ANSWER IS (B)", "right"}, // no marker: the first sentence
        {"shops", kShops, "(B)", "The mill opens late. It is (B)",
         "right"}, // by the content of the first sentence
        {"shops", kShops, "(B)", "Ann goes out. It is (B)", "unread"},
        {"shops", kShops, "(B)", "It is (B)\n\nQuestion: And now? Therefore, the answer is (A).", "right"},
        {"shops", kShops, "(B)", "Question: What? Therefore, the answer is (B).", "unread"},
        {"shops", kShops, "(B)", "Therefore, the answer is (B)\n \t\nbecause (A) is dear", "strict"},
        {"shops", kShops, "(B)", "Therefore, the answer is\n\n(B)", "strict"},
        {"lamps", kPrices, "(A)", "Therefore, the answer is $61.50. It is cheap.", "right"},
        {"shops", kShops, "(B)", "", "unread"},
        {"shops", kShops, "(B)", " \n\u00a0", "unread"},
        {"shops", kShops, "(B)", "Therefore, the answer is ", "unread"},
        {"shops", kShops, "(B)", "...", "unread"},
        {"shops", kShops, "(B)", "\xff\xfe Therefore, the answer is (B).", "strict"},
    });
}

TEST_CASE("rule 3: formal fallacies are compared by the word invalid", "[answer]") {
    check_table({
        {"formal_fallacies", "", "valid", "Therefore, the answer is valid.", "strict"},
        {"formal_fallacies", "", "invalid", "Therefore, the answer is Invalid.", "strict"},
        {"formal_fallacies", "", "valid", "Therefore, the answer is invalid.", "wrong"},
        {"formal_fallacies", "", "invalid", "Therefore, the answer is valid.", "wrong"},
        {"formal_fallacies", "", "invalid", "The argument is invalid, as shown.", "right"},
        {"formal_fallacies", "", "invalid", "Therefore, the answer is not valid.", "wrong"},
        {"formal_fallacies", "", "valid", "", "unread"},
        {"formal_fallacies", "", "valid", "Therefore, the answer is .", "unread"},
    });
}

TEST_CASE("rule 4: number tasks are decided by the last number, as a number", "[answer]") {
    check_table({
        {"gsm8k", "", "18", "Therefore, the answer is 18.", "strict"},
        {"gsm8k", "", "18", "Therefore, the answer is 18.00.", "strict"},
        {"gsm8k", "", "18", "Therefore, the answer is $18 a day.", "right"},
        {"gsm8k", "", "18", "Therefore, the answer is 18. It takes 3 steps.", "strict"},
        {"gsm8k", "", "18", "6 eggs at 3 each. That makes 6 * 3 = 18 in all",
         "right"}, // no marker: the last of all
        {"gsm8k", "", "18", "It is 18.\n\nQuestion: What is 1 + 1?\nAnswer: 2", "right"},
        {"gsm8k", "", "18", "Therefore, the answer is 81.", "wrong"},
        {"gsm8k", "", "18", "Therefore, the answer is eighteen.", "unread"},
        {"gsm8k", "", "18", "", "unread"},
        {"gsm8k", "", "0.5", "Therefore, the answer is .5", "strict"},
        {"gsm8k", "", ".50", "Therefore, the answer is 0.5", "strict"},
        {"gsm8k", "", "1,000", "Therefore, the answer is 1000", "strict"},
        {"gsm8k", "", "1250000", "Therefore, the answer is $1,250,000", "strict"},
        {"gsm8k", "", "3", "Therefore, the answer is 1,2,3", "right"}, // a list, not thousands
        {"gsm8k", "", "25", "Therefore, the answer is 25%.", "strict"},
        {"gsm8k", "", "-10", "Therefore, the answer is -10.", "strict"},
        {"gsm8k", "", "-10", "Therefore, the answer is \u221210.", "strict"}, // U+2212
        {"gsm8k", "", "-10", "Therefore, the answer is -$10.", "strict"},
        {"gsm8k", "", "-10", "Therefore, the answer is 10.", "wrong"},
        {"gsm8k", "", "5", "Therefore, the answer is 9-5", "right"}, // a minus between numbers is no sign
        {"gsm8k", "", "0", "Therefore, the answer is -0.0", "strict"},
        {"gsm8k", "", "12345678901234567890", "Therefore, the answer is 12345678901234567891", "wrong"},
        {"gsm8k", "", "3*20=<<3*20=60>>60 cups, less 40.\n#### 20", "Therefore, the answer is 20", "strict"},
        {"MetaMathQA", "", "7", "The answer is: 7", "right"},
        {"math", "", "\\$32", "Therefore, the answer is 32.", "strict"},
        {"math", "", "90^\\circ", "Therefore, the answer is 90 degrees.", "right"},
        // A gold that is more than a number is compared whole.
        {"math", "", "\\frac{295}{396}", "Therefore, the answer is \\frac{1}{396}.", "wrong"},
        {"math", "", "\\frac{295}{396}", "Therefore, the answer is \\frac{295}{396}.", "strict"},
        {"math", "", "(3,4]", "Therefore, the answer is (0,4].", "wrong"},
        {"math", "", "x - 3z = 0", "Therefore, the answer is y = 0.", "wrong"},
        {"sat-math", kCounts, "(C)", "Therefore, the answer is (C).",
         "strict"}, // a choice, whatever the name
    });
}

TEST_CASE("rule 5: a choice is compared with a choice, and otherwise content with content", "[answer]") {
    check_table({
        {"shops", kShops, "(B)", "Therefore, the answer is B.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is b", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is (B) the mill.", "strict"},
        {"shops", kShops, "(B)", "Therefore, the answer is (B) the bakery.", "right"}, // the letter decides
        {"shops", kShops, "(B)", "Therefore, the answer is (A) the mill.", "wrong"},
        {"shops", kShops, "(B)", "Therefore, the answer is Option B.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is [B].", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is B).", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is **(B)**.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is \uff08B\uff09.", "strict"}, // full-width brackets
        {"shops", kShops, "(B)", "Therefore, the answer is (B) because (A) is dear.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is f(x), (B).", "right"}, // Q has no option (x)
        {"shops", kShops, "(B)", "Therefore, the answer is (Z).", "unread"},
        {"shops", kShops, "(B)", "Therefore, the answer is The Mill.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is surely 'the mill'.", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is the bakery, not the mill.",
         "unread"}, // two contents
        {"shops", kShops, "(B)", "Therefore, the answer is the miller.", "unread"},
        {"jars", kCounts, "(C)", "Therefore, the answer is 3.", "right"}, // a content, as no option is "(3)"
        {"jars", kCounts, "(C)", "Therefore, the answer is 3 jars.", "right"},
        {"jars", kCounts, "(C)", "Therefore, the answer is 5.", "wrong"},
        {"jars", kCounts, "(C)", "Therefore, the answer is 3/5.", "unread"},
        {"years", kNumbered, "(3)", "Therefore, the answer is 3.", "right"}, // a label before a content
        {"years", kNumbered, "(2)", "Therefore, the answer is (2) 2000.", "strict"},
        {"lamps", kPrices, "(C)", "Therefore, the answer is 2(x + 1).", "right"},
        {"steps", "(1) Mix.\n(2) Bake.\nIs it (A) or (B)?", "(B)", "Therefore, the answer is (B).", "strict"},
        {"letters", "Which letter?", "B", "Therefore, the answer is (B).", "strict"},
        {"letters", "Which letter?", "(B)", "Therefore, the answer is b", "right"},
        {"navigate", "", "No", "Therefore, the answer is No.", "strict"},
        {"navigate", "", "No", "Therefore, the answer is no", "strict"},
        {"navigate", "", "No", "Therefore, the answer is Yes.", "wrong"},
        {"navigate", "", "No", "Therefore, the answer is No, it is not.", "wrong"},
        {"navigate", "", "No", "", "unread"},
        {"boolean_expressions", "", "True", "True", "right"},
        {"dyck_languages", kBrackets, ") ] >", "Therefore, the answer is ) ] >.", "strict"},
        {"dyck_languages", kBrackets, ") ] >", "Therefore, the answer is ] ) >.", "wrong"},
        {"dyck_languages", kBrackets, ")", "Therefore, the answer is ).", "strict"},
        {"word_sorting", "", "adoption barn", "Therefore, the answer is adoption barn.", "strict"},
        {"object_counting", "", "8", "Therefore, the answer is 8.", "strict"},
        {"object_counting", "", "8", "Therefore, the answer is 8 spoons.", "right"},
        {"object_counting", "", "8", "Therefore, the answer is 8.5.", "wrong"},
        {"multistep_arithmetic_two", "", "24", "Therefore, the answer is 24.0", "strict"},
        {"multistep_arithmetic_two", "", "-24", "Therefore, the answer is 24", "wrong"},
        {"anything", "", "", "Therefore, the answer is .", "unread"},
    });
}

TEST_CASE("strict asks for the mark and nothing but the answer", "[answer]") {
    check_table({
        {"shops", kShops, "(B)", "The answer is (B).", "right"},
        {"shops", kShops, "(B)", "Therefore the answer is (B).", "right"}, // no comma
        {"shops", kShops, "(B)", "Therefore, the answer is: (B).", "right"},
        {"shops", kShops, "(B)", "Therefore, the answer is option (B).", "right"},
        {"gsm8k", "", "18", "The answer is 18.", "right"},
        {"gsm8k", "", "18", "Therefore, the answer is 2 * 9 = 18.", "right"},
        {"formal_fallacies", "", "valid", "Therefore, the answer is quite valid.", "right"},
        {"object_counting", "", "8", "8", "right"},
    });
}

TEST_CASE("the published scorer's verdicts are matched where they are sound", "[answer]") {
    const std::string path = shared_or_skip("oracles/answers.jsonl");
    if (path.empty()) {
        return;
    }
    // Rows on which a person and the published scorer differ, and our rules are with the person.
    const std::set<std::string> better = {"s015", "s016", "s055", "s082", "s086", "s089", "s090",
                                          "s099", "s100", "s101", "s107", "s114", "s117", "s118",
                                          "s126", "s128", "s132", "s134", "s139"};
    std::ifstream file(path);
    int rows = 0;
    for (std::string line; std::getline(file, line); ++rows) {
        const Json row = Json::parse(line);
        const auto id = row["id"].get<std::string>();
        INFO(id << ": " << row["generated"].get<std::string>().substr(0, 200));
        const bool official = row["official_verdict"].get<bool>();
        const Verdict v = judge(row["task"], row["question"], row["gold"], row["generated"]);
        REQUIRE(v.correct == (better.count(id) > 0 ? !official : official));
        REQUIRE((better.count(id) == 0 || row.value("official_bug", false)));
        REQUIRE((v.readable || !v.correct));
        REQUIRE((v.correct || !v.strict));
    }
    REQUIRE(rows == 140);
}

TEST_CASE("the gold answer of every published row is strictly right, and another row's answer is not",
          "[answer]") {
    for (const char* name : {"boolean_expressions", "date_understanding", "dyck_languages",
                             "formal_fallacies", "geometric_shapes", "logical_deduction_three_objects",
                             "multistep_arithmetic_two", "navigate", "object_counting", "penguins_in_a_table",
                             "tracking_shuffled_objects_three_objects", "web_of_lies", "word_sorting"}) {
        const std::string path = shared_or_skip("data/bbh/" + std::string(name) + ".json");
        if (path.empty()) {
            continue;
        }
        std::string other;
        const Json rows = Json::parse(read_file(path))["examples"];
        for (const Json& row : rows) {
            const auto gold = row["target"].get<std::string>();
            const auto question = row["input"].get<std::string>();
            INFO(name << ": " << gold);
            REQUIRE(judge(name, question, gold, "So. Therefore, the answer is " + gold + ".").strict);
            if (!other.empty() && other != gold) {
                REQUIRE_FALSE(judge(name, question, gold, "Therefore, the answer is " + other + ".").correct);
            }
            other = gold;
        }
    }
}
