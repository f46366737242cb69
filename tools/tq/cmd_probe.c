/* SPDX-License-Identifier: MIT */
/* tq probe: what the keys and values of a model are like, and which formats follow from that. */
#include <math.h>
#include <stdio.h>

#include "arguments.h"
#include "commands.h"
#include "json.h"
#include "probe.h"

static const char usage[] =
    "usage: tq probe MODEL TEXT [OPTIONS]   (TEXT is a file; - is the standard input)\n"
    "  --tokens N        of the text (1024, or as many as there are)\n"
    "  --target PERCENT  relative error of attention outputs that the advice is to keep to (3)\n"
    "  -t N              threads (one per core)\n"
    "  --json            for scripts\n";

enum { DEFAULT_TOKENS = 1024, LEAST_TOKENS = 256 };

struct probe_report {
    struct session session;
    struct recording recording;
    struct probe probe;
    struct probe_advice advice;
    double target;
};

static const char *format_name(size_t format)
{
    return tq_format_name(probe_format(format));
}

static void report_statistics(const struct probe_report *report)
{
    const struct recording *r = &report->recording;
    printf(
        "%zu tokens; |x|: mean norm; bias: norm of the mean / mean norm; page: share of the energy that means of 64\n"
        "tokens hold; out: largest coordinate / all, root mean squares; near: attention on the last 64 tokens\n\n"
        "layer head     |K|   bias    page    out     |V|   bias    page    out    near\n",
        r->n_tokens);
    for (size_t i = 0; i < report->probe.n_heads; i++) {
        const struct probe_head *h = &report->probe.heads[i];
        printf("%5zu %4zu %7.2f %6.2f %5.1f %% %6.2f %7.2f %6.2f %5.1f %% %6.2f %5.1f %%\n", i / r->n_kv_heads,
               i % r->n_kv_heads, h->k.norm, h->k.bias, 100.0 * h->k.page, h->k.outlier, h->v.norm, h->v.bias,
               100.0 * h->v.page, h->v.outlier, 100.0 * h->near);
    }
}

static void report_errors(const struct probe_report *report)
{
    const struct recording *r = &report->recording;
    const struct probe *probe = &report->probe;
    printf("\nRelative error of attention outputs in percent: measured in a cache with the defaults / predicted\n\n"
           "layer head");
    for (size_t f = 0; f < PROBE_FORMATS; f++) {
        printf(" %13s", format_name(f));
    }
    printf("\n");
    for (size_t i = 0; i < probe->n_heads; i++) {
        const struct probe_head *head = &probe->heads[i];
        printf("%5zu %4zu", i / r->n_kv_heads, i % r->n_kv_heads);
        for (size_t f = 0; f < PROBE_FORMATS; f++) {
            printf(" %6.2f /%5.2f", 100.0 * probe_measured(head, 1, f), 100.0 * probe_predicted(probe, head, 1, f, f));
        }
        printf("\n");
    }
}

/* The mean of a number over all heads. */
static double mean_of(const struct probe *probe, double (*number)(const struct probe_head *head))
{
    double sum = 0.0;
    for (size_t i = 0; i < probe->n_heads; i++) {
        sum += number(&probe->heads[i]);
    }
    return sum / (double)probe->n_heads;
}

static double k_page(const struct probe_head *head)
{
    return head->k.page;
}

static double v_page(const struct probe_head *head)
{
    return head->v.page;
}

static double near_share(const struct probe_head *head)
{
    return head->near;
}

/* Which page means are worth their bytes: 16 bits a coordinate for 64 tokens are a quarter of a bit, for which a format
 * would have 1 - 4^(-1/4) less error. */
static const char *advise_means(const struct probe *probe)
{
    const double worth = 1.0 - pow(4.0, -0.25);
    const bool keys = mean_of(probe, k_page) > worth;
    const bool values = mean_of(probe, v_page) > worth;
    return keys && values ? "on" : keys ? "k" : values ? "v" : "off";
}

static void print_config(const struct probe_report *report)
{
    const struct probe_advice *a = &report->advice;
    const char *means = advise_means(&report->probe);
    printf("k=%s,v=%s", format_name(a->k_format), format_name(a->v_format));
    if (means[0] != 'o' || means[1] != 'n') {
        printf(",means=%s", means);
    }
    if (a->protect > 0) {
        printf(",protect=%lu", (unsigned long)a->protect);
    }
}

static void report_advice(const struct probe_report *report)
{
    const struct probe_advice *a = &report->advice;
    printf("\nFor errors up to %.1f %%: ", 100.0 * report->target);
    print_config(report);
    printf("\n");
    printf("- The smallest formats that keep to it by prediction: %.2f %%, mean over the layers; measured, without\n"
           "  protected layers: %.2f %%%s.\n",
           100.0 * a->predicted, 100.0 * a->measured,
           a->predicted > report->target ? ", which nothing here keeps to" : "");
    printf("- Keys in %s cause %.2f %% of error, values in %s %.2f %%.\n", format_name(a->k_format), 100.0 * a->k_alone,
           format_name(a->v_format), 100.0 * a->v_alone);
    printf("- Means of pages hold %.0f %% of the energy of keys and %.0f %% of that of values, which is not encoded "
           "then.\n",
           100.0 * mean_of(&report->probe, k_page), 100.0 * mean_of(&report->probe, v_page));
    printf("- %.0f %% of the attention is on the last 64 tokens, which the default window keeps exact.\n",
           100.0 * mean_of(&report->probe, near_share));
    printf("- The worst layer is %lu, with %.2f %% predicted%s.\n", (unsigned long)a->worst_layer,
           100.0 * a->worst_predicted,
           a->protect > 0 ? ": outer layers stand out and are protected" : "; no few outer layers stand out");
}

static void report_json_side(const char *key, const struct probe_side *side)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"norm", side->norm}, {"bias", side->bias}, {"page_mean_share", side->page}, {"outlier", side->outlier}};
    printf(", \"%s\": {", key);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        printf("%s\"%s\": ", i > 0 ? ", " : "", numbers[i].key);
        json_number(stdout, numbers[i].value);
    }
    printf("}");
}

static void report_json_heads(const struct probe_report *report)
{
    const struct recording *r = &report->recording;
    const struct probe *probe = &report->probe;
    for (size_t i = 0; i < probe->n_heads; i++) {
        const struct probe_head *head = &probe->heads[i];
        printf("%s\n  {\"layer\": %zu, \"kv_head\": %zu", i > 0 ? "," : "", i / r->n_kv_heads, i % r->n_kv_heads);
        report_json_side("k", &head->k);
        report_json_side("v", &head->v);
        printf(", \"near\": ");
        json_number(stdout, head->near);
        printf(", \"errors\": {");
        for (size_t f = 0; f < PROBE_FORMATS; f++) {
            printf("%s\"%s\": {\"measured\": ", f > 0 ? ", " : "", format_name(f));
            json_number(stdout, probe_measured(head, 1, f));
            printf(", \"predicted\": ");
            json_number(stdout, probe_predicted(probe, head, 1, f, f));
            printf("}");
        }
        printf("}}");
    }
}

static void report_json(const struct probe_report *report)
{
    const struct probe_advice *a = &report->advice;
    printf("{\"tokens\": %zu,\n \"heads\": [", report->recording.n_tokens);
    report_json_heads(report);
    printf("\n ],\n \"advice\": {\"config\": \"");
    print_config(report);
    printf("\", \"target\": ");
    json_number(stdout, report->target);
    printf(", \"predicted\": ");
    json_number(stdout, a->predicted);
    printf(", \"measured\": ");
    json_number(stdout, a->measured);
    printf(", \"worst_layer\": %lu}}\n", (unsigned long)a->worst_layer);
}

static bool run(struct probe_report *report, const struct arguments *arguments, size_t n_tokens, size_t n_threads,
                struct error *error)
{
    struct session *session = &report->session;
    struct tokens tokens = {NULL, 0, 0};
    bool ok = session_open(session, arguments->unnamed[0], n_threads, error) &&
              session_read_tokens(session, arguments->unnamed[1], &tokens, error);
    if (ok && n_tokens == 0) {
        n_tokens = tokens.n < DEFAULT_TOKENS ? tokens.n : DEFAULT_TOKENS;
    }
    if (ok && n_tokens < LEAST_TOKENS) {
        ok = error_input(error, "%zu tokens are too few: most would be exact; take %d or more", n_tokens, LEAST_TOKENS);
    }
    ok = ok && recording_make(&report->recording, session, &tokens, n_tokens, error) &&
         probe_run(&report->probe, &report->recording, &session->threads, error) &&
         probe_advise(&report->probe, report->target, &report->advice, error);
    tokens_free(&tokens);
    return ok;
}

int probe_main(int argc, char **argv)
{
    static struct probe_report report; /* A session must not be moved. */
    const char *target = NULL;
    float percent = 3.0F;
    uint64_t n_tokens = 0;
    uint64_t n_threads = 0;
    bool json = false;
    int exit_code;
    const struct option options[] = {{"--tokens", NULL, &n_tokens, NULL},
                                     {"--target", &target, NULL, NULL},
                                     {"-t", NULL, &n_threads, NULL},
                                     {"--json", NULL, NULL, &json},
                                     {NULL, NULL, NULL, NULL}};
    const struct command_line line = {usage, "probe takes MODEL and TEXT", 2, 2, 0, options};
    struct arguments arguments;
    struct error error;
    if (!arguments_parse(&arguments, argc, argv, &line, &exit_code)) {
        return exit_code;
    }
    bool ok = arguments_real("--target", target, &percent, &error);
    if (ok && !(percent > 0.0F)) {
        ok = error_input(&error, "--target needs a number above 0");
    }
    report.target = 0.01 * (double)percent;
    ok = ok && run(&report, &arguments, n_tokens, n_threads, &error);
    if (ok && json) {
        report_json(&report);
    } else if (ok) {
        report_statistics(&report);
        report_errors(&report);
        report_advice(&report);
    }
    exit_code = ok ? 0 : error_report(&error);
    probe_free(&report.probe);
    recording_free(&report.recording);
    session_close(&report.session);
    arguments_free(&arguments);
    return exit_code;
}
