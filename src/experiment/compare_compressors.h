// compare_compressors.h — what of the knowledge each compressor keeps, beside the teacher's labels.
//
// Summaries of generated tasks are shortened to some shares of their words. For each compressor:
//
//   key words  of the names and values of the facts that the question needs, the share that is left
//   labels     of the words that the teacher keeps (keep_labels.h), the share that is left
//   AUC        the probability that a word to keep is ranked before a word to drop of the same text, ties counting
//              half; the mean over texts
//   accuracy   of the words, the share whose label p >= 1/2 tells; probes only
//
// "labels" is the teacher itself: no ranking of words keeps more. "probe+question" reads the question before the text.
#pragma once

#include <iterator>
#include <string>
#include <vector>

#include "method/compress.h"
#include "tasks/task.h"
#include "tasks/teacher.h"

namespace skintern {

inline constexpr double kShares[] = {0.75, 0.5, 0.33, 0.25};
inline constexpr size_t kShareCount = std::size(kShares);

struct CompressorRow {
    std::string name;
    double auc = 0;
    double accuracy = -1; // -1: this compressor has none
    double key_words[kShareCount] = {}, labels[kShareCount] = {};
};

// The five compressors, the question-reading probe and the labels, on `rows`; the probes learn from `train`.
// `context.probe` is not used.
std::vector<CompressorRow> compare_compressors(const RankContext& context, const World& world,
                                               const std::vector<Record>& train, const std::vector<Record>& rows);

// Text with one line a compressor.
std::string compressor_table(const std::vector<CompressorRow>& rows);

// The AUC of one text; -1: its words have all the same label, so that there is nothing to rank.
double ranking_auc(const RankedText& ranked, const std::vector<bool>& keep);

} // namespace skintern
