// teacher_expressions.cpp — boolean_expressions and multistep_arithmetic_two: work out an expression, one
// operation a step.
//
// An expression is a list of words, brackets included. Each step takes the first innermost bracket, applies
// its strongest operation that stands furthest left, and writes down what is left of the expression:
//   True and not ( False or True )  ->  True and not True  ->  True and False  ->  False
// Sizes (operands): boolean 3-4, longer 6-7; arithmetic 3-4, longer 6-8.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "support/check.h"
#include "tasks/teacher_parts.h"

namespace skintern {

namespace {

using Words = std::vector<std::string>;

struct Language {
    std::vector<std::set<std::string>> precedence; // strongest operators first
    std::string gives;                             // between an operation and its value
    std::string (*apply)(const std::string& left, const std::string& op,
                         const std::string& right); // left empty: unary
};

// One operation that was carried out.
struct Operation {
    std::string left, op, right, value;
    std::string text(const Language& language) const {
        return (left.empty() ? "" : left + " ") + op + " " + right + language.gives + value;
    }
};

// Words with a space between; `tight` puts brackets close, as in (2 + 3).
std::string render(const Words& words, bool tight) {
    std::string out;
    for (size_t i = 0; i < words.size(); i++) {
        const bool close = tight && (words[i] == ")" || (i > 0 && words[i - 1] == "("));
        out += (i == 0 || close ? "" : " ") + words[i];
    }
    return out;
}

// Carries out the next operation of `words`, in place.
Operation reduce_once(Words& words, const Language& language) {
    // The first closing bracket and the opening one before it enclose no other bracket.
    const auto closing = std::find(words.begin(), words.end(), ")");
    auto opening = closing;
    while (closing != words.end() && *opening != "(") {
        opening--;
    }
    const size_t begin = closing == words.end() ? 0 : static_cast<size_t>(opening - words.begin()) + 1;
    const size_t end = static_cast<size_t>(closing - words.begin());

    for (const std::set<std::string>& operators : language.precedence) {
        for (size_t i = begin; i < end; i++) {
            // A unary operator waits until the word after it is a value.
            if (operators.count(words[i]) == 0 || operators.count(words[i + 1]) != 0) {
                continue;
            }
            const bool unary = words[i] == "not";
            Operation done{unary ? "" : words[i - 1], words[i], words[i + 1], ""};
            done.value = language.apply(done.left, done.op, done.right);
            const size_t first = unary ? i : i - 1;
            words[first] = done.value;
            words.erase(words.begin() + static_cast<int64_t>(first) + 1,
                        words.begin() + static_cast<int64_t>(i) + 2);
            if (begin > 0 && words[begin + 1] == ")") { // the bracket holds one value
                words.erase(words.begin() + static_cast<int64_t>(begin) + 1);
                words.erase(words.begin() + static_cast<int64_t>(begin) - 1);
            }
            return done;
        }
    }
    CHECK(false, "the expression '%s' has no operation left", render(words, true).c_str());
    return {};
}

struct Solution {
    std::vector<Operation> operations;
    std::vector<std::string> steps;
    std::string value;
};

Solution solve(Words words, const Language& language, bool tight) {
    Solution solution;
    while (words.size() > 1) {
        solution.operations.push_back(reduce_once(words, language));
        const std::string step = solution.operations.back().text(language);
        solution.steps.push_back(words.size() > 1 ? step + ", so " + render(words, tight) + "." : step + ".");
    }
    solution.value = words[0];
    return solution;
}

// -----------------------------------------------------------------------------------------------------------
// boolean_expressions

constexpr TaskText kBoolean{
    "boolean_expressions", "Boolean expressions",
    "Find out whether a boolean expression of True, False, and, or, not is True or False.",
    "Work out brackets first, then not, then and, then or. Put the value in place of the part until one "
    "value is left."};

std::string apply_boolean(const std::string& left, const std::string& op, const std::string& right) {
    const bool a = left == "True";
    const bool b = right == "True";
    const bool value = op == "not" ? !b : op == "and" ? a && b : a || b;
    return value ? "True" : "False";
}

const Language& boolean_language() {
    static const Language language{{{"not"}, {"and"}, {"or"}}, " is ", apply_boolean};
    return language;
}

// A random expression of `operands` truth values, at most `nots` of them or of the brackets denied.
Words random_boolean(Rng& rng, int64_t operands, int64_t nots) {
    Words words;
    const auto maybe_not = [&](double chance) {
        if (nots > 0 && rng.chance(chance)) {
            words.push_back("not");
            nots--;
        }
    };
    const auto literal = [&] {
        maybe_not(0.3);
        words.push_back(rng.chance(0.5) ? "True" : "False");
    };
    const auto connect = [&] { words.push_back(rng.chance(0.5) ? "and" : "or"); };
    int64_t left = operands;
    while (left > 0) {
        if (left < operands) {
            connect();
        }
        const bool bracket = left >= 2 && operands >= 3 && rng.chance(0.45);
        if (!bracket) {
            literal();
            left--;
            continue;
        }
        maybe_not(0.4);
        words.push_back("(");
        literal();
        connect();
        literal();
        words.push_back(")");
        left -= 2;
    }
    return words;
}

// The rows of the truth tables that were used; where they are more than four, what the operators mean.
std::vector<std::string> boolean_facts(const std::vector<Operation>& operations) {
    std::set<std::string> rows; // sorted, so that the order does not tell the last step
    std::set<std::string> used;
    for (const Operation& operation : operations) {
        rows.insert(operation.text(boolean_language()) + ".");
        used.insert(operation.op);
    }
    if (rows.size() <= 4) {
        return {rows.begin(), rows.end()};
    }
    std::vector<std::string> rules;
    if (used.count("not") != 0) {
        rules.push_back("not turns True into False and False into True.");
    }
    if (used.count("and") != 0) {
        rules.push_back("and gives True only for True and True.");
    }
    if (used.count("or") != 0) {
        rules.push_back("or gives False only for False or False.");
    }
    return rules;
}

Record make_boolean(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool normal = length == Length::normal;
    const std::string wanted = rng.chance(0.5) ? "True" : "False";
    const int64_t operands = normal ? rng.between(3, 4) : rng.between(6, 7);
    Words words;
    Solution solution;
    do {
        words =
            random_boolean(rng, operands, normal ? 5 - operands : 2); // at most four operations when normal
        solution = solve(words, boolean_language(), false);
    } while (solution.value != wanted);
    const std::string expression = render(words, false);
    Instance instance;
    instance.question = wording == Wording::usual
                            ? "The value of " + expression + " is"
                            : "A machine reads the line \"" + expression +
                                  "\" and prints what it amounts to. " + "Does it print True or False?";
    instance.steps = solution.steps;
    instance.facts = boolean_facts(solution.operations);
    instance.answer = solution.value;
    return make_record(kBoolean, instance);
}

// -----------------------------------------------------------------------------------------------------------
// multistep_arithmetic_two

constexpr TaskText kArithmetic{
    "multistep_arithmetic_two", "Arithmetic in steps",
    "Work out an arithmetic expression with brackets, in several steps.",
    "Work out each bracket first, and in it * before + and -, from left to right. Write what is left "
    "after every step."};

std::string apply_arithmetic(const std::string& left, const std::string& op, const std::string& right) {
    const int64_t a = std::stoll(left);
    const int64_t b = std::stoll(right);
    return std::to_string(op == "*" ? a * b : op == "+" ? a + b : a - b);
}

const Language& arithmetic_language() {
    static const Language language{{{"*"}, {"+", "-"}}, " = ", apply_arithmetic};
    return language;
}

// `operands` one-digit numbers with an operator between any two.
void append_group(Rng& rng, Words& words, int64_t operands) {
    static const std::vector<std::string> operators = {"+", "-", "*"};
    for (int64_t i = 0; i < operands; i++) {
        if (i > 0) {
            words.push_back(rng.pick(operators));
        }
        const int64_t number = rng.between(1, 9);
        words.push_back(std::to_string(rng.chance(0.15) ? -number : number));
    }
}

// (first group) op (second group); a group of one number has no bracket.
Words random_arithmetic(Rng& rng, int64_t first, int64_t second) {
    Words words;
    for (const int64_t operands : {first, second}) {
        if (!words.empty()) {
            words.push_back(rng.chance(0.3) ? "*" : rng.chance(0.5) ? "+" : "-");
        }
        if (operands == 1) {
            append_group(rng, words, 1);
            continue;
        }
        words.push_back("(");
        append_group(rng, words, operands);
        words.push_back(")");
    }
    return words;
}

// Whether every step is one that can be done in the head: results up to `largest`, and no product of two long
// numbers.
bool easy(const std::vector<Operation>& operations, int64_t largest) {
    return std::all_of(operations.begin(), operations.end(), [&](const Operation& operation) {
        const int64_t a = std::llabs(std::stoll(operation.left));
        const int64_t b = std::llabs(std::stoll(operation.right));
        const bool product_fits = operation.op != "*" || (std::min(a, b) <= 9 && std::max(a, b) <= 12);
        return product_fits && std::llabs(std::stoll(operation.value)) <= largest;
    });
}

std::vector<std::string> arithmetic_facts(const std::vector<Operation>& operations, bool mixed) {
    std::vector<std::string> facts = {mixed ? "In a bracket * comes before + and -."
                                            : "Brackets come first."};
    std::set<std::string> rules, products;
    for (const Operation& operation : operations) {
        const int64_t a = std::stoll(operation.left);
        const int64_t b = std::stoll(operation.right);
        if (operation.op == "-" && b < 0) {
            rules.insert("Taking away a negative number adds it.");
        } else if (operation.op == "-" && a >= 0 && b > a) {
            rules.insert("A smaller number minus a larger one is negative.");
        } else if (operation.op == "*" && (a < 0) != (b < 0) && a != 0 && b != 0) {
            rules.insert("A negative times a positive number is negative.");
        } else if (operation.op == "*" && a < 0 && b < 0) {
            rules.insert("A negative times a negative number is positive.");
        }
        if (operation.op == "*" && std::llabs(a) > 1 && std::llabs(b) > 1) {
            products.insert(
                format("%lld times %lld is %lld.", std::llabs(a), std::llabs(b), std::llabs(a * b)));
        }
    }
    facts.insert(facts.end(), products.begin(), products.end());
    facts.insert(facts.end(), rules.begin(), rules.end());
    facts.resize(std::min<size_t>(facts.size(), 4));
    return facts;
}

// Whether some bracket holds * beside + or -.
bool mixes_operators(const Words& words) {
    bool product = false;
    bool sum = false;
    for (const std::string& word : words) {
        if (word == "(" || word == ")") {
            product = sum = false;
        }
        product = product || word == "*";
        sum = sum || word == "+" || word == "-";
        if (product && sum) {
            return true;
        }
    }
    return false;
}

Record make_arithmetic(Rng& rng, const World&, Length length, Wording wording, bool) {
    const bool normal = length == Length::normal;
    const int64_t first = normal ? 2 : rng.between(3, 4);
    const int64_t second = normal ? rng.between(1, 2) : rng.between(3, 4);
    Words words;
    Solution solution;
    do {
        words = random_arithmetic(rng, first, second);
        solution = solve(words, arithmetic_language(), true);
    } while (!easy(solution.operations, normal ? 99 : 199));
    const std::string expression = render(words, true);
    Instance instance;
    instance.question = wording == Wording::usual ? "Work out (" + expression + ") ="
                                                  : rng.pick(people()) + " types (" + expression +
                                                        ") into a calculator. Which number does it show?";
    instance.steps = solution.steps;
    instance.facts = arithmetic_facts(solution.operations, mixes_operators(words));
    instance.answer = solution.value;
    return make_record(kArithmetic, instance);
}

} // namespace

std::vector<Family> expression_families() {
    return {bbh_family(kBoolean, true, make_boolean), bbh_family(kArithmetic, true, make_arithmetic)};
}

} // namespace skintern
