// keep_labels.h — which words of a summary the teacher would keep: what a trained compressor learns from.
//
// The rule, for a record of a generated task. A word is kept when it carries what the answer needs:
//
//   learning summary         its content words
//   supplementary knowledge  the content words of the facts that this question needs, nothing of the other facts.
//                            Where a task needs no facts of the invented world, all of this text was written for this
//                            very question: its content words
//
// Content words are all but the function words (articles, forms of be and have, prepositions, pronouns, and): names,
// numbers, words for relations, verbs, and what turns a sentence around (not, no, or, if). The rule sees words and not
// their sense: the letter "a" in "a is 1" counts as an article.
//
// LLMLingua-2 (arXiv 2403.12968) has such labels from GPT-4; here they are exact, as the teacher knows the facts.
#pragma once

#include <string>
#include <vector>

#include "tasks/task.h"
#include "tasks/teacher.h"

namespace skintern {

struct LabelledText {
    std::string question;
    std::string text;
    std::vector<bool> keep; // (words of the text)
};

// The label of each word of the record's summary.
std::vector<bool> keep_labels(const Record& record, const World& world);

// The summaries of the records with their questions and labels.
std::vector<LabelledText> label_summaries(const std::vector<Record>& records, const World& world);

// Which words of the record's summary are the names and the value of a fact that its question needs.
std::vector<bool> key_words(const Record& record, const World& world);

} // namespace skintern
