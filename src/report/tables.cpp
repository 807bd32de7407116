// tables.cpp — see tables.h.
#include "report/tables.h"

#include <algorithm>
#include <cctype>

#include "report/svg.h"
#include "support/numbers.h"

namespace skintern {

namespace {

using Row = std::vector<std::string>;

std::vector<size_t> column_widths(const std::vector<Row>& rows) {
    std::vector<size_t> widths;
    for (const Row& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t c = 0; c < row.size(); c++) {
            widths[c] = std::max(widths[c], row[c].size());
        }
    }
    return widths;
}

std::string joined(const Row& row, const std::vector<size_t>& widths, const std::vector<bool>& words,
                   const std::string& between) {
    std::string line;
    for (size_t c = 0; c < row.size(); c++) {
        const std::string space(widths[c] - row[c].size(), ' ');
        line += (c == 0 ? "" : between) + (words[c] ? row[c] + space : space + row[c]);
    }
    return line;
}

bool begins_number(const std::string& cell) {
    const size_t sign = cell.find_first_not_of("[+-");
    return sign != std::string::npos && std::isdigit(static_cast<unsigned char>(cell[sign])) != 0;
}

// The columns that hold words: the first, and those in which something is told and nothing is a number.
std::vector<bool> word_columns(const Table& table) {
    std::vector<bool> words(table.head.size());
    for (size_t c = 0; c < words.size(); c++) {
        const auto any = [&](auto is) {
            return std::any_of(table.rows.begin(), table.rows.end(),
                               [&](const Row& row) { return is(row[c]); });
        };
        words[c] =
            c == 0 || (any([](const std::string& cell) { return cell != kUnknown; }) && !any(begins_number));
    }
    return words;
}

// The lines of the head: a column with fewer lines than others has its text in the first one.
std::vector<Row> head_lines(const Row& head) {
    std::vector<Row> lines(1, Row(head.size()));
    for (size_t c = 0; c < head.size(); c++) {
        size_t line = 0;
        for (const char letter : head[c]) {
            if (letter != '\n') {
                lines[line][c] += letter;
            } else if (++line == lines.size()) {
                lines.emplace_back(head.size());
            }
        }
    }
    return lines;
}

Row on_one_line(Row row) {
    for (std::string& cell : row) {
        cell.erase(0, cell.find_first_not_of('\n'));
        std::replace(cell.begin(), cell.end(), '\n', ' ');
    }
    return row;
}

// A bar would end the cell.
Row for_markdown(const Row& row) {
    Row out;
    for (const std::string& cell : on_one_line(row)) {
        out.emplace_back();
        for (const char letter : cell) {
            out.back() += letter == '|' ? "\\|" : std::string(1, letter);
        }
    }
    return out;
}

std::string html_row(const Row& row, const std::vector<bool>& words, const char* tag) {
    std::string out = "<tr>";
    for (size_t c = 0; c < row.size(); c++) {
        std::string text = svg::escape(row[c]);
        for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at)) {
            text.replace(at, 1, "<br>");
        }
        out += std::string("<") + tag + (words[c] ? " class=\"words\">" : ">") + text + "</" + tag + ">";
    }
    return out + "</tr>\n";
}

} // namespace

std::string as_text(const Table& table) {
    std::vector<Row> lines = head_lines(table.head);
    for (Row row : table.rows) {
        if (row.size() > 1 && row[0].size() > kNameWidth) {
            row[0] = row[0].substr(0, kNameWidth - 1) + "~";
        }
        lines.push_back(on_one_line(row));
    }
    const std::vector<size_t> widths = column_widths(lines);
    std::string out = table.title.empty() ? "" : table.title + "\n";
    for (const Row& row : lines) {
        const std::string line = joined(row, widths, word_columns(table), "  ");
        out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return out + (table.note.empty() ? "" : table.note + "\n");
}

std::string as_markdown(const Table& table) {
    std::vector<Row> lines = {for_markdown(table.head)};
    for (const Row& row : table.rows) {
        lines.push_back(for_markdown(row));
    }
    const std::vector<size_t> widths = column_widths(lines);
    const std::vector<bool> words = word_columns(table);
    Row rule;
    for (size_t c = 0; c < table.head.size(); c++) {
        rule.push_back(std::string(std::max<size_t>(widths[c], 3) - (words[c] ? 0 : 1), '-') +
                       (words[c] ? "" : ":"));
    }
    lines.insert(lines.begin() + 1, rule);
    const std::vector<size_t> wide = column_widths(lines);
    std::string out = table.title.empty() ? "" : on_one_line({table.title})[0] + "\n\n";
    for (const Row& row : lines) {
        out += "| " + joined(row, wide, words, " | ") + " |\n";
    }
    return out + "\n" + (table.note.empty() ? "" : table.note + "\n\n");
}

std::string as_markdown_list(const Table& table) {
    std::string out;
    for (const Row& row : table.rows) {
        out += "- " + row[0] + ": " + row[1] + "\n";
    }
    return out + "\n";
}

std::string as_html(const Table& table) {
    const std::vector<bool> words = word_columns(table);
    std::string out = "<div class=\"wide\"><table class=\"plain\"><thead>" +
                      html_row(table.head, words, "th") + "</thead>\n";
    for (const Row& row : table.rows) {
        out += html_row(row, words, "td");
    }
    return out + "</table></div>\n" +
           (table.note.empty() ? "" : "<p class=\"note\">" + svg::escape(table.note) + "</p>\n");
}

} // namespace skintern
