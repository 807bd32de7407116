// tile_config.h — included before every file of llama.cpp by setup.sh.
//
// amxtileintrin.h of GCC before 14 tells the optimiser that ldtilecfg reads 8 of the 64 bytes of its operand, so that
// stores of the others may be left out, and llama.cpp's AMX path ends with a segmentation fault. Here all 64 are named.
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(config)))
#define _tile_storeconfig(config) __asm__ volatile("sttilecfg %0" : "=m"(*(char(*)[64])(config)))
#endif
