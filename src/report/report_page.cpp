// report_page.cpp — report.html: the figures of a run on one page.
//
// Plain HTML and CSS, no script. Order: the verdict, the table it rests on, the charts, the schedule, answers
// to read, how the run was made. Text from the logs passes through svg::escape and nothing else writes it.
#include "report/report_page.h"

#include <algorithm>

#include "report/report_examples.h"
#include "report/report_figures.h"
#include "report/report_tables.h"
#include "report/svg.h"
#include "support/check.h"
#include "support/numbers.h"

namespace skintern {

namespace {

using svg::escape;

const char* const kStyle = R"css(
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
.kicker { color: var(--muted); font-size: 0.85rem; letter-spacing: 0.04em; margin: 0; }
h1 { font-size: 1.9rem; line-height: 1.22; letter-spacing: -0.015em; margin: 0.5rem 0 1rem; max-width: 26em;
  text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 3.2rem 0 0.8rem; letter-spacing: -0.005em; }
p, figcaption { max-width: 46em; }
figure { margin: 0; } figcaption, .note { color: var(--muted); font-size: 0.88rem; margin-top: 0.5rem; }
.wide { overflow-x: auto; } .wide > svg { min-width: 40rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: 1rem; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.42rem 0.5rem; text-align: right; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
thead th { border-bottom: 1px solid var(--axis); }
th:first-child, td:first-child { text-align: left; padding-left: 0; } td:first-child { font-weight: 600; }
.plain td { white-space: normal; }
.plain .words { text-align: left; }
.key { grid-column: 1 / -1; columns: 9rem; font-size: 0.85rem; margin: 0.5rem 0 0; }
td small { color: var(--muted); margin-left: 0.35em; } td.out { color: var(--muted); }
.heat td:not(:first-child) { text-align: center; min-width: 4rem; border: 1px solid var(--page); }
.heat th:not(:first-child) { text-align: center; white-space: normal; }
.keep { display: inline-block; height: 0.7em; margin-right: 0.5em; }
.keep { background: var(--s4); border-radius: 2px; }
td.bar { text-align: left; min-width: 12rem; }
article { background: var(--card); border-radius: 8px; padding: 1rem 1.2rem; margin: 0 0 1rem; }
article h3 { font-size: 0.85rem; font-weight: 500; color: var(--muted); margin: 0 0 0.5rem; }
pre { font: 0.82rem/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
article .pair { margin-top: 0.9rem; } .who { font-size: 0.85rem; font-weight: 600; margin: 0 0 0.25rem; }
.right { color: var(--s3); } .wrong { color: var(--s4); }
.made td { text-align: left; white-space: normal; overflow-wrap: anywhere; font-weight: 400; }
.made td { vertical-align: top; } .made td:first-child { color: var(--muted); white-space: nowrap; }
@media (max-width: 40rem) { h1 { font-size: 1.5rem; } main { padding-top: 2rem; } }
)css";

// ---- the verdict ---------------------------------------------------------------------------------------

// "+1.2", with a minus sign that is as wide as the plus.
std::string points(double share) {
    const std::string text = signed_points(share);
    return text[0] == '-' ? "&minus;" + text.substr(1) : text;
}

// "in domain (+1.2 points, 95 % -2.0 to +4.5)".
std::string difference_text(const char* where, const Estimate& d) {
    return format("%s (%s points, 95 %% %s to %s)", where, points(d.mean).c_str(), points(d.lo).c_str(),
                  points(d.hi).c_str());
}

// The verdict in one sentence; U+2011 keeps the hyphen of Std-CoT from breaking.
std::string headline(const Comparison& comparison) {
    const Estimate in = comparison.in_domain.over_both(), out = comparison.out_of_domain.over_both();
    const auto told = [](const Estimate& d) -> std::string {
        return !d.known()               ? "SKIntern and Std\u2011CoT have not been compared yet"
               : !is_distinguishable(d) ? "SKIntern and Std\u2011CoT cannot be told apart"
               : d.mean > 0             ? "SKIntern answers more questions right than Std\u2011CoT"
                                        : "SKIntern answers fewer questions right than Std\u2011CoT";
    };
    if (told(in) == told(out)) {
        return told(in) + (in.known() ? ", in domain and out of domain." : ".");
    }
    return "In domain " + told(in) + "; out of domain " + told(out) + ".";
}

std::string seeds_text(const RunLog& run) {
    std::string list;
    for (const int64_t seed : run.seeds) {
        list += format("%s%ld", list.empty() ? "" : ", ", static_cast<long>(seed));
    }
    return (run.seeds.size() == 1 ? "seed " : "seeds ") + list;
}

// " in domain +16.7, -4.2 (95 % -3.3 to +20.8) points".
std::string seeds_text(const char* where, const Paired& difference) {
    std::string list;
    for (const double of_seed : difference.by_seed) {
        list += (list.empty() ? "" : ", ") + points(of_seed);
    }
    const Estimate seeds = difference.over_seeds();
    return format(" %s %s (95 %% %s to %s) points", where, list.c_str(), points(seeds.lo).c_str(), points(seeds.hi).c_str());
}

std::string header(const RunLog& run, const Results& results) {
    const Comparison& comparison = results.comparison;
    const std::string device = devices_text(run);
    std::string out = "<p class=\"kicker\">skintern &middot; preset " +
                      escape(run.preset.empty() ? "unknown" : run.preset) + " &middot; " + seeds_text(run) +
                      (device.empty() ? "" : " &middot; " + escape(device)) + "</p>\n";
    out += "<h1>" + headline(comparison) + "</h1>\n";
    std::string measured;
    for (const auto& [where, estimate] : {std::pair{"in domain", comparison.in_domain.estimate},
                                          std::pair{"out of domain", comparison.out_of_domain.estimate}}) {
        if (estimate.known()) {
            measured += (measured.empty() ? "" : "; ") + difference_text(where, estimate);
        }
    }
    if (!measured.empty()) {
        out += "<p>SKIntern minus Std-CoT, paired question by question: " + measured + ". " +
               (comparison.in_domain.over_seeds().known() || comparison.out_of_domain.over_seeds().known()
                    ? "The intervals are over questions; a difference has to hold over training seeds as well."
                    : "The intervals are over questions; with one training seed nothing is known about "
                      "how much training itself varies.") +
               "</p>\n";
    }
    if (comparison.in_domain.by_seed.size() > 1 && comparison.out_of_domain.by_seed.size() > 1) {
        out += "<p class=\"note\">Seed by seed" + seeds_text("in domain", comparison.in_domain) + ";" +
               seeds_text("out of domain", comparison.out_of_domain) + ".</p>\n";
    }
    if (!run.missing.empty()) {
        out += "<details class=\"note\"><summary>This run is not complete: " +
               format("%zu", run.missing.size()) + " files are missing</summary><ul>";
        for (const std::string& file : run.missing) {
            out += "<li>" + escape(file) + "</li>";
        }
        out += "</ul></details>\n";
    }
    return out;
}

// ---- tables --------------------------------------------------------------------------------------------

std::string cell(const std::string& text) {
    return "<td>" + text + "</td>";
}

std::string share_cell(const Estimate& e) {
    return cell(!e.known()
                    ? "&ndash;"
                    : format("%.1f <small>%.1f&ndash;%.1f</small>", 100 * e.mean, 100 * e.lo, 100 * e.hi));
}

std::string mean_cell(const Estimate& e, const std::string& text) {
    return cell(e.known() ? text : "&ndash;");
}

std::string main_html(const RunLog& run, const Results& results) {
    std::string out =
        "<div class=\"wide\"><table><thead><tr><th>Method</th><th>In domain<br>%, 95 % interval</th>"
        "<th>Out of domain<br>%, 95 % interval</th><th>Prompt<br>tokens</th><th>New<br>tokens</th>"
        "<th>FLOPs<br>a question</th><th>relative<br>to Std-CoT</th><th>Strict<br>%</th>"
        "<th>Unread-<br>able %</th><th>Training<br>tokens</th></tr></thead>\n";
    for (const MethodResult& m : results.methods) {
        const auto number = [](const Estimate& e, int decimals, double factor = 1) {
            return mean_cell(e, format("%.*f", decimals, factor * e.mean));
        };
        const auto prefixed = [](const Estimate& e) { return mean_cell(e, with_prefix(e.mean)); };
        out += "<tr><td style=\"color:" + svg::color_of(method_color(run, m.name)) + "\">" +
               escape(title_of(m.name)) + "</td>" + share_cell(m.in_domain) + share_cell(m.out_of_domain) +
               number(m.prompt_tokens, 0) + number(m.new_tokens, 0) + prefixed(m.flops) +
               number(m.flops_relative, 2) + number(m.strict, 1, 100) + number(m.unreadable, 1, 100) +
               prefixed(m.train_tokens) + "</tr>\n";
    }
    return out + "</table></div>\n<p class=\"note\">Intervals are 95 % percentile intervals of 2000 "
                 "bootstrap resamples "
                 "of the questions; tokens and FLOPs are means over all splits; strict counts an answer only "
                 "in the "
                 "agreed form.</p>\n";
}

// A table with its title above it; nothing when it has no row.
std::string titled(const Table& table) {
    return table.rows.empty() ? "" : "<p class=\"note\">" + escape(table.title) + "</p>\n" + as_html(table);
}

// Accuracy as a shade of one colour, pale enough for the text on it in either theme.
std::string heat_cell(const Estimate& e) {
    if (!e.known()) {
        return "<td class=\"out\">&ndash;</td>";
    }
    return format("<td style=\"background:color-mix(in srgb, var(--s2) %.0f%%, var(--page))\">%.0f</td>",
                  55 * e.mean, 100 * e.mean);
}

std::string task_table(const Results& results) {
    std::map<std::string, bool> tasks;
    std::string head, second;
    for (const MethodResult& m : results.methods) {
        head += "<th colspan=\"2\">" + escape(title_of(m.name)) + "</th>";
        second += "<th>in</th><th>out</th>";
        for (const auto& [task, estimates] : m.by_task) {
            tasks[task] = true;
        }
    }
    if (tasks.empty()) {
        return "<p class=\"note\">No question has been answered yet.</p>\n";
    }
    std::string out = "<div class=\"wide\"><table class=\"heat\"><thead><tr><th></th>" + head +
                      "</tr><tr><th>Task</th>" + second + "</tr></thead>\n";
    for (const auto& [task, present] : tasks) {
        out += "<tr><td>" + escape(task) + "</td>";
        for (const MethodResult& m : results.methods) {
            const auto found = m.by_task.find(task);
            const auto estimates = found == m.by_task.end() ? std::pair<Estimate, Estimate>{} : found->second;
            out += heat_cell(estimates.first) + heat_cell(estimates.second);
        }
        out += "</tr>\n";
    }
    return out + "</table></div>\n<p class=\"note\">Accuracy in percent by task, in domain and out of "
                 "domain, without "
                 "intervals: with few questions a task, a single answer moves a figure by several points "
                 "(results.json has the intervals).</p>\n";
}

// The updates of a stage: as planned, or as logged by the first seed when run.json has no plan.
std::string updates_text(const RunLog& run, const ScheduleRow& row) {
    int64_t updates = row.updates.value_or(0);
    const auto ours = run.logs.find(kOurs);
    if (!row.updates && ours != run.logs.end()) {
        const std::vector<UpdateRow>& log = ours->second.front().updates;
        updates = std::count_if(log.begin(), log.end(),
                                [&](const UpdateRow& update) { return update.stage == row.stage; });
    }
    return row.updates || updates > 0 ? format("%ld", static_cast<long>(updates)) : "&ndash;";
}

std::string schedule_table(const RunLog& run) {
    if (run.schedule.empty()) {
        return "<p class=\"note\">The run does not say its schedule.</p>\n";
    }
    std::string out =
        "<div class=\"wide\"><table><thead><tr><th>Stage</th><th>Knowledge kept</th><th>Examples</th>"
        "<th>Updates</th></tr></thead>\n";
    for (const ScheduleRow& row : run.schedule) {
        const double keep = std::clamp(row.keep, 0.0, 1.0);
        out += format("<tr><td>%ld</td><td class=\"bar\"><span class=\"keep\" "
                      "style=\"width:%.1frem\"></span>%.0f %%</td>"
                      "<td>%ld</td><td>%s</td></tr>\n",
                      static_cast<long>(row.stage), 8 * keep, 100 * keep, static_cast<long>(row.shots),
                      updates_text(run, row).c_str());
    }
    return out +
           "</table></div>\n<p class=\"note\">What SKIntern's prompt holds beside the question at each "
           "stage; at the last one nothing is left, and its prompt is the prompt of the evaluation.</p>\n";
}

// ---- how it was made -----------------------------------------------------------------------------------

// What the tables of the run tell, then what else stands in run.json, then what did not fit the token budget.
std::string made_section(const RunLog& run) {
    std::string out = "<div class=\"wide\"><table class=\"made\">\n";
    const auto add = [&](const std::string& name, const std::string& value) {
        out += "<tr><td>" + escape(name) + "</td><td>" + escape(value) + "</td></tr>\n";
    };
    for (const auto& row : made_table(run).rows) {
        add(row[0], row[1]);
    }
    for (const auto& [name, value] : run.settings) {
        add(name, value);
    }
    for (const std::string& method : run.methods) {
        for (size_t s = 0; s < run.seeds.size(); s++) {
            const std::optional<Dropped>& dropped = run.logs.at(method)[s].dropped;
            if (dropped) {
                add(format("dropped, seed %ld, %s", static_cast<long>(run.seeds[s]), method.c_str()),
                    format("%ld training rows left out, %ld with knowledge cut, %ld with examples cut to the token budget",
                           static_cast<long>(dropped->left_out), static_cast<long>(dropped->knowledge_cut),
                           static_cast<long>(dropped->shots_cut)));
            }
        }
    }
    return out + "</table></div>\n" + titled(arms_table(run)) + titled(search_table(run));
}

std::string section(const std::string& title, const std::string& body) {
    return "<section><h2>" + escape(title) + "</h2>\n" + body + "</section>\n";
}

// `below`: a table with the same figures, or nothing.
std::string figure_section(const Figure& figure, const char* layout, const std::string& below = "") {
    const std::string picture =
        figure.svg.empty() ? "" : format("<div class=\"%s\">\n", layout) + figure.svg + "</div>\n";
    return section(figure.title, "<figure>" + picture + "<figcaption>" + escape(figure.caption) +
                                     "</figcaption></figure>\n" + below);
}

} // namespace

std::string report_page(const RunLog& run, const Results& results) {
    std::string out =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>skintern: report of a run</title>\n"
        "<style>" +
        svg::style() + kStyle + "</style></head>\n<body><main>\n";
    out += header(run, results) + main_html(run, results) + titled(against_table(results));
    out += section("Claims", as_html(claims_table(results)));
    out += figure_section(accuracy_figure(run, results), "wide");
    out += figure_section(cost_figure(run, results), "pair");
    out += figure_section(curve_figure(results), "wide");
    out += figure_section(meter_figure(run, results), "wide");
    out += figure_section(loss_figure(run), "wide");
    out += figure_section(coverage_figure(run, results), "wide");
    out += figure_section(skills_figure(run, results), "wide");
    out += figure_section(put_back_figure(run, results), "wide", titled(put_back_table(run, results)));
    for (const Ablation& ablation : results.ablations) {
        out += figure_section(ablation_figure(run, ablation), "wide", titled(ablation_table(ablation)));
    }
    if (!results.sets.empty()) {
        out += section("Optional sets", as_html(sets_table(run, results)));
    }
    out += section("By task", titled(groups_table(results)) + task_table(results));
    if (!results.gold.counts.empty()) {
        out += section("Answers that stand in the knowledge", titled(gold_table(results)) + titled(without_gold_table(results)));
    }
    out += section("Schedule of the curriculum", schedule_table(run));
    out += section("Answers to read", example_section(run));
    out += section("How the run was made", made_section(run));
    return out + "</main></body></html>\n";
}

} // namespace skintern
