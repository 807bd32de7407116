// task.cpp — records: from JSON or JSONL to struct Record and back.
//
// A JSONL file has a record a line; a JSON file is one list of them. The fields have the names of struct
// Record, but for `summarydec`, which is spelt summarydec1, summarydec2, ... in a file. Recorded data may
// know less than the generator: only task_name, instruction and output are required. An empty field is not
// written, and a field that is missing or null reads as empty, with two exceptions:
//   summary  missing, but one of its parts is there: the parts, joined by a newline;
//   id       missing in a file: "row 12", from the record's place, so that every record of a file has an id
//   of its own.
// Rows of a published benchmark become records as benchmarks.h says. Fields that are not known are ignored. Everything else that is odd is an error with file, line and field.
#include "tasks/task.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/strict_json.h"
#include "tasks/benchmarks.h"

namespace skintern {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kSpaces = " \t\r\n";

// The fields that are one string, in the order in which they are written. `summary` is apart.
struct TextField {
    const char* name;
    std::string Record::*member;
};
constexpr TextField kTextFields[] = {
    {"id", &Record::id},
    {"split", &Record::split},
    {"coverage", &Record::coverage},
    {"task_name", &Record::task_name},
    {"task_description", &Record::task_description},
    {"prefix_prompt", &Record::prefix_prompt},
    {"instruction", &Record::instruction},
    {"output", &Record::output},
    {"response", &Record::response},
    {"learning_summary", &Record::learning_summary},
    {"supplementary_knowledge", &Record::supplementary_knowledge},
};
constexpr const char* kRequired[] = {"task_name", "instruction", "output"};

struct ListField {
    const char* name;
    std::vector<std::string> Record::*member;
};
constexpr ListField kListFields[] = {
    {"knowledge", &Record::knowledge},
    {"facts_needed", &Record::facts_needed},
    {"facts_stated", &Record::facts_stated},
};

std::string summarydec_name(size_t index) {
    return format("summarydec%zu", index + 1);
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(kSpaces) == std::string_view::npos;
}

std::string text_or_empty(const json& object, const std::string& field, const std::string& where) {
    const json* value = find_field(object, field);
    return value != nullptr ? as_text(*value, field, where) : "";
}

std::vector<std::string> list_or_empty(const json& object, const std::string& field,
                                       const std::string& where) {
    std::vector<std::string> out;
    const json* value = find_field(object, field);
    if (value == nullptr) {
        return out;
    }
    CHECK(value->is_array(), "%s: %s is %s, expected a list of strings", where.c_str(), field.c_str(),
          value->type_name());
    for (const json& entry : *value) {
        out.push_back(as_text(entry, format("%s[%zu]", field.c_str(), out.size()), where));
    }
    return out;
}

// summarydec1, summarydec2, ... up to the first that is missing; none may follow it.
std::vector<std::string> read_summarydec(const json& object, const std::string& where) {
    std::vector<std::string> out;
    while (find_field(object, summarydec_name(out.size())) != nullptr) {
        out.push_back(text_or_empty(object, summarydec_name(out.size()), where));
    }
    const auto count =
        static_cast<size_t>(std::count_if(object.items().begin(), object.items().end(), [](const auto& item) {
            const std::string& key = item.key();
            return key.starts_with("summarydec") && !item.value().is_null();
        }));
    CHECK(count == out.size(), "%s: %s is missing, but there are %zu fields summarydec...", where.c_str(),
          summarydec_name(out.size()).c_str(), count);
    return out;
}

Record record_from_object(const json& object, const std::string& where) {
    CHECK(object.is_object(), "%s: is %s, expected an object with the fields of a record", where.c_str(),
          object.type_name());
    for (const char* field : kRequired) {
        CHECK(!is_blank(as_text(need_field(object, field, where), field, where)), "%s: %s is empty",
              where.c_str(), field);
    }
    Record record;
    for (const TextField& field : kTextFields) {
        record.*field.member = text_or_empty(object, field.name, where);
    }
    for (const ListField& field : kListFields) {
        record.*field.member = list_or_empty(object, field.name, where);
    }
    record.summarydec = read_summarydec(object, where);
    record.summary = text_or_empty(object, "summary", where);
    if (find_field(object, "summary") == nullptr) {
        const bool both = !record.learning_summary.empty() && !record.supplementary_knowledge.empty();
        record.summary = record.learning_summary + (both ? "\n" : "") + record.supplementary_knowledge;
    }
    return record;
}

// ---- files
// ---------------------------------------------------------------------------------------------------------

// Gives the records of a file ids of their own.
class Ids {
public:
    void add(Record& record, size_t row, const std::string& where) {
        if (record.id.empty()) {
            record.id = format("row %zu", row);
        }
        const auto [it, is_new] = seen_.emplace(record.id, where);
        CHECK(is_new, "%s: id is \"%s\", as at %s", where.c_str(), shown(record.id).c_str(),
              it->second.c_str());
    }

private:
    std::unordered_map<std::string, std::string> seen_; // id -> where it stood
};

// Calls row(object, where, number) for each row of a file, until it says that there are enough.
template <typename Row>
void for_each_element(const json& list, const std::string& path, const char* what, Row row) {
    size_t number = 0;
    for (const json& element : list) {
        ++number;
        if (!row(element, format("%s: %s %zu", path.c_str(), what, number), number)) {
            return;
        }
    }
}

template <typename Row>
void for_each_line(const std::string& text, const std::string& path, Row row) {
    size_t number = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        at = end + 1;
        ++number;
        if (is_blank(line)) {
            continue; // an empty last line, or one between groups of records
        }
        const std::string where = format("%s:%zu", path.c_str(), number);
        // The last line has no newline: if it is no JSON either, the file was probably cut.
        const std::string cut =
            end == text.size() ? " (the last line, without a newline: is the file cut?)" : "";
        if (!row(parse_json(line, where + cut), where, number)) {
            return;
        }
    }
}

// A list, a document of BIG-Bench Hard, or lines.
template <typename Row>
void for_each_row(const std::string& text, const std::string& path, Row row) {
    if (text[text.find_first_not_of(kSpaces)] == '[') {
        for_each_element(parse_json(text, path), path, "element", row);
        return;
    }
    // The document is one value; of JSONL the library stops at the second line (and at a NUL, which is refused below).
    if (text.find('\0') == std::string::npos && json::accept(text)) {
        const json root = parse_json(text, path);
        if (root.is_object() && (root.contains("examples") || root.contains("canary"))) {
            const json& examples = need_field(root, "examples", path);
            CHECK(examples.is_array(), "%s: examples is %s, expected a list", path.c_str(), examples.type_name());
            for_each_element(examples, path, "example", row);
            return;
        }
    }
    for_each_line(text, path, row);
}

} // namespace

std::vector<Record> read_records(const std::string& path, int64_t limit) {
    CHECK(limit >= 0, "%s: the limit of records is %lld, must not be negative", path.c_str(),
          static_cast<long long>(limit));
    const size_t most = limit > 0 ? static_cast<size_t>(limit) : SIZE_MAX;
    std::string text = read_file(path);
    if (text.starts_with(kByteOrderMark)) {
        text.erase(0, kByteOrderMark.size());
    }
    CHECK(!is_blank(text), "%s: is empty, expected records", path.c_str());
    std::vector<Record> records;
    Ids ids;
    size_t without_answer = 0;
    const std::string task = std::filesystem::path(path).stem().string();
    for_each_row(text, path, [&](const json& object, const std::string& where, size_t number) {
        const BenchmarkLayout* layout = find_layout(object);
        std::optional<Record> record =
            layout != nullptr ? layout->read(object, {where, task, number}) : record_from_object(object, where);
        if (!record) {
            ++without_answer;
            return true;
        }
        record->benchmark = layout == nullptr ? "" : record->benchmark.empty() ? layout->benchmark : record->benchmark;
        ids.add(*record, number, where);
        records.push_back(std::move(*record));
        return records.size() < most;
    });
    if (without_answer > 0) {
        say(format("%s: %zu rows whose answer is None are left out", path.c_str(), without_answer));
    }
    CHECK(!records.empty(), "%s: holds no records", path.c_str());
    return records;
}

std::vector<std::string> data_files(const std::vector<std::string>& paths) {
    std::vector<std::string> files;
    for (const std::string& path : paths) {
        if (!std::filesystem::is_directory(path)) {
            files.push_back(path);
            continue;
        }
        std::vector<std::string> inside;
        for (const auto& entry : std::filesystem::directory_iterator(path)) {
            const std::string ending = entry.path().extension().string();
            if (entry.is_regular_file() && (ending == ".json" || ending == ".jsonl")) {
                inside.push_back(entry.path().string());
            }
        }
        CHECK(!inside.empty(), "%s: the folder holds no .json or .jsonl file", path.c_str());
        std::sort(inside.begin(), inside.end()); // the order in which a file system lists names means nothing
        files.insert(files.end(), inside.begin(), inside.end());
    }
    return files;
}

std::vector<Record> read_questions(const std::vector<std::string>& paths, int64_t limit) {
    std::vector<Record> all;
    Ids ids;
    for (const std::string& file : data_files(paths)) {
        for (Record& record : read_records(file, limit)) {
            ids.add(record, 0, file);
            all.push_back(std::move(record));
        }
    }
    return all;
}

std::string records_to_jsonl(const std::vector<Record>& records) {
    std::string text;
    for (const Record& record : records) {
        text += record_to_json(record) + "\n";
    }
    return text;
}

void write_records(const std::string& path, const std::vector<Record>& records) { write_file(path, records_to_jsonl(records)); }

// ---- one record
// ----------------------------------------------------------------------------------------------------

std::string record_to_json(const Record& record) {
    ordered_json object = ordered_json::object();
    for (const TextField& field : kTextFields) {
        if (!(record.*field.member).empty()) {
            object[field.name] = record.*field.member;
        }
    }
    // Written even when empty, where a reader would otherwise join the parts.
    if (!record.summary.empty() || !record.learning_summary.empty() ||
        !record.supplementary_knowledge.empty()) {
        object["summary"] = record.summary;
    }
    for (const ListField& field : kListFields) {
        if (!(record.*field.member).empty()) {
            object[field.name] = record.*field.member;
        }
    }
    for (size_t i = 0; i < record.summarydec.size(); ++i) {
        object[summarydec_name(i)] = record.summarydec[i];
    }
    return dump_json(object, "record \"" + shown(record.id) + "\"");
}

Record record_from_json(const std::string& line, const std::string& where) {
    return record_from_object(parse_json(line, where), where);
}

} // namespace skintern
