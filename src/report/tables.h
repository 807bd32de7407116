// tables.h — a table of a report, written for a terminal, for Markdown and for the page.
#pragma once

#include <string>
#include <vector>

namespace skintern {

struct Table {
    std::string title;                          // what it shows; may have several lines
    std::vector<std::string> head;              // "prompt\ntokens" stands in two lines where there is room
    std::vector<std::vector<std::string>> rows; // (rows, columns); the first column names what a row is about
    std::string note;                           // how to read it, or empty
};

// Aligned with spaces: words flush left, numbers flush right. A name longer than kNameWidth is cut.
inline constexpr size_t kNameWidth = 16;
std::string as_text(const Table& table);

// As Markdown, aligned too, so that it can be read as it stands; and as a list of "- name: value" for a table
// of two columns.
std::string as_markdown(const Table& table);
std::string as_markdown_list(const Table& table);

// As HTML; everything is escaped.
std::string as_html(const Table& table);

} // namespace skintern
