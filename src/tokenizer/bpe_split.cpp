// bpe_split.cpp — the regular expressions, written out by hand. Alternatives are tried in their order.

#include "tokenizer/bpe_split.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "support/utf8.h"

namespace skintern {

namespace {

enum class Kind : uint8_t { letter, digit, space, symbol, end };

struct Character {
    Kind kind;
    size_t size; // bytes
};

constexpr Kind ascii_kind(int c) {
    const int lower = c | 0x20;
    return lower >= 'a' && lower <= 'z'           ? Kind::letter
           : c >= '0' && c <= '9'                 ? Kind::digit
           : c == ' ' || (c >= '\t' && c <= '\r') ? Kind::space
                                                  : Kind::symbol;
}

constexpr std::array<Kind, 128> kAsciiKinds = [] {
    std::array<Kind, 128> kinds{};
    for (size_t c = 0; c < kinds.size(); ++c) {
        kinds[c] = ascii_kind(static_cast<int>(c));
    }
    return kinds;
}();

// A character beyond ASCII; a byte that begins no character is a symbol of one byte.
Character wide_character_at(std::string_view text, size_t pos) {
    const auto [code, size] = utf8_at(text, pos);
    switch (utf8proc_category(code)) { // of -1: none
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return {Kind::letter, size};
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return {Kind::digit, size};
    default:
        return {is_white_space(code) ? Kind::space : Kind::symbol, size};
    }
}

// \p{L}, \p{N} and \s of the character at `pos`. Of ASCII a table knows them; the rest is asked of utf8proc.
inline Character character_at(std::string_view text, size_t pos) {
    if (pos >= text.size()) {
        return {Kind::end, 0};
    }
    const auto byte = static_cast<unsigned char>(text[pos]);
    return byte < kAsciiKinds.size() ? Character{kAsciiKinds[byte], 1} : wide_character_at(text, pos);
}

// The end of the run of letters that begins at `pos`. Eight bytes at a time while they are ASCII: a loop over single
// ones ends at a length that the processor cannot foresee.
size_t letters_end(std::string_view text, size_t pos) {
    constexpr uint64_t kEach = 0x0101010101010101;
    constexpr uint64_t kHigh = 0x80 * kEach;
    while (text.size() - pos >= 8 && std::endian::native == std::endian::little) {
        uint64_t bytes = 0;
        std::memcpy(&bytes, text.data() + pos, sizeof bytes);
        // The sums carry into a byte's high bit where it is at least 'a', and where it is more than 'z'.
        const uint64_t lower = (bytes | 0x20 * kEach) & ~kHigh;
        const uint64_t from_a = lower + (0x80 - 'a') * kEach;
        const uint64_t beyond_z = lower + (0x80 - 'z' - 1) * kEach;
        const uint64_t others = ~(from_a & ~beyond_z & ~bytes) & kHigh;
        if (others != 0) {
            pos += static_cast<size_t>(std::countr_zero(others) / 8);
            break;
        }
        pos += 8;
    }
    for (Character c = character_at(text, pos); c.kind == Kind::letter; c = character_at(text, pos)) {
        pos += c.size;
    }
    return pos;
}

// The end of the run of `kind` that begins at `pos`, of `most` characters at most.
size_t run_end(std::string_view text, size_t pos, Kind kind, size_t most = SIZE_MAX) {
    for (Character c = character_at(text, pos); c.kind == kind && most > 0; c = character_at(text, pos)) {
        pos += c.size;
        --most;
    }
    return pos;
}

bool is_line_end(char c) {
    return c == '\r' || c == '\n';
}

// ---- parts of the expressions ----------------------------------------------------------------------------

// 's|'t|'re|'ve|'m|'ll|'d; 0: none of them stands at `pos`.
size_t contraction_end(std::string_view text, size_t pos) {
    if (text[pos] != '\'') {
        return 0; // nearly always
    }
    for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
        if (text.substr(pos, ending.size()) == ending) {
            return pos + ending.size();
        }
    }
    return 0;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d). Of all other characters only the long s (U+017F) is one of these letters in another
// case.
size_t any_case_contraction_end(std::string_view text, size_t pos) {
    if (text[pos] != '\'') {
        return 0;
    }
    constexpr std::string_view kLongS = "'\u017f";
    if (text.substr(pos, kLongS.size()) == kLongS) {
        return pos + kLongS.size();
    }
    char lower[3] = {};
    size_t size = 0;
    for (; size < 3 && pos + size < text.size(); ++size) {
        const char c = text[pos + size];
        lower[size] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    const size_t end = contraction_end({lower, size}, 0);
    return end > 0 ? pos + end : 0;
}

// \s+(?!\S)|\s+ : a run of white space gives its last character back to what follows; a single one has nothing to give.
size_t space_end(std::string_view text, size_t pos, bool digit_is_end) {
    size_t last = pos;
    size_t end = pos;
    for (Character c = character_at(text, pos); c.kind == Kind::space; c = character_at(text, end)) {
        last = end;
        end += c.size;
    }
    const Kind after = character_at(text, end).kind;
    const bool at_end = after == Kind::end || (after == Kind::digit && digit_is_end);
    return at_end || last == pos ? end : last;
}

// ---- one function an expression ----------------------------------------------------------------------------

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// `single_digits`: the digits are cut out first, each alone, so the expression sees the text between two digits as if
// nothing followed it: the spaces before a digit stay together, and " ?\p{N}+" never has a space. In the terms of the
// `tokenizers` package: Sequence[Digits(individual_digits), ByteLevel(use_regex)].
size_t gpt2_end(std::string_view text, size_t pos, bool single_digits) {
    const Character first = character_at(text, pos);
    if (single_digits && first.kind == Kind::digit) {
        return pos + first.size;
    }
    if (const size_t end = contraction_end(text, pos)) {
        return end;
    }
    const size_t word = text[pos] == ' ' ? pos + 1 : pos; // " ?" of the alternatives
    const Kind kind = character_at(text, word).kind;
    if (kind == Kind::letter) {
        return letters_end(text, word);
    }
    if (kind == Kind::symbol || (kind == Kind::digit && !single_digits)) {
        return run_end(text, word, kind);
    }
    return space_end(text, pos, single_digits);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// That is Llama 3's; Qwen2's has \p{N} in place of \p{N}{1,3}.
size_t llama3_end(std::string_view text, size_t pos, size_t most_digits) {
    if (const size_t end = any_case_contraction_end(text, pos)) {
        return end;
    }
    const Character first = character_at(text, pos);
    if (first.kind == Kind::letter) {
        return letters_end(text, pos);
    }
    if (first.kind == Kind::digit) {
        return run_end(text, pos, Kind::digit, most_digits);
    }
    if (!is_line_end(text[pos]) && character_at(text, pos + first.size).kind == Kind::letter) {
        return letters_end(text, pos + first.size);
    }
    const size_t word = text[pos] == ' ' ? pos + 1 : pos;
    if (character_at(text, word).kind == Kind::symbol) {
        size_t end = run_end(text, word, Kind::symbol);
        while (end < text.size() && is_line_end(text[end])) {
            ++end;
        }
        return end;
    }
    // "\s*[\r\n]+": as far as the last line end of the white space.
    const size_t spaces = run_end(text, pos, Kind::space);
    for (size_t end = spaces; end > pos; --end) {
        if (is_line_end(text[end - 1])) {
            return end;
        }
    }
    return space_end(text, pos, false);
}

constexpr std::string_view kMark = "\u2581"; // ▁

size_t blank_mark_end(std::string_view text, size_t pos) {
    const size_t next = text.find(kMark, pos + 1); // the mark at `pos` itself begins this piece
    return next == std::string_view::npos ? text.size() : next;
}

// ▁*[^▁]*
size_t mark_run_end(std::string_view text, size_t pos) {
    while (text.substr(pos, kMark.size()) == kMark) {
        pos += kMark.size();
    }
    return std::min(text.find(kMark, pos), text.size());
}

} // namespace

size_t piece_end(PreSplit split, std::string_view text, size_t pos) {
    switch (split) {
    case PreSplit::gpt2_digits:
        return gpt2_end(text, pos, true);
    case PreSplit::gpt2:
        return gpt2_end(text, pos, false);
    case PreSplit::llama3:
        return llama3_end(text, pos, 3);
    case PreSplit::qwen2:
        return llama3_end(text, pos, 1);
    case PreSplit::blank_marks:
        return blank_mark_end(text, pos);
    case PreSplit::mark_runs:
        return mark_run_end(text, pos);
    case PreSplit::whole:
        break;
    }
    return text.size();
}

} // namespace skintern
