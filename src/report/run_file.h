// run_file.h — run.json: how a run was made.
#pragma once

#include <string>

#include "report/log_fields.h"
#include "report/run_log.h"

namespace skintern {

// Fills in what run.json says. Throws Error naming the field that is damaged.
void read_run_file(RunLog& run, const std::string& path);

// The settings of an arm as run.json and cell.json have them, flat. Instead of the list of stages there are
// "stages" (their number), "shots" (most examples at any stage) and "keeps" (what each keeps).
Settings arm_settings(const LogJson& arm, const std::string& where);

} // namespace skintern
