// compress.cpp — see compress.h.
#include "compress.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "check.h"

namespace skintern {

namespace {

constexpr int64_t kScoreTokens = 4096; // tokens of a scoring pass

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// Scores of one text's words from the losses of its tokens. losses[t] belongs to token t.
std::vector<double> word_scores(const Bpe& bpe, const std::vector<std::string>& words,
                                const std::vector<int32_t>& ids, const std::vector<real>& losses) {
    std::vector<double> scores(words.size(), 0.0);
    std::vector<int64_t> counts(words.size(), 0);
    size_t word = 0;
    int64_t word_end = words.empty() ? 0 : static_cast<int64_t>(words[0].size());
    // Tokens may say more than the text: SentencePiece puts a blank before it.
    int64_t byte = 0;
    for (const std::string& w : words) {
        byte += static_cast<int64_t>(w.size());
    }
    for (const int32_t id : ids) {
        byte -= static_cast<int64_t>(bpe.token_bytes(id).size());
    }
    for (size_t t = 0; t < ids.size(); t++) {
        // A token belongs to the word in which its last byte stands (its first may be the space before the word).
        byte += static_cast<int64_t>(bpe.token_bytes(ids[t]).size());
        while (word + 1 < words.size() && byte > word_end) {
            word++;
            word_end += static_cast<int64_t>(words[word].size());
        }
        scores[word] += static_cast<double>(losses[t]);
        counts[word]++;
    }
    for (size_t w = 0; w < words.size(); w++) {
        scores[w] /= static_cast<double>(std::max<int64_t>(1, counts[w]));
    }
    return scores;
}

} // namespace

std::vector<std::string> split_words(const std::string& text) {
    std::vector<std::string> words;
    size_t i = 0;
    while (i < text.size()) {
        const size_t begin = i;
        while (i < text.size() && is_space(text[i])) {
            i++;
        }
        while (i < text.size() && !is_space(text[i])) {
            i++;
        }
        words.push_back(text.substr(begin, i - begin));
    }
    return words;
}

RankedText rank_words(const std::string& text, const std::vector<double>& scores) {
    RankedText ranked;
    ranked.words = split_words(text);
    CHECK(scores.size() == ranked.words.size(), "%zu scores for %zu words", scores.size(), ranked.words.size());
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    ranked.rank.resize(scores.size());
    for (size_t r = 0; r < order.size(); r++) {
        ranked.rank[order[r]] = static_cast<int64_t>(r);
    }
    return ranked;
}

std::vector<RankedText> rank_by_information(Transformer& model, const Bpe& bpe, int32_t bos,
                                            const std::vector<std::string>& texts) {
    const real unknown = std::log(static_cast<real>(model.config().vocab)); // as if every token were as likely
    std::vector<RankedText> out;
    size_t next = 0;
    while (next < texts.size()) {
        Batch batch;
        std::vector<std::vector<int32_t>> ids; // of each text, BOS in front where there is one
        const size_t begin = next;
        while (next < texts.size() && (next == begin || batch.tokens() < kScoreTokens)) {
            ids.emplace_back(bos >= 0 ? 1 : 0, bos);
            const std::vector<int32_t> text = bpe.encode(texts[next++]);
            ids.back().insert(ids.back().end(), text.begin(), text.end());
            for (size_t t = 0; t + 1 < ids.back().size(); t++) {
                batch.rows.push_back(static_cast<int32_t>(batch.tokens() + static_cast<int64_t>(t)));
                batch.targets.push_back(ids.back()[t + 1]);
            }
            batch.add_sequence(ids.back());
        }
        const std::vector<real> losses = model.losses(batch);
        auto of_text = losses.begin();
        for (size_t i = begin; i < next; i++) {
            std::vector<int32_t>& tokens = ids[i - begin];
            const int64_t scored = std::max<int64_t>(0, static_cast<int64_t>(tokens.size()) - 1);
            std::vector<real> information(of_text, of_text + scored);
            of_text += scored;
            if (bos >= 0) {
                tokens.erase(tokens.begin());
            } else if (!tokens.empty()) {
                information.insert(information.begin(), unknown); // nothing stands before the first token
            }
            out.push_back(rank_words(texts[i], word_scores(bpe, split_words(texts[i]), tokens, information)));
        }
    }
    return out;
}

std::string shorten(const RankedText& text, double keep) {
    const double n = static_cast<double>(text.words.size());
    const int64_t kept = static_cast<int64_t>(std::ceil(std::clamp(keep, 0.0, 1.0) * n - 1e-9));
    std::string out;
    for (size_t w = 0; w < text.words.size(); w++) {
        if (text.rank[w] < kept) {
            out += text.words[w];
        }
    }
    // The first kept word brings the white space that stood before it.
    size_t begin = 0;
    while (kept < static_cast<int64_t>(text.words.size()) && begin < out.size() && is_space(out[begin])) {
        begin++;
    }
    return out.substr(begin);
}

} // namespace skintern
