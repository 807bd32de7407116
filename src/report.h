// report.h — the report of a run: a table for the terminal, results.json and a page to look at.
//
// It reads the logs of a run folder (run_log.h) and nothing else, so it can be made again at any time, also
// of a run that is not finished: what is missing is said, what is there is reported. The same logs give the
// same bytes.
#pragma once

#include <cstdio>
#include <string>

namespace skintern {

// Writes RUN/results.json and RUN/report.html. Throws Error naming file, line and field when a log is
// damaged.
void write_report(const std::string& run_dir);

// The tables of a run as aligned text of at most 110 columns, and whether SKIntern differs from Std-CoT.
void print_table(const std::string& run_dir, FILE* out);

} // namespace skintern
