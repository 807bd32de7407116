// The loop: learning rates, accumulation, and a killed run that continues with the same bits.
#include "test_support.h"

#include <nlohmann/json.hpp>

#include <cmath>

#include "formats/safetensors.h"
#include "method/train.h"
#include "model/checkpoint.h"
#include "model/weights.h"
#include "support/files.h"

using namespace skintern;

namespace {

ModelConfig small_model() {
    ModelConfig c;
    c.layers = 1;
    c.channels = 16;
    c.heads = c.kv_heads = 2;
    c.head_size = 8;
    c.ffn = 24;
    c.vocab = 32;
    c.max_positions = 64;
    return c;
}

struct Setup {
    std::unique_ptr<Kernels> kernels = make_kernels({});
    Transformer model{*kernels, small_model(), Train::adapter, LoraConfig{}};
    Setup() {
        Rng rng(1);
        model.init_weights(rng);
        model.init_adapter(rng);
    }
};

Sample row(int64_t k) {
    Sample s;
    Rng rng(static_cast<uint64_t>(k % 5));
    for (int64_t t = 0; t < 6 + k % 3; t++) {
        s.ids.push_back(static_cast<int32_t>(rng.below(32)));
    }
    s.prompt_tokens = 2;
    return s;
}

struct Killed {};

// Trains 3 stages of 4 updates; throws after update `kill_at` as if the process had ended there.
HostTensors run(const std::string& folder, bool resume, int64_t kill_at, bool one_schedule = false) {
    Setup setup;
    TrainRun train_run;
    train_run.folder = folder;
    train_run.label = "test";
    train_run.config.batch_size = 3;
    train_run.config.save_steps = 3;
    train_run.config.one_schedule = one_schedule;
    train_run.config.adamw.lr = 1e-2;
    train_run.stage_updates = {4, 4, 4};
    train_run.rows_of = [](int64_t stage) -> RowSource { return [stage](int64_t k) { return Row{row(k + 100 * stage)}; }; };
    train_run.after_step = [&](int64_t step) {
        append_line(folder + "/meter.jsonl", "{\"step\":" + std::to_string(step) + "}");
        if (step == kill_at) {
            throw Killed();
        }
    };
    train(setup.model, train_run, resume);
    return download_tensors(setup.model.adapter());
}

} // namespace

TEST_CASE("the rate warms up from 0, peaks, and falls along a cosine", "[train]") {
    AdamwConfig config;
    config.lr = 1;
    config.warmup_ratio = 0.1;
    REQUIRE(learning_rate(config, 0, 20) == 0);
    REQUIRE(learning_rate(config, 1, 20) == Approx(0.5));
    REQUIRE(learning_rate(config, 2, 20) == Approx(1));
    REQUIRE(learning_rate(config, 11, 20) == Approx(0.5)); // half way of 18
    REQUIRE(learning_rate(config, 19, 20) > 0);
    config.lr_scheduler = "linear";
    REQUIRE(learning_rate(config, 11, 20) == Approx(0.5));
    config.lr_scheduler = "constant";
    REQUIRE(learning_rate(config, 19, 20) == Approx(1));
    config.lr_scheduler = "sine";
    REQUIRE_THROWS_WITH(learning_rate(config, 19, 20), Contains("\"sine\""));
}

TEST_CASE("a run killed anywhere continues to the same bits and the same logs", "[train]") {
    for (const bool one_schedule : {false, true}) {
        const TempFolder whole_at;
        const std::string whole = whole_at.path();
        const HostTensors expected = run(whole, false, -1, one_schedule);
        for (const int64_t kill_at : {1, 3, 4, 7, 11}) {
            const TempFolder folder_at;
            const std::string folder = folder_at.path();
            REQUIRE_THROWS_AS(run(folder, false, kill_at, one_schedule), Killed);
            const HostTensors got = run(folder, true, -1, one_schedule);
            INFO("killed after update " << kill_at);
            for (const auto& [name, tensor] : expected) {
                REQUIRE(got.at(name).data == tensor.data);
            }
            for (const char* file : {"/log.jsonl", "/meter.jsonl", "/state.safetensors"}) {
                REQUIRE(read_file(folder + file) == read_file(whole + file));
            }
        }
    }
}

TEST_CASE("a finished run does nothing when it is resumed", "[train]") {
    const TempFolder folder_at;
    const std::string folder = folder_at.path();
    const HostTensors first = run(folder, false, -1);
    const std::string log = read_file(folder + "/log.jsonl");
    const HostTensors again = run(folder, true, -1);
    REQUIRE(read_file(folder + "/log.jsonl") == log);
    REQUIRE(again.begin()->second.data == first.begin()->second.data);
}

TEST_CASE("a training state of stage 0 is refused", "[train]") {
    const TempFolder folder_at;
    const std::string folder = folder_at.path();
    run(folder, false, -1);
    HostTensors state = read_safetensors(folder + "/state.safetensors");
    std::vector<float>& position = state.at("position").data;
    std::fill(position.begin(), position.begin() + 3, 0.0f); // the first count is the stage
    write_safetensors(folder + "/state.safetensors", state);
    REQUIRE_THROWS_WITH(run(folder, true, -1), Contains("says stage 0"));
}

TEST_CASE("a training state that holds what no training leaves is refused", "[train]") {
    const TempFolder folder_at;
    const std::string folder = folder_at.path(), path = folder + "/state.safetensors";
    run(folder, false, -1);
    const HostTensors whole = read_safetensors(path);
    const auto refusal = [&](auto change) {
        HostTensors state = whole;
        change(state);
        write_safetensors(path, state);
        return error_of([&] { run(folder, true, -1); });
    };
    REQUIRE_THAT(refusal([](HostTensors& t) { t.at("position").data[4] = 0.5f; }), Contains("holds 0.5, which is no count"));
    REQUIRE_THAT(refusal([](HostTensors& t) { t.lower_bound("adamw_v/")->second.data[0] = -1; }),
                 Contains("state.safetensors: tensor adamw_v/") && Contains("holds a number below 0"));
    // Counts are three digits of 2^20, the last is the small one: stage, update, step. The run has three stages of four updates.
    const auto place = [&](float stage, float update, float step) {
        return refusal([&](HostTensors& t) {
            std::vector<float>& digits = t.at("position").data;
            digits[2] = stage, digits[5] = update, digits[8] = step;
        });
    };
    REQUIRE(place(2, 3, 7) == "");
    REQUIRE_THAT(place(5, 0, 12), Contains("stands at stage 5, update 0 of it, 12 of all, where this training has no such place"));
    REQUIRE_THAT(place(3, 5, 13), Contains("has no such place"));
    REQUIRE_THAT(place(2, 3, 8), Contains("has no such place"));
}

TEST_CASE("the size of micro-batches does not change the result beyond rounding", "[train]") {
    std::vector<double> losses;
    std::vector<std::vector<real>> grads;
    std::vector<Sample> rows = {row(0), row(1), row(2), row(3)};
    int64_t labelled = 0;
    for (const Sample& s : rows) {
        labelled += s.target_tokens();
    }
    for (const int64_t micro : {1, 10, 1000}) {
        Setup setup;
        setup.model.grads().zero();
        double loss = 0;
        for (const Batch& batch : pack(rows, micro)) {
            loss += setup.model.forward_backward(batch, 1.0 / static_cast<double>(labelled));
        }
        losses.push_back(loss);
        grads.push_back(download(*setup.kernels, setup.model.grads().data(), setup.model.grads().numel()));
    }
    for (size_t i = 1; i < losses.size(); i++) {
        REQUIRE(losses[i] == Approx(losses[0]).epsilon(1e-6));
        for (size_t n = 0; n < grads[0].size(); n++) {
            REQUIRE(std::fabs(grads[i][n] - grads[0][n]) <= 1e-6f + 1e-4f * std::fabs(grads[0][n]));
        }
    }
}

TEST_CASE("an adapter saved and loaded is the same, and a damaged one is refused by name", "[train]") {
    const TempFolder folder_at;
    const std::string folder = folder_at.path();
    Setup setup;
    save_adapter(folder, setup.model, LoraConfig{}, "base");
    const HostTensors saved = download_tensors(setup.model.adapter());
    Setup other;
    other.model.adapter().zero();
    load_adapter(folder, other.model);
    for (const auto& [name, tensor] : download_tensors(other.model.adapter())) {
        REQUIRE(tensor.data == saved.at(name).data);
    }
    HostTensors damaged = saved;
    damaged.begin()->second.data[0] = NAN;
    write_safetensors(folder + "/adapter_model.safetensors", damaged);
    REQUIRE_THROWS_WITH(load_adapter(folder, other.model), Contains("not finite"));
    damaged.erase(damaged.begin());
    write_safetensors(folder + "/adapter_model.safetensors", damaged);
    REQUIRE_THROWS_WITH(load_adapter(folder, other.model), Contains("is missing"));
    write_file(folder + "/state.safetensors", "short");
    Adamw adamw({}, setup.model.adapter(), setup.model.grads());
    REQUIRE_THROWS_WITH(load_state(folder + "/state.safetensors", setup.model, adamw),
                        Contains("state.safetensors"));
}

TEST_CASE("the order of an epoch is a permutation, new in every epoch, the same for a seed", "[train]") {
    Order order(10, 3, true), again(10, 3, true);
    std::vector<int64_t> first, second;
    for (int64_t k = 0; k < 20; k++) {
        const int64_t r = order(k);
        REQUIRE(again(k) == r);
        (k < 10 ? first : second).push_back(r);
    }
    REQUIRE(first != second);
    std::sort(first.begin(), first.end());
    std::sort(second.begin(), second.end());
    REQUIRE(first == second);
    REQUIRE(first.back() == 9);
}

TEST_CASE("the loss of two tasks is the weighted sum of their means", "[train]") {
    // Two tasks with different numbers of labelled tokens; a learning rate of nothing keeps the model as it is.
    const auto loss_of = [](const std::vector<Sample>& samples) {
        const TempFolder folder;
        Setup setup;
        TrainRun train_run;
        train_run.folder = folder.path();
        train_run.label = "test";
        train_run.config.batch_size = 2;
        train_run.config.adamw.lr = 0;
        train_run.stage_updates = {1};
        train_run.rows_of = [&](int64_t) -> RowSource { return [&](int64_t) { return samples; }; };
        train(setup.model, train_run, false);
        return nlohmann::json::parse(read_file(train_run.folder + "/log.jsonl"))["loss"].get<double>();
    };
    Sample first = row(0), second = row(1);
    first.prompt_tokens = 1;
    const double of_first = loss_of({first});
    second.task = 1;
    const double of_second = loss_of({second});
    first.weight = 0.7;
    second.weight = 0.3;
    REQUIRE(loss_of({first, second}) == Approx(0.7 * of_first + 0.3 * of_second).epsilon(1e-9));
}
