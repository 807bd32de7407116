// Tests of the report as Markdown, and of the tables that all reports share.
#include "test.h"

#include <sstream>

#include "report/tables.h"
#include "small_runs.h"

using namespace skintern;

TEST_CASE("a table is written for a terminal, for Markdown and for the page", "[report]") {
    const Table table = {"Title",
                         {"name", "of\nall", "why"},
                         {{"a|b", "1.5", "late"}, {"a name that is too long", "-", "<i>"}},
                         "Note"};
    REQUIRE(as_text(table) == "Title\n"
                              "name               of  why\n"
                              "                  all\n"
                              "a|b               1.5  late\n"
                              "a name that is ~    -  <i>\n"
                              "Note\n");
    REQUIRE(as_markdown(table) == "Title\n\n"
                                  "| name                    | of all | why  |\n"
                                  "| ----------------------- | -----: | ---- |\n"
                                  "| a\\|b                    |    1.5 | late |\n"
                                  "| a name that is too long |      - | <i>  |\n"
                                  "\nNote\n\n");
    const std::string html = as_html(table);
    REQUIRE(holds(html, "<th>of<br>all</th>"));
    REQUIRE(holds(html, "&lt;i&gt;"));
    REQUIRE(!holds(html, "<i>"));
}

TEST_CASE("one page of Markdown has every run with its tables", "[report]") {
    const TempFolder folder;
    const std::string first = folder / "methods", second = folder / "facts";
    for (const std::string& run : {first, second}) {
        make_folder(run);
        write_small_run(run);
    }
    const std::string page = markdown_of({first, second}, folder / "results.md");
    REQUIRE(page.starts_with("Made by `skintern report " + first + " " + second + " --markdown "));
    REQUIRE(holds(page, "\n## methods\n"));
    REQUIRE(holds(page, "\n## facts\n"));
    for (const char* part :
         {"### Accuracy and cost", "### Claims", "### Against Std-CoT", "### By split and by group of tasks",
          "### Facts", "### Part-skills", "### What fine-tuning cost"}) {
        INFO(part);
        REQUIRE(holds(page, part));
    }
    for (const char* not_there :
         {"### Optional sets", "### Ablation", "### Answers that stand", "### Settings"}) {
        REQUIRE(!holds(page, not_there));
    }
    REQUIRE(holds(page, "| skintern | 75.0 ["));
    REQUIRE(holds(page, "`skintern report " + second + "`"));
    std::istringstream lines(page); // the rows of a table have as many cells as its head
    size_t bars = 0;
    for (std::string line; std::getline(lines, line);) {
        const size_t found = static_cast<size_t>(std::count(line.begin(), line.end(), '|'));
        REQUIRE((!line.starts_with("|") || bars == 0 || found == bars));
        bars = line.starts_with("|") ? found : 0;
    }
    REQUIRE(markdown_of({first, second}, folder / "results.md") == page);
}

TEST_CASE("the page says how a run was made and how its cells went", "[report]") {
    const TempFolder folder;
    write_small_run(folder.path());
    Json json = Json::parse(read_file(folder.path() + "/run.json"));
    json["data"] = {{"tasks", {"navigate", "prices"}}, {"train", 64}, {"test", 4}};
    json["base"] = "/somewhere/base";
    put_file(folder.path() + "/run.json", json.dump());
    put_file(folder.path() + "/seed-1/skintern/cell.json", R"({"version":"abc","device":"cpu avx2","begun":3,"seconds":1800})");
    put_file(folder.path() + "/seed-1/std-cot/cell.json", R"({"version":"def","device":"cpu amx","failed":"the loss is nan"})");
    const std::string page = markdown_of({folder.path()}, folder / "results.md");
    REQUIRE(holds(
        page,
        "- command: skintern reproduce --preset tiny --seeds 1 --tasks navigate,prices --train 64 --test 4 "
        "--methods base,std-cot,skintern\n"));
    REQUIRE(holds(page, "- tasks: navigate,prices\n"));
    REQUIRE(holds(page, "- cells: 3, of which finished 1, failed 1, begun more than once 1\n"));
    REQUIRE(holds(page, "- code versions: abc (1 cells), def (1 cells)\n"));
    REQUIRE(holds(page, "- device: cpu amx (1 cells), cpu avx2 (1 cells)\n"));
    REQUIRE(holds(page, "- hours of all cells together, without what was killed: 0.5\n"));
    REQUIRE(!holds(page, "/somewhere"));
    write_report(folder.path());
    REQUIRE(!holds(read_file(folder.path() + "/report.html"), "begun more")); // the page is the same after a resume
    json["command"] = "skintern reproduce --config my.toml";
    put_file(folder.path() + "/run.json", json.dump());
    REQUIRE(holds(markdown_of({folder.path()}, folder / "results.md"),
                  "- command: skintern reproduce --config my.toml\n"));
}
