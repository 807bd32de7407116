// base_model.h — the small base model that the comparison starts from: its tokenizer, and its pre-training.
//
// Pre-training has two runs. *Echo*: random tokens said twice, from short to long, until the look-up has formed; without
// it, text alone does not form it in the time there is (docs/base-model.md). *Text*: pretraining_document() of teacher.h,
// worlds and families of its own, so that the model can use knowledge that stands in its prompt and has never seen a
// test family. The tokenizer is trained on that text alone.
#pragma once

#include <string>

#include "method/train.h"
#include "tokenizer/bpe.h"

namespace skintern {

struct BaseConfig {
    ModelConfig model;                     // vocab_size of the tokenizer too
    uint64_t seed = 1;                     // of text, weights and order
    int64_t echo_updates = 1800;           // on random tokens said twice
    int64_t echo_batch_size = 24;          // rows an update there
    int64_t updates = 8000;                // on documents
    int64_t tokenizer_documents = 20000;   // documents that the tokenizer is trained on
    TrainConfig train;
};

// Settings of the tiny preset.
BaseConfig tiny_base_config();

// Trains tokenizer and model into `folder` (config.json, model.safetensors in BF16, tokenizer.json, log.jsonl). What is
// done is not redone with `resume`.
void make_base_model(Kernels& kernels, const BaseConfig& config, const std::string& folder, bool resume);

} // namespace skintern
