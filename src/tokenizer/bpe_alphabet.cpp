// bpe_alphabet.cpp — how the files of tokenizers write bytes and blanks.

#include <utf8proc.h>

#include "support/utf8.h"
#include "tokenizer/bpe_tables.h"

namespace skintern {

const ByteAlphabet& byte_alphabet() {
    static const ByteAlphabet alphabet = [] {
        const auto printable = [](int b) {
            return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        };
        ByteAlphabet a;
        size_t place = 0;
        int next = 0x100;
        for (const bool visible : {true, false}) {
            for (int b = 0; b < 256; ++b) {
                if (printable(b) != visible) {
                    continue;
                }
                utf8proc_uint8_t utf8[4];
                const auto size = utf8proc_encode_char(visible ? b : next++, utf8);
                a.order[place++] = b;
                a.letter[static_cast<size_t>(b)].assign(utf8, utf8 + size);
                a.byte[a.letter[static_cast<size_t>(b)]] = static_cast<char>(b);
            }
        }
        return a;
    }();
    return alphabet;
}

std::string to_letters(std::string_view bytes) {
    std::string text;
    for (const char b : bytes) {
        text += byte_alphabet().letter[static_cast<unsigned char>(b)];
    }
    return text;
}

bool from_letters(const std::string& text, std::string& bytes) {
    bytes.clear();
    for (size_t pos = 0; pos < text.size();) {
        const size_t size = static_cast<unsigned char>(text[pos]) < 0x80 ? 1 : 2; // all 256 take at most two
        const auto found = byte_alphabet().byte.find(text.substr(pos, size));
        if (found == byte_alphabet().byte.end()) {
            return false;
        }
        bytes += found->second;
        pos += size;
    }
    return true;
}

std::string blanks_to_marks(std::string_view text) {
    std::string out;
    for (const char c : text) {
        c == ' ' ? out += kBlankMark : out += c;
    }
    return out;
}

std::string marks_to_blanks(std::string_view text) {
    std::string out;
    for (size_t pos = 0; pos < text.size();) {
        const bool mark = text.substr(pos, kBlankMark.size()) == kBlankMark;
        out += mark ? ' ' : text[pos];
        pos += mark ? kBlankMark.size() : 1;
    }
    return out;
}

int byte_of_token(std::string_view token) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') {
        return -1;
    }
    const size_t high = kDigits.find(token[3]);
    const size_t low = kDigits.find(token[4]);
    return high < 16 && low < 16 ? static_cast<int>(high * 16 + low) : -1;
}

void add_sentencepiece_token(const std::string& text, int32_t id, bool is_byte, BpeTables& tables) {
    const int byte = is_byte ? byte_of_token(text) : -1;
    if (byte >= 0) {
        tables.tokens[static_cast<size_t>(id)] = std::string(1, static_cast<char>(byte));
        tables.byte_ids[static_cast<size_t>(byte)] = id;
        return;
    }
    tables.tokens[static_cast<size_t>(id)] = marks_to_blanks(text);
    if (!text.empty() && utf8_at(text, 0).size == text.size()) {
        tables.characters[text] = id;
    }
}

void cut_at_marks_if_none_cross(BpeTables& tables) {
    // Not where a cut would tell: a piece that is a token is taken whole; an unknown ▁ may be one with an unknown character
    // before it; and where unknown characters are left out, the ▁ on both sides of one are neighbours.
    const bool left_out = !tables.byte_fallback && tables.unknown < 0;
    if (tables.split != PreSplit::whole || !tables.whole_pieces.empty() || left_out ||
        tables.characters.count(std::string(kBlankMark)) == 0) {
        return;
    }
    bool crossed = false;
    tables.ranks.for_each([&](const Pair&, const RankedMerge& merge) {
        const std::string& token =
            tables.tokens[static_cast<size_t>(merge.result)]; // with blanks for the marks
        const size_t word = token.find_first_not_of(' ');
        crossed = crossed || (word != std::string::npos && token.find(' ', word) != std::string::npos);
    });
    tables.split = crossed ? PreSplit::whole : PreSplit::mark_runs;
}

} // namespace skintern
