/* SPDX-License-Identifier: MIT */
/* What tq ppl measured, for people, scripts and browsers. */
#include "perplexity_report.h"

#include <stdlib.h>

#include "chart.h"
#include "json.h"
#include "sweep.h"

static void text_speed(FILE *out, const struct decode_speed *speed)
{
    fprintf(out, "\ntokens per second, one step at a time, at the end of a context of\n%-48s", "config");
    for (size_t i = 0; i < speed->n_contexts; i++) {
        fprintf(out, " %8zu", speed->contexts[i]);
    }
    fprintf(out, "\n");
    for (size_t config = 0; config < speed->n_configs; config++) {
        fprintf(out, "%-48s", speed->configs[config]);
        for (size_t i = 0; i < speed->n_contexts; i++) {
            fprintf(out, " %8.1f", speed->per_second[config][i]);
        }
        fprintf(out, "\n");
    }
}

void perplexity_report_text(FILE *out, const struct perplexity_report *report)
{
    const struct perplexity *p = &report->perplexity;
    fprintf(out, "%zu windows of %zu tokens\n\n%-48s %9s %9s %10s %10s %10s %8s\n", p->n_windows, p->window, "config",
            "B/token", "ppl", "KL mean", "median", "99.9 %", "top-1");
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct perplexity_row *row = &p->rows[i];
        const struct divergence_summary *s = &row->summary;
        fprintf(out, "%-48s %9.1f %9.4f %10.6f %10.6f %10.6f %6.2f %%%s\n", row->config, row->bytes_per_token,
                s->perplexity, s->kl_mean, s->kl_median, s->kl_p999, 100.0 * s->top1,
                report->sweep && sweep_on_front(p, i) ? " *" : "");
    }
    if (report->sweep) {
        fprintf(out, "\n*: nothing here diverges less in as many bytes. B/token: keys and values of all layers at the\n"
                     "end of a window, exact tokens and page means included. KL: from f16, nats.\n");
    }
    if (report->speed.n_contexts > 0) {
        text_speed(out, &report->speed);
    }
}

static void json_speed(FILE *out, const struct decode_speed *speed)
{
    fprintf(out, ",\n \"speed\": [");
    for (size_t config = 0; config < speed->n_configs; config++) {
        for (size_t i = 0; i < speed->n_contexts; i++) {
            fprintf(out, "%s\n  {\"config\": ", config + i > 0 ? "," : "");
            json_string(out, speed->configs[config]);
            fprintf(out, ", \"context\": %zu, \"tokens_per_second\": ", speed->contexts[i]);
            json_number(out, speed->per_second[config][i]);
            fprintf(out, "}");
        }
    }
    fprintf(out, "\n ]");
}

/* The keys are frozen: scripts rely on them. New ones may be added. */
void perplexity_report_json(FILE *out, const struct perplexity_report *report)
{
    const struct perplexity *p = &report->perplexity;
    fprintf(out, "{\"model\": ");
    json_string(out, report->model);
    fprintf(out, ", \"text\": ");
    json_string(out, report->text);
    fprintf(out, ", \"window\": %zu, \"windows\": %zu,\n \"rows\": [", p->window, p->n_windows);
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct perplexity_row *row = &p->rows[i];
        const struct {
            const char *key;
            double value;
        } numbers[] = {{"bytes_per_token", row->bytes_per_token}, {"ppl", row->summary.perplexity},
                       {"kl_mean", row->summary.kl_mean},         {"kl_median", row->summary.kl_median},
                       {"kl_p999", row->summary.kl_p999},         {"top1", row->summary.top1}};
        fprintf(out, "%s\n  {\"config\": ", i > 0 ? "," : "");
        json_string(out, row->config);
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            fprintf(out, ", \"%s\": ", numbers[j].key);
            json_number(out, numbers[j].value);
        }
        fprintf(out, "}");
    }
    fprintf(out, "\n ]");
    if (report->speed.n_contexts > 0) {
        json_speed(out, &report->speed);
    }
    fprintf(out, "}\n");
}

/* Divergence against bytes, a series for each family. What does not diverge at all has no place on the axis. */
static bool draw_quality(FILE *out, const struct perplexity *p, struct error *error)
{
    struct chart_series series[SWEEP_FAMILIES];
    struct chart_point *points = calloc(SWEEP_FAMILIES * p->n_rows, sizeof *points);
    if (points == NULL) {
        return error_run(error, "not enough memory");
    }
    for (size_t family = 0; family < SWEEP_FAMILIES; family++) {
        series[family] =
            (struct chart_series){sweep_family_name((enum sweep_family)family), false, 0, points + family * p->n_rows};
    }
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct perplexity_row *row = &p->rows[i];
        struct chart_series *family = &series[sweep_family_of(row->config)];
        if (row->summary.kl_mean > 0.0) {
            family->points[family->n++] = (struct chart_point){row->bytes_per_token, row->summary.kl_mean, row->config};
        }
    }
    const struct chart chart = {"Quality against memory: lower and further left is better",
                                "bytes of keys and values per token, all layers",
                                "mean KL divergence from the f16 cache, nats", SWEEP_FAMILIES, series};
    chart_write(out, &chart, 0);
    free(points);
    return true;
}

static void draw_speed(FILE *out, const struct decode_speed *speed, int top)
{
    struct chart_series series[SPEED_MAX_CONFIGS];
    struct chart_point points[SPEED_MAX_CONFIGS][SPEED_MAX_CONTEXTS];
    for (size_t config = 0; config < speed->n_configs; config++) {
        series[config] = (struct chart_series){speed->configs[config], true, speed->n_contexts, points[config]};
        for (size_t i = 0; i < speed->n_contexts; i++) {
            points[config][i] = (struct chart_point){(double)speed->contexts[i], speed->per_second[config][i], NULL};
        }
    }
    const struct chart chart = {"Decoding: the whole model, one token at a time", "context, tokens",
                                "tokens per second", speed->n_configs, series};
    chart_write(out, &chart, top);
}

bool perplexity_report_svg(FILE *out, const struct perplexity_report *report, struct error *error)
{
    const int charts = report->speed.n_contexts > 0 ? 2 : 1;
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n",
            CHART_WIDTH, charts * CHART_HEIGHT, CHART_WIDTH, charts * CHART_HEIGHT);
    const bool ok = draw_quality(out, &report->perplexity, error);
    if (ok && charts > 1) {
        draw_speed(out, &report->speed, CHART_HEIGHT);
    }
    fprintf(out, "</svg>\n");
    return ok;
}

bool perplexity_report_html(FILE *out, const struct perplexity_report *report, struct error *error)
{
    fprintf(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Caches compared</title>\n"
                 "<style>body { font-family: sans-serif; margin: 2em; } pre { font-size: 13px; }</style></head>\n"
                 "<body>\n<h1>Caches compared</h1>\n");
    const bool ok = perplexity_report_svg(out, report, error);
    fprintf(out, "<pre>\n");
    perplexity_report_text(out, report); /* Names of configurations need no escaping. */
    fprintf(out, "</pre>\n</body>\n</html>\n");
    return ok;
}
