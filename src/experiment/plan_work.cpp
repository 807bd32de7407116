// plan_work.cpp — see plan_work.h.
#include "experiment/plan_work.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace skintern {

namespace {

// Words leave from the end.
std::vector<RankedText> rank_from_the_end(const std::vector<std::string>& texts) {
    std::vector<RankedText> ranked;
    for (const std::string& text : texts) {
        ranked.push_back({split_words(text), {}});
        ranked.back().rank.resize(ranked.back().words.size());
        std::iota(ranked.back().rank.begin(), ranked.back().rank.end(), int64_t{0});
    }
    return ranked;
}

// The largest micro-batch of the rows' first pass, in order of training.
PassSize largest_pass(const std::vector<Row>& rows, int64_t draws, const TrainConfig& train, uint64_t seed) {
    Order order(std::ssize(rows), seed, true);
    PassSize largest;
    for (int64_t k = 0; k < std::min(draws, std::ssize(rows)); k += train.batch_size) {
        std::map<int64_t, std::vector<Sample>> of_task;
        for (int64_t i = k; i < k + train.batch_size; i++) {
            for (const Sample& sample : rows[static_cast<size_t>(order(i))]) {
                of_task[sample.task].push_back(sample);
            }
        }
        for (const auto& [task, samples] : of_task) {
            for (const Batch& batch : pack(samples, train.micro_tokens)) {
                largest.rows = std::max(largest.rows, batch.tokens());
                largest.scored = std::max(largest.scored, std::ssize(batch.rows));
            }
        }
    }
    return largest;
}

} // namespace

void Spread::add(int64_t n) {
    sum += n;
    largest = std::max(largest, n);
    count++;
}

StageWork work_of_stage(const Stage& stage, StageRows rows, int64_t updates, const TrainConfig& train,
                        uint64_t seed) {
    StageWork work;
    work.stage = stage;
    work.updates = updates;
    for (const Row& row : rows.rows) {
        for (const Sample& sample : row) {
            const int64_t tokens = std::ssize(sample.ids);
            work.prompt.add(sample.prompt_tokens);
            (sample.task == 0 ? work.target : work.second).add(tokens - sample.prompt_tokens);
            work.once.tokens += tokens;
            work.once.squares += tokens * tokens;
            work.once.labelled += sample.target_tokens();
        }
    }
    const int64_t draws = updates * train.batch_size;
    if (!rows.rows.empty()) {
        work.passes = static_cast<double>(draws) / static_cast<double>(rows.rows.size());
        work.largest = largest_pass(rows.rows, draws, train, seed);
    }
    work.rows = std::move(rows);
    return work;
}

std::vector<StageWork> work_of_arm(const ArmConfig& arm, const std::vector<Record>& train, const Bpe& bpe,
                                   const PromptSettings& settings) {
    const Method& method = method_by_name(arm.method);
    const std::vector<Stage> stages = method_stages(method, arm.curriculum);
    const int64_t updates = total_updates(arm, std::ssize(train));
    std::vector<RankedText> ranked;
    if (method.in_training == Knowledge::summary) {
        ranked = rank_from_the_end(texts_to_shorten(method, train, settings.templates));
    }
    std::vector<StageWork> work;
    for (const Stage& stage : stages) {
        work.push_back(work_of_stage(stage, make_stage_rows(method, stage, train, ranked, bpe, settings),
                                     updates_of_stage(updates, std::ssize(stages), stage.index), arm.train,
                                     settings.seed + static_cast<uint64_t>(stage.index)));
    }
    return work;
}

void EvalWork::add(const ModelConfig& config, int64_t prompt_tokens, int64_t new_tokens) {
    const double whole = static_cast<double>(question_flops(config, prompt_tokens, new_tokens).total());
    prompt.add(prompt_tokens);
    answer.add(new_tokens);
    flops += whole;
    decode_flops += whole - static_cast<double>(question_flops(config, prompt_tokens, 1).total());
}

} // namespace skintern
