// teacher_time.cpp — date_understanding and temporal_sequences: reckon with dates and hours.
//
// date_understanding: from a given day some days, weeks, a month or a year forward or back, one shift after
// another. A shift by days carries over one month's end at most:
//   day + shift > length of the month         ->  take the length off, next month
//   day - shift < 1                           ->  add the length of the month before
// Sizes (shifts): 1-2, longer 3-4.
//
// temporal_sequences: a span from opening to closing is filled but for one gap; which option is the gap?
// Sizes (filled spans): 2, longer 4-5.
#include <algorithm>

#include "support/check.h"
#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

// -----------------------------------------------------------------------------------------------------------
// date_understanding

constexpr TaskText kDates{
    "date_understanding", "Reckoning with dates", "Find a date that lies before or after a given date.",
    "Write the date as month, day, year. Shift it step by step; past the end of a month go on in the "
    "next, before its beginning in the one before."};

const std::vector<std::string>& month_names() {
    static const std::vector<std::string> names = {"January",   "February", "March",    "April",
                                                   "May",       "June",     "July",     "August",
                                                   "September", "October",  "November", "December"};
    return names;
}

const std::vector<std::string>& events() {
    static const std::vector<std::string> names = {
        "fair",   "race",    "feast", "concert", "exam",    "wedding", "match",   "picnic",
        "parade", "auction", "play",  "trip",    "lecture", "party",   "contest", "meeting"};
    return names;
}

struct Date {
    int64_t year, month, day; // month and day from 1
    std::string numbers() const {
        return format("%02d/%02d/%04d", static_cast<int>(month), static_cast<int>(day),
                      static_cast<int>(year));
    }
    const std::string& month_name() const { return month_names()[static_cast<size_t>(month - 1)]; }
};

int64_t month_length(int64_t year, int64_t month) {
    if (month == 2) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    }
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

void next_month(Date& date, int64_t by) { // by: 1 or -1
    date.month += by;
    if (date.month == 13 || date.month == 0) {
        date.year += by;
        date.month = by == 1 ? 1 : 12;
    }
}

enum class Unit { day, week, month, year };

struct Shift {
    Unit unit;
    int64_t count;
    bool back;
    std::string text() const { // "3 days", "one week"
        static const std::vector<std::string> units = {"day", "week", "month", "year"};
        const std::string& name = units[static_cast<size_t>(unit)];
        return unit == Unit::day && count > 1 ? std::to_string(count) + " days"
               : count == 1                   ? "one " + name
                                              : number_word(count) + " " + plural(name);
    }
};

// The date so far, and what reckoning with it has brought up.
struct Reckoning {
    Date date;
    std::vector<std::string> steps, facts;

    void shift_days(int64_t days) { // negative: back
        int64_t day = date.day + days;
        std::string step =
            format("%lld %c %lld = %lld", static_cast<long long>(date.day), days < 0 ? '-' : '+',
                   static_cast<long long>(days < 0 ? -days : days), static_cast<long long>(day));
        const bool forward = day > month_length(date.year, date.month);
        if (forward || day < 1) {
            Date full = date; // the month whose length counts
            if (!forward) {
                next_month(full, -1);
            }
            const int64_t length = month_length(full.year, full.month);
            const std::string fact = full.month_name() +
                                     (full.month == 2 ? " " + std::to_string(full.year) : "") + " has " +
                                     std::to_string(length) + " days";
            facts.push_back(fact + ".");
            const int64_t carried = forward ? day - length : day + length;
            step +=
                format(", %s, %lld %c %lld = %lld", fact.c_str(), static_cast<long long>(day),
                       forward ? '-' : '+', static_cast<long long>(length), static_cast<long long>(carried));
            day = carried;
            next_month(date, forward ? 1 : -1);
        }
        date.day = day;
        steps.push_back(step + ": " + date.numbers() + ".");
    }

    void apply(const Shift& shift) {
        const int64_t sign = shift.back ? -1 : 1;
        if (shift.unit == Unit::day || shift.unit == Unit::week) {
            if (shift.unit == Unit::week) {
                facts.push_back(capitalised(shift.text()) + (shift.count == 1 ? " is " : " are ") +
                                std::to_string(7 * shift.count) + " days.");
            }
            shift_days(sign * shift.count * (shift.unit == Unit::week ? 7 : 1));
            return;
        }
        if (shift.unit == Unit::month) {
            next_month(date, sign);
        } else {
            date.year += sign;
        }
        steps.push_back(capitalised(shift.text()) + (shift.back ? " back" : " on") + ": " + date.numbers() +
                        ".");
    }
};

// Shifts by months and years are drawn only for days that every month has.
Shift random_shift(Rng& rng, const Date& date) {
    const bool back = rng.chance(0.5);
    const int64_t kind = rng.below(date.day <= 28 ? 8 : 6);
    if (kind < 4) {
        return {Unit::day, rng.between(1, 9), back};
    }
    return kind < 6 ? Shift{Unit::week, rng.between(1, 2), back}
                    : Shift{kind == 6 ? Unit::month : Unit::year, 1, back};
}

// The right date among three that a slip would give, shuffled.
std::vector<std::string> date_options(Rng& rng, const Date& start, const Date& right) {
    std::vector<std::string> wrong;
    const auto offer = [&](const Date& date) {
        const bool fresh = std::find(wrong.begin(), wrong.end(), date.numbers()) == wrong.end();
        const bool valid = date.day >= 1 && date.day <= month_length(date.year, date.month);
        if (fresh && valid && date.numbers() != right.numbers()) {
            wrong.push_back(date.numbers());
        }
    };
    for (const int64_t by : {-1, 1}) {
        Date day = right, month = right, year = right, week = right;
        day.day += by;
        week.day += 7 * by;
        next_month(month, by);
        year.year += by;
        for (const Date& date : {day, month, year, week}) {
            offer(date);
        }
    }
    offer(start);
    std::vector<std::string> options = rng.sample(wrong, 3);
    options.push_back(right.numbers());
    rng.shuffle(options);
    return options;
}

std::string usual_dates(Rng& rng, const Date& start, const std::vector<Shift>& shifts) {
    const std::vector<std::string> names = rng.sample(events(), shifts.size());
    std::string text = "Today is " + start.month_name() + " " + std::to_string(start.day) + ", " +
                       std::to_string(start.year) + ".";
    for (size_t i = 0; i < shifts.size(); i++) {
        text += " The " + names[i] + " is " + shifts[i].text() + (shifts[i].back ? " before " : " after ") +
                (i == 0 ? "today" : "the " + names[i - 1]) + ".";
    }
    return text + " When is the " + names.back() + "?";
}

std::string reworded_dates(Rng& rng, const Date& start, const std::vector<Shift>& shifts) {
    std::vector<std::string> moves;
    for (const Shift& shift : shifts) {
        moves.push_back(shift.text() + (shift.back ? " back" : " on"));
    }
    return rng.pick(people()) + " puts a finger on " + std::to_string(start.day) + " " + start.month_name() +
           " " + std::to_string(start.year) + " in a calendar and moves it " + join(moves, ", then ") +
           ". On which date does the finger stop?";
}

Record make_dates(Rng& rng, const World&, Length length, Wording wording, bool) {
    const int64_t count = length == Length::normal ? rng.between(1, 2) : rng.between(3, 4);
    Date start{rng.between(1951, 2049), rng.between(1, 12), 1};
    start.day = rng.between(1, month_length(start.year, start.month));

    Reckoning reckoning{start, {"The date is " + start.numbers() + "."}, {}};
    reckoning.facts = {
        format("%s is month %02d.", start.month_name().c_str(), static_cast<int>(start.month))};
    std::vector<Shift> shifts;
    for (int64_t i = 0; i < count; i++) {
        shifts.push_back(random_shift(rng, reckoning.date));
        reckoning.apply(shifts.back());
    }
    std::vector<std::string> facts;
    for (const std::string& fact : reckoning.facts) {
        if (facts.size() < 4 && std::find(facts.begin(), facts.end(), fact) == facts.end()) {
            facts.push_back(fact);
        }
    }
    const std::vector<std::string> options = date_options(rng, start, reckoning.date);
    Instance instance;
    instance.question =
        (wording == Wording::usual ? usual_dates(rng, start, shifts) : reworded_dates(rng, start, shifts)) +
        options_block(options);
    instance.steps = reckoning.steps;
    instance.facts = facts;
    instance.answer = option_letter(index_of(options, reckoning.date.numbers()));
    return make_record(kDates, instance);
}

// -----------------------------------------------------------------------------------------------------------
// temporal_sequences

constexpr TaskText kTemporal{
    "temporal_sequences", "The free time", "Find the time of the day in which something could have happened.",
    "Go through the day in order and mark the times that are taken. What fits between them, from "
    "opening to closing, is the free time."};

const std::vector<std::string>& places() {
    static const std::vector<std::string> names = {"park", "gym",     "bank",   "cafe",   "school", "station",
                                                   "farm", "pool",    "bakery", "office", "garage", "church",
                                                   "lake", "library", "market", "harbor"};
    return names;
}

const std::vector<std::string>& groups() {
    static const std::vector<std::string> names = {
        "chess",  "dance",   "yoga",   "singing", "judo", "boxing", "drama",    "sewing",
        "tennis", "cooking", "ballet", "bingo",   "jazz", "poetry", "painting", "fencing"};
    return names;
}

std::string hour_text(int64_t hour) {
    return std::to_string(hour % 12 == 0 ? 12 : hour % 12) + (hour < 12 ? "am" : "pm");
}

struct Span {
    int64_t begin, end; // hours of the day
    std::string text() const { return hour_text(begin) + " to " + hour_text(end); }
};

// Spans end to end, from a random hour of the morning.
std::vector<Span> random_day(Rng& rng, size_t count) {
    std::vector<Span> day;
    int64_t hour = rng.between(5, 9);
    for (size_t i = 0; i < count; i++) {
        const int64_t most = count > 3 ? 2 : 4; // the last span ends by 9pm
        day.push_back({hour, hour + rng.between(1, most)});
        hour = day.back().end;
    }
    return day;
}

// The gap and times that are taken, wholly or in part, shuffled.
std::vector<std::string> time_options(Rng& rng, const std::vector<Span>& day, size_t gap) {
    const size_t count = std::min<size_t>(day.size(), 4);
    std::vector<std::string> taken;
    for (size_t i = 0; i < day.size(); i++) {
        if (i != gap) {
            taken.push_back(day[i].text());
        }
    }
    std::vector<std::string> options = rng.sample(taken, count - 1);
    if (rng.chance(0.5)) { // one that begins in the gap or ends in it, and is partly taken
        const Span late{day[gap].begin, day[gap].end + 1};
        const Span early{day[gap].begin - 1, day[gap].end};
        options[0] = gap == 0 ? late.text() : early.text();
    }
    options.push_back(day[gap].text());
    rng.shuffle(options);
    return options;
}

Record make_temporal(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool usual = wording == Wording::usual;
    const std::vector<Span> day =
        random_day(rng, static_cast<size_t>(length == Length::normal ? 3 : rng.between(5, 6)));
    const size_t gap = static_cast<size_t>(rng.below(static_cast<int64_t>(day.size())));
    const std::string name = rng.pick(people());
    const std::vector<std::string> uses = rng.sample(usual ? places() : groups(), day.size() + 1);
    const std::string opening = hour_text(day.front().begin);
    const std::string closing = hour_text(day.back().end);

    Instance instance;
    instance.question = usual ? name + " woke at " + opening + "." : "A hall opens at " + opening + ".";
    for (size_t i = 0; i < day.size(); i++) {
        if (i == gap) {
            instance.steps.push_back(capitalised(day[i].text()) + ": free.");
            continue;
        }
        instance.question += usual ? " " + name + " was at the " + uses[i] + " from " + day[i].text() + "."
                                   : " It is booked for " + uses[i] + " from " + day[i].text() + ".";
        instance.steps.push_back(capitalised(day[i].text()) + ": " + uses[i] + ".");
    }
    instance.question += usual ? " The museum closed at " + closing + ". When could " + name + " see it?"
                               : " It shuts at " + closing + ". When is it free?";
    const std::vector<std::string> options = time_options(rng, day, gap);
    instance.question += options_block(options);
    instance.steps.push_back("The free time is " + day[gap].text() + ".");
    instance.facts = {"The day runs from " + opening + " to " + closing + "."};
    if (day.front().begin < 12 && day.back().end > 12) {
        instance.facts.push_back("After 11am comes 12pm, and after that 1pm.");
    }
    instance.facts.push_back(usual ? "Nobody can be in two places at the same time."
                                   : "A booked hall is not free, not even for a part of the time.");
    instance.answer = option_letter(index_of(options, day[gap].text()));
    return make_record(kTemporal, instance);
}

} // namespace

std::vector<Family> time_families() {
    return {bbh_family(kDates, true, make_dates), bbh_family(kTemporal, false, make_temporal)};
}

} // namespace skintern
