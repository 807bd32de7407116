// base_model.cpp — see base_model.h.
#include "pretraining/base_model.h"

#include <cmath>

#include "model/checkpoint.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "tasks/teacher.h"

namespace skintern {

namespace {

constexpr int64_t kDocumentsARow = 3;

Bpe make_tokenizer(const BaseConfig& config, const std::string& path, bool resume) {
    if (resume && file_exists(path)) {
        return Bpe::load(path);
    }
    say(format("tokenizer: %lld tokens from %lld documents", static_cast<long long>(config.model.vocab),
               static_cast<long long>(config.tokenizer_documents)));
    std::vector<std::string> documents;
    for (int64_t i = 0; i < config.tokenizer_documents; i++) {
        documents.push_back(pretraining_document(config.seed, i));
    }
    BpeTrainConfig bpe_config;
    bpe_config.vocab_size = config.model.vocab;
    Bpe bpe = Bpe::train(documents, bpe_config);
    bpe.save(path);
    return bpe;
}

// From `first` at share 0 to `last` at share 1, in equal ratios.
int64_t grow(double first, double last, double share) { return std::llround(first * std::pow(last / first, share)); }

// Random tokens said twice, other random tokens before them; only the second saying is labelled. Predicting it is the
// look-up in its purest form: find where this token stood before, and say what followed. `grown` (0 to 1): from 8 of 32
// different tokens with nothing before them, which a model learns in a hundred updates, to 100 of the whole vocabulary.
Sample echo_row(const BaseConfig& config, int64_t k, double grown) {
    Rng rng(config.seed + static_cast<uint64_t>(k), "echo");
    const int64_t longest = grow(8, 100, grown);
    const int64_t different = grow(32, static_cast<double>(config.model.vocab - 1), grown);
    const int64_t most_before = std::llround(60 * grown);
    std::vector<int32_t> said(static_cast<size_t>(rng.between(3, longest)));
    std::vector<int32_t> before(static_cast<size_t>(rng.between(0, most_before)));
    for (std::vector<int32_t>* part : {&before, &said}) {
        for (int32_t& token : *part) {
            token = static_cast<int32_t>(rng.between(1, different));
        }
    }
    Sample sample;
    sample.ids = before;
    sample.ids.insert(sample.ids.end(), said.begin(), said.end());
    sample.prompt_tokens = static_cast<int64_t>(sample.ids.size());
    sample.ids.insert(sample.ids.end(), said.begin(), said.end());
    return sample;
}

// One to kDocumentsARow documents end to end, each seen once: prompts with examples are several times as long as a
// document, and a model only knows positions that it has been trained on.
Sample document_row(const BaseConfig& config, const Bpe& bpe, int64_t k) {
    Sample sample;
    sample.prompt_tokens = 1; // the first token is not predicted, everything after it is
    for (int64_t d = 0; d <= k % kDocumentsARow; d++) {
        const std::vector<int32_t> ids = bpe.encode(pretraining_document(config.seed, k * kDocumentsARow + d));
        sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
        sample.ids.push_back(bpe.eos());
    }
    return sample;
}

} // namespace

BaseConfig tiny_base_config() {
    BaseConfig config;
    config.model.layers = 4;
    config.model.channels = 160;
    config.model.heads = 5;
    config.model.kv_heads = 5;
    config.model.head_size = 32;
    config.model.ffn = 432;
    config.model.vocab = 2048;
    config.model.max_positions = 4096;
    config.model.rope_theta = 1000; // prompts are a thousand tokens at most
    config.model.tied = false;
    config.model.eos = 0;
    config.train.adamw.lr = 2e-3;
    config.train.adamw.beta2 = 0.98;
    config.train.adamw.weight_decay = 0.01;
    config.train.adamw.warmup_ratio = 0.02;
    config.train.batch_size = 6;
    config.train.save_steps = 200;
    return config;
}

void make_base_model(Kernels& kernels, const BaseConfig& config, const std::string& folder, bool resume) {
    make_folder(folder);
    if (resume && file_exists(folder + "/model.safetensors")) {
        return;
    }
    const Bpe bpe = make_tokenizer(config, folder + "/tokenizer.json", resume);
    ModelConfig model_config = config.model;
    model_config.vocab = bpe.vocab_size();
    model_config.eos = bpe.eos();
    LoraConfig no_adapter;
    no_adapter.r = 0;
    Transformer model(kernels, model_config, Train::everything, no_adapter);
    Rng rng(config.seed, "base weights");
    model.init_weights(rng);

    BaseConfig settled = config; // the vocabulary may have come out smaller
    settled.model = model_config;
    const int64_t echo_rows = config.echo_updates * config.echo_batch_size;
    TrainRun echo;
    echo.folder = folder + "/echo";
    echo.label = "pre-training, echo";
    echo.config = config.train;
    echo.config.batch_size = config.echo_batch_size;
    echo.config.adamw.lr_scheduler = "constant";
    echo.stage_updates = {config.echo_updates};
    echo.rows_of = [&](int64_t) {
        return [&](int64_t k) {
            return Row{echo_row(settled, k, static_cast<double>(k) / static_cast<double>(echo_rows))};
        };
    };
    train(model, echo, resume);

    // Every second row is an echo still, a short one: a quarter of the tokens.
    TrainRun text;
    text.folder = folder;
    text.label = "pre-training, text";
    text.config = config.train;
    text.stage_updates = {config.updates};
    text.rows_of = [&](int64_t) {
        return [&](int64_t k) {
            return Row{k % 2 == 0 ? document_row(settled, bpe, k / 2) : echo_row(settled, echo_rows + k, 1)};
        };
    };
    train(model, text, resume);
    save_model(folder, model, "BF16");
}

} // namespace skintern
