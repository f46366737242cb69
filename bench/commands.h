/* SPDX-License-Identifier: MIT */
/* The subcommands of tq_bench. */
#ifndef TQ_BENCH_COMMANDS_H
#define TQ_BENCH_COMMANDS_H

#include "turboquant.h"

enum { EXIT_USAGE = 2 /* A command line, a file or a backend that cannot be used. */ };

/* Reads its options from argv[first] on; returns the exit code. */
typedef int command_main(int argc, char **argv, int first);

/* "attend": how fast attention on a filled cache is. */
command_main attend_main;

/* Without a subcommand: the table of all formats against f16. */
command_main compare_main;

/* "quality": what the options of the cache are worth. */
command_main cache_quality_main;

/* What every subcommand says when something fails: one sentence on stderr. Returns `exit_code`. */
int complain(const char *sentence, int exit_code);

struct message {
    char text[1024];
};

/* A log for a context: `message` keeps the last sentence. */
tq_log message_log(struct message *message);

#endif /* TQ_BENCH_COMMANDS_H */
