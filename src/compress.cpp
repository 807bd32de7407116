// compress.cpp — see compress.h.
#include "compress.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "check.h"
#include "keep_labels.h"

namespace skintern {

namespace {

constexpr int64_t kScoreTokens = 4096; // tokens of a scoring pass

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// The word to which each token of a text belongs: the one in which its last byte stands (its first may be the space before
// the word).
std::vector<size_t> word_of_tokens(const Bpe& bpe, const std::vector<std::string>& words, const std::vector<int32_t>& ids) {
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
    std::vector<size_t> out;
    for (const int32_t id : ids) {
        byte += static_cast<int64_t>(bpe.token_bytes(id).size());
        while (word + 1 < words.size() && byte > word_end) {
            word++;
            word_end += static_cast<int64_t>(words[word].size());
        }
        out.push_back(word);
    }
    return out;
}

// Means over the tokens of each word of `width` numbers a token: (words,width).
std::vector<double> word_means(const std::vector<size_t>& word_of, size_t words, const real* of_token, size_t width) {
    std::vector<double> means(words * width, 0.0);
    std::vector<double> count(words, 0.0);
    for (size_t t = 0; t < word_of.size(); t++) {
        count[word_of[t]]++;
        for (size_t c = 0; c < width; c++) {
            means[word_of[t] * width + c] += static_cast<double>(of_token[t * width + c]);
        }
    }
    for (size_t i = 0; i < means.size(); i++) {
        means[i] /= std::max(1.0, count[i / width]);
    }
    return means;
}

bool ends_sentence(const std::string& word) { return word.ends_with(".") || word.ends_with("!") || word.ends_with("?"); }

// Sentences by their mean score. All words of one have the rank of its last, so that it is kept as a whole or not at all.
RankedText rank_sentences(const std::string& text, const std::vector<double>& scores) {
    struct Sentence {
        double mean;
        size_t begin, end;
    };
    RankedText ranked;
    ranked.words = split_words(text);
    ranked.rank.resize(ranked.words.size());
    std::vector<Sentence> sentences;
    for (size_t begin = 0, end = 0; begin < ranked.words.size(); begin = end) {
        double sum = 0;
        do {
            sum += scores[end];
        } while (!ends_sentence(ranked.words[end++]) && end < ranked.words.size());
        sentences.push_back({sum / static_cast<double>(end - begin), begin, end});
    }
    std::stable_sort(sentences.begin(), sentences.end(), [](const Sentence& a, const Sentence& b) { return a.mean > b.mean; });
    int64_t words = 0;
    for (const Sentence& sentence : sentences) {
        words += static_cast<int64_t>(sentence.end - sentence.begin);
        std::fill(ranked.rank.begin() + static_cast<int64_t>(sentence.begin),
                  ranked.rank.begin() + static_cast<int64_t>(sentence.end), words - 1);
    }
    return ranked;
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

std::vector<std::vector<double>> word_information(Transformer& model, const Bpe& bpe, int32_t bos,
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
            const std::vector<std::string> words = split_words(texts[i]);
            out.push_back(word_means(word_of_tokens(bpe, words, tokens), words.size(), information.data(), 1));
        }
    }
    return out;
}

std::vector<float> word_states(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<std::string>& texts) {
    const size_t C = static_cast<size_t>(model.config().channels);
    std::vector<float> out;
    for (const std::string& text : texts) {
        const std::vector<int32_t> tokens = bpe.encode(text);
        const std::vector<std::string> words = split_words(text);
        if (tokens.empty()) {
            continue;
        }
        std::vector<int32_t> ids(bos >= 0 ? 1 : 0, bos);
        ids.insert(ids.end(), tokens.begin(), tokens.end());
        Batch batch;
        for (size_t t = ids.size() - tokens.size(); t < ids.size(); t++) {
            batch.rows.push_back(static_cast<int32_t>(t));
        }
        batch.add_sequence(ids);
        const std::vector<real> states = model.states(batch);
        for (const double mean : word_means(word_of_tokens(bpe, words, tokens), words.size(), states.data(), C)) {
            out.push_back(static_cast<float>(mean));
        }
    }
    return out;
}

Probe train_word_probe(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<Record>& records,
                       const World& world) {
    std::vector<std::string> texts;
    std::vector<bool> labels;
    const size_t step = std::max<size_t>(1, records.size() / static_cast<size_t>(kProbeRows));
    for (size_t i = 0; i < records.size(); i += step) {
        texts.push_back(records[i].summary);
        for (const bool keep : keep_labels(records[i], world)) {
            labels.push_back(keep);
        }
    }
    return train_probe(word_states(model, bpe, bos, texts), labels, model.config().channels);
}

std::vector<RankedText> rank_texts(const std::string& compressor, const Ranker& ranker,
                                   const std::vector<std::string>& texts) {
    std::vector<RankedText> out;
    if (compressor == "information" || compressor == "sentences") {
        const std::vector<std::vector<double>> scores =
            word_information(*ranker.model, *ranker.bpe, ranker.bos, texts);
        for (size_t i = 0; i < texts.size(); i++) {
            out.push_back(compressor == "information" ? rank_words(texts[i], scores[i]) : rank_sentences(texts[i], scores[i]));
        }
    } else if (compressor == "probe") {
        CHECK(ranker.probe != nullptr, "the compressor probe needs a probe");
        const size_t C = static_cast<size_t>(ranker.model->config().channels);
        CHECK(ranker.probe->weight.size() == C, "the probe is for %zu channels, the model has %zu", ranker.probe->weight.size(), C);
        const std::vector<float> states = word_states(*ranker.model, *ranker.bpe, ranker.bos, texts);
        const float* h = states.data();
        for (const std::string& text : texts) {
            std::vector<double> scores(split_words(text).size());
            for (double& score : scores) {
                score = ranker.probe->probability(h);
                h += C;
            }
            out.push_back(rank_words(text, scores));
        }
    } else {
        CHECK(compressor == "random" || compressor == "head",
              "--compressor is \"%s\": known are information, probe, sentences, head, random", compressor.c_str());
        Rng rng(ranker.seed, "compressor");
        for (const std::string& text : texts) {
            std::vector<double> scores(split_words(text).size(), 0.0); // ties keep the earlier word
            for (double& score : scores) {
                score = compressor == "random" ? rng.uniform() : 0.0;
            }
            out.push_back(rank_words(text, scores));
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
