/* SPDX-License-Identifier: MIT */
/* Where a measurement was taken and how the program was built: numbers without it mean nothing. */
#ifndef TQ_BENCH_MACHINE_H
#define TQ_BENCH_MACHINE_H

struct machine {
    char cpu[128];
    const char *compiler;
    const char *flags; /* Of the C compiler, as CMake gave them for this build type. */
    long cores;        /* Online. */
};

struct machine machine_describe(void);

#endif /* TQ_BENCH_MACHINE_H */
