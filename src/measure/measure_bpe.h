// measure_bpe.h — the speed of byte-pair encoding: MB/s of encoding a text, seconds of training on it.
#pragma once

#include <string>

namespace skintern {

// Trains a vocabulary of 8192 on the text of `file` (empty: 20 MB of pre-training documents, the same each time), a line
// a document, as `skintern tokenizer` does. Encodes the text as a whole with the tokenizer of `model` (empty: the one
// just trained). Prints one line for each; encoding takes one thread. With `json` one JSON line each.
void measure_bpe(const std::string& model, const std::string& file, bool json);

} // namespace skintern
