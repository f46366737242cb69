/* SPDX-License-Identifier: MIT */
/* The subcommands of tq_bench. */
#ifndef TQ_BENCH_COMMANDS_H
#define TQ_BENCH_COMMANDS_H

enum { EXIT_USAGE = 2 /* A command line, a file or a backend that cannot be used. */ };

/* Reads its options from argv[first] on; returns the exit code. */
typedef int command_main(int argc, char **argv, int first);

/* Without a subcommand: the table of all formats against f16. */
command_main compare_main;

/* "quality": what the options of the cache are worth. */
command_main cache_quality_main;

#endif /* TQ_BENCH_COMMANDS_H */
