// test.h — Catch2 for every test, with the project's CHECK in place of Catch's.
//
// Tests use REQUIRE, REQUIRE_THROWS_WITH and friends; CHECK keeps the meaning it has in src/support/check.h.
#pragma once

#if !__has_include(<catch2/catch_all.hpp>)
#include <catch2/catch.hpp> // Catch2 v2 (Debian 12, Ubuntu 22.04)
#else
#include <catch2/catch_all.hpp> // Catch2 v3 (newer systems); the one to take where both are, as the Makefile does
using Catch::Approx;
#endif
#undef CHECK

#include "support/check.h"
