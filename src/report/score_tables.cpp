// score_tables.cpp — see score_tables.h.
#include "report/score_tables.h"

namespace skintern {

bool every_row(const AnswerRow&) {
    return true;
}
bool in_domain(const AnswerRow& row) {
    return row.split == "test";
}
bool out_of_domain(const AnswerRow& row) {
    return row.split != "test";
}
bool covered_facts(const AnswerRow& row) {
    return in_domain(row) && row.coverage == "covered";
}
bool uncovered_facts(const AnswerRow& row) {
    return in_domain(row) && row.coverage == "uncovered";
}

Score right_answer(const AnswerRow& row) {
    return {row.correct ? 1.0 : 0.0, 1};
}
Score flops_of(const AnswerRow& row) {
    return {row.flops, 1};
}

ScoreTable table_of(const std::vector<MethodLog>& logs, const Keep& keep, const Grade& grade) {
    return table_of(logs, &MethodLog::eval, keep, grade);
}

ScoreTable table_of(const std::vector<MethodLog>& logs, AnswerFiles MethodLog::*files, const Keep& keep,
                    const Grade& grade) {
    struct Question {
        std::string task;
        std::vector<Score> by_seed;
    };
    std::map<std::string, Question> questions; // sorted, so that the order of rows in a file does not matter
    for (size_t s = 0; s < logs.size(); s++) {
        for (const auto& [split, rows] : logs[s].*files) {
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

} // namespace skintern
