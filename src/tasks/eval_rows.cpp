// eval_rows.cpp — see eval_rows.h.
#include "tasks/eval_rows.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unordered_map>
#include <variant>

#include "support/check.h"
#include "support/files.h"
#include "support/settings_file.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

using nlohmann::ordered_json;

// The fields in the order in which they are written.
struct Field {
    const char* name;
    std::variant<std::string EvalRow::*, int64_t EvalRow::*, bool EvalRow::*> member;
};
const Field kFields[] = {
    {"id", &EvalRow::id},
    {"task_name", &EvalRow::task_name},
    {"benchmark", &EvalRow::benchmark},
    {"split", &EvalRow::split},
    {"coverage", &EvalRow::coverage},
    {"prompt_tokens", &EvalRow::prompt_tokens},
    {"new_tokens", &EvalRow::new_tokens},
    {"flops", &EvalRow::flops},
    {"question", &EvalRow::question},
    {"gold", &EvalRow::gold},
    {"generated", &EvalRow::generated},
    {"correct", &EvalRow::correct},
    {"strict", &EvalRow::strict},
    {"readable", &EvalRow::readable},
    {"facts_needed", &EvalRow::facts_needed},
    {"facts_found", &EvalRow::facts_found},
};

std::string settings_path(const std::string& path) { return path + ".settings.json"; }

} // namespace

// ---- one row -------------------------------------------------------------------------------------------------------

std::string eval_row_to_json(const EvalRow& row) {
    ordered_json object;
    for (const Field& field : kFields) {
        std::visit([&](auto member) { object[field.name] = row.*member; }, field.member);
    }
    return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

EvalRow eval_row_from_json(const std::string& line, const std::string& where) {
    const nlohmann::json object = parse_json(line, where);
    CHECK(object.is_object(), "%s: is %s, expected an object", where.c_str(), object.type_name());
    EvalRow row;
    for (const Field& field : kFields) {
        const nlohmann::json& value = need_field(object, field.name, where);
        if (const auto* text = std::get_if<std::string EvalRow::*>(&field.member)) {
            row.**text = as_string(value, field.name, where);
        } else if (const auto* count = std::get_if<int64_t EvalRow::*>(&field.member)) {
            row.**count = as_int(value, field.name, where);
            CHECK(row.**count >= 0, "%s: %s is negative", where.c_str(), field.name);
        } else {
            row.*std::get<bool EvalRow::*>(field.member) = as_bool(value, field.name, where);
        }
    }
    return row;
}

void write_eval(const std::string& path, const std::vector<EvalRow>& rows) {
    std::string out;
    for (const EvalRow& row : rows) {
        out += eval_row_to_json(row) + "\n";
    }
    write_file(path, out);
}

int64_t count_correct(const std::vector<EvalRow>& rows) {
    return std::count_if(rows.begin(), rows.end(), [](const EvalRow& row) { return row.correct; });
}

// ---- a file that grows -----------------------------------------------------------------------------------------------

EvalFile::EvalFile(const std::string& path, const ordered_json& settings, bool resume) : path_(path) {
    if (resume && (file_exists(path_) || file_exists(settings_path(path_)))) {
        take_up(settings);
        return;
    }
    // The rows go first: no moment shows old rows beside new settings.
    write_file(path_, "");
    write_file(settings_path(path_), settings.dump(2) + "\n");
}

void EvalFile::take_up(const ordered_json& settings) {
    const std::string beside = settings_path(path_);
    CHECK(file_exists(beside), "%s: cannot be resumed without %s, which says how it was made", path_.c_str(),
          beside.c_str());
    check_settings(beside, settings, "the evaluation");
    const std::string text = file_exists(path_) ? read_file(path_) : "";
    size_t line = 1;
    for (size_t at = 0; at < text.size(); line++) {
        const size_t end = text.find('\n', at);
        if (end == std::string::npos) {
            cut_ = true;
            break;
        }
        rows_.push_back(eval_row_from_json(text.substr(at, end - at), format("%s:%zu", path_.c_str(), line)));
        at = end + 1;
    }
    write_eval(path_, rows_); // whole lines only, so that the next one begins on a line of its own
}

std::vector<Record> EvalFile::unanswered(const std::vector<Record>& records) const {
    std::unordered_map<std::string, const Record*> record_of;
    for (const Record& record : records) {
        record_of[record.id] = &record;
    }
    for (const EvalRow& row : rows_) {
        const auto it = record_of.find(row.id);
        CHECK(it != record_of.end() && it->second != nullptr, "%s: holds an answer to %s, which is not asked, or two",
              path_.c_str(), shown(row.id).c_str());
        CHECK(it->second->instruction == row.question && it->second->output == row.gold,
              "%s: %s is another question there than in --data", path_.c_str(), shown(row.id).c_str());
        it->second = nullptr;
    }
    std::vector<Record> rest;
    for (const Record& record : records) {
        if (record_of[record.id] != nullptr) {
            rest.push_back(record);
        }
    }
    return rest;
}

void EvalFile::append(const EvalRow& row) {
    append_line(path_, eval_row_to_json(row));
    rows_.push_back(row);
}

const std::vector<EvalRow>& EvalFile::finish(const std::vector<Record>& records) {
    const std::vector<Record> rest = unanswered(records);
    CHECK(rest.empty(), "%s: %zu questions have no answer", path_.c_str(), rest.size());
    std::unordered_map<std::string, size_t> place;
    for (size_t i = 0; i < records.size(); i++) {
        place[records[i].id] = i;
    }
    std::sort(rows_.begin(), rows_.end(),
              [&](const EvalRow& a, const EvalRow& b) { return place[a.id] < place[b.id]; });
    write_eval(path_, rows_);
    return rows_;
}

} // namespace skintern
