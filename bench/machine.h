/* SPDX-License-Identifier: MIT */
/* Where a measurement was taken and how the program was built: numbers without it mean nothing. */
#ifndef TQ_BENCH_MACHINE_H
#define TQ_BENCH_MACHINE_H

#include <stddef.h>

enum { MACHINE_USUAL_CACHE_MIB = 32 };

struct machine {
    char cpu[128];
    const char *compiler;
    const char *flags; /* Of the C compiler, as CMake gave them for this build type. */
    long cores;        /* Online. */
};

struct machine machine_describe(void);

/* Bytes of the largest cache of processor 0; the usual ones if the system does not say (only Linux does). */
size_t machine_last_level_cache(void);

#endif /* TQ_BENCH_MACHINE_H */
