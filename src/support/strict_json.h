// strict_json.h — JSON from outside: what the library's parser leaves open is decided here, for every reader
// alike.
//
// Refused: NUL bytes (the library stops there and ignores the rest), a key that occurs twice in an object
// (the library keeps the last: two readers of one file could see two values), nesting deeper than kMaxDepth,
// numbers that overflow, invalid UTF-8. Each refusal is one Error that begins with `where`. The functions
// below read one field of an object and name it when it is not what was expected.
//
// Cost: one pass; the tree is some 50 bytes a value. A byte order mark at the beginning is skipped by the
// library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/check.h"

namespace skintern {

// Text from a file as it may stand in a message: short, on one line, without control characters.
inline std::string shown(const std::string& text) {
    size_t size = std::min<size_t>(text.size(), 80);
    while (size > 0 && size < text.size() && (text[size] & 0xc0) == 0x80) {
        --size; // not in the middle of a UTF-8 character
    }
    std::string out = text.substr(0, size) + (size < text.size() ? "..." : "");
    std::replace_if(
        out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
    return out;
}

// ---- text to tree
// --------------------------------------------------------------------------------------------------

// Receives the library's parse events and builds the tree. The library's own builder cannot refuse duplicate
// keys.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
public:
    JsonBuilder(const std::string& text, const std::string& where) : text_(text), where_(where) {}
    nlohmann::json take() { return std::move(root_); }

    bool null() override { return add(nullptr) != nullptr; }
    bool boolean(bool value) override { return add(value) != nullptr; }
    bool number_integer(int64_t value) override { return add(value) != nullptr; }
    bool number_unsigned(uint64_t value) override { return add(value) != nullptr; }
    bool number_float(double value, const std::string&) override { return add(value) != nullptr; }
    bool string(std::string& value) override { return add(std::move(value)) != nullptr; }
    bool binary(std::vector<uint8_t>&) { return false; } // other formats than JSON have these
    bool binary(nlohmann::json::binary_t&) override { return false; }
    bool start_object(size_t) override { return open(nlohmann::json::object()); }
    bool start_array(size_t) override { return open(nlohmann::json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(std::string& name) override {
        CHECK(!stack_.back()->contains(name), "%s: the key \"%s\" occurs twice in one JSON object",
              where_.c_str(), shown(name).c_str());
        key_ = std::move(name);
        return true;
    }

    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
        // what() is "[id] parse error at ...: syntax error while parsing X - REASON; last read: 'TEXT'".
        std::string reason = error.what();
        const size_t dash = reason.find(" - ");
        const size_t bracket = reason.find("] ");
        reason = reason.substr(dash != std::string::npos      ? dash + 3
                               : bracket != std::string::npos ? bracket + 2
                                                              : 0);
        reason = reason.substr(0, reason.find("; last read"));
        const size_t end = std::min(position, text_.size());
        const auto line =
            1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(end), '\n');
        CHECK(false, "%s: is not valid JSON at byte %zu (line %td): %s", where_.c_str(), end, line,
              shown(reason).c_str());
    }

private:
    static constexpr size_t kMaxDepth = 64; // real files have less than 10

    nlohmann::json* add(nlohmann::json value) {
        if (stack_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        nlohmann::json& parent = *stack_.back();
        if (parent.is_array()) {
            parent.push_back(std::move(value));
            return &parent.back();
        }
        nlohmann::json& slot = parent[key_];
        slot = std::move(value);
        return &slot;
    }
    bool open(nlohmann::json container) {
        CHECK(stack_.size() < kMaxDepth, "%s: JSON nested more than %zu deep", where_.c_str(), kMaxDepth);
        stack_.push_back(add(std::move(container)));
        return true;
    }
    bool close() {
        stack_.pop_back();
        return true;
    }

    const std::string& text_;
    const std::string& where_;
    nlohmann::json root_;
    std::vector<nlohmann::json*>
        stack_; // the containers that are open; a parent does not grow while a child is
    std::string key_;
};

inline nlohmann::json parse_json(const std::string& text, const std::string& where) {
    const size_t nul = text.find('\0');
    CHECK(nul == std::string::npos, "%s: holds a NUL byte, at byte %zu", where.c_str(), nul);
    CHECK(text.find_first_not_of(" \t\r\n") != std::string::npos, "%s: is empty, expected JSON",
          where.c_str());
    JsonBuilder builder(text, where);
    nlohmann::json::sax_parse(text, &builder);
    return builder.take();
}

inline nlohmann::json parse_json_object(const std::string& text, const std::string& where) {
    nlohmann::json root = parse_json(text, where);
    CHECK(root.is_object(), "%s: is JSON, but %s and no object", where.c_str(), root.type_name());
    return root;
}

// ---- tree to text
// --------------------------------------------------------------------------------------------------

// `Json`: nlohmann::json sorts the keys, nlohmann::ordered_json leaves them as put in. indent -1: on one
// line.
template <typename Json>
std::string dump_json(const Json& value, const std::string& where, int indent = -1) {
    try {
        return value.dump(indent);
    } catch (const typename Json::type_error&) { // the only thing dump() objects to
        CHECK(false, "%s: a text to be written is not valid UTF-8", where.c_str());
    }
}

// ---- fields of an object
// -------------------------------------------------------------------------------------------

// nullptr when the field is missing or null.
inline const nlohmann::json* find_field(const nlohmann::json& object, const std::string& field) {
    const auto it = object.find(field);
    return it == object.end() || it->is_null() ? nullptr : &*it;
}

inline const nlohmann::json& need_field(const nlohmann::json& object, const std::string& field,
                                        const std::string& where) {
    const auto it = object.find(field);
    CHECK(it != object.end(), "%s: the field %s is missing", where.c_str(), field.c_str());
    return *it;
}

inline const nlohmann::json& as_object(const nlohmann::json& value, const std::string& field,
                                       const std::string& where) {
    CHECK(value.is_object(), "%s: %s is %s, expected an object", where.c_str(), field.c_str(),
          value.type_name());
    return value;
}

inline const std::string& as_string(const nlohmann::json& value, const std::string& field,
                                    const std::string& where) {
    CHECK(value.is_string(), "%s: %s is %s, expected a string", where.c_str(), field.c_str(),
          value.type_name());
    return value.get_ref<const std::string&>();
}

// A NUL (written \u0000) would end the text early in anything that takes a C string, a tokenizer's table or a printf.
inline const std::string& as_text(const nlohmann::json& value, const std::string& field, const std::string& where) {
    const std::string& text = as_string(value, field, where);
    CHECK(text.find('\0') == std::string::npos, "%s: %s holds a NUL character", where.c_str(), field.c_str());
    return text;
}

inline bool as_bool(const nlohmann::json& value, const std::string& field, const std::string& where) {
    CHECK(value.is_boolean(), "%s: %s is %s, expected true or false", where.c_str(), field.c_str(),
          value.type_name());
    return value.get<bool>();
}

inline double as_number(const nlohmann::json& value, const std::string& field, const std::string& where) {
    CHECK(value.is_number(), "%s: %s is %s, expected a number", where.c_str(), field.c_str(),
          value.type_name());
    return value.get<double>();
}

inline int64_t as_int(const nlohmann::json& value, const std::string& field, const std::string& where) {
    CHECK(value.is_number_integer(), "%s: %s is %s, expected an integer", where.c_str(), field.c_str(),
          value.is_number() ? shown(value.dump()).c_str() : value.type_name());
    CHECK(!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX,
          "%s: %s is %s, which is too large", where.c_str(), field.c_str(), value.dump().c_str());
    return value.get<int64_t>();
}

// ---- fields that may be left out ---------------------------------------------------------------------------------

// The value of a field, or `missing` where the file leaves it out or says null.
inline int64_t int_or(const nlohmann::json& object, const char* field, int64_t missing, const std::string& where) {
    const nlohmann::json* value = find_field(object, field);
    return value != nullptr ? as_int(*value, field, where) : missing;
}

inline double number_or(const nlohmann::json& object, const char* field, double missing, const std::string& where) {
    const nlohmann::json* value = find_field(object, field);
    return value != nullptr ? as_number(*value, field, where) : missing;
}

inline bool bool_or(const nlohmann::json& object, const char* field, bool missing, const std::string& where) {
    const nlohmann::json* value = find_field(object, field);
    return value != nullptr ? as_bool(*value, field, where) : missing;
}

inline std::string string_or(const nlohmann::json& object, const char* field, const char* missing,
                             const std::string& where) {
    const nlohmann::json* value = find_field(object, field);
    return value != nullptr ? as_string(*value, field, where) : missing;
}

inline int64_t need_int(const nlohmann::json& object, const char* field, const std::string& where) {
    return as_int(need_field(object, field, where), field, where);
}

inline double need_number(const nlohmann::json& object, const char* field, const std::string& where) {
    return as_number(need_field(object, field, where), field, where);
}

} // namespace skintern
