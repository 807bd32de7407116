// measure_bpe.cpp — see measure_bpe.h.
#include "measure/measure_bpe.h"

#include <sstream>
#include <vector>

#include "measure/measure.h"
#include "support/check.h"
#include "support/files.h"
#include "tasks/teacher.h"
#include "tokenizer/bpe.h"

namespace skintern {

namespace {

constexpr int kEncodings = 7;
constexpr int kTrainings = 3;
constexpr int64_t kVocabSize = 8192;
constexpr size_t kOwnBytes = 20'000'000;

std::string own_text() {
    std::string text;
    for (int64_t i = 0; text.size() < kOwnBytes; i++) {
        text += pretraining_document(1, i) + "\n";
    }
    text.resize(kOwnBytes); // the documents are ASCII
    return text;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line + "\n");
    }
    return lines;
}

} // namespace

void measure_bpe(const std::string& model, const std::string& file, bool json) {
    const std::string text = file.empty() ? own_text() : read_file(file);
    CHECK(!text.empty(), "%s is empty: there is nothing to encode", file.c_str());
    const double megabytes = static_cast<double>(text.size()) / 1e6;

    const std::vector<std::string> documents = lines_of(text);
    BpeTrainConfig config;
    config.vocab_size = kVocabSize;
    Bpe bpe = Bpe::train({}, config);
    const std::vector<double> training = time_runs([&] { bpe = Bpe::train(documents, config); }, kTrainings);
    const std::string trained = format("a vocabulary of %lld trained on %.1f MB",
                                       static_cast<long long>(bpe.vocab_size()), megabytes);

    if (!model.empty()) {
        bpe = Bpe::load(model);
    }
    size_t tokens = 0;
    Measured encoding = {"bpe", "bytes", "", "MB/s", {}};
    for (const double seconds : time_runs([&] { tokens = bpe.encode(text).size(); }, kEncodings)) {
        encoding.values.push_back(megabytes / seconds);
    }
    encoding.what = format("%.1f MB encoded to %zu tokens of %lld", megabytes, tokens,
                           static_cast<long long>(bpe.vocab_size()));
    print_measured(encoding, json);
    print_measured({"bpe-train", "bytes", trained, "s", training}, json);
}

} // namespace skintern
