// bpe_split.h — the pre-split: cuts a text into pieces that no token crosses, as each model's own regular expression
// does.
//
// The classes are those of utf8proc: characters that Unicode assigned after its version are symbols here, and
// may be letters for the package. A byte that is part of no UTF-8 character counts as a symbol.
#pragma once

#include <cstddef>
#include <string_view>

namespace skintern {

enum class PreSplit {
    gpt2_digits, // SmolLM2 and our own: digits stand alone, then GPT-2's expression
    gpt2,
    llama3,      // numbers in threes, line ends with the symbols before them
    qwen2,       // as Llama 3, digits singly
    blank_marks, // SentencePiece in newer files: a piece begins at each ▁
    whole,       // SentencePiece: the text is one piece
    mark_runs,   // whole, where no token reaches from another character into a ▁: cut there, which changes nothing
};

// The end of the piece that begins at `pos` < text.size(). Cutting up a whole text takes linear time.
size_t piece_end(PreSplit split, std::string_view text, size_t pos);

} // namespace skintern
