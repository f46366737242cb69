/* SPDX-License-Identifier: MIT */
/* The subcommands of tq, one file each: cmd_NAME.c. */
#ifndef TQ_TOOL_COMMANDS_H
#define TQ_TOOL_COMMANDS_H

/* Reads its arguments from argv[2] on; returns the exit code. */
typedef int command_main(int argc, char **argv);

command_main info_main;
command_main estimate_main;
command_main run_main;
command_main compare_main;
command_main ppl_main;
command_main needle_main;
command_main probe_main;
command_main inspect_main;
command_main dump_main;

#endif /* TQ_TOOL_COMMANDS_H */
