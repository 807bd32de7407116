// report_tables.h — the tables of a report, each made once for the terminal, the Markdown and the page.
#pragma once

#include "results.h"
#include "run_log.h"
#include "tables.h"

namespace skintern {

Table main_table(const Results& results);
Table facts_table(const Results& results);
Table skills_table(const Results& results);
Table splits_table(const Results& results);
Table against_table(const Results& results);
Table claims_table(const Results& results);

} // namespace skintern
