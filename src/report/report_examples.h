// report_examples.h — answers to read: some questions of a run with what SKIntern and Std-CoT wrote.
#pragma once

#include <string>

#include "report/run_log.h"

namespace skintern {

// As HTML; everything that comes from the logs is escaped.
std::string example_section(const RunLog& run);

} // namespace skintern
