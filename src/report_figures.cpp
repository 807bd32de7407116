// report_figures.cpp — the charts of report.html.
//
// Each function turns figures of Results (or rows of the log) into one chart of svg.h. Nothing is computed
// here but means over seeds and the smoothing of the loss.
#include "report_figures.h"

#include <algorithm>
#include <functional>
#include <set>

#include "check.h"
#include "numbers.h"
#include "svg.h"

namespace skintern {

namespace {

constexpr size_t kMostNamedDots = 8;
constexpr size_t kMostDots = 20; // more of them, and variants of a method are left to the ablations
const char* const kBootstrapNote = "95 % percentile intervals of 2000 bootstrap resamples of the questions";

svg::Value value_of(const Estimate& estimate) {
    return {estimate.mean, estimate.lo, estimate.hi};
}

// One group a method, one bar for each estimate that `pick` returns.
svg::BarChart method_bars(const RunLog& run, const Results& results, const std::vector<std::string>& names,
                          const std::function<std::vector<Estimate>(const MethodResult&)>& pick) {
    svg::BarChart chart;
    chart.bar_names = names;
    chart.x.percent = true;
    for (const MethodResult& method : results.methods) {
        svg::BarGroup group;
        group.label = title_of(method.name);
        group.color = method_color(run, method.name);
        for (const Estimate& estimate : pick(method)) {
            group.bars.push_back(value_of(estimate));
            group.known.push_back(estimate.known());
        }
        if (std::count(group.known.begin(), group.known.end(), true) > 0) {
            chart.groups.push_back(group);
        }
    }
    return chart;
}

// An empty SVG and another caption when there is nothing to draw.
Figure bar_figure(const std::string& title, svg::BarChart chart, const std::string& caption,
                  const std::string& missing) {
    if (chart.groups.empty()) {
        return {title, "", missing};
    }
    chart.title = title;
    return {title, svg::draw(chart), caption};
}

// ---- training ------------------------------------------------------------------------------------------

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

int method_color(const RunLog& run, const std::string& method) {
    const std::vector<std::string> known = {"base", "base+knowledge", "std-cot", "kard", "skintern"};
    const auto found = std::find(known.begin(), known.end(), method);
    if (found != known.end()) {
        return static_cast<int>(found - known.begin());
    }
    int color = static_cast<int>(known.size());
    for (const std::string& other : run.methods) {
        if (other == method) {
            break;
        }
        color += std::find(known.begin(), known.end(), other) == known.end() ? 1 : 0;
    }
    return color % svg::kColors;
}

// ---- answers -------------------------------------------------------------------------------------------

Figure accuracy_figure(const RunLog& run, const Results& results) {
    svg::BarChart chart =
        method_bars(run, results, {"in domain", "out of domain"}, [](const MethodResult& m) {
            return std::vector<Estimate>{m.in_domain, m.out_of_domain};
        });
    chart.x.label = "questions answered right";
    return bar_figure(
        "Accuracy", chart,
        format("Share of questions answered right, in domain (full) and out of domain (pale), by method, "
               "with %s.",
               kBootstrapNote),
        "No question has been answered yet.");
}

Figure coverage_figure(const RunLog& run, const Results& results) {
    svg::BarChart chart = method_bars(run, results, {"covered", "uncovered"}, [](const MethodResult& m) {
        return std::vector<Estimate>{m.covered, m.uncovered};
    });
    chart.x.label = "questions answered right, in domain";
    return bar_figure(
        "Facts that responses state, and facts that stand in the knowledge only", chart,
        format("Accuracy in domain on questions whose facts are all stated by some training response "
               "(covered, full) and on questions that need a fact which stands in the knowledge only "
               "(uncovered, pale), with %s.",
               kBootstrapNote),
        "No answered question says whether its facts are covered.");
}

Figure skills_figure(const RunLog& run, const Results& results) {
    svg::BarChart chart = method_bars(run, results, {"find", "apply", "format"}, [](const MethodResult& m) {
        return std::vector<Estimate>{m.find, m.apply, m.format};
    });
    chart.x.label = "share";
    return bar_figure(
        "Part-skills", chart,
        format("Finding (needed facts that the response states), applying (right answers among responses "
               "that state every needed fact) and format (an answer follows the agreed phrase), over all "
               "splits, with %s.",
               kBootstrapNote),
        "No question has been answered yet.");
}

Figure cost_figure(const RunLog& run, const Results& results) {
    const std::string title = "Accuracy against cost";
    // Names of many dots would cover the dots: they then have numbers, and the names stand below.
    const bool numbered = results.methods.size() > kMostNamedDots;
    const bool crowded = results.methods.size() > kMostDots;
    std::string charts, names;
    const auto add = [&](const char* where, Estimate MethodResult::*accuracy) {
        svg::ScatterChart chart;
        chart.title = title + ", " + where;
        chart.x.label = "FLOPs a question";
        chart.x.logarithmic = true;
        chart.y.label = std::string("accuracy ") + where;
        chart.y.percent = true;
        for (size_t i = 0; i < results.methods.size(); i++) {
            const MethodResult& m = results.methods[i];
            const bool shown = !crowded || m.name == method_of(run, m.name).name;
            if (shown && (m.*accuracy).known() && m.flops.known() && m.flops.mean > 0) {
                chart.dots.push_back({numbered ? format("%zu", i + 1) : title_of(m.name), method_color(run, m.name),
                                      m.flops.mean, value_of(m.*accuracy)});
            }
        }
        if (!chart.dots.empty()) {
            charts += svg::draw(chart);
        }
    };
    add("in domain", &MethodResult::in_domain);
    add("out of domain", &MethodResult::out_of_domain);
    if (charts.empty()) {
        return {title, "", "No question has been answered yet."};
    }
    for (size_t i = 0; i < results.methods.size(); i++) {
        const std::string& name = results.methods[i].name;
        if (!crowded || name == method_of(run, name).name) {
            names += format("<li value=\"%zu\">", i + 1) + svg::escape(title_of(name)) + "</li>\n";
        }
    }
    return {title, charts + (numbered ? "<ol class=\"key\">\n" + names + "</ol>\n" : ""),
            format("Accuracy against the mean FLOPs of a question (prompt and generated tokens, with "
                   "attention and a key-value cache, logarithmic), with %s.",
                   kBootstrapNote)};
}

Figure put_back_figure(const RunLog& run, const Results& results) {
    const std::vector<std::string> names = {"question alone", "knowledge put back", "unseen families"};
    svg::BarChart chart = method_bars(run, results, names, [&](const MethodResult& m) {
        // The base model has the two as methods of their own.
        if (m.name == "base") {
            const auto with = std::find_if(results.methods.begin(), results.methods.end(),
                                           [](const MethodResult& other) { return other.name == "base+knowledge"; });
            return std::vector<Estimate>{m.in_domain, with == results.methods.end() ? Estimate{} : with->in_domain,
                                         m.by_split.at("unseen")};
        }
        return m.put_back.known() ? std::vector<Estimate>{m.alone, m.put_back, m.by_split.at("unseen")}
                                  : std::vector<Estimate>(3);
    });
    if (std::none_of(results.methods.begin(), results.methods.end(), [](const MethodResult& m) { return m.put_back.known(); })) {
        chart.groups.clear();
    }
    chart.x.label = "questions answered right";
    return bar_figure("What fine-tuning cost", chart,
                      format("Test questions from the question alone, the same with the knowledge put back into the prompt after "
                             "training, and questions of unseen families, with %s; a trained model that reads its prompt worse "
                             "than the base model has paid for what it learned.",
                             kBootstrapNote),
                      "No cell has with-knowledge.jsonl.");
}

// ---- ablations -----------------------------------------------------------------------------------------

namespace {

// A line a method over the numbers of an axis.
svg::LineChart ablation_lines(const RunLog& run, const Ablation& ablation, const std::string& where,
                              Estimate AblationPoint::*accuracy) {
    svg::LineChart chart;
    chart.title = ablation.title + ", " + where;
    chart.x.label = ablation.title;
    chart.x.logarithmic = ablation.logarithmic;
    chart.y.label = "accuracy " + where;
    chart.y.percent = true;
    std::set<double> values;
    for (const AblationPoint& point : ablation.points) {
        if (!(point.*accuracy).known()) {
            continue;
        }
        const std::string label = title_of(point.method);
        if (chart.lines.empty() || chart.lines.back().label != label) {
            chart.lines.emplace_back();
            chart.lines.back().label = label;
            chart.lines.back().color = method_color(run, point.method);
            chart.lines.back().dots = true;
        }
        svg::Line& line = chart.lines.back();
        line.x.push_back(*point.value.number);
        line.y.push_back((point.*accuracy).mean);
        line.lo.push_back((point.*accuracy).lo);
        line.hi.push_back((point.*accuracy).hi);
        if (values.insert(*point.value.number).second) {
            chart.x.ticks.emplace_back(*point.value.number, value_text(point.value));
        }
    }
    return values.size() < 2 ? svg::LineChart() : chart; // one value makes no line
}

svg::BarChart ablation_bars(const RunLog& run, const Ablation& ablation) {
    svg::BarChart chart;
    chart.title = ablation.title;
    chart.bar_names = {"in domain", "out of domain"};
    chart.x.percent = true;
    chart.x.label = "questions answered right";
    for (const AblationPoint& point : ablation.points) {
        chart.groups.push_back({title_of(point.method) + ", " + value_text(point.value),
                                method_color(run, point.method),
                                {value_of(point.in_domain), value_of(point.out_of_domain)},
                                {point.in_domain.known(), point.out_of_domain.known()}});
    }
    return chart;
}

} // namespace

Figure ablation_figure(const RunLog& run, const Ablation& ablation) {
    const std::string title = "Ablation: " + ablation.title;
    std::string charts = ablation.numeric ? "" : svg::draw(ablation_bars(run, ablation));
    if (ablation.numeric) {
        for (const auto& [where, accuracy] : {std::pair{"in domain", &AblationPoint::in_domain},
                                              std::pair{"out of domain", &AblationPoint::out_of_domain}}) {
            const svg::LineChart chart = ablation_lines(run, ablation, where, accuracy);
            charts += chart.lines.empty() ? "" : svg::draw(chart);
        }
    }
    return {title, charts, format("Accuracy of arms that differ in %s alone, with %s.", ablation.setting.c_str(), kBootstrapNote)};
}

// ---- through training ----------------------------------------------------------------------------------

Figure loss_figure(const RunLog& run) {
    const std::string title = "Training loss";
    svg::LineChart chart;
    for (const std::string& method : run.methods) {
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
            "the knowledge put back into the prompt, with 95 % Wilson intervals of the counts of all seeds; "
            "internalization is the lower line rising to the upper one."};
}

Figure meter_figure(const RunLog& run, const Results& results) {
    const std::string title = "Internalization meter";
    svg::LineChart chart;
    for (const MethodResult& method : results.methods) {
        const auto found = results.meter.find(method.name);
        if (found == results.meter.end()) {
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
