// report_tables.cpp — see report_tables.h. Accuracies are in percent with their 95 % intervals.
#include "report/report_tables.h"

#include <algorithm>
#include <map>

#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

std::string mean_cell(const Estimate& mean) {
    return mean.known() ? format("%.1f", mean.mean) : kUnknown;
}

std::string rows_cell(const Estimate& estimate) {
    return format("%ld", static_cast<long>(estimate.rows));
}

std::string tested_cell(const Difference& tested) {
    const Estimate& d = tested.estimate;
    return d.known() ? format("%s [%+3.0f, %+3.0f] %s", signed_points(d.mean).c_str(), 100 * d.lo, 100 * d.hi,
                              is_tested(tested) ? format("%.2f", tested.p).c_str() : "   -")
                     : kUnknown;
}

} // namespace

Table main_table(const Results& results) {
    Table table = {"Accuracy in %, [95 % interval]; tokens and FLOPs a question, mean over all splits",
                   {"\nmethod", "in domain", "out of domain", "prompt\ntokens", "new\ntokens",
                    "FLOPs a\nquestion", "FLOPs to\nstd-cot", "strict\n%"},
                   {},
                   ""};
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name, percent_with_interval(m.in_domain),
                              percent_with_interval(m.out_of_domain), mean_cell(m.prompt_tokens),
                              mean_cell(m.new_tokens), m.flops.known() ? with_prefix(m.flops.mean) : kUnknown,
                              m.flops_relative.known() ? format("%.2f", m.flops_relative.mean) : kUnknown,
                              percent(m.strict)});
    }
    return table;
}

Table facts_table(const Results& results) {
    Table table = {"Facts, in domain: stated by some response of the teacher (covered), or in the knowledge only",
                   {"method", "covered", "answers", "uncovered", "answers"},
                   {},
                   "Covered by the training rows as they were generated: arms with fewer or other rows may have learned from less."};
    const auto has_facts = [](const MethodResult& m) { return m.covered.known() || m.uncovered.known(); };
    if (!std::ranges::any_of(results.methods, has_facts)) {
        return table;
    }
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name, percent_with_interval(m.covered), rows_cell(m.covered),
                              percent_with_interval(m.uncovered), rows_cell(m.uncovered)});
    }
    return table;
}

Table skills_table(const Results& results) {
    Table table = {
        "Part-skills, all splits: facts found of those needed; right when all were found; answer in\nthe "
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
    Table table = {"Not corrected for their number",
                   {"claim", "verdict", "numbers", "interval"},
                   {},
                   "The best is found on the questions it is then compared on. Each resample of tasks (or "
                   "questions) finds it anew, and the "
                   "interval takes back what the finding gains. With two training seeds or more a "
                   "verdict asks the interval over them, too."};
    for (const Claim& claim : results.claims) {
        table.rows.push_back({claim.text, verdict_of(claim), numbers_of(claim), claim.note});
    }
    return table;
}

Table groups_table(const Results& results) {
    Table table = {"By group of tasks", {"method"}, {}, ""};
    std::vector<std::string> groups;
    for (const std::string group : kGroups) { // that have a question
        if (std::any_of(results.methods.begin(), results.methods.end(), [&](const MethodResult& m) {
                return m.by_group.at(group).first.known() || m.by_group.at(group).second.known();
            })) {
            groups.push_back(group);
            table.head.push_back(group + "\nin domain");
            table.head.push_back(group + "\nout of domain");
        }
    }
    for (const MethodResult& m : results.methods) {
        table.rows.push_back({m.name});
        for (const std::string& group : groups) {
            table.rows.back().push_back(percent_with_interval(m.by_group.at(group).first));
            table.rows.back().push_back(percent_with_interval(m.by_group.at(group).second));
        }
    }
    return table;
}

// ---- knowledge -----------------------------------------------------------------------------------------

Table gold_table(const Results& results) {
    Table table = {"Questions whose knowledge holds the gold answer as a word or phrase, of all",
                   {"family"},
                   {},
                   "An upper bound: a word that stands there by chance counts as well."};
    std::map<std::string, std::map<std::string, std::string>> cells; // family -> split -> cell
    for (const GoldCount& count : results.gold.counts) {
        if (std::find(table.head.begin(), table.head.end(), count.split) == table.head.end()) {
            table.head.push_back(count.split);
        }
        cells[count.family][count.split] =
            format("%ld of %ld", static_cast<long>(count.held), static_cast<long>(count.rows));
    }
    for (auto& [family, by_split] : cells) {
        table.rows.push_back({family});
        for (size_t c = 1; c < table.head.size(); c++) {
            const std::string& cell = by_split[table.head[c]];
            table.rows.back().push_back(cell.empty() ? kUnknown : cell);
        }
    }
    return table;
}

Table without_gold_table(const Results& results) {
    Table table = {
        "Accuracy in % over the questions whose knowledge does not hold the answer, beside that over all",
        {"method", "in domain,\nwithout", "all", "out of domain,\nwithout", "all"},
        {},
        ""};
    for (const MethodResult& m :
         results.gold.counts.empty() ? std::vector<MethodResult>{} : results.methods) {
        table.rows.push_back(
            {m.name, percent_with_interval(m.in_domain_without_gold), percent_with_interval(m.in_domain),
             percent_with_interval(m.out_of_domain_without_gold), percent_with_interval(m.out_of_domain)});
    }
    return table;
}

Table put_back_table(const RunLog& run, const Results& results) {
    Table table = {"Test questions asked with the method's own prompt, and with the knowledge put back into the prompt, as "
                   "base+knowledge is asked; and questions of unseen families, beside base's",
                   {"method", "own\nprompt", "knowledge\nput back", "put back,\nbase+knowledge",
                    "unseen\nfamilies", "unseen,\nbase"},
                   {},
                   ""};
    // The arm of an untrained method with the base model of `arm`; null when there is none.
    const auto find = [&](const std::string& method, const std::string& arm) {
        const auto found =
            std::find_if(results.methods.begin(), results.methods.end(), [&](const MethodResult& m) {
                return method == method_of(run, m.name).name &&
                       setting_of(run, m.name, "params").text == setting_of(run, arm, "params").text;
            });
        return found == results.methods.end() ? nullptr : &*found;
    };
    for (const MethodResult& m : results.methods) {
        if (m.train_updates.known()) {
            const MethodResult *base = find("base", m.name), *reading = find("base+knowledge", m.name);
            table.rows.push_back({m.name, percent_with_interval(m.own_prompt), percent_with_interval(m.put_back),
                                  reading == nullptr ? kUnknown : percent(reading->in_domain),
                                  percent_with_interval(m.by_split.at("unseen")),
                                  base == nullptr ? kUnknown : percent(base->by_split.at("unseen"))});
        }
    }
    return table;
}

// ---- sets and ablations --------------------------------------------------------------------------------

Table sets_table(const RunLog& run, const Results& results) {
    Table table = {"Optional sets, accuracy in %; no training row is of these",
                   {"set"},
                   {},
                   format("The interval of a set is over questions; those of the mean and of the difference "
                          "are over sets, with fewer "
                          "than %zu sets over questions within their set.",
                          kFewestTasks)};
    if (results.sets.empty()) {
        return table;
    }
    for (const std::string& set : run.sets) {
        table.rows.push_back({set});
    }
    table.rows.push_back({"mean of sets"});
    table.rows.push_back({std::string("minus ") + kBaseline});
    for (const SetScores& arm : results.sets) {
        table.head.push_back(arm.arm);
        for (size_t s = 0; s < run.sets.size(); s++) {
            table.rows[s].push_back(percent_with_interval(arm.by_set[s]));
        }
        const Estimate& d = arm.against_baseline;
        table.rows[run.sets.size()].push_back(percent_with_interval(arm.mean));
        table.rows.back().push_back(d.known() ? signed_points(d.mean) + " " + points_interval(d) : kUnknown);
    }
    return table;
}

Table ablation_table(const Ablation& ablation) {
    Table table = {format("Arms that differ from the arm of their method in %s alone, accuracy in %%; beside it in domain, points less "
                          "that arm, [95 %% interval] and that over training seeds",
                          ablation.setting.c_str()),
                   {"arm", "method", ablation.setting, "in domain", "less its method", "over seeds", "out of domain", "covered",
                    "uncovered"},
                   {},
                   ""};
    for (const AblationPoint& point : ablation.points) {
        const Estimate &less = point.less_method.estimate, seeds = point.less_method.over_seeds();
        table.rows.push_back({point.arm, point.method, value_text(point.value),
                              percent_with_interval(point.in_domain),
                              less.known() ? signed_points(less.mean) + " " + points_interval(less) : kUnknown,
                              seeds.known() ? points_interval(seeds) : kUnknown,
                              percent_with_interval(point.out_of_domain),
                              percent_with_interval(point.covered), percent_with_interval(point.uncovered)});
    }
    return table;
}

} // namespace skintern
