// report_page.h — report.html: the figures of a run on one page.
#pragma once

#include <string>

#include "report/results.h"
#include "report/run_log.h"

namespace skintern {

// A complete HTML document that refers to nothing outside itself; light or dark as the reader's system is.
// Everything that comes from the logs is escaped.
std::string report_page(const RunLog& run, const Results& results);

} // namespace skintern
