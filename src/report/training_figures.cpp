// training_figures.cpp — the charts of report_figures.h that show the course of training.
//
// Nothing is computed here but means over seeds and the smoothing of the loss.
#include <algorithm>

#include "report/report_figures.h"
#include "report/svg.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

struct LossPoint {
    int64_t stage = 0;
    double loss = 0; // mean over seeds
};

std::map<int64_t, LossPoint> mean_losses(const std::vector<MethodLog>& logs) {
    std::map<int64_t, LossPoint> points; // by step
    std::map<int64_t, int64_t> seeds;
    for (const MethodLog& log : logs) {
        for (const UpdateRow& row : log.updates) {
            points[row.step].stage = row.stage;
            points[row.step].loss += row.loss;
            seeds[row.step]++;
        }
    }
    for (auto& [step, point] : points) {
        point.loss /= static_cast<double>(seeds.at(step));
    }
    return points;
}

// The mean over a window around each point that does not reach into another stage: at a boundary the prompt
// changes and the loss jumps, which smoothing must not hide.
std::vector<double> smoothed(const std::vector<LossPoint>& points) {
    const size_t reach = points.size() / 50; // half a window
    std::vector<double> means;
    for (size_t i = 0; i < points.size(); i++) {
        const size_t end = std::min(points.size(), i + reach + 1);
        double sum = 0;
        int64_t n = 0;
        for (size_t j = i > reach ? i - reach : 0; j < end; j++) {
            if (points[j].stage == points[i].stage) {
                sum += points[j].loss;
                n++;
            }
        }
        means.push_back(sum / static_cast<double>(n));
    }
    return means;
}

// Where the stages of the curriculum begin, in updates: as planned, or as logged when run.json has no plan.
std::vector<svg::Boundary> stage_boundaries(const RunLog& run, double last_step) {
    std::vector<svg::Boundary> boundaries;
    const auto add = [&](int64_t stage, int64_t updates_before) {
        const double x = static_cast<double>(updates_before);
        if (x < last_step) {
            boundaries.push_back({x, format("stage %ld", static_cast<long>(stage))});
        }
    };
    const bool planned =
        !run.schedule.empty() && std::all_of(run.schedule.begin(), run.schedule.end(),
                                             [](const ScheduleRow& row) { return row.updates.has_value(); });
    if (planned) {
        int64_t before = 0;
        for (const ScheduleRow& row : run.schedule) {
            add(row.stage, before);
            before += *row.updates;
        }
        return boundaries;
    }
    const auto ours = run.logs.find(kOurs);
    int64_t stage = 0;
    for (const UpdateRow& row :
         ours == run.logs.end() ? std::vector<UpdateRow>{} : ours->second.front().updates) {
        if (row.stage != stage) {
            stage = row.stage;
            add(stage, row.step - 1);
        }
    }
    return boundaries;
}

double last_step_of(const std::vector<svg::Line>& lines) {
    double last = 0;
    for (const svg::Line& line : lines) {
        last = line.x.empty() ? last : std::max(last, line.x.back());
    }
    return last;
}

// The x axis runs over the updates; dotted lines mark where the stages of the curriculum begin.
void mark_stages(svg::LineChart& chart, const RunLog& run) {
    chart.x.lo = 0;
    chart.x.hi = std::max(1.0, last_step_of(chart.lines));
    chart.boundaries = stage_boundaries(run, chart.x.hi);
}

} // namespace

Figure loss_figure(const RunLog& run) {
    const std::string title = "Training loss";
    svg::LineChart chart;
    for (const std::string& method : run.methods) {
        if (!is_drawn(run, method)) {
            continue;
        }
        svg::Line raw;
        std::vector<LossPoint> points;
        for (const auto& [step, point] : mean_losses(run.logs.at(method))) {
            raw.x.push_back(static_cast<double>(step));
            raw.y.push_back(point.loss);
            points.push_back(point);
        }
        if (points.empty()) {
            continue;
        }
        raw.color = method_color(run, method);
        svg::Line smooth = raw;
        smooth.y = smoothed(points);
        smooth.label = title_of(method);
        raw.faint = true;
        chart.lines.push_back(raw);
        chart.lines.push_back(smooth);
    }
    if (chart.lines.empty()) {
        return {title, "", "No method has been trained yet."};
    }
    chart.title = title;
    chart.x.label = "updates";
    chart.y.label = "loss, nats a response token";
    mark_stages(chart, run);
    return {title, svg::draw(chart),
            "Loss of each update (faint, mean over seeds) and its moving mean within a stage (strong), "
            "which compares methods only where their prompts are alike, because knowledge in the prompt "
            "makes a response easier; dotted lines: where the stages of the curriculum begin."};
}

Figure curve_figure(const Results& results) {
    const std::string title = "Internalization curve";
    svg::LineChart chart;
    for (const bool knowledge : {false, true}) {
        svg::Line line;
        line.label = knowledge ? "with knowledge" : "question alone";
        line.color = knowledge ? 5 : 4; // the method's own colour for what it is judged by
        line.dots = true;
        line.dashed = knowledge;
        for (const CurvePoint& point : results.curve) {
            if (point.knowledge == knowledge && point.accuracy.known()) {
                line.x.push_back(static_cast<double>(point.stage));
                line.y.push_back(point.accuracy.mean);
                line.lo.push_back(point.accuracy.lo);
                line.hi.push_back(point.accuracy.hi);
            }
        }
        for (const double stage : line.x) {
            const std::pair<double, std::string> tick = {stage, stage == 0 ? "base"
                                                                           : format("after stage %g", stage)};
            if (std::find(chart.x.ticks.begin(), chart.x.ticks.end(), tick) == chart.x.ticks.end()) {
                chart.x.ticks.push_back(tick);
            }
        }
        if (!line.x.empty()) {
            chart.lines.push_back(line);
        }
    }
    if (chart.lines.empty()) {
        return {title, "", "The run has no curve.jsonl of SKIntern yet."};
    }
    chart.title = title;
    chart.y.label = "accuracy";
    chart.y.percent = true;
    return {title, svg::draw(chart),
            "Accuracy of SKIntern on held-out questions after each stage, from the question alone and with "
            "the knowledge put back into the prompt: the mean over seeds with 95 % Wilson intervals for the questions of one; "
            "internalization is the lower line rising to the upper one."};
}

Figure meter_figure(const RunLog& run, const Results& results) {
    const std::string title = "Internalization meter";
    svg::LineChart chart;
    for (const MethodResult& method : results.methods) {
        const auto found = results.meter.find(method.name);
        if (found == results.meter.end() || !is_drawn(run, method.name)) {
            continue;
        }
        svg::Line line;
        line.label = title_of(method.name);
        line.color = method_color(run, method.name);
        line.dots = found->second.size() <= 20;
        for (const MeterPoint& point : found->second) {
            line.x.push_back(static_cast<double>(point.step));
            line.y.push_back(point.nll_question - point.nll_knowledge);
        }
        chart.lines.push_back(line);
    }
    if (chart.lines.empty()) {
        return {title, "", "The run has no meter.jsonl yet."};
    }
    chart.title = title;
    chart.x.label = "updates";
    chart.y.label = "nats a response token that the knowledge still saves";
    chart.zero_line = true;
    mark_stages(chart, run);
    return {title, svg::draw(chart),
            "Loss on held-out responses from the question alone minus the loss with the knowledge in the "
            "prompt (mean over rows and seeds, no interval): at zero the prompt tells the model nothing "
            "that its weights do not."};
}

} // namespace skintern
