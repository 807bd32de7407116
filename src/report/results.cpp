// results.cpp — from the logs of a run to its figures.
#include "report/results.h"

#include <set>

#include "report/score_tables.h"
#include "tasks/answer.h"
#include "tasks/teacher.h"

namespace skintern {

namespace {

bool answers_in_format(const std::string& generated) {
    const size_t mark = generated.find(kAnswerMark);
    return mark != std::string::npos &&
           generated.find_first_not_of(" \t\n", mark + std::string(kAnswerMark).size()) != std::string::npos;
}

// Of kGroups.
std::string group_of(const std::string& task) {
    for (const Family& family : families()) {
        if (task == family.name) {
            return kGroups[family.world ? 1 : 0];
        }
    }
    return kGroups[2];
}

// ---- one method ----------------------------------------------------------------------------------------

void compute_breakdowns(MethodResult& result, const std::vector<MethodLog>& logs) {
    std::set<std::string> tasks;
    for (const MethodLog& log : logs) {
        for (const auto& [split, rows] : log.eval) {
            for (const AnswerRow& row : rows) {
                tasks.insert(row.task);
            }
        }
    }
    const auto accuracy = [&](const Keep& keep) { return bootstrap_mean(table_of(logs, keep, right_answer)); };
    for (const std::string& task : tasks) {
        result.by_task[task] = {
            accuracy([&](const AnswerRow& r) { return in_domain(r) && r.task == task; }),
            accuracy([&](const AnswerRow& r) { return out_of_domain(r) && r.task == task; })};
    }
    std::map<std::string, std::string> groups; // of each task
    for (const std::string& task : tasks) {
        groups[task] = group_of(task);
    }
    for (const std::string group : kGroups) {
        result.by_group[group] = {
            accuracy([&](const AnswerRow& r) { return in_domain(r) && groups.at(r.task) == group; }),
            accuracy([&](const AnswerRow& r) { return out_of_domain(r) && groups.at(r.task) == group; })};
    }
    for (const std::string split : kSplits) {
        result.by_split[split] = accuracy([&](const AnswerRow& r) { return r.split == split; });
    }
    result.covered = accuracy(covered_facts);
    result.uncovered = accuracy(uncovered_facts);
}

void compute_without_gold(MethodResult& result, const std::vector<MethodLog>& logs, const GoldInKnowledge& gold) {
    const auto accuracy = [&](bool (*rows)(const AnswerRow&)) {
        return bootstrap_mean(table_of(
            logs, [&](const AnswerRow& r) { return rows(r) && gold.not_held.contains(r.split + "/" + r.id); }, right_answer));
    };
    result.in_domain_without_gold = accuracy(in_domain);
    result.out_of_domain_without_gold = accuracy(out_of_domain);
}

void compute_put_back(MethodResult& result, const std::vector<MethodLog>& logs) {
    const ScoreTable put_back = table_of(
        logs, &MethodLog::beside, [](const AnswerRow& r) { return r.split == kWithKnowledge; }, right_answer);
    std::set<std::string> asked;
    for (const std::string& question : put_back.questions) {
        asked.insert(question.substr(question.find('/') + 1));
    }
    result.put_back = bootstrap_mean(put_back);
    result.own_prompt = bootstrap_mean(table_of(
        logs, [&](const AnswerRow& r) { return in_domain(r) && asked.contains(r.id); }, right_answer));
}

void compute_skills(MethodResult& result, const std::vector<MethodLog>& logs) {
    const auto skill = [&](const Grade& grade) { return bootstrap_mean(table_of(logs, every_row, grade)); };
    result.find = skill([](const AnswerRow& r) {
        return Score{static_cast<double>(r.facts_found), static_cast<double>(r.facts_needed)};
    });
    result.apply = skill([](const AnswerRow& r) {
        const bool found_all = r.facts_needed > 0 && r.facts_found == r.facts_needed;
        return found_all ? right_answer(r) : Score{};
    });
    result.format = skill([](const AnswerRow& r) {
        return Score{answers_in_format(r.generated) ? 1.0 : 0.0, 1};
    });
}

void compute_costs(MethodResult& result, const std::vector<MethodLog>& logs) {
    const auto mean = [&](const Grade& grade) { return mean_over_seeds(table_of(logs, every_row, grade)); };
    result.strict = mean([](const AnswerRow& r) { return Score{r.strict ? 1.0 : 0.0, 1}; });
    result.unreadable = mean([](const AnswerRow& r) { return Score{r.readable ? 0.0 : 1.0, 1}; });
    result.prompt_tokens = mean([](const AnswerRow& r) {
        return Score{static_cast<double>(r.prompt_tokens), 1};
    });
    result.new_tokens = mean([](const AnswerRow& r) { return Score{static_cast<double>(r.new_tokens), 1}; });
    result.flops = mean(flops_of);

    double updates = 0, tokens = 0;
    int64_t trained = 0; // seeds with a log, to its end
    for (const MethodLog& log : logs) {
        if (log.updates.empty() || log.eval.empty()) { // not trained, or not yet to the end
            continue;
        }
        for (const UpdateRow& update : log.updates) {
            tokens += static_cast<double>(update.tokens);
        }
        updates += static_cast<double>(log.updates.size());
        trained++;
    }
    if (trained > 0) {
        const double n = static_cast<double>(trained);
        result.train_updates = {updates / n, updates / n, updates / n, trained};
        result.train_tokens = {tokens / n, tokens / n, tokens / n, trained};
    }
}

MethodResult compute_method(const RunLog& run, const std::string& name, const GoldInKnowledge& gold) {
    const std::vector<MethodLog>& logs = run.logs.at(name);
    MethodResult result;
    result.name = name;
    const ScoreTable in = table_of(logs, in_domain, right_answer);
    const ScoreTable out = table_of(logs, out_of_domain, right_answer);
    result.in_domain = bootstrap_mean(in);
    result.out_of_domain = bootstrap_mean(out);
    result.in_domain_macro = bootstrap_macro_mean(in);
    result.out_of_domain_macro = bootstrap_macro_mean(out);
    compute_breakdowns(result, logs);
    compute_without_gold(result, logs, gold);
    compute_put_back(result, logs);
    compute_skills(result, logs);
    compute_costs(result, logs);
    if (run.logs.contains(kBaseline)) {
        // An unfinished method has not answered all questions, and the splits differ in cost.
        result.flops_relative = bootstrap_ratio(table_of(logs, every_row, flops_of),
                                                table_of(run.logs.at(kBaseline), every_row, flops_of), Draw::questions);
    }
    return result;
}

// ---- through training ----------------------------------------------------------------------------------

std::vector<CurvePoint> compute_curve(const std::vector<MethodLog>& logs) {
    struct Count {
        int64_t step = 0, rows = 0, correct = 0, seeds = 0;
    };
    std::map<std::pair<int64_t, bool>, Count> counts; // stage, knowledge
    for (const MethodLog& log : logs) {
        for (const CurveRow& row : log.curve) {
            Count& count = counts[{row.stage, row.knowledge}];
            count.step = row.step;
            count.rows += row.rows;
            count.correct += row.correct;
            count.seeds++;
        }
    }
    std::vector<CurvePoint> curve;
    for (const auto& [key, count] : counts) {
        // Every seed asks the same questions: the share is the mean over seeds, the interval that of one seed's questions.
        const double seeds = static_cast<double>(count.seeds);
        curve.push_back({key.first, count.step, key.second,
                         wilson_interval(static_cast<double>(count.correct) / seeds, count.rows / count.seeds)});
    }
    return curve;
}

std::vector<MeterPoint> compute_meter(const std::vector<MethodLog>& logs) {
    std::map<int64_t, std::vector<MeterRow>> by_step;
    for (const MethodLog& log : logs) {
        for (const MeterRow& row : log.meter) {
            by_step[row.step].push_back(row);
        }
    }
    std::vector<MeterPoint> points;
    for (const auto& [step, rows] : by_step) {
        MeterPoint point;
        point.step = step;
        for (const MeterRow& row : rows) {
            point.nll_question += row.nll_question / static_cast<double>(rows.size());
            point.nll_knowledge += row.nll_knowledge / static_cast<double>(rows.size());
        }
        points.push_back(point);
    }
    return points;
}

} // namespace

// ---- public --------------------------------------------------------------------------------------------

Results compute_results(const RunLog& run) {
    Results results;
    results.gold = look_for_gold(run.dir);
    for (const std::string& name : run.methods) {
        results.methods.push_back(compute_method(run, name, results.gold));
        std::vector<MeterPoint> points = compute_meter(run.logs.at(name));
        if (!points.empty()) {
            results.meter[name] = std::move(points);
        }
    }
    if (run.logs.count(kOurs) > 0) {
        results.curve = compute_curve(run.logs.at(kOurs));
    }
    results.comparison = compare_with_baseline(run);
    results.claims = check_claims(run);
    results.against = compare_all(run);
    results.ablations = find_ablations(run, results.methods);
    results.sets = score_sets(run);
    return results;
}

} // namespace skintern
