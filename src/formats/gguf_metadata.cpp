// gguf_metadata.cpp — the values of a GGUF file by key: the second half of GgufFile, see gguf.h.
//
// A value was walked over when the file was opened, so that its bytes are there; what is checked here is its kind.
#include "formats/gguf.h"

#include "formats/gguf_reader.h"
#include "support/check.h"
#include "support/strict_json.h"

namespace skintern {

namespace {

template <typename T>
T load(std::string_view bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
}

bool is_integer(uint32_t type) {
    return kValueFormats[type].bytes > 0 && type != kFloat32 && type != kFloat64 && type != kBool;
}

bool is_number(uint32_t type) {
    return is_integer(type) || type == kFloat32 || type == kFloat64;
}

// Of a type for which is_integer().
int64_t integer_of(uint32_t type, std::string_view bytes, const std::string& where) {
    switch (type) {
    case kUint8:
        return load<uint8_t>(bytes);
    case kInt8:
        return load<int8_t>(bytes);
    case kUint16:
        return load<uint16_t>(bytes);
    case kInt16:
        return load<int16_t>(bytes);
    case kUint32:
        return load<uint32_t>(bytes);
    case kInt32:
        return load<int32_t>(bytes);
    case kUint64:
        CHECK(load<uint64_t>(bytes) <= INT64_MAX, "%s is %llu, which is too large", where.c_str(),
              static_cast<unsigned long long>(load<uint64_t>(bytes)));
        return static_cast<int64_t>(load<uint64_t>(bytes));
    default:
        return load<int64_t>(bytes);
    }
}

// Of a type for which is_number().
double number_of(uint32_t type, std::string_view bytes, const std::string& where) {
    return type == kFloat32   ? static_cast<double>(load<float>(bytes))
           : type == kFloat64 ? load<double>(bytes)
                              : static_cast<double>(integer_of(type, bytes, where));
}

} // namespace

bool GgufFile::has(const std::string& key) const {
    return values_.contains(key);
}

const GgufFile::Value& GgufFile::value(const std::string& key) const {
    const auto it = values_.find(key);
    CHECK(it != values_.end(), "%s: the key %s is missing", path_.c_str(), shown(key).c_str());
    return it->second;
}

const GgufFile::Value& GgufFile::scalar(const std::string& key, bool (*fits)(uint32_t type),
                                        const char* expected) const {
    const Value& found = value(key);
    CHECK(!found.array && fits(found.type), "%s: the key %s is %s, expected %s", path_.c_str(), shown(key).c_str(),
          found.array ? "an array" : kValueFormats[found.type].name, expected);
    return found;
}

std::string_view GgufFile::text(const std::string& key) const {
    return scalar(
               key, [](uint32_t type) { return type == kString; }, "a text")
        .bytes;
}

int64_t GgufFile::integer(const std::string& key) const {
    const Value& found = scalar(key, is_integer, "an integer");
    return integer_of(found.type, found.bytes, path_ + ": the key " + shown(key));
}

double GgufFile::number(const std::string& key) const {
    const Value& found = scalar(key, is_number, "a number");
    return number_of(found.type, found.bytes, path_ + ": the key " + shown(key));
}

bool GgufFile::flag(const std::string& key) const {
    return scalar(
               key, [](uint32_t type) { return type == kBool; }, "a bool")
               .bytes[0] != 0;
}

const GgufFile::Value& GgufFile::list(const std::string& key, bool (*fits)(uint32_t type),
                                      const char* expected) const {
    const Value& found = value(key);
    CHECK(found.array && fits(found.type), "%s: the key %s is %s%s, expected an array of %s", path_.c_str(),
          shown(key).c_str(), found.array ? "an array of " : "", kValueFormats[found.type].name, expected);
    return found;
}

std::vector<std::string_view> GgufFile::texts(const std::string& key) const {
    const Value& found = list(
        key, [](uint32_t type) { return type == kString; }, "texts");
    GgufReader in(found.bytes, path_);
    std::vector<std::string_view> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(in.text(shown(key)));
    }
    return out;
}

std::vector<int64_t> GgufFile::integers(const std::string& key) const {
    const Value& found = list(key, is_integer, "integers");
    const uint64_t size = kValueFormats[found.type].bytes;
    std::vector<int64_t> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(
            integer_of(found.type, found.bytes.substr(i * size, size), path_ + ": an element of " + shown(key)));
    }
    return out;
}

std::vector<double> GgufFile::numbers(const std::string& key) const {
    const Value& found = list(key, is_number, "numbers");
    const uint64_t size = kValueFormats[found.type].bytes;
    std::vector<double> out;
    out.reserve(found.count);
    for (uint64_t i = 0; i < found.count; ++i) {
        out.push_back(
            number_of(found.type, found.bytes.substr(i * size, size), path_ + ": an element of " + shown(key)));
    }
    return out;
}

std::vector<std::string> GgufFile::keys() const {
    return order_;
}

std::string GgufFile::shown_value(const std::string& key) const {
    const Value& found = value(key);
    const char* name = kValueFormats[found.type].name;
    if (found.array) {
        return format("%s[%llu]", name, static_cast<unsigned long long>(found.count));
    }
    if (found.type == kString) {
        return "\"" + shown(std::string(found.bytes)) + "\"";
    }
    if (found.type == kBool) {
        return found.bytes[0] != 0 ? "true" : "false";
    }
    if (found.type == kUint64) { // may be above what an int64_t holds
        return std::to_string(load<uint64_t>(found.bytes));
    }
    return is_integer(found.type) ? std::to_string(integer(key)) : format("%g", number(key));
}

} // namespace skintern
