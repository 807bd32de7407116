// curriculum.h — the schedule of SKIntern as one pure function: config in, stages out.
//
// T stages; the strength falls from S_1 = 1 to S_T = 0:
//   linear       S_t = 1 - u,                       u = (t-1)/(T-1)        (paper, section 3.3)
//   exp          S_t = (exp(-3u) - exp(-3)) / (1 - exp(-3))                fast first, then slow
//   inverse-exp  S_t = 1 - exp at 1 - u                                    slow first, then fast
//   step         S_t = 1 for t < T, then 0
//   none         S_t = 1 for all t: the knowledge stays
//   reversed     S_t = u                                                   what comes last is least like the evaluation
//   shuffled     the strengths of linear, every second one first: those of t = 2, 4, ..., then 1, 3, ...
// At stage t a row keeps the share S_t of its knowledge and is shown floor(K S_t) examples. With T = 1 only S = 0 is
// left, which is plain fine-tuning on the question (none: on question and knowledge).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skintern {

struct CurriculumConfig {
    int64_t stages = 4;              // T
    std::string schedule = "linear"; // linear | exp | inverse-exp | step | none | reversed | shuffled
    int64_t shots = 6;               // K
    std::string shots_from = "block"; // block | similar: where examples come from, see prompt.h
};

struct Stage {
    int64_t index = 1; // t, from 1
    double keep = 0;   // S_t, share of the knowledge kept
    int64_t shots = 0; // floor(K S_t)
};

std::vector<Stage> make_curriculum(const CurriculumConfig& config);

} // namespace skintern
