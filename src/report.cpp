// report.cpp — the report of a run: tables for the terminal, results.json and report.html.
//
// Every interval is the 95 % percentile interval of statistics.h. The page is put together in
// report_page.cpp.
#include "report.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "files.h"
#include "report_page.h"
#include "results.h"
#include "run_log.h"

namespace skintern {

namespace {

constexpr size_t kNameWidth = 16; // a longer method name is cut
constexpr size_t kMaxMissing = 8; // missing files listed by name
const char* const kUnknown = "-";

// Rows of cells; the first column is flush left, the others flush right, each as wide as its widest cell.
class TextTable {
public:
    void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

    void print(FILE* out) const {
        std::vector<size_t> widths;
        for (const auto& row : rows_) {
            widths.resize(std::max(widths.size(), row.size()));
            for (size_t c = 0; c < row.size(); c++) {
                widths[c] = std::max(widths[c], row[c].size());
            }
        }
        for (const auto& row : rows_) {
            std::string line;
            for (size_t c = 0; c < row.size(); c++) {
                const std::string space(widths[c] - row[c].size(), ' ');
                line += c == 0 ? row[c] + space : "  " + space + row[c];
            }
            std::fprintf(out, "%s\n", line.substr(0, line.find_last_not_of(' ') + 1).c_str());
        }
    }

private:
    std::vector<std::vector<std::string>> rows_;
};

std::string name_cell(const std::string& name) {
    return name.size() <= kNameWidth ? name : name.substr(0, kNameWidth - 1) + "~";
}

std::string percent(const Estimate& share) {
    return share.known() ? format("%.1f", 100 * share.mean) : kUnknown;
}

// "62.5 [55.0, 70.0]", the interval padded so that brackets stand below one another.
std::string percent_with_interval(const Estimate& share) {
    if (!share.known()) {
        return kUnknown;
    }
    return format("%.1f [%4.1f, %5.1f]", 100 * share.mean, 100 * share.lo, 100 * share.hi);
}

std::string mean_cell(const Estimate& mean) {
    return mean.known() ? format("%.1f", mean.mean) : kUnknown;
}

void print_main_table(const Results& results, FILE* out) {
    std::fprintf(out,
                 "Accuracy in %%, [95 %% interval]; tokens and FLOPs a question, mean over all splits\n");
    TextTable table;
    table.add({"", "in domain", "out of domain", "prompt", "new", "FLOPs a", "FLOPs to", "strict"});
    table.add({"method", "", "", "tokens", "tokens", "question", "std-cot", "%"});
    for (const MethodResult& m : results.methods) {
        table.add({name_cell(m.name), percent_with_interval(m.in_domain),
                   percent_with_interval(m.out_of_domain), mean_cell(m.prompt_tokens),
                   mean_cell(m.new_tokens), m.flops.known() ? with_prefix(m.flops.mean) : kUnknown,
                   m.flops_relative.known() ? format("%.2f", m.flops_relative.mean) : kUnknown,
                   percent(m.strict)});
    }
    table.print(out);
}

void print_facts_and_skills(const Results& results, FILE* out) {
    std::fprintf(out,
                 "\nFacts, in domain: stated by some training response (covered) or in the knowledge only\n");
    TextTable facts;
    facts.add({"method", "covered", "rows", "uncovered", "rows"});
    for (const MethodResult& m : results.methods) {
        facts.add({name_cell(m.name), percent_with_interval(m.covered),
                   format("%ld", static_cast<long>(m.covered.rows)), percent_with_interval(m.uncovered),
                   format("%ld", static_cast<long>(m.uncovered.rows))});
    }
    facts.print(out);
    std::fprintf(
        out, "\nPart-skills, all splits: facts found of those needed; right when all were found; answer in\n"
             "the asked-for form\n");
    TextTable skills;
    skills.add({"method", "find", "apply", "format", "unreadable %"});
    for (const MethodResult& m : results.methods) {
        skills.add({name_cell(m.name), percent_with_interval(m.find), percent_with_interval(m.apply),
                    percent_with_interval(m.format), percent(m.unreadable)});
    }
    skills.print(out);
}

// Only where there is more to compare than the two lines at the end say.
void print_against(const Results& results, FILE* out) {
    if (results.against.size() < 2) {
        return;
    }
    std::fprintf(out, "\nAgainst %s, points [95 %% interval over tasks] p after Holm's correction\n"
                      "(p -: fewer than %zu tasks, the interval is over questions)\n", kBaseline, kFewestTasks);
    TextTable table;
    table.add({"arm", "in domain", "out of domain", "covered facts", "uncovered facts"});
    const auto cell = [](const Difference& tested) {
        const Estimate& d = tested.estimate;
        return d.known() ? format("%s [%+3.0f, %+3.0f] %s", signed_points(d.mean).c_str(), 100 * d.lo, 100 * d.hi,
                                  tested.p < 0 ? "   -" : format("%.2f", tested.p).c_str())
                         : std::string(kUnknown);
    };
    for (const Against& arm : results.against) {
        table.add({name_cell(arm.name), cell(arm.in_domain), cell(arm.out_of_domain), cell(arm.covered), cell(arm.uncovered)});
    }
    table.print(out);
}

void print_claims(const Results& results, FILE* out) {
    if (results.claims.size() <= 2) { // the two that every run ends with
        return;
    }
    std::fprintf(out, "\nClaims (intervals over tasks, with fewer than %zu over questions; not corrected for their number)\n",
                 kFewestTasks);
    TextTable table;
    for (const Claim& claim : results.claims) {
        table.add({claim.text + "?  " + claim_verdict(claim.difference)});
    }
    table.print(out);
}

void print_splits(const Results& results, FILE* out) {
    std::fprintf(out, "\nBy split: test is in domain, the others are out of domain\n");
    TextTable table;
    std::vector<std::string> head = {"method"};
    head.insert(head.end(), std::begin(kSplits), std::end(kSplits));
    table.add(head);
    for (const MethodResult& m : results.methods) {
        std::vector<std::string> row = {name_cell(m.name)};
        for (const char* split : kSplits) {
            row.push_back(percent_with_interval(m.by_split.at(split)));
        }
        table.add(row);
    }
    table.print(out);
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

void write_report(const std::string& run_dir) {
    const RunLog run = read_run(run_dir);
    const Results results = compute_results(run);
    write_file(run_dir + "/results.json", results_to_json(run, results));
    write_file(run_dir + "/report.html", report_page(run, results));
}

void print_table(const std::string& run_dir, FILE* out) {
    const RunLog run = read_run(run_dir);
    const Results results = compute_results(run);
    print_main_table(results, out);
    print_facts_and_skills(results, out);
    print_splits(results, out);
    print_against(results, out);
    print_claims(results, out);
    std::fprintf(out, "\n%s\n%s\n", verdict_line("in domain", results.comparison.in_domain).c_str(),
                 verdict_line("out of domain", results.comparison.out_of_domain).c_str());
    std::fprintf(out, "(%zu training seed%s; intervals are over questions, not over training runs)\n",
                 run.seeds.size(), run.seeds.size() == 1 ? "" : "s");
    print_dropped(run, out);
    for (size_t i = 0; i < std::min(run.missing.size(), kMaxMissing); i++) {
        std::fprintf(out, "missing: %s\n", run.missing[i].c_str());
    }
    if (run.missing.size() > kMaxMissing) {
        std::fprintf(out, "missing: %zu more\n", run.missing.size() - kMaxMissing);
    }
}

} // namespace skintern
