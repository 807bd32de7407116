// benchmarks.cpp — see benchmarks.h. The table is at the end; a reader each before it.
#include "tasks/benchmarks.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "support/check.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

using nlohmann::json;

// A text that says something.
const std::string& need_text(const json& object, const std::string& field, const std::string& where) {
    const std::string& text = as_text(need_field(object, field, where), field, where);
    CHECK(text.find_first_not_of(" \t\r\n") != std::string::npos, "%s: %s is empty", where.c_str(), field.c_str());
    return text;
}

Record make_record(const RowPlace& place, const std::string& task, const std::string& question,
                   const std::string& gold) {
    Record record;
    record.task_name = task;
    record.id = format("%s-%zu", task.c_str(), place.number);
    record.instruction = question;
    record.output = gold;
    return record;
}

// "(A) text" a line, as BIG-Bench Hard writes options.
struct Choice {
    std::string label, text;
};

std::string with_options(const std::string& question, const std::vector<Choice>& choices) {
    std::string out = question + "\nOptions:";
    for (const Choice& choice : choices) {
        out += "\n(" + choice.label + ") " + choice.text;
    }
    return out;
}

// The gold answer "(A)" of a label that is one of the choices.
std::string gold_choice(const std::vector<Choice>& choices, const std::string& label, const char* field,
                        const std::string& where) {
    std::string known;
    for (const Choice& choice : choices) {
        if (choice.label == label) {
            return "(" + label + ")";
        }
        known += " " + choice.label;
    }
    CHECK(false, "%s: %s is \"%s\", which is none of the options%s", where.c_str(), field, shown(label).c_str(),
          known.c_str());
}

// A single letter or digit, so that "(A)" can be read back out of an answer.
void check_label(const std::string& label, const std::string& field, const std::string& where) {
    CHECK(label.size() == 1 && std::isalnum(static_cast<unsigned char>(label[0])) != 0,
          "%s: %s is \"%s\", expected one letter or digit", where.c_str(), field.c_str(), shown(label).c_str());
}

std::string strip(const std::string& text) {
    const size_t begin = text.find_first_not_of(" \t\r\n");
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

// ---- BIG-Bench Hard ------------------------------------------------------------------------------------------------

std::optional<Record> read_bbh(const json& row, const RowPlace& place) {
    return make_record(place, place.task, need_text(row, "input", place.where),
                       strip(need_text(row, "target", place.where)));
}

// ---- GSM8K, GSM-Plus -----------------------------------------------------------------------------------------------

// A worked solution without its calculator marks: "3 * 6 = <<3*6=18>>18" is "3 * 6 = 18".
std::string without_marks(const std::string& text, const std::string& where) {
    std::string out;
    size_t at = 0;
    for (size_t mark = text.find("<<"); mark != std::string::npos; mark = text.find("<<", at)) {
        const size_t end = text.find(">>", mark);
        CHECK(end != std::string::npos, "%s: answer has a calculator mark << without its >>", where.c_str());
        out += text.substr(at, mark - at);
        at = end + 2;
    }
    return out + text.substr(at);
}

// The worked solution becomes the response, so that GSM8K's training split can serve as recorded data.
std::optional<Record> read_gsm8k(const json& row, const RowPlace& place) {
    const std::string& question = need_text(row, "question", place.where);
    const std::string& answer = need_text(row, "answer", place.where);
    const size_t mark = answer.rfind("####");
    CHECK(mark != std::string::npos, "%s: answer has no line \"#### N\"", place.where.c_str());
    const std::string gold = strip(answer.substr(mark + 4));
    CHECK(!gold.empty(), "%s: answer has nothing behind ####", place.where.c_str());
    Record record = make_record(place, "gsm8k", question, gold);
    record.response =
        strip(without_marks(answer.substr(0, mark), place.where)) + "\nTherefore, the answer is " + gold + ".";
    return record;
}

// The eighth of the rows that ask for critical thinking lack a statement and have the answer "None": no number can be
// compared with that. They are left out, as other evaluations of GSM-Plus leave them out.
std::optional<Record> read_gsm_plus(const json& row, const RowPlace& place) {
    const std::string& question = need_text(row, "question", place.where);
    const json& answer = need_field(row, "answer", place.where);
    const std::string gold = answer.is_number() ? answer.dump()
                             : answer.is_null() ? "None"
                                                : strip(need_text(row, "answer", place.where));
    if (gold == "None") {
        return std::nullopt;
    }
    return make_record(place, "gsm_plus", question, gold);
}

// ---- AGIEval -------------------------------------------------------------------------------------------------------

// "(A)text", and as some files have it "A text", "A? text" and "A. text".
std::vector<Choice> agieval_options(const json& options, const std::string& where) {
    CHECK(options.is_array(), "%s: options is %s, expected a list of texts", where.c_str(), options.type_name());
    std::vector<Choice> choices;
    for (const json& entry : options) {
        const std::string field = format("options[%zu]", choices.size());
        const std::string text = strip(as_text(entry, field, where));
        const char letter = static_cast<char>('A' + choices.size());
        const size_t at = !text.empty() && text[0] == '(' ? 1 : 0;
        CHECK(text.size() > at + 2 && text[at] == letter && std::string(at == 1 ? ")" : ")?. ").find(text[at + 1]) != std::string::npos,
              "%s: %s is \"%s\", expected \"(%c) ...\"", where.c_str(), field.c_str(), shown(text).c_str(), letter);
        choices.push_back({std::string(1, letter), strip(text.substr(at + 2))});
    }
    return choices;
}

// Sets with options have a label, sets without (math, fill-in) an answer.
std::optional<Record> read_agieval(const json& row, const RowPlace& place) {
    const std::string& where = place.where;
    std::string question = need_text(row, "question", where);
    const json* passage = find_field(row, "passage");
    if (passage != nullptr && *passage != "") { // sat-math has an empty one
        question = need_text(row, "passage", where) + "\n" + question;
    }
    const json* options = find_field(row, "options");
    if (options == nullptr || (options->is_array() && options->empty())) {
        CHECK(find_field(row, "answer") != nullptr, "%s: options and answer are both missing", where.c_str());
        return make_record(place, place.task, question, strip(need_text(row, "answer", where)));
    }
    const std::vector<Choice> choices = agieval_options(*options, where);
    return make_record(place, place.task, with_options(question, choices),
                       gold_choice(choices, strip(need_text(row, "label", where)), "label", where));
}

// ---- ARC -----------------------------------------------------------------------------------------------------------

// [{"text","label"}, ...] or {"text": [...], "label": [...]}
std::vector<Choice> arc_choices(const json& choices, const std::string& where) {
    std::vector<Choice> out;
    if (choices.is_array()) {
        for (const json& entry : choices) {
            const std::string field = format("choices[%zu]", out.size());
            as_object(entry, field, where);
            out.push_back({need_text(entry, "label", where), need_text(entry, "text", where)});
            check_label(out.back().label, field + ".label", where);
        }
    } else {
        as_object(choices, "choices", where);
        const json& texts = need_field(choices, "text", where);
        const json& labels = need_field(choices, "label", where);
        CHECK(texts.is_array() && labels.is_array() && texts.size() == labels.size(),
              "%s: choices.text and choices.label are not two lists of one length", where.c_str());
        for (size_t i = 0; i < texts.size(); i++) {
            out.push_back({as_text(labels[i], format("choices.label[%zu]", i), where),
                           as_text(texts[i], format("choices.text[%zu]", i), where)});
            check_label(out.back().label, format("choices.label[%zu]", i), where);
        }
    }
    CHECK(!out.empty(), "%s: choices is empty", where.c_str());
    return out;
}

// "ARC-Easy-Test" is arc_easy; another file keeps its name.
std::string arc_task(const std::string& file) {
    std::string lower = file;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* set : {"easy", "challenge"}) {
        if (lower.find(set) != std::string::npos) {
            return std::string("arc_") + set;
        }
    }
    return file;
}

std::optional<Record> read_arc(const json& row, const RowPlace& place) {
    const std::string& where = place.where;
    const json& question = need_field(row, "question", where);
    const bool nested = question.is_object();
    const std::string& stem = nested ? need_text(question, "stem", where) : need_text(row, "question", where);
    const std::vector<Choice> choices = arc_choices(need_field(nested ? question : row, "choices", where), where);
    Record record =
        make_record(place, arc_task(place.task), with_options(stem, choices),
                    gold_choice(choices, need_text(row, "answerKey", where), "answerKey", where));
    if (find_field(row, "id") != nullptr) {
        record.id = need_text(row, "id", where);
    }
    record.benchmark = record.task_name == "arc_easy" ? "ARC-Easy" : record.task_name == "arc_challenge" ? "ARC-Challenge" : "ARC";
    return record;
}

// In this order: GSM-Plus, ARC and AGIEval have a question as well.
const std::vector<BenchmarkLayout>& layouts() {
    static const std::vector<BenchmarkLayout> kLayouts = {
        {"BIG-Bench Hard", {"input", "target"}, read_bbh},
        {"GSM-Plus", {"perturbation_type", "seed_question"}, read_gsm_plus},
        {"ARC", {"answerKey", "choices"}, read_arc},
        {"AGIEval", {"options", "label", "passage"}, read_agieval},
        {"GSM8K", {"question", "answer"}, read_gsm8k},
    };
    return kLayouts;
}

} // namespace

const BenchmarkLayout* find_layout(const json& row) {
    const auto has = [&](const char* field) { return row.contains(field); };
    if (!row.is_object() || has("task_name") || has("instruction") || has("output")) {
        return nullptr; // a record, if one with a field missing
    }
    for (const BenchmarkLayout& layout : layouts()) {
        if (std::any_of(layout.signs.begin(), layout.signs.end(), has)) {
            return &layout;
        }
    }
    return nullptr;
}

void check_trainable(const std::vector<Record>& records, const std::string& path) {
    const bool gsm8k_train = std::filesystem::path(path).stem() == "train";
    for (const Record& record : records) {
        CHECK(record.benchmark.empty() || (record.benchmark == "GSM8K" && gsm8k_train),
              "%s: holds questions of %s as published, which are for evaluation and never trained on; recorded "
              "teacher data has task_name, instruction, output and response",
              path.c_str(), record.benchmark.c_str());
    }
}

} // namespace skintern
