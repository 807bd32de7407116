// train.cpp — see train.h.
#include "method/train.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "model/checkpoint.h"
#include "model/flops.h"
#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"

namespace skintern {

namespace {

// Keeps the rows of a JSONL log up to `step`: what a killed run wrote after its last saved state comes again.
void truncate_log(const std::string& path, int64_t step) {
    if (!file_exists(path)) {
        return;
    }
    std::string kept;
    for (const std::string& line : read_lines(path)) {
        const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
        if (row.is_object() && row.contains("step") && row["step"].is_number_integer() && row["step"] <= step) {
            kept += line + "\n";
        }
    }
    write_file(path, kept);
}

// The samples in micro-batches, those with a teacher apart and with its logits.
std::vector<Batch> batches_of(Transformer& model, const std::vector<Sample>& samples, int64_t max_tokens) {
    std::vector<Sample> plain;
    std::vector<Batch> taught, of_teacher;
    for (const Sample& sample : samples) {
        if (sample.teacher_ids.empty()) {
            plain.push_back(sample);
            continue;
        }
        Sample asked;
        asked.ids = sample.teacher_ids;
        asked.prompt_tokens = sample.teacher_prompt_tokens;
        CHECK(asked.target_tokens() == sample.target_tokens(), "a teacher of %lld tokens for a target of %lld",
              static_cast<long long>(asked.target_tokens()), static_cast<long long>(sample.target_tokens()));
        const int64_t longer = static_cast<int64_t>(std::max(asked.ids.size(), sample.ids.size()));
        if (taught.empty() || std::max(taught.back().tokens(), of_teacher.back().tokens()) + longer > max_tokens) {
            taught.emplace_back();
            of_teacher.emplace_back();
        }
        add_sample(taught.back(), sample);
        add_sample(of_teacher.back(), asked);
    }
    model.use_adapter(false);
    for (size_t b = 0; b < taught.size(); b++) {
        taught[b].soft_targets = model.logits(of_teacher[b]);
    }
    model.use_adapter(true);
    std::vector<Batch> batches = pack(plain, max_tokens);
    for (Batch& batch : taught) {
        batches.push_back(std::move(batch));
    }
    return batches;
}

struct Cost {
    int64_t tokens = 0, flops = 0;
};

// ---- several processes -------------------------------------------------------------------------------------------

// Fails in a process whose value is not, to the last bit, that of process 0; `what` it then did.
void check_same(Comm& comm, double value, const char* what) {
    uint64_t bits = std::bit_cast<uint64_t>(value);
    comm.broadcast(&bits, sizeof bits);
    CHECK(bits == std::bit_cast<uint64_t>(value), "process %d of %d %s", comm.rank(), comm.size(), what);
}

void broadcast(Comm& comm, Arena& arena) {
    std::vector<real> host = download(arena.kernels(), arena.data(), arena.numel());
    comm.broadcast(host.data(), host.size() * sizeof(real));
    arena.kernels().upload(arena.data(), host.data(), host.size() * sizeof(real));
}

// Every process begins where process 0 stands, which alone has read the saved state.
void share_state(Comm& comm, Transformer& model, Adamw& adamw, TrainPosition* at) {
    if (comm.size() == 1) {
        return;
    }
    int64_t step = adamw.step();
    comm.broadcast(at, sizeof *at);
    comm.broadcast(&step, sizeof step);
    adamw.set_step(step);
    broadcast(comm, model.trained());
    broadcast(comm, adamw.m());
    broadcast(comm, adamw.v());
}

// A state of another plan, of more stages or updates, would end the training at once.
void check_position(const TrainPosition& at, const std::vector<int64_t>& stage_updates, const std::string& path) {
    const int64_t stages = std::ssize(stage_updates);
    int64_t step = at.update;
    for (int64_t t = 1; t < std::min(at.stage, stages + 1); t++) {
        step += stage_updates[static_cast<size_t>(t) - 1];
    }
    const bool fits = at.stage <= stages ? at.update <= stage_updates[static_cast<size_t>(at.stage) - 1]
                                         : at.stage == stages + 1 && at.update == 0;
    CHECK(fits && at.step == step, "%s: stands at stage %lld, update %lld of it, %lld of all, where this training has no such place",
          path.c_str(), static_cast<long long>(at.stage), static_cast<long long>(at.update), static_cast<long long>(at.step));
}

// ---- one update --------------------------------------------------------------------------------------------------

// The samples of a task in one update: how many tokens all of them label, and those that this process computes.
struct Share {
    int64_t labelled = 0;
    double weight = 1; // of the task
    std::vector<Sample> samples;
};

// One update: rows k0 .. k0 + batch_size - 1 of the stage. Adds what they cost to `cost`, returns the mean loss. Afterwards
// the gradients are those of all rows, in every process.
double accumulate_gradients(Transformer& model, const RowSource& row_source, const TrainConfig& config, int64_t k0,
                            Cost* cost, Comm& comm) {
    std::vector<Sample> all;
    for (int64_t k = k0; k < k0 + config.batch_size; k++) {
        for (Sample& sample : row_source(k)) {
            cost->tokens += static_cast<int64_t>(sample.ids.size());
            cost->flops += sample_flops(model.config(), model.lora(), sample);
            all.push_back(std::move(sample));
        }
    }
    check_same(comm, static_cast<double>(cost->tokens), "drew rows of another length: its data or options differ");
    const std::vector<int> owner = divide(all, comm.size());
    std::map<int64_t, Share> of_task;
    for (size_t i = 0; i < all.size(); i++) {
        Share& share = of_task.try_emplace(all[i].task, Share{0, all[i].weight, {}}).first->second;
        share.labelled += all[i].target_tokens();
        if (owner[i] == comm.rank()) {
            share.samples.push_back(std::move(all[i]));
        }
    }
    model.grads().zero();
    double loss = 0;
    for (const auto& [task, share] : of_task) {
        CHECK(share.labelled > 0, "an update has no labelled token");
        double sum = 0;
        for (const Batch& batch : batches_of(model, share.samples, config.micro_tokens)) {
            sum += model.forward_backward(batch, share.weight / static_cast<double>(share.labelled));
        }
        loss += share.weight * sum / static_cast<double>(share.labelled);
    }
    comm.all_reduce_sum(model.grads().kernels(), model.grads().data(), model.grads().numel());
    comm.all_reduce_sum(&loss, 1);
    if (!std::isfinite(loss)) {
        throw Diverged(format("the loss is %f: training has diverged, try a smaller --lr", loss), __FILE__, __LINE__);
    }
    return loss;
}

} // namespace

int64_t sample_flops(const ModelConfig& config, const LoraConfig& lora, const Sample& sample) {
    const int64_t n = static_cast<int64_t>(sample.ids.size()), asked = static_cast<int64_t>(sample.teacher_ids.size());
    return training_flops(config, lora, {n, n * n, sample.target_tokens()}).total() + forward_flops(config, asked, asked).total();
}

double logged_sum(const std::string& folder, const char* field) {
    const std::string path = folder + "/log.jsonl";
    double sum = 0;
    for (const std::string& line : read_lines(path)) {
        const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
        CHECK(row.is_object() && row.contains(field) && row[field].is_number(), "%s: a row without \"%s\": %.60s", path.c_str(), field,
              line.c_str());
        sum += row[field].get<double>();
    }
    return sum;
}

int64_t updates_of_stage(int64_t total, int64_t stages, int64_t t) {
    return total * t / stages - total * (t - 1) / stages;
}

TrainSummary train(Transformer& model, const TrainRun& run, bool resume) {
    Comm alone;
    return train(model, run, resume, alone);
}

TrainSummary train(Transformer& model, const TrainRun& run, bool resume, Comm& comm) {
    model.recompute(run.config.recompute);
    const std::string state_path = run.folder + "/state.safetensors";
    const std::string log_path = run.folder + "/log.jsonl";
    Adamw adamw(run.config.adamw, model.trained(), model.grads());
    TrainPosition at;
    if (comm.leads()) {
        make_folder(run.folder);
        if (resume && file_exists(state_path)) {
            at = load_state(state_path, model, adamw);
            check_position(at, run.stage_updates, state_path);
            say(run.label + ": continues after update " + std::to_string(at.step));
        }
        // Without a saved state nothing is kept: what stands before the first update is written again too.
        const int64_t kept = at.step > 0 ? at.step : -1;
        truncate_log(log_path, kept);
        truncate_log(run.folder + "/meter.jsonl", kept);
    }
    share_state(comm, model, adamw, &at);
    const auto save = [&](const TrainPosition& position) {
        const double length = model.trained().kernels().sum_squares(model.trained().data(), model.trained().numel());
        check_same(comm, length, "computes other last bits, as other processors may: give all the same --isa");
        if (comm.leads()) {
            save_state(state_path, model, adamw, position);
        }
    };

    const int64_t stages = static_cast<int64_t>(run.stage_updates.size());
    const int64_t total = std::accumulate(run.stage_updates.begin(), run.stage_updates.end(), int64_t{0});
    const int64_t tokens_before = at.tokens;
    const auto begin = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    Progress progress(run.label, total, "updates");
    progress.skip(at.step);
    if (at.step == 0 && run.after_step && comm.leads()) {
        run.after_step(0);
    }
    for (; at.stage <= stages; at.stage++, at.update = 0) {
        const int64_t updates = run.stage_updates[static_cast<size_t>(at.stage) - 1];
        const RowSource row_source = run.rows_of(at.stage);
        for (; at.update < updates;) {
            // A stage has an optimizer state and a schedule of its own, unless one schedule spans them all.
            if (at.update == 0 && !run.config.one_schedule) {
                adamw.reset();
            }
            const double lr = run.config.one_schedule ? learning_rate(run.config.adamw, at.step, total)
                                                      : learning_rate(run.config.adamw, at.update, updates);
            Cost cost;
            const double loss =
                accumulate_gradients(model, row_source, run.config, at.update * run.config.batch_size, &cost, comm);
            const double norm = adamw.update(lr);
            at.update++;
            at.step++;
            at.tokens += cost.tokens;
            if (comm.leads()) {
                nlohmann::ordered_json row = {{"step", at.step}, {"stage", at.stage},   {"loss", loss},
                                              {"grad_norm", norm}, {"lr", lr},          {"tokens", cost.tokens}};
                if (&model.trained() == &model.adapter()) {
                    row["flops"] = cost.flops;
                }
                append_line(log_path, row.dump());
                progress.update(at.step, format("loss %.3f  %.0f tokens/s", loss,
                                                static_cast<double>(at.tokens - tokens_before) / seconds()));
                if (run.after_step) {
                    run.after_step(at.step);
                }
            }
            if (at.step % run.config.save_steps == 0) {
                save(at);
            }
        }
        if (run.after_stage && comm.leads()) {
            run.after_stage(at.stage);
        }
        TrainPosition next = at;
        next.stage++;
        next.update = 0;
        save(next);
    }
    return {at.step, at.tokens, seconds()};
}

} // namespace skintern
