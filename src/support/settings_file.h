// settings_file.h — what made a file or a folder, written beside it, so that only the same settings go on with it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace skintern {

// Throws Error when the settings in the file `path` are not `now`, field for field: it names the first that differs. `what` was
// begun with them, as in "the evaluation".
void check_settings(const std::string& path, const nlohmann::ordered_json& now, const char* what);

// Names, sizes and the first MiB of a file or of a folder's files, as a number: enough to tell two models apart
// without reading them. "" for an empty path.
std::string fingerprint(const std::string& path);

} // namespace skintern
