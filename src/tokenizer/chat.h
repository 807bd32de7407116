// chat.h — a user's message between the turn markers of the model's own chat template.
#pragma once

#include <string>

#include "tokenizer/bpe.h"

namespace skintern {

// The text of one user's turn as the model was trained to see it, with its default system message if it has one, up to
// where its answer begins. To be encoded with parse_special and without add_special: where the family has BOS, the text
// begins with it. Throws Error when the tokenizer is of no family that is known here.
std::string apply_chat(const Bpe& bpe, const std::string& user);

} // namespace skintern
