// scores.cpp — see scores.h.
#include "tasks/scores.h"

#include <algorithm>

#include "support/check.h"
#include "support/files.h"
#include "support/numbers.h"
#include "support/strict_json.h"
#include "tasks/answer.h"

namespace skintern {

namespace {

using EvalRows = std::vector<const EvalRow*>;

GroupScore score_group(const std::string& name, const EvalRows& rows) {
    GroupScore score;
    score.name = name;
    int64_t correct = 0;
    for (const EvalRow* row : rows) {
        correct += row->correct;
        score.strict += row->strict;
        score.unreadable += !row->readable;
        score.prompt_tokens += static_cast<double>(row->prompt_tokens);
        score.new_tokens += static_cast<double>(row->new_tokens);
        score.flops += static_cast<double>(row->flops);
    }
    score.accuracy = wilson_interval(static_cast<double>(correct), static_cast<int64_t>(rows.size()));
    for (double* sum :
         {&score.strict, &score.unreadable, &score.prompt_tokens, &score.new_tokens, &score.flops}) {
        *sum /= static_cast<double>(rows.size());
    }
    return score;
}

// A score for each value of a field, in the order in which they first occur.
std::vector<GroupScore> score_groups(const std::vector<EvalRow>& rows, std::string EvalRow::*field) {
    std::vector<std::pair<std::string, EvalRows>> groups;
    for (const EvalRow& row : rows) {
        auto group =
            std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == row.*field; });
        if (group == groups.end()) {
            groups.push_back({row.*field, {}});
            group = groups.end() - 1;
        }
        group->second.push_back(&row);
    }
    std::vector<GroupScore> scores;
    for (const auto& [name, members] : groups) {
        scores.push_back(score_group(name, members));
    }
    return scores;
}

Estimate mean_of_groups(const std::vector<EvalRow>& rows, std::string EvalRow::*field) {
    ScoreTable table;
    table.seeds = 1;
    for (size_t i = 0; i < rows.size(); i++) {
        table.questions.push_back(format("%012zu", i)); // a file of another program need not have ids
        table.groups.push_back(rows[i].*field);
        table.scores.push_back({rows[i].correct ? 1.0 : 0.0, 1.0});
    }
    return bootstrap_macro_mean(table);
}

void print_line(std::FILE* out, const std::string& name, const Estimate& accuracy, const GroupScore* score) {
    const std::string interval = format("[%5.1f, %5.1f]", 100 * accuracy.lo, 100 * accuracy.hi);
    std::fprintf(out, "%-40s %6lld  %5.1f %16s", name.c_str(), static_cast<long long>(accuracy.rows),
                 100 * accuracy.mean, interval.c_str());
    if (score != nullptr) {
        std::fprintf(out, "  %6.1f  %10.1f", 100 * score->strict, 100 * score->unreadable);
        if (score->prompt_tokens > 0) {
            std::fprintf(out, "  %7.1f  %7.1f  %7s", score->prompt_tokens, score->new_tokens,
                         with_prefix(score->flops).c_str());
        }
    }
    std::fputc('\n', out);
}

// The text of the first of `names` that is there.
std::string text_of(const nlohmann::ordered_json& object, const std::vector<const char*>& names,
                    const std::string& where) {
    for (const char* name : names) {
        const auto it = object.find(name);
        if (it != object.end()) {
            CHECK(it->is_string(), "%s: %s is %s, expected a string", where.c_str(), name, it->type_name());
            return it->get<std::string>();
        }
    }
    CHECK(false, "%s: the field %s is missing", where.c_str(), names[0]);
}

int64_t count_or_zero(const nlohmann::ordered_json& object, const char* name) {
    const auto it = object.find(name);
    return it != object.end() && it->is_number_integer() ? it->get<int64_t>() : 0;
}

} // namespace

Scores compute_scores(const std::vector<EvalRow>& rows) {
    CHECK(!rows.empty(), "there is no answered question to count");
    Scores scores;
    scores.tasks = score_groups(rows, &EvalRow::task_name);
    EvalRows all;
    for (const EvalRow& row : rows) {
        all.push_back(&row);
    }
    scores.all = score_group("all rows", all);
    scores.task_mean = mean_of_groups(rows, &EvalRow::task_name);
    const std::vector<GroupScore> benchmarks = score_groups(rows, &EvalRow::benchmark);
    const bool named = std::none_of(benchmarks.begin(), benchmarks.end(), [](const auto& b) { return b.name.empty(); });
    if (named && benchmarks.size() > 1) {
        scores.benchmarks = benchmarks;
        scores.benchmark_mean = mean_of_groups(rows, &EvalRow::benchmark);
    }
    return scores;
}

void print_scores(const Scores& scores, std::FILE* out) {
    std::fprintf(out, "%-40s %6s  %5s %16s  %6s  %10s", "", "rows", "right", "95 % interval", "strict", "unreadable");
    const bool tokens = scores.all.prompt_tokens > 0;
    std::fputs(tokens ? "   prompt      new    FLOPs\n" : "\n", out);
    for (const std::vector<GroupScore>* groups : {&scores.tasks, &scores.benchmarks}) {
        for (const GroupScore& group : *groups) {
            print_line(out, group.name, group.accuracy, &group);
        }
    }
    print_line(out, "all rows", scores.all.accuracy, &scores.all);
    if (scores.tasks.size() > 1) {
        print_line(out, format("mean of %zu tasks", scores.tasks.size()), scores.task_mean, nullptr);
    }
    if (scores.benchmark_mean.known()) {
        print_line(out, format("mean of %zu benchmarks", scores.benchmarks.size()), scores.benchmark_mean, nullptr);
    }
}

std::vector<EvalRow> score_file(const std::string& path, std::FILE* out) {
    std::vector<EvalRow> rows;
    const std::string text = read_file(path);
    size_t line = 1;
    for (size_t at = 0; at < text.size(); line++) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string json = text.substr(at, end - at);
        at = end + 1;
        if (json.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        const std::string where = format("%s:%zu", path.c_str(), line);
        parse_json(json, where); // strictly; the copy below keeps the order of the fields
        nlohmann::ordered_json object = nlohmann::ordered_json::parse(json);
        CHECK(object.is_object(), "%s: is %s, expected an object", where.c_str(), object.type_name());
        EvalRow row;
        row.task_name = text_of(object, {"task", "task_name"}, where);
        row.question = text_of(object, {"question"}, where);
        row.gold = text_of(object, {"gold"}, where);
        row.generated = text_of(object, {"generated"}, where);
        row.benchmark = object.contains("benchmark") ? text_of(object, {"benchmark"}, where) : "";
        row.prompt_tokens = count_or_zero(object, "prompt_tokens");
        row.new_tokens = count_or_zero(object, "new_tokens");
        row.flops = count_or_zero(object, "flops");
        const Verdict verdict = judge(row.task_name, row.question, row.gold, row.generated);
        row.correct = verdict.correct;
        row.strict = verdict.strict;
        row.readable = verdict.readable;
        object["correct"] = row.correct;
        object["strict"] = row.strict;
        object["readable"] = row.readable;
        const bool choice = !verdict.answer.choice.empty() && !verdict.gold.choice.empty();
        object["answer"] = choice ? verdict.answer.choice : verdict.answer.content;
        std::fprintf(out, "%s\n", object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
        rows.push_back(row);
    }
    CHECK(!rows.empty(), "%s: holds no rows", path.c_str());
    return rows;
}

} // namespace skintern
