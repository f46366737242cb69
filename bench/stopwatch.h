/* SPDX-License-Identifier: MIT */
/* Clocks, and the number that stands for many measurements. */
#ifndef TQ_BENCH_STOPWATCH_H
#define TQ_BENCH_STOPWATCH_H

#include <stddef.h>

/* CPU time of the calling thread: what other programs do is left out. */
double thread_cpu_ns(void);

/* Time as it passes, for work on several threads. */
double wall_ns(void);

/* Sorts the numbers. */
double median(double *numbers, size_t n);

#endif /* TQ_BENCH_STOPWATCH_H */
