// answer.cpp — the rules of docs/method.md ("Evaluation"), in their order.
//
// Texts are compared folded: lower-case, full-width brackets and the minus sign as their ASCII relatives.
// Where the rules leave something open it is settled here, for every row alike:
//   - a letter or digit that Q does not offer as an option chooses nothing, if Q lists the gold among its
//     options: the "x" of "f(x)" is no answer, and the "3" of "3 penguins" is a content;
//   - a gold of one letter is a choice, with or without brackets;
//   - a gold that is a number is compared as a number under rule 5 as well, and a unit behind it ignored;
//   - rule 4 is for rows whose gold is no choice (sat-math has options), and reads the whole text, not its
//   first
//     sentence, where there is no marker.
//
// Does not: judge hedges ("(B) or (C)" counts as (B)), corrections ("(C). Wait, ... (B)" counts as (C)) or
// negations ("not valid" does not count as invalid). The published scorer does not either.

#include "tasks/answer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "support/utf8.h"

namespace skintern {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return c >= 'a' && c <= 'z';
} // of a folded text
bool is_wordy(char c) {
    return is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80;
}
bool is_one_of(char c, const char* set) {
    return c != '\0' && std::strchr(set, c) != nullptr;
}
bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

// The character at `pos`, '\0' outside.
char at(const std::string& text, size_t pos) {
    return pos < text.size() ? text[pos] : '\0';
}

std::string_view strip(std::string_view text) {
    size_t begin = text.size();
    size_t end = 0;
    for (size_t pos = 0; pos < text.size();) {
        const auto [code, size] = utf8_at(text, pos);
        if (!is_white_space(code)) {
            begin = std::min(begin, pos);
            end = pos + size;
        }
        pos += size;
    }
    return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

std::string fold(std::string_view text) {
    std::string out;
    for (size_t pos = 0; pos < text.size();) {
        const auto [code, size] = utf8_at(text, pos);
        switch (code) {
        case -1:
            out += text[pos];
            break;
        case 0xff08: // full-width brackets
            out += '(';
            break;
        case 0xff09:
            out += ')';
            break;
        case 0x2212: // minus
            out += '-';
            break;
        default: {
            utf8proc_uint8_t utf8[4];
            const auto bytes = utf8proc_encode_char(utf8proc_tolower(code), utf8);
            out.append(utf8, utf8 + bytes);
        }
        }
        pos += size;
    }
    return out;
}

// Rule 1, "strip, drop final full stops, lower-case".
std::string normalise(std::string_view text) {
    text = strip(text);
    while (!text.empty() && text.back() == '.') {
        text.remove_suffix(1);
        text = strip(text);
    }
    return fold(text);
}

// -----------------------------------------------------------------------------------------------------------
// Choices
// -----------------------------------------------------------------------------------------------------------

struct Option {
    std::string choice;  // "(a)"
    std::string content; // normalised
};

std::string choice_of(char label) {
    return {'(', label, ')'};
}

// The options that Q lists, one a line: "(A) text".
std::vector<Option> options_of(const std::string& question) {
    std::vector<Option> options;
    for (size_t begin = 0; begin < question.size();) {
        const size_t end = std::min(question.find('\n', begin), question.size());
        const std::string line = normalise(std::string_view(question).substr(begin, end - begin));
        if (at(line, 0) == '(' && (is_letter(at(line, 1)) || is_digit(at(line, 1))) && at(line, 2) == ')') {
            options.push_back({line.substr(0, 3), std::string(strip(std::string_view(line).substr(3)))});
        }
        begin = end + 1;
    }
    return options;
}

// Whether `label` may be a choice: one of the options, or any where no options are known.
bool is_offered(char label, const std::vector<Option>& options) {
    const auto same = [&](const Option& option) { return option.choice[1] == label; };
    return options.empty() || std::any_of(options.begin(), options.end(), same);
}

// The place of the first "(x)" with x from `first` to `last`, npos: none.
size_t find_bracketed(const std::string& text, char first, char last, const std::vector<Option>& options) {
    for (size_t i = 0; i + 2 < text.size(); ++i) {
        const char label = text[i + 1];
        if (text[i] == '(' && text[i + 2] == ')' && label >= first && label <= last &&
            is_offered(label, options)) {
            return i;
        }
    }
    return std::string::npos;
}

// "option x", where neither is part of a longer word ("adoption barn"). Sets the place of x.
size_t find_option_word(const std::string& text, const std::vector<Option>& options) {
    constexpr std::string_view kWord = "option ";
    for (size_t i = text.find(kWord); i != std::string::npos; i = text.find(kWord, i + 1)) {
        const size_t x = i + kWord.size();
        const bool whole = (i == 0 || !is_wordy(text[i - 1])) && !is_wordy(at(text, x + 1));
        if (whole && (is_letter(at(text, x)) || is_digit(at(text, x))) && is_offered(text[x], options)) {
            return x;
        }
    }
    return std::string::npos;
}

// A lone letter in a bracket, of which one side may be missing: "b)", "[b]".
size_t find_lone_letter(const std::string& text, const std::vector<Option>& options) {
    for (size_t i = 0; i < text.size(); ++i) {
        const char before = i > 0 ? text[i - 1] : '\0';
        const char after = at(text, i + 1);
        if (is_letter(text[i]) && !is_wordy(before) && !is_wordy(after) &&
            (is_one_of(before, "([{") || is_one_of(after, ")]}")) && is_offered(text[i], options)) {
            return i;
        }
    }
    return std::string::npos;
}

// Rules 1 and 5: the choice that a normalised text writes, and what it says of it. Without a choice the whole
// text is the content.
Answer read_choice(const std::string& text, const std::vector<Option>& options) {
    if (text.size() == 1 && (is_letter(text[0]) || is_digit(text[0])) && is_offered(text[0], options)) {
        return {text, choice_of(text[0]), text};
    }
    size_t label = find_bracketed(text, 'a', 'z', options);
    if (label == std::string::npos) {
        label = find_bracketed(text, '1', '9', options);
    }
    if (label != std::string::npos) {
        ++label; // behind the bracket
    } else {
        label = find_option_word(text, options);
    }
    if (label == std::string::npos) {
        label = find_lone_letter(text, options);
    }
    if (label == std::string::npos) {
        return {text, "", text};
    }
    const size_t rest = label + (is_one_of(at(text, label + 1), ")]}") ? 2 : 1);
    return {text, choice_of(text[label]), std::string(strip(std::string_view(text).substr(rest)))};
}

// -----------------------------------------------------------------------------------------------------------
// Numbers
// -----------------------------------------------------------------------------------------------------------

struct Number {
    std::string value; // "-18.5": no plus, commas, needless zeros or final point; "" where there is none
    size_t begin = 0;  // in the text, with sign and currency
    size_t end = 0;
};

// The first number at or behind `pos` of a folded text. A minus is a sign unless something countable precedes
// it, so that "9-5" ends with 5.
Number next_number(const std::string& text, size_t pos) {
    while (pos < text.size() && !is_digit(text[pos]) && !(text[pos] == '.' && is_digit(at(text, pos + 1)))) {
        ++pos;
    }
    if (pos == text.size()) {
        return {};
    }
    Number number;
    number.begin = pos;
    while (number.begin > 0 && is_one_of(text[number.begin - 1], "$-+")) {
        --number.begin;
    }
    const bool signs =
        number.begin == 0 || !(is_wordy(text[number.begin - 1]) || text[number.begin - 1] == ')');
    const std::string prefix = text.substr(number.begin, pos - number.begin);

    std::string whole;
    std::string fraction;
    for (; is_digit(at(text, pos)) || at(text, pos) == ','; ++pos) {
        const bool thousands = text[pos] == ',' && is_digit(at(text, pos + 1)) &&
                               is_digit(at(text, pos + 2)) && is_digit(at(text, pos + 3)) &&
                               !is_digit(at(text, pos + 4));
        if (text[pos] == ',' && !thousands) {
            break;
        }
        whole += text[pos] == ',' ? "" : std::string(1, text[pos]);
    }
    if (at(text, pos) == '.' && is_digit(at(text, pos + 1))) {
        for (++pos; is_digit(at(text, pos)); ++pos) {
            fraction += text[pos];
        }
    }
    number.end = pos;
    whole.erase(0, whole.find_first_not_of('0'));
    fraction.erase(fraction.find_last_not_of('0') + 1);
    number.value = (whole.empty() ? "0" : whole) + (fraction.empty() ? "" : "." + fraction);
    if (signs && contains(prefix, "-") && number.value != "0") {
        number.value.insert(0, "-");
    }
    return number;
}

// The value of the last number of a text, "" without one.
std::string last_number(const std::string& text) {
    std::string last;
    for (Number n = next_number(text, 0); !n.value.empty(); n = next_number(text, n.end)) {
        last = n.value;
    }
    return last;
}

// The value of a text that is one number and nothing else, a percent sign apart, and with `unit` words behind
// a blank; "" otherwise.
std::string only_number(const std::string& text, bool unit) {
    const Number number = next_number(text, 0);
    const bool alone = !number.value.empty() && number.begin == 0;
    const std::string rest = alone ? text.substr(number.end) : "";
    const bool fits = rest.empty() || rest == "%" || (unit && rest[0] == ' ' && last_number(rest).empty());
    return alone && fits ? number.value : "";
}

// A number as the solutions of competition problems write it: "\$32", "90^\circ", "25\%", "3 cm".
bool is_written_number(const std::string& text) {
    const Number number = next_number(text, 0);
    const bool begins = !number.value.empty() && text.find_first_not_of("$\\ ") >= number.begin;
    const std::string rest = begins ? text.substr(number.end) : "x";
    return rest == "^\\circ" || rest == "\\%" || (begins && !only_number(text.substr(number.begin), true).empty());
}

// Equal and not empty; as numbers if the gold is one.
bool same_content(const std::string& text, const std::string& gold, bool unit = true) {
    const std::string number = only_number(gold, false);
    return !gold.empty() && (text == gold || (!number.empty() && only_number(text, unit) == number));
}

// -----------------------------------------------------------------------------------------------------------
// Rule 1: gold
// -----------------------------------------------------------------------------------------------------------

Answer read_gold(const std::string& question, const std::string& gold) {
    const std::string stripped(strip(gold));
    std::string rest_of_line;
    if (contains(stripped, "(") && contains(stripped, ")")) {
        size_t place =
            ("\n" + question).find("\n" + stripped); // the option itself rather than a mention of it
        place = place != std::string::npos ? place : question.find(stripped);
        if (place != std::string::npos) {
            place += stripped.size();
            rest_of_line = question.substr(place, question.find('\n', place) - place);
        }
    }
    const std::string text = normalise(stripped + rest_of_line);
    const bool lone_letter = text.size() == 1 && is_letter(text[0]); // a lone digit is a number
    const bool bracketed = find_bracketed(text, 'a', 'z', {}) != std::string::npos ||
                           find_bracketed(text, '1', '9', {}) != std::string::npos;
    return bracketed || lone_letter ? read_choice(text, {}) : Answer{text, "", text};
}

// -----------------------------------------------------------------------------------------------------------
// Rule 2: text
// -----------------------------------------------------------------------------------------------------------

// In order: the first of them that occurs decides.
constexpr std::array<std::string_view, 11> kMarkers = {kAnswerMark,
                                                       "[Answer Prediction]:",
                                                       "the correct answer is option",
                                                       "the correct answer is",
                                                       "The correct answer is",
                                                       "The answer is",
                                                       "Answer:",
                                                       "A:",
                                                       "### Response:",
                                                       "the answer is",
                                                       "answer is"};

// The end of the first sentence. A decimal point ("24.5", "$.50") ends none.
size_t sentence_end(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i) {
        const bool before_digit = i + 1 < text.size() && is_digit(text[i + 1]);
        const bool behind_number = i == 0 || is_digit(text[i - 1]) || is_one_of(text[i - 1], " \n$-+=(");
        if (text[i] == '.' && !(before_digit && behind_number)) {
            return i;
        }
    }
    return text.size();
}

// The end of the first line that a blank line follows.
size_t paragraph_end(std::string_view text) {
    for (size_t i = text.find('\n'); i != std::string_view::npos; i = text.find('\n', i + 1)) {
        const size_t next = text.find_first_not_of(" \t\r", i + 1);
        if (next != std::string_view::npos && text[next] == '\n') {
            return i;
        }
    }
    return text.size();
}

struct Extract {
    std::string text;  // normalised
    bool mark = false; // by MARK
};

Extract extract(const std::string& generated, bool number_task) {
    std::string_view text = generated;
    text = text.substr(0, text.find("Question: "));
    for (const std::string_view marker : kMarkers) {
        const size_t place = text.find(marker);
        if (place != std::string_view::npos) {
            text.remove_prefix(place + marker.size());
            text = strip(text.substr(0, text.find(marker)));
            text = text.substr(0, std::min(sentence_end(text), paragraph_end(text)));
            return {normalise(text), marker == kAnswerMark};
        }
    }
    text = strip(text);
    return {normalise(number_task ? text : text.substr(0, std::min(sentence_end(text), paragraph_end(text)))),
            false};
}

// -----------------------------------------------------------------------------------------------------------
// Rule 5: choice and content
// -----------------------------------------------------------------------------------------------------------

// Whether `part` stands in `text` as a whole: not within a longer word, number or date.
bool stands_in(const std::string& part, const std::string& text) {
    const auto ends_word = [](char c) { return c == '\0' || is_one_of(c, " \n\t\"'`*,;:!?()[]"); };
    for (size_t i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) {
        if (ends_word(i > 0 ? text[i - 1] : '\0') && ends_word(at(text, i + part.size()))) {
            return true;
        }
    }
    return false;
}

// The only option whose content satisfies `given`, nullptr when there is none or several.
template <typename Given>
const Option* only_option(const std::vector<Option>& options, Given given) {
    const Option* found = nullptr;
    for (const Option& option : options) {
        if (!option.content.empty() && given(option.content)) {
            if (found != nullptr) {
                return nullptr;
            }
            found = &option;
        }
    }
    return found;
}

Answer read_text(const std::string& text, const std::vector<Option>& options) {
    Answer answer = read_choice(text, options);
    if (!answer.choice.empty()) {
        return answer;
    }
    const Option* option =
        only_option(options, [&](const auto& content) { return same_content(text, content); });
    if (option == nullptr) {
        option = only_option(options, [&](const auto& content) { return stands_in(content, text); });
    }
    if (option != nullptr) {
        answer.choice = option->choice;
        answer.content = option->content;
    }
    return answer;
}

// Whether a right text is the answer and not a word more.
bool is_bare(const Answer& answer, const Answer& gold) {
    if (gold.choice.empty()) {
        return same_content(answer.text, gold.content, false);
    }
    return answer.text == gold.choice ||
           (answer.text.rfind(gold.choice, 0) == 0 &&
            strip(std::string_view(answer.text).substr(gold.choice.size())) == gold.content);
}

} // namespace

Verdict judge(const std::string& task_name, const std::string& question, const std::string& gold,
              const std::string& generated) {
    const std::string task = fold(task_name);
    Verdict verdict;
    verdict.gold = read_gold(question, gold); // rule 1
    const bool number_task = verdict.gold.choice.empty() &&
                             (contains(task, "gsm") || (contains(task, "math") && is_written_number(verdict.gold.text)));
    const auto [text, mark] = extract(generated, number_task); // rule 2
    verdict.answer = {text, "", text};
    if (contains(task, "formal_fallacies")) { // rule 3
        verdict.readable = !text.empty();
        verdict.correct =
            verdict.readable && contains(text, "invalid") == contains(verdict.gold.content, "invalid");
        verdict.strict = verdict.correct && mark && text == verdict.gold.content;
        return verdict;
    }
    if (number_task) { // rule 4
        verdict.answer.content = last_number(text);
        verdict.gold = {verdict.gold.text, "", last_number(verdict.gold.text)};
        verdict.readable = !verdict.answer.content.empty();
        verdict.correct = verdict.readable && verdict.answer.content == verdict.gold.content;
        verdict.strict = verdict.correct && mark && !only_number(text, false).empty();
        return verdict;
    }
    std::vector<Option> options = options_of(question); // rule 5
    const auto is_gold = [&](const Option& option) { return option.choice == verdict.gold.choice; };
    if (std::none_of(options.begin(), options.end(), is_gold)) {
        options.clear(); // what looks like options is something else
    }
    verdict.answer = read_text(text, options);
    const bool both = !verdict.answer.choice.empty() && !verdict.gold.choice.empty();
    verdict.correct = both ? verdict.answer.choice == verdict.gold.choice
                           : same_content(verdict.answer.content, verdict.gold.content);
    verdict.readable =
        verdict.correct || !verdict.answer.choice.empty() || (verdict.gold.choice.empty() && !text.empty());
    verdict.strict = verdict.correct && mark && is_bare(verdict.answer, verdict.gold);
    return verdict;
}

} // namespace skintern
