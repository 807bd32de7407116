// bpe_normalize.cpp — decompose, order the combining marks, compose.

#include "tokenizer/bpe_normalize.h"

#include <algorithm>
#include <vector>

#include "support/check.h"
#include "support/utf8.h"

namespace skintern {

namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

int combining_class(utf8proc_int32_t code) {
    return utf8proc_get_property(code)->combining_class;
}

void append_decomposed(utf8proc_int32_t code, CodePoints& out) {
    constexpr utf8proc_ssize_t kMost = 4; // of a canonical decomposition, in Unicode 15
    utf8proc_int32_t parts[kMost];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(code, parts, kMost, UTF8PROC_DECOMPOSE, &boundary);
    CHECK(count >= 0 && count <= kMost, "U+%04X has a decomposition of %td characters",
          static_cast<unsigned>(code), count);
    out.insert(out.end(), parts, parts + count);
}

// Marks of one run stand in the order of their classes; those of one class stay in the order of the text.
void order_marks(CodePoints& codes) {
    for (auto run = codes.begin(); run != codes.end();) {
        const auto is_mark = [](utf8proc_int32_t code) { return combining_class(code) != 0; };
        run = std::find_if(run, codes.end(), is_mark);
        const auto end = std::find_if_not(run, codes.end(), is_mark);
        std::stable_sort(run, end, [](utf8proc_int32_t a, utf8proc_int32_t b) {
            return combining_class(a) < combining_class(b);
        });
        run = end;
    }
}

// Empties `codes`.
void append_composed(CodePoints& codes, std::string& out) {
    if (codes.empty()) {
        return;
    }
    order_marks(codes);
    const auto size =
        utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    CHECK(size >= 0, "the text cannot be normalised: %s", utf8proc_errmsg(size));
    for (utf8proc_ssize_t i = 0; i < size; ++i) {
        utf8proc_uint8_t utf8[4];
        const auto bytes = utf8proc_encode_char(codes[static_cast<size_t>(i)], utf8);
        out.append(utf8, utf8 + bytes);
    }
    codes.clear();
}

// The end of the stretch from `pos` that is in form C whatever stands around it. Characters below U+0300, whose first byte
// is 0xcc, are in form C and compose with none before them. With a mark after them they may: so the last one, of at most
// two bytes, is left out unless the text ends with it.
size_t unchanged_end(std::string_view text, size_t pos) {
    const auto is_below = [](unsigned char byte) { return byte < 0xcc; };
    const auto end = static_cast<size_t>(
        std::find_if_not(text.begin() + static_cast<std::ptrdiff_t>(pos), text.end(), is_below) -
        text.begin());
    if (end == text.size() || end == pos) {
        return end;
    }
    const size_t last = static_cast<unsigned char>(text[end - 1]) < 0x80 ? 1 : 2;
    return end - std::min(last, end - pos);
}

} // namespace

std::string to_nfc(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    CodePoints codes; // not composed yet
    for (size_t pos = 0; pos < text.size();) {
        if (const size_t end = unchanged_end(text, pos); end > pos) {
            append_composed(codes, out);
            out += text.substr(pos, end - pos);
            pos = end;
            continue;
        }
        const auto [code, size] = utf8_at(text, pos);
        if (code >= 0) {
            append_decomposed(code, codes);
        } else {
            append_composed(codes, out);
            out += text[pos];
        }
        pos += size;
    }
    append_composed(codes, out);
    return out;
}

} // namespace skintern
