// eval_rows.cpp — see eval_rows.h.
#include "tasks/eval_rows.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unordered_map>
#include <variant>

#include "support/check.h"
#include "support/files.h"
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
    const nlohmann::json before = parse_json(read_file(beside), beside);
    for (const auto& [key, value] : settings.items()) {
        const nlohmann::json* old = before.is_object() ? find_field(before, key) : nullptr;
        CHECK(old != nullptr && *old == nlohmann::json(value),
              "%s: the evaluation was started with %s = %s, not %s; resume it with the settings it has, or choose "
              "another --out",
              beside.c_str(), key.c_str(), old != nullptr ? shown(old->dump()).c_str() : "nothing",
              shown(value.dump()).c_str());
    }
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

// ---- which model -----------------------------------------------------------------------------------------------------

std::string fingerprint(const std::string& path) {
    constexpr size_t kHead = size_t{1} << 20;
    if (path.empty()) {
        return "";
    }
    std::vector<std::filesystem::path> files = {path};
    if (std::filesystem::is_directory(path)) {
        files.clear();
        for (const auto& entry : std::filesystem::directory_iterator(path)) {
            const std::string ending = entry.path().extension().string();
            if (entry.is_regular_file() && (ending == ".json" || ending == ".safetensors" || ending == ".gguf")) {
                files.push_back(entry.path());
            }
        }
        std::sort(files.begin(), files.end());
    }
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    const auto add = [&](const std::string& bytes) {
        for (const char c : bytes) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        }
    };
    for (const std::filesystem::path& file : files) {
        std::string head(kHead, '\0');
        std::ifstream in(file, std::ios::binary);
        CHECK(in.good(), "%s: cannot be opened", file.c_str());
        in.read(head.data(), static_cast<std::streamsize>(head.size()));
        head.resize(static_cast<size_t>(in.gcount()));
        add(format("%s %ju ", file.filename().c_str(), static_cast<uintmax_t>(std::filesystem::file_size(file))));
        add(head);
    }
    return format("%016jx", static_cast<uintmax_t>(hash));
}

} // namespace skintern
