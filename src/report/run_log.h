// run_log.h — what a run left behind, read from its folder into plain structs.
//
//     RUN/run.json                              how the run was made: preset, seeds, methods in order, schedule
//     RUN/search.json                           accuracy of the learning rates that were tried, by method
//     RUN/seed-<n>/<method>/cell.json           settings of the arm, version of the code, how it went
//     RUN/seed-<n>/<method>/log.jsonl           a row an update; the step counts on through the stages
//     RUN/seed-<n>/<method>/eval/<split>.jsonl  a row a question; so also of each optional set, and with-knowledge.jsonl
//     RUN/seed-<n>/<method>/meter.jsonl         loss on held-out rows with and without knowledge, through training
//     RUN/seed-<n>/<method>/curve.jsonl         accuracy with and without knowledge after each stage
//     RUN/seed-<n>/<method>/dropped.json        what did not fit the token budget
//
// A file that is not there is a run that is not finished: it is named in `missing` and the rest is read. A
// file that is there and damaged throws Error naming file, line and field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "method/methods.h"

namespace skintern {

struct UpdateRow {
    int64_t step = 0;
    int64_t stage = 0;
    double loss = 0;
    int64_t tokens = 0; // prompt and target of this update; 0 when the log does not say
};

struct AnswerRow {
    std::string id; // unique in its file
    std::string task;
    std::string split;
    std::string coverage; // "", "covered", "uncovered"; see Record
    int64_t prompt_tokens = 0;
    int64_t new_tokens = 0;
    double flops = 0;
    std::string generated;
    std::string question; // optional: shown with the examples
    std::string gold;     // optional, likewise
    bool correct = false;
    bool strict = false;
    bool readable = false;
    int64_t facts_needed = 0;
    int64_t facts_found = 0;
};

struct MeterRow {
    int64_t step = 0;
    double nll_question = 0;  // nats a response token from the question alone
    double nll_knowledge = 0; // and with the knowledge in the prompt
};

struct CurveRow {
    int64_t stage = 0; // 0: the base model before training
    int64_t step = 0;
    bool knowledge = false; // in the prompt
    int64_t rows = 0;
    int64_t correct = 0;
};

struct Dropped {
    int64_t left_out = 0;      // training rows that do not fit even without knowledge and examples
    int64_t knowledge_cut = 0; // rows whose knowledge was shortened to fit
    int64_t shots_cut = 0;     // rows that lost examples
};

struct CellLog {
    int64_t begun = 1;             // times
    std::string version;           // of the code
    std::string device;
    std::string failed;            // why; empty: it did not
    std::optional<double> seconds; // of a finished cell
};

struct MethodLog {
    std::optional<CellLog> cell;
    std::vector<UpdateRow> updates;
    std::map<std::string, std::vector<AnswerRow>> eval; // split -> rows; a split without a file has no entry
    std::map<std::string, std::vector<AnswerRow>> beside; // likewise of kWithKnowledge and of sets: in no domain
    std::vector<MeterRow> meter;
    std::vector<CurveRow> curve;
    std::optional<Dropped> dropped;
};

struct ScheduleRow {
    int64_t stage = 0;
    double keep = 0; // S_t
    int64_t shots = 0;
    std::optional<int64_t> updates; // as planned; run.json may leave it out, the log has what was done
};

// A setting of an arm: how it is written, and its value when it is a number.
struct Setting {
    std::string text;
    std::optional<double> number;
};
using Settings = std::map<std::string, Setting>; // by name, flat: "train.lr"; see run_file.h

struct RateTrial {
    double lr = 0;
    double accuracy = 0;
    int64_t rows = 0;
    bool failed = false;
};

struct RateSearch {
    std::string rule; // by which a rate is chosen
    std::vector<double> rates;
    struct Method {
        std::string name;
        std::vector<RateTrial> trials;
        double chosen = 0;
    };
    std::vector<Method> methods;
};

struct RunLog {
    std::string dir, preset, device;
    std::string command; // that made the run; empty: run.json does not say
    std::optional<int64_t> base_params;
    std::vector<std::string> sets;         // optional sets of questions, each in eval/<set>.jsonl
    std::map<std::string, Settings> arms;  // of the cells, which know the rate that was found; of those not begun as in run.json
    std::optional<RateSearch> search;
    std::vector<int64_t> seeds;
    std::vector<std::string> methods; // arms, in the order of run.json
    std::map<std::string, std::string> method_of; // of each arm; without an entry the method has its name
    std::vector<ScheduleRow> schedule;
    std::vector<std::pair<std::string, std::string>>
        settings; // the rest of run.json, flat: "base.params", "2160000"
    std::map<std::string, std::vector<MethodLog>> logs; // method -> (S) one a seed, in the order of `seeds`
    std::vector<std::string> missing;                   // a sentence each
};

// test is in domain; the other three are out of domain.
inline constexpr const char* kSplits[] = {"test", "longer", "unseen", "reworded"};

// The file of test questions asked with their knowledge put back into the prompt.
inline constexpr const char* kWithKnowledge = "with-knowledge";

// The method of an arm; of a name that is none, base or std-cot.
const Method& method_of(const RunLog& run, const std::string& arm);

// What run.json says of one of `settings`; empty when it does not.
std::string said(const RunLog& run, const std::string& name);

RunLog read_run(const std::string& run_dir);

} // namespace skintern
