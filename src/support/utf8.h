// utf8.h — the characters of a text that may hold any bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <utf8proc.h>

namespace skintern {

struct Utf8 {
    int32_t code; // code point; -1 for a byte that begins no character
    size_t size;  // bytes
};

// The character at `pos` < text.size(). Lone surrogates, overlong forms and cut sequences are no characters.
inline Utf8 utf8_at(std::string_view text, size_t pos) {
    if (const auto byte = static_cast<unsigned char>(text[pos]); byte < 0x80) {
        return {byte, 1}; // without a call
    }
    utf8proc_int32_t code = 0;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + pos;
    const auto size = utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - pos), &code);
    return size > 0 ? Utf8{code, static_cast<size_t>(size)} : Utf8{-1, 1};
}

// Unicode's property White_Space: the separators, tab to carriage return, and next line.
inline bool is_white_space(int32_t code) {
    const auto category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP || (code >= 0x09 && code <= 0x0d) || code == 0x85;
}

// Every sequence that is no character, as far as it could have become one, as U+FFFD: what Python's errors="replace",
// Rust's from_utf8_lossy and web browsers do. Tokenizers of text are given bytes in this form.
std::string replace_invalid_utf8(std::string_view text);

} // namespace skintern
