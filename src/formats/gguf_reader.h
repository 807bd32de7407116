// gguf_reader.h — a cursor over the bytes of a GGUF file, and the types of its values. Internal to gguf*.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "support/check.h"

namespace skintern {

// ---- types of values -----------------------------------------------------------------------------------------------

enum ValueType : uint32_t {
    kUint8,
    kInt8,
    kUint16,
    kInt16,
    kUint32,
    kInt32,
    kFloat32,
    kBool,
    kString,
    kArray,
    kUint64,
    kInt64,
    kFloat64,
};

struct ValueFormat {
    const char* name;
    uint64_t bytes; // 0: not fixed
};

inline constexpr ValueFormat kValueFormats[] = {
    {"u8", 1},   {"i8", 1},   {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
    {"bool", 1}, {"text", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};
inline constexpr uint32_t kValueTypes = 13;

// ---- the cursor ----------------------------------------------------------------------------------------------------

class GgufReader {
public:
    GgufReader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

    uint64_t at() const { return at_; }
    uint64_t left() const { return bytes_.size() - at_; }

    std::string_view take(uint64_t size, const std::string& what) {
        CHECK(size <= left(), "%s: %s needs %llu bytes at byte %llu, but %llu are left", path_.c_str(),
              what.c_str(), static_cast<unsigned long long>(size), static_cast<unsigned long long>(at_),
              static_cast<unsigned long long>(left()));
        const std::string_view out = bytes_.substr(at_, size);
        at_ += size;
        return out;
    }
    template <typename T>
    T number(const std::string& what) {
        T value;
        std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
        return value;
    }
    std::string_view text(const std::string& what) {
        const auto size = number<uint64_t>("the length of " + what);
        return take(size, what);
    }
    // A count of things of at least `smallest` bytes each.
    uint64_t count(uint64_t smallest, const std::string& what) {
        const auto n = number<uint64_t>(what);
        CHECK(n <= left() / smallest, "%s: %s is %llu, more than the %llu bytes behind it can hold",
              path_.c_str(), what.c_str(), static_cast<unsigned long long>(n),
              static_cast<unsigned long long>(left()));
        return n;
    }
    uint32_t value_type(const std::string& what) {
        const auto type = number<uint32_t>("the type of " + what);
        CHECK(type < kValueTypes, "%s: %s has type %u, expected 0 to %u", path_.c_str(), what.c_str(), type,
              kValueTypes - 1);
        return type;
    }
    // What follows a value's type: the content of a text, the bytes of a number.
    std::string_view value(uint32_t type, const std::string& what) {
        const std::string_view out = type == kString ? text(what) : take(kValueFormats[type].bytes, what);
        CHECK(type != kBool || static_cast<unsigned char>(out[0]) <= 1, "%s: %s is %d, expected 0 or 1",
              path_.c_str(), what.c_str(), static_cast<unsigned char>(out[0]));
        return out;
    }

private:
    std::string_view bytes_;
    const std::string& path_;
    uint64_t at_ = 0;
};

} // namespace skintern
