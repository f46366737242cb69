/* SPDX-License-Identifier: MIT */
/* tq needle: facts planted in long contexts, and what is found again with different caches. */
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "needle.h"
#include "progress.h"

static const char usage[] =
    "usage: tq needle MODEL TEXT [OPTIONS]   (TEXT is a file; - is the standard input)\n"
    "  --config STRING   a cache to compare with f16; may be given several times\n"
    "  --contexts LIST   tokens: 512,1024,2048 (512, doubled up to the model's context)\n"
    "  --trials N        contexts of each length, with 4 facts each (4)\n"
    "  --seed S          of the facts and the places in the text (1)\n"
    "  -t N              threads (one per core)\n"
    "  --json            for scripts\n"
    "\n"
    "A fact is \"The access code for Lisbon is 48213.\"; a context ends with \"The access code for Lisbon is\".\n"
    "said: the model would say the code; ranked: it holds it for more probable than those of the other facts. What\n"
    "a model does not find with the f16 cache says nothing about other caches.\n";

enum { FIRST_CONTEXT = 512, MAX_TRIALS = 10000 };

struct needle_run {
    struct session session;
    struct tokens text;
    const char **configs; /* f16, and what --config asks for. */
    size_t n_configs;
    size_t contexts[MAX_NUMBERS];
    size_t n_contexts;
    size_t trials;
    uint64_t seed;
    struct needle_result *results; /* [config][context] */
};

static bool take_contexts(struct needle_run *run, const char *list, struct error *error)
{
    const size_t most = run->session.model.context_length;
    if (most < NEEDLE_MIN_CONTEXT) {
        return error_input(error, "the model's context of %zu tokens is too short for facts", most);
    }
    for (size_t n = FIRST_CONTEXT < most ? FIRST_CONTEXT : most; n <= most && run->n_contexts < MAX_NUMBERS; n *= 2) {
        run->contexts[run->n_contexts++] = n;
    }
    return arguments_numbers("--contexts", list, NEEDLE_MIN_CONTEXT, most, run->contexts, &run->n_contexts, error);
}

static bool measure_config(struct needle_run *run, size_t index, const struct progress *progress, struct error *error)
{
    struct cache_config config;
    if (!cache_config_parse(run->configs[index], &config, error)) {
        return false;
    }
    struct kv_store *store = kv_store_create(&config, &run->session.model, &run->session.threads, error);
    bool ok = store != NULL;
    for (size_t i = 0; i < run->n_contexts && ok; i++) {
        const size_t done = index * run->n_contexts + i;
        progress_show(progress, "contexts", done, run->n_configs * run->n_contexts);
        ok = needle_measure(&run->session, store, &run->text, run->contexts[i], run->trials, run->seed,
                            &run->results[done], error);
    }
    kv_store_destroy(store);
    return ok;
}

static bool measure(struct needle_run *run, const struct arguments *arguments, const char *contexts, size_t n_threads,
                    struct error *error)
{
    const struct progress progress = progress_start();
    run->n_configs = arguments->n_configs + 1;
    run->configs = calloc(run->n_configs, sizeof *run->configs);
    run->results = calloc(run->n_configs * MAX_NUMBERS, sizeof *run->results);
    if (run->configs == NULL || run->results == NULL) {
        return error_run(error, "not enough memory");
    }
    run->configs[0] = "f16";
    for (size_t i = 0; i < arguments->n_configs; i++) {
        run->configs[i + 1] = arguments->configs[i];
    }
    if (run->trials < 1 || run->trials > MAX_TRIALS) {
        return error_input(error, "--trials takes a number from 1 to %d", MAX_TRIALS);
    }
    bool ok = session_open(&run->session, arguments->unnamed[0], n_threads, error) &&
              take_contexts(run, contexts, error) &&
              session_read_tokens(&run->session, arguments->unnamed[1], &run->text, error);
    if (ok && run->text.n == 0) {
        ok = error_input(error, "%s: there is no text", arguments->unnamed[1]);
    }
    for (size_t i = 0; i < run->n_configs && ok; i++) {
        ok = measure_config(run, i, &progress, error);
    }
    progress_end(&progress);
    return ok;
}

struct total {
    size_t correct;
    size_t ranked;
    size_t asked;
};

static struct total add_up(const struct needle_result *result)
{
    struct total total = {0, 0, 0};
    for (size_t depth = 0; depth < NEEDLE_DEPTHS; depth++) {
        total.correct += result->correct[depth];
        total.ranked += result->ranked[depth];
        total.asked += result->asked[depth];
    }
    return total;
}

/* The middle of the part of the context that a fact stands in, in percent. */
static double depth_percent(size_t depth)
{
    return 100.0 * (2.0 * (double)depth + 1.0) / (2.0 * NEEDLE_DEPTHS);
}

static void report(const struct needle_run *run)
{
    printf("%-48s %8s %11s %8s %8s   said at depth", "config", "context", "said", "ranked", "-log p");
    for (size_t depth = 0; depth < NEEDLE_DEPTHS; depth++) {
        printf(" %5.1f %%", depth_percent(depth));
    }
    printf("\n");
    for (size_t i = 0; i < run->n_configs * run->n_contexts; i++) {
        const struct needle_result *result = &run->results[i];
        const struct total total = add_up(result);
        printf("%-48s %8zu %4zu of %3zu %8zu %8.3f                ", run->configs[i / run->n_contexts],
               run->contexts[i % run->n_contexts], total.correct, total.asked, total.ranked,
               result->loss / (double)total.asked);
        for (size_t depth = 0; depth < NEEDLE_DEPTHS; depth++) {
            printf(" %7zu", result->correct[depth]);
        }
        printf("\n");
    }
}

/* The keys are frozen: scripts rely on them. New ones may be added. */
static void report_json(const struct needle_run *run, const struct arguments *arguments)
{
    printf("{\"model\": ");
    json_string(stdout, arguments->unnamed[0]);
    printf(", \"text\": ");
    json_string(stdout, arguments->unnamed[1]);
    printf(", \"trials\": %zu,\n \"rows\": [", run->trials);
    for (size_t i = 0; i < run->n_configs * run->n_contexts; i++) {
        const struct needle_result *result = &run->results[i];
        const struct total total = add_up(result);
        printf("%s\n  {\"config\": ", i > 0 ? "," : "");
        json_string(stdout, run->configs[i / run->n_contexts]);
        printf(", \"context\": %zu, \"correct\": %zu, \"asked\": %zu, \"ranked\": %zu, \"loss\": ",
               run->contexts[i % run->n_contexts], total.correct, total.asked, total.ranked);
        json_number(stdout, result->loss / (double)total.asked);
        printf(", \"depths\": [");
        for (size_t depth = 0; depth < NEEDLE_DEPTHS; depth++) {
            printf("%s{\"depth\": %.3f, \"correct\": %zu, \"asked\": %zu, \"ranked\": %zu}", depth > 0 ? ", " : "",
                   depth_percent(depth) / 100.0, result->correct[depth], result->asked[depth], result->ranked[depth]);
        }
        printf("]}");
    }
    printf("\n ]}\n");
}

int needle_main(int argc, char **argv)
{
    static struct needle_run run; /* A session must not be moved. */
    const char *contexts = NULL;
    uint64_t trials = 4;
    uint64_t n_threads = 0;
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--contexts", &contexts, NULL, NULL}, {"--trials", NULL, &trials, NULL},
                                     {"--seed", NULL, &run.seed, NULL},     {"-t", NULL, &n_threads, NULL},
                                     {"--json", NULL, NULL, &json},         {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "needle takes MODEL and TEXT", 2, 2, ANY_CONFIGS, options};
    struct arguments arguments;
    struct error error;
    run.seed = 1;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    run.trials = trials;
    const bool ok = measure(&run, &arguments, contexts, n_threads, &error);
    if (ok && json) {
        report_json(&run, &arguments);
    } else if (ok) {
        report(&run);
    }
    exit_code = ok ? 0 : error_report(&error);
    free(run.results);
    free(run.configs);
    tokens_free(&run.text);
    session_close(&run.session);
    arguments_free(&arguments);
    return exit_code;
}
