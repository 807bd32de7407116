// version.h — which code this is, for the records of experiments.
#pragma once

namespace skintern {

// What `git describe` said when it was built, "-dirty" behind it when there were changes; "unknown" without git.
const char* code_version();

} // namespace skintern
