/* SPDX-License-Identifier: MIT */
/* tq ppl: the perplexity of a text with different caches, and how far each is from the f16 cache. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "commands.h"
#include "perplexity_report.h"
#include "sweep.h"

static const char usage[] =
    "usage: tq ppl MODEL TEXT [OPTIONS]   (TEXT is a file; - is the standard input)\n"
    "  --config STRING   a cache to compare with f16; may be given several times: turbo4t,\n"
    "                    k=turbo4t,v=turbo3t,sink=4,recent=64,means=on,protect=2, f32, q8_0, q4_0, q4_0-rot\n"
    "  --sweep           compare many, sorted by size\n"
    "  --speed           with --sweep: measure, too, how fast contexts of 256, 512, ... tokens are continued\n"
    "  --svg FILE        with --sweep: charts\n"
    "  --html FILE       with --sweep: a page with charts and tables\n"
    "  --window N        tokens of a window (2048)\n"
    "  --windows N       take only the first N windows (0: all)\n"
    "  -t N              threads (one per core)\n"
    "  --json            for scripts\n";

struct ppl_options {
    const char *svg;
    const char *html;
    uint64_t n_threads;
    bool speed;
    bool json;
};

/* The f16 cache, the sweep, and what --config asks for. */
static bool make_rows(struct perplexity_report *report, const struct arguments *arguments, const struct model *model,
                      struct error *error)
{
    struct perplexity *p = &report->perplexity;
    size_t n_sweep = 0;
    while (report->sweep && sweep_config(n_sweep) != NULL) {
        n_sweep++;
    }
    p->rows = calloc(1 + n_sweep + arguments->n_configs, sizeof *p->rows);
    if (p->rows == NULL) {
        return error_run(error, "not enough memory");
    }
    p->rows[p->n_rows++].config = "f16";
    for (size_t i = 0; i < n_sweep; i++) {
        if (sweep_supports(model, sweep_config(i))) {
            p->rows[p->n_rows++].config = sweep_config(i);
        }
    }
    for (size_t i = 0; i < arguments->n_configs; i++) {
        p->rows[p->n_rows++].config = arguments->configs[i];
    }
    return true;
}

static bool measure_speed(struct decode_speed *speed, struct session *session, const struct tokens *tokens,
                          struct error *error)
{
    const char *config;
    for (size_t i = 0; (config = sweep_speed_config(i)) != NULL; i++) {
        if (sweep_supports(&session->model, config)) {
            speed->configs[speed->n_configs++] = config;
        }
    }
    decode_speed_contexts(speed, session, tokens);
    return decode_speed_measure(speed, session, tokens, error);
}

static bool measure(struct perplexity_report *report, const struct arguments *arguments,
                    const struct ppl_options *options, struct error *error)
{
    static struct session session; /* It must not be moved. */
    struct tokens tokens = {NULL, 0, 0};
    const bool ok = session_open(&session, report->model, options->n_threads, error) &&
                    make_rows(report, arguments, &session.model, error) &&
                    session_read_tokens(&session, report->text, &tokens, error) &&
                    perplexity_measure(&report->perplexity, &session, &tokens, error) &&
                    (!options->speed || measure_speed(&report->speed, &session, &tokens, error));
    if (ok && report->sweep) {
        sweep_sort(&report->perplexity);
    }
    tokens_free(&tokens);
    session_close(&session);
    return ok;
}

typedef bool file_report(FILE *out, const struct perplexity_report *report, struct error *error);

static bool write_file(const char *path, file_report *write, const struct perplexity_report *report,
                       struct error *error)
{
    if (path == NULL) {
        return true;
    }
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return error_run(error, "%s: cannot be written: %s", path, strerror(errno));
    }
    const bool ok = write(file, report, error);
    const bool written = ferror(file) == 0;
    return (fclose(file) == 0 && written) ? ok : error_run(error, "%s: cannot be written", path);
}

static bool run(struct perplexity_report *report, const struct arguments *arguments, const struct ppl_options *options,
                struct error *error)
{
    if (!report->sweep && (options->speed || options->svg != NULL || options->html != NULL)) {
        return error_input(error, "--speed, --svg and --html go with --sweep");
    }
    if (!measure(report, arguments, options, error)) {
        return false;
    }
    (options->json ? perplexity_report_json : perplexity_report_text)(stdout, report);
    return write_file(options->svg, perplexity_report_svg, report, error) &&
           write_file(options->html, perplexity_report_html, report, error);
}

int ppl_main(int argc, char **argv)
{
    uint64_t window = 2048;
    uint64_t windows = 0;
    struct ppl_options values = {.json = false};
    struct perplexity_report report = {.sweep = false};
    int exit_code;
    const struct option options[] = {{"--window", NULL, &window, NULL},
                                     {"--windows", NULL, &windows, NULL},
                                     {"--sweep", NULL, NULL, &report.sweep},
                                     {"--speed", NULL, NULL, &values.speed},
                                     {"--svg", &values.svg, NULL, NULL},
                                     {"--html", &values.html, NULL, NULL},
                                     {"-t", NULL, &values.n_threads, NULL},
                                     {"--json", NULL, NULL, &values.json},
                                     {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "ppl takes MODEL and TEXT", 2, 2, ANY_CONFIGS, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    report.model = arguments.unnamed[0];
    report.text = arguments.unnamed[1];
    report.perplexity = (struct perplexity){.window = window, .n_windows = windows};
    exit_code = run(&report, &arguments, &values, &error) ? 0 : error_report(&error);
    free(report.perplexity.rows);
    arguments_free(&arguments);
    return exit_code;
}
