// Several processes train one model: how rows are divided, and that the curve is the one of a single process. Here the
// processes are threads; tests/mpi.sh has real ones.
#include "test.h"

#include <barrier>
#include <cmath>
#include <numeric>
#include <thread>

#include <nlohmann/json.hpp>

#include "method/train.h"
#include "model/weights.h"
#include "support/files.h"
#include "test_support.h"

using namespace skintern;

namespace {

// ---- processes that are threads ----------------------------------------------------------------------------------

// Where the processes of a group lay down what they have for the others. One that fails leaves, and the others find its place
// empty.
struct Table {
    explicit Table(int n) : size(n), everyone(n), places(static_cast<size_t>(n)) {}
    int size;
    std::barrier<> everyone;
    std::vector<std::vector<double>> places;
};

class ThreadComm final : public Comm {
public:
    ThreadComm(Table& table, int rank) : table_(table), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return table_.size; }

    void all_reduce_sum(double* data, int64_t n) override {
        meet({data, data + n}, [&] {
            std::fill(data, data + n, 0.0);
            for (const std::vector<double>& place : table_.places) {
                CHECK(place.size() == static_cast<size_t>(n), "a process has left");
                std::transform(place.begin(), place.end(), data, data, std::plus<>());
            }
        });
    }

    void all_reduce_sum(Kernels& kernels, real* data, int64_t n) override {
        std::vector<real> host = download(kernels, data, n);
        std::vector<double> sums(host.begin(), host.end());
        all_reduce_sum(sums.data(), n);
        host.assign(sums.begin(), sums.end());
        kernels.upload(data, host.data(), host.size() * sizeof(real));
    }

    void broadcast(void* data, size_t bytes) override {
        char* begin = static_cast<char*>(data);
        meet({begin, begin + bytes}, [&] {
            CHECK(table_.places[0].size() == bytes, "a process has left");
            std::copy(table_.places[0].begin(), table_.places[0].end(), begin);
        });
    }

    void leave() {
        table_.places[static_cast<size_t>(rank_)].clear();
        table_.everyone.arrive_and_drop();
    }

private:
    template <class Take>
    void meet(std::vector<double> mine, const Take& take) {
        table_.places[static_cast<size_t>(rank_)] = std::move(mine);
        table_.everyone.arrive_and_wait();
        take();
        table_.everyone.arrive_and_wait();
    }

    Table& table_;
    int rank_;
};

// ---- a run -------------------------------------------------------------------------------------------------------

constexpr double kLr = 1e-2;
constexpr int64_t kUpdates = 8;

// Rows of 6 to 12 tokens; each third asks a second question, as those of a method of two tasks do.
Row row_of(int64_t k) {
    Rng rng(static_cast<uint64_t>(k));
    Row row;
    for (int64_t task = 0; task < (k % 3 == 0 ? 2 : 1); task++) {
        Sample sample;
        for (int64_t t = 0; t < 6 + k % 7; t++) {
            sample.ids.push_back(static_cast<int32_t>(rng.below(32)));
        }
        sample.prompt_tokens = 2;
        sample.task = task;
        sample.weight = task == 0 ? 0.7 : 0.3;
        row.push_back(sample);
    }
    return row;
}

struct Outcome {
    std::vector<HostTensors> adapters; // of each process
    std::vector<std::string> errors;   // of each process; empty where it had none
    std::vector<double> losses;        // of log.jsonl
    std::vector<double> norms;
    int64_t leader_steps = 0, other_steps = 0; // calls of after_step
};

struct Settings {
    int processes = 1;
    bool resume = false;
    int64_t fails_after = -1;       // process 0 throws
    bool other_data = false;        // process 1 has other rows
    bool other_last_bits = false;   // process 1 computes as another processor would
};

// What one process does.
HostTensors train_one(const std::string& folder, const Settings& settings, Comm& comm, Outcome* outcome) {
    ModelConfig config;
    config.layers = 1;
    config.channels = 16;
    config.heads = config.kv_heads = 2;
    config.head_size = 8;
    config.ffn = 24;
    config.vocab = 32;
    config.max_positions = 64;
    const auto kernels = make_kernels({});
    Transformer model(*kernels, config, Train::adapter, LoraConfig{});
    Rng rng(1);
    model.init_weights(rng);
    Rng own(1 + static_cast<uint64_t>(comm.rank())); // train() has them begin alike
    model.init_adapter(own);
    TrainRun run;
    run.folder = folder;
    run.label = "test";
    run.config.batch_size = 3;
    run.config.micro_tokens = 16;
    run.config.save_steps = 3;
    run.config.adamw.lr = kLr;
    run.stage_updates = {kUpdates};
    const bool other_data = settings.other_data && comm.rank() == 1;
    run.rows_of = [&](int64_t) -> RowSource { return [&](int64_t k) { return row_of(other_data ? k + 1 : k); }; };
    run.after_step = [&](int64_t step) {
        (comm.leads() ? outcome->leader_steps : outcome->other_steps)++;
        CHECK(step != settings.fails_after, "the disk is full");
    };
    if (settings.other_last_bits && comm.rank() == 1) {
        run.config.adamw.eps *= 1.5;
    }
    train(model, run, settings.resume, comm);
    return download_tensors(model.adapter());
}

Outcome run(const std::string& folder, const Settings& settings) {
    const size_t processes = static_cast<size_t>(settings.processes);
    Outcome outcome;
    outcome.adapters.resize(processes);
    outcome.errors.resize(processes);
    Table table(settings.processes);
    {
        std::vector<std::jthread> threads;
        for (size_t p = 0; p < processes; p++) {
            threads.emplace_back([&, p] {
                ThreadComm comm(table, static_cast<int>(p));
                outcome.errors[p] = error_of([&] { outcome.adapters[p] = train_one(folder, settings, comm, &outcome); });
                comm.leave();
            });
        }
    }
    const std::string log = folder + "/log.jsonl";
    for (const std::string& line : file_exists(log) ? read_lines(log) : std::vector<std::string>()) {
        outcome.losses.push_back(nlohmann::json::parse(line)["loss"].get<double>());
        outcome.norms.push_back(nlohmann::json::parse(line)["grad_norm"].get<double>());
    }
    return outcome;
}

// By how much sums in another order may move the loss after k updates. u = 2^-24 is the rounding of a float.
//   forward   a row's loss comes from sums of at most 32 terms: 32 u of it, in either order
//   update    an element of the gradient is a sum over N tokens and moves by N u of its terms. AdamW divides by its size,
//             so the element's weight moves by lr N u, and the loss by that times the element: in all lr N u |g|_1, and
//             |g|_1 <= sqrt(P) |g|_2, the norm in the log
double tolerance(const Outcome& one, size_t k, double parameters) {
    const double u = std::ldexp(1.0, -24), tokens = 3 * 2 * 12;
    double moved = 2 * 32 * u * one.losses[k];
    for (size_t i = 0; i < k; i++) {
        moved += kLr * tokens * u * std::sqrt(parameters) * one.norms[i];
    }
    return moved;
}

void require_same_curve(const Outcome& one, const Outcome& several) {
    double parameters = 0;
    for (const auto& [name, tensor] : one.adapters[0]) {
        parameters += static_cast<double>(tensor.data.size());
    }
    REQUIRE(several.losses.size() == static_cast<size_t>(kUpdates));
    for (size_t k = 0; k < several.losses.size(); k++) {
        INFO("update " << k + 1 << ": " << several.losses[k] << " and " << one.losses[k]);
        REQUIRE(std::fabs(several.losses[k] - one.losses[k]) <= tolerance(one, k, parameters));
    }
}

std::vector<Sample> samples_of(const std::vector<int64_t>& lengths) {
    std::vector<Sample> samples;
    for (const int64_t length : lengths) {
        samples.emplace_back();
        samples.back().ids.resize(static_cast<size_t>(length));
    }
    return samples;
}

} // namespace

// ---- dividing rows -----------------------------------------------------------------------------------------------

TEST_CASE("samples go to the process with the fewest tokens, the longest first", "[distributed]") {
    //                      5 -> 0, 4 -> 1 (0:5 1:4), 3 -> 1 (1:7), 3 -> 0 (0:8), 1 -> 1 (1:8)
    REQUIRE(divide(samples_of({3, 4, 5, 1, 3}), 2) == std::vector<int>{1, 1, 0, 1, 0});
    REQUIRE(divide(samples_of({3, 4, 5, 1, 3}), 1) == std::vector<int>(5, 0));
    REQUIRE(divide(samples_of({7}), 3) == std::vector<int>{0});
    REQUIRE(divide({}, 3).empty());
    std::vector<Sample> taught = samples_of({4, 4, 4}); // the prompt of a teacher is work too
    taught[1].teacher_ids.resize(9);
    REQUIRE(divide(taught, 2) == std::vector<int>{1, 0, 1});
}

TEST_CASE("two processes differ by at most the longest sample", "[distributed]") {
    Rng rng(5);
    for (int round = 0; round < 200; round++) {
        std::vector<int64_t> lengths(1 + rng.below(40));
        for (int64_t& length : lengths) {
            length = 1 + static_cast<int64_t>(rng.below(100));
        }
        const int processes = 1 + static_cast<int>(rng.below(8));
        const std::vector<int> owner = divide(samples_of(lengths), processes);
        std::vector<int64_t> load(static_cast<size_t>(processes));
        for (size_t i = 0; i < lengths.size(); i++) {
            load.at(static_cast<size_t>(owner[i])) += lengths[i];
        }
        const auto [least, most] = std::minmax_element(load.begin(), load.end());
        REQUIRE(*most - *least <= *std::max_element(lengths.begin(), lengths.end()));
        REQUIRE(owner == divide(samples_of(lengths), processes));
    }
}

// ---- training ----------------------------------------------------------------------------------------------------

TEST_CASE("several processes have the curve of one, and the same bits among themselves", "[distributed]") {
    const TempFolder folder;
    const Outcome one = run(folder / "1", {});
    for (const int processes : {2, 3, 7}) { // an update has at most six samples: one of seven has nothing to do
        Settings settings;
        settings.processes = processes;
        const Outcome several = run(folder / std::to_string(processes), settings);
        INFO(processes << " processes");
        REQUIRE(several.errors == std::vector<std::string>(static_cast<size_t>(processes)));
        require_same_curve(one, several);
        for (const HostTensors& adapter : several.adapters) {
            for (const auto& [name, tensor] : adapter) {
                REQUIRE(tensor.data == several.adapters[0].at(name).data);
            }
        }
        REQUIRE(several.leader_steps == kUpdates + 1); // and before the first
        REQUIRE(several.other_steps == 0);
    }
}

TEST_CASE("a run of two processes that fails is continued by three", "[distributed]") {
    const TempFolder folder;
    const Outcome one = run(folder / "1", {});
    Settings settings;
    settings.processes = 2;
    settings.fails_after = 5; // the last saved state is that of update 3
    REQUIRE(run(folder / "several", settings).errors == std::vector<std::string>{"the disk is full", "a process has left"});
    settings.processes = 3;
    settings.resume = true;
    settings.fails_after = -1;
    const Outcome rest = run(folder / "several", settings);
    REQUIRE(rest.leader_steps == kUpdates - 3);
    require_same_curve(one, rest);
}

TEST_CASE("a process with other rows is found out, and one that computes other bits", "[distributed]") {
    const TempFolder folder;
    Settings settings;
    settings.processes = 2;
    settings.other_data = true;
    REQUIRE_THAT(run(folder / "data", settings).errors[1], Contains("process 1 of 2 drew rows of another length"));
    settings.other_data = false;
    settings.other_last_bits = true;
    REQUIRE_THAT(run(folder / "bits", settings).errors[1], Contains("process 1 of 2 computes other last bits"));
}

// ---- which GPU ---------------------------------------------------------------------------------------------------

TEST_CASE("a process takes the GPU of its number, of those that it may see", "[distributed]") {
    REQUIRE(own_gpu("", 2) == "2");
    REQUIRE(own_gpu("5,GPU-a1,7", 1) == "GPU-a1");
    REQUIRE_THROWS_WITH(own_gpu("5", 1), Contains("lists 1 GPUs"));
}
