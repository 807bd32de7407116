// variants.h — training rows changed on purpose: for ablations of the knowledge, and for teachers that explain less or err.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/teacher.h"

namespace skintern {

struct Variant {
    // What stands in the summary (knowledge of SKIntern's prompts):
    //   full | no-summary (supplementary knowledge alone) | no-supplement (learning summary alone)
    //   placebo (the summary of a row of another family, cut or repeated to the same number of words)
    //   shuffled (its own words in random order)
    std::string knowledge = "full";
    // stated | implicit (sentences that only state a fact of the world are left out of responses)
    std::string rationales = "stated";
    // Share of the rows with facts whose response is that of a teacher who remembers one needed fact wrongly and goes on
    // from there to the answer. The knowledge stays right.
    double wrong = 0;
};

// Training rows as the variant has them. `data_seed` made the rows, `seed` draws what is random here.
std::vector<Record> vary(std::vector<Record> train, const Variant& variant, const World& world, uint64_t data_seed,
                         uint64_t seed);

} // namespace skintern
