// teacher_bbh.cpp — the registry of the families in the manner of BIG-Bench Hard (Suzgun et al. 2022).
//
// Names and answer formats are those of the published files; every question, name and object is this
// project's own. The low end of the originals' difficulty: a normal instance has three or four parts, a
// longer one clearly more than any normal one (each family's comment says how many). A reworded instance
// poses the same problem in another frame. The families keep to what the small model can read: a question of
// some 45 words, one operation a step.
#include "tasks/teacher_parts.h"

namespace skintern {

std::vector<Family> bbh_families() {
    std::vector<Family> all;
    for (const auto& theme : {expression_families(), logic_families(), move_families(), list_families(),
                              time_families(), table_families()}) {
        all.insert(all.end(), theme.begin(), theme.end());
    }
    return all;
}

} // namespace skintern
