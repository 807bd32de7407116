// bpe_split.h — the pre-split of byte-level BPE: cuts a text into pieces that no token crosses.
//
// Digits stand alone; the rest follows the GPT-2 regular expression, alternatives tried in this order:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// The digits are cut out first, so the expression sees the text between two digits as if nothing followed it:
// the spaces before a digit stay together, and " ?\p{N}+" never has a space. In the terms of the `tokenizers`
// package: Sequence[Digits(individual_digits), ByteLevel(use_regex)].
//
// The classes are those of utf8proc: characters that Unicode assigned after its version are symbols here, and
// may be letters for the package. A byte that is part of no UTF-8 character counts as a symbol.
#pragma once

#include <cstddef>
#include <string_view>

namespace skintern {

// The end of the piece that begins at `pos` < text.size(). Cutting up a whole text takes linear time.
size_t piece_end(std::string_view text, size_t pos);

} // namespace skintern
