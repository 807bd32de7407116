// keep_labels.h — what the teacher would keep of a summary: the labels from which the compressor's probe learns.
//
// In LLMLingua-2 (Pan et al. 2024) a large model shortens texts, and what it kept are the labels. Here the teacher made the
// question and knows what it needs. A word of the summary is kept when it is a content word (not in a list of function words:
// the, of, is, ...) and stands in
//
//   the learning summary, or
//   a sentence of the supplementary knowledge that the question needs: one about a fact that it needs, or, where the
//   question needs no fact of the world, any sentence: the families of BIG-Bench Hard supply what their question needs.
#pragma once

#include <string>
#include <vector>

#include "teacher.h"

namespace skintern {

// One a word of split_words(record.summary).
std::vector<bool> keep_labels(const Record& record, const World& world);

} // namespace skintern
