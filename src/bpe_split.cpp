// bpe_split.cpp — the regular expression of bpe_split.h, written out by hand.

#include "bpe_split.h"

#include <initializer_list>

#include "utf8.h"

namespace skintern {

namespace {

enum class Kind { letter, digit, space, symbol, end };

struct Character {
    Kind kind;
    size_t size; // bytes
};

// \p{L}, \p{N} and \s of the character at `pos`; a byte that begins no character is a symbol of one byte.
Character character_at(std::string_view text, size_t pos) {
    if (pos >= text.size()) {
        return {Kind::end, 0};
    }
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

// The end of the run of `kind` that begins at `pos`.
size_t run_end(std::string_view text, size_t pos, Kind kind) {
    for (Character c = character_at(text, pos); c.kind == kind; c = character_at(text, pos)) {
        pos += c.size;
    }
    return pos;
}

} // namespace

// The alternatives of the regular expression, in their order.
size_t piece_end(std::string_view text, size_t pos) {
    const Character first = character_at(text, pos);
    if (first.kind == Kind::digit) {
        return pos + first.size;
    }
    if (text[pos] == '\'') {
        for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
            if (text.substr(pos, ending.size()) == ending) {
                return pos + ending.size();
            }
        }
    }
    const size_t word = text[pos] == ' ' ? pos + 1 : pos; // " ?" of the alternatives
    const Kind kind = character_at(text, word).kind;
    if (kind == Kind::letter || kind == Kind::symbol) {
        return run_end(text, word, kind);
    }
    // White space. Before a letter or a symbol "\s+(?!\S)" gives the last one back (a word begins with it if
    // it is a space); a single one has nothing to give and is left to "\s+".
    size_t last = pos;
    size_t end = pos;
    for (Character c = first; c.kind == Kind::space; c = character_at(text, end)) {
        last = end;
        end += c.size;
    }
    const Kind after = character_at(text, end).kind;
    const bool gives_back = (after == Kind::letter || after == Kind::symbol) && last > pos;
    return gives_back ? last : end;
}

} // namespace skintern
