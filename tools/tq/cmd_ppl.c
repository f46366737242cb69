/* SPDX-License-Identifier: MIT */
/* tq ppl: the perplexity of a text with different caches, and how far each is from the f16 cache. */
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "perplexity.h"
#include "session.h"

static const char usage[] =
    "usage: tq ppl MODEL TEXT [OPTIONS]   (TEXT is a file; - is the standard input)\n"
    "  --config STRING   a cache to compare with f16; may be given several times: turbo4t,\n"
    "                    k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2, f32, q8_0, q4_0, q4_0-rot\n"
    "  --window N        tokens of a window (2048)\n"
    "  --windows N       take only the first N windows (0: all)\n"
    "  -t N              threads (one per core)\n"
    "  --json            for scripts\n";

static void report(const struct perplexity *perplexity)
{
    printf("%zu windows of %zu tokens\n\n%-48s %9s %9s %10s %10s %10s %7s\n", perplexity->n_windows, perplexity->window,
           "config", "B/token", "ppl", "KL mean", "median", "99.9 %", "top-1");
    for (size_t i = 0; i < perplexity->n_rows; i++) {
        const struct perplexity_row *row = &perplexity->rows[i];
        const struct divergence_summary *s = &row->summary;
        printf("%-48s %9.1f %9.4f %10.6f %10.6f %10.6f %6.2f%%\n", row->config, row->bytes_per_token, s->perplexity,
               s->kl_mean, s->kl_median, s->kl_p999, 100.0 * s->top1);
    }
}

/* The keys are frozen: scripts rely on them. New ones may be added. */
static void report_json(const struct perplexity *perplexity, const struct arguments *arguments)
{
    printf("{\"model\": ");
    json_string(stdout, arguments->unnamed[0]);
    printf(", \"text\": ");
    json_string(stdout, arguments->unnamed[1]);
    printf(", \"window\": %zu, \"windows\": %zu,\n \"rows\": [", perplexity->window, perplexity->n_windows);
    for (size_t i = 0; i < perplexity->n_rows; i++) {
        const struct perplexity_row *row = &perplexity->rows[i];
        const struct {
            const char *key;
            double value;
        } numbers[] = {{"bytes_per_token", row->bytes_per_token}, {"ppl", row->summary.perplexity},
                       {"kl_mean", row->summary.kl_mean},         {"kl_median", row->summary.kl_median},
                       {"kl_p999", row->summary.kl_p999},         {"top1", row->summary.top1}};
        printf("%s\n  {\"config\": ", i > 0 ? "," : "");
        json_string(stdout, row->config);
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            printf(", \"%s\": ", numbers[j].key);
            json_number(stdout, numbers[j].value);
        }
        printf("}");
    }
    printf("\n ]}\n");
}

/* The f16 cache, and what --config asks for. */
static bool make_rows(struct perplexity *perplexity, const struct arguments *arguments, struct error *error)
{
    perplexity->n_rows = arguments->n_configs + 1;
    perplexity->rows = calloc(perplexity->n_rows, sizeof *perplexity->rows);
    if (perplexity->rows == NULL) {
        return error_run(error, "not enough memory");
    }
    perplexity->rows[0].config = "f16";
    for (size_t i = 0; i < arguments->n_configs; i++) {
        perplexity->rows[i + 1].config = arguments->configs[i];
    }
    return true;
}

static bool measure(struct perplexity *perplexity, const struct arguments *arguments, size_t n_threads,
                    struct error *error)
{
    static struct session session; /* It must not be moved. */
    struct tokens tokens = {NULL, 0, 0};
    const bool ok = make_rows(perplexity, arguments, error) &&
                    session_open(&session, arguments->unnamed[0], n_threads, error) &&
                    session_read_tokens(&session, arguments->unnamed[1], &tokens, error) &&
                    perplexity_measure(perplexity, &session, &tokens, error);
    tokens_free(&tokens);
    session_close(&session);
    return ok;
}

int ppl_main(int argc, char **argv)
{
    uint64_t n_threads = 0;
    uint64_t window = 2048;
    uint64_t windows = 0;
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--window", NULL, &window, NULL},
                                     {"--windows", NULL, &windows, NULL},
                                     {"-t", NULL, &n_threads, NULL},
                                     {"--json", NULL, NULL, &json},
                                     {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "ppl takes MODEL and TEXT", 2, 2, ANY_CONFIGS, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    struct perplexity perplexity = {.window = window, .n_windows = windows};
    const bool ok = measure(&perplexity, &arguments, n_threads, &error);
    if (ok && json) {
        report_json(&perplexity, &arguments);
    } else if (ok) {
        report(&perplexity);
    }
    exit_code = ok ? 0 : error_report(&error);
    free(perplexity.rows);
    arguments_free(&arguments);
    return exit_code;
}
