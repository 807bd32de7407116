// bpe_components.h — the components of a tokenizer.json around its BPE model.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "tokenizer/bpe_tables.h"

namespace skintern {

// Both refuse by name what would make the `tokenizers` package encode differently from bpe.cpp.
//
// normalizer, pre_tokenizer and decoder of `root`: sets symbols, prefix, nfc, split, strip_blank.
void read_components(const nlohmann::json& root, const std::string& path, BpeTables& tables);
// post_processor: sets before and after. `ids`: the vocabulary, added tokens included.
void read_post_processor(const nlohmann::json& root, const TokenIds& ids, const std::string& path,
                         BpeTables& tables);

// The components of the tokenizers that train() makes, as they are written.
nlohmann::ordered_json byte_level(bool add_prefix_space);
nlohmann::ordered_json our_pre_tokenizer();

} // namespace skintern
