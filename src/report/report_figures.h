// report_figures.h — the charts of report.html, each with one sentence that says what it shows.
#pragma once

#include <string>
#include <vector>

#include "report/results.h"
#include "report/run_log.h"

namespace skintern {

struct Figure {
    std::string title;
    std::string svg;     // empty: the run has nothing to draw here yet
    std::string caption; // one sentence, with how the intervals are made; or what is missing
};

Figure accuracy_figure(const RunLog& run, const Results& results);
Figure loss_figure(const RunLog& run);
Figure cost_figure(const RunLog& run, const Results& results); // two charts side by side
Figure put_back_figure(const RunLog& run, const Results& results);
Figure ablation_figure(const RunLog& run, const Ablation& ablation); // lines over numbers, bars otherwise
Figure curve_figure(const Results& results);
Figure meter_figure(const RunLog& run, const Results& results);
Figure coverage_figure(const RunLog& run, const Results& results);
Figure skills_figure(const RunLog& run, const Results& results);

// Whether an arm is drawn where many lines or dots share a plot: of many arms the variants are left to the
// ablations.
bool is_drawn(const RunLog& run, const std::string& arm);

// The palette's colour of a method: fixed for the methods of this project, the free ones in order for others.
int method_color(const RunLog& run, const std::string& method);

} // namespace skintern
