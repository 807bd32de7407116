// results_json.h — results.json: the figures of a report for other programs.
#pragma once

#include <string>

#include "report/results.h"
#include "report/run_log.h"

namespace skintern {

// Keys in a fixed order, null for what was not measured, nothing that depends on time or machine speed.
std::string results_to_json(const RunLog& run, const Results& results);

} // namespace skintern
