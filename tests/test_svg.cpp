// Tests of svg.h: round ticks, escaped text, labels that do not stand on one another.
#include "test.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "report/svg.h"

using namespace skintern;

namespace {

struct Text {
    double x, y;
    std::string anchor, text;
};

std::vector<Text> texts_of(const std::string& drawn, const std::string& css_class) {
    const std::regex pattern("<text x=\"([-0-9.]+)\" y=\"([-0-9.]+)\" text-anchor=\"(\\w+)\" class=\"" +
                             css_class + "\"[^>]*>([^<]*)</text>");
    std::vector<Text> texts;
    for (std::sregex_iterator it(drawn.begin(), drawn.end(), pattern), end; it != end; ++it) {
        texts.push_back({std::stod((*it)[1]), std::stod((*it)[2]), (*it)[3], (*it)[4]});
    }
    return texts;
}

svg::Line line_at(const std::string& label, double y) {
    svg::Line line;
    line.label = label;
    line.x = {0, 1, 2};
    line.y = {y, y, y};
    return line;
}

} // namespace

TEST_CASE("ticks stand at multiples of one, two or five", "[svg]") {
    REQUIRE(svg::round_ticks(0, 1, 5) == std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
    REQUIRE(svg::round_ticks(0, 216, 7) == std::vector<double>{0, 50, 100, 150, 200});
    REQUIRE(svg::round_ticks(-3, 7, 5) == std::vector<double>{-2, 0, 2, 4, 6});
    REQUIRE_THROWS_AS(svg::round_ticks(1, 1, 5), Error);
    REQUIRE_THROWS_AS(svg::round_ticks(1, 1 + 1e-15, 5), Error); // would take steps too small to count
}

TEST_CASE("numbers on axes are short", "[svg]") {
    REQUIRE(svg::short_number(0.25) == "0.25");
    REQUIRE(svg::short_number(9000) == "9000");
    REQUIRE(svg::short_number(54000) == "54 k");
    REQUIRE(svg::short_number(2.1e9) == "2.1 G");
    REQUIRE(svg::short_number(-20000) == "-20 k");
}

TEST_CASE("text is escaped for elements and attributes", "[svg]") {
    REQUIRE(svg::escape("<a href=\"x\">'&\n") == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\n");
    REQUIRE(svg::escape(std::string("a\0b\x1b", 4)) == "a\xef\xbf\xbd"
                                                       "b\xef\xbf\xbd");
    REQUIRE(svg::escape("\xc3\xa4") == "\xc3\xa4");
    svg::LineChart chart;
    chart.title = "\"><script>";
    chart.lines = {line_at("<b>", 1)};
    REQUIRE(svg::draw(chart).find("<script>") == std::string::npos);
    REQUIRE(svg::draw(chart).find("<b>") == std::string::npos);
}

TEST_CASE("labels of lines that end at one place are moved apart and stay on the sheet", "[svg]") {
    svg::LineChart chart;
    for (int i = 0; i < 8; i++) {
        chart.lines.push_back(line_at(format("method %d", i), 0.001 * i)); // all but one pixel apart
    }
    chart.lines.push_back(line_at("other", 1));
    std::vector<Text> labels = texts_of(svg::draw(chart), "label");
    REQUIRE(labels.size() == 9);
    std::sort(labels.begin(), labels.end(), [](const Text& a, const Text& b) { return a.y < b.y; });
    for (size_t i = 1; i < labels.size(); i++) {
        REQUIRE(labels[i].y - labels[i - 1].y >= 14.9);
    }
    REQUIRE(labels.front().y > 0);
    REQUIRE(labels.back().y < 360);
}

TEST_CASE("labels of dots do not stand on one another", "[svg]") {
    svg::ScatterChart chart;
    chart.x.logarithmic = true;
    chart.y.percent = true;
    for (int i = 0; i < 6; i++) {
        chart.dots.push_back({format("method-%d", i), i, 2e9 + 1e6 * i, {0.5 + 0.01 * i, 0.45, 0.6}});
    }
    const std::vector<Text> labels = texts_of(svg::draw(chart), "label");
    REQUIRE(labels.size() == 6);
    const double width = 8 * 8; // eight characters
    for (size_t i = 0; i < labels.size(); i++) {
        const auto left = [&](const Text& t) {
            return t.anchor == "start" ? t.x : t.anchor == "end" ? t.x - width : t.x - width / 2;
        };
        REQUIRE(left(labels[i]) >= 0);
        REQUIRE(left(labels[i]) + width <= 460);
        for (size_t j = 0; j < i; j++) {
            const bool apart = std::abs(labels[i].y - labels[j].y) >= 14.9 ||
                               std::abs(left(labels[i]) - left(labels[j])) >= width - 0.1;
            REQUIRE(apart);
        }
    }
}

TEST_CASE("a bar is as long as its share of the axis", "[svg]") {
    svg::BarChart chart;
    chart.x = {"share", 0, 1, true, false, {}};
    chart.bar_names = {"in domain", "out of domain"};
    chart.groups = {{"a", 0, {{1, 1, 1}, {0.25, 0.2, 0.3}}, {true, true}},
                    {"b", 1, {{0.5, 0.4, 0.6}, {}}, {true, false}}};
    const std::string drawn = svg::draw(chart);
    std::vector<double> widths;
    const std::regex pattern("<rect [^>]* width=\"([0-9.]+)\"");
    for (std::sregex_iterator it(drawn.begin(), drawn.end(), pattern), end; it != end; ++it) {
        widths.push_back(std::stod((*it)[1]));
    }
    REQUIRE(widths.size() == 3);
    REQUIRE(widths[1] == Approx(widths[0] / 4).margin(0.1)); // coordinates have one decimal
    REQUIRE(widths[2] == Approx(widths[0] / 2).margin(0.1));
    const std::vector<Text> values = texts_of(drawn, "value");
    REQUIRE(values.size() == 4);
    REQUIRE(values[0].text == "100.0 in domain");
    REQUIRE(values[3].text == "not measured");
}

TEST_CASE("bars of nothing but zeros have no length", "[svg]") {
    svg::BarChart chart;
    chart.x.percent = true;
    chart.bar_names = {"in domain"};
    chart.groups = {{"a", 0, {{0, 0, 0}}, {true}}};
    REQUIRE(svg::draw(chart).find(" width=\"0.0\" height=\"13.0\" rx") != std::string::npos);
}

TEST_CASE("charts without data or with one point are drawn, damaged ones are refused", "[svg]") {
    svg::LineChart lines;
    REQUIRE(svg::draw(lines).find("nan") == std::string::npos);
    lines.lines = {line_at("one", 0.5)};
    lines.lines[0].x = {3};
    lines.lines[0].y = {0};
    const std::string drawn = svg::draw(lines);
    REQUIRE(drawn.find("nan") == std::string::npos);
    REQUIRE(drawn.find("inf") == std::string::npos);
    lines.lines[0].y = {0, 1};
    REQUIRE_THROWS_AS(svg::draw(lines), Error);
    REQUIRE(svg::draw(svg::ScatterChart{}).find("nan") == std::string::npos);
    REQUIRE(svg::draw(svg::BarChart{}).find("nan") == std::string::npos);
    svg::ScatterChart scatter;
    scatter.x.logarithmic = true;
    scatter.dots = {{"a", 0, 0, {0.5, 0.4, 0.6}}};
    REQUIRE_THROWS_AS(svg::draw(scatter), Error);
}
