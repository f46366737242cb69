/* SPDX-License-Identifier: MIT */
/* Google Benchmark for C: registration of one kind of benchmark, a call that handles a number of items. */
#ifndef TQ_BENCH_GBENCH_SHIM_H
#define TQ_BENCH_GBENCH_SHIM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Registers a benchmark that calls body(arg) over and over, and reports `items` per call. The name is copied; `arg`
 * must live until gbench_run returns. */
void gbench_register(const char *name, void (*body)(void *arg), void *arg, size_t items);

/* Runs what --benchmark_filter chooses; the options are those of Google Benchmark. Returns the exit code. */
int gbench_run(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif /* TQ_BENCH_GBENCH_SHIM_H */
