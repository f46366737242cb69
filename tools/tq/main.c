/* SPDX-License-Identifier: MIT */
/* tq: language models on caches of libturboquant. Exit codes: 0, 1 (it failed), 2 (a command line or a file that cannot
 * be used). */
#include <stdio.h>
#include <string.h>

#include "blas.h"
#include "commands.h"
#include "error.h"

static const struct {
    const char *name;
    command_main *run;
    const char *summary;
} commands[] = {
    {"info", info_main, "[MODEL]         this build, this machine, formats; what is in a model file"},
    {"estimate", estimate_main, "[MODEL]         memory of keys and values, and the longest context that fits"},
    {"run", run_main, "MODEL PROMPT    generate text"},
    {"compare", compare_main, "MODEL PROMPT    text with an f16 cache and with another, and where they part"},
    {"ppl", ppl_main, "MODEL TEXT      perplexity of a text, and what each cache changes"},
    {"needle", needle_main, "MODEL TEXT      facts planted in long contexts, and what is found again"},
    {"probe", probe_main, "MODEL TEXT      what keys and values are like, and which formats follow from that"},
    {"dump", dump_main, "MODEL TEXT FILE keys, values and queries of a run, for tq_bench"},
    {"inspect", inspect_main, "FILE            what is in a saved cache"},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *out)
{
    fputs("usage: tq COMMAND ARGUMENTS (tq COMMAND --help says more)\n\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    }
}

int main(int argc, char **argv)
{
    blas_choose_kernels(argv);
    for (size_t i = 0; i < N_COMMANDS && argc > 1; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc, argv);
        }
    }
    const int helped = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    usage(helped ? stdout : stderr);
    return helped ? 0 : EXIT_INPUT;
}
