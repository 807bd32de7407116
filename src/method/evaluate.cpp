// evaluate.cpp — see evaluate.h.
#include "method/evaluate.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "method/batch.h"
#include "model/flops.h"
#include "model/generate.h"
#include "support/check.h"
#include "support/progress.h"
#include "tasks/answer.h"

namespace skintern {

namespace {

constexpr int64_t kLossTokens = 4096;        // tokens of a pass of mean_nll
constexpr size_t kStopWindow = 16;           // tokens looked back for the words that end an answer
constexpr const char* kNewQuestion = "Question: ";

// True when the text ends an answer by beginning another question.
bool begins_question(const Bpe& bpe, const std::vector<int32_t>& ids) {
    const size_t from = ids.size() > kStopWindow ? ids.size() - kStopWindow : 0;
    const std::string tail = bpe.decode(std::vector<int32_t>(ids.begin() + static_cast<int64_t>(from), ids.end()));
    return tail.find(kNewQuestion) != std::string::npos;
}

// Tokens a second so far, for the progress bar.
class Rate {
public:
    std::string add(int64_t tokens) {
        tokens_ += tokens;
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
        return format("%.0f tokens/s", static_cast<double>(tokens_) / std::max(seconds.count(), 1e-3));
    }

private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    int64_t tokens_ = 0;
};

EvalRow judge_row(const Record& record, const std::string& generated, const EvalConfig& config) {
    EvalRow row;
    row.id = record.id;
    row.task_name = record.task_name;
    row.benchmark = record.benchmark;
    row.split = record.split;
    row.coverage = record.coverage;
    row.question = record.instruction;
    row.gold = record.output;
    row.generated = generated;
    const Verdict verdict = judge(record.task_name, record.instruction, record.output, generated);
    row.correct = verdict.correct;
    row.strict = verdict.strict;
    row.readable = verdict.readable;
    for (const std::string& fact : record.facts_needed) {
        const auto it = config.fact_sentences.find(fact);
        if (it != config.fact_sentences.end()) {
            row.facts_needed++;
            row.facts_found += generated.find(it->second) != std::string::npos;
        }
    }
    return row;
}

} // namespace

std::vector<EvalRow> evaluate(Transformer& model, const Bpe& bpe, const std::vector<Record>& records,
                              const std::vector<std::string>& prompts, const EvalConfig& config) {
    CHECK(records.size() == prompts.size(), "%zu records have %zu prompts", records.size(), prompts.size());
    std::vector<EvalRow> rows(records.size());
    std::unique_ptr<Progress> progress;
    if (!config.label.empty()) {
        const int64_t total = config.answered + static_cast<int64_t>(records.size());
        progress = std::make_unique<Progress>(config.label, total, "questions");
        progress->skip(config.answered);
    }
    Rate rate;
    int64_t finished = config.answered;
    const auto finish = [&](size_t i, const std::string& generated, int64_t prompt_tokens, int64_t new_tokens) {
        const EvalRow before = config.continued != nullptr ? (*config.continued)[i] : EvalRow();
        const std::string begun = config.continued != nullptr ? before.generated + " " + kMark : "";
        rows[i] = judge_row(records[i], begun + generated, config);
        rows[i].prompt_tokens = before.prompt_tokens + prompt_tokens;
        rows[i].new_tokens = before.new_tokens + new_tokens;
        // The full count, whatever the cache saved: what the question costs alone.
        rows[i].flops =
            before.flops + (new_tokens == 0 ? 0 : question_flops(model.config(), prompt_tokens, new_tokens).total());
        if (config.on_row) {
            config.on_row(rows[i]);
        }
        if (progress != nullptr) {
            progress->update(++finished, rate.add(new_tokens));
        }
    };

    std::vector<std::vector<int32_t>> asked; // prompts that fit
    std::vector<size_t> row_of;              // of each of them
    for (size_t i = 0; i < prompts.size(); i++) {
        std::vector<int32_t> ids = make_question(bpe, config.bos, prompts[i], config.chat).ids;
        const int64_t size = static_cast<int64_t>(ids.size());
        if (size >= model.config().max_positions) {
            say(format("%s: the prompt has %lld tokens, the model %lld positions: counted as wrong",
                       records[i].id.c_str(), static_cast<long long>(size),
                       static_cast<long long>(model.config().max_positions)));
            finish(i, "", size, 0);
            continue;
        }
        asked.push_back(std::move(ids));
        row_of.push_back(i);
    }
    GenerateConfig generation;
    generation.max_new_tokens = config.max_new_tokens;
    generation.max_positions = model.config().max_positions;
    generation.batch_size = config.batch_size;
    generation.cache_bytes = config.cache_bytes;
    generation.cache_type = config.cache_type;
    generation.eos = bpe.eos();
    generation.stop = [&](const std::vector<int32_t>& generated) { return begins_question(bpe, generated); };
    generation.done = [&](int64_t a, const Generation& g) {
        const size_t n = static_cast<size_t>(a);
        finish(row_of[n], bpe.decode(g.ids), static_cast<int64_t>(asked[n].size()), g.steps);
    };
    generate(model, asked, generation);
    return rows;
}

double mean_nll(Transformer& model, const std::vector<Sample>& samples) {
    double sum = 0;
    int64_t count = 0;
    for (const Batch& batch : pack(samples, kLossTokens)) {
        for (const real loss : model.losses(batch)) {
            sum += static_cast<double>(loss);
            count++;
        }
    }
    return count == 0 ? 0.0 : sum / static_cast<double>(count);
}

} // namespace skintern
