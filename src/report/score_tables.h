// score_tables.h — from answered questions to the tables that statistics.h reads: which rows, graded how.
//
// In domain is the split `test`; out of domain are `longer`, `unseen` and `reworded` together. A question
// keeps its name over seeds ("test/navigate-3"), so that the bootstrap draws it with all its seeds at once.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "report/run_log.h"
#include "support/statistics.h"

namespace skintern {

using Keep = std::function<bool(const AnswerRow&)>;
using Grade = std::function<Score(const AnswerRow&)>;

// ---- which rows ----------------------------------------------------------------------------------------

bool every_row(const AnswerRow& row);
bool in_domain(const AnswerRow& row);
bool out_of_domain(const AnswerRow& row);
// In domain, so that length and wording are the same on both sides.
bool covered_facts(const AnswerRow& row);
bool uncovered_facts(const AnswerRow& row);

// ---- graded how ----------------------------------------------------------------------------------------

Score right_answer(const AnswerRow& row);
Score flops_of(const AnswerRow& row);

// ---- tables --------------------------------------------------------------------------------------------

using AnswerFiles = std::map<std::string, std::vector<AnswerRow>>;

// The scores of the rows that `keep` keeps, question by question, over all seeds of one arm: of the splits,
// or of the files that stand beside them.
ScoreTable table_of(const std::vector<MethodLog>& logs, const Keep& keep, const Grade& grade);
ScoreTable table_of(const std::vector<MethodLog>& logs, AnswerFiles MethodLog::*files, const Keep& keep,
                    const Grade& grade);

} // namespace skintern
