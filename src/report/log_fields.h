// log_fields.h — the fields of a log's JSON objects by type, each refusal one sentence that names file, line
// and field.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

namespace skintern {

// Keys in the order of the file: the report shows them so.
using LogJson = nlohmann::ordered_json;

// `where` is "file" or "file:12" and begins every message.
LogJson parse_object(const std::string& text, const std::string& where);

const LogJson& field(const LogJson& object, const char* name, const std::string& where);
double number_field(const LogJson& object, const char* name, const std::string& where); // finite
int64_t count_field(const LogJson& object, const char* name, const std::string& where); // whole, at least 0
bool bool_field(const LogJson& object, const char* name, const std::string& where);
std::string text_field(const LogJson& object, const char* name, const std::string& where);
std::string optional_text(const LogJson& object, const char* name,
                          const std::string& where); // "" when it is not there
const LogJson& list_field(const LogJson& object, const char* name, const std::string& where);
const LogJson& object_field(const LogJson& object, const char* name, const std::string& where);

// A name that becomes a folder or a file: it must not lead out of the run.
bool is_plain_name(const std::string& name);

// Calls `row(object, where)` for each line of a file.
void for_each_row(const std::string& path,
                  const std::function<void(const LogJson&, const std::string&)>& row);

} // namespace skintern
