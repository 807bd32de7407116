// claims.cpp — see claims.h.
#include "report/claims.h"

#include <set>

#include "report/comparisons.h"
#include "report/score_tables.h"
#include "report/set_scores.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

const std::vector<MethodLog>* logs_of(const RunLog& run, const std::string& arm) {
    const auto found = run.logs.find(arm);
    return found == run.logs.end() ? nullptr : &found->second;
}

// "over 14 tasks", "over 96 questions".
std::string drawn(const ScoreTable& table) {
    const std::set<std::string> tasks(table.groups.begin(), table.groups.end());
    return draw_of(table) == Draw::tasks ? format("over %zu tasks", tasks.size())
                                         : format("over %zu questions", table.questions.size());
}

// ---- one arm and another -------------------------------------------------------------------------------

struct Asked {
    const char* text;
    const char* better;
    const char* worse;
    bool (*rows)(const AnswerRow&);
};

// The arms' names are those of the experiments in data/experiments/.
constexpr Asked kAsked[] = {
    {"SKIntern is better than Std-CoT in domain", "skintern", "std-cot", in_domain},
    {"SKIntern is better than Std-CoT out of domain", "skintern", "std-cot", out_of_domain},
    {"SKIntern is better than Std-CoT in domain, with the smaller base model", "small-skintern", "small-std-cot", in_domain},
    {"SKIntern is better than Std-CoT in domain, with the larger base model", "large-skintern", "large-std-cot", in_domain},
    {"SKIntern has internalized facts that no response of the teacher states", "skintern", "std-cot", uncovered_facts},
    {"SKIntern with own responses has", "skintern-own", "std-cot", uncovered_facts},
    {"SKIntern is better in domain than Std-CoT with as many training tokens", "skintern", "std-cot-long",
     in_domain},
    {"SKIntern is better in domain than Std-CoT with as many training tokens", "skintern", "tokens-std-cot",
     in_domain},
    {"the same, Std-CoT at the rate of SKIntern", "skintern", "tokens-std-cot-5e-3", in_domain},
    {"the same, as many training FLOPs", "skintern", "flops-std-cot", in_domain},
    {"SKIntern is better in domain than Std-CoT at SKIntern's rate", "skintern", "steps-1", in_domain},
    {"SKIntern at Std-CoT's rate is better in domain than Std-CoT", "skintern-1e-2", "std-cot", in_domain},
    {"it matters what the knowledge says (not a placebo's)", "skintern", "placebo", in_domain},
    {"it matters that it is text (not its words shuffled)", "skintern", "shuffled-words", in_domain},
    {"gradual withdrawal is better than one jump", "skintern", "step", in_domain},
    {"the order of the steps matters (not reversed)", "skintern", "reversed", in_domain},
    {"examples help", "skintern", "no-examples", in_domain},
    {"keeping the knowledge is better still", "kept", "skintern", in_domain},
    {"SKIntern stands 30 % wrong rationales better than Std-CoT", "wrong-30-skintern", "wrong-30-std-cot",
     in_domain},
    {"SKIntern stands 50 % wrong rationales better than Std-CoT", "wrong-50-skintern", "wrong-50-std-cot",
     in_domain},
};

void add_pairs(const RunLog& run, std::vector<Claim>& claims) {
    for (const Asked& asked : kAsked) {
        const auto *better = logs_of(run, asked.better), *worse = logs_of(run, asked.worse);
        if (better != nullptr && worse != nullptr) {
            const ScoreTable ours = table_of(*better, asked.rows, right_answer);
            const ScoreTable theirs = table_of(*worse, asked.rows, right_answer);
            claims.push_back({asked.text, paired_difference_of(ours, theirs), false, drawn(ours)});
        }
    }
}

// ---- published questions -------------------------------------------------------------------------------

void add_sets(const RunLog& run, std::vector<Claim>& claims) {
    if (run.sets.empty() || !run.logs.contains(kOurs) || !run.logs.contains(kBaseline)) {
        return;
    }
    const ScoreTable ours = table_of_sets(run, kOurs), theirs = table_of_sets(run, kBaseline);
    claims.push_back({"SKIntern is better than Std-CoT on published questions", difference_on_sets(ours, theirs),
                      false,
                      draw_of(ours) == Draw::tasks ? format("over %zu sets", run.sets.size()) : drawn(ours)});
}

// ---- the best baseline ---------------------------------------------------------------------------------

bool is_relative(const Method& method) {
    return method.withdrawn == Withdrawn::knowledge || method.withdrawn == Withdrawn::prompt ||
           method.own != Own::nothing;
}

bool is_baseline(const Method& method) {
    return method.trained && !is_relative(method) && !method.examples &&
           method.in_training == Knowledge::none && method.in_evaluation == Knowledge::none;
}

bool is_other_method(const Method& method) {
    return !is_relative(method);
}

void add_from_best(const RunLog& run, const std::string& text, bool (*counts)(const Method&),
                   bool (*rows)(const AnswerRow&), std::vector<Claim>& claims) {
    const auto* ours = logs_of(run, kOurs);
    if (ours == nullptr) {
        return;
    }
    const ScoreTable our_table = table_of(*ours, rows, right_answer);
    std::vector<std::string> names;
    std::vector<ScoreTable> tables;
    for (const std::string& arm : run.methods) {
        if (arm == method_of(run, arm).name && counts(method_of(run, arm))) {
            ScoreTable table = table_of(run.logs.at(arm), rows, right_answer);
            if (!table.questions.empty()) { // one that has not begun must not empty the comparison
                names.push_back(arm);
                tables.push_back(std::move(table));
            }
        }
    }
    if (tables.size() < 2) { // of one there is no best: the pair says it
        return;
    }
    const FromBest found = bootstrap_difference_from_best(our_table, tables, draw_of(our_table));
    claims.push_back({text, {found.estimate, found.by_seed}, false,
                      format("%s; the best of %zu is %s, chosen anew in every resample",
                             drawn(our_table).c_str(), tables.size(), title_of(names[found.best]).c_str())});
}

// ---- cost ----------------------------------------------------------------------------------------------

// The paper: methods that keep the knowledge in the prompt cost up to four times the FLOPs.
void add_costs(const RunLog& run, std::vector<Claim>& claims) {
    const auto* ours = logs_of(run, kOurs);
    for (const char* arm : {"kard", "kard-given", "base+knowledge", "in-context"}) {
        const auto* theirs = logs_of(run, arm);
        if (ours != nullptr && theirs != nullptr) {
            const ScoreTable our_cost = table_of(*ours, every_row, flops_of);
            claims.push_back(
                {title_of(arm) + " costs more than SKIntern a question (up to 4 times, the paper says)",
                 {bootstrap_ratio(table_of(*theirs, every_row, flops_of), our_cost, draw_of(our_cost)), {}}, true,
                 "FLOPs, " + drawn(our_cost)});
        }
    }
}

} // namespace

std::vector<Claim> check_claims(const RunLog& run) {
    std::vector<Claim> claims;
    add_from_best(run, "SKIntern is better than the best baseline in domain", is_baseline, in_domain, claims);
    add_from_best(run, "SKIntern is better than the best baseline out of domain", is_baseline, out_of_domain,
                  claims);
    add_from_best(run,
                  "SKIntern is better in domain than the best of all, those with knowledge in the prompt too",
                  is_other_method, in_domain, claims);
    add_from_best(run, "the same out of domain", is_other_method, out_of_domain, claims);
    add_pairs(run, claims);
    add_sets(run, claims);
    add_costs(run, claims);
    return claims;
}

std::string verdict_of(const Claim& claim) {
    const double nothing = claim.is_ratio ? 1 : 0;
    const Estimate both = claim.found.over_both();
    return !both.known()       ? "not measured"
           : both.lo > nothing ? "holds here"
           : both.hi < nothing ? "does not hold"
                               : "cannot tell";
}

std::string numbers_of(const Claim& claim) {
    const Estimate &e = claim.found.estimate, seeds = claim.found.over_seeds();
    return !e.known()       ? kUnknown
           : claim.is_ratio ? format("%.2f times, 95 %% [%.2f, %.2f]", e.mean, e.lo, e.hi)
                            : points_with_interval(e) + (seeds.known() ? ", over seeds " + points_interval(seeds) : "");
}

} // namespace skintern
