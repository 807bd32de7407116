// report_tables.cpp — see report_tables.h. Accuracies are in percent with their 95 % intervals.
#include "report_tables.h"

#include "check.h"
#include "numbers.h"

namespace skintern {

namespace {

std::string mean_cell(const Estimate& mean) { return mean.known() ? format("%.1f", mean.mean) : kUnknown; }

std::string rows_cell(const Estimate& estimate) { return format("%ld", static_cast<long>(estimate.rows)); }

std::string tested_cell(const Difference& tested) {
    const Estimate& d = tested.estimate;
    return d.known() ? format("%s [%+3.0f, %+3.0f] %s", signed_points(d.mean).c_str(), 100 * d.lo, 100 * d.hi,
                              is_tested(tested) ? format("%.2f", tested.p).c_str() : "   -")
                     : kUnknown;
}

} // namespace

Table main_table(const Results& results) {
    Table table = {"Accuracy in %, [95 % interval]; tokens and FLOPs a question, mean over all splits",
                   {"\nmethod", "in domain", "out of domain", "prompt\ntokens", "new\ntokens", "FLOPs a\nquestion",
                    "FLOPs to\nstd-cot", "strict\n%"},
                   {},
                   ""};
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name, percent_with_interval(m.in_domain), percent_with_interval(m.out_of_domain),
                              mean_cell(m.prompt_tokens), mean_cell(m.new_tokens),
                              m.flops.known() ? with_prefix(m.flops.mean) : kUnknown,
                              m.flops_relative.known() ? format("%.2f", m.flops_relative.mean) : kUnknown,
                              percent(m.strict)});
    }
    return table;
}

Table facts_table(const Results& results) {
    Table table = {"Facts, in domain: stated by some training response (covered) or in the knowledge only",
                   {"method", "covered", "rows", "uncovered", "rows"},
                   {},
                   ""};
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name, percent_with_interval(m.covered), rows_cell(m.covered),
                              percent_with_interval(m.uncovered), rows_cell(m.uncovered)});
    }
    return table;
}

Table skills_table(const Results& results) {
    Table table = {"Part-skills, all splits: facts found of those needed; right when all were found; answer in\nthe "
                   "asked-for form",
                   {"method", "find", "apply", "format", "unreadable %"},
                   {},
                   ""};
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name, percent_with_interval(m.find), percent_with_interval(m.apply),
                              percent_with_interval(m.format), percent(m.unreadable)});
    }
    return table;
}

Table splits_table(const Results& results) {
    Table table = {"By split: test is in domain, the others are out of domain", {"method"}, {}, ""};
    table.head.insert(table.head.end(), std::begin(kSplits), std::end(kSplits));
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name});
        for (const char* split : kSplits) {
            table.rows.back().push_back(percent_with_interval(m.by_split.at(split)));
        }
    }
    return table;
}

Table against_table(const Results& results) {
    Table table = {format("Against %s, points [95 %% interval over tasks] p after Holm's correction\n"
                          "(p -: fewer than %zu tasks, the interval is over questions)",
                          kBaseline, kFewestTasks),
                   {"arm", "in domain", "out of domain", "covered facts", "uncovered facts"},
                   {},
                   ""};
    for (const Against& arm : results.against) {
        table.rows.push_back({arm.name, tested_cell(arm.in_domain), tested_cell(arm.out_of_domain),
                              tested_cell(arm.covered), tested_cell(arm.uncovered)});
    }
    return table;
}

Table claims_table(const Results& results) {
    Table table = {"Claims (intervals not corrected for their number)", {"claim", "verdict", "numbers", "intervals"}, {}, ""};
    for (const Claim& claim : results.claims) {
        table.rows.push_back({claim.text, verdict_of(claim), numbers_of(claim), claim.note});
    }
    return table;
}

} // namespace skintern
