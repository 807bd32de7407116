// report_examples.cpp — see report_examples.h.
#include "report/report_examples.h"

#include <map>
#include <vector>

#include "report/comparisons.h"
#include "report/svg.h"
#include "support/check.h"
#include "support/numbers.h"
#include "support/rng.h"

namespace skintern {

namespace {

using svg::escape;

constexpr size_t kExamples = 10;

struct Example {
    const AnswerRow* ours = nullptr;
    const AnswerRow* theirs = nullptr; // either may be null in an unfinished run
};

std::vector<Example> answered_by_either(const RunLog& run) {
    std::map<std::string, Example> by_question;
    const auto collect = [&](const char* method, const AnswerRow* Example::*side) {
        const auto found = run.logs.find(method);
        if (found == run.logs.end()) {
            return;
        }
        for (const auto& [split, rows] : found->second.front().eval) {
            for (const AnswerRow& row : rows) {
                by_question[split + "/" + row.id].*side = &row;
            }
        }
    };
    collect(kOurs, &Example::ours);
    collect(kBaseline, &Example::theirs);
    std::vector<Example> examples;
    for (const auto& [question, example] : by_question) {
        examples.push_back(example);
    }
    return examples;
}

// Drawn with a fixed seed, in turn from the four outcomes (both right, one of them, neither), the tasks seen
// least first: a fair look, not a selection of the best.
std::vector<Example> choose_examples(const RunLog& run) {
    std::vector<Example> pool = answered_by_either(run);
    Rng rng(1, "examples");
    rng.shuffle(pool);
    std::map<std::string, int64_t> seen;
    std::vector<Example> chosen;
    const auto right = [](const AnswerRow* row) { return row != nullptr && row->correct ? 1 : 0; };
    const auto task = [](const Example& e) { return (e.ours != nullptr ? e.ours : e.theirs)->task; };
    for (int turn = 0; chosen.size() < kExamples && !pool.empty(); turn++) {
        auto best = pool.end();
        for (auto it = pool.begin(); it != pool.end(); ++it) {
            const int outcome = 2 * right(it->ours) + right(it->theirs);
            if (outcome == turn % 4 && (best == pool.end() || seen[task(*it)] < seen[task(*best)])) {
                best = it;
            }
        }
        if (best != pool.end()) {
            seen[task(*best)]++;
            chosen.push_back(*best);
            pool.erase(best);
        }
    }
    return chosen;
}

std::string answer_block(const char* method, const AnswerRow* row) {
    if (row == nullptr) {
        return "";
    }
    return format("<div><p class=\"who\">%s &middot; <span class=\"%s\">%s</span></p><pre>",
                  title_of(method).c_str(), row->correct ? "right" : "wrong",
                  row->correct    ? "&#10003; right"
                  : row->readable ? "&#10007; wrong"
                                  : "&#10007; unreadable") +
           escape(row->generated) + "</pre></div>\n";
}

} // namespace

std::string example_section(const RunLog& run) {
    const std::vector<Example> examples = choose_examples(run);
    if (examples.empty()) {
        return "<p class=\"note\">Neither SKIntern nor Std-CoT has answered a question yet.</p>\n";
    }
    std::string out = format(
        "<p class=\"note\">%zu questions drawn at random, in turn from those that neither, one or both "
        "methods answered right (%s).</p>\n",
        examples.size(), format("seed %ld", static_cast<long>(run.seeds.front())).c_str());
    for (const Example& example : examples) {
        const AnswerRow& row = example.ours != nullptr ? *example.ours : *example.theirs;
        out += "<article><h3>" + escape(row.task) + " &middot; " + escape(row.split) +
               (row.coverage.empty() ? "" : " &middot; " + escape(row.coverage) + " facts") + "</h3>\n";
        out += "<pre>" + escape(row.question.empty() ? row.id : row.question) + "</pre>\n";
        if (!row.gold.empty()) {
            out += "<p class=\"note\">Gold answer: <b>" + escape(row.gold) + "</b></p>\n";
        }
        out += "<div class=\"pair\">" + answer_block(kOurs, example.ours) +
               answer_block(kBaseline, example.theirs) + "</div></article>\n";
    }
    return out;
}

} // namespace skintern
