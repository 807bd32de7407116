// bpe_normalize.h — Unicode's normalization form C.
#pragma once

#include <string>
#include <string_view>

namespace skintern {

// `text` in form C. Bytes that are no UTF-8 stay as they are, and nothing is composed across them. Takes O(n log n) on
// any text: utf8proc's own ordering of combining marks is quadratic in the length of a run of them, so here only its
// tables and its composition are used.
std::string to_nfc(std::string_view text);

} // namespace skintern
