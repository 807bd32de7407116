// report.cpp — the report of a run: tables for the terminal, results.json and report.html.
//
// Every interval is one of statistics.h, 95 %: which one, comparisons.h, claims.h and results.h say. The page is put
// together in report_page.cpp.
#include "report/report.h"

#include <algorithm>
#include <vector>

#include "report/comparisons.h"
#include "report/report_markdown.h"
#include "report/report_page.h"
#include "report/report_tables.h"
#include "report/results_json.h"
#include "support/check.h"
#include "support/files.h"
#include "support/numbers.h"

namespace skintern {

namespace {

constexpr size_t kMaxMissing = 8; // missing files listed by name

// A claim has no room for columns on a terminal.
void print_claims(const Results& results, FILE* out) {
    std::fprintf(out, "\nClaims (not corrected for their number)\n");
    for (const Claim& claim : results.claims) {
        std::fprintf(out, "%s?\n    %s: %s\n    (%s)\n", claim.text.c_str(), verdict_of(claim).c_str(), numbers_of(claim).c_str(),
                     claim.note.c_str());
    }
}

// What the intervals above leave open, and the intervals over training seeds, which the verdicts ask as well.
std::string seeds_note(const Comparison& comparison) {
    const size_t seeds = std::max(comparison.in_domain.by_seed.size(), comparison.out_of_domain.by_seed.size()); // so far
    const Estimate in = comparison.in_domain.over_seeds(), out = comparison.out_of_domain.over_seeds();
    if (!in.known() || !out.known()) {
        return format("%zu training seed%s; intervals are over questions, not over training runs", seeds, seeds == 1 ? "" : "s");
    }
    return format("over %zu training seeds: %s in domain, %s out of domain; the verdict asks both", seeds, points_interval(in).c_str(),
                  points_interval(out).c_str());
}

void print_dropped(const RunLog& run, FILE* out) {
    for (const std::string& method : run.methods) {
        Dropped sum;
        for (const MethodLog& log : run.logs.at(method)) {
            const Dropped dropped = log.dropped.value_or(Dropped{});
            sum.left_out += dropped.left_out;
            sum.knowledge_cut += dropped.knowledge_cut;
            sum.shots_cut += dropped.shots_cut;
        }
        if (sum.left_out + sum.knowledge_cut + sum.shots_cut > 0) {
            std::fprintf(
                out,
                "%s, training rows over the token budget: %ld left out, %ld with knowledge cut, %ld with "
                "examples cut\n",
                method.c_str(), static_cast<long>(sum.left_out), static_cast<long>(sum.knowledge_cut),
                static_cast<long>(sum.shots_cut));
        }
    }
}

} // namespace

Report::Report(const std::string& run_dir) : run(read_run(run_dir)), results(compute_results(run)) {}

void write_report(const Report& report) {
    write_file(report.run.dir + "/results.json", results_to_json(report.run, report.results));
    write_file(report.run.dir + "/report.html", report_page(report.run, report.results));
}

void write_markdown(const std::vector<Report>& reports, const std::string& file) {
    std::string command = "skintern report", runs;
    for (const Report& report : reports) {
        command += " " + report.run.dir;
        runs += run_as_markdown(report.run, report.results);
    }
    write_file(file, "Made by `" + command + " --markdown " + file + "` from the logs of " +
                         (reports.size() == 1 ? "one run" : format("%zu runs", reports.size())) +
                         "; what is changed here is lost.\n\n" + runs);
}

void print_table(const Report& report, FILE* out) {
    const RunLog& run = report.run;
    const Results& results = report.results;
    for (const Table& table : {main_table(results), facts_table(results), skills_table(results), splits_table(results),
                               against_table(results), sets_table(run, results)}) {
        if (!table.rows.empty()) {
            std::fprintf(out, "%s\n", as_text(table).c_str());
        }
    }
    print_claims(results, out);
    std::fprintf(out, "\n%s\n%s\n", verdict_line("in domain", results.comparison.in_domain).c_str(),
                 verdict_line("out of domain", results.comparison.out_of_domain).c_str());
    if (results.comparison.in_domain.estimate.known() || results.comparison.out_of_domain.estimate.known()) {
        std::fprintf(out, "(%s)\n", seeds_note(results.comparison).c_str());
    }
    print_dropped(run, out);
    for (size_t i = 0; i < std::min(run.missing.size(), kMaxMissing); i++) {
        std::fprintf(out, "missing: %s\n", run.missing[i].c_str());
    }
    if (run.missing.size() > kMaxMissing) {
        std::fprintf(out, "missing: %zu more\n", run.missing.size() - kMaxMissing);
    }
}

} // namespace skintern
