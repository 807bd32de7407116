// probe.cpp — see probe.h. Shapes: n words, C channels, D = C + 1 with the bias, which is the weight of a constant 1.
#include "method/probe.h"

#include <algorithm>
#include <cmath>

#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"
#include "tasks/words.h"

namespace skintern {

namespace {

constexpr int64_t kPassTokens = 4096; // tokens of a pass of the model
constexpr double kL2 = 1e-3;          // on weights of standardised features
constexpr int64_t kMaxIterations = 50;
constexpr double kEnough = 1e-9; // what a Newton step must still promise to lower the loss by

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// ---- features ----------------------------------------------------------------------------------------------------

// x_w of every word of every text, one after the other, (n,C). Questions: none, or one a text.
std::vector<real> word_features(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<std::string>& texts,
                                const std::vector<std::string>& questions) {
    const size_t C = static_cast<size_t>(model.config().channels);
    std::vector<real> features;
    for (size_t next = 0; next < texts.size();) {
        Batch batch;
        std::vector<std::vector<int32_t>> ids; // of the texts of this pass, without what is read before them
        const size_t begin = next;
        while (next < texts.size() && (next == begin || batch.tokens() < kPassTokens)) {
            std::vector<int32_t> sequence(bos >= 0 ? 1 : 0, bos);
            if (!questions.empty()) {
                const std::vector<int32_t> question = bpe.encode(questions[next] + "\n");
                sequence.insert(sequence.end(), question.begin(), question.end());
            }
            ids.push_back(bpe.encode(texts[next], EncodeOptions{false, false, !questions.empty()}));
            const int64_t first_row = batch.tokens() + std::ssize(sequence);
            for (int64_t t = 0; t < std::ssize(ids.back()); t++) {
                batch.rows.push_back(static_cast<int32_t>(first_row + t));
            }
            sequence.insert(sequence.end(), ids.back().begin(), ids.back().end());
            batch.add_sequence(sequence);
            next++;
        }
        const std::vector<real> hidden = model.hidden(batch);
        const real* h_t = hidden.data();
        for (size_t i = begin; i < next; i++) {
            const std::vector<std::string> words = split_words(texts[i]);
            const std::vector<size_t> word = word_of_tokens(bpe, words, ids[i - begin]);
            std::vector<real> x(words.size() * C), tokens(words.size());
            for (const size_t w : word) {
                tokens[w]++;
            }
            for (size_t t = 0; t < word.size(); t++, h_t += C) {
                for (size_t c = 0; c < C; c++) {
                    x[word[t] * C + c] += h_t[c] / tokens[word[t]];
                }
            }
            features.insert(features.end(), x.begin(), x.end());
        }
    }
    return features;
}

// ---- logistic regression -----------------------------------------------------------------------------------------

// Mean 0 and variance 1 over the words. A channel that never varies becomes 0 and so gets no weight.
struct Scaling {
    std::vector<double> mean, factor; // (C)

    Scaling(const std::vector<real>& features, size_t n, size_t C) : mean(C), factor(C) {
        std::vector<double> squares(C);
        for (size_t i = 0; i < n * C; i++) {
            const double x = static_cast<double>(features[i]);
            mean[i % C] += x / static_cast<double>(n);
            squares[i % C] += x * x / static_cast<double>(n);
        }
        for (size_t c = 0; c < C; c++) {
            const double variance = squares[c] - mean[c] * mean[c];
            factor[c] = variance > 1e-12 * squares[c] ? 1 / std::sqrt(variance) : 0;
        }
    }
};

// Solves H step = g, with H (D,D) symmetric and positive definite: Cholesky, H = L L^T, in the place of H's lower half.
std::vector<double> solve(std::vector<double> H, std::vector<double> g) {
    const size_t D = g.size();
    for (size_t i = 0; i < D; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = H[i * D + j];
            for (size_t k = 0; k < j; k++) {
                sum -= H[i * D + k] * H[j * D + k];
            }
            H[i * D + j] = i == j ? std::sqrt(sum) : sum / H[j * D + j];
        }
    }
    for (size_t i = 0; i < D; i++) { // L y = g
        for (size_t k = 0; k < i; k++) {
            g[i] -= H[i * D + k] * g[k];
        }
        g[i] /= H[i * D + i];
    }
    for (size_t i = D; i-- > 0;) { // L^T step = y
        for (size_t k = i + 1; k < D; k++) {
            g[i] -= H[k * D + i] * g[k];
        }
        g[i] /= H[i * D + i];
    }
    return g;
}

// The words to learn from: x (n,D) standardised with a last column of ones, label 0 or 1.
struct Problem {
    size_t n, D;
    std::vector<double> x, label;

    double logit(size_t i, const std::vector<double>& w) const {
        double z = 0;
        for (size_t d = 0; d < D; d++) {
            z += w[d] * x[i * D + d];
        }
        return z;
    }

    // 1/n sum_i [ log(1 + exp(z_i)) - label_i z_i ] + kL2/2 |w|^2, the bias left out of the last term.
    double loss(const std::vector<double>& w) const {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            const double z = logit(i, w);
            sum += std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))) - label[i] * z;
        }
        double squares = 0;
        for (size_t d = 0; d + 1 < D; d++) {
            squares += w[d] * w[d];
        }
        return sum / static_cast<double>(n) + kL2 / 2 * squares;
    }

    // g = 1/n sum_i (p_i - label_i) x_i + kL2 w        H = 1/n sum_i p_i (1 - p_i) x_i x_i^T + kL2 I, its lower half
    void derivatives(std::vector<double>& g, std::vector<double>& H, const std::vector<double>& w) const {
        g.assign(D, 0);
        H.assign(D * D, 0);
        for (size_t i = 0; i < n; i++) {
            const double* x_i = &x[i * D];
            const double p = sigmoid(logit(i, w));
            const double slope = (p - label[i]) / static_cast<double>(n);
            const double curvature = p * (1 - p) / static_cast<double>(n);
            for (size_t a = 0; a < D; a++) {
                g[a] += slope * x_i[a];
                const double row = curvature * x_i[a];
                for (size_t b = 0; b <= a; b++) {
                    H[a * D + b] += row * x_i[b];
                }
            }
        }
        for (size_t d = 0; d < D; d++) {
            g[d] += d + 1 < D ? kL2 * w[d] : 0;
            H[d * D + d] += kL2; // of the bias too, so that H is never singular; where g is 0 it changes nothing
        }
    }
};

std::vector<double> minimise(const Problem& problem) {
    std::vector<double> w(problem.D), g, H;
    double loss = problem.loss(w);
    for (int64_t iteration = 0; iteration < kMaxIterations; iteration++) {
        problem.derivatives(g, H, w);
        const std::vector<double> step = solve(H, g);
        double promise = 0; // what the loss falls by for a small share of the step, divided by that share
        for (size_t d = 0; d < step.size(); d++) {
            promise += g[d] * step[d];
        }
        if (!(promise > kEnough)) {
            return w;
        }
        // Far from the minimum a full step may overshoot: halve it until the loss falls as a slope of that kind should.
        for (double share = 1;; share /= 2) {
            std::vector<double> tried = w;
            for (size_t d = 0; d < step.size(); d++) {
                tried[d] -= share * step[d];
            }
            const double new_loss = problem.loss(tried);
            if (new_loss <= loss - 1e-4 * share * promise) {
                w = tried;
                loss = new_loss;
                break;
            }
            CHECK(share > 1e-6, "the probe's training stopped at a loss of %g", loss);
        }
    }
    CHECK(false, "the probe's training found no minimum in %lld steps", static_cast<long long>(kMaxIterations));
}

} // namespace

Probe train_probe(Transformer& model, const Bpe& bpe, int32_t bos, const std::vector<LabelledText>& examples,
                  bool reads_question) {
    std::vector<std::string> texts, questions;
    std::vector<double> label;
    for (const LabelledText& example : examples) {
        texts.push_back(example.text);
        if (reads_question) {
            questions.push_back(example.question);
        }
        const size_t words = split_words(example.text).size();
        CHECK(example.keep.size() == words, "%zu labels for %zu words", example.keep.size(), words);
        label.insert(label.end(), example.keep.begin(), example.keep.end());
    }
    const int64_t kept = std::count(label.begin(), label.end(), 1.0);
    CHECK(kept > 0 && kept < std::ssize(label),
          "a probe learns from words to keep and words to drop, but of %zu words %lld are to be kept", label.size(),
          static_cast<long long>(kept));

    const size_t n = label.size(), C = static_cast<size_t>(model.config().channels), D = C + 1;
    const std::vector<real> features = word_features(model, bpe, bos, texts, questions);
    const Scaling scaling(features, n, C);
    Problem problem{n, D, std::vector<double>(n * D, 1.0), label};
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < C; c++) {
            problem.x[i * D + c] = (static_cast<double>(features[i * C + c]) - scaling.mean[c]) * scaling.factor[c];
        }
    }
    const std::vector<double> w = minimise(problem);

    Probe probe{reads_question, std::vector<double>(C), w[C], fingerprint(model.stored())};
    for (size_t c = 0; c < C; c++) { // w (x - mean) factor = (w factor) x - w factor mean
        probe.weight[c] = w[c] * scaling.factor[c];
        probe.bias -= probe.weight[c] * scaling.mean[c];
    }
    return probe;
}

std::vector<std::vector<double>> keep_probabilities(Transformer& model, const Bpe& bpe, int32_t bos, const Probe& probe,
                                                    const std::vector<std::string>& texts,
                                                    const std::vector<std::string>& questions) {
    const size_t C = static_cast<size_t>(model.config().channels);
    CHECK(probe.weight.size() == C, "the probe has %zu weights, but the model has %zu channels", probe.weight.size(),
          C);
    CHECK(may_be_equal(probe.base, fingerprint(model.stored())), "the probe was trained on another base model");
    CHECK(!probe.reads_question || questions.size() == texts.size(),
          "the probe reads a question before each text, but there are %zu questions for %zu texts", questions.size(),
          texts.size());
    const std::vector<real> features =
        word_features(model, bpe, bos, texts, probe.reads_question ? questions : std::vector<std::string>());
    std::vector<std::vector<double>> out;
    const real* x_w = features.data();
    for (const std::string& text : texts) {
        out.emplace_back();
        for (size_t words = split_words(text).size(); words > 0; words--, x_w += C) {
            double z = probe.bias;
            for (size_t c = 0; c < C; c++) {
                z += probe.weight[c] * static_cast<double>(x_w[c]);
            }
            out.back().push_back(sigmoid(z));
        }
    }
    return out;
}

// ---- file --------------------------------------------------------------------------------------------------------

void save_probe(const std::string& path, const Probe& probe) {
    nlohmann::ordered_json object;
    object["reads_question"] = probe.reads_question;
    object["base_vectors"] = probe.base.vectors;
    object["base_matrices"] = probe.base.matrices;
    object["bias"] = probe.bias;
    object["weight"] = probe.weight;
    write_file(path, dump_json(object, path) + "\n");
}

Probe load_probe(const std::string& path) {
    const nlohmann::json object = parse_json_object(read_file(path), path);
    Probe probe;
    probe.reads_question = as_bool(need_field(object, "reads_question", path), "reads_question", path);
    probe.base.vectors = as_text(need_field(object, "base_vectors", path), "base_vectors", path);
    probe.base.matrices = as_text(need_field(object, "base_matrices", path), "base_matrices", path);
    probe.bias = need_number(object, "bias", path);
    const nlohmann::json& weight = need_field(object, "weight", path);
    CHECK(weight.is_array() && !weight.empty(), "%s: weight is no list of numbers", path.c_str());
    for (const nlohmann::json& number : weight) {
        probe.weight.push_back(as_number(number, format("weight[%zu]", probe.weight.size()), path));
    }
    return probe;
}

} // namespace skintern
