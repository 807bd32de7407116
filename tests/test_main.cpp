// The test runner's main(), compiled once: Catch2 v2 brings it as a header, v3 as a library.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
