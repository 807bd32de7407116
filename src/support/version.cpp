// version.cpp — see version.h; the Makefile gives SKINTERN_VERSION.
#include "support/version.h"

#ifndef SKINTERN_VERSION
#define SKINTERN_VERSION "unknown"
#endif

namespace skintern {

const char* code_version() { return SKINTERN_VERSION; }

} // namespace skintern
