// svg.h — small charts as SVG text: lines with bands, bars with error bars, labelled dots.
//
// A chart is a plain struct; draw() places it. Axes are fitted to the data, end on round numbers and have
// ticks there. Lines and dots carry their labels beside them, moved apart where they would touch, so no
// legend is needed. Colours are numbers of one palette that people with any kind of colour vision can tell
// apart (after Okabe and Ito 2008), in a light and a dark version: style() is the CSS that defines them, to
// stand once in the page.
//
// All text is escaped. Coordinates are printed with one decimal: the same chart gives the same bytes.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace skintern::svg {

struct Axis {
    std::string label;
    double lo = 0; // lo == hi: fitted to the data
    double hi = 0;
    bool percent = false;                              // values are shares; ticks read "40 %"
    bool logarithmic = false;                          // all values > 0
    std::vector<std::pair<double, std::string>> ticks; // instead of round numbers
};

// An interval around a value; lo == hi draws none.
struct Value {
    double mean = 0;
    double lo = 0;
    double hi = 0;
};

struct Line {
    std::string label; // empty: none
    int color = 0;
    std::vector<double> x, y;   // (n) each
    std::vector<double> lo, hi; // (n) each, or empty: a band
    bool faint = false;         // raw data behind a smoothed line
    bool dashed = false;
    bool dots = false; // a dot at each point
};

struct Boundary { // a vertical line with a label at its upper end
    double x = 0;
    std::string label;
};

struct LineChart {
    std::string title; // for readers who cannot see the picture
    Axis x, y;
    std::vector<Line> lines;
    std::vector<Boundary> boundaries;
    bool zero_line = false;
};

struct BarGroup {
    std::string label;
    int color = 0;
    std::vector<Value> bars; // (bars of a group)
    std::vector<bool> known; // (bars of a group) false: nothing was measured
};

// Horizontal bars, one row of bars a group; the bars of a group differ by how full their colour is.
struct BarChart {
    std::string title;
    Axis x; // a percent axis
    std::vector<std::string> bar_names;
    std::vector<BarGroup> groups;
};

struct Dot {
    std::string label;
    int color = 0;
    double x = 0;
    Value y;
};

struct ScatterChart {
    std::string title;
    Axis x, y;
    std::vector<Dot> dots;
};

std::string draw(const LineChart& chart);
std::string draw(const BarChart& chart);
std::string draw(const ScatterChart& chart);

// CSS variables and classes that the charts use, light and dark.
std::string style();

inline constexpr int kColors = 8;

// "var(--s3)".
std::string color_of(int color);

// Text as it may stand in HTML and SVG, also inside quotes; control characters become U+FFFD.
std::string escape(const std::string& text);

// Round numbers in [lo, hi], about `count` of them: multiples of 1, 2 or 5 times a power of ten.
std::vector<double> round_ticks(double lo, double hi, int count);

// 0.25 as "0.25", 54000 as "54 k", 2.1e9 as "2.1 G".
std::string short_number(double value);

} // namespace skintern::svg
