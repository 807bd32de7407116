// compress.cpp — see compress.h.
#include "method/compress.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/check.h"
#include "support/rng.h"

namespace skintern {

namespace {

constexpr int64_t kScoreTokens = 4096; // tokens of a scoring pass

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// Scores of one text's words from the losses of its tokens. losses[t] belongs to token t.
std::vector<double> word_scores(const Bpe& bpe, const std::vector<std::string>& words,
                                const std::vector<int32_t>& ids, const std::vector<real>& losses) {
    std::vector<double> scores(words.size(), 0.0);
    std::vector<int64_t> counts(words.size(), 0);
    const std::vector<size_t> word = word_of_tokens(bpe, words, ids);
    for (size_t t = 0; t < word.size(); t++) {
        scores[word[t]] += static_cast<double>(losses[t]);
        counts[word[t]]++;
    }
    for (size_t w = 0; w < words.size(); w++) {
        scores[w] /= static_cast<double>(std::max<int64_t>(1, counts[w]));
    }
    return scores;
}

// The mean self-information of each word of each text.
std::vector<std::vector<double>> information_scores(Transformer& model, const Bpe& bpe, int32_t bos,
                                                    const std::vector<std::string>& texts) {
    const real unknown = std::log(static_cast<real>(model.config().vocab)); // as if every token were as likely
    std::vector<std::vector<double>> out;
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
            out.push_back(word_scores(bpe, split_words(texts[i]), tokens, information));
        }
    }
    return out;
}

// Whole sentences, the least informative first: all words of a sentence have the rank of its last place, so that it
// stays only where there is room for all of it.
RankedText rank_sentences(const std::string& text, const std::vector<double>& information) {
    RankedText ranked{split_words(text), std::vector<int64_t>(information.size())};
    const std::vector<size_t> sentence = sentence_of_words(ranked.words);
    const size_t n = sentence.empty() ? 0 : sentence.back() + 1;
    std::vector<double> sum(n);
    std::vector<int64_t> words(n);
    for (size_t w = 0; w < sentence.size(); w++) {
        sum[sentence[w]] += information[w];
        words[sentence[w]]++;
    }
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return sum[a] / static_cast<double>(words[a]) > sum[b] / static_cast<double>(words[b]);
    });
    std::vector<int64_t> last_place(n);
    int64_t places = 0;
    for (const size_t s : order) {
        places += words[s];
        last_place[s] = places - 1;
    }
    for (size_t w = 0; w < sentence.size(); w++) {
        ranked.rank[w] = last_place[sentence[w]];
    }
    return ranked;
}

// Scores that do not look at what the words say.
std::vector<double> head_scores(size_t words) {
    std::vector<double> scores(words);
    for (size_t w = 0; w < words; w++) {
        scores[w] = -static_cast<double>(w);
    }
    return scores;
}

std::vector<double> random_scores(const std::string& text, uint64_t seed) {
    Rng rng(seed, text); // a text is shortened alike wherever it stands
    std::vector<double> scores(split_words(text).size());
    for (double& score : scores) {
        score = rng.uniform();
    }
    return scores;
}

} // namespace

void check_compressor(const std::string& name) {
    std::string known;
    for (const char* compressor : kCompressors) {
        known += (known.empty() ? "" : ", ") + std::string(compressor);
    }
    CHECK(std::find(std::begin(kCompressors), std::end(kCompressors), name) != std::end(kCompressors),
          "there is no compressor \"%s\"; there are %s", name.c_str(), known.c_str());
}

std::vector<RankedText> rank_texts(const std::string& compressor, const RankContext& context,
                                   const std::vector<std::string>& texts, const std::vector<std::string>& questions) {
    check_compressor(compressor);
    CHECK(compressor != "probe" || context.probe != nullptr, "the compressor \"probe\" needs a trained probe");
    std::vector<std::vector<double>> scores;
    if (compressor == "probe") {
        scores = keep_probabilities(context.model, context.bpe, context.bos, *context.probe, texts, questions);
    } else if (compressor == "information" || compressor == "sentences") {
        scores = information_scores(context.model, context.bpe, context.bos, texts);
    }
    std::vector<RankedText> out;
    for (size_t i = 0; i < texts.size(); i++) {
        if (compressor == "sentences") {
            out.push_back(rank_sentences(texts[i], scores[i]));
        } else if (compressor == "random") {
            out.push_back(rank_words(texts[i], random_scores(texts[i], context.seed)));
        } else if (compressor == "head") {
            out.push_back(rank_words(texts[i], head_scores(split_words(texts[i]).size())));
        } else {
            out.push_back(rank_words(texts[i], scores[i]));
        }
    }
    return out;
}

std::vector<RankedText> rank_by_information(Transformer& model, const Bpe& bpe, int32_t bos,
                                            const std::vector<std::string>& texts) {
    return rank_texts("information", {model, bpe, bos, nullptr, 0}, texts);
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

std::vector<bool> kept_words(const RankedText& text, double keep) {
    const double n = static_cast<double>(text.words.size());
    const int64_t room = static_cast<int64_t>(std::ceil(std::clamp(keep, 0.0, 1.0) * n - 1e-9));
    std::vector<bool> kept;
    for (const int64_t rank : text.rank) {
        kept.push_back(rank < room);
    }
    return kept;
}

std::string shorten(const RankedText& text, double keep) {
    const std::vector<bool> kept = kept_words(text, keep);
    std::string out;
    for (size_t w = 0; w < text.words.size(); w++) {
        out += kept[w] ? text.words[w] : "";
    }
    // The first kept word brings the white space that stood before it.
    const bool whole = std::find(kept.begin(), kept.end(), false) == kept.end();
    size_t begin = 0;
    while (!whole && begin < out.size() && is_space(out[begin])) {
        begin++;
    }
    return out.substr(begin);
}

} // namespace skintern
