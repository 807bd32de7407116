// report_figures.cpp — the charts of report.html.
//
// Each function turns figures of Results into one chart of svg.h; those of training are in
// training_figures.cpp.
#include "report/report_figures.h"

#include <algorithm>
#include <functional>
#include <set>

#include "report/svg.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

constexpr size_t kMostNamedDots = 8;
constexpr size_t kMostArms = 20;
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

} // namespace

bool is_drawn(const RunLog& run, const std::string& arm) {
    return run.methods.size() <= kMostArms || arm == method_of(run, arm).name;
}

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
        format("Accuracy in domain on questions whose facts are all stated by some response of the teacher in the training "
               "rows as they were generated (covered, full) and on questions that need a fact which stands in the knowledge "
               "only (uncovered, pale), with %s.",
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
            if (is_drawn(run, m.name) && (m.*accuracy).known() && m.flops.known() && m.flops.mean > 0) {
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
        if (is_drawn(run, name)) {
            names += format("<li value=\"%zu\">", i + 1) + svg::escape(title_of(name)) + "</li>\n";
        }
    }
    return {title, charts + (numbered ? "<ol class=\"key\">\n" + names + "</ol>\n" : ""),
            format("Accuracy against the mean FLOPs of a question (prompt and generated tokens, with "
                   "attention and a key-value cache, logarithmic), with %s.",
                   kBootstrapNote)};
}

Figure put_back_figure(const RunLog& run, const Results& results) {
    const std::vector<std::string> names = {"own prompt", "knowledge put back", "unseen families"};
    svg::BarChart chart = method_bars(run, results, names, [&](const MethodResult& m) {
        // The base model has the two as methods of their own.
        if (m.name == "base") {
            const auto with = std::find_if(results.methods.begin(), results.methods.end(),
                                           [](const MethodResult& other) { return other.name == "base+knowledge"; });
            return std::vector<Estimate>{m.in_domain, with == results.methods.end() ? Estimate{} : with->in_domain,
                                         m.by_split.at("unseen")};
        }
        return m.put_back.known() ? std::vector<Estimate>{m.own_prompt, m.put_back, m.by_split.at("unseen")}
                                  : std::vector<Estimate>(3);
    });
    if (std::none_of(results.methods.begin(), results.methods.end(), [](const MethodResult& m) { return m.put_back.known(); })) {
        chart.groups.clear();
    }
    chart.x.label = "questions answered right";
    return bar_figure("What fine-tuning cost", chart,
                      format("Test questions with the method's own prompt, the same with the knowledge put back into the prompt after "
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

} // namespace skintern
