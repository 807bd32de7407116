// evaluate.cpp — see evaluate.h.
#include "evaluate.h"

#include <nlohmann/json.hpp>

#include "answer.h"
#include "batch.h"
#include "check.h"
#include "files.h"
#include "flops.h"
#include "generate.h"
#include "progress.h"

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

EvalRow judge_row(const Record& record, const std::string& generated, const EvalConfig& config) {
    EvalRow row;
    row.id = record.id;
    row.task_name = record.task_name;
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
    std::vector<std::vector<int32_t>> ids;
    for (size_t i = 0; i < prompts.size(); i++) {
        ids.push_back(make_question(bpe, config.bos, prompts[i]).ids);
        const int64_t room = model.config().max_positions - static_cast<int64_t>(ids.back().size());
        CHECK(room >= 1, "the prompt of question %s has %zu tokens, the model has %lld positions",
              records[i].id.c_str(), ids.back().size(), static_cast<long long>(model.config().max_positions));
    }
    size_t longest = 0;
    for (const std::vector<int32_t>& prompt : ids) {
        longest = std::max(longest, prompt.size());
    }
    GenerateConfig generation;
    generation.max_new_tokens =
        std::min(config.max_new_tokens, model.config().max_positions - static_cast<int64_t>(longest));
    generation.batch_size = config.batch_size;
    generation.eos = bpe.eos();
    generation.stop = [&](const std::vector<int32_t>& generated) { return begins_question(bpe, generated); };
    std::unique_ptr<Progress> progress;
    if (!config.label.empty()) {
        progress = std::make_unique<Progress>(config.label, static_cast<int64_t>(records.size()), "questions");
        generation.done = [&, n = int64_t{0}](int64_t, const Generation&) mutable { progress->update(++n); };
    }
    const std::vector<Generation> generations = generate(model, ids, generation);

    std::vector<EvalRow> rows;
    for (size_t i = 0; i < records.size(); i++) {
        const Generation& g = generations[i];
        rows.push_back(judge_row(records[i], bpe.decode(g.ids), config));
        rows.back().prompt_tokens = static_cast<int64_t>(ids[i].size());
        rows.back().new_tokens = g.steps;
        rows.back().flops = question_flops(model.config(), rows.back().prompt_tokens, g.steps).total();
    }
    return rows;
}

void write_eval(const std::string& path, const std::vector<EvalRow>& rows) {
    std::string out;
    for (const EvalRow& r : rows) {
        const nlohmann::ordered_json row = {{"id", r.id},
                                            {"task_name", r.task_name},
                                            {"split", r.split},
                                            {"coverage", r.coverage},
                                            {"prompt_tokens", r.prompt_tokens},
                                            {"new_tokens", r.new_tokens},
                                            {"flops", r.flops},
                                            {"question", r.question},
                                            {"gold", r.gold},
                                            {"generated", r.generated},
                                            {"correct", r.correct},
                                            {"strict", r.strict},
                                            {"readable", r.readable},
                                            {"facts_needed", r.facts_needed},
                                            {"facts_found", r.facts_found}};
        // A model may stop in the middle of a character: what is not UTF-8 is shown as U+FFFD.
        out += row.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    }
    write_file(path, out);
}

int64_t count_correct(const std::vector<EvalRow>& rows) {
    int64_t correct = 0;
    for (const EvalRow& row : rows) {
        correct += row.correct;
    }
    return correct;
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
