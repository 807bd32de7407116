// results.cpp — from the logs of a run to its figures.
#include "results.h"

#include <cmath>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>

#include "answer.h"
#include "check.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;
using Keep = std::function<bool(const AnswerRow&)>;
using Grade = std::function<Score(const AnswerRow&)>;

// ---- rows to tables ------------------------------------------------------------------------------------

bool every_row(const AnswerRow&) {
    return true;
}
bool in_domain(const AnswerRow& row) {
    return row.split == "test";
}
bool out_of_domain(const AnswerRow& row) {
    return row.split != "test";
}

bool covered(const AnswerRow& row) { return in_domain(row) && row.coverage == "covered"; }
bool uncovered(const AnswerRow& row) { return in_domain(row) && row.coverage == "uncovered"; }

Score right(const AnswerRow& row) {
    return {row.correct ? 1.0 : 0.0, 1};
}
Score flops_of(const AnswerRow& row) {
    return {row.flops, 1};
}

// The scores of the rows that `keep` keeps, question by question, over all seeds of one method.
ScoreTable table_of(const std::vector<MethodLog>& logs, const Keep& keep, const Grade& grade) {
    struct Question {
        std::string task;
        std::vector<Score> by_seed;
    };
    std::map<std::string, Question> questions; // sorted, so that the order of rows in a file does not matter
    for (size_t s = 0; s < logs.size(); s++) {
        for (const auto& [split, rows] : logs[s].eval) {
            for (const AnswerRow& row : rows) {
                if (keep(row)) {
                    Question& question = questions[split + "/" + row.id];
                    question.task = row.task;
                    question.by_seed.resize(logs.size());
                    question.by_seed[s] = grade(row);
                }
            }
        }
    }
    ScoreTable table;
    table.seeds = static_cast<int64_t>(logs.size());
    for (const auto& [name, question] : questions) {
        table.questions.push_back(name);
        table.groups.push_back(question.task);
        table.scores.insert(table.scores.end(), question.by_seed.begin(), question.by_seed.end());
    }
    return table;
}

bool answers_in_format(const std::string& generated) {
    const size_t mark = generated.find(kAnswerMark);
    return mark != std::string::npos &&
           generated.find_first_not_of(" \t\n", mark + std::string(kAnswerMark).size()) != std::string::npos;
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
    const auto accuracy = [&](const Keep& keep) { return bootstrap_mean(table_of(logs, keep, right)); };
    for (const std::string& task : tasks) {
        result.by_task[task] = {
            accuracy([&](const AnswerRow& r) { return in_domain(r) && r.task == task; }),
            accuracy([&](const AnswerRow& r) { return out_of_domain(r) && r.task == task; })};
    }
    for (const std::string split : kSplits) {
        result.by_split[split] = accuracy([&](const AnswerRow& r) { return r.split == split; });
    }
    result.covered = accuracy(covered);
    result.uncovered = accuracy(uncovered);
}

void compute_skills(MethodResult& result, const std::vector<MethodLog>& logs) {
    const auto skill = [&](const Grade& grade) { return bootstrap_mean(table_of(logs, every_row, grade)); };
    result.find = skill([](const AnswerRow& r) {
        return Score{static_cast<double>(r.facts_found), static_cast<double>(r.facts_needed)};
    });
    result.apply = skill([](const AnswerRow& r) {
        const bool found_all = r.facts_needed > 0 && r.facts_found == r.facts_needed;
        return found_all ? right(r) : Score{};
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
    int64_t trained = 0; // seeds with a log
    for (const MethodLog& log : logs) {
        for (const UpdateRow& update : log.updates) {
            tokens += static_cast<double>(update.tokens);
        }
        updates += static_cast<double>(log.updates.size());
        trained += log.updates.empty() ? 0 : 1;
    }
    if (trained > 0) {
        const double n = static_cast<double>(trained);
        result.train_updates = {updates / n, updates / n, updates / n, trained};
        result.train_tokens = {tokens / n, tokens / n, tokens / n, trained};
    }
}

// FLOPs of a method over those of std-cot, on the questions that both answered: an unfinished method has not
// answered them all, and the splits differ in cost.
Estimate relative_flops(const std::vector<MethodLog>& logs, const std::vector<MethodLog>& baseline) {
    const ScoreTable ours = table_of(logs, every_row, flops_of);
    const ScoreTable theirs = table_of(baseline, every_row, flops_of);
    std::map<std::string, size_t> position;
    for (size_t q = 0; q < theirs.questions.size(); q++) {
        position[theirs.questions[q]] = q;
    }
    double sum = 0, sum_baseline = 0;
    int64_t rows = 0;
    const size_t seeds = logs.size();
    for (size_t q = 0; q < ours.questions.size(); q++) {
        const auto found = position.find(ours.questions[q]);
        for (size_t s = 0; found != position.end() && s < seeds; s++) {
            const Score& a = ours.scores[q * seeds + s];
            const Score& b = theirs.scores[found->second * seeds + s];
            if (a.of > 0 && b.of > 0) {
                sum += a.got;
                sum_baseline += b.got;
                rows++;
            }
        }
    }
    if (rows == 0 || sum_baseline <= 0) {
        return {};
    }
    const double ratio = sum / sum_baseline;
    return {ratio, ratio, ratio, rows};
}

MethodResult compute_method(const RunLog& run, const std::string& name) {
    const std::vector<MethodLog>& logs = run.logs.at(name);
    MethodResult result;
    result.name = name;
    const ScoreTable in = table_of(logs, in_domain, right);
    const ScoreTable out = table_of(logs, out_of_domain, right);
    result.in_domain = bootstrap_mean(in);
    result.out_of_domain = bootstrap_mean(out);
    result.in_domain_macro = bootstrap_macro_mean(in);
    result.out_of_domain_macro = bootstrap_macro_mean(out);
    compute_breakdowns(result, logs);
    compute_skills(result, logs);
    compute_costs(result, logs);
    if (run.logs.count(kBaseline) > 0) {
        result.flops_relative = relative_flops(logs, run.logs.at(kBaseline));
    }
    return result;
}

// ---- through training ----------------------------------------------------------------------------------

std::vector<CurvePoint> compute_curve(const std::vector<MethodLog>& logs) {
    struct Count {
        int64_t step = 0, rows = 0, correct = 0;
    };
    std::map<std::pair<int64_t, bool>, Count> counts; // stage, knowledge
    for (const MethodLog& log : logs) {
        for (const CurveRow& row : log.curve) {
            Count& count = counts[{row.stage, row.knowledge}];
            count.step = row.step;
            count.rows += row.rows;
            count.correct += row.correct;
        }
    }
    std::vector<CurvePoint> curve;
    for (const auto& [key, count] : counts) {
        curve.push_back({key.first, count.step, key.second, wilson_interval(count.correct, count.rows)});
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

// ---- JSON ----------------------------------------------------------------------------------------------

// Six decimals at most, and no ".0" behind a whole number.
Json plain(double x) {
    const double rounded = std::round(x * 1e6) / 1e6;
    if (rounded == std::floor(rounded) && std::abs(rounded) < 0x1.0p53) {
        return static_cast<int64_t>(rounded);
    }
    return rounded;
}

Json mean_json(const Estimate& estimate) {
    return estimate.known() ? plain(estimate.mean) : Json(nullptr);
}

Json interval_json(const Estimate& estimate) {
    if (!estimate.known()) {
        return {{"mean", nullptr}, {"ci95", nullptr}};
    }
    return {{"mean", plain(estimate.mean)}, {"ci95", Json::array({plain(estimate.lo), plain(estimate.hi)})}};
}

Json rows_json(const Estimate& estimate) {
    Json json = interval_json(estimate);
    json["rows"] = estimate.rows;
    return json;
}

Json method_json(const MethodResult& m) {
    Json json;
    json["name"] = m.name;
    json["id_accuracy"] = interval_json(m.in_domain);
    json["ood_accuracy"] = interval_json(m.out_of_domain);
    json["id_accuracy_macro"] = interval_json(m.in_domain_macro);
    json["ood_accuracy_macro"] = interval_json(m.out_of_domain_macro);
    json["by_task"] = Json::object();
    for (const auto& [task, estimates] : m.by_task) {
        json["by_task"][task] = {{"id", rows_json(estimates.first)}, {"ood", rows_json(estimates.second)}};
    }
    for (const char* split : kSplits) {
        json["by_split"][split] = rows_json(m.by_split.at(split));
    }
    json["coverage"] = {{"covered", rows_json(m.covered)}, {"uncovered", rows_json(m.uncovered)}};
    json["skills"] = {
        {"find", mean_json(m.find)}, {"apply", mean_json(m.apply)}, {"format", mean_json(m.format)}};
    json["strict_accuracy"] = mean_json(m.strict);
    json["unreadable"] = mean_json(m.unreadable);
    json["prompt_tokens"] = mean_json(m.prompt_tokens);
    json["new_tokens"] = mean_json(m.new_tokens);
    json["flops_per_question"] = mean_json(m.flops);
    json["flops_relative_to_std_cot"] = mean_json(m.flops_relative);
    json["train_updates"] = mean_json(m.train_updates);
    json["train_tokens"] = mean_json(m.train_tokens);
    return json;
}

Json difference_json(const Estimate& difference, const std::vector<double>& by_seed) {
    if (!difference.known()) {
        return nullptr;
    }
    Json json;
    json["difference"] = plain(difference.mean);
    json["ci95"] = Json::array({plain(difference.lo), plain(difference.hi)});
    json["rows"] = difference.rows;
    json["by_seed"] = Json::array();
    for (const double seed : by_seed) {
        json["by_seed"].push_back(plain(seed));
    }
    json["distinguishable"] = is_distinguishable(difference);
    return json;
}

Json training_json(const Results& results, Json& meter) {
    Json curve = Json::array();
    for (const CurvePoint& point : results.curve) {
        Json json = {{"stage", point.stage}, {"step", point.step}, {"knowledge", point.knowledge}};
        json.update(rows_json(point.accuracy));
        curve.push_back(json);
    }
    meter = Json::object();
    for (const MethodResult& method : results.methods) {
        const auto found = results.meter.find(method.name);
        for (size_t i = 0; found != results.meter.end() && i < found->second.size(); i++) {
            const MeterPoint& point = found->second[i];
            meter[method.name].push_back({{"step", point.step},
                                          {"nll_question", plain(point.nll_question)},
                                          {"nll_knowledge", plain(point.nll_knowledge)}});
        }
    }
    return curve;
}

bool has_few_tasks(const ScoreTable& table) {
    return std::set<std::string>(table.groups.begin(), table.groups.end()).size() < kFewestTasks;
}

// The arms' names are those of the experiments in data/experiments/.
std::vector<Claim> check_claims(const RunLog& run) {
    struct Asked {
        const char* text;
        const char* better;
        const char* worse;
        bool (*rows)(const AnswerRow&);
    };
    const Asked asked[] = {
        {"SKIntern is better than Std-CoT in domain", "skintern", "std-cot", in_domain},
        {"SKIntern is better than Std-CoT out of domain", "skintern", "std-cot", out_of_domain},
        {"SKIntern has internalized facts that no response states", "skintern", "std-cot", uncovered},
        {"SKIntern with own responses has", "skintern-own", "std-cot", uncovered},
        {"it matters what the knowledge says (not a placebo's)", "skintern", "placebo", in_domain},
        {"it matters that it is text (not its words shuffled)", "skintern", "shuffled-words", in_domain},
        {"gradual withdrawal is better than one jump", "skintern", "step", in_domain},
        {"the order of the steps matters (not reversed)", "skintern", "reversed", in_domain},
        {"examples help", "skintern", "no-examples", in_domain},
        {"keeping the knowledge is better still", "kept", "skintern", in_domain},
        {"SKIntern stands 30 % wrong rationales better than Std-CoT", "wrong-30-skintern", "wrong-30-std-cot", in_domain},
        {"SKIntern stands 50 % wrong rationales better than Std-CoT", "wrong-50-skintern", "wrong-50-std-cot", in_domain},
    };
    std::vector<Claim> claims;
    for (const Asked& claim : asked) {
        const auto better = run.logs.find(claim.better), worse = run.logs.find(claim.worse);
        if (better != run.logs.end() && worse != run.logs.end()) {
            const ScoreTable ours = table_of(better->second, claim.rows, right);
            const ScoreTable theirs = table_of(worse->second, claim.rows, right);
            claims.push_back({claim.text, has_few_tasks(ours) ? bootstrap_difference(ours, theirs)
                                                              : bootstrap_difference_by_task(ours, theirs).estimate});
        }
    }
    return claims;
}

bool is_tested(const Difference& difference) { return difference.estimate.known() && difference.p >= 0; }

// Every other arm against the baseline.
std::vector<Against> compare_all(const RunLog& run) {
    std::vector<Against> all;
    if (run.logs.count(kBaseline) == 0) {
        return all;
    }
    Difference Against::*const kColumns[] = {&Against::in_domain, &Against::out_of_domain, &Against::covered,
                                         &Against::uncovered};
    const Keep kKeeps[] = {in_domain, out_of_domain, covered, uncovered};
    for (const std::string& name : run.methods) {
        if (name != kBaseline) {
            all.push_back({name, {}, {}, {}, {}});
            for (size_t c = 0; c < std::size(kColumns); c++) {
                const ScoreTable ours = table_of(run.logs.at(name), kKeeps[c], right);
                const ScoreTable theirs = table_of(run.logs.at(kBaseline), kKeeps[c], right);
                all.back().*kColumns[c] = has_few_tasks(ours) ? Difference{bootstrap_difference(ours, theirs), kUntested}
                                              : bootstrap_difference_by_task(ours, theirs);
            }
        }
    }
    for (Difference Against::*column : kColumns) {
        std::vector<double> p;
        for (const Against& arm : all) {
            if (is_tested(arm.*column)) {
                p.push_back((arm.*column).p);
            }
        }
        const std::vector<double> adjusted = holm(p);
        size_t next = 0;
        for (Against& arm : all) {
            if (is_tested(arm.*column)) {
                (arm.*column).p = adjusted[next++];
            }
        }
    }
    return all;
}

} // namespace

// ---- public --------------------------------------------------------------------------------------------

Results compute_results(const RunLog& run) {
    Results results;
    for (const std::string& name : run.methods) {
        results.methods.push_back(compute_method(run, name));
        std::vector<MeterPoint> points = compute_meter(run.logs.at(name));
        if (!points.empty()) {
            results.meter[name] = std::move(points);
        }
    }
    if (run.logs.count(kOurs) > 0) {
        results.curve = compute_curve(run.logs.at(kOurs));
    }
    if (run.logs.count(kOurs) > 0 && run.logs.count(kBaseline) > 0) {
        const auto compare = [&](const Keep& keep, std::vector<double>& by_seed) {
            const ScoreTable ours = table_of(run.logs.at(kOurs), keep, right);
            const ScoreTable theirs = table_of(run.logs.at(kBaseline), keep, right);
            by_seed = difference_by_seed(ours, theirs);
            return bootstrap_difference(ours, theirs);
        };
        Comparison& comparison = results.comparison;
        comparison.in_domain = compare(in_domain, comparison.in_domain_by_seed);
        comparison.out_of_domain = compare(out_of_domain, comparison.out_of_domain_by_seed);
    }
    results.claims = check_claims(run);
    results.against = compare_all(run);
    return results;
}

std::string results_to_json(const RunLog& run, const Results& results) {
    Json json;
    json["preset"] = run.preset;
    json["seeds"] = run.seeds;
    json["methods"] = Json::array();
    for (const MethodResult& method : results.methods) {
        json["methods"].push_back(method_json(method));
    }
    Json meter;
    json["curve"] = training_json(results, meter);
    json["meter"] = meter;
    const Comparison& comparison = results.comparison;
    json["comparison"] = {
        {"of", kOurs},
        {"with", kBaseline},
        {"id", difference_json(comparison.in_domain, comparison.in_domain_by_seed)},
        {"ood", difference_json(comparison.out_of_domain, comparison.out_of_domain_by_seed)}};
    json["claims"] = Json::array();
    for (const Claim& claim : results.claims) {
        json["claims"].push_back({{"claim", claim.text}, {"verdict", claim_verdict(claim.difference)}});
    }
    json["against"] = Json::array();
    const auto tested = [](const Difference& test) {
        Json out = difference_json(test.estimate, {});
        if (out.is_object()) {
            out.erase("by_seed");
            out["p_holm"] = is_tested(test) ? Json(test.p) : Json();
        }
        return out;
    };
    for (const Against& arm : results.against) {
        json["against"].push_back({{"arm", arm.name},
                                   {"id", tested(arm.in_domain)},
                                   {"ood", tested(arm.out_of_domain)},
                                   {"covered", tested(arm.covered)},
                                   {"uncovered", tested(arm.uncovered)}});
    }
    // A folder name that is not UTF-8 can stand in for the name of a method; it must not stop the report.
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string verdict_line(const char* where, const Estimate& difference) {
    const std::string begin = title_of(kOurs) + " - " + title_of(kBaseline) + " " + where + ": ";
    if (!difference.known()) {
        return begin + "not measured (no question answered by both)";
    }
    const char* verdict = !is_distinguishable(difference) ? "not distinguishable"
                          : difference.mean > 0           ? "SKIntern is better"
                                                          : "SKIntern is worse";
    return begin + format("%s points, 95 %% [%s, %s]: %s", signed_points(difference.mean).c_str(),
                          signed_points(difference.lo).c_str(), signed_points(difference.hi).c_str(),
                          verdict);
}

std::string claim_verdict(const Estimate& difference) {
    if (!difference.known()) {
        return "not measured";
    }
    const char* verdict = !is_distinguishable(difference) ? "cannot tell" : difference.mean > 0 ? "holds" : "the other way round";
    return format("%s: %s points, 95 %% [%s, %s]", verdict, signed_points(difference.mean).c_str(),
                  signed_points(difference.lo).c_str(), signed_points(difference.hi).c_str());
}

std::string signed_points(double difference) {
    const double rounded = std::round(1000 * difference) / 10;
    return format("%+.1f", rounded == 0 ? 0.0 : rounded);
}

std::string with_prefix(double value) {
    const char* const prefixes[] = {"", " k", " M", " G", " T", " P", " E"};
    size_t p = 0;
    while (value >= 999.5 && p + 1 < std::size(prefixes)) {
        value /= 1000;
        p++;
    }
    return format("%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, prefixes[p]);
}

std::string title_of(const std::string& method) {
    static const std::map<std::string, std::string> titles = {{"base", "Base"},
                                                              {"base+knowledge", "Base + knowledge"},
                                                              {"std-cot", "Std-CoT"},
                                                              {"kard", "KARD"},
                                                              {"skintern", "SKIntern"}};
    const auto found = titles.find(method);
    return found == titles.end() ? method : found->second;
}

} // namespace skintern
