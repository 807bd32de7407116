// check_bbh_tables.cpp — see check_bbh.h: dates by day numbers, hours by marking each one, tables by sorting.
#include <array>

#include "check_bbh.h"
#include "check_text.h"

namespace skintern::check_bbh {

// -----------------------------------------------------------------------------------------------------------
// date_understanding

namespace {

struct Civil {
    int64_t year, month, day; // month and day from 0
};

bool leap(int64_t year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int64_t days_in(int64_t year, int64_t month) {
    static const std::array<int64_t, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[static_cast<size_t>(month)] + (month == 1 && leap(year) ? 1 : 0);
}

// The days since the first of January 1900, and back, by counting them.
int64_t day_number(const Civil& date) {
    int64_t number = date.day;
    for (int64_t year = 1900; year < date.year; year++) {
        number += leap(year) ? 366 : 365;
    }
    for (int64_t month = 0; month < date.month; month++) {
        number += days_in(date.year, month);
    }
    return number;
}

Civil civil(int64_t number) {
    Civil date{1900, 0, number};
    while (date.day >= days_in(date.year, date.month)) {
        date.day -= days_in(date.year, date.month);
        date.year += date.month == 11 ? 1 : 0;
        date.month = (date.month + 1) % 12;
    }
    return date;
}

// The first "March 5, 2014" or "5 March 2014".
Civil start_date(const Strings& words) {
    static const Strings months = {"January", "February", "March",     "April",   "May",      "June",
                                   "July",    "August",   "September", "October", "November", "December"};
    for (size_t i = 1; i + 1 < words.size(); i++) {
        const auto month = std::find(months.begin(), months.end(), words[i]);
        if (month == months.end()) {
            continue;
        }
        const std::optional<int64_t> before = number_of(words[i - 1]);
        const std::optional<int64_t> after = number_of(words[i + 1]);
        const int64_t day = before ? *before : after.value();
        const int64_t year = before ? after.value() : number_of(words.at(i + 2)).value();
        return {year, month - months.begin(), day - 1};
    }
    CHECK(false, "no date in the question");
    return {};
}

} // namespace

Solved date_understanding(const std::string& question) {
    const Strings words = words_of(body_of(question));
    Civil date = start_date(words);
    int64_t shifts = 0;
    for (size_t i = 1; i + 1 < words.size(); i++) {
        const std::string unit = words[i].back() == 's' ? words[i].substr(0, words[i].size() - 1) : words[i];
        if (!has(Strings{"day", "week", "month", "year"}, unit)) {
            continue;
        }
        const bool back = words[i + 1] == "before" || words[i + 1] == "back";
        CHECK(back || words[i + 1] == "after" || words[i + 1] == "on", "no direction: %s", question.c_str());
        const int64_t count = number_of(words[i - 1]).value() * (back ? -1 : 1);
        if (unit == "day" || unit == "week") {
            date = civil(day_number(date) + count * (unit == "week" ? 7 : 1));
        } else {
            const int64_t months = date.year * 12 + date.month + count * (unit == "year" ? 12 : 1);
            date.year = months / 12;
            date.month = months % 12;
            CHECK(date.day < days_in(date.year, date.month), "there is no such day: %s", question.c_str());
        }
        shifts++;
    }
    for (const std::string& option : options_of(question)) {
        const Strings parts = split(option, "/");
        CHECK(parts.size() == 3 && parts[0].size() == 2 && parts[1].size() == 2 && parts[2].size() == 4 &&
                  std::stoll(parts[0]) <= 12 &&
                  std::stoll(parts[1]) <= days_in(std::stoll(parts[2]), std::stoll(parts[0]) - 1),
              "'%s' is no date", option.c_str());
    }
    const std::string answer =
        format("%02lld/%02lld/%04lld", static_cast<long long>(date.month + 1),
               static_cast<long long>(date.day + 1), static_cast<long long>(date.year));
    return {letter_of(question, answer), shifts};
}

// -----------------------------------------------------------------------------------------------------------
// temporal_sequences

namespace {

int64_t hour_of(const std::string& text) { // "12pm" -> 12
    const int64_t number = std::stoll(text.substr(0, text.size() - 2));
    const std::string half = text.substr(text.size() - 2);
    CHECK(number >= 1 && number <= 12 && (half == "am" || half == "pm"), "'%s' is no hour", text.c_str());
    return number % 12 + (half == "pm" ? 12 : 0);
}

} // namespace

Solved temporal_sequences(const std::string& question) {
    const std::string body = body_of(question);
    const bool usual = has(body, "woke at ");
    const int64_t opening = hour_of(between(body, usual ? "woke at " : "opens at ", "."));
    const int64_t closing = hour_of(between(body, usual ? "closed at " : "shuts at ", "."));
    std::array<bool, 24> open = {};
    for (int64_t hour = opening; hour < closing; hour++) {
        open[static_cast<size_t>(hour)] = true;
    }
    const auto for_hours = [&](const std::string& begin, const std::string& end, auto&& act) {
        CHECK(hour_of(begin) < hour_of(end), "a time ends before it begins: %s", question.c_str());
        for (int64_t hour = hour_of(begin); hour < hour_of(end); hour++) {
            act(open[static_cast<size_t>(hour)]);
        }
    };
    int64_t taken = 0;
    for (const std::string& part : split(body, " from ")) {
        if (taken++ > 0) { // the first part is what precedes the first time
            const Strings words = words_of(part);
            for_hours(words.at(0), words.at(2), [](bool& hour) { hour = false; });
        }
    }
    const auto free = [&](const std::string& option) {
        const Strings words = words_of(option);
        bool all = true;
        for_hours(words.at(0), words.at(2), [&](bool hour) { all = all && hour; });
        return all;
    };
    return {letter_where(question, free), taken - 1};
}

// -----------------------------------------------------------------------------------------------------------
// reasoning_about_colored_objects

Solved reasoning_about_colored_objects(const std::string& question) {
    const std::string body = body_of(question);
    const Strings items = list_of(between(body, has(body, " lie ") ? " lie " : " order: ", "."));
    Strings colors, things;
    for (const std::string& item : items) {
        const Strings words = words_of(item);
        CHECK(words.size() == 3, "'%s' is not a color and a thing", item.c_str());
        colors.push_back(words[1]);
        things.push_back(words[2]);
    }
    const std::string asked = sentences_of(body).back();
    const Strings words = words_of(asked);
    const int64_t size = static_cast<int64_t>(items.size());
    if (words[0] == "How" || words[0] == "Count") {
        const int64_t with_color = std::count(colors.begin(), colors.end(), words.back());
        const int64_t count = words.at(words.size() - 2) == "not" ? size - with_color : with_color;
        return {letter_of(question, std::to_string(count)), size};
    }
    const auto named = std::find(things.begin(), things.end(), words.back());
    CHECK(named != things.end(), "'%s' is not among the things: %s", words.back().c_str(), question.c_str());
    int64_t at = named - things.begin();
    if (has(asked, " just ")) {
        const bool next = has(words, "right") || has(words, "after");
        CHECK(next != (has(words, "left") || has(words, "before")), "no side: %s", question.c_str());
        at += next ? 1 : -1;
    }
    CHECK(at >= 0 && at < size, "nothing stands there: %s", question.c_str());
    return {letter_of(question, colors[static_cast<size_t>(at)]), size};
}

// -----------------------------------------------------------------------------------------------------------
// penguins_in_a_table

Solved penguins_in_a_table(const std::string& question) {
    const std::string body = body_of(question);
    const bool usual = has(body, "\nname, age, height (cm), weight (kg)\n");
    std::vector<Strings> rows;
    if (usual) {
        for (const std::string& line : split(between(body, "weight (kg)\n", ""), "\n")) {
            rows.push_back(split(line, ", "));
        }
        rows.pop_back(); // the last line is the question
    } else {
        for (const std::string& row :
             split(between(body, "name, age, height (cm), weight (kg): ", ". "), "; ")) {
            rows.push_back(split(row, ", "));
        }
    }
    const std::string asked = sentences_of(body).back();
    const auto speaks_of = [&](const Strings& parts) {
        return std::any_of(parts.begin(), parts.end(),
                           [&](const std::string& part) { return has(asked, part); });
    };
    const size_t column = speaks_of({" age ", "old", "young"})        ? 1
                          : speaks_of({" height ", "tall", "short"})  ? 2
                          : speaks_of({" weight ", "heavi", "light"}) ? 3
                                                                      : 0;
    CHECK(column > 0, "no column is asked for: %s", question.c_str());
    const bool least = speaks_of({"young", "short", "light", "smallest", " below "});
    std::vector<std::pair<int64_t, std::string>> order; // what is asked for first
    for (const Strings& row : rows) {
        CHECK(row.size() == 4, "bad row in: %s", question.c_str());
        order.push_back({std::stoll(row[column]) * (least ? 1 : -1), row[0]});
    }
    std::sort(order.begin(), order.end());
    const int64_t size = static_cast<int64_t>(rows.size());
    if (!has(asked, "How many") && !has(asked, "For how many")) {
        CHECK(order[0].first < order[1].first, "two are best: %s", question.c_str());
        return {letter_of(question, order[0].second), size};
    }
    int64_t limit = 0;
    for (const std::string& word : words_of(asked)) {
        limit = number_of(word).value_or(limit);
    }
    const int64_t signed_limit = limit * (least ? 1 : -1);
    const int64_t count = std::count_if(order.begin(), order.end(),
                                        [&](const auto& entry) { return entry.first < signed_limit; });
    return {letter_of(question, std::to_string(count)), size};
}

} // namespace skintern::check_bbh
