// svg.cpp — small charts as SVG text.
//
// A chart is drawn on a sheet of fixed size in its own units (about pixels) which the page scales. The frame
// (axes, ticks, grid) is drawn first, then data, then labels, so that text is never under a line.
#include "report/svg.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "support/check.h"

namespace skintern::svg {

namespace {

constexpr double kCharWidth = 8;     // of a bold character at 12 units, in a wide font, for placing labels
constexpr double kLabelHeight = 15;  // distance of two labels that do not touch
constexpr double kTop = 30;          // room above the plot, for the name of the y axis
constexpr double kBoundaryRoom = 18; // more of it, for the labels of boundaries
constexpr double kBottom = 44;       // room below, for ticks and the axis label
constexpr double kLineWidth = 900, kLineHeight = 360;
constexpr double kScatterWidth = 460, kScatterHeight = 340;
constexpr std::array<int, 3> kBarFill = {
    100, 50, 22}; // percent of the colour in the first, second, third bar of a group

size_t count_characters(const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

double text_width(const std::string& text) {
    return kCharWidth * static_cast<double>(count_characters(text));
}

// ---- primitives ----------------------------------------------------------------------------------------

std::string line_between(double x1, double y1, double x2, double y2, const std::string& attributes) {
    return format("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2,
                  attributes.c_str());
}

// `anchor`: start, middle or end.
std::string text_at(double x, double y, const char* anchor, const std::string& text,
                    const std::string& attributes) {
    return format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>%s</text>\n", x, y, anchor,
                  attributes.c_str(), escape(text).c_str());
}

std::string colored(const char* property, int color) {
    return format("style=\"%s:%s\"", property, color_of(color).c_str());
}

std::string open_sheet(const std::string& title, double width, double height) {
    return format(
        "<svg viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" role=\"img\" aria-label=\"%s\">\n", width,
        height, width, escape(title).c_str());
}

// ---- axes ----------------------------------------------------------------------------------------------

double round_step(double span, int count) {
    const double rough = span / count;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    for (const double digit : {1.0, 2.0, 5.0}) {
        if (rough <= digit * power * 1.0000001) {
            return digit * power;
        }
    }
    return 10 * power;
}

// An axis with its ends fixed, and the stretch of the sheet it runs over.
struct Scale {
    Axis axis;
    double from = 0; // sheet coordinate of axis.lo
    double to = 0;   // and of axis.hi

    double at(double value) const {
        const auto rank = [&](double v) { return axis.logarithmic ? std::log10(v) : v; };
        return from + (rank(value) - rank(axis.lo)) / (rank(axis.hi) - rank(axis.lo)) * (to - from);
    }
};

// Ends that hold every value: on round numbers, or with some air on a logarithmic axis.
Axis fitted(Axis axis, const std::vector<double>& values, int count) {
    if (axis.lo != axis.hi) {
        return axis;
    }
    double lo = values.empty() ? 0 : *std::min_element(values.begin(), values.end());
    double hi = values.empty() ? 1 : *std::max_element(values.begin(), values.end());
    if (axis.logarithmic) {
        CHECK(lo > 0, "a logarithmic axis cannot show %g", lo);
        const double air = std::max(std::pow(hi / lo, 0.12), 1.25);
        axis.lo = lo / air;
        axis.hi = hi * air;
        return axis;
    }
    if (!(hi - lo > 1e-9 * std::max(std::abs(lo), std::abs(hi)))) { // one value: show it in the middle
        const double air = lo == 0 ? 1 : std::abs(lo) / 2;
        lo -= air;
        hi += air;
    }
    const double step = round_step(hi - lo, count);
    axis.lo = step * std::floor(lo / step + 1e-9);
    axis.hi = step * std::ceil(hi / step - 1e-9);
    return axis;
}

std::vector<std::pair<double, std::string>> ticks_of(const Axis& axis, int count) {
    if (!axis.ticks.empty()) {
        return axis.ticks;
    }
    std::vector<double> values;
    if (axis.logarithmic) {
        for (double power = std::pow(10, std::floor(std::log10(axis.lo))); power <= axis.hi; power *= 10) {
            for (const double digit : {1.0, 2.0, 5.0}) {
                if (digit * power >= axis.lo && digit * power <= axis.hi) {
                    values.push_back(digit * power);
                }
            }
        }
    }
    if (values.size() < 3) { // a short logarithmic axis is nearly a straight one
        values = round_ticks(axis.lo, axis.hi, count);
    }
    std::vector<std::pair<double, std::string>> ticks;
    for (const double value : values) {
        ticks.emplace_back(value, axis.percent ? format("%g %%", std::round(value * 1e6) / 1e4)
                                               : short_number(value));
    }
    return ticks;
}

// Grid, ticks and axis labels of a plot; the name of the y axis stands `name_distance` above it.
std::string frame(const Scale& x, const Scale& y, double name_distance) {
    std::string out;
    for (const auto& [value, label] : ticks_of(y.axis, 5)) {
        out += line_between(x.from, y.at(value), x.to, y.at(value), "class=\"grid\"");
        out += text_at(x.from - 8, y.at(value) + 4, "end", label, "class=\"tick\"");
    }
    for (const auto& [value, label] : ticks_of(x.axis, 7)) {
        out += line_between(x.at(value), y.from, x.at(value), y.from + 5, "class=\"axis\"");
        out += text_at(x.at(value), y.from + 19, "middle", label, "class=\"tick\"");
    }
    out += line_between(x.from, y.from, x.to, y.from, "class=\"axis\"");
    out += text_at((x.from + x.to) / 2, y.from + 38, "middle", x.axis.label, "class=\"name\"");
    out += text_at(x.from - 44, y.to - name_distance, "start", y.axis.label, "class=\"name\"");
    return out;
}

// ---- labels beside lines -------------------------------------------------------------------------------

struct SideLabel {
    std::string text;
    int color = 0;
    double x_line = 0; // where the line ends
    double y_line = 0;
    double y = 0; // where the label stands
};

// Moves labels apart until no two are closer than a line of text, none leaving [top, bottom] while there is
// room.
void spread(std::vector<SideLabel>& labels, double top, double bottom) {
    std::stable_sort(labels.begin(), labels.end(),
                     [](const SideLabel& a, const SideLabel& b) { return a.y_line < b.y_line; });
    double limit = top;
    for (SideLabel& label : labels) {
        label.y = std::max(label.y_line, limit);
        limit = label.y + kLabelHeight;
    }
    limit = bottom;
    for (size_t i = labels.size(); i-- > 0;) {
        labels[i].y = std::min(labels[i].y, limit);
        limit = labels[i].y - kLabelHeight;
    }
}

std::string side_labels(std::vector<SideLabel> labels, double x, double top, double bottom) {
    spread(labels, top, bottom);
    std::string out;
    for (const SideLabel& label : labels) {
        if (std::abs(label.y - label.y_line) > 3 || x - label.x_line > 14) {
            out += line_between(label.x_line + 3, label.y_line, x - 2, label.y, "class=\"leader\"");
        }
        out +=
            text_at(x, label.y + 4, "start", label.text, "class=\"label\" " + colored("fill", label.color));
    }
    return out;
}

// ---- pieces of a line chart ----------------------------------------------------------------------------

std::string path_through(const Line& line, const Scale& x, const Scale& y) {
    std::string points;
    for (size_t i = 0; i < line.x.size(); i++) {
        points += format("%s%.1f,%.1f", i == 0 ? "" : " ", x.at(line.x[i]), y.at(line.y[i]));
    }
    const char* kind = line.faint ? "raw" : line.dashed ? "line dashed" : "line";
    std::string out = format("<polyline points=\"%s\" class=\"%s\" %s/>\n", points.c_str(), kind,
                             colored("stroke", line.color).c_str());
    for (size_t i = 0; line.dots && i < line.x.size(); i++) {
        out += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" %s/>\n", x.at(line.x[i]), y.at(line.y[i]),
                      colored("fill", line.color).c_str());
    }
    return out;
}

std::string band_around(const Line& line, const Scale& x, const Scale& y) {
    std::string points;
    for (size_t i = 0; i < line.lo.size(); i++) {
        points += format("%.1f,%.1f ", x.at(line.x[i]), y.at(line.hi[i]));
    }
    for (size_t i = line.lo.size(); i-- > 0;) {
        points += format("%.1f,%.1f ", x.at(line.x[i]), y.at(line.lo[i]));
    }
    return points.empty() ? ""
                          : format("<polygon points=\"%s\" class=\"band\" %s/>\n", points.c_str(),
                                   colored("fill", line.color).c_str());
}

void append(std::vector<double>& all, const std::vector<double>& more) {
    all.insert(all.end(), more.begin(), more.end());
}

std::string error_bar(double x, double y_lo, double y_hi, int color) {
    const std::string stroke = "class=\"whisker\" " + colored("stroke", color);
    return line_between(x, y_lo, x, y_hi, stroke) + line_between(x - 4, y_lo, x + 4, y_lo, stroke) +
           line_between(x - 4, y_hi, x + 4, y_hi, stroke);
}

// ---- labels beside dots --------------------------------------------------------------------------------

struct Box {
    double left, top, right, bottom;
    bool touches(const Box& other) const {
        return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
    }
};

// The nearest free place for a label of this width around (x, y); the first one when all are taken.
Box free_place(double x, double y, double width, const std::vector<Box>& taken, const Box& plot) {
    const auto place = [&](double angle, double distance) {
        const double cx = x + std::cos(angle) * (distance + width / 2);
        const double cy = y + std::sin(angle) * (distance + kLabelHeight / 2);
        return Box{cx - width / 2, cy - kLabelHeight / 2, cx + width / 2, cy + kLabelHeight / 2};
    };
    constexpr double kPi = 3.14159265358979;
    for (const double distance : {9.0, 18.0, 30.0, 45.0, 65.0}) {
        for (const double turn : {0.0, 1.0, -0.5, 0.5, -0.15, 0.15, -0.85, 0.85, -0.3, 0.3, -0.7, 0.7}) {
            const Box box = place(turn * kPi, distance);
            const bool inside = box.left >= plot.left && box.right <= plot.right && box.top >= plot.top &&
                                box.bottom <= plot.bottom;
            if (inside &&
                std::none_of(taken.begin(), taken.end(), [&](const Box& b) { return b.touches(box); })) {
                return box;
            }
        }
    }
    return place(0, 9);
}

} // namespace

// ---- charts --------------------------------------------------------------------------------------------

std::string draw(const LineChart& chart) {
    std::vector<double> xs, ys;
    double label_width = 0;
    for (const Line& line : chart.lines) {
        CHECK(line.x.size() == line.y.size() && line.lo.size() == line.hi.size() &&
                  (line.lo.empty() || line.lo.size() == line.x.size()),
              "line \"%s\" of chart \"%s\" has %zu x, %zu y, %zu lo and %zu hi values", line.label.c_str(),
              chart.title.c_str(), line.x.size(), line.y.size(), line.lo.size(), line.hi.size());
        append(xs, line.x);
        append(ys, line.y);
        append(ys, line.lo);
        append(ys, line.hi);
        label_width = std::max(label_width, text_width(line.label));
    }
    if (chart.zero_line) {
        ys.push_back(0);
    }
    const double right = kLineWidth - label_width - 16;
    Axis x_axis = chart.x;
    if (x_axis.lo == x_axis.hi &&
        !xs.empty()) { // the data fill the width: no air for the sake of a round end
        x_axis.lo = *std::min_element(xs.begin(), xs.end());
        x_axis.hi = *std::max_element(xs.begin(), xs.end());
    }
    const Scale x = {fitted(x_axis, xs, 7), 52, right};
    const double boundary_room = chart.boundaries.empty() ? 0 : kBoundaryRoom;
    const Scale y = {fitted(chart.y, ys, 5), kLineHeight - kBottom, kTop + boundary_room};

    std::string out = open_sheet(chart.title, kLineWidth, kLineHeight);
    out += frame(x, y, 14 + boundary_room);
    for (const Boundary& boundary : chart.boundaries) {
        out += line_between(x.at(boundary.x), y.from, x.at(boundary.x), y.to - kBoundaryRoom,
                            "class=\"boundary\"");
        out += text_at(x.at(boundary.x) + 4, y.to - 7, "start", boundary.label, "class=\"tick\"");
    }
    if (chart.zero_line) {
        out += line_between(x.from, y.at(0), x.to, y.at(0), "class=\"axis\"");
    }
    std::string faint, bands, lines;
    std::vector<SideLabel> labels;
    for (const Line& line : chart.lines) {
        bands += band_around(line, x, y);
        (line.faint ? faint : lines) += path_through(line, x, y);
        if (!line.label.empty() && !line.x.empty()) {
            labels.push_back({line.label, line.color, x.at(line.x.back()), y.at(line.y.back()), 0});
        }
    }
    return out + bands + faint + lines + side_labels(labels, right + 8, y.to, y.from) + "</svg>\n";
}

std::string draw(const BarChart& chart) {
    constexpr double kBarHeight = 15, kGap = 14, kValueRoom = 130;
    double name_width = 0;
    std::vector<double> values = {0};
    for (const BarGroup& group : chart.groups) {
        CHECK(group.bars.size() == chart.bar_names.size() && group.known.size() == group.bars.size() &&
                  group.bars.size() <= kBarFill.size(),
              "group \"%s\" of chart \"%s\" has %zu bars, %zu names were given", group.label.c_str(),
              chart.title.c_str(), group.bars.size(), chart.bar_names.size());
        name_width = std::max(name_width, text_width(group.label));
        for (const Value& bar : group.bars) {
            append(values, {bar.mean, bar.hi});
        }
    }
    if (*std::max_element(values.begin(), values.end()) <= 0) { // nothing but zeros: the axis still begins at zero
        values.push_back(1);
    }
    const double group_height = kBarHeight * static_cast<double>(chart.bar_names.size()) + kGap;
    const double bottom = 8 + group_height * static_cast<double>(chart.groups.size());
    const double left = name_width + 16;
    const Scale x = {fitted(chart.x, values, 5), left, kLineWidth - kValueRoom};

    std::string out = open_sheet(chart.title, kLineWidth, bottom + kBottom);
    for (const auto& [value, label] : ticks_of(x.axis, 5)) {
        out += line_between(x.at(value), 4, x.at(value), bottom, "class=\"grid\"");
        out += text_at(x.at(value), bottom + 17, "middle", label, "class=\"tick\"");
    }
    out += text_at((x.from + x.to) / 2, bottom + 36, "middle", chart.x.label, "class=\"name\"");
    for (size_t g = 0; g < chart.groups.size(); g++) {
        const BarGroup& group = chart.groups[g];
        const double top = 8 + group_height * static_cast<double>(g);
        out += text_at(left - 10, top + (group_height - kGap) / 2 + 4, "end", group.label,
                       "class=\"label\" " + colored("fill", group.color));
        for (size_t b = 0; b < group.bars.size(); b++) {
            const Value& bar = group.bars[b];
            const double y = top + kBarHeight * static_cast<double>(b);
            const double middle = y + (kBarHeight - 2) / 2;
            std::string note = "not measured";
            if (group.known[b]) {
                out += format("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\" "
                              "style=\"fill:color-mix(in srgb, %s %d%%, var(--page))\"/>\n",
                              x.from, y, x.at(bar.mean) - x.from, kBarHeight - 2,
                              color_of(group.color).c_str(), kBarFill[b]);
                for (const char* look : {"class=\"errorbar halo\"", "class=\"errorbar\""}) {
                    out += line_between(x.at(bar.lo), middle, x.at(bar.hi), middle, look);
                }
                note = format("%.1f", 100 * bar.mean);
            }
            note += g == 0 ? " " + chart.bar_names[b] : "";
            const double end = group.known[b] ? std::max(x.at(bar.hi), x.at(bar.mean)) : x.from;
            out += text_at(end + 6, middle + 4, "start", note, "class=\"value\"");
        }
    }
    return out + line_between(left, 4, left, bottom, "class=\"axis\"") + "</svg>\n";
}

std::string draw(const ScatterChart& chart) {
    std::vector<double> xs, ys;
    for (const Dot& dot : chart.dots) {
        xs.push_back(dot.x);
        append(ys, {dot.y.mean, dot.y.lo, dot.y.hi});
    }
    const Scale x = {fitted(chart.x, xs, 5), 52, kScatterWidth - 12};
    const Scale y = {fitted(chart.y, ys, 5), kScatterHeight - kBottom, kTop};
    std::string out = open_sheet(chart.title, kScatterWidth, kScatterHeight) + frame(x, y, 14);
    std::vector<Box> taken;
    for (const Dot& dot : chart.dots) {
        const double px = x.at(dot.x), py = y.at(dot.y.mean);
        out += error_bar(px, y.at(dot.y.lo), y.at(dot.y.hi), dot.color);
        out += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" %s/>\n", px, py,
                      colored("fill", dot.color).c_str());
        taken.push_back({px - 6, py - 6, px + 6, py + 6});
        taken.push_back({px - 5, y.at(dot.y.hi) - 1, px + 5, y.at(dot.y.lo) + 1});
    }
    const Box plot = {x.from, y.to, x.to, y.from};
    for (const Dot& dot : chart.dots) {
        const double px = x.at(dot.x), py = y.at(dot.y.mean), width = text_width(dot.label);
        const Box box = free_place(px, py, width, taken, plot);
        taken.push_back(box);
        const double near_x = std::clamp(px, box.left, box.right),
                     near_y = std::clamp(py, box.top, box.bottom);
        if (std::hypot(near_x - px, near_y - py) > 12) {
            out += line_between(px, py, near_x, near_y, "class=\"leader\"");
        }
        // Anchored on the dot's side, so that a font narrower than thought leaves the label beside its dot.
        const double baseline = (box.top + box.bottom) / 2 + 4;
        const std::string look = "class=\"label\" " + colored("fill", dot.color);
        out += box.left > px    ? text_at(box.left, baseline, "start", dot.label, look)
               : box.right < px ? text_at(box.right, baseline, "end", dot.label, look)
                                : text_at((box.left + box.right) / 2, baseline, "middle", dot.label, look);
    }
    return out + "</svg>\n";
}

// ---- the look ------------------------------------------------------------------------------------------

std::string style() {
    return R"css(
:root { --ink: #1c2127; --muted: #5d6875; --grid: #e4e7ea; --axis: #8a94a0; --page: #ffffff; --card: #f6f7f8;
  --s0: #6d7683; --s1: #ad4f86; --s2: #0069a8; --s3: #007a59;
  --s4: #c24e00; --s5: #8f6a00; --s6: #2b88bd; --s7: #5b4bb7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebee; --muted: #a0aab5; --grid: #2b323a; --axis: #6b7682; --page: #14181c;
    --card: #1c2126;
    --s0: #a6afba; --s1: #e59cc6; --s2: #62b5f2; --s3: #41cda1;
    --s4: #ff8f45; --s5: #e0bb45; --s6: #93d4ff; --s7: #aca0f7; } }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--axis); }
svg .tick { fill: var(--muted); font-size: 11px; }
svg .name { fill: var(--muted); } svg .value { fill: var(--ink); }
svg .label { font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 3px; }
svg .line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
svg .dashed { stroke-dasharray: 5 5; } svg .raw { fill: none; stroke-width: 1; opacity: 0.28; }
svg .band { opacity: 0.15; } svg .whisker { stroke-width: 1.5; opacity: 0.75; }
svg .errorbar { stroke: var(--ink); stroke-width: 1.6; }
svg .halo { stroke: var(--page); stroke-width: 4; }
svg .leader { stroke: var(--axis); stroke-width: 0.8; }
svg .boundary { stroke: var(--axis); stroke-dasharray: 2 4; }
)css";
}

std::string color_of(int color) {
    return format("var(--s%d)", ((color % kColors) + kColors) % kColors);
}

std::string escape(const std::string& text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        case '\'':
            out += "&#39;";
            break;
        default:
            const bool control =
                (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
            out += control ? std::string("\xef\xbf\xbd") : std::string(1, c);
        }
    }
    return out;
}

std::vector<double> round_ticks(double lo, double hi, int count) {
    CHECK(hi - lo > 1e-12 * std::max(std::abs(lo), std::abs(hi)) && count > 0, "no ticks between %g and %g",
          lo, hi);
    const double step = round_step(hi - lo, count);
    std::vector<double> ticks;
    for (double i = std::ceil(lo / step - 1e-9); i * step <= hi + 1e-9 * step; i++) {
        ticks.push_back(i == 0 ? 0.0 : i * step); // never -0
    }
    return ticks;
}

std::string short_number(double value) {
    const std::array<const char*, 6> prefixes = {"", " k", " M", " G", " T", " P"};
    size_t p = 0;
    // Up to four digits stand as they are: 9000, then 10 k.
    if (std::abs(value) >= 1e4) {
        while (std::abs(value) >= 1000 && p + 1 < prefixes.size()) {
            value /= 1000;
            p++;
        }
    }
    return format("%.4g%s", value, prefixes[p]);
}

} // namespace skintern::svg
