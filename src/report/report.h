// report.h — the report of a run: tables for the terminal and as Markdown, results.json and a page to look
// at.
//
// It reads the logs of a run folder (run_log.h) and nothing else, so it can be made again at any time, also
// of a run that is not finished: what is missing is said, what is there is reported. The same logs give the
// same bytes.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "report/results.h"
#include "report/run_log.h"

namespace skintern {

// What a run's folder says. The folder may stand for it: write_report("out/tiny").
struct Report {
    Report(const std::string& run_dir); // throws Error naming file, line and field when a log is damaged
    RunLog run;
    Results results;
};

// Writes RUN/results.json and RUN/report.html.
void write_report(const Report& report);

// One page of Markdown with the tables of several runs.
void write_markdown(const std::vector<Report>& reports, const std::string& file);

// The tables of a run as aligned text of at most 110 columns, and whether SKIntern differs from Std-CoT.
void print_table(const Report& report, FILE* out);

} // namespace skintern
