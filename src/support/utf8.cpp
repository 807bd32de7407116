// utf8.cpp — see utf8.h.

#include "support/utf8.h"

namespace skintern {

namespace {

// How many bytes of the character at `pos`, which is none, are right: at least the one.
size_t right_bytes(std::string_view text, size_t pos) {
    const auto byte = [&](size_t i) {
        return pos + i < text.size() ? static_cast<unsigned char>(text[pos + i]) : 0;
    };
    const int lead = byte(0);
    const size_t size = lead >= 0xf0 && lead <= 0xf4   ? 4
                        : lead >= 0xe0 && lead <= 0xef ? 3
                        : lead >= 0xc2                 ? 2
                                                       : 1;
    // The second byte tells overlong forms, surrogates and what lies beyond U+10FFFF.
    const int low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const int high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    size_t right = 1;
    while (right < size && byte(right) >= (right == 1 ? low : 0x80) &&
           byte(right) <= (right == 1 ? high : 0xbf)) {
        ++right;
    }
    return right;
}

} // namespace

std::string replace_invalid_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    size_t begin = 0; // of the characters that are not copied yet
    for (size_t pos = 0; pos < text.size();) {
        const auto [code, size] = utf8_at(text, pos);
        if (code >= 0) {
            pos += size;
            continue;
        }
        out += text.substr(begin, pos - begin);
        out += "\ufffd";
        pos += right_bytes(text, pos);
        begin = pos;
    }
    out += text.substr(begin);
    return out;
}

} // namespace skintern
