// report_markdown.cpp — see report_markdown.h.
#include "report/report_markdown.h"

#include <filesystem>

#include "report/report_tables.h"

namespace skintern {

namespace {

std::string section(const std::string& title, const std::vector<Table>& tables) {
    std::string body;
    for (const Table& table : tables) {
        body += table.rows.empty() ? "" : as_markdown(table);
    }
    return body.empty() ? "" : "### " + title + "\n\n" + body;
}

// "out/methods/" -> "methods"
std::string folder_name(const std::string& dir) {
    const std::filesystem::path path(dir);
    return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// The claims with the command that tells them again.
Table claims_with_command(const RunLog& run, const Results& results) {
    Table table = claims_table(results);
    table.note = "Printed again by `skintern report " + run.dir + "`.";
    return table;
}

} // namespace

std::string run_as_markdown(const RunLog& run, const Results& results) {
    std::string out = "## " + folder_name(run.dir) + "\n\n" + as_markdown_list(made_table(run)) +
                      as_markdown_list(cells_table(run));
    out += section("Accuracy and cost", {main_table(results)});
    out += section("Claims", {claims_with_command(run, results)});
    out += section("Against Std-CoT", {against_table(results)});
    out += section("By split and by group of tasks", {splits_table(results), groups_table(results)});
    out += section("Facts", {facts_table(results)});
    out += section("Part-skills", {skills_table(results)});
    out += section("What fine-tuning cost", {put_back_table(run, results)});
    out += section("Optional sets", {sets_table(run, results)});
    for (const Ablation& ablation : results.ablations) {
        out += section("Ablation: " + ablation.title, {ablation_table(ablation)});
    }
    out += section("Answers that stand in the knowledge", {gold_table(results), without_gold_table(results)});
    out += section("Settings", {search_table(run), arms_table(run)});
    return out;
}

} // namespace skintern
