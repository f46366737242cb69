/* SPDX-License-Identifier: MIT */
/* tq_bench without a subcommand: every format of the library beside f16, q8_0 and q4_0 on one .qkv file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "options.h"
#include "report.h"

static const char help[] =
    "usage: tq_bench [OPTIONS]\n"
    "       tq_bench attend [OPTIONS]    how fast attention on a filled cache is\n"
    "       tq_bench quality [OPTIONS]   what the options of the cache are worth\n"
    "\n"
    "Prints a table of all vector formats on real keys, values and queries of a language model: bytes, error, what\n"
    "becomes of attention, and speed against f16 in the same run.\n"
    "\n"
    "  --data FILE     a .qkv file (bench/data/README.md describes the format); default: the sample that comes with "
    "it\n"
    "  --filter REGEX  only formats whose name matches (POSIX extended, anywhere in the name), and f16\n"
    "  --backend NAME  backend of the library; default: the best one, or $TURBOQUANT_BACKEND\n"
    "  --seed N        seed of the rotations; default 0\n"
    "  --effort NAME   roundings that encoders try: fast, balanced or best; default: each format's own\n"
    "  --quick         fewer timing rounds: to see that it runs\n"
    "  --json FILE     write the results as JSON, too\n"
    "  --csv FILE      write the results as CSV, too\n"
    "  --version       print the version of the library\n"
    "  --help          print this\n"
    "\n"
    "Exit code: 0; 2 for a command line, file or backend that cannot be used; 1 for anything else that fails.\n";

struct settings {
    const char *data;
    const char *filter;
    const char *backend;
    const char *effort;
    const char *json;
    const char *csv;
    uint64_t seed;
    bool quick;
    bool version;
    bool help;
};

static bool parse(int argc, char **argv, int first, struct settings *settings, struct message *error)
{
    const struct option options[] = {
        {.name = "--data", .text = &settings->data},
        {.name = "--filter", .text = &settings->filter},
        {.name = "--backend", .text = &settings->backend},
        {.name = "--seed", .number = &settings->seed},
        {.name = "--quick", .flag = &settings->quick},
        {.name = "--json", .text = &settings->json},
        {.name = "--csv", .text = &settings->csv},
        {.name = "--effort", .text = &settings->effort},
        {.name = "--version", .flag = &settings->version},
        {.name = "--help", .flag = &settings->help},
        {.name = NULL},
    };
    return options_parse(argc, argv, first, options, error->text, sizeof error->text);
}

static bool parse_effort(const char *name, tq_effort *effort, struct message *error)
{
    static const struct {
        const char *name;
        tq_effort effort;
    } efforts[] = {{"fast", TQ_EFFORT_FAST}, {"balanced", TQ_EFFORT_BALANCED}, {"best", TQ_EFFORT_BEST}};
    for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
        if (strcmp(name, efforts[i].name) == 0) {
            *effort = efforts[i].effort;
            return true;
        }
    }
    snprintf(error->text, sizeof error->text, "--effort needs fast, balanced or best, not '%s'", name);
    return false;
}

/* A file of results, opened before the run so that a bad path costs no time. */
struct output {
    const char *path; /* Null if it was not asked for. */
    FILE *file;
    void (*write)(FILE *out, const struct report *report);
};

static bool outputs_open(struct output *outputs, size_t count, struct message *error)
{
    for (size_t i = 0; i < count; i++) {
        if (outputs[i].path != NULL && (outputs[i].file = fopen(outputs[i].path, "w")) == NULL) {
            snprintf(error->text, sizeof error->text, "%s: cannot be written: %s", outputs[i].path, strerror(errno));
            return false;
        }
    }
    return true;
}

/* Writes the report, if there is one, and closes all files. */
static bool outputs_close(struct output *outputs, size_t count, const struct report *report, struct message *error)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        if (outputs[i].file == NULL) {
            continue;
        }
        if (report != NULL) {
            outputs[i].write(outputs[i].file, report);
        }
        const bool failed = ferror(outputs[i].file) != 0;
        if (fclose(outputs[i].file) != 0 || failed) {
            snprintf(error->text, sizeof error->text, "%s: could not be written in full", outputs[i].path);
            ok = false;
        }
    }
    return ok;
}

/* Measures everything and prints; the results go to `outputs`. */
static int run(const struct settings *settings, struct report *report, struct output *outputs, size_t output_count)
{
    struct message error;
    const size_t count = report->formats->count;
    struct quality *qualities = calloc(count, sizeof *qualities);
    struct timing *timings = calloc(count, sizeof *timings);
    report->rounds = settings->quick ? TIMING_QUICK_ROUNDS : TIMING_ROUNDS;
    report->qualities = qualities;
    report->timings = timings;
    report_head(stdout, report);
    fflush(stdout);

    const struct progress progress = progress_start();
    const bool ok = qualities != NULL && timings != NULL &&
                    quality_measure(report->formats, report->qkv, &progress, qualities) &&
                    timing_measure(report->formats, report->qkv, report->rounds, &progress, timings);
    progress_end(&progress);

    int exit_code = EXIT_SUCCESS;
    if (ok) {
        report_table(stdout, report);
    } else {
        snprintf(error.text, sizeof error.text, "not enough memory");
        exit_code = complain(error.text, EXIT_FAILURE);
    }
    if (!outputs_close(outputs, output_count, ok ? report : NULL, &error)) {
        exit_code = complain(error.text, EXIT_FAILURE);
    }
    free(qualities);
    free(timings);
    return exit_code;
}

static int compare(const struct settings *settings, const tq_context *context)
{
    struct message error;
    struct qkv qkv;
    struct formats formats;
    struct output outputs[] = {{.path = settings->json, .write = report_json},
                               {.path = settings->csv, .write = report_csv}};
    const size_t output_count = sizeof outputs / sizeof *outputs;
    struct format_options options = {.seed = settings->seed};
    if (settings->effort != NULL && !parse_effort(settings->effort, &options.effort, &error)) {
        return complain(error.text, EXIT_USAGE);
    }
    if (!qkv_read(settings->data, &qkv, error.text, sizeof error.text)) {
        return complain(error.text, EXIT_USAGE);
    }
    if (!formats_create(context, qkv.head_dim, &options, settings->filter, &formats, error.text, sizeof error.text)) {
        qkv_free(&qkv);
        return complain(error.text, EXIT_USAGE);
    }
    int exit_code;
    if (outputs_open(outputs, output_count, &error)) {
        struct report report = {.machine = machine_describe(),
                                .context = context,
                                .data_path = settings->data,
                                .qkv = &qkv,
                                .seed = settings->seed,
                                .effort = settings->effort,
                                .formats = &formats};
        exit_code = run(settings, &report, outputs, output_count);
    } else {
        exit_code = complain(error.text, EXIT_USAGE);
        outputs_close(outputs, output_count, NULL, &error);
    }
    formats_destroy(&formats);
    qkv_free(&qkv);
    return exit_code;
}

int compare_main(int argc, char **argv, int first)
{
    struct settings settings = {.data = TQ_BENCH_DATA};
    struct message message = {""};
    tq_context *context;
    if (!parse(argc, argv, first, &settings, &message)) {
        return complain(message.text, EXIT_USAGE);
    }
    if (settings.help) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    if (settings.version) {
        printf("tq_bench %s\n", tq_version_string());
        return EXIT_SUCCESS;
    }
    tq_context_desc desc = TQ_CONTEXT_DESC_INIT;
    desc.backend = settings.backend;
    desc.log = message_log(&message);
    const tq_status status = tq_context_create(&desc, &context);
    if (status != TQ_OK) {
        return complain(message.text, status == TQ_ERR_UNSUPPORTED ? EXIT_USAGE : EXIT_FAILURE);
    }
    const int exit_code = compare(&settings, context);
    tq_context_destroy(context);
    return exit_code;
}
