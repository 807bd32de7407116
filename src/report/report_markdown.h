// report_markdown.h — the report of a run as Markdown, for the documentation.
#pragma once

#include <string>

#include "report/results.h"
#include "report/run_log.h"

namespace skintern {

// A section with the tables of one run; its heading is the name of the run's folder.
std::string run_as_markdown(const RunLog& run, const Results& results);

} // namespace skintern
