// compare_compressors.cpp — see compare_compressors.h.
#include "experiment/compare_compressors.h"

#include <algorithm>

#include "support/check.h"

namespace skintern {

namespace {

// What is measured on: texts with what is known of their words.
struct Sheet {
    std::vector<std::string> texts, questions;
    std::vector<std::vector<bool>> labels, keys;
};

Sheet make_sheet(const std::vector<Record>& rows, const World& world) {
    Sheet sheet;
    for (const Record& row : rows) {
        sheet.texts.push_back(row.summary);
        sheet.questions.push_back(row.instruction);
        sheet.labels.push_back(keep_labels(row, world));
        sheet.keys.push_back(key_words(row, world));
    }
    return sheet;
}

// Of the marked words of all texts, the share that shorten() leaves.
double share_left(const std::vector<RankedText>& ranked, const std::vector<std::vector<bool>>& marked, double keep) {
    int64_t all = 0, left = 0;
    for (size_t i = 0; i < ranked.size(); i++) {
        const std::vector<bool> kept = kept_words(ranked[i], keep);
        for (size_t w = 0; w < kept.size(); w++) {
            all += marked[i][w] ? 1 : 0;
            left += marked[i][w] && kept[w] ? 1 : 0;
        }
    }
    return all > 0 ? static_cast<double>(left) / static_cast<double>(all) : 0;
}

CompressorRow measure(const std::string& name, const std::vector<RankedText>& ranked, const Sheet& sheet) {
    CompressorRow row;
    row.name = name;
    int64_t texts = 0;
    for (size_t i = 0; i < ranked.size(); i++) {
        const double auc = ranking_auc(ranked[i], sheet.labels[i]);
        row.auc += auc >= 0 ? auc : 0;
        texts += auc >= 0 ? 1 : 0;
    }
    row.auc /= static_cast<double>(std::max<int64_t>(1, texts));
    for (size_t k = 0; k < kShareCount; k++) {
        row.key_words[k] = share_left(ranked, sheet.keys, kShares[k]);
        row.labels[k] = share_left(ranked, sheet.labels, kShares[k]);
    }
    return row;
}

double accuracy(const std::vector<std::vector<double>>& probability, const std::vector<std::vector<bool>>& labels) {
    int64_t words = 0, right = 0;
    for (size_t i = 0; i < labels.size(); i++) {
        for (size_t w = 0; w < labels[i].size(); w++) {
            words++;
            right += (probability[i][w] >= 0.5) == labels[i][w] ? 1 : 0;
        }
    }
    return static_cast<double>(right) / static_cast<double>(std::max<int64_t>(1, words));
}

} // namespace

double ranking_auc(const RankedText& ranked, const std::vector<bool>& keep) {
    double pairs = 0, right = 0;
    for (size_t a = 0; a < keep.size(); a++) {
        for (size_t b = 0; b < keep.size(); b++) {
            if (keep[a] && !keep[b]) {
                pairs++;
                right += ranked.rank[a] < ranked.rank[b] ? 1 : ranked.rank[a] == ranked.rank[b] ? 0.5 : 0;
            }
        }
    }
    return pairs > 0 ? right / pairs : -1;
}

std::vector<CompressorRow> compare_compressors(const RankContext& context, const World& world,
                                               const std::vector<Record>& train, const std::vector<Record>& rows) {
    const Sheet sheet = make_sheet(rows, world);
    const std::vector<LabelledText> examples = label_summaries(train, world);
    std::vector<CompressorRow> out;
    for (const bool reads_question : {true, false}) {
        const Probe probe = train_probe(context.model, context.bpe, context.bos, examples, reads_question);
        RankContext with_probe = context;
        with_probe.probe = &probe;
        out.push_back(measure(reads_question ? "probe+question" : "probe",
                              rank_texts("probe", with_probe, sheet.texts, sheet.questions), sheet));
        out.back().accuracy = accuracy(
            keep_probabilities(context.model, context.bpe, context.bos, probe, sheet.texts, sheet.questions),
            sheet.labels);
    }
    for (const char* name : kCompressors) {
        if (std::string(name) != "probe") {
            out.push_back(measure(name, rank_texts(name, context, sheet.texts), sheet));
        }
    }
    std::vector<RankedText> by_label;
    for (size_t i = 0; i < sheet.texts.size(); i++) {
        by_label.push_back(rank_words(sheet.texts[i], {sheet.labels[i].begin(), sheet.labels[i].end()}));
    }
    out.push_back(measure("labels", by_label, sheet));
    return out;
}

std::string compressor_table(const std::vector<CompressorRow>& rows) {
    std::string text = "                                key words of needed facts, %    words the teacher keeps, %\n";
    text += "compressor        AUC  accuracy";
    for (int column = 0; column < 2; column++) {
        for (const double share : kShares) {
            text += format("%7.2f", share);
        }
        text += column == 0 ? "    " : "\n";
    }
    for (const CompressorRow& row : rows) {
        text += format("%-14s  %5.3f  %8s", row.name.c_str(), row.auc,
                       row.accuracy < 0 ? "" : format("%.1f %%", 100 * row.accuracy).c_str());
        for (const double share : row.key_words) {
            text += format("%7.1f", 100 * share);
        }
        text += "    ";
        for (const double share : row.labels) {
            text += format("%7.1f", 100 * share);
        }
        text += "\n";
    }
    return text;
}

} // namespace skintern
