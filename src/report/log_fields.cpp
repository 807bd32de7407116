// log_fields.cpp — see log_fields.h.
#include "report/log_fields.h"

#include <algorithm>
#include <cmath>

#include "support/check.h"
#include "support/files.h"

namespace skintern {

LogJson parse_object(const std::string& text, const std::string& where) {
    LogJson json;
    try {
        json = LogJson::parse(text);
    } catch (const LogJson::exception& problem) {
        CHECK(false, "%s: is damaged, not JSON: %s", where.c_str(), problem.what());
    }
    CHECK(json.is_object(), "%s: is damaged, expected a JSON object and found %s", where.c_str(),
          json.type_name());
    return json;
}

const LogJson& field(const LogJson& object, const char* name, const std::string& where) {
    const auto found = object.find(name);
    CHECK(found != object.end(), "%s: field \"%s\" is missing", where.c_str(), name);
    return *found;
}

double number_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_number(), "%s: field \"%s\" must be a number, found %s", where.c_str(), name,
          value.type_name());
    const double number = value.get<double>();
    CHECK(std::isfinite(number), "%s: field \"%s\" is not finite", where.c_str(), name);
    return number;
}

int64_t count_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{1} << 53,
          "%s: field \"%s\" must be a whole number of at least 0, found %s", where.c_str(), name,
          value.dump().c_str());
    return static_cast<int64_t>(value.get<uint64_t>());
}

bool bool_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_boolean(), "%s: field \"%s\" must be true or false, found %s", where.c_str(), name,
          value.type_name());
    return value.get<bool>();
}

std::string text_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_string(), "%s: field \"%s\" must be text, found %s", where.c_str(), name,
          value.type_name());
    return value.get<std::string>();
}

std::string optional_text(const LogJson& object, const char* name, const std::string& where) {
    return object.contains(name) ? text_field(object, name, where) : std::string();
}

const LogJson& list_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_array(), "%s: field \"%s\" must be a list, found %s", where.c_str(), name,
          value.type_name());
    return value;
}

const LogJson& object_field(const LogJson& object, const char* name, const std::string& where) {
    const LogJson& value = field(object, name, where);
    CHECK(value.is_object(), "%s: field \"%s\" must be an object, found %s", where.c_str(), name,
          value.type_name());
    return value;
}

bool is_plain_name(const std::string& name) {
    return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos;
}

void for_each_row(const std::string& path,
                  const std::function<void(const LogJson&, const std::string&)>& row) {
    const std::string bytes = read_file(path);
    size_t start = 0;
    for (int64_t line = 1; start < bytes.size(); line++) {
        const size_t end = std::min(bytes.find('\n', start), bytes.size());
        const std::string text = bytes.substr(start, end - start);
        start = end + 1;
        const std::string where = format("%s:%ld", path.c_str(), static_cast<long>(line));
        CHECK(!text.empty(), "%s: is an empty line", where.c_str());
        row(parse_object(text, where), where);
    }
}

} // namespace skintern
