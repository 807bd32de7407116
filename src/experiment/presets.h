// presets.h — the settings of a reproduction that have a name.
#pragma once

#include "experiment/reproduce.h"

namespace skintern {

// "tiny" or "smollm2"; `data_folder` is the project's data/. Throws Error for another name.
ReproduceConfig preset_by_name(const std::string& name, const std::string& data_folder);

} // namespace skintern
