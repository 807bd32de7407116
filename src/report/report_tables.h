// report_tables.h — the tables of a report, each made once for the terminal, the Markdown and the page. One
// without rows has nothing to tell in this run.
#pragma once

#include "report/results.h"
#include "report/run_log.h"
#include "report/tables.h"

namespace skintern {

Table main_table(const Results& results);
Table facts_table(const Results& results);
Table skills_table(const Results& results);
Table splits_table(const Results& results);
Table against_table(const Results& results);
Table claims_table(const Results& results);
Table groups_table(const Results& results);
Table gold_table(const Results& results);
Table without_gold_table(const Results& results);
Table put_back_table(const RunLog& run, const Results& results); // what fine-tuning cost
Table sets_table(const RunLog& run, const Results& results);
Table ablation_table(const Ablation& ablation);

// Where its cells were made, of several devices with how many each.
std::string devices_text(const RunLog& run);

// How the run was made; and how that went, which a page that is the same after every resume must not tell.
Table made_table(const RunLog& run);
Table cells_table(const RunLog& run);
Table arms_table(const RunLog& run); // arms whose settings are not those of the arm of their method
Table search_table(const RunLog& run);

} // namespace skintern
