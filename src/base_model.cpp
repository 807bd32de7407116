// base_model.cpp — see base_model.h.
#include "base_model.h"

#include "check.h"
#include "checkpoint.h"
#include "files.h"
#include "progress.h"
#include "teacher.h"

namespace skintern {

namespace {

constexpr int64_t kDocumentsARow = 3;
constexpr int64_t kLongestEcho = 24; // tokens before they are said again
constexpr int64_t kEchoTokens = 256; // different tokens in echoes: the single bytes

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

// Random tokens said twice; only the second saying is labelled. Predicting it is the look-up in its purest form: find
// where this token stood before, and say what followed.
Sample echo_row(uint64_t seed, int64_t k) {
    Rng rng(seed + static_cast<uint64_t>(k), "echo");
    Sample sample;
    sample.ids.resize(static_cast<size_t>(rng.between(4, kLongestEcho)));
    for (int32_t& token : sample.ids) {
        token = static_cast<int32_t>(rng.between(1, kEchoTokens));
    }
    const std::vector<int32_t> said = sample.ids;
    sample.ids.insert(sample.ids.end(), said.begin(), said.end());
    sample.prompt_tokens = static_cast<int64_t>(said.size());
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
    config.model.channels = 192;
    config.model.heads = 6;
    config.model.kv_heads = 6;
    config.model.head_size = 32;
    config.model.ffn = 512;
    config.model.vocab = 2048;
    config.model.max_positions = 4096;
    config.model.tied = false;
    config.model.eos = 0;
    config.train.adamw.lr = 3e-3;
    config.train.adamw.beta2 = 0.98;
    config.train.adamw.weight_decay = 0.01;
    config.train.adamw.warmup_ratio = 0.05;
    config.train.batch_size = 8;
    config.train.save_steps = 100;
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

    TrainRun echo;
    echo.folder = folder + "/echo";
    echo.label = "pre-training, echo";
    echo.config = config.train;
    echo.config.batch_size = config.echo_batch_size;
    echo.stage_updates = {config.echo_updates};
    echo.rows_of = [&](int64_t) { return [&](int64_t k) { return echo_row(config.seed, k); }; };
    train(model, echo, resume);

    TrainRun text;
    text.folder = folder;
    text.label = "pre-training, text";
    text.config = config.train;
    text.stage_updates = {config.updates};
    text.rows_of = [&](int64_t) { return [&](int64_t k) { return document_row(config, bpe, k); }; };
    train(model, text, resume);
    save_model(folder, model, "BF16");
}

} // namespace skintern
